"""One message on its way through a door: where it came from, and what has become of its parts so far."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from sejong.hub.ingest.apply import DUPLICATE, LATE, NEW
from sejong.hub.ingest.reading import Refused

Form = Literal["message", "readings"]


class Source:
    """One message. `settled` is called once all its readings and dead letters are committed.

    `sender`: name of the key, or of the file. `form`: `message` goes through the device model of its topic, `readings`
    is the default payload whatever the topic. `again`: the broker delivered it before. `replayed`: it comes from the
    dead letters and must not become another one.
    """

    __slots__ = (
        "again", "arrived", "door", "form", "mid", "raw", "refused", "replayed", "sender", "settled", "tally", "topic",
        "waiting",
    )  # fmt: skip

    def __init__(
        self,
        door: str,
        sender: str,
        topic: str,
        arrived: datetime,
        raw: bytes,
        *,
        form: Form = "message",
        again: bool = False,
        mid: int = 0,
        settled: Callable[[Source], None] | None = None,
    ) -> None:
        self.door, self.sender, self.topic, self.form = door, sender, topic, form
        self.arrived, self.raw, self.again, self.mid = arrived, raw, again, mid
        self.settled = settled
        self.replayed = False
        self.tally = [0, 0, 0]
        self.refused: list[Refused] = []
        self.waiting = 0

    @property
    def accepted(self) -> int:
        """Readings that became the present state."""
        return self.tally[NEW]

    @property
    def late(self) -> int:
        """Readings older than the present state; they are in the history."""
        return self.tally[LATE]

    @property
    def duplicates(self) -> int:
        """Readings that said what was known."""
        return self.tally[DUPLICATE]

    def part_done(self) -> None:
        """One more part is committed."""
        self.waiting -= 1
        if not self.waiting and self.settled is not None:
            self.settled(self)
