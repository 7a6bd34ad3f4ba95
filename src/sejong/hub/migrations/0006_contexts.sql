-- @context documents the hub hosts for others, and those of other hosts it has read (CIM 009 v1.9.1 clause 5.13).

create table hub.context(
    no        bigint generated always as identity,
    tenant    smallint not null references hub.tenant(no),
    id        text not null,            -- local id
    url       text not null,            -- where everybody finds it
    kind      text not null check (kind in ('Hosted', 'Cached', 'ImplicitlyCreated')),
    document  bytea,                    -- JSON text of the whole document; Cached ones lie in hub.context_copy
    created   timestamptz not null,
    used      timestamptz,
    hits      bigint not null default 0,
    primary key (tenant, id),
    unique (tenant, url),
    check ((document is null) = (kind = 'Cached'))
);
create index context_by_id on hub.context(id);

-- What other hosts answered, shared by all processes and tenants.
create table hub.context_copy(
    url       text primary key,
    document  bytea not null,
    fetched   timestamptz not null,
    expires   timestamptz not null
);
