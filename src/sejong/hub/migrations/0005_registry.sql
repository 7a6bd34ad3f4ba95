-- Context source registrations: who else keeps part of the record, and who wants to hear of that.

create table hub.registration(
    no           bigint generated always as identity unique,
    tenant       smallint not null references hub.tenant(no),
    id           text not null,
    doc          bytea not null,            -- the checked registration, names as IRIs (JSON text)
    created      timestamptz not null,
    modified     timestamptz not null,
    expires      timestamptz,
    sent         bigint not null default 0,
    failed       bigint not null default 0,
    last_success timestamptz,
    last_failure timestamptz,
    primary key (tenant, id)
);
create index registration_expiring on hub.registration(expires) where expires is not null;

create table hub.source_subscription(
    no           bigint generated always as identity unique,
    tenant       smallint not null references hub.tenant(no),
    id           text not null,
    doc          bytea not null,            -- the checked subscription (JSON text)
    period       float8,                    -- seconds between periodic notifications
    due          timestamptz,               -- the next of those
    created      timestamptz not null,
    modified     timestamptz not null,
    sent         bigint not null default 0,
    failed       bigint not null default 0,
    last_success timestamptz,
    last_failure timestamptz,
    primary key (tenant, id)
);

create index source_subscription_due on hub.source_subscription(due) where due is not null;

-- Notifications about registrations that wait to be delivered.
create table hub.source_notification(
    no           bigint generated always as identity primary key,
    tenant       smallint not null,
    subscription text not null,
    body         bytea not null,
    due          timestamptz not null,
    tries        int not null default 0,
    foreign key (tenant, subscription) references hub.source_subscription(tenant, id) on delete cascade
);
create index source_notification_due on hub.source_notification(due);
