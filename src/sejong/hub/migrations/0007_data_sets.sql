-- What builders take home: data sets (a named query with an owner, a licence and a measured quality), and the keys
-- that programs read with. Also the read views of docs/guides/bi.md (schema bi).

create table hub.data_set(
    id        text primary key,             -- also its address: /data/<id>
    declared  jsonb not null,               -- checked before it is saved; see hub/opendata/dataset.py
    origin    text not null,                -- 'pack' while only the city pack said anything, else who changed it
    created   timestamptz not null,
    changed   timestamptz not null,
    withdrawn timestamptz                   -- the row stays so that a pack does not bring back what was taken away
);

create table hub.data_set_quality(
    data_set     text not null references hub.data_set(id) on delete cascade,
    measured     timestamptz not null,
    entities     bigint not null,
    completeness float8,                    -- shares from 0 to 1; null = there is nothing to measure it by
    freshness    float8,
    conformity   float8,
    newest       timestamptz,
    median_age_s float8,
    gaps         bigint not null default 0, -- silences longer than three times the usual interval, last 24 hours
    gap_s        float8 not null default 0, -- seconds of them
    primary key (data_set, measured)
);

-- Keys of programs. The secret is shown once; what lies here cannot be turned back into it.
create table hub.api_key(
    no      int generated always as identity primary key,
    sha256  bytea not null unique,
    name    text not null,
    role    text not null check (role in ('reader', 'operator')),
    rate    float8,                         -- requests a second; null = the setting
    daily   bigint,                         -- requests a day; null = the setting
    created timestamptz not null,
    revoked timestamptz,
    seen    timestamptz
);
create table hub.api_key_day(
    key      int not null references hub.api_key(no) on delete cascade,
    day      date not null,
    requests bigint not null,
    refused  bigint not null,
    primary key (key, day)
);

-- What does not fit the model a data set declares (validation = 'report').
create table hub.data_set_fault(
    data_set  text not null references hub.data_set(id) on delete cascade,
    attribute text not null,
    why       text not null,
    entity    text not null,                -- the last example
    last      timestamptz not null,
    n         bigint not null,
    primary key (data_set, attribute, why)
);

-- The first text of an attribute of a document: a name in the wanted language, else any. NULL where there is none,
-- and for the rare document with a NUL, which no text of the database can hold.
create function hub.text_of(doc bytea, iri text, lang text) returns text language sql immutable parallel safe as $$
    select case when position('\x5c7530303030'::bytea in doc) > 0 then null else (
        select coalesce(i -> 'languageMap' ->> lang, i -> 'languageMap' ->> '@none', i -> 'languageMap' ->> 'ko',
                        i -> 'languageMap' ->> 'en', i ->> 'value', i ->> 'object')
        from (select convert_from(doc, 'UTF8')::json -> iri -> 0 as i) as x) end
$$;

-- Read views for BI tools. Names are the standard's; see docs/guides/bi.md.
create schema bi;
create view bi.entity as
select e.id, t.iri as type_iri, regexp_replace(t.iri, '^.*[/#:]', '') as type,
       hub.text_of(e.doc, 'https://smartdatamodels.org/name', 'ko') as name_ko,
       hub.text_of(e.doc, 'https://smartdatamodels.org/name', 'en') as name_en,
       e.lon, e.lat, e.scopes, e.created as created_at, e.modified as modified_at
from hub.entity e join hub.term t on t.no = e.type0
where e.tenant = 0 and e.deleted is null;

create view bi.attribute as
select e.id as entity_id, regexp_replace(t.iri, '^.*[/#:]', '') as type,
       regexp_replace(a.iri, '^.*[/#:]', '') as attribute, a.iri as attribute_iri,
       case when jsonb_typeof(v.value) = 'number' then (v.value #>> '{}')::float8 end as number,
       v.value #>> '{}' as text, e.modified as modified_at
from hub.entity e
join hub.term t on t.no = e.type0
cross join lateral jsonb_each(e.q) as v(key, value)
join hub.term a on a.no = v.key::int
where e.tenant = 0 and e.deleted is null and jsonb_typeof(v.value) <> 'null';

create view bi.observation as
select e.id as entity_id, regexp_replace(t.iri, '^.*[/#:]', '') as type,
       regexp_replace(a.iri, '^.*[/#:]', '') as attribute, a.iri as attribute_iri,
       h.t as observed_at, h.modified as recorded_at, h.num as number, h.observed as has_observed_at
from hub.hist h
join hub.entity e on e.no = h.eno
join hub.term t on t.no = e.type0
join hub.term a on a.no = h.ano
where e.tenant = 0 and h.op < 3;

create view bi.data_set as
select d.id, d.declared -> 'title' ->> 'ko' as title_ko, d.declared -> 'title' ->> 'en' as title_en,
       d.declared ->> 'theme' as theme, d.declared ->> 'owner' as owner, d.declared ->> 'licence' as licence,
       d.declared ->> 'access' as access, d.changed as changed_at, q.measured as measured_at, q.entities,
       q.completeness, q.freshness, q.conformity, q.newest as newest_observed_at, q.gaps
from hub.data_set d
left join lateral (select * from hub.data_set_quality q where q.data_set = d.id order by q.measured desc limit 1) q
  on true
where d.withdrawn is null;

-- Months of history that hold nothing any more (retention has emptied them) are dropped, which gives the disk back.
create function hub.drop_empty_months(before date) returns int language plpgsql as $$
declare
    part text;
    filled boolean;
    dropped int := 0;
begin
    perform pg_advisory_xact_lock(hashtextextended('hub.ensure_month', 0));
    for part in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'hub.hist'::regclass and c.relname ~ '^hist_\d{4}_\d{2}$'
          and to_date(substr(c.relname, 6), 'YYYY_MM') + interval '1 month' <= before
    loop
        execute format('select exists (select 1 from hub.%I)', part) into filled;
        if not filled then
            execute format('alter table hub.hist detach partition hub.%I', part);
            execute format('drop table hub.%I', part);
            dropped := dropped + 1;
        end if;
    end loop;
    return dropped;
end $$;

-- Who wrote an attribute last: through which door, as whom, and how the payload was read.
create table hub.attribute_source(
    entity    text not null,
    attribute text not null,                -- IRI
    door      text not null,                -- mqtt, http or file
    sender    text not null,                -- name of the device key, or of the file
    mapping   text not null,                -- device model, or the default payload
    version   text not null,                -- of the mapping: the beginning of the SHA-256 of its declaration
    since     timestamptz not null,
    primary key (entity, attribute)
);
