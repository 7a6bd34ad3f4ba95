"""In which order entities are answered: ``orderBy=name;desc,age,address[city],location;dist-asc``.

Source: ETSI GS CIM 009 V1.9.1 clause 4.23. Kinds of values keep their rank in both directions (numbers,
strings, objects, arrays, booleans, times, dates, moments, null), and what is absent comes last. Of several
instances the default one (else the first) counts; of a LanguageProperty without a language its ``@none``
text, else the first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from sejong.hub.ngsi.collation import key_function, parse_collation
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.geo import parse_geometry
from sejong.hub.ngsi.geometry import Shape, distance_from, read_shape
from sejong.hub.ngsi.instants import try_date, try_instant, try_time
from sejong.hub.ngsi.names import ENTITY_MEMBERS, INSTANCE_MEMBERS, AttributePath, Cursor, Expand
from sejong.hub.ngsi.qmatch import instances, is_number, member_value, targets

Direction = Literal["asc", "desc", "dist-asc", "dist-desc"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("asc", "desc", "dist-asc", "dist-desc")
MAX_TERMS: Final = 10
_SYSTEM: Final = ENTITY_MEMBERS | {"id", "type", "scope"}
_MISSING: Final = object()

_NEAR, _NUMBER, _STRING, _OBJECT, _ARRAY, _BOOLEAN, _TIME, _DATE, _DATETIME, _NULL, _ABSENT = range(-1, 10)


class OrderTerm(Struct, frozen=True):
    """One thing to order by, and which way."""

    path: AttributePath
    direction: Direction = "asc"

    @property
    def by_distance(self) -> bool:
        """Whether the distance from the reference counts, and not the value."""
        return self.direction.startswith("dist-")

    @property
    def descending(self) -> bool:
        """Whether large comes first."""
        return self.direction.endswith("desc")


class Ordering(Struct, frozen=True):
    """The terms, each deciding where all before it are equal; the origin of distances; the collation."""

    terms: tuple[OrderTerm, ...]
    reference: dict[str, Any] | None = None
    collation_levels: int = 3

    @property
    def only_by_id(self) -> bool:
        """Whether it orders by entity id alone, which every store can do."""
        return all(term.path.names[0].key == "id" for term in self.terms)


def parse_order(
    order_by: str | Iterable[str] | None,
    expand: Expand,
    *,
    order_from: object = None,
    order_geometry: str | None = None,
    collation: str | None = None,
) -> Ordering | None:
    """The ordering of a request, or None when it has none. ``order_by``: comma list, or an array of terms.

    Raises BadRequestData: malformed terms, unknown directions, a distance without orderFrom, a bad geometry
    or collation, orderFrom and the like without orderBy. TooComplexQuery above 10 terms.
    """
    if order_by is None:
        given = {"orderFrom": order_from, "orderGeometry": order_geometry, "collation": collation}
        for name, value in given.items():
            if value is not None:
                raise BadRequestData(f"{name} needs orderBy")
        return None
    texts = [order_by] if isinstance(order_by, str) else list(order_by)
    terms = [term for text in texts for term in _terms(text, expand)]
    if not terms:
        raise BadRequestData("orderBy: it must not be empty")
    if len(terms) > MAX_TERMS:
        Cursor("", "orderBy", expand).too_complex(f"more than {MAX_TERMS} terms")
    reference = None
    if order_from is not None:
        reference = parse_geometry(order_geometry or "Point", order_from, "orderFrom")
    elif order_geometry is not None or any(term.by_distance for term in terms):
        raise BadRequestData("ordering by distance needs orderFrom, the coordinates to measure from")
    return Ordering(tuple(terms), reference, parse_collation(collation))


def _terms(text: object, expand: Expand) -> list[OrderTerm]:
    if not isinstance(text, str):
        raise BadRequestData(f"orderBy: {text!r} is not an attribute path")
    at = Cursor(text, "orderBy", expand)
    terms: list[OrderTerm] = []
    while True:
        path = at.path(_SYSTEM, links=False)
        terms.append(OrderTerm(path, _direction(at) if at.take(";") else "asc"))
        if not at.take(","):
            break
    if not at.at_end:
        at.fail("expected , or ; or the end")
    return terms


def _direction(at: Cursor) -> Direction:
    for direction in sorted(DIRECTIONS, key=len, reverse=True):
        if at.take(direction):
            return direction
    raise at.fault("expected asc, desc, dist-asc or dist-desc")


# --- keys ---


class _Descending:
    """Turns the comparison of a key round."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __lt__(self, other: _Descending) -> bool:
        return other.key < self.key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def sort_key(ordering: Ordering) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """A key for ``sorted`` over expanded entities; where keys are equal the store's own order stays."""
    reference = None if ordering.reference is None else read_shape(ordering.reference)
    measure = None if reference is None else distance_from(reference)
    collate = key_function(ordering.collation_levels)
    keys = tuple(_term_key(term, measure, collate) for term in ordering.terms)
    return lambda entity: tuple(part for key in keys for part in key(entity))


