-- What every service stands on: the audit of acts, events waiting for their handlers.

create table kit.act(
    id          uuid primary key,
    name        text not null,
    who         text not null,
    at          timestamptz not null,
    key         text,                   -- idempotency key given by the caller
    fingerprint text,                   -- hash of the request, so a key cannot be used for another one
    result      jsonb
);
create unique index act_key on kit.act(name, who, key) where key is not null;
create index act_at on kit.act using brin(at);

create table kit.event(
    seq     bigint generated always as identity primary key,
    xid     xid8 not null default pg_current_xact_id(),
    name    text not null,
    at      timestamptz not null,
    act     uuid not null,
    payload jsonb not null
);
create index event_order on kit.event(xid, seq);

-- How far each handler has read. (xid, seq) order never skips an event that commits late:
-- a reader only looks below the oldest transaction still running.
create table kit.event_cursor(
    handler  text primary key,
    xid      xid8 not null,
    seq      bigint not null,
    failures int not null default 0,
    retry_at timestamptz
);

create table kit.event_dead(
    handler text not null,
    seq     bigint not null,
    name    text not null,
    payload jsonb not null,
    reason  text not null,
    at      timestamptz not null,
    primary key (handler, seq)
);
