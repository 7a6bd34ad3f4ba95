"""Questions about places: near, within, contains, intersects, equals, disjoint, overlaps.

Source: ETSI GS CIM 009 V1.9.1 clause 4.10; OGC 06-103r4 (the meaning of the relations); RFC 7946
(geometries).

Relations are decided in the plane of longitude and latitude, in which GeoJSON lines are straight. Distances
are over ground on a sphere (within 0.5 % of the ellipsoid, as kernel.geo). Between points they are exact on
that sphere; for lines and polygons the nearest places are looked for in an azimuthal equidistant map around
the reference geometry, then measured over ground: from a reference point the error stays below 0.1 % + 1 m,
between extended geometries below 1 % up to 500 km. Geometries across the date line must be cut there (RFC
7946 section 3.1.9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any, Final

import msgspec
from msgspec import Struct

from sejong.hub.ngsi.errors import BadRequestData, TooComplexQuery
from sejong.hub.ngsi.fault import Fault
from sejong.hub.ngsi.geojson import GEOMETRY_TYPES, check_geometry
from sejong.hub.ngsi.geometry import (
    GEORELS,
    GeoQuery,
    GeoRel,
    Shape,
    distance_from,
    read_shape,
    relation_to,
)
from sejong.hub.ngsi.geosql import to_sql
from sejong.hub.ngsi.grammar import is_name
from sejong.hub.ngsi.members import LOCATION
from sejong.hub.ngsi.names import Expand

__all__ = [
    "GEORELS",
    "LOCATION",
    "GeoQuery",
    "Place",
    "compile_geo",
    "entity_shapes",
    "parse_geo",
    "parse_geometry",
    "place_of",
    "positions",
    "shape_test",
    "to_sql",
]
MAX_POSITIONS: Final = 10_000


# --- reading ---


def parse_geo(
    georel: str | None,
    geometry: str | None,
    coordinates: object,
    geoproperty: str | None,
    expand: Expand,
) -> GeoQuery | None:
    """The geoquery of a request, or None when it has none. ``coordinates``: JSON text or a JSON array.

    Raises BadRequestData: a part is missing, unknown georel or geometry, GeometryCollection, malformed
    coordinates, an open ring, positions off the Earth, a distance that is not positive. TooComplexQuery
    above 10,000 positions.
    """
    if georel is None and geometry is None and coordinates is None:
        if geoproperty is not None:
            raise BadRequestData("geoproperty needs georel, geometry and coordinates")
        return None
    parts = {"georel": georel, "geometry": geometry, "coordinates": coordinates}
    missing = [name for name, given in parts.items() if given is None or given == ""]
    if missing:
        raise BadRequestData(f"a geoquery needs georel, geometry and coordinates: {', '.join(missing)} missing")
    if geoproperty is not None and not (isinstance(geoproperty, str) and is_name(geoproperty)):
        raise BadRequestData(f"geoproperty: {geoproperty!r} is not an attribute name")
    relation, farthest, nearest = _georel(str(georel))
    return GeoQuery(
        relation,
        parse_geometry(str(geometry), coordinates),
        LOCATION if geoproperty is None else expand(geoproperty),
        farthest,
        nearest,
    )


def parse_geometry(kind: str, coordinates: object, parameter: str = "coordinates") -> dict[str, Any]:
    """A reference geometry from its type and coordinates (JSON text or array). Errors as parse_geo."""
    if kind not in GEOMETRY_TYPES:
        raise BadRequestData(f"geometry: {kind!r} is not one of {', '.join(sorted(GEOMETRY_TYPES))}")
    if isinstance(coordinates, str):
        try:
            coordinates = msgspec.json.decode(coordinates)
        except (msgspec.DecodeError, RecursionError):
            raise BadRequestData(f"{parameter}: this is not a JSON array") from None
    geometry = {"type": kind, "coordinates": coordinates}
    try:
        check_geometry(geometry)
    except Fault as fault:
        raise BadRequestData(f"{parameter}: {fault.why}") from None
    _check_positions(coordinates, parameter)
    return geometry


def positions(coordinates: Any) -> Iterator[Any]:
    """Every position of GeoJSON coordinates, however deep."""
    if coordinates and isinstance(coordinates[0], (int, float)):
        yield coordinates
        return
    for part in coordinates:
        yield from positions(part)


def _check_positions(coordinates: Any, parameter: str) -> None:
    for count, position in enumerate(positions(coordinates), 1):
        if count > MAX_POSITIONS:
            raise TooComplexQuery(f"{parameter}: more than {MAX_POSITIONS} positions")
        lon, lat = position[0], position[1]
        if not (-180 <= lon <= 180 and -90 <= lat <= 90):
            raise BadRequestData(f"{parameter}: {position} is not [longitude -180..180, latitude -90..90]")


def _georel(text: str) -> tuple[GeoRel, float | None, float | None]:
    name, modified, modifier = text.partition(";")
    relation: GeoRel | None = next((known for known in GEORELS if known == name), None)
    if relation is None:
        raise BadRequestData(f"georel: {name!r} is not one of {', '.join(GEORELS)}")
    if relation != "near":
        if modified:
            raise BadRequestData(f"georel: {name} takes no distance")
        return (relation, None, None)
    which, equal, number = modifier.partition("==")
    if which not in ("maxDistance", "minDistance") or not equal:
        raise BadRequestData("georel: near needs maxDistance==<metres> or minDistance==<metres>")
    metres = _metres(number)
    return (relation, metres, None) if which == "maxDistance" else (relation, None, metres)


def _metres(text: str) -> float:
    try:
        metres = msgspec.json.decode(text, type=float)
    except msgspec.DecodeError:
        metres = 0.0
    if not (isfinite(metres) and metres > 0):
        raise BadRequestData(f"georel: {text!r} is not a positive number of metres")
    return metres


# --- deciding ---


def compile_geo(query: GeoQuery) -> Callable[[Mapping[str, Any]], bool]:
    """An exact test of one expanded entity: any instance of the GeoProperty may match; without one: no."""
    test, key = shape_test(query), query.geoproperty

    def matches(entity: Mapping[str, Any]) -> bool:
        return any(test(shape) for shape in entity_shapes(entity, key))

    return matches


def shape_test(query: GeoQuery) -> Callable[[Shape], bool]:
    """The test of one shape (for history, where each instance is a row of its own)."""
    reference = read_shape(query.geometry)
    assert reference is not None
    if query.georel != "near":
        return relation_to(reference, query.georel)
    distance = distance_from(reference)
    if query.max_distance is not None:
        farthest = query.max_distance
        return lambda shape: distance(shape) <= farthest
    nearest = query.min_distance or 0.0
    return lambda shape: distance(shape) > nearest


def entity_shapes(entity: Mapping[str, Any], geoproperty: str = LOCATION) -> Iterator[Shape]:
    """The shapes of all instances of a GeoProperty; what is no readable geometry is passed over."""
    found = entity.get(geoproperty)
    for instance in found if isinstance(found, list) else ():
        shape = read_shape(instance.get("value")) if isinstance(instance, dict) else None
        if shape is not None:
            yield shape


class Place(Struct, frozen=True):
    """Where the store indexes an entity: a point, and a (west, south, east, north) box unless it is one."""

    lon: float
    lat: float
    box: tuple[float, float, float, float] | None = None


def place_of(entity: Mapping[str, Any]) -> Place | None:
    """What the store indexes of the default location: every instance lies in it, no geoquery overlooks one.

    Point and no second instance: the point itself, no box. Otherwise the bounding box of all instances and
    its centre.
    """
    shapes = list(entity_shapes(entity))
    if not shapes:
        return None
    first = shapes[0]
    if len(shapes) == 1 and isinstance(first, tuple):
        return Place(*first)
    bounds = [(s[0], s[1], s[0], s[1]) if isinstance(s, tuple) else s.bounds for s in shapes]
    west, south = min(b[0] for b in bounds), min(b[1] for b in bounds)
    east, north = max(b[2] for b in bounds), max(b[3] for b in bounds)
    return Place((west + east) / 2, (south + north) / 2, (west, south, east, north))
