-- The doors of the hub: who may bring readings, how foreign payloads are read, what was set aside and why,
-- and what the operators see of the devices' health.

create table hub.device_key(
    name    text primary key,           -- also the MQTT user and the topic level sejong/v1/<name>/readings
    sha256  bytea unique,               -- of the secret, for HTTP; null: speaks only through the city's own simulator
    bcrypt  text,                       -- of the secret, for the broker's configuration
    ids     text[] not null default '{}',     -- ids it may speak for, * for any text; none = every id
    topics  text[] not null default '{}',     -- MQTT filters it may publish to beside its own
    rate    float8,                     -- readings a second; null = the setting
    burst   float8,
    note    text not null default '',
    created timestamptz not null,
    revoked timestamptz,
    seen    timestamptz
);

create table hub.device_model(
    name     text primary key,
    declared jsonb not null,            -- checked before it is saved; see hub/ingest/mapping.py
    changed  timestamptz not null
);

-- One row for each different thing that could not be understood; the same again only counts up.
create table hub.dead_letter(
    no      bigint generated always as identity primary key,
    mark    bytea not null unique,      -- SHA-256 of door, sender, topic, reason and payload (or minute)
    door    text not null,
    sender  text not null,
    topic   text not null,
    form    text not null,              -- 'message' as it came, or 'readings' already understood
    reason  text not null,
    ko      text not null,
    en      text not null,
    payload bytea not null,             -- the first 64 KiB
    size    bigint not null,            -- bytes that came
    sha256  bytea not null,             -- of all that came
    arrived timestamptz not null,
    last    timestamptz not null,
    n       bigint not null
);
create index dead_letter_reason on hub.dead_letter(sender, reason, no);

-- What is left of dead letters that had to make room.
create table hub.dead_letter_past(
    day    date not null,
    door   text not null,
    sender text not null,
    reason text not null,
    n      bigint not null,
    primary key (day, door, sender, reason)
);

create table hub.device_seen(
    entity  text primary key,
    seen    timestamptz not null,
    usual_s float8,                     -- usual seconds between two messages, null until there were two
    n       bigint not null
);
create index device_seen_at on hub.device_seen(seen);

create table hub.ingest_minute(
    minute     timestamptz not null,
    door       text not null,
    readings   bigint not null default 0,
    duplicates bigint not null default 0,
    late       bigint not null default 0,
    refused    bigint not null default 0,
    throttled  bigint not null default 0,
    primary key (minute, door)
);

-- A process that takes readings, and its last sign of life: devices cannot be silent while nobody listened.
create table hub.ingest_run(
    process text primary key,
    started timestamptz not null,
    beat    timestamptz not null
);

create table hub.suspect(
    entity    text not null,
    attribute text not null,            -- IRI
    kind      text not null,            -- range, jump or stuck
    since     timestamptz not null,
    last      timestamptz not null,
    n         bigint not null,
    value     float8 not null,          -- the last example
    low       float8,                   -- what would have been expected
    high      float8,
    primary key (entity, attribute, kind)
);
create index suspect_last on hub.suspect(last);

create table hub.ingest_file(
    sha256   bytea not null,            -- of the file as it lies on disk
    how      text not null,             -- device model, type and so on it was read with
    path     text not null,
    started  timestamptz not null,      -- stands for the arrival of its readings, also after a restart
    done     bigint not null,           -- records committed
    readings bigint not null,
    duplicates bigint not null,
    late     bigint not null,
    refused  bigint not null,
    finished timestamptz,
    primary key (sha256, how)
);
