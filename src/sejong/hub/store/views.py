"""What pages and other services ask of the record: search by words, what lies in a view, city-wide figures."""

from __future__ import annotations

import msgspec

from sejong.hub.store.ingest import LetterRow
from sejong.kit.postgres import Sql


class Seen(msgspec.Struct, frozen=True):
    """An entity as a list or a map needs it."""

    no: int
    id: str
    type0: int
    doc: bytes
    lon: float | None
    lat: float | None


class Found(msgspec.Struct, frozen=True):
    """One hit of a search with the number of all hits."""

    no: int
    id: str
    type0: int
    doc: bytes
    lon: float | None
    lat: float | None
    total: int


_SEEN = "no, id, type0, doc, lon, lat"
_ALIVE = "tenant = $1 and deleted is null and (expires is null or expires > $2)"

BY_NUMBER = Sql(f"select {_SEEN} from hub.entity where no = any($1) and tenant = $2 and deleted is null", Seen)
BY_ID = Sql(f"select {_SEEN} from hub.entity where tenant = $1 and id = $2 and deleted is null", Seen)

# First the words as they are; only where that finds nothing, words a little misspelled (trigram word similarity).
SEARCH = Sql(
    f"""
select {_SEEN}, count(*) over () as total from hub.entity
where {_ALIVE} and ($3::int[] is null or type0 = any($3))
  and ($4::text is null or (search <> ''
       and case when $13 then $4 <% search else search like '%' || $4 || '%' escape '\\' end))
  and ($5::float8 is null or (lon between $5 and $7 and lat between $6 and $8))
order by
  case when $4::text is null then 0 else -(word_similarity($4, search)
    + case when search like $4 || '%' escape '\\' then 1 else 0 end
    + case when search like '% ' || $4 || '%' escape '\\' then 0.5 else 0 end) end,
  case when $9::float8 is null then 0 else (lon - $9) * (lon - $9) * 0.64 + (lat - $10) * (lat - $10) end, no
limit $11 offset $12
""",
    Found,
)
COUNT = Sql(f"""
select count(*) from hub.entity
where {_ALIVE} and ($3::int[] is null or type0 = any($3))
  and ($4::text is null or (search <> ''
       and case when $9 then $4 <% search else search like '%' || $4 || '%' escape '\\' end))
  and ($5::float8 is null or (lon between $5 and $7 and lat between $6 and $8))
""")
IN_VIEW = Sql(
    f"""
select {_SEEN} from hub.entity
where tenant = $1 and deleted is null and type0 = any($2)
  and ((geom_box is null and lon is not null and point(lon, lat) <@ box(point($3, $4), point($5, $6)))
       or (geom_box is not null and geom_box && box(point($3, $4), point($5, $6))))
limit $7
""",
    Seen,
)
POINTING_HERE = Sql(
    f"""
select {_SEEN} from hub.entity
where tenant = $1 and deleted is null and type0 = any($2) and q @> any($3::jsonb[]) order by no limit $4
""",
    Seen,
)


class Figure(msgspec.Struct, frozen=True):
    """A city-wide number: least, middle, mean, most and sum of one attribute over all things of a type."""

    n: int
    mean: float | None
    median: float | None
    worst: float | None
    total: float | None


# One broken sensor must not move a number about the whole city: values above twenty times the median are
# left out (chosen; the faulty device itself shows in /ops/data).
FIGURE = Sql(
    """
with v as (select (q ->> $3)::float8 as v from hub.entity
           where tenant = $1 and type0 = any($2) and deleted is null and jsonb_typeof(q -> $3) = 'number'),
     m as (select percentile_cont(0.5) within group (order by v) as median from v)
select count(*)::int as n, avg(v) as mean, (select median from m) as median, max(v) as worst, sum(v) as total
from v, m where m.median is null or m.median = 0 or v <= 20 * m.median
""",
    Figure,
)


class TypeCount(msgspec.Struct, frozen=True):
    """How many living entities a type has."""

    type0: int
    n: int


TYPES = Sql(
    """
select type0, count(*)::int as n from hub.entity
where tenant = $1 and deleted is null and (expires is null or expires > $2) group by type0
union all
select t.type, count(*)::int from hub.entity_type t join hub.entity e on e.no = t.eno
where e.tenant = $1 and e.deleted is null and (e.expires is null or e.expires > $2) group by t.type
""",
    TypeCount,
)


class AttributeUse(msgspec.Struct, frozen=True):
    """How many living entities of a type have an attribute."""

    ano: str
    type0: int
    n: int


ATTRIBUTES = Sql(
    """
select a.ano, e.type0, count(*)::int as n from hub.entity e, jsonb_object_keys(e.q) as a(ano)
where e.tenant = $1 and e.deleted is null and (e.expires is null or e.expires > $3)
  and ($2::int is null or e.type0 = $2 or e.no in (select eno from hub.entity_type where type = $2))
group by a.ano, e.type0
""",
    AttributeUse,
)
NEWEST_OF = Sql(
    f"""
select {_SEEN} from hub.entity where tenant = $1 and type0 = any($2) and deleted is null and q ? $3
order by modified desc limit 1
""",
    Seen,
)
OF_IDS = Sql(f"select {_SEEN} from hub.entity where tenant = $1 and id = any($2) and deleted is null", Seen)
LETTERS_AT = Sql(
    """
select no, door, sender, topic, form, reason, ko, en, payload, size, sha256, arrived, last, n from hub.dead_letter
where ($1::text is null or reason = $1) order by no desc limit $2 offset $3
""",
    LetterRow,
)
