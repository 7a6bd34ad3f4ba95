"""The pack while it is being built: what exists so far, for the rules that add to it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from sejong.citypack.areas import AreaIndex
from sejong.citypack.declaration import Areas
from sejong.citypack.domain import Entity, Rejected, position
from sejong.citypack.lines import Route
from sejong.citypack.readers import Table
from sejong.kernel.chance import Chance


class World(msgspec.Struct):
    """Entities by type in the order they were made, and what the rules may ask."""

    city: str
    chance: Chance
    glossary: dict[str, str]
    table: Callable[[str], Table]
    """Reads a file of the pack."""
    rejected: list[Rejected] = []
    entities: dict[str, list[Entity]] = {}
    routes: list[Route] = []
    areas: AreaIndex = AreaIndex((), Areas())
    _inside: dict[str, dict[str, list[Entity]]] = {}

    def of(self, kind: str) -> list[Entity]:
        """All entities of a type so far."""
        return self.entities.setdefault(kind, [])

    def inside(self, area: Entity, kind: str) -> list[Entity]:
        """The entities of a type that lie in an area; worked out once per type."""
        if kind not in self._inside:
            found: dict[str, list[Entity]] = {}
            placed = [(entity, place) for entity in self.of(kind) if (place := position(entity))]
            for (entity, _), home in zip(placed, self.areas.of([place for _, place in placed]), strict=True):
                if home is not None:
                    found.setdefault(home["id"], []).append(entity)
            self._inside[kind] = found
        return self._inside[kind].get(area["id"], [])
