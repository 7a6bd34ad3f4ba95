"""Current state: one document row per entity."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from sejong.kit.postgres import Connection, Sql

EXPIRES = b'"expiresAt"'
"""Found in a stored document only if something in it may expire."""


class Stored(msgspec.Struct, frozen=True):
    """An entity as it lies in the record: its number and its document (expanded JSON)."""

    no: int
    id: str
    doc: bytes
    deleted: bool


class Locked(msgspec.Struct, frozen=True):
    """An entity in the hands of a writer. Of its history all before `rolled` is summarised (see `store/rollups.py`)."""

    no: int
    id: str
    doc: bytes
    deleted: bool
    rolled: datetime | None


class EntityRow(msgspec.Struct, frozen=True):
    """What is written for one entity: the document and what is indexed of it."""

    no: int
    id: str
    types: tuple[int, ...]
    doc: bytes
    q: bytes
    lon: float | None
    lat: float | None
    box: tuple[float, float, float, float] | None
    scopes: tuple[str, ...] | None
    search: str
    created: datetime
    modified: datetime
    expires: datetime | None
    deleted: datetime | None = None


LOCK = Sql(
    """
select no, id, doc, deleted is not null as deleted, rolled from hub.entity
where tenant = $1 and id = any($2) order by id for no key update
""",
    Locked,
)
# Not "and deleted is null": on a table without statistics the planner would then read a whole tenant by its types.
FETCH = Sql(
    """
select no, id, doc, deleted is not null as deleted from hub.entity
where tenant = $1 and id = any($2)
""",
    Stored,
)
NUMBERED = Sql(
    "select no, id, doc, deleted is not null as deleted from hub.entity where no = any($1)",
    Stored,
)
NUMBERED_OF = Sql(
    "select no, id, doc, deleted is not null as deleted from hub.entity where no = any($1) and tenant = $2 order by no",
    Stored,
)
FIND_NO = Sql(
    """
select no, id, doc, deleted is not null as deleted from hub.entity
where tenant = $1 and id = $2
""",
    Stored,
)
# A deleted entity is known as long as something of its history is left. (Not "exists": without statistics the planner
# would read the whole history into a hash table.)
KNOWN = Sql(
    """
select e.no, e.id, e.doc, e.deleted is not null as deleted from hub.entity e
where e.tenant = $1 and e.id = $2
  and (e.deleted is null or (select true from hub.hist h where h.eno = e.no limit 1))
""",
    Stored,
)

# Arrays of arrays do not survive unnest, so types and scopes travel as text.
_ROWS = """
unnest($2::text[], $3::text[], $4::bytea[], $5::text[], $6::float8[], $7::float8[], $8::text[], $9::text[],
       $10::text[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::int[])
    as r(id, types, doc, q, lon, lat, geom_box, scopes, search, created, modified, expires, deleted, no)
"""
_SCOPES = "case when r.scopes is null then null else array(select jsonb_array_elements_text(r.scopes::jsonb)) end"

INSERT = Sql(
    f"""
insert into hub.entity(tenant, id, types, type0, doc, q, lon, lat, geom_box, scopes, search,
                       created, modified, expires, deleted)
select $1, r.id, r.types::int[], (r.types::int[])[1], r.doc, r.q::jsonb, r.lon, r.lat, r.geom_box::box, {_SCOPES},
       r.search, r.created, r.modified, r.expires, r.deleted
from {_ROWS}
order by r.id
on conflict (tenant, id) do nothing
returning no, id, ''::bytea as doc, false as deleted
""",
    Stored,
)
UPDATE = Sql(
    f"""
update hub.entity e set types = r.types::int[], type0 = (r.types::int[])[1], doc = r.doc, q = r.q::jsonb,
    lon = r.lon, lat = r.lat, geom_box = r.geom_box::box, scopes = {_SCOPES}, search = r.search,
    created = r.created, modified = r.modified, expires = r.expires, deleted = r.deleted
from {_ROWS} where e.no = r.no and e.tenant = $1
"""
)
DROP_MORE_TYPES = Sql("delete from hub.entity_type where eno = any($1)")
ADD_MORE_TYPES = Sql(
    "insert into hub.entity_type(type, eno) select unnest($1::int[]), unnest($2::int[]) on conflict do nothing"
)
# Also tells which attributes have an index of their values at this moment (see store/values.py).
NOTE_CHANGE = Sql("""
insert into hub.change(at, tenant, enos, first_instance, last_instance) values ($1, $2, $3, $4, $5)
returning array(select ano from hub.indexed)
""")
TELL_CHANGE = Sql("select pg_notify('hub_change', $1)")


class ChangeRow(msgspec.Struct, frozen=True):
    """One commit of the hub: which entities changed."""

    xid: str
    seq: int
    at: datetime
    enos: list[int]


# In the order of (xid, seq) and only below the oldest transaction still running, so that a commit whose number was
# taken earlier but which ends later is never passed over (as kit.events reads its events).
CHANGES_AFTER = Sql(
    """
select xid::text as xid, seq, at, enos from hub.change
where (xid, seq) > ($1::text::xid8, $2) and xid < pg_snapshot_xmin(pg_current_snapshot())
order by xid, seq limit $3
""",
    ChangeRow,
)
PRESENT = Sql("select pg_snapshot_xmin(pg_current_snapshot())::text")
# In a restored database transactions are counted anew: old places in the stream would never be passed.
FORGET_CHANGES = Sql("delete from hub.change")
TRIM_CHANGES = Sql("delete from hub.change where at < $1")
EXPIRED = Sql(
    """
select no, id, doc, false as deleted from hub.entity
where expires <= $1 and deleted is null and tenant = $2 order by expires limit $3
""",
    Stored,
)


def columns(rows: Sequence[EntityRow]) -> list[list[Any]]:
    """The rows turned into the fourteen parallel arrays INSERT and UPDATE take after the tenant."""
    out: list[list[Any]] = [[] for _ in range(14)]
    for r in rows:
        for column, value in zip(
            out,
            (
                r.id,
                "{" + ",".join(map(str, r.types)) + "}",
                r.doc,
                r.q.decode(),
                r.lon,
                r.lat,
                None if r.box is None else "(({},{}),({},{}))".format(*r.box),
                None if r.scopes is None else msgspec.json.encode(r.scopes).decode(),
                r.search,
                r.created,
                r.modified,
                r.expires,
                r.deleted,
                r.no or None,
            ),
            strict=True,
        ):
            column.append(value)
    return out


async def write_entities(
    connection: Connection,
    tenant: int,
    new: Sequence[EntityRow],
    changed: Sequence[EntityRow],
    retyped: Sequence[int] = (),
) -> dict[str, int] | None:
    """Write rows in two statements. Numbers of the new ones by id; None if another writer was faster with one.

    `retyped`: numbers of changed entities that had or have more than one type.
    """
    numbers: dict[str, int] = {}
    if new:
        made = await INSERT.all(connection, tenant, *columns(new))
        if len(made) != len(new):
            return None
        numbers = {row.id: row.no for row in made}
    if changed:
        await UPDATE.run(connection, tenant, *columns(changed))
    if retyped:
        await DROP_MORE_TYPES.run(connection, list(retyped))
    several = [(t, numbers.get(r.id) or r.no) for r in (*new, *changed) for t in r.types[1:]]
    if several:
        await ADD_MORE_TYPES.run(connection, [t for t, _ in several], [no for _, no in several])
    return numbers
