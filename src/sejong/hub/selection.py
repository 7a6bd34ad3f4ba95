"""Which entities a query means: every filter of the standard, as SQL where it can, exact in Python where it must.

The database gives rows that may match and says which certainly do; only the rest are read and tested.
Source: ETSI GS CIM 009 v1.9.1 clauses 5.7.2, 4.9 (q), 4.10 (geo), 4.17 (types), 4.18–4.19 (scopes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from sejong.hub.ngsi import geosql, qsql, scope, typeselect
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.geo import GeoQuery, compile_geo, parse_geo
from sejong.hub.ngsi.patterns import compile_pattern
from sejong.hub.ngsi.q import Query, attributes, compile_predicate, link_depth, parse_q, terms
from sejong.hub.ngsi.qmatch import Linked, instances, targets
from sejong.hub.ngsi.scope import ScopeQuery, parse_scope_q, scope_predicate
from sejong.hub.ngsi.sql import EVERYTHING, Fragment, all_of, any_of, exact
from sejong.hub.ngsi.typeselect import TypeSelection, parse_types, type_predicate

Doc = dict[str, Any]
Test = Callable[[Doc], bool]
Expand = Callable[[str], str]


class Who(msgspec.Struct, frozen=True):
    """One alternative of "which entities": all given conditions must hold."""

    ids: tuple[str, ...] | None = None
    pattern: str | None = None
    types: TypeSelection | None = None


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides whether an entity is meant."""

    who: tuple[Who, ...] = ()
    q: Query | None = None
    geo: GeoQuery | None = None
    scope: ScopeQuery | None = None
    attributes: frozenset[str] | None = None
    """IRIs of which one must be there (the deprecated `attrs`)."""
    map: int | None = None
    """Number of the entity map whose entities alone may be meant (`hub/entity_maps.py`)."""

    @property
    def is_wide(self) -> bool:
        """Whether nothing narrows it enough: the standard wants a type, an attribute, q, or a place (5.7.2.4)."""
        typed = bool(self.who) and all(who.types is not None for who in self.who)
        return not (typed or self.geo is not None or self.attributes or (self.q and attributes(self.q)))

    @property
    def asks_attributes(self) -> bool:
        """Whether attributes decide, any of which may have expired since its row was written."""
        return self.q is not None or self.geo is not None or self.attributes is not None

    @property
    def links(self) -> tuple[frozenset[tuple[str, ...]], ...]:
        """For each step of joining, the paths of Relationships whose linked entities `q` looks into."""
        found: list[set[tuple[str, ...]]] = []
        for term in terms(self.q.root) if self.q is not None else ():
            path, depth = term.path, 0
            while path.linked is not None:
                if depth == len(found):
                    found.append(set())
                found[depth].add(tuple(name.key for name in path.names))
                path, depth = path.linked, depth + 1
        return tuple(map(frozenset, found))

    def about(self, *, history: bool = False) -> Selection:
        """The part that looks at attributes (`history`), or the part that looks at the entity itself."""
        if history:
            return Selection(q=self.q, geo=self.geo)
        return Selection(who=self.who, scope=self.scope, map=self.map)

    def asked(self) -> frozenset[str]:
        """The attributes that `q` and the geoquery look at, by IRI."""
        found = set() if self.q is None else attributes(self.q)
        return frozenset(found if self.geo is None else {*found, self.geo.geoproperty})

    def names(self) -> frozenset[str]:
        """Every type and attribute that is named, so that the store can look up their numbers."""
        return self.types() | self.asked() | (self.attributes or frozenset())

    def test(self, linked: Linked | None = None) -> Test:
        """The exact test on an expanded entity. `linked` finds the entities `q` looks into by their id."""
        tests: list[Test] = []
        if self.who:
            tests.append(_any([_who_test(who) for who in self.who]))
        if self.attributes is not None:
            wanted = self.attributes
            tests.append(lambda entity: not wanted.isdisjoint(entity.keys()))
        if self.scope is not None:
            matches = scope_predicate(self.scope)
            tests.append(lambda entity: matches(entity.get("scope", ())))
        if self.q is not None:
            tests.append(compile_predicate(self.q, linked))
        if self.geo is not None:
            tests.append(compile_geo(self.geo))
        return lambda entity: all(test(entity) for test in tests)

    def types(self) -> frozenset[str]:
        """Every type that is named, so that the store can tell which occur as second types."""
        return frozenset(iri for who in self.who if who.types is not None for iri in who.types.types)

    def where(
        self, number: Callable[[str], int | None], bind: Callable[[Any], str], second: frozenset[int]
    ) -> Fragment:
        """The conditions on `hub.entity`, parameters bound through `bind`.

        `second`: numbers of those of `types` that some entity has as a further type.
        """
        parts: list[Fragment] = []
        if self.who:
            parts.append(any_of([_who_sql(who, number, bind, second) for who in self.who]))
        if self.attributes is not None:
            numbers = [str(n) for iri in sorted(self.attributes) if (n := number(iri)) is not None]
            parts.append(exact(f"(q ?| {bind(numbers)}::text[])"))
        if self.scope is not None:
            parts.append(scope.to_sql(self.scope, bind))
        if self.q is not None:
            parts.append(qsql.to_sql(self.q, number, bind))
        if self.geo is not None:
            parts.append(geosql.to_sql(self.geo, number, bind))
        if self.map is not None:
            parts.append(exact(f"no in (select eno from hub.entity_map_member where map = {bind(self.map)})"))
        return all_of(parts) if parts else EVERYTHING

    @property
    def is_scanned(self) -> bool:
        """Whether only looking at entity after entity finds what is meant (no id, no place leads there)."""
        placed = self.geo is not None or self.map is not None or any(who.ids is not None for who in self.who)
        return not placed and (self.q is not None or self.attributes is not None)

    def first_type(self, number: Callable[[str], int | None], second: frozenset[int]) -> int | None:
        """The number of the one type the index on (tenant, type, number) can be walked by, if there is but one."""
        if len(self.who) != 1 or self.who[0].types is None:
            return None
        known = [n for iri in self.who[0].types.simple_types or () if (n := number(iri)) is not None]
        return known[0] if len(known) == 1 and known[0] not in second else None


