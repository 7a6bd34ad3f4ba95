"""Hourly summaries of numbers: made once an hour is over, marked when something in it changes, read for aggregates."""

from __future__ import annotations

from datetime import datetime

import msgspec

from sejong.kit.postgres import Sql


class Day(msgspec.Struct, frozen=True):
    """How many instances of an entity were observed on a day (UTC)."""

    day: datetime
    n: int


class SeriesRow(msgspec.Struct, frozen=True):
    """What is known of the numbers of one attribute (of one dataset), period by period in order of time."""

    eno: int
    ano: int
    ds: int
    starts: list[datetime] | None
    n: list[int]
    totals: list[str] | None
    squares: list[str] | None
    lows: list[float]
    highs: list[float]
    odd: int
    """Instances whose value is no number; then lows and highs may have gaps."""
    raw: int
    """Instances that had to be read."""
    oldest: datetime
    newest: datetime


MARK_STALE = Sql("""
insert into hub.rollup(eno, ano, ds, hour)
select distinct k.eno, k.ano, k.ds, date_trunc('hour', k.t, 'UTC')
from unnest($1::int[], $2::int[], $3::int[], $4::timestamptz[]) as k(eno, ano, ds, t)
on conflict (eno, ano, ds, hour) do update set n = null
""")
FORGET = Sql("delete from hub.rollup where eno = $1 and ($2::int is null or ano = $2) and ($3::int is null or ds = $3)")

HOLD = Sql("select rolled from hub.entity where no = $1 for no key update")
ROLLED = Sql("select rolled from hub.entity where no = $1")
DAYS = Sql(
    """
select date_trunc('day', t, 'UTC') as day, count(*)::int as n from hub.hist
where eno = $1 and t >= coalesce($2::timestamptz, '-infinity') and t < $3 and observed and op < 3
group by 1 order by 1
""",
    Day,
)
_SUMMARY = """
count(*), count(*) filter (where h.num is null), coalesce(sum(x.v), 0), coalesce(sum(x.v * x.v), 0),
min(h.num), max(h.num), min(h.t), max(h.t)
"""
# The shortest decimal that names the number, not its fifteen first digits as a plain cast would take.
_EXACT = "cross join lateral (select h.num::text::numeric as v) x"
SUMMARISE = Sql(f"""
insert into hub.rollup(eno, ano, ds, hour, n, odd, total, square, low, high, oldest, newest)
select h.eno, h.ano, h.ds, date_trunc('hour', h.t, 'UTC'), {_SUMMARY}
from hub.hist h {_EXACT}
where h.eno = $1 and h.t >= coalesce($2::timestamptz, '-infinity') and h.t < $3 and h.observed and h.op < 3
group by h.eno, h.ano, h.ds, date_trunc('hour', h.t, 'UTC')
on conflict (eno, ano, ds, hour) do nothing
""")
SET_ROLLED = Sql("update hub.entity set rolled = $2 where no = $1")
RENEW = Sql(f"""
update hub.rollup r set (n, odd, total, square, low, high, oldest, newest) = (
  select {_SUMMARY} from hub.hist h {_EXACT}
  where h.eno = r.eno and h.ano = r.ano and h.ds = r.ds and h.t >= r.hour and h.t < r.hour + interval '1 hour'
    and h.observed and h.op < 3)
where r.eno = $1 and r.n is null
""")
DROP_EMPTY = Sql("delete from hub.rollup where eno = $1 and n = 0")
BEHIND = Sql("""
select distinct eno from hub.rollup where n is null
union
(select no from hub.entity where rolled is not null and rolled < $1 order by rolled limit $2)
""")

