"""Which area of the city a place lies in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
import shapely

from sejong.citypack.declaration import Areas
from sejong.citypack.domain import Entity, name_of, position, relation


class AreaIndex:
    """The areas of one kind, ready to be asked where places lie."""

    def __init__(self, entities: Iterable[Entity], declared: Areas) -> None:
        self.areas = [e for e in entities if e.get("category", {}).get("value") == declared.category]
        self.shapes = [shapely.from_geojson(json.dumps(area["location"]["value"])) for area in self.areas]
        self.by_name = {name_of(area): index for index, area in enumerate(self.areas)}

    def of(self, places: Sequence[tuple[float, float]]) -> list[Entity | None]:
        """The area of each place (lon, lat), None outside all; on a shared border the first area."""
        found: list[Entity | None] = [None] * len(places)
        if places and self.areas:
            points = cast(np.ndarray, shapely.points(np.asarray(places)))
            tree = shapely.STRtree(points)  # of the many points, so that the query prepares the few areas
            area, place = tree.query(self.shapes, predicate="intersects")
            for index in range(len(area) - 1, -1, -1):
                found[place[index]] = self.areas[area[index]]
        return found

    def mark(self, entities: Sequence[Entity]) -> None:
        """Write `containedInPlace` on every entity that lies in an area."""
        placed = [(entity, place) for entity in entities if (place := position(entity))]
        for (entity, _), area in zip(placed, self.of([place for _, place in placed]), strict=True):
            if area is not None:
                entity["containedInPlace"] = relation(area["id"])