def _term_key(
    term: OrderTerm,
    measure: Callable[[Shape], float] | None,
    collate: Callable[[str], tuple[str, ...]],
) -> Callable[[Mapping[str, Any]], tuple[int, Any]]:
    path, descending = term.path, term.descending
    measure = measure if term.by_distance else None

    def key(entity: Mapping[str, Any]) -> tuple[int, Any]:
        value = _value(entity, path)
        shape = None if measure is None else read_shape(value)
        if measure is not None and shape is not None:
            rank, comparable = _NEAR, measure(shape)
        else:
            rank, comparable = _ranked(value, collate)
        return rank, _Descending(comparable) if descending else comparable

    return key


def _ranked(value: Any, collate: Callable[[str], tuple[str, ...]]) -> tuple[int, Any]:
    if value is _MISSING:
        return _ABSENT, 0
    if value is None:
        return _NULL, 0
    if is_number(value):
        return _NUMBER, value
    if isinstance(value, bool):
        return _BOOLEAN, value
    if isinstance(value, dict) and isinstance(value.get("@value"), str):
        value = value["@value"]
    if isinstance(value, str):
        return _text(value, collate)
    rank = _ARRAY if isinstance(value, list) else _OBJECT
    return rank, collate(json.dumps(value, ensure_ascii=False, sort_keys=True, default=str))


def _text(text: str, collate: Callable[[str], tuple[str, ...]]) -> tuple[int, Any]:
    moment = try_instant(text)
    if moment is not None:
        return _DATETIME, moment
    day = try_date(text)
    if day is not None:
        return _DATE, day
    clock = try_time(text)
    if clock is not None:
        return _TIME, clock
    return _STRING, collate(text)


def _value(entity: Mapping[str, Any], path: AttributePath) -> Any:
    keys = [name.key for name in path.names]
    if len(keys) == 1 and keys[0] in _SYSTEM:
        value = entity.get(keys[0], _MISSING)
        return value[0] if isinstance(value, list) and len(value) == 1 else value
    node: Any = entity
    for key in keys:
        if key in INSTANCE_MEMBERS and node is not entity:
            return node.get(key, _MISSING)
        found = instances(node, key)
        if not found:
            return _MISSING
        node = next((instance for instance in found if "datasetId" not in instance), found[0])
    return _shown(node, path.members)


def _shown(instance: dict[str, Any], members: tuple[str, ...]) -> Any:
    kind = instance.get("type")
    if kind in ("Relationship", "ListRelationship"):
        if members:
            return _MISSING
        uris = targets(instance)
        return uris[0] if len(uris) == 1 and kind == "Relationship" else uris
    if kind == "LanguageProperty":
        return _spoken(instance.get("languageMap"), members)
    return member_value(instance, members, _MISSING)


def _spoken(language_map: Any, members: tuple[str, ...]) -> Any:
    if not isinstance(language_map, dict) or not language_map or len(members) > 1:
        return _MISSING
    if members and members[0] != "*":
        tag = members[0].lower()
        return next((text for key, text in language_map.items() if str(key).lower() == tag), _MISSING)
    return language_map.get("@none", next(iter(language_map.values())))
