"""The shapes of places: checking GeoJSON geometries (RFC 7946) as values of GeoProperties.

Source: ETSI GS CIM 009 v1.9.1 clause 4.7 (all geometries but GeometryCollection; a geometry may come as JSON text).
Self-intersecting polygons are not refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from sejong.hub.ngsi.fault import Fault, shown
from sejong.hub.ngsi.members import Doc


def is_geometry(value: object) -> bool:
    """True for an object that presents itself as a geometry (it may still be malformed)."""
    if not isinstance(value, dict) or "coordinates" not in value:
        return False
    kind = value.get("type")
    return isinstance(kind, str) and kind in _CHECKS


def check_geometry(value: Any) -> Doc:
    """The geometry itself, read from its JSON text if need be. Raises Fault when it is none, or an open polygon."""
    if isinstance(value, str):
        value = _from_text(value)
    if not isinstance(value, dict):
        raise Fault(f"{shown(value)} is not a GeoJSON geometry")
    kind = value.get("type")
    check = _CHECKS.get(kind) if isinstance(kind, str) else None
    if check is None:
        raise Fault(f"{shown(kind)} is not a geometry type ({', '.join(_CHECKS)})", "type")
    try:
        check(value.get("coordinates"))
    except Fault as fault:
        raise fault.within("coordinates") from None
    if len(value) > 2:
        _check_bbox(value.get("bbox"))
    return value


def _from_text(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise Fault(f"{shown(text)} is not the JSON text of a geometry") from None


def _number(value: Any) -> bool:
    return value.__class__ is float or value.__class__ is int


def _position(value: Any) -> None:
    if value.__class__ is not list or not 2 <= len(value) <= 4 or not all(map(_number, value)):
        raise Fault(f"{shown(value)} is not a position [longitude, latitude(, height)]")


def _line(value: Any) -> None:
    _each(_position, value, 2, "a line has at least two positions")


def _ring(value: Any) -> None:
    _each(_position, value, 4, "a ring of a polygon has at least four positions")
    if value[0] != value[-1]:
        raise Fault("a ring of a polygon must end where it begins")


def _polygon(value: Any) -> None:
    _each(_ring, value, 1, "a polygon has at least one ring")


def _each(check: Callable[[Any], None], value: Any, least: int, rule: str) -> None:
    if value.__class__ is not list or len(value) < least:
        raise Fault(rule)
    for number, part in enumerate(value):
        try:
            check(part)
        except Fault as fault:
            raise fault.within(f"[{number}]") from None


def _several(check: Callable[[Any], None]) -> Callable[[Any], None]:
    def check_all(value: Any) -> None:
        _each(check, value, 1, "an array of coordinates must not be empty")

    return check_all


_CHECKS: Final[dict[str, Callable[[Any], None]]] = {
    "Point": _position,
    "MultiPoint": _several(_position),
    "LineString": _line,
    "MultiLineString": _several(_line),
    "Polygon": _polygon,
    "MultiPolygon": _several(_polygon),
}
GEOMETRY_TYPES: Final = frozenset(_CHECKS)


def _check_bbox(value: Any) -> None:
    if value is not None and not (isinstance(value, list) and len(value) in (4, 6) and all(map(_number, value))):
        raise Fault(f"{shown(value)} is not a bounding box", "bbox")
