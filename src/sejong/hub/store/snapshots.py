"""Snapshots: their own rows, and copying what they hold into a hidden tenant without leaving the database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from sejong.kit.postgres import Sql


class SnapshotRow(msgspec.Struct, frozen=True):
    """A snapshot: what was asked, where its copy is, what became of it."""

    no: int
    tenant: int
    id: str
    copy: int | None
    origin: int | None
    asked: Any
    context: Any
    status: str
    details: Any
    attempts: int
    priority: int
    created: datetime
    modified: datetime
    used: datetime | None
    expires: datetime
    tell: datetime | None
    tells: int


class Number(msgspec.Struct, frozen=True):
    """A number by itself."""

    no: int


class Named(msgspec.Struct, frozen=True):
    """An entity's number and id."""

    no: int
    id: str


class Copied(msgspec.Struct, frozen=True):
    """An entity and its copy in a snapshot."""

    source: int
    copy: int


_ROW = """no, tenant, id, copy, origin, asked, context, status, details, attempts, priority, created, modified, used,
expires, tell, tells"""

MAKE = Sql(
    f"""
insert into hub.snapshot(tenant, id, origin, asked, context, status, details, attempts, priority, created, modified,
                         expires, tells)
values ($1, $2, $3, $4, $5, 'preparing', $6, 0, $7, $8, $8, $9, 0)
on conflict (tenant, id) do nothing returning {_ROW}
""",
    SnapshotRow,
)
FIND = Sql(f"select {_ROW} from hub.snapshot where tenant = $1 and id = $2 and expires > $3", SnapshotRow)
PAGE = Sql(
    f"select {_ROW} from hub.snapshot where tenant = $1 and expires > $2 order by no limit $3 offset $4", SnapshotRow
)
COUNT = Sql("select count(*) from hub.snapshot where tenant = $1 and expires > $2")
CHANGE = Sql(
    f"""
update hub.snapshot set asked = $4, priority = $5, expires = $6, modified = $3
where tenant = $1 and id = $2 and expires > $3 returning {_ROW}
""",
    SnapshotRow,
)
DELETE = Sql("delete from hub.snapshot where tenant = $1 and id = $2 and expires > $3")
DELETE_EXPIRED = Sql("delete from hub.snapshot where tenant = $1 and id = $2 and expires <= $3")
REMOVE_EXPIRED = Sql("delete from hub.snapshot where expires <= $1")
USED = Sql("update hub.snapshot set used = $2 where no = $1 and (used is null or used < $2)")

# --- preparing --------------------------------------------------------------------------------------------------------

WAITING = Sql("select no from hub.snapshot where status = 'preparing' order by priority desc, no", Number)
# Held as long as the connection, so no longer than its process lives: nobody else prepares the same meanwhile.
TRY_TO_PREPARE = Sql("select pg_try_advisory_lock(hashtextextended('hub.snapshot', $1))")
PREPARED = Sql("select pg_advisory_unlock(hashtextextended('hub.snapshot', $1))")
EXPORT = Sql("select pg_export_snapshot()")
HIDE = Sql(
    """
insert into hub.tenant(no, name) select n, E'\\n' || n from (select nextval('hub.hidden_tenant')::smallint as n) as next
on conflict do nothing returning no
""",
    Number,
)
CLAIM = Sql(
    f"""
update hub.snapshot set copy = $2, attempts = attempts + 1 where no = $1 and status = 'preparing' returning {_ROW}
""",
    SnapshotRow,
)
GIVE_BACK = Sql("update hub.snapshot set attempts = attempts - 1 where no = $1 and copy = $2 and status = 'preparing'")
FINISH = Sql("""
update hub.snapshot set status = $3, details = $4, modified = $5, tell = $6, copy = $7, context = null
where no = $1 and copy = $2 and status = 'preparing'
""")

