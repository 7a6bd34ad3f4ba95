"""The database's answer lies between sure and maybe: sure rows match, matching rows are maybe.

One world of random entities is stored in a real PostgreSQL; hypothesis asks it random questions. The scalar
index is made by the hub itself (hub.indexing) and, as a second row of each entity, in the widest way its
contract allows.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sejong.hub.indexing import entity_row
from sejong.hub.ngsi.instants import parse_instant
from sejong.hub.ngsi.names import AttributePath, Name
from sejong.hub.ngsi.q import (
    And,
    OneOf,
    Or,
    Query,
    Range,
    Regex,
    Term,
    Value,
    compile_predicate,
    parse_q,
    to_sql,
)

D = "https://city.test/"
ATTRIBUTES = ("a", "b", "c", "d")
NUMBERS = {D + name: number for number, name in enumerate(ATTRIBUTES, 11)} | {D + "T": 7}
ENTITIES = 260
TABLE = """create temp table thing(n int, q jsonb not null, created timestamptz not null,
                                   modified timestamptz not null, expires timestamptz)"""

NUMERIC = [
    0,
    1,
    5,
    5.0,
    -1,
    2.5,
    0.1,
    10**23,
    1e23,
    2**53,
    2**53 + 1,
    9007199254740992.0,
    5e-324,
    -0.0,
    1e308,
    10**400,
]
TEXTS = ["", "5", "true", "red", "Red", "redish", "ared", "red\n", "빨강", "é", "zz", "100%", "a_b", "a\\b",
    "a\x00b",
         "x" * 300, "urn:x:1", "urn:x:2", "http://x/y", "null", "2026-01-02", "2026-01-31", "2026-02-30",
         "10:00:00Z",
         "10:00:00.5Z", "23:59:60Z", "2026-01-02T10:00:00Z", "2026-01-02T10:00:00.000Z",
         "2026-01-02T10:00:00,5Z",
         "2026-01-31T10:00:00Z", "2026-02-30T10:00:00Z", "2026-01-02T10:00:00+09:00",
         "2026-01-02T10:00:00"]  # fmt: skip
MOMENTS = [
    "2026-01-02T10:00:00Z",
    "2026-01-02T10:00:00.5Z",
    "2026-01-31T10:00:00.000Z",
    "2026-06-01T00:00:00Z",
]
OBJECTS: list[Any] = [{}, {"x": 5}, {"x": {"y": "red"}}, {"x": None}, {"x": [1, "red"]}, [], [5, "red"],
    [None], [[5]],
           {"@type": "DateTime", "@value": "2026-01-02T10:00:00Z"}, {"@value": 5}, {"type": "Point",
           "coordinates": [1, 2]}]  # fmt: skip


class World:
    """Random entities in PostgreSQL, each twice: as the hub indexes it, and as widely as it may."""

    def __init__(self, dsn: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.entities = [random_entity(random.Random(n)) for n in range(ENTITIES)]
        self.connection: asyncpg.Connection = self.loop.run_until_complete(asyncpg.connect(dsn))
        self.loop.run_until_complete(self._fill())

    async def _fill(self) -> None:
        await self.connection.execute(TABLE)
        rows = [row for n, document in enumerate(self.entities) for row in self._rows(n, document)]
        await self.connection.executemany("insert into thing values ($1, $2, $3, $4, $5)", rows)

    def _rows(self, n: int, document: dict[str, Any]) -> list[tuple[Any, ...]]:
        row = entity_row(document, NUMBERS.__getitem__)
        times = (row.created, row.modified, row.expires)
        return [(n, row.q.decode(), *times), (n, json.dumps(widest_index(document)), *times)]

    def ask(self, query: Query) -> list[tuple[int, bool, bool]]:
        """(entity, maybe, sure) for every row."""
        values: list[Any] = []

        def bind(value: Any) -> str:
            values.append(value)
            return f"${len(values)}"

        rows = to_sql(query, NUMBERS.get, bind, prefix="t.")
        sql = f"select n, ({rows.maybe}) as maybe, ({rows.sure}) as sure from thing t"
        found = self.loop.run_until_complete(self.connection.fetch(sql, *values))
        return [(row["n"], row["maybe"] is True, row["sure"] is True) for row in found]

    def close(self) -> None:
        self.loop.run_until_complete(self.connection.close())
        self.loop.close()


def random_entity(rng: random.Random) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": "urn:ngsi-ld:T:1",
        "type": [D + "T"],
        "createdAt": rng.choice(["2026-01-02T10:00:00.000000Z", "2026-01-02T10:00:00.500000Z"]),
        "modifiedAt": rng.choice(["2026-01-02T10:00:00.500000Z", "2026-06-01T00:00:00.000001Z"]),
    }
    if rng.random() < 0.3:
        document["expiresAt"] = rng.choice(MOMENTS)
    for name in ATTRIBUTES:
        if rng.random() < 0.75:
            count = 1 if rng.random() < 0.85 else 2
            document[D + name] = [random_instance(rng, second=n > 0) for n in range(count)]
    return document


def random_instance(rng: random.Random, *, second: bool = False, deep: bool = False) -> dict[str, Any]:
    scalar = rng.choice([*NUMERIC, *TEXTS, *TEXTS, True, False])
    uri = rng.choice(["urn:x:1", "urn:x:2", "http://x/y"])
    made: dict[str, Any] = rng.choice(
        [
            {"type": "Property", "value": scalar},
            {"type": "Property", "value": scalar},
            {"type": "Property", "value": scalar},
            {"type": "Property", "value": rng.choice(OBJECTS)},
            {"type": "GeoProperty", "value": OBJECTS[-1]},
            {"type": "Relationship", "object": uri},
            {"type": "Relationship", "object": [uri, "urn:x:9"]},
            {"type": "ListRelationship", "objectList": [{"object": uri}]},
            {"type": "LanguageProperty", "languageMap": {"ko": rng.choice(TEXTS), "en": ["red", "urn:x:1"]}},
            {"type": "VocabProperty", "vocab": uri},
            {"type": "JsonProperty", "json": rng.choice([scalar, *OBJECTS])},
            {"type": "ListProperty", "valueList": [scalar, "red"]},
        ]
    )
    made = dict(made)
    if second or rng.random() < 0.1:
        made["datasetId"] = "urn:x:d"
    if rng.random() < 0.2:
        made["observedAt"] = rng.choice(MOMENTS)
    if not deep and rng.random() < 0.2:
        made[D + "b"] = [random_instance(rng, deep=True)]
    return made


def widest_index(document: dict[str, Any]) -> dict[str, Any]:
    """The scalar index as its contract allows at most: any kind of attribute with one scalar."""
    index: dict[str, Any] = {}
    for name in ATTRIBUTES:
        instances = document.get(D + name)
        if instances is None:
            continue
        members = [instances[0][m] for m in ("value", "object", "vocab", "json") if m in instances[0]]
        value = members[0] if len(instances) == 1 and members else None
        is_scalar = isinstance(value, (str, int, float)) and not (isinstance(value, str) and "\x00" in value)
        index[str(NUMBERS[D + name])] = value if is_scalar else None
    return index


@pytest.fixture(scope="module")
def world(dsn: str) -> Iterator[World]:
    made = World(dsn)
    yield made
    made.close()


def number(value: float) -> Value:
    return Value("number", value)


texts = st.sampled_from(TEXTS).map(lambda t: Value("string", t))
comparable = st.one_of(
    st.sampled_from([n for n in NUMERIC if n != 10**400]).map(number),
    st.integers(-3, 8).map(number),
    texts,
    st.sampled_from(["2026-01-02", "2026-01-31"]).map(lambda t: Value("date", t)),
    st.sampled_from(["10:00:00Z", "10:00:00.5Z"]).map(lambda t: Value("time", t)),
    st.sampled_from(MOMENTS).map(lambda t: Value("dateTime", t)),
)
values = st.one_of(
    comparable,
    st.booleans().map(lambda b: Value("boolean", b)),
    st.sampled_from(["urn:x:1", "http://x/y"]).map(lambda u: Value("uri", u)),
)
ranges = st.tuples(comparable, comparable).filter(lambda p: p[0].kind == p[1].kind).map(lambda p: Range(*p))
lists = st.lists(values, min_size=2, max_size=3).map(lambda v: OneOf(tuple(v)))
regexes = st.sampled_from(
    [
        "red",
        "^red",
        "red$",
        "^red$",
        "^red\n$",
        ".*ed.*",
        "r.d",
        "(?i)RED",
        "urn:",
        "^$",
        "%",
        "_",
        r"a\\b",
        "빨",
        "e+d",
        "a.*b",
    ]
).map(Regex)
paths = st.one_of(
    st.sampled_from(ATTRIBUTES).map(lambda n: AttributePath((Name(n, D + n),))),
    st.sampled_from(ATTRIBUTES).map(lambda n: AttributePath((Name(n, D + n),))),
    st.sampled_from(["createdAt", "modifiedAt", "expiresAt", "deletedAt"]).map(lambda n: AttributePath((Name(n, n),))),
    st.sampled_from(["a.b", "b.observedAt", "a[x]", "a[x.y]", "c[ko]", "d[*]", "a{b}", "nowhere", "nowhere.b"]).map(
        lambda q: parse_q(q, lambda term: D + term).root.path  # type: ignore[union-attr]
    ),
)
conditions = st.one_of(
    st.builds(Term, paths),
    st.builds(Term, paths, st.sampled_from(["==", "!="]), st.one_of(values, values, ranges, lists)),
    st.builds(Term, paths, st.sampled_from([">", ">=", "<", "<="]), comparable),
    st.builds(Term, paths, st.sampled_from(["~=", "!~="]), regexes),
)
queries = st.recursive(
    conditions,
    lambda inner: st.lists(inner, min_size=2, max_size=3).flatmap(
        lambda items: st.sampled_from([And(tuple(items)), Or(tuple(items))])
    ),
    max_leaves=4,
).map(Query)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(queries)
def test_sure_rows_match_and_matching_rows_are_maybe(world: World, query: Query) -> None:
    matches = compile_predicate(query)
    truth = [matches(document) for document in world.entities]
    for n, maybe, sure in world.ask(query):
        assert not sure or truth[n], f"surely found, but it does not match: {world.entities[n]}"
        assert maybe or not truth[n], f"it matches, but is not even maybe found: {world.entities[n]}"


@pytest.mark.parametrize(
    "q",
    ["a==5", 'a=="red"', "a>2", "a==1..6", 'a~="^red"', 'a!="red"', "a!~=\"red\"", 'a>="red"', "a",
     "createdAt>=2026-01-02T10:00:00.5Z", "a==2026-01-02T10:00:00Z", "a>2026-01-01T00:00:00Z;b|c==true"],
)  # fmt: skip
def test_the_database_decides_most_of_what_it_can(world: World, q: str) -> None:
    """Neither condition is empty talk: sure rows are found, and maybe leaves rows out."""
    query = parse_q(q, lambda term: D + term)
    answers = world.ask(query)
    sure = sum(sure for _, _, sure in answers)
    maybe = sum(maybe for _, maybe, _ in answers)
    assert 0 < sure <= maybe < len(answers)


def test_values_are_bound_and_never_written_into_the_statement() -> None:
    values: list[Any] = []

    def bind(value: Any) -> str:
        values.append(value)
        return f"${len(values)}"

    evil = "'; drop table thing; --"
    query = parse_q(f'a=="{evil}"|a~="{evil}"|a>="{evil}";b==5|a[{evil}]==1', lambda term: D + term)
    rows = to_sql(query, NUMBERS.get, bind)
    assert "drop" not in rows.maybe + rows.sure
    assert values.count(evil) == 3
    assert Decimal(5) in values


def test_only_what_remains_is_bound() -> None:
    """PostgreSQL refuses a statement with a parameter it does not use."""
    values: list[Any] = []

    def bind(value: Any) -> str:
        values.append(value)
        return f"${len(values)}"

    query = parse_q('a=="red";nowhere==5|a~="r.d+x"', lambda term: D + term)
    rows = to_sql(query, NUMBERS.get, bind, with_sure=False)
    assert values == ["r"]
    assert rows.sure == "false"
    assert "$1" in rows.maybe


def test_moments_of_the_entity_are_decided_by_the_database_alone() -> None:
    values: list[Any] = []
    query = parse_q("createdAt>=2026-01-02T10:00:00Z;expiresAt", str)
    rows = to_sql(query, NUMBERS.get, lambda value: (values.append(value), "$1")[1])
    assert rows.is_exact
    assert values == [parse_instant("2026-01-02T10:00:00Z")]
