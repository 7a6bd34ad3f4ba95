"""SQL of the SensorThings facade: what stands behind each entity set. Put together at run time like `selecting`.

Conditions come from `hub/sta/compile.py` alone, which binds every value of a client as a parameter. Aliases carry the
depth of a subquery: e0 the entity, p0 the attribute (its term), h0 the history row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from sejong.kit.postgres import Connection, Sql

ID_BITS = 20
"""A Datastream's number holds its attribute's number in its last so many bits."""


class Row(msgspec.Struct, frozen=True):
    """One entity of an entity set, as it lies in the record."""

    eno: int | None = None
    ano: int | None = None
    doc: bytes | None = None
    iri: str | None = None
    t: datetime | None = None
    modified: datetime | None = None
    no: int | None = None
    num: float | None = None
    shape: int | None = None


_ALIVE = "e{d}.tenant = 0 and e{d}.deleted is null and (e{d}.expires is null or e{d}.expires > $1)"
_STREAM = (
    "hub.entity e{d} cross join lateral jsonb_each(e{d}.q) as a{d}(key, value) "
    "join hub.term p{d} on p{d}.no = a{d}.key::int"
)
_IS_STREAM = _ALIVE + " and e{d}.q ?| $3 and p{d}.no = any($2) and jsonb_typeof(a{d}.value) = 'number'"
_OBSERVED = "hub.hist h{d} join hub.entity e{d} on e{d}.no = h{d}.eno join hub.term p{d} on p{d}.no = h{d}.ano"
_IS_OBSERVED = (
    _ALIVE + " and h{d}.op < 3 and h{d}.num is not null and h{d}.ds = 0 and h{d}.observed and h{d}.ano = any($2)"
)
_THING = ("hub.entity e{d}", _ALIVE)
_PLACE = ("hub.entity e{d}", _ALIVE + " and e{d}.lon is not null")
SETS: dict[str, tuple[str, str, str, str]] = {
    "Things": (*_THING, "e{d}.no as eno, e{d}.doc", "e{d}.no"),
    "Locations": (*_PLACE, "e{d}.no as eno, e{d}.doc", "e{d}.no"),
    "FeaturesOfInterest": (*_PLACE, "e{d}.no as eno, e{d}.doc", "e{d}.no"),
    "HistoricalLocations": ("hub.entity e{d}", "false and " + _ALIVE, "e{d}.no as eno, e{d}.doc", "e{d}.no"),
    "Datastreams": (_STREAM, _IS_STREAM, "e{d}.no as eno, p{d}.no as ano, e{d}.doc, p{d}.iri", "e{d}.no, p{d}.no"),
    "Sensors": (_STREAM, _IS_STREAM, "e{d}.no as eno, p{d}.no as ano, e{d}.doc, p{d}.iri", "e{d}.no, p{d}.no"),
    "ObservedProperties": ("hub.term p{d}", "p{d}.no = any($2)", "p{d}.no as ano, p{d}.iri", "p{d}.no"),
    "Observations": (
        _OBSERVED,
        _IS_OBSERVED,
        "h{d}.eno, h{d}.ano, p{d}.iri, h{d}.t, h{d}.modified, h{d}.no, h{d}.num, h{d}.shape",
        "h{d}.eno, h{d}.ano, h{d}.t, h{d}.no",
    ),
}
"""Entity set → from, condition, columns, order. $1 now, $2 numbers of the measured attributes, $3 the same as texts."""
_EVERY = "$1::timestamptz is not null and $2::int[] is not null and $3::text[] is not null"


def exists(entity_set: str, depth: int, condition: str) -> str:
    """That something of a set exists, as a condition."""
    source, known, _, _ = (part.format(d=depth) for part in SETS[entity_set])
    return f"exists (select 1 from {source} where {known} and {condition})"


def exists_within(depth: int, outer: int, condition: str) -> str:
    """That a thing at hand has such a Datastream: its row is not looked for again."""
    row = "select " + ", ".join(f"e{outer}.{name}" for name in ("no", "id", "doc", "q", "lon", "lat"))
    source = f"({row}) as e{depth} cross join lateral jsonb_each(e{depth}.q) as a{depth}(key, value)"
    term = f"join hub.term p{depth} on p{depth}.no = a{depth}.key::int"
    known = f"e{depth}.q ?| $3 and p{depth}.no = any($2) and jsonb_typeof(a{depth}.value) = 'number'"
    return f"exists (select 1 from {source} {term} where {known} and {condition})"


async def fetch(
    connection: Connection,
    entity_set: str,
    values: Sequence[Any],
    where: Sequence[str],
    order: Sequence[str],
    limit: int,
    offset: int,
) -> list[Row]:
    """A page of an entity set."""
    source, known, columns, usual = (part.format(d=0) for part in SETS[entity_set])
    conditions = " and ".join((_EVERY, known, *where))
    by = ", ".join((*order, usual))
    sql = f"select {columns} from {source} where {conditions} order by {by} limit {int(limit)} offset {int(offset)}"
    if entity_set != "Observations" or order:
        return [Row(**dict(record)) for record in await connection.fetch(sql, *values)]
    # The planner would rather read the whole history and sort it than walk the index that has this order already.
    await STEADY.run(connection)
    found = [Row(**dict(record)) for record in await connection.fetch(sql, *values)]
    await USUAL.run(connection)
    return found


async def count(connection: Connection, entity_set: str, values: Sequence[Any], where: Sequence[str]) -> int:
    """How many there are."""
    source, known, _, _ = (part.format(d=0) for part in SETS[entity_set])
    sql = f"select count(*) from {source} where " + " and ".join((_EVERY, known, *where))
    return int(await connection.fetchval(sql, *values) or 0)


class Sample(msgspec.Struct, frozen=True):
    """One document of a type."""

    doc: bytes


_PLANS = "select set_config('enable_sort', {0}, true), set_config('enable_hashjoin', {0}, true)"
STEADY = Sql(_PLANS.format("'off'"))
USUAL = Sql(_PLANS.format("'on'"))
PATIENCE = Sql("set local statement_timeout = '10s'")
SAMPLES = Sql(
    """
select s.doc from (select distinct type0 from hub.entity where tenant = 0 and deleted is null) t
cross join lateral (select e.doc from hub.entity e where e.tenant = 0 and e.type0 = t.type0 and e.deleted is null
                    order by e.modified desc limit 40) s
""",
    Sample,
)
