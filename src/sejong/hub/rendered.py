"""Answers about single entities kept ready, as long as nobody has changed the entity.

Writes of this process take an answer away before they are acknowledged; writes of others when their commit is
announced (`hub_change`), a few milliseconds later. See docs/decisions/0008-rendered-entities.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import msgspec

EVERYTHING = "*"
"""The announcement of a commit too large to name its entities."""


class _Kept(msgspec.Struct, gc=False):
    number: int
    answers: dict[Hashable, Any]


class Rendered:
    """Ready answers by (tenant, entity id). `most`: entities kept; 0 keeps none."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[tuple[int, str], _Kept] = {}
        self._by_number: dict[int, tuple[int, str]] = {}
        self._reading: dict[tuple[int, str], int] = {}
        self._readings = 0
        self._announced = 0
        self.is_current = False
        """Whether announcements of other processes arrive; while they do not, nothing is answered from here."""

    def get(self, tenant: int, entity_id: str, variant: Hashable) -> Any | None:
        """The ready answer, or None."""
        if not self.is_current:
            return None
        kept = self._kept.get((tenant, entity_id))
        return None if kept is None else kept.answers.get(variant)

    def begin(self, tenant: int, entity_id: str) -> tuple[int, int]:
        """To be called before the entity is read; what it returns goes into `put`, or `give_up`."""
        self._readings += 1
        self._reading[tenant, entity_id] = self._readings
        return self._readings, self._announced

    def give_up(self, tenant: int, entity_id: str) -> None:
        """The entity could not be read."""
        self._reading.pop((tenant, entity_id), None)

    def put(
        self, tenant: int, entity_id: str, number: int, began: tuple[int, int], variant: Hashable, answer: Any
    ) -> None:
        """Keep an answer made of what was read since `began`, unless anything may have changed it meanwhile."""
        key = (tenant, entity_id)
        if self._reading.get(key) != began[0]:
            return
        del self._reading[key]
        if self._announced != began[1] or not self.is_current or not self._most:
            return
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= self._most:
                self._drop(next(iter(self._kept)))
            kept = self._kept[key] = _Kept(number, {})
            self._by_number[number] = key
        kept.answers[variant] = answer

    def forget(self, tenant: int, entity_ids: Iterable[str]) -> None:
        """These entities were changed by this process."""
        for entity_id in entity_ids:
            key = (tenant, entity_id)
            self._reading.pop(key, None)
            if key in self._kept:
                self._drop(key)

    def heard(self, announcement: str) -> None:
        """A commit was announced: the numbers of its entities, or EVERYTHING."""
        self._announced += 1
        if announcement == EVERYTHING:
            self.clear()
            return
        for text in announcement.split(","):
            key = self._by_number.get(int(text)) if text.lstrip("-").isdigit() else None  # snapshots count downwards
            if key is not None:
                self._drop(key)

    def follows(self, is_current: bool) -> None:
        """Announcements begin or cease to arrive; what was announced in between was not heard."""
        self._announced += 1
        self.clear()
        self.is_current = is_current

    def clear(self) -> None:
        """Keep nothing of what there is."""
        self._kept.clear()
        self._by_number.clear()
        self._reading.clear()

    def _drop(self, key: tuple[int, str]) -> None:
        del self._by_number[self._kept.pop(key).number]


def announcement(numbers: Iterable[int]) -> str:
    """How a commit is announced: NOTIFY carries 8,000 bytes at most (PostgreSQL documentation, NOTIFY)."""
    text = ",".join(map(str, numbers))
    return text if len(text) < 7_900 else EVERYTHING
