"""SQL of data sets and their quality."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from sejong.kit.postgres import Sql


class SetRow(msgspec.Struct, frozen=True):
    """A data set as it lies in the record."""

    id: str
    declared: Any
    origin: str
    created: datetime
    changed: datetime
    withdrawn: datetime | None


_SET = "id, declared, origin, created, changed, withdrawn"
SETS = Sql(f"select {_SET} from hub.data_set where withdrawn is null order by id", SetRow)
ONE_SET = Sql(f"select {_SET} from hub.data_set where id = $1 and withdrawn is null", SetRow)
# A withdrawn id may be given out again by a person, never by a pack.
ADD_SET = Sql(
    """
insert into hub.data_set as d(id, declared, origin, created, changed) values ($1, $2, $3, $4, $4)
on conflict (id) do update set declared = excluded.declared, origin = excluded.origin, created = excluded.created,
    changed = excluded.changed, withdrawn = null
where d.withdrawn is not null
"""
)
CHANGE_SET = Sql("update hub.data_set set declared = $2, origin = $3, changed = $4 where id = $1 and withdrawn is null")
WITHDRAW_SET = Sql("update hub.data_set set withdrawn = $2, changed = $2 where id = $1 and withdrawn is null")
DECLARE_SET = Sql(
    """
insert into hub.data_set as d(id, declared, origin, created, changed) values ($1, $2, 'pack', $3, $3)
on conflict (id) do update set declared = excluded.declared, changed = excluded.changed
where d.origin = 'pack' and d.withdrawn is null and d.declared <> excluded.declared
"""
)


class QualityRow(msgspec.Struct, frozen=True):
    """What was measured of a data set at one time."""

    data_set: str
    measured: datetime
    entities: int
    completeness: float | None
    freshness: float | None
    conformity: float | None
    newest: datetime | None
    median_age_s: float | None
    gaps: int
    gap_s: float


_QUALITY = "data_set, measured, entities, completeness, freshness, conformity, newest, median_age_s, gaps, gap_s"
ADD_QUALITY = Sql(
    f"""
insert into hub.data_set_quality({_QUALITY}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (data_set, measured) do nothing
"""
)
LATEST_QUALITY = Sql(
    f"""
select q.* from hub.data_set d cross join lateral (
  select {_QUALITY} from hub.data_set_quality q where q.data_set = d.id order by q.measured desc limit 1) q
where ($1::text is null or d.id = $1)
""",
    QualityRow,
)
PAST_QUALITY = Sql(
    f"select {_QUALITY} from hub.data_set_quality where data_set = $1 order by measured desc limit $2", QualityRow
)
TRIM_QUALITY = Sql("delete from hub.data_set_quality where measured < $1")


class Gaps(msgspec.Struct, frozen=True):
    """How often and how long things were silent that usually speak."""

    gaps: int
    gap_s: float


# A silence counts when it is longer than $5 seconds; the time since the last value counts too.
GAPS = Sql(
    """
select count(*) as gaps, coalesce(sum(extract(epoch from s)), 0)::float8 as gap_s from (
  select lead(t, 1, $4) over (partition by h.eno, h.ano order by h.t) - h.t as s
  from hub.hist h
  where h.eno = any($1) and h.ano = any($2) and h.t >= $3 and h.t < $4 and h.op < 3 and h.observed) as x
where extract(epoch from s) > $5::float8
""",
    Gaps,
)


class Kept(msgspec.Struct, frozen=True):
    """One instance of a history as an export needs it."""

    t: datetime
    modified: datetime
    no: int
    num: float | None
    eno: int
    ano: int
    ds: int
    shape: int | None
    observed: bool
    val: bytes | None


# In the order of the index; the row after (eno, ano, t, no) is where the page before ended.
HISTORY_AFTER = Sql(
    """
select h.t, h.modified, h.no, h.num, h.eno, h.ano, h.ds, h.shape, h.observed, h.val from hub.hist h
where h.eno = any($1) and ($2::int[] is null or h.ano = any($2)) and h.t >= $3 and h.t < $4 and h.op < 3
  and (h.eno, h.ano, h.t, h.no) > ($5::int, $6::int, $7::timestamptz, $8::bigint)
order by h.eno, h.ano, h.t, h.no limit $9
""",
    Kept,
)


class Fault(msgspec.Struct, frozen=True):
    """How often something did not fit the model of a data set."""

    data_set: str
    attribute: str
    why: str
    entity: str
    last: datetime
    n: int


FAULTS = Sql(
    """
select data_set, attribute, why, entity, last, n from hub.data_set_fault
where data_set = $1 order by n desc, attribute, why limit $2
""",
    Fault,
)
CLEAR_FAULTS = Sql("delete from hub.data_set_fault where data_set = $1")
ADD_FAULT = Sql(
    """
insert into hub.data_set_fault as f(data_set, attribute, why, entity, last, n) values ($1, $2, $3, $4, $5, $6)
on conflict (data_set, attribute, why) do update
set entity = excluded.entity, last = excluded.last, n = f.n + excluded.n
"""
)
# Keys that are kept for different times go together: one row a series, with the moment before which it is forgotten.
FORGET = Sql(
    """
delete from hub.hist h using unnest($1::int[], $2::int[], $3::timestamptz[]) as k(eno, ano, before)
where h.eno = k.eno and h.ano = k.ano and h.t < k.before
"""
)
# Hours of which something goes are asked of the history itself until they are summarised again.
DOUBT_SUMMARIES = Sql(
    """
update hub.rollup r set n = null from unnest($1::int[], $2::timestamptz[]) as k(eno, before)
where r.eno = k.eno and r.hour < k.before and r.n is not null
"""
)
FORGET_OTHERS = Sql(
    """
delete from hub.hist h using unnest($1::int[], $2::timestamptz[]) as k(eno, before)
where h.eno = k.eno and h.t < k.before and not exists (
  select 1 from unnest($3::int[], $4::int[]) as s(eno, ano) where s.eno = h.eno and s.ano = h.ano)
"""
)
DROP_EMPTY_MONTHS = Sql("select hub.drop_empty_months($1)")