def select(
    expand: Expand,
    *,
    who: Sequence[Who] = (),
    q: str | None = None,
    georel: str | None = None,
    geometry: str | None = None,
    coordinates: object = None,
    geoproperty: str | None = None,
    scope_q: str | None = None,
    attrs: frozenset[str] = frozenset(),
    expand_values: str | Sequence[str] | None = None,
    json_keys: str | Sequence[str] | None = None,
    join_level: int = 0,
) -> Selection:
    """A selection from the parameters of a query (`attrs` as IRIs). Raises BadRequestData, TooComplexQuery."""
    query = None if q is None else parse_q(q, expand, expand_values=expand_values, json_keys=json_keys)
    depth = 0 if query is None else link_depth(query)
    if depth > join_level:
        raise BadRequestData(f"q: it looks {depth} links away, but {join_level} are joined (join, joinLevel)")
    return Selection(
        who=tuple(who),
        q=query,
        geo=parse_geo(georel, geometry, coordinates, geoproperty, expand),
        scope=None if scope_q is None else parse_scope_q(scope_q),
        attributes=attrs or None,
    )


def someone(expand: Expand, ids: Sequence[str] | None, pattern: str | None, types: str | None) -> Who:
    """One alternative of "which entities". Raises BadRequestData."""
    if pattern is not None:
        compile_pattern(pattern)
    return Who(
        ids=None if ids is None else tuple(ids),
        pattern=pattern,
        types=None if types is None else parse_types(types, expand),
    )


def link_targets(entity: Doc, paths: frozenset[tuple[str, ...]]) -> set[str]:
    """The ids behind the Relationships at these paths of an entity."""
    found: set[str] = set()
    for path in paths:
        nodes = [entity]
        for key in path:
            nodes = [one for node in nodes for one in instances(node, key)]
        for node in nodes:
            if node.get("type") in ("Relationship", "ListRelationship"):
                found.update(target for target in targets(node) if isinstance(target, str))
    return found


def _any(tests: list[Test]) -> Test:
    return tests[0] if len(tests) == 1 else lambda entity: any(test(entity) for test in tests)


def _who_test(who: Who) -> Test:
    ids = None if who.ids is None else frozenset(who.ids)
    pattern = None if who.pattern is None else compile_pattern(who.pattern)
    types = None if who.types is None else type_predicate(who.types)

    def test(entity: Doc) -> bool:
        if ids is not None and entity["id"] not in ids:
            return False
        if pattern is not None and not pattern.search(entity["id"]):
            return False
        return types is None or types(entity["type"])

    return test


def _who_sql(
    who: Who, number: Callable[[str], int | None], bind: Callable[[Any], str], second: frozenset[int]
) -> Fragment:
    parts: list[Fragment] = []
    if who.ids is not None:
        parts.append(exact(f"id = any({bind(list(who.ids))}::text[])"))
    if who.pattern is not None:
        # The database may not read a pattern as the standard does: every row is tested again.
        parts.append(Fragment("true", "false"))
    if who.types is not None:
        parts.append(_types_sql(who.types, number, bind, second))
    return all_of(parts) if parts else EVERYTHING


def _types_sql(
    types: TypeSelection, number: Callable[[str], int | None], bind: Callable[[Any], str], second: frozenset[int]
) -> Fragment:
    simple = types.simple_types
    numbers = [n for iri in simple or () if (n := number(iri)) is not None]
    if simple is None or not second.isdisjoint(numbers):
        return typeselect.to_sql(types, number, bind)
    # Every entity of these types has them as its first: the index on (tenant, type0, no) answers.
    return exact(f"type0 = {bind(numbers[0])}" if len(numbers) == 1 else f"type0 = any({bind(numbers)}::int[])")