# Portions of entities, oldest first, with their copies' numbers from the circle of negative ones. The words that pages
# search by stay out: no page looks into a snapshot.
COPY_ENTITIES = Sql(
    """
with source as (select * from hub.entity where no = any($2::int[]) order by no),
numbered as (select nextval('hub.copied_entity')::int as fresh, * from source),
copied as (
  insert into hub.entity(no, tenant, type0, id, types, doc, q, lon, lat, geom_box, scopes, search, created, modified,
                         expires, deleted)
  overriding system value
  select fresh, $1, type0, id, types, doc, q, lon, lat, geom_box, scopes,
         '', created, modified, expires, coalesce(deleted, $3::timestamptz)
  from numbered order by fresh
  returning no, id, types),
more as (
  insert into hub.entity_type(type, eno) select distinct t, no from copied, unnest(types[2:]) as t)
select s.no as source, c.no as copy from copied c join source s on s.id = c.id
""",
    Copied,
)
# Not as one join: of a tenant this young the planner knows nothing, and would compare everything with everything.
NAMES = Sql("select no, id from hub.entity where no = any($1::int[])", Named)
NAMED = Sql("select no, id from hub.entity where tenant = $1 and id = any($2::text[])", Named)
ALL_OF = Sql("select no from hub.entity where tenant = $1 order by no", Number)
# An instance that several spans mean is copied once; it keeps its number, and with it its instanceId.
COPY_HISTORY = Sql("""
with spans as (
  select * from jsonb_to_recordset($4::jsonb)
           as s(n int, kind text, first timestamptz, until timestamptz, anos int[], newest int)),
found as (
  select k.copy, h.*, s.newest,
         row_number() over (
           partition by k.copy, s.n, h.ano
           order by case s.kind when 'observedAt' then h.t else h.modified end desc, h.no desc) as place
  from unnest($1::int[], $2::int[], $3::int[]) as k(source, copy, span)
  join spans s on s.n = k.span
  join hub.hist h on h.eno = k.source and h.eno = any($1::int[])
  where (s.anos is null or h.ano = any(s.anos))
    and case s.kind when 'all' then true
        when 'observedAt' then h.observed and h.op < 3
             and (s.first is null or h.t >= s.first) and (s.until is null or h.t < s.until)
        else (s.kind = 'modifiedAt' or (h.op = 3) = (s.kind = 'deletedAt'))
             and (s.first is null or h.modified >= s.first) and (s.until is null or h.modified < s.until) end)
insert into hub.hist(t, modified, no, num, eno, ano, ds, shape, op, observed, val, created)
select distinct on (copy, no) t, modified, no, num, copy, ano, ds, shape, op, observed, val, created
from found where newest is null or place <= newest
""")

# --- telling ----------------------------------------------------------------------------------------------------------

TO_TELL = Sql(f"select {_ROW} from hub.snapshot where tell <= $1 order by tell limit 100", SnapshotRow)
NEXT_TELL = Sql("select min(tell) from hub.snapshot")
# Of several processes that see it is time, one gets through.
TAKE_TELL = Sql(
    "update hub.snapshot set tell = $3, tells = tells + 1 where no = $1 and tells = $2 and tell is not null"
)
TOLD = Sql("update hub.snapshot set tell = null where no = $1")
TENANT_NAME = Sql("select name from hub.tenant where no = $1")

# --- sweeping ---------------------------------------------------------------------------------------------------------

GARBAGE = Sql(
    """
select t.no from hub.tenant t
where t.no < 0 and not exists (
  select from hub.snapshot s where s.copy = t.no or (s.origin = t.no and s.status = 'preparing'))
""",
    Number,
)
SWEEP = Sql(
    "delete from hub.entity where no in (select no from hub.entity where tenant = $1 limit $2) returning no", Number
)
SWEEP_HISTORY = Sql("delete from hub.hist where eno = any($1::int[])")
SWEEP_VALUES = Sql("delete from hub.attribute_value where eno = any($1::int[])")
FORGET = Sql("select hub.forget_hidden($1::smallint)")
