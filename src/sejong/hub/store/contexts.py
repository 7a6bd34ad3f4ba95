"""@context documents: those hosted here, copies of those hosted elsewhere, and how often each was used."""

from __future__ import annotations

from datetime import datetime

import msgspec

from sejong.kit.postgres import Sql


class ContextRow(msgspec.Struct, frozen=True):
    """What is known of one context of a tenant; `expires` is that of the copy of a Cached one."""

    id: str
    url: str
    kind: str
    document: bytes | None
    created: datetime
    expires: datetime | None
    used: datetime | None
    hits: int


class Copy(msgspec.Struct, frozen=True):
    """What another host answered, and until when that may be believed."""

    document: bytes
    expires: datetime


_COLUMNS = "c.id, c.url, c.kind, c.document, c.created, k.expires, c.used, c.hits"
_FROM = "from hub.context c left join hub.context_copy k on c.kind = 'Cached' and k.url = c.url"
_KNOWN = "(c.kind <> 'Cached' or k.expires > $2 or c.url = any($3::text[]))"
LIST = Sql(f"select {_COLUMNS} {_FROM} where c.tenant = $1 and {_KNOWN} order by c.no", ContextRow)
FIND = Sql(f"select {_COLUMNS} {_FROM} where c.tenant = $1 and {_KNOWN} and (c.id = $4 or c.url = $4)", ContextRow)
HOST = Sql("""
insert into hub.context(tenant, id, url, kind, document, created) values ($1, $2, $3, $4, $5, $6)
on conflict (tenant, id) do nothing
""")
HOSTED = Sql("select document from hub.context where id = $1 and document is not null limit 1")
REMOVE = Sql("delete from hub.context where tenant = $1 and id = $2")
FIND_COPY = Sql("select document, expires from hub.context_copy where url = $1 and expires > $2", Copy)
KEEP_COPY = Sql("""
insert into hub.context_copy(url, document, fetched, expires) values ($1, $2, $3, $4)
on conflict (url) do update set document = excluded.document, fetched = excluded.fetched, expires = excluded.expires
""")
REMOVE_COPY = Sql("delete from hub.context_copy where url = $1")
COUNT_OWN = Sql("""
update hub.context c set hits = c.hits + u.hits, used = greatest(c.used, u.used)
from unnest($1::text[], $2::bigint[], $3::timestamptz[]) as u(id, hits, used) where c.id = u.id
""")
COUNT_OTHERS = Sql("""
insert into hub.context(tenant, id, url, kind, created, used, hits)
select t.no, u.id, u.url, 'Cached', u.used, u.used, u.hits
from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[]) as u(tenant, id, url, hits, used)
join hub.tenant t on t.name = u.tenant
order by t.no, u.url
on conflict (tenant, url) do update set hits = hub.context.hits + excluded.hits,
    used = greatest(hub.context.used, excluded.used)
""")
TELL = Sql("select pg_notify('hub_context', $1)")
TRIM_COPIES = Sql("delete from hub.context_copy where expires < $1")
TRIM_USES = Sql("""
delete from hub.context c where kind = 'Cached' and used < $1
and not exists (select from hub.context_copy k where k.url = c.url)
""")
