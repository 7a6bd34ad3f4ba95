"""What the portal asks the hub. `sejong.hub.api` answers it in the running city, `DemoCity` in tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from sejong.hub.api import Card, DeadLetter, Found, Indicator, Replayed, SilentDevice, Suspect
from sejong.kernel.geo import BBox

__all__ = [
    "INDICATORS",
    "Card",
    "CityView",
    "DeadLetter",
    "Found",
    "Indicator",
    "Replayed",
    "Scalar",
    "SilentDevice",
    "Suspect",
]

Scalar = float | int | str | bool

INDICATORS = ("speed", "bikes", "pm25_median", "pm25_worst", "pm10_median", "pm10_worst", "power", "water")
"""The keys of `CityView.tiles`. Units: km/h, bikes free, µg/m³ (four), kW, m³/h."""


class CityView(Protocol):
    """All that the portal reads from the living record (and the one thing it starts: a replay)."""

    async def search(
        self,
        text: str | None,
        types: Sequence[str],
        near: tuple[float, float] | None,
        bbox: BBox | None,
        limit: int,
        offset: int,
    ) -> Found:
        """Things whose name or id looks like `text` (trigrams), nearest first when `near` is given.

        No `types` means every type. `near` is (lon, lat).
        """
        ...

    async def entity(self, entity_id: str) -> dict[str, Any] | None:
        """The normalized entity with short names and system attributes, or None."""
        ...

    async def history(
        self, entity_id: str, attribute: str, since: datetime, until: datetime, max_points: int
    ) -> list[tuple[datetime, Scalar]]:
        """An attribute's values in time order, thinned to at most `max_points` (first and last kept)."""
        ...

    async def incoming(self, entity_id: str) -> list[Card]:
        """Things with a relationship that points here (at most 50)."""
        ...

    async def card(self, entity_id: str) -> Card | None:
        """The card of one thing by its URN, or None."""
        ...

    async def cards(self, numbers: Sequence[int]) -> list[Card]:
        """The cards of these numbers; those that no longer exist are left out."""
        ...

    async def in_view(self, types: Sequence[str], bbox: BBox, limit: int) -> list[Card]:
        """Things of these types in the box."""
        ...

    def changes(self) -> AsyncIterator[list[int]]:
        """Numbers of things that changed or vanished, in batches, from now on; ends when closed."""
        ...

    async def tiles(self) -> Mapping[str, Indicator]:
        """The city-wide numbers named in `INDICATORS`; one nobody measures is absent."""
        ...

    async def ingest_rate(self, minutes: int) -> list[tuple[datetime, int]]:
        """Readings taken in per minute, oldest first, one row for every minute."""
        ...

    async def silent_devices(self, limit: int) -> list[SilentDevice]:
        """Things that have stopped reporting, longest silent first."""
        ...

    async def suspects(self, limit: int) -> list[Suspect]:
        """Sensors that lately showed signs of measuring wrongly, the most frequent first."""
        ...

    async def dead_letters(self, limit: int, offset: int, reason: str | None = None) -> tuple[list[DeadLetter], int]:
        """Messages nobody understood, newest first, and how many there are (of this reason)."""
        ...

    async def dead_letter_reasons(self) -> Mapping[str, int]:
        """How many dead letters wait for each reason."""
        ...

    async def replay(self, numbers: Sequence[int] | None) -> Replayed:
        """Send dead letters through their door again; None means all. Those understood leave the list."""
        ...
