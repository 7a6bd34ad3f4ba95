"""Registrations of context sources, subscriptions to them, and the notifications that wait."""

from __future__ import annotations

from datetime import datetime

import msgspec

from sejong.kit.postgres import Sql


class RegistryRow(msgspec.Struct, frozen=True):
    """A registration, or a subscription to registrations, with what became of the calls made for it."""

    tenant: int
    id: str
    doc: bytes
    created: datetime
    modified: datetime
    sent: int
    failed: int
    last_success: datetime | None
    last_failure: datetime | None


class Waiting(msgspec.Struct, frozen=True):
    """A notification about registrations that is to be delivered now."""

    no: int
    tenant: int
    tenant_name: str
    subscription: str
    body: bytes
    tries: int
    doc: bytes


_COLUMNS = "tenant::int as tenant, id, doc, created, modified, sent, failed, last_success, last_failure"
_ALIVE = "(expires is null or expires > $2)"
LOCK = Sql("select pg_advisory_xact_lock(hashtextextended('hub.registry', $1))")
EVERY = Sql(f"select {_COLUMNS} from hub.registration order by no", RegistryRow)
ONE = Sql(f"select {_COLUMNS} from hub.registration where tenant = $1 and id = $2", RegistryRow)
OF_TENANT = Sql(f"select {_COLUMNS} from hub.registration where tenant = $1 and {_ALIVE} order by no", RegistryRow)
FIND = Sql(f"select {_COLUMNS} from hub.registration where tenant = $1 and {_ALIVE} and id = $3", RegistryRow)
ADD = Sql("""
insert into hub.registration(tenant, id, doc, created, modified, expires) values ($1, $2, $3, $4, $4, $5)
on conflict (tenant, id) do update set doc = excluded.doc, created = excluded.created, modified = excluded.modified,
    expires = excluded.expires, sent = 0, failed = 0, last_success = null, last_failure = null
where hub.registration.expires <= $4
""")
CHANGE = Sql("""
update hub.registration set doc = $3, modified = $4, expires = $5 where tenant = $1 and id = $2
""")
REMOVE = Sql("delete from hub.registration where tenant = $1 and id = $2")
EXPIRED = Sql(f"select {_COLUMNS} from hub.registration where expires <= $1 order by no limit 100", RegistryRow)
COUNT = Sql("""
update hub.registration r set sent = r.sent + u.sent, failed = r.failed + u.failed,
    last_success = greatest(r.last_success, u.last_success), last_failure = greatest(r.last_failure, u.last_failure)
from unnest($1::int[], $2::text[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::timestamptz[])
    as u(tenant, id, sent, failed, last_success, last_failure)
where r.tenant = u.tenant and r.id = u.id
""")
TELL = Sql("select pg_notify('hub_registry', $1)")

SUBSCRIPTIONS = Sql(f"select {_COLUMNS} from hub.source_subscription where tenant = $1 order by no", RegistryRow)
SUBSCRIPTION = Sql(f"select {_COLUMNS} from hub.source_subscription where tenant = $1 and id = $2", RegistryRow)
ADD_SUBSCRIPTION = Sql("""
insert into hub.source_subscription(tenant, id, doc, created, modified, period, due)
values ($1, $2, $3, $4::timestamptz, $4::timestamptz, $5::float8, $4::timestamptz + make_interval(secs => $5::float8))
on conflict do nothing
""")
CHANGE_SUBSCRIPTION = Sql("""
update hub.source_subscription set doc = $3, modified = $4::timestamptz, period = $5::float8,
    due = $4::timestamptz + make_interval(secs => $5::float8)
where tenant = $1 and id = $2
""")
REMOVE_SUBSCRIPTION = Sql("delete from hub.source_subscription where tenant = $1 and id = $2")
PERIODIC = Sql(
    f"""
update hub.source_subscription set due = $1::timestamptz + make_interval(secs => period)
where no in (
    select no from hub.source_subscription where due <= $1 order by due limit 10 for update skip locked
)
returning {_COLUMNS}
""",
    RegistryRow,
)

WAIT = Sql("""
insert into hub.source_notification(tenant, subscription, body, due) values ($1, $2, $3, $4)
""")
TAKE = Sql(
    """
update hub.source_notification n set due = $2, tries = n.tries + 1
from hub.source_subscription s, hub.tenant t
where n.no = (
    select no from hub.source_notification where due <= $1 order by due, no limit 1 for update skip locked
) and s.tenant = n.tenant and s.id = n.subscription and t.no = n.tenant
returning n.no, n.tenant::int as tenant, t.name as tenant_name, n.subscription, n.body, n.tries, s.doc
""",
    Waiting,
)
NEXT_DUE = Sql("""
select least((select min(due) from hub.source_notification), (select min(due) from hub.source_subscription))
""")
DONE = Sql("delete from hub.source_notification where no = $1")
LATER = Sql("update hub.source_notification set due = $2 where no = $1")
NOTE_SENT = Sql("""
update hub.source_subscription set sent = sent + 1, last_success = $3 where tenant = $1 and id = $2
""")
NOTE_FAILED = Sql("""
update hub.source_subscription set sent = sent + 1, failed = failed + 1, last_failure = $3 where tenant = $1 and id = $2
""")
TELL_WAITING = Sql("select pg_notify('hub_source_notification', '')")
