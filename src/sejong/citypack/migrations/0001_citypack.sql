-- Which pack was loaded when, so that a start with the same pack need not load it again.
create schema citypack;
create table citypack.loaded(
    city     text primary key,
    version  text not null,         -- fingerprint of the pack's files and of the code that reads them
    at       timestamptz not null,
    entities int not null,
    rejected int not null
);
