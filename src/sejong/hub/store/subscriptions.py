"""SQL of subscriptions: what is asked for, what is still to be told, and what could not be told."""

from __future__ import annotations

from datetime import datetime

import msgspec

from sejong.kit.postgres import Sql


class SubscriptionRow(msgspec.Struct, frozen=True):
    """A subscription as it lies in the record, with how telling it has gone."""

    no: int
    tenant: int
    id: str
    definition: bytes
    created: datetime
    modified: datetime
    version: int
    sent: int
    failed: int
    last_notification: datetime | None
    last_success: datetime | None
    last_failure: datetime | None


_ROW = """s.no, s.tenant::int as tenant, s.id, s.definition, s.created, s.modified, s.version,
       d.sent, d.failed, d.last_notification, d.last_success, d.last_failure
from hub.subscription s join hub.delivery d on d.sub = s.no"""
ONE = Sql(f"select {_ROW} where s.tenant = $1 and s.id = $2", SubscriptionRow)
ONE_FOR_UPDATE = Sql(f"select {_ROW} where s.tenant = $1 and s.id = $2 for no key update of s", SubscriptionRow)
PAGE = Sql(f"select {_ROW} where s.tenant = $1 order by s.no limit $2 offset $3", SubscriptionRow)
COUNT = Sql("select count(*) from hub.subscription where tenant = $1")

# Changes of subscriptions wait for each other, so that versions become visible in their order.
LOCK = Sql("select pg_advisory_xact_lock(hashtextextended('hub.subscription', 0))")
ADD = Sql(
    """
insert into hub.subscription(tenant, id, definition, created, modified, version)
values ($1, $2, $3, $4, $4, nextval('hub.subscription_version'))
on conflict (tenant, id) do nothing returning no
"""
)
ADD_DELIVERY = Sql("insert into hub.delivery(sub, due) values ($1, $2)")
CHANGE = Sql(
    """
update hub.subscription set definition = $2, modified = $3, version = nextval('hub.subscription_version')
where no = $1
"""
)
SET_DUE = Sql("update hub.delivery set due = $2 where sub = $1")
REMOVE = Sql("delete from hub.subscription where no = $1")
NOTE_GONE = Sql(
    "insert into hub.subscription_gone(version, no, at) values (nextval('hub.subscription_version'), $1, $2)"
)
FORGET_OUTBOX = Sql("delete from hub.outbox where sub = $1")
TELL_SUBSCRIPTIONS = Sql("select pg_notify('hub_subscription', '')")


class Known(msgspec.Struct, frozen=True):
    """A subscription as matching needs it."""

    no: int
    tenant: int
    definition: bytes
    version: int


class Gone(msgspec.Struct, frozen=True):
    """A subscription that was deleted."""

    version: int
    no: int


CHANGED_SINCE = Sql(
    "select no, tenant::int as tenant, definition, version from hub.subscription where version > $1 order by version",
    Known,
)
GONE_SINCE = Sql("select version, no from hub.subscription_gone where version > $1 order by version", Gone)
TRIM_GONE = Sql("delete from hub.subscription_gone where at < $1")

# --- telling -------------------------------------------------------------------------------------------------------

BEGIN_RUN = Sql("insert into hub.deliverer(beat) values (clock_timestamp()) returning run")


class Pulse(msgspec.Struct, frozen=True):
    """What a process learns with each sign of life: the last change of a subscription, and how many processes tell."""

    version: int
    alive: int


BEAT = Sql(
    """
update hub.deliverer set beat = clock_timestamp() where run = $1
returning greatest((select coalesce(max(version), 0) from hub.subscription),
                   (select coalesce(max(version), 0) from hub.subscription_gone)) as version,
    (select count(*) from hub.deliverer where beat > clock_timestamp() - interval '1 minute') as alive
""",
    Pulse,
)
END_RUN = Sql("delete from hub.deliverer where run = $1")
RELEASE = Sql("update hub.delivery set owner = null where owner = $1")
TRIM_RUNS = Sql("delete from hub.deliverer where beat < clock_timestamp() - interval '1 hour'")

PUT = Sql(
    """
insert into hub.outbox(sub, id, at, writer, data)
select r.sub, r.id, $2, $1, r.data from unnest($3::bigint[], $4::text[], $5::bytea[]) with ordinality
    as r(sub, id, data, place) order by r.place
returning no
"""
)


class State(msgspec.Struct, frozen=True):
    """How telling one subscription stands."""

    sub: int
    sent: int
    failed: int
    last_notification: datetime | None
    last_success: datetime | None
    last_failure: datetime | None
    why: str
    failures: int
    not_before: datetime | None
    throttled_from: datetime | None


