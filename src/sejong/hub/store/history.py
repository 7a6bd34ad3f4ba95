"""What was true before: one narrow row per attribute instance, written by binary COPY."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from sejong.kit.postgres import Connection, Sql

COLUMNS = ("t", "modified", "no", "num", "eno", "ano", "ds", "shape", "op", "observed", "val", "created")

CREATED, UPDATED, DELETED = 1, 2, 3


class Instance(msgspec.Struct, frozen=True):
    """One attribute instance as it was at one time."""

    t: datetime
    modified: datetime
    no: int
    num: float | None
    eno: int
    ano: int
    ds: int
    shape: int | None
    op: int
    observed: bool
    val: bytes | None
    created: datetime | None = None


class Seen(msgspec.Struct, frozen=True):
    """That an instance of this attribute at this time is already in the history."""

    eno: int
    ano: int
    ds: int
    t: datetime
    num: float | None
    val: bytes | None


class Point(msgspec.Struct, frozen=True):
    """One point of a chart: when, and the number (None where the value is not a number)."""

    t: datetime
    num: float | None
    val: bytes | None
    shape: int | None


NEXT_BLOCK = Sql("select nextval('hub.instance') from generate_series(1, $1::int)")
BLOCK = 1000
ENSURE_MONTH = Sql("select hub.ensure_month($1)")
SEEN = Sql(
    """
select h.eno, h.ano, h.ds, h.t, h.num, h.val from hub.hist h
join unnest($1::int[], $2::int[], $3::int[], $4::timestamptz[]) as k(eno, ano, ds, t)
  on h.eno = k.eno and h.ano = k.ano and h.ds = k.ds and h.t = k.t
where h.t between $5 and $6
""",
    Seen,
)
COLUMNS_OF = "h.t, h.modified, h.no, h.num, h.eno, h.ano, h.ds, h.shape, h.op, h.observed, h.val, h.created"
_PAIRS = """
unnest($1::int[]) as e(eno)
cross join lateral unnest(coalesce($2::int[], array(select hub.attributes_of(e.eno)))) as a(ano)
"""
# The bounds are said twice so that the index is entered at them whether or not they are given.
_INSIDE = """
h.eno = e.eno and h.ano = a.ano and ($7::int[] is null or h.ds = any($7))
and h.t >= coalesce($3::timestamptz, '-infinity')
and h.t <= coalesce($4::timestamptz, 'infinity') and ($4 is null or h.t < $4)
"""
_WRITTEN_IN = """
h.eno = e.eno and h.ano = a.ano and ($6::boolean is null or (h.op = 3) = $6) and ($7::int[] is null or h.ds = any($7))
and ($3::timestamptz is null or {when} >= $3) and ($4::timestamptz is null or {when} < $4)
"""
_WRITTEN = "case when $6 = false then coalesce(h.created, h.modified) else h.modified end"
_WRITTEN_IN = _WRITTEN_IN.format(when=_WRITTEN)
# Cut between two moments, never inside one: the rows of the last moment come all or not at all.
BY_TIME = Sql(
    f"""
select x.* from {_PAIRS} cross join lateral (
  select {COLUMNS_OF} from hub.hist h
  where {_INSIDE} and ($6::boolean is null or (h.observed and h.op < 3))
  order by h.t fetch first $5 rows with ties) x
order by x.t fetch first $5 rows with ties
""",
    Instance,
)
BY_WRITING = Sql(
    f"""
select {COLUMNS_OF} from {_PAIRS} join hub.hist h on {_WRITTEN_IN}
order by {_WRITTEN} fetch first $5 rows with ties
""",
    Instance,
)
# $5 says nothing in the following, so that all statements about a span take the same parameters.
ATTRIBUTES = Sql(f"""
select e.eno, a.ano from {_PAIRS}
where $5::int is not null
  and exists (select 1 from hub.hist h where {_INSIDE} and ($6::boolean is null or (h.observed and h.op < 3)))
""")
WRITTEN_ATTRIBUTES = Sql(f"""
select e.eno, a.ano from {_PAIRS}
where $5::int is not null and exists (select 1 from hub.hist h where {_WRITTEN_IN})
""")
NEWEST = Sql(
    f"""
select x.* from {_PAIRS} cross join lateral (
  select {COLUMNS_OF} from hub.hist h
  where {_INSIDE} and h.op < 3 and (h.observed or $6::boolean is null)
  order by h.t desc, h.no desc limit $5) x
""",
    Instance,
)
NEWEST_WRITTEN = Sql(
    f"""
select x.* from {_PAIRS} cross join lateral (
  select {COLUMNS_OF} from hub.hist h where {_WRITTEN_IN}
  order by {_WRITTEN} desc, h.no desc limit $5) x
""",
    Instance,
)
CHART = Sql(
    """
select t, num, val, shape from hub.hist
where eno = $1 and ano = $2 and ds = 0 and op < 3 and t >= $3 and t < $4 order by t, no
""",
    Point,
)
THINNED_CHART = Sql(
    """
select to_timestamp(floor(extract(epoch from t) / $5::float8) * $5::float8) as t, avg(num) as num,
       null::bytea as val, null::int as shape
from hub.hist where eno = $1 and ano = $2 and ds = 0 and op < 3 and t >= $3 and t < $4 and num is not null
group by 1 order by 1
""",
    Point,
)
CHART_SIZE = Sql(
    "select count(*) from hub.hist where eno = $1 and ano = $2 and ds = 0 and op < 3 and t >= $3 and t < $4"
)


_EACH = """
unnest($1::int[]) with ordinality as e(eno, place) where $5::int is not null and exists (
  select 1 from unnest(coalesce($2::int[], array(select hub.attributes_of(e.eno)))) as a(ano)
  cross join lateral (select 1 from hub.hist h where {which} limit 1) x)
order by e.place
"""
HAVING = Sql(
    f"select e.eno from {_EACH.format(which=_INSIDE + ' and h.op < 3 and h.observed and $6::boolean is not null')}"
)
HAVING_WRITTEN = Sql(f"select e.eno from {_EACH.format(which=_WRITTEN_IN)}")


class Rate(msgspec.Struct, frozen=True):
    """How many attribute instances were written in one minute."""

    minute: datetime
    n: int


class InstanceNumbers:
    """Numbers for attribute instances, taken from the database by the thousand and handed out one by one."""

    def __init__(self) -> None:
        self._free: list[range] = []

    async def take(self, connection: Connection, count: int) -> list[int]:
        """`count` numbers nobody else has; gaps stay where a transaction is undone."""
        # While this waits for the database another writer may take what was free: look again.
        while (missing := count - sum(map(len, self._free))) > 0:
            blocks = await connection.fetch(NEXT_BLOCK.text, -(-missing // BLOCK))
            self._free.extend(range(b[0], b[0] + BLOCK) for b in blocks)
        taken: list[int] = []
        while len(taken) < count:
            head = self._free.pop(0)
            wanted = count - len(taken)
            taken.extend(head[:wanted])
            if head[wanted:]:
                self._free.insert(0, head[wanted:])
        return taken


async def copy_history(connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
    """Append instances (in the order of COLUMNS) by binary COPY."""
    await connection.copy_records_to_table("hist", schema_name="hub", columns=COLUMNS, records=rows)


async def ensure_months(connection: Connection, months: Sequence[date]) -> None:
    """Make the partitions of these months (their first days) where they are missing."""
    for month in months:
        await ENSURE_MONTH.run(connection, month)
