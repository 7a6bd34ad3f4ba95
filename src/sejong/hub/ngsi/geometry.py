"""Geometries of the city as shapes to compare: points as bare (lon, lat) pairs, all others with shapely."""

from __future__ import annotations

from collections.abc import Callable
from math import asin, atan2, cos, degrees, hypot, radians, sin
from typing import Any, Final, Literal

import numpy as np
import shapely
from msgspec import Struct
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from sejong.hub.ngsi.members import LOCATION
from sejong.kernel.geo import EARTH_RADIUS_M, haversine_m

Shape = tuple[float, float] | BaseGeometry
"""A point as (lon, lat) in degrees, or a geometry of lines, polygons or several points."""

GeoRel = Literal["near", "within", "contains", "intersects", "equals", "disjoint", "overlaps"]
GEORELS: Final[tuple[GeoRel, ...]] = (
    "near",
    "within",
    "contains",
    "intersects",
    "equals",
    "disjoint",
    "overlaps",
)

_FINEST_DEGREES: Final = 0.02
"""Longer stretches of a line are divided before they are mapped; 2 km deviate less than 0.1 m."""
_MOST_PIECES: Final = 2_000
_MOST_CORNERS: Final = 400


class GeoQuery(Struct, frozen=True):
    """How a place of an entity lies to a reference geometry; distances in metres, only for near."""

    georel: GeoRel
    geometry: dict[str, Any]
    geoproperty: str = LOCATION
    max_distance: float | None = None
    min_distance: float | None = None

    @property
    def is_default(self) -> bool:
        """Whether it asks about the default location, which the store indexes."""
        return self.geoproperty == LOCATION


def read_shape(geometry: object) -> Shape | None:
    """The shape of a GeoJSON geometry; None if it is none or leaves the Earth (beyond 180 or 90 degrees).

    Heights are ignored, crossing rings are mended.
    """
    if not isinstance(geometry, dict):
        return None
    coordinates = geometry.get("coordinates")
    if geometry.get("type") == "Point":
        return _point(coordinates)
    try:
        shape = _SHAPES[geometry["type"]](coordinates)
    except (KeyError, TypeError, ValueError, IndexError, shapely.errors.ShapelyError):
        return None
    if shape.is_empty or not (_on_earth(*shape.bounds[:2]) and _on_earth(*shape.bounds[2:])):
        return None
    if shape.geom_type in ("Polygon", "MultiPolygon") and not shape.is_valid:
        shape = shapely.make_valid(shape)
    return shape


def _point(position: Any) -> tuple[float, float] | None:
    try:
        lon, lat = float(position[0]), float(position[1])
    except (TypeError, ValueError, IndexError, KeyError, OverflowError):
        return None
    return (lon, lat) if _on_earth(lon, lat) else None


def _on_earth(lon: float, lat: float) -> bool:
    return -180.0 <= lon <= 180.0 and -90.0 <= lat <= 90.0


def _flat(line: Any) -> list[tuple[float, float]]:
    return [(float(position[0]), float(position[1])) for position in line]


def _polygon(rings: Any) -> shapely.Polygon:
    shell, *holes = (_flat(ring) for ring in rings)
    return shapely.Polygon(shell, holes)


_SHAPES: Final[dict[str, Callable[[Any], Any]]] = {
    "MultiPoint": lambda points: shapely.MultiPoint(_flat(points)),
    "LineString": lambda line: shapely.LineString(_flat(line)),
    "MultiLineString": lambda lines: shapely.MultiLineString([_flat(line) for line in lines]),
    "Polygon": _polygon,
    "MultiPolygon": lambda polygons: shapely.MultiPolygon([_polygon(rings) for rings in polygons]),
}


def as_geometry(shape: Shape) -> BaseGeometry:
    """The shape for shapely, points included."""
    return shapely.Point(shape) if isinstance(shape, tuple) else shape


# --- relations ----------------------------------------------------------------------------------------------

_CONVERSE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "within": shapely.contains,  # the shape lies within the reference: the reference contains the shape
    "contains": shapely.within,
    "intersects": shapely.intersects,
    "equals": shapely.equals,
    "disjoint": shapely.disjoint,
    "overlaps": shapely.overlaps,
}


def relation_to(reference: Shape, relation: str) -> Callable[[Shape], bool]:
    """A test whether a shape stands in the relation to the reference (OGC 06-103r4)."""
    geometry = as_geometry(reference)
    shapely.prepare(geometry)
    decide = _CONVERSE[relation]
    at_point = _point_test(geometry, relation)

    def test(shape: Shape) -> bool:
        if isinstance(shape, tuple) and at_point is not None:
            return bool(at_point(*shape))
        try:
            return bool(decide(geometry, as_geometry(shape)))
        except shapely.errors.GEOSException:
            return bool(decide(shapely.make_valid(geometry), shapely.make_valid(as_geometry(shape))))

    return test


def _point_test(geometry: BaseGeometry, relation: str) -> Callable[[float, float], Any] | None:
    """The quick way for single points, the places of most things in a city."""
    if relation == "within":
        return lambda lon, lat: shapely.contains_xy(geometry, lon, lat)
    if relation == "intersects":
        return lambda lon, lat: shapely.intersects_xy(geometry, lon, lat)
    if relation == "disjoint":
        return lambda lon, lat: not shapely.intersects_xy(geometry, lon, lat)
    return None


# --- distances ----------------------------------------------------------------------------------------------


