"""Reading the pack's entities: values, relations and places out of NGSI-LD normalized JSON with short names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sejong.simulator.luck import Floats

Entity = Mapping[str, Any]
METRES_PER_DEGREE = 111_195.0
"""Length of a degree of a great circle. Units: m. Source: mean Earth radius 6,371,008.8 m × π / 180."""


def value(entity: Entity, name: str, default: Any = None) -> Any:
    """The value of a property of an entity, or the default where it has none."""
    attribute = entity.get(name)
    if not isinstance(attribute, Mapping):
        return default
    found = attribute.get("value", default)
    return default if found is None else found


def number(entity: Entity, names: Sequence[str], default: float) -> float:
    """The first of these properties that is a number."""
    for name in names:
        found = value(entity, name)
        if isinstance(found, int | float) and not isinstance(found, bool):
            return float(found)
    return default


def targets(entity: Entity, name: str) -> list[str]:
    """The ids a relationship points at, in order."""
    attribute = entity.get(name)
    if not isinstance(attribute, Mapping):
        return []
    if isinstance(attribute.get("objectList"), list):
        return [o["object"] if isinstance(o, Mapping) else o for o in attribute["objectList"]]
    found = attribute.get("object", attribute.get("value"))
    if isinstance(found, str):
        return [found]
    return [x for x in found if isinstance(x, str)] if isinstance(found, list) else []


def line(entity: Entity, name: str = "location") -> list[tuple[float, float]]:
    """The places (lon, lat) an entity's geometry runs through: one for a point, none where it has no geometry."""
    geometry = value(entity, name)
    if not isinstance(geometry, Mapping):
        return []
    kind, found = geometry.get("type"), geometry.get("coordinates")
    if not isinstance(found, list) or not found:
        return []
    if kind == "Point":
        found = [found]
    elif kind in ("Polygon", "MultiLineString"):
        found = found[0]
    elif kind != "LineString":
        return []
    return [(float(p[0]), float(p[1])) for p in found]


def middle(entity: Entity) -> tuple[float, float] | None:
    """The middle of an entity's geometry, or None where it has none."""
    points = line(entity)
    if not points:
        return None
    return sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)


def centre_of(entities: Iterable[Entity]) -> tuple[float, float]:
    """The middle of the places of these entities; (127.29, 36.48), Sejong's city hall, where none has a place."""
    places = [p for p in map(middle, entities) if p is not None]
    if not places:
        return 127.29, 36.48
    return float(np.median([p[0] for p in places])), float(np.median([p[1] for p in places]))


def metres(places: Sequence[tuple[float, float]], origin: tuple[float, float]) -> NDArray[np.float64]:
    """Places as (east, north) metres from an origin: flat, right within 0.1 % over a city."""
    flat = np.asarray(places, dtype=np.float64).reshape(-1, 2)
    scale = np.array([METRES_PER_DEGREE * np.cos(np.radians(origin[1])), METRES_PER_DEGREE])
    return (flat - np.asarray(origin)) * scale


def apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> Floats:
    """Matrix of distances in metres between two lists of (east, north)."""
    return np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1])


def smoothing(places: NDArray[np.float64], reach_m: float, nearest: int = 12) -> tuple[NDArray[np.int64], Floats]:
    """For each place its nearest places and weights that make noise alike in space, keeping its deviation at 1.

    Weights fall as exp(−(distance / reach)²); their squares sum to 1.
    """
    k = min(nearest, len(places))
    distance = apart(places, places)
    index = np.argsort(distance, axis=1, kind="stable")[:, :k]
    near = np.take_along_axis(distance, index, axis=1)
    weight = np.exp(-((near / reach_m) ** 2))
    return index, weight / np.sqrt((weight**2).sum(axis=1, keepdims=True))
