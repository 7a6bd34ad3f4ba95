-- Attributes whose values queries compare again and again get an index of their values. An index on hub.entity.q
-- itself would end HOT updates for every reading of the city; here only what is asked for is paid for.
-- See docs/decisions/0007-value-index.md.

create table hub.indexed(
    ano   int primary key,              -- the attribute
    ready boolean not null default false,
    used  timestamptz not null          -- to the day
);

-- The values of indexed attributes, for every entity that has them ('null': only the document knows).
-- There may be a row too many (of an entity that is gone, a value that was), never one too few.
create table hub.attribute_value(
    ano int not null,
    eno int not null,
    val jsonb not null,
    primary key (eno, ano)
);
create index attribute_value_by_value on hub.attribute_value(ano, val, eno);