_PERIOD = """
case when $7::interval is not null then date_bin($7, {t}, $6)
     when $8::timestamptz[] is not null then ($8)[width_bucket({t}, $8)] end
"""
# $1 entities, $2 attributes, $3/$4 from and to (null: open), $5 1 if sums are wanted, 2 if squares too, $6 start of
# the first period, $7 its length if exact, else $8 starts of all periods (both null: one period), $9 the first whole
# hour that may come from the rollups (null: any), $10 whether any may. All else comes from the history itself.
PARTS = Sql(
    f"""
with span as materialized (
  select e.no as eno, a.ano, f.since, f.until, f.first,
         greatest(f.first, date_trunc('hour', least(f.until, coalesce(e.rolled, '-infinity')), 'UTC')) as last
  from hub.entity e cross join unnest($2::int[]) as a(ano) cross join lateral (
    select coalesce($3::timestamptz, '-infinity') as since, coalesce($4::timestamptz, 'infinity') as until,
           case when $10 then coalesce($9::timestamptz, '-infinity') else coalesce($4, 'infinity') end as first) f
  where e.no = any($1)
), hours as materialized (
  select r.eno, r.ano, r.ds, r.hour, r.n, r.odd, r.total, r.square, r.low, r.high, r.oldest, r.newest
  from span s join hub.rollup r on r.eno = s.eno and r.ano = s.ano and r.hour >= s.first and r.hour < s.last
), gaps as (
  select eno, ano, null::int as ds, since, least(first, until) as until from span where since < least(first, until)
  union all
  select eno, ano, null, last, until from span where last < until
  union all
  select eno, ano, ds, hour, hour + interval '1 hour' from hours where n is null
), found as (
  select eno, ano, ds, {_PERIOD.format(t="hour")} as period, n, odd, total, square, low, high, oldest, newest, 0 as raw
  from hours where n is not null
  union all
  select g.eno, g.ano, x.ds, x.period, x.n, x.odd, x.total, x.square, x.low, x.high, x.oldest, x.newest, x.n as raw
  from gaps g cross join lateral (
    select h.ds, {_PERIOD.format(t="h.t")} as period, count(*)::int as n,
           (count(*) filter (where h.num is null))::int as odd,
           case when $5 > 0 then sum(v.v) end as total, case when $5 > 1 then sum(v.v * v.v) end as square,
           min(h.num) as low, max(h.num) as high, min(h.t) as oldest, max(h.t) as newest
    from hub.hist h cross join lateral (select case when $5::int > 0 then h.num::text::numeric end as v) v
    where h.eno = g.eno and h.ano = g.ano and (g.ds is null or h.ds = g.ds) and h.observed and h.op < 3
      and h.t >= g.since and h.t <= g.until and (h.t < g.until or g.until = 'infinity')
    group by h.ds, 2) x
)
select eno, ano, ds, case when $7 is not null or $8 is not null then array_agg(period order by period) end as starts,
       array_agg(n order by period) as n, case when $5 > 0 then array_agg(total::text order by period) end as totals,
       case when $5 > 1 then array_agg(square::text order by period) end as squares,
       array_agg(low order by period) as lows, array_agg(high order by period) as highs,
       sum(odd)::int as odd, sum(raw)::int as raw, min(oldest) as oldest, max(newest) as newest
from (select eno, ano, ds, period, sum(n)::int as n, sum(odd) as odd, case when $5 > 0 then sum(total) end as total,
             case when $5 > 1 then sum(square) end as square, min(low) as low, max(high) as high,
             min(oldest) as oldest, max(newest) as newest, sum(raw) as raw
      from found group by eno, ano, ds, period) x
group by eno, ano, ds
""",
    SeriesRow,
)


class DistinctRow(msgspec.Struct, frozen=True):
    """How many different numbers one attribute (of one dataset) had, period by period in order of time."""

    eno: int
    ano: int
    ds: int
    n: list[int]
    whole: int
    """Instances that are more than a number: only the whole tells whether 1 or true was said."""


# Parameters 1 to 4 and 6 to 8 as PARTS has them; rollups cannot say it, so all instances are counted.
DISTINCT = Sql(
    f"""
select eno, ano, ds, array_agg(n order by period) as n, sum(whole)::int as whole from (
  select h.eno, h.ano, h.ds, {_PERIOD.format(t="h.t")} as period, count(distinct h.num)::int as n,
         count(*) filter (where h.val is not null) as whole
  from unnest($1::int[]) as e(eno) cross join unnest($2::int[]) as a(ano)
  join hub.hist h on h.eno = e.eno and h.ano = a.ano and h.observed and h.op < 3 and $5::int is not null
    and h.t >= coalesce($3::timestamptz, '-infinity') and h.t <= coalesce($4::timestamptz, 'infinity')
    and ($4 is null or h.t < $4)
  group by h.eno, h.ano, h.ds, 4) x
group by eno, ano, ds
""",
    DistinctRow,
)
NEWEST_OBSERVED = Sql("""
select max(x.t) from unnest($1::int[]) as e(eno) cross join unnest($2::int[]) as a(ano)
cross join lateral (select h.t from hub.hist h where h.eno = e.eno and h.ano = a.ano and h.observed and h.op < 3
                    order by h.t desc limit 1) x
""")
ATTRIBUTES_OF = Sql(
    "select distinct a.ano from unnest($1::int[]) as e(eno) cross join lateral hub.attributes_of(e.eno) as a(ano)"
)
