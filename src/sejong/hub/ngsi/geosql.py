"""Geoqueries over the entity table: candidates from the GiST indexes, certainty where arithmetic decides.

Columns: ``lon, lat`` (any entity with a location), ``geom_box`` (its bounding box unless it is a single
point), ``q``. Sure are only single points: near a point, or inside an upright rectangle, which is what maps
on a screen ask for.
"""

from __future__ import annotations

from math import cos, radians
from typing import Final

from sejong.hub.ngsi.geometry import GeoQuery, Shape, read_shape
from sejong.hub.ngsi.sql import FALSE, NOTHING, Bind, Draft, Fragment, TermNo
from sejong.kernel.geo import EARTH_RADIUS_M, BBox

_SLACK_DEGREES: Final = 1e-6
"""PostgreSQL compares boxes with this tolerance; candidates are taken that much more generously."""
_SLACK_M: Final = 0.01
_TINY_DEGREES: Final = "1e-9"
"""Smaller differences count as none, because PostgreSQL raises an error when a square underflows."""


def to_sql(query: GeoQuery, term_no: TermNo, bind: Bind, *, prefix: str = "", with_sure: bool = True) -> Fragment:
    """The geoquery as conditions on the entity table (see sql.Fragment; columns after ``prefix``).

    Geoproperties other than location are not indexed: rows that have them are maybe, none is sure.
    """
    draft = Draft()
    return draft.bound(_Writer(draft, prefix).query(query, term_no), bind, with_sure=with_sure)


class _Writer:
    def __init__(self, draft: Draft, prefix: str) -> None:
        self.value = draft.value
        self.lon, self.lat = f"{prefix}lon", f"{prefix}lat"
        self.box, self.q = f"{prefix}geom_box", f"{prefix}q"
        self.located = f"({self.lon} is not null)"
        self.is_point = f"{self.box} is null and {self.lon} is not null"
        self.on_earth = f"{self.lon} between -180 and 180 and {self.lat} between -90 and 90"

    def query(self, query: GeoQuery, term_no: TermNo) -> Fragment:
        if not query.is_default:
            number = term_no(query.geoproperty)
            return NOTHING if number is None else Fragment(f"({self.q} ? '{number:d}')", FALSE)
        reference = read_shape(query.geometry)
        assert reference is not None
        if query.georel == "near":
            return self.near(query, reference)
        bounds = _bounds(reference)
        if query.georel == "disjoint":
            return Fragment(self.located, self.outside(bounds))
        boxes = self.boxes([bounds])
        if query.georel == "overlaps":
            return Fragment(self.extended(boxes), FALSE)
        sure = self.inside(bounds) if query.georel in ("within", "intersects") and _upright(query) else FALSE
        return Fragment(self.candidates(boxes), sure)

    def near(self, query: GeoQuery, reference: Shape) -> Fragment:
        if query.max_distance is None:
            farther = f"> {self.metres((query.min_distance or 0.0) * (1 + 1e-9) + _SLACK_M)}"
            return Fragment(self.located, self.measured(reference, farther))
        around = _bounds(reference).expand(query.max_distance * 1.01 + 100)
        closer = f"<= {self.metres(query.max_distance * (1 - 1e-9) - _SLACK_M)}"
        return Fragment(self.candidates(self.boxes(_on_map(around))), self.measured(reference, closer))

    # --- pieces ---

    def metres(self, metres: float) -> str:
        return f"{self.value(metres)}::float8"

    def boxes(self, bounds: list[BBox]) -> list[str]:
        return [
            f"box(point({self.metres(b.west - _SLACK_DEGREES)}, {self.metres(b.south - _SLACK_DEGREES)}), "
            f"point({self.metres(b.east + _SLACK_DEGREES)}, {self.metres(b.north + _SLACK_DEGREES)}))"
            for b in bounds
        ]

    def candidates(self, boxes: list[str]) -> str:
        """Rows whose point lies in, or whose box meets, one of the boxes; both indexes serve it."""
        points = [f"({self.is_point} and point({self.lon}, {self.lat}) <@ {box})" for box in boxes]
        return f"({' or '.join(points)} or {self.extended(boxes)})"

    def extended(self, boxes: list[str]) -> str:
        return "(" + " or ".join(f"({self.box} is not null and {self.box} && {box})" for box in boxes) + ")"

    def inside(self, bounds: BBox) -> str:
        west, south, east, north = map(self.metres, (bounds.west, bounds.south, bounds.east, bounds.north))
        return (
            f"({self.is_point} and {self.lon} > {west} and {self.lon} < {east}"
            f" and {self.lat} > {south} and {self.lat} < {north})"
        )

    def outside(self, bounds: BBox) -> str:
        west, south, east, north = map(self.metres, (bounds.west, bounds.south, bounds.east, bounds.north))
        return (
            f"({self.is_point} and {self.on_earth} and ({self.lon} < {west} or {self.lon} > {east}"
            f" or {self.lat} < {south} or {self.lat} > {north}))"
        )

    def measured(self, reference: Shape, compared: str) -> str:
        """Single points by their haversine distance to a reference point; other references: nothing."""
        if not isinstance(reference, tuple):
            return FALSE
        lon, lat = reference
        north = self.half_sine(self.lat, self.metres(lat))
        east = self.half_sine(self.lon, self.metres(lon))
        shrink = f"{self.metres(cos(radians(lat)))} * cos(radians({self.lat}))"
        arc = f"2 * asin(least(1, sqrt(greatest(0, {north}^2 + {shrink} * {east}^2))))"
        return f"({self.is_point} and {self.on_earth} and {EARTH_RADIUS_M} * {arc} {compared})"

    def half_sine(self, column: str, origin: str) -> str:
        """Sine of half the difference of two angles in degrees."""
        difference = f"({column} - {origin})"
        return f"(case when abs({difference}) < {_TINY_DEGREES} then 0 else sin(radians({difference}) / 2) end)"


def _bounds(shape: Shape) -> BBox:
    return BBox(*shape, *shape) if isinstance(shape, tuple) else BBox(*shape.bounds)


def _on_map(box: BBox) -> list[BBox]:
    """The box within -180..180 and -90..90: in two parts if it crosses the date line, all round at a pole."""
    south, north = max(box.south, -90.0), min(box.north, 90.0)
    if box.east - box.west >= 360.0:
        return [BBox(-180.0, south, 180.0, north)]
    if box.west < -180.0:
        return [BBox(-180.0, south, box.east, north), BBox(box.west + 360.0, south, 180.0, north)]
    if box.east > 180.0:
        return [BBox(box.west, south, 180.0, north), BBox(-180.0, south, box.east - 360.0, north)]
    return [box]


def _upright(query: GeoQuery) -> bool:
    """Whether the reference is a rectangle along meridians and parallels, without holes."""
    rings = query.geometry["coordinates"]
    if query.geometry["type"] != "Polygon" or len(rings) != 1 or len(rings[0]) != 5:
        return False
    corners = [tuple(position[:2]) for position in rings[0][:4]]
    sides = zip(corners, corners[1:] + corners[:1], strict=True)
    along = all((a[0] == b[0]) != (a[1] == b[1]) for a, b in sides)
    lons, lats = {corner[0] for corner in corners}, {corner[1] for corner in corners}
    return along and len(lons) == len(lats) == 2 and len(set(corners)) == 4
