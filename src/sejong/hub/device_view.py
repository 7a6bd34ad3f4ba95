"""What an operator asks about devices: what arrives, who is silent, who measures wrongly, what nobody understood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from sejong.hub.ingest import dead_letters, health
from sejong.hub.ingest.service import Ingest
from sejong.hub.service import Hub
from sejong.hub.store import views
from sejong.hub.store.ingest import LetterRow
from sejong.hub.view import Card, RecordView

SHOWN_BYTES = 2000
"""Bytes of a dead letter shown to people. Chosen; the whole is kept."""


class SilentDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that used to report and has stopped."""

    id: str
    type: str
    name_ko: str
    name_en: str
    last_seen: datetime | None


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor that showed signs of measuring wrongly."""

    id: str
    type: str
    name_ko: str
    name_en: str
    attribute: str
    """Short attribute name."""
    kind: str
    """`range` (no such value exists), `jump` (changed as it never does) or `stuck` (says the same for too long)."""
    last: datetime
    n: int
    value: float
    low: float | None = None
    high: float | None = None
    """What was expected; none: no bound."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that could not be understood and waits for a mended mapping."""

    no: int
    arrived: datetime
    door: str
    """Where it came in: `mqtt`, `http` or `file`."""
    sender: str
    """The device key's name or the file's name."""
    reason: str
    """The machine name of what was wrong, such as `UnknownType`."""
    detail_ko: str
    detail_en: str
    payload: str
    """The beginning of the message as it arrived, for people."""


class Replayed(msgspec.Struct, frozen=True):
    """What came of sending dead letters through the door again."""

    n_ok: int
    n_failed: int


class DeviceView:
    """The devices of a running city, as `/ops/data` shows them."""

    def __init__(self, hub: Hub, record: RecordView, ingest: Ingest) -> None:
        self.hub, self.record, self.ingest = hub, record, ingest

    async def ingest_rate(self, minutes: int) -> list[tuple[datetime, int]]:
        """Readings taken in per minute, oldest first, one row for every minute."""
        now = self.hub.clock.now()
        async with self.hub.pool.acquire(timeout=10) as connection:
            rows = await health.ingest_rate(connection, now, minutes)
        taken: Counter[datetime] = Counter()
        for row in rows:
            taken[row.minute] += row.readings
        this = now.replace(second=0, microsecond=0)
        every = [this - timedelta(minutes=n) for n in range(minutes - 1, -1, -1)]
        return [(minute, taken[minute]) for minute in every]

    async def silent_devices(self, limit: int) -> list[SilentDevice]:
        """Things that have stopped reporting, longest silent first."""
        async with self.hub.pool.acquire(timeout=10) as connection:
            rows = await health.silent_devices(connection, self.hub.clock.now(), limit)
        cards = await self._cards([row.entity for row in rows])
        return [
            SilentDevice(
                **_named(row.entity, cards.get(row.entity)),
                last_seen=row.seen,
            )
            for row in rows
        ]

    async def suspects(self, limit: int) -> list[Suspect]:
        """Sensors that lately showed signs of measuring wrongly, the most frequent first."""
        context = await self.hub.context()
        async with self.hub.pool.acquire(timeout=10) as connection:
            rows = await health.suspects(connection, self.hub.clock.now(), limit=limit)
        cards = await self._cards([row.entity for row in rows])
        return [
            Suspect(
                **_named(row.entity, cards.get(row.entity)),
                attribute=context.compact(row.attribute),
                kind=row.kind,
                last=row.last,
                n=row.n,
                value=row.value,
                low=row.low,
                high=row.high,
            )
            for row in rows
        ]

    async def dead_letters(self, limit: int, offset: int, reason: str | None = None) -> tuple[list[DeadLetter], int]:
        """Messages nobody understood, newest first, and how many there are (of this reason)."""
        reasons = await self.dead_letter_reasons()
        total = sum(reasons.values()) if reason is None else reasons.get(reason, 0)
        async with self.hub.pool.acquire(timeout=10) as connection:
            rows = await views.LETTERS_AT.all(connection, reason, limit, offset)
        return [_letter(row) for row in rows], total

    async def dead_letter_reasons(self) -> Mapping[str, int]:
        """How many dead letters wait for each reason."""
        async with self.hub.pool.acquire(timeout=10) as connection:
            rows = await dead_letters.reasons(connection)
        found: Counter[str] = Counter()
        for row in rows:
            found[row.reason] += row.letters
        return dict(found)

    async def replay(self, numbers: Sequence[int] | None) -> Replayed:
        """Send dead letters through their door again; None means all. Those understood leave the list."""
        done = await dead_letters.replay(self.ingest, numbers)
        return Replayed(done.understood, done.remaining)

    async def _cards(self, ids: Sequence[str]) -> dict[str, Card]:
        return {card.id: card for card in await self.record.cards_of(ids)}


def _named(entity_id: str, card: Card | None) -> dict[str, str]:
    """What a thing is called in a list; by its id when it is not in the record."""
    if card is None:
        return {"id": entity_id, "type": "", "name_ko": entity_id, "name_en": entity_id}
    return {"id": entity_id, "type": card.type, "name_ko": card.name_ko, "name_en": card.name_en}


def _letter(row: LetterRow) -> DeadLetter:
    shown = row.payload[:SHOWN_BYTES].decode("utf-8", errors="replace")
    return DeadLetter(
        no=row.no,
        arrived=row.last,
        door=row.door,
        sender=row.sender,
        reason=row.reason,
        detail_ko=row.ko,
        detail_en=row.en,
        payload=shown + ("…" if row.size > SHOWN_BYTES else ""),
    )
