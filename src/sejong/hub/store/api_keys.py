"""SQL of the keys that programs read with."""

from __future__ import annotations

from datetime import date, datetime

import msgspec

from sejong.kit.postgres import Sql


class KeyRow(msgspec.Struct, frozen=True):
    """A key as it lies in the record; its secret does not."""

    no: int
    sha256: bytes
    name: str
    role: str
    rate: float | None
    daily: int | None
    created: datetime
    revoked: datetime | None
    seen: datetime | None


_KEY = "no, sha256, name, role, rate, daily, created, revoked, seen"
ADD_KEY = Sql(
    f"""
insert into hub.api_key(sha256, name, role, rate, daily, created) values ($1, $2, $3, $4, $5, $6) returning {_KEY}
""",
    KeyRow,
)
KEYS = Sql(f"select {_KEY} from hub.api_key order by no", KeyRow)
BY_SECRET = Sql(f"select {_KEY} from hub.api_key where sha256 = $1", KeyRow)
REVOKE = Sql("update hub.api_key set revoked = $2 where no = $1 and revoked is null")
REVOKED = Sql("select no from hub.api_key where no = any($1) and revoked is not null")
REVOKED_NAME = Sql("update hub.api_key set revoked = $2 where name = $1 and revoked is null")
NOTE_USE = Sql(
    """
insert into hub.api_key_day as d(key, day, requests, refused)
select * from unnest($1::int[], $2::date[], $3::bigint[], $4::bigint[])
on conflict (key, day) do update set requests = d.requests + excluded.requests, refused = d.refused + excluded.refused
"""
)
NOTE_SEEN = Sql("update hub.api_key set seen = greatest(seen, $2) where no = any($1)")


class Day(msgspec.Struct, frozen=True):
    """How much a key was used on one day."""

    key: int
    day: date
    requests: int
    refused: int


USE_OF = Sql("select key, day, requests, refused from hub.api_key_day where key = $1 order by day desc limit 30", Day)
USE_ON = Sql("select key, day, requests, refused from hub.api_key_day where key = any($1) and day = $2", Day)
TRIM_USE = Sql("delete from hub.api_key_day where day < $1")
