"""Entity maps: the entities a query meant, numbered, one row each."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from sejong.kit.postgres import Sql


class MapRow(msgspec.Struct, frozen=True):
    """An entity map without the entities of this record."""

    no: int
    id: str
    temporal: bool
    expires: datetime
    remote: Any
    linked: Any


_COLUMNS = "no, id, temporal, expires, remote, linked"
FIND = Sql(f"select {_COLUMNS} from hub.entity_map where tenant = $1 and id = $2 and expires > $3", MapRow)
MAKE = Sql(
    f"""
insert into hub.entity_map(tenant, id, temporal, expires, remote, linked) values ($1, $2, $3, $4, $5, $6)
returning {_COLUMNS}
""",
    MapRow,
)
ADD = Sql("insert into hub.entity_map_member(map, eno) select $1, unnest($2::int[]) order by 2")
MEMBERS = Sql(
    "select e.id from hub.entity_map_member m join hub.entity e on e.no = m.eno where m.map = $1 order by e.no"
)
HAS = Sql("""
select exists(select from hub.entity_map_member m join hub.entity e on e.no = m.eno
              where m.map = $1 and e.tenant = $2 and e.id = $3)
""")
SET_EXPIRY = Sql("update hub.entity_map set expires = $4 where tenant = $1 and id = $2 and expires > $3")
DELETE = Sql("delete from hub.entity_map where tenant = $1 and id = $2 and expires > $3")
REMOVE_EXPIRED = Sql("delete from hub.entity_map where expires <= $1")
