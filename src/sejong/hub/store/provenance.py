"""SQL of who wrote which attribute."""

from __future__ import annotations

from datetime import datetime

import msgspec

from sejong.kit.postgres import Sql

# The same writer again changes nothing, so a restart costs no write.
NOTE_WRITERS = Sql(
    """
insert into hub.attribute_source as s(entity, attribute, door, sender, mapping, version, since)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
on conflict (entity, attribute) do update
set door = excluded.door, sender = excluded.sender, mapping = excluded.mapping, version = excluded.version,
    since = excluded.since
where (s.door, s.sender, s.mapping, s.version)
      is distinct from (excluded.door, excluded.sender, excluded.mapping, excluded.version)
"""
)


class WriterRow(msgspec.Struct, frozen=True):
    """Who writes an attribute of how many things, and since when."""

    attribute: str
    door: str
    sender: str
    mapping: str
    version: str
    things: int
    since: datetime


WRITERS = Sql(
    """
select s.attribute, s.door, s.sender, s.mapping, s.version, count(*) as things,
       coalesce(min(s.since), 'epoch'::timestamptz) as since
from hub.attribute_source s join hub.entity e on e.tenant = 0 and e.id = s.entity
where e.no = any($1) group by 1, 2, 3, 4, 5 order by things desc, 1, 2, 3 limit 100
""",
    WriterRow,
)