def distance_from(reference: Shape) -> Callable[[Shape], float]:
    """The distance over ground from the reference to a shape, in metres; 0 if they touch (accuracy: geo)."""
    far = _Far(reference)

    def distance(shape: Shape) -> float:
        if isinstance(reference, tuple) and isinstance(shape, tuple):
            return haversine_m(*reference, *shape)
        return far.distance(as_geometry(shape))

    return distance


class _Far:
    """A reference geometry, ready for measuring how far other geometries are."""

    def __init__(self, reference: Shape) -> None:
        self.geometry = as_geometry(reference)
        shapely.prepare(self.geometry)
        self.edges = _edges(self.geometry)
        centre = self.geometry.centroid
        self.chart = _Chart(centre.x, centre.y)
        self.mapped = self.chart.mapped(self.edges)

    def distance(self, shape: BaseGeometry) -> float:
        """Metres over ground to the shape. The two places measured between do lie on the geometries."""
        if _touch(self.geometry, shape):
            return 0.0
        edges = _edges(shape)
        line = shapely.get_coordinates(shapely.shortest_line(self.mapped, self.chart.mapped(edges)))
        here, off_here = _snap(self.edges, *self.chart.place(*line[0]))
        there, off_there = _snap(edges, *self.chart.place(*line[1]))
        metres = haversine_m(*here, *there)
        if max(off_here, off_there) <= _FINEST_DEGREES:
            return metres
        return min(metres, _between_corners(self.edges, edges))


def _touch(one: BaseGeometry, other: BaseGeometry) -> bool:
    try:
        return bool(shapely.intersects(one, other))
    except shapely.errors.GEOSException:
        return bool(shapely.intersects(shapely.make_valid(one), shapely.make_valid(other)))


def _edges(shape: BaseGeometry) -> BaseGeometry:
    """Where the nearest place of a shape lies, seen from outside: the rings of polygons, all of anything else."""
    return shapely.boundary(shape) if shape.geom_type in ("Polygon", "MultiPolygon") else shape


def _snap(edges: BaseGeometry, lon: float, lat: float) -> tuple[tuple[float, float], float]:
    """The place of the edges nearest to one that should lie on them, and how many degrees it was off.

    It is far off where the map breaks: around the point opposite to its centre.
    """
    lon = (lon + 180.0) % 360.0 - 180.0
    found = [(lon, lat), (lon - 360.0 if lon > 0 else lon + 360.0, lat)] if abs(lon) > 179.0 else [(lon, lat)]
    lines = [shapely.shortest_line(edges, shapely.Point(place)) for place in found]
    line = min(lines, key=shapely.length)
    x, y = shapely.get_coordinates(line)[0]
    return (float(x), float(y)), float(shapely.length(line))


def _between_corners(one: BaseGeometry, other: BaseGeometry) -> float:
    """Metres between the nearest corners of two geometries whose long stretches are divided, by trying all pairs."""
    a, b = (np.radians(_corners(edges)) for edges in (one, other))
    lat_a, lat_b = a[:, 1][:, None], b[:, 1][None, :]
    half = np.sin((lat_a - lat_b) / 2) ** 2
    half = half + np.cos(lat_a) * np.cos(lat_b) * np.sin((a[:, 0][:, None] - b[:, 0][None, :]) / 2) ** 2
    return float(2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(half.min(), 0.0, 1.0))))


def _corners(edges: BaseGeometry) -> NDArray[np.float64]:
    corners = shapely.get_coordinates(_divided(edges))
    return corners[:: max(1, len(corners) // _MOST_CORNERS)]


def _divided(edges: BaseGeometry) -> BaseGeometry:
    west, south, east, north = edges.bounds
    return shapely.segmentize(edges, max(_FINEST_DEGREES, (east - west + north - south) / _MOST_PIECES))


class _Chart:
    """An azimuthal equidistant map (sphere) around a place: distances from it are true, in metres.

    Source: J. P. Snyder, Map Projections - A Working Manual (USGS PP 1395), chapter 25.
    """

    def __init__(self, lon: float, lat: float) -> None:
        self.lon = radians(lon)
        self.sin_lat, self.cos_lat = sin(radians(lat)), cos(radians(lat))

    def mapped(self, edges: BaseGeometry) -> BaseGeometry:
        """The geometry on this map, its long stretches divided so that they keep their course."""
        return shapely.transform(_divided(edges), self._project)

    def _project(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        lon, lat = np.radians(places[:, 0]) - self.lon, np.radians(places[:, 1])
        x = np.cos(lat) * np.sin(lon)
        y = self.cos_lat * np.sin(lat) - self.sin_lat * np.cos(lat) * np.cos(lon)
        across = np.hypot(x, y)
        angle = np.arctan2(across, self.sin_lat * np.sin(lat) + self.cos_lat * np.cos(lat) * np.cos(lon))
        scale = EARTH_RADIUS_M * np.divide(angle, across, out=np.ones_like(angle), where=across > 0)
        return np.column_stack((x * scale, y * scale))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """The place (lon, lat) of a point on this map."""
        metres = hypot(x, y)
        if metres == 0.0:
            return degrees(self.lon), degrees(asin(self.sin_lat))
        angle = metres / EARTH_RADIUS_M
        lat = asin(max(-1.0, min(1.0, cos(angle) * self.sin_lat + y * sin(angle) * self.cos_lat / metres)))
        lon = self.lon + atan2(x * sin(angle), metres * self.cos_lat * cos(angle) - y * self.sin_lat * sin(angle))
        return degrees(lon), degrees(lat)
