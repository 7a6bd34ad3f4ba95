"""SensorThings filters and orders as conditions on the record. Pure: every value of a client is bound, never written.

Source: OGC 18-088 §8 (entities and their relations), §9.3.3.5 ($filter, its operators and functions).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from sejong.hub.sta.fault import NotUnderstood
from sejong.hub.sta.options import Apply, Literal, Node, Path
from sejong.hub.store.sta import ID_BITS, exists, exists_within

NAME = "https://smartdatamodels.org/name"
DESCRIPTION = "https://smartdatamodels.org/description"
_LABEL = f"coalesce(hub.text_of(e{{d}}.doc, '{NAME}', 'ko'), e{{d}}.id)"
_PROPERTY = "regexp_replace(p{d}.iri, '^.*[/#:]', '')"
_STREAM_ID = f"((e{{d}}.no::bigint << {ID_BITS}) | p{{d}}.no)::float8"
_UNIT = "(convert_from(e{d}.doc, 'UTF8')::json -> p{d}.iri -> 0 ->> 'unitCode')"
_GEO = "geo"

PROPERTIES: dict[str, dict[str, tuple[str, str]]] = {
    "Things": {
        "id": ("e{d}.no::float8", "num"),
        "name": (_LABEL, "text"),
        "description": (f"hub.text_of(e{{d}}.doc, '{DESCRIPTION}', 'ko')", "text"),
        "properties/id": ("e{d}.id", "text"),
    },
    "Locations": {
        "id": ("e{d}.no::float8", "num"),
        "name": (_LABEL, "text"),
        "encodingType": ("'application/geo+json'::text", "text"),
        "location": ("e{d}", _GEO),
    },
    "FeaturesOfInterest": {
        "id": ("e{d}.no::float8", "num"),
        "name": (_LABEL, "text"),
        "encodingType": ("'application/geo+json'::text", "text"),
        "feature": ("e{d}", _GEO),
    },
    "HistoricalLocations": {"id": ("e{d}.no::float8", "num"), "time": ("e{d}.modified", "time")},
    "Datastreams": {
        "id": (_STREAM_ID, "num"),
        "name": (f"{_LABEL} || ': ' || {_PROPERTY}", "text"),
        "description": (_PROPERTY, "text"),
        "unitOfMeasurement/name": (_UNIT, "text"),
        "observedArea": ("e{d}", _GEO),
    },
    "Sensors": {"id": (_STREAM_ID, "num"), "name": (f"{_LABEL} || ': ' || {_PROPERTY}", "text")},
    "ObservedProperties": {
        "id": ("p{d}.no::float8", "num"),
        "name": (_PROPERTY, "text"),
        "definition": ("p{d}.iri", "text"),
        "description": ("p{d}.iri", "text"),
    },
    "Observations": {
        "phenomenonTime": ("h{d}.t", "time"),
        "resultTime": ("h{d}.t", "time"),
        "result": ("h{d}.num", "num"),
        "parameters/recordedAt": ("h{d}.modified", "time"),
    },
}
"""Entity set → property → what it is in the record, and its kind."""
_SAME = "same"
_WITHIN = "within e{d}"
LINKS: dict[str, dict[str, tuple[str, bool, str]]] = {
    "Things": {
        "Locations": ("Locations", True, _SAME),
        "HistoricalLocations": ("HistoricalLocations", True, "e{n}.no = e{d}.no"),
        "Datastreams": ("Datastreams", True, _WITHIN),
    },
    "Locations": {
        "Things": ("Things", True, _SAME),
        "HistoricalLocations": ("HistoricalLocations", True, "e{n}.no = e{d}.no"),
    },
    "HistoricalLocations": {"Thing": ("Things", False, _SAME), "Locations": ("Locations", True, _SAME)},
    "Datastreams": {
        "Thing": ("Things", False, _SAME),
        "Sensor": ("Sensors", False, _SAME),
        "ObservedProperty": ("ObservedProperties", False, _SAME),
        "Observations": ("Observations", True, "h{n}.eno = e{d}.no and h{n}.ano = p{d}.no"),
    },
    "Sensors": {"Datastreams": ("Datastreams", True, _SAME)},
    "ObservedProperties": {"Datastreams": ("Datastreams", True, "p{n}.no = p{d}.no")},
    "Observations": {
        "Datastream": ("Datastreams", False, _SAME),
        "FeatureOfInterest": ("FeaturesOfInterest", False, _SAME),
    },
    "FeaturesOfInterest": {"Observations": ("Observations", True, "h{n}.eno = e{d}.no")},
}
"""Entity set → navigation → target, whether to many, and how the two meet (`same`: in one row of the record)."""

Bind = Callable[[Any], str]


class _Term(msgspec.Struct, frozen=True):
    sql: str
    kind: str
    wraps: tuple[tuple[str, int, str], ...] = ()
    """Subqueries this stands in, outermost first: set, depth, how it meets the one outside."""


_NUM, _TEXT, _TIME, _BOOL = "num", "text", "time", "bool"
FUNCTIONS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "substringof": ((_TEXT, _TEXT), _BOOL, "(position({0} in {1}) > 0)"),
    "contains": ((_TEXT, _TEXT), _BOOL, "(position({1} in {0}) > 0)"),
    "startswith": ((_TEXT, _TEXT), _BOOL, "starts_with({0}, {1})"),
    "endswith": ((_TEXT, _TEXT), _BOOL, "(right({0}, length({1})) = {1})"),
    "length": ((_TEXT,), _NUM, "length({0})::float8"),
    "indexof": ((_TEXT, _TEXT), _NUM, "(position({1} in {0}) - 1)::float8"),
    "tolower": ((_TEXT,), _TEXT, "lower({0})"),
    "toupper": ((_TEXT,), _TEXT, "upper({0})"),
    "trim": ((_TEXT,), _TEXT, "btrim({0})"),
    "concat": ((_TEXT, _TEXT), _TEXT, "({0} || {1})"),
    "substring": ((_TEXT, _NUM), _TEXT, "substr({0}, greatest(0, least({1}, 1e6))::int + 1)"),
    "round": ((_NUM,), _NUM, "round({0}::numeric)::float8"),
    "floor": ((_NUM,), _NUM, "floor({0})"),
    "ceiling": ((_NUM,), _NUM, "ceiling({0})"),
    **{
        name: ((_TIME,), _NUM, f"extract({name} from {{0}} at time zone 'UTC')::float8")
        for name in ("year", "month", "day", "hour", "minute")
    },
    "second": ((_TIME,), _NUM, "floor(extract(second from {0}))::float8"),
    "now": ((), _TIME, "$1::timestamptz"),
    # The earth as a sphere of 6,371,008.8 m (mean radius, IUGG); in degrees as OData's geo.distance on a plane would
    # be useless for people, so metres.
    "geo.distance": (
        (_GEO, _GEO),
        _NUM,
        "(2 * 6371008.8 * asin(least(1, sqrt(sin(radians({1y} - {0y}) / 2) ^ 2 + cos(radians({0y})) * "
        "cos(radians({1y})) * sin(radians({1x} - {0x}) / 2) ^ 2))))",
    ),
    "geo.intersects": ((_GEO, "area"), _BOOL, "(point({0x}, {0y}) <@ {1}::text::polygon)"),
    "st_within": ((_GEO, "area"), _BOOL, "(point({0x}, {0y}) <@ {1}::text::polygon)"),
    "st_intersects": ((_GEO, "area"), _BOOL, "(point({0x}, {0y}) <@ {1}::text::polygon)"),
}
"""Function → kinds of its arguments, kind of its result, how the database says it."""
_SIGNS = {"eq": "=", "ne": "<>", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_SUMS = {"add": "+", "sub": "-", "mul": "*"}
_POINT = re.compile(r"POINT\s*\(\s*(-?\d+(?:\.\d+)?)\s+(-?\d+(?:\.\d+)?)\s*\)", re.I)
_POLYGON = re.compile(r"POLYGON\s*\(\(\s*([-\d.,\s]+?)\s*\)\)", re.I)


class Compiler:
    """Conditions on one entity set. `bind` takes a value and gives its place in the statement."""

    def __init__(self, entity_set: str, bind: Bind) -> None:
        self.entity_set, self._bind = entity_set, bind
        self._depth = 0

    def condition(self, node: Node) -> str:
        """A filter. Raises NotUnderstood."""
        if isinstance(node, Apply) and node.name in ("and", "or"):
            left, right = (self.condition(part) for part in node.args)
            return f"({left} {node.name} {right})"
        if isinstance(node, Apply) and node.name == "not":
            return f"(not coalesce({self.condition(node.args[0])}, false))"
        term = self._term(node)
        if term.kind != _BOOL:
            raise NotUnderstood(why="$filter is not a condition")
        return self._wrapped(term)

    def order(self, node: Node, down: bool) -> str:
        """One thing to order by. Raises NotUnderstood."""
        term = self._term(node)
        if term.wraps or term.kind not in (_NUM, _TEXT, _TIME):
            raise NotUnderstood(why="$orderby: this cannot be ordered by")
        return f"{term.sql} {'desc nulls last' if down else 'asc nulls last'}"

    @staticmethod
    def _wrapped(term: _Term) -> str:
        sql = term.sql
        for entity_set, depth, meets in reversed(term.wraps):
            if meets.startswith("within e"):
                sql = exists_within(depth, int(meets.removeprefix("within e")), sql)
            else:
                sql = exists(entity_set, depth, f"{meets} and {sql}")
        return sql

    def _term(self, node: Node) -> _Term:
        if isinstance(node, Literal):
            return self._literal(node)
        if isinstance(node, Path):
            return self._path(node)
        if node.name in ("and", "or", "not"):
            return _Term(self.condition(node), _BOOL)
        if node.name.endswith("()"):
            return self._call(node.name[:-2].lower(), node.args)
        left, right = (self._term(part) for part in node.args)
        if node.name in _SIGNS:
            return self._comparison(node.name, left, right)
        if left.kind != _NUM or right.kind != _NUM:
            raise NotUnderstood(why=f"{node.name}: numbers are needed")
        return _Term(_sum(node.name, left.sql, right.sql), _NUM, (*left.wraps, *right.wraps))

    def _literal(self, node: Literal) -> _Term:
        if node.kind == _NUM:
            return _Term(f"{self._bind(node.value)}::float8", _NUM)
        if node.kind == _TEXT:
            return _Term(f"{self._bind(node.value)}::text", _TEXT)
        if node.kind == _TIME:
            return _Term(f"{self._bind(node.value)}::timestamptz", _TIME)
        if node.kind == _BOOL:
            return _Term("true" if node.value else "false", _BOOL)
        return _Term(node.value or "", _GEO if node.kind == _GEO else "null")

    def _path(self, node: Path) -> _Term:
        here, depth = self.entity_set, 0
        wraps: list[tuple[str, int, str]] = []
        parts = list(node.parts)
        while len(parts) > 1 and parts[0] in LINKS[here]:
            target, _, meets = LINKS[here][parts.pop(0)]
            if meets != _SAME:
                self._depth += 1
                inner = self._depth
                wraps.append((target, inner, meets.format(d=depth, n=inner)))
                depth = inner
            here = target
        name = "/".join(parts)
        known = PROPERTIES[here].get("id" if name == "@iot.id" else name)
        if known is None:
            raise NotUnderstood(why=f"{here} have no {name[:60]!r} that can be asked for")
        return _Term(known[0].format(d=depth), known[1], tuple(wraps))

    def _comparison(self, name: str, left: _Term, right: _Term) -> _Term:
        wraps = (*left.wraps, *right.wraps)
        if "null" in (left.kind, right.kind):
            if name not in ("eq", "ne"):
                raise NotUnderstood(why=f"null is neither more nor less ({name})")
            other = right if left.kind == "null" else left
            # A whole row is only "not null" when every column of it is.
            sql = f"{other.sql}.lon" if re.fullmatch(r"e\d+", other.sql) else other.sql
            return _Term(f"({sql} is {'not ' if name == 'ne' else ''}null)", _BOOL, wraps)
        if left.kind != right.kind or left.kind == _GEO:
            raise NotUnderstood(why=f"{name}: {left.kind} is not compared with {right.kind}")
        return _Term(f"({left.sql} {_SIGNS[name]} {right.sql})", _BOOL, wraps)

    def _call(self, name: str, args: tuple[Node, ...]) -> _Term:
        known = FUNCTIONS.get(name)
        if known is None or len(args) != len(known[0]):
            raise NotUnderstood(why=f"there is no function {name[:40]} with {len(args)} arguments")
        kinds, result, text = known
        terms = [self._term(arg) for arg in args]
        if kinds == (_GEO, "area") and terms[0].sql[:7].upper() == "POLYGON":
            terms.reverse()
        places: dict[str, str] = {}
        for number, (kind, term) in enumerate(zip(kinds, terms, strict=True)):
            if kind == "area" and term.kind == _GEO:
                text = text.replace(f"{{{number}}}", self._bind(_polygon(term.sql)))
            elif kind == _GEO and term.kind == _GEO:
                x, y = self._point(term.sql)
                places |= {f"{{{number}x}}": x, f"{{{number}y}}": y}
            elif kind != term.kind:
                raise NotUnderstood(why=f"{name}: {term.kind} where {kind} is needed")
            else:
                places[f"{{{number}}}"] = term.sql
        for place, sql in places.items():
            text = text.replace(place, sql)
        return _Term(text, result, tuple(wrap for term in terms for wrap in term.wraps))

    def _point(self, sql: str) -> tuple[str, str]:
        if re.fullmatch(r"e\d+", sql):
            return f"{sql}.lon", f"{sql}.lat"
        match = _POINT.fullmatch(sql.strip())
        if match is None:
            raise NotUnderstood(why=f"{sql[:60]!r} is not POINT(longitude latitude)")
        return f"{self._bind(float(match[1]))}::float8", f"{self._bind(float(match[2]))}::float8"


def _sum(name: str, left: str, right: str) -> str:
    if name in _SUMS:
        return f"({left} {_SUMS[name]} {right})"
    if name == "div":
        return f"({left} / nullif({right}, 0))"
    return f"mod({left}::numeric, nullif({right}, 0)::numeric)::float8"


def _polygon(text: str) -> str:
    """A WKT polygon as the database writes one (its outer ring; holes are refused). Raises NotUnderstood."""
    match = _POLYGON.fullmatch(text.strip())
    if match is None:
        raise NotUnderstood(why=f"{text[:60]!r} is not POLYGON((lon lat, …)) without holes")
    corners = [corner.split() for corner in match[1].split(",")]
    try:
        numbers = [(float(x), float(y)) for x, y in corners]
    except ValueError:
        raise NotUnderstood(why="a corner of the polygon is not two numbers") from None
    return "(" + ",".join(f"({x},{y})" for x, y in numbers) + ")"
