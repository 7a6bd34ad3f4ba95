-- Entity maps: which entities a query meant at one moment, kept so that a client can page over a set that stands still.

create table hub.entity_map(
    no       bigint generated always as identity primary key,
    tenant   smallint not null references hub.tenant(no),
    id       text not null,
    temporal boolean not null,
    expires  timestamptz not null,
    remote   jsonb not null,            -- entity id -> ids of the registrations that have it
    linked   jsonb not null,            -- registration id -> id of the map of that source
    unique (tenant, id)
);
create index entity_map_expiring on hub.entity_map(expires);
create table hub.entity_map_member(
    map bigint not null references hub.entity_map(no) on delete cascade,
    eno int not null,
    primary key (map, eno)
);

-- Snapshots: frozen copies of entities and histories, each in a hidden tenant of its own. Hidden tenants and copied
-- entities have negative numbers from circles of their own, so that copying never uses up those of the living record.

create sequence hub.hidden_tenant as smallint increment by -1 minvalue -32768 maxvalue -1 start with -1 cycle;
create sequence hub.copied_entity as int minvalue -2147483646 maxvalue -1 start with -2147483646 cycle;

create table hub.snapshot(
    no       bigint generated always as identity primary key,
    tenant   smallint not null references hub.tenant(no),
    id       text not null,
    copy     smallint references hub.tenant(no),     -- the hidden tenant; a new one for every attempt
    origin   smallint,                  -- of a clone: the hidden tenant it copies
    asked    jsonb not null,            -- what the client sent
    context  jsonb,                     -- what the names in the queries mean
    status   text not null check (status in ('preparing', 'success', 'partial', 'empty', 'failure')),
    details  jsonb not null,
    attempts int not null,
    priority int not null,
    created  timestamptz not null,
    modified timestamptz not null,
    used     timestamptz,
    expires  timestamptz not null,
    tell     timestamptz,               -- when the endpoint is to be told (again)
    tells    int not null,              -- how often that was tried
    unique (tenant, id)
);
create index snapshot_of_copy on hub.snapshot(copy);
create index snapshot_expiring on hub.snapshot(expires);

-- Forget what else belongs to a hidden tenant (its entities go in portions before, notes of changes after a day).
create function hub.forget_hidden(hidden smallint) returns void language plpgsql as $$
declare
    name text;
begin
    if hidden >= 0 then
        raise exception 'tenant % is not a hidden one', hidden;
    end if;
    for name in
        select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid
        where c.relnamespace = 'hub'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
          and a.attname = 'tenant' and not a.attisdropped and c.relname not in ('entity', 'change')
    loop
        execute format('delete from hub.%I where tenant = $1', name) using hidden;
    end loop;
    delete from hub.tenant where no = hidden;
end $$;