_STATE = """d.sub, d.sent, d.failed, d.last_notification, d.last_success, d.last_failure, d.why, d.failures,
          d.not_before, d.throttled_from"""
# An owner that has not been heard for `$3` seconds is dead.
_FREE = """(owner is null or owner = $1 or not exists
    (select 1 from hub.deliverer r where r.run = owner and r.beat > clock_timestamp() - make_interval(secs => $3)))"""
CLAIM = Sql(
    f"""
update hub.delivery d set owner = $1 where d.sub in
    (select sub from hub.delivery where sub = any($2::bigint[]) and {_FREE} for update skip locked)
returning {_STATE}
""",
    State,
)
# What nobody tells although something waits: after a crash, or left over by a process that ended.
ADOPTABLE = Sql(
    """
select d.sub from hub.delivery d left join hub.deliverer r on r.run = d.owner
where (d.owner is null or r.run is null or r.beat < clock_timestamp() - make_interval(secs => $1))
  and exists (select 1 from hub.outbox o where o.sub = d.sub)
limit 1000
"""
)


class Waiting(msgspec.Struct, frozen=True):
    """Something that is still to be told."""

    no: int
    sub: int
    id: str
    at: datetime
    data: bytes


WAITING = Sql(
    """
select o.no, o.sub, o.id, o.at, o.data from unnest($1::bigint[]) as s(sub) cross join lateral
    (select no, sub, id, at, data from hub.outbox where sub = s.sub and no <> all($2::bigint[])
     order by no limit $3) as o
""",
    Waiting,
)
# What other processes left for subscribers of this one, and anything for those ($3) who seem to have been told all.
LEFT_OVER = Sql(
    """
select distinct sub from hub.outbox where sub = any($1::bigint[]) and (writer <> $2 or sub = any($3::bigint[]))
"""
)
DONE = Sql("delete from hub.outbox where no = any($1::bigint[])")
SAVE = Sql(
    """
update hub.delivery d set sent = r.sent, failed = r.failed, last_notification = r.last_notification,
    last_success = r.last_success, last_failure = r.last_failure, why = r.why, failures = r.failures,
    not_before = r.not_before, throttled_from = r.throttled_from
from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
            $8::text[], $9::int[], $10::timestamptz[], $11::timestamptz[])
    as r(sub, sent, failed, last_notification, last_success, last_failure, why, failures, not_before, throttled_from)
where d.sub = r.sub and d.owner = $1
returning d.sub
"""
)
BURY = Sql(
    """
with gone as (delete from hub.outbox where no = any($1::bigint[]) returning no, sub, id, at, data)
insert into hub.dead_notification(no, sub, tenant, subscription, id, at, given_up, attempts, why, data)
select g.no, g.sub, s.tenant, s.id, g.id, g.at, $2, $3, $4, g.data from gone g join hub.subscription s on s.no = g.sub
on conflict (no) do nothing
"""
)
TOO_MANY_WAITING = Sql("select no from hub.outbox where sub = $1 order by no desc offset $2 limit 5000")
NUDGE = Sql("select pg_notify('hub_outbox', $1)")
TAKE_DUE = Sql(
    """
update hub.delivery set due = case when due + make_interval(secs => $3) > $2 then due else $2 end
    + make_interval(secs => $3)
where sub = $1 and due <= $2 returning sub
"""
)


class Due(msgspec.Struct, frozen=True):
    """When a periodic subscription is to be told next."""

    sub: int
    due: datetime


DUE = Sql("select sub, due from hub.delivery where due is not null and due <= $1 order by due limit 1000", Due)

# --- what could not be told ---------------------------------------------------------------------------------------


class DeadRow(msgspec.Struct, frozen=True):
    """A notification that was given up, without what it would have said."""

    no: int
    tenant: str
    subscription: str
    id: str
    at: datetime
    given_up: datetime
    attempts: int
    why: str
    bytes: int


DEAD = Sql(
    """
select d.no, t.name as tenant, d.subscription, d.id, d.at, d.given_up, d.attempts, d.why, length(d.data) as bytes
from hub.dead_notification d join hub.tenant t on t.no = d.tenant
where ($1::text is null or d.subscription = $1) and ($2::bigint is null or d.no < $2)
order by d.no desc limit $3
""",
    DeadRow,
)
TRIM_DEAD = Sql("delete from hub.dead_notification where given_up < $1")
TRIM_ORPHANS = Sql(
    "delete from hub.outbox o where at < $1 and not exists (select 1 from hub.subscription s where s.no = o.sub)"
)
