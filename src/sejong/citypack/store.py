"""What the database remembers of city packs."""

from __future__ import annotations

from datetime import datetime

import msgspec

from sejong.kit.postgres import Sql


class Loaded(msgspec.Struct, frozen=True):
    """A pack that is in the record."""

    city: str
    version: str
    at: datetime
    entities: int
    rejected: int


LOADED = Sql("select city, version, at, entities, rejected from citypack.loaded where city = $1", Loaded)
NOTE_LOADED = Sql("""
insert into citypack.loaded(city, version, at, entities, rejected) values ($1, $2, $3, $4, $5)
on conflict (city) do update set version = excluded.version, at = excluded.at, entities = excluded.entities,
                                 rejected = excluded.rejected
""")
