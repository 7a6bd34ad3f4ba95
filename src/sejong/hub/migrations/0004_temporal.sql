-- Histories that can be written directly, and summaries of them (rollups).

-- When an instance first entered the history; null: the moment of `modified` (it was never edited).
alter table hub.hist add column created timestamptz;

-- The hours of this entity's history before this moment are summarised in hub.rollup. It is set under the lock of
-- the entity's row, which every writer of its history holds too: what is written later for an earlier hour is marked.
alter table hub.entity add column rolled timestamptz;
create index entity_rolled on hub.entity(rolled) where rolled is not null;

-- One hour of the numbers of one attribute (of one dataset), observed instances only. `n` null: something in this
-- hour changed since it was summarised; the history itself must be asked until the hour is summarised again.
-- Sums are exact decimals: they do not depend on how the hours are put together.
create table hub.rollup(
    eno    int not null,
    ano    int not null,
    ds     int not null,
    hour   timestamptz not null,
    n      int,
    odd    int,                         -- instances whose value is no number
    total  numeric,
    square numeric,
    low    float8,
    high   float8,
    oldest timestamptz,
    newest timestamptz,
    primary key (eno, ano, ds, hour)
);
create index rollup_stale on hub.rollup(eno) where n is null;

-- The attributes an entity has ever had, by jumps along the index instead of a walk through its whole history.
create function hub.attributes_of(entity int) returns setof int language sql stable rows 10 as $$
    with recursive found(ano) as (
        (select h.ano from hub.hist h where h.eno = entity order by h.ano limit 1)
        union all
        select (select h.ano from hub.hist h where h.eno = entity and h.ano > found.ano order by h.ano limit 1)
        from found where found.ano is not null
    )
    select ano from found where ano is not null
$$;
