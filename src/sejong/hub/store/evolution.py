"""Editing what was true before: single instances, attributes and whole histories."""

from __future__ import annotations

from datetime import datetime

import msgspec

from sejong.hub.store.history import COLUMNS_OF, Instance
from sejong.kit.postgres import Sql


class Newest(msgspec.Struct, frozen=True):
    """When the newest instance of an attribute happened (a deletion: when it was deleted)."""

    ano: int
    ds: int
    t: datetime


class Replaced(msgspec.Struct, frozen=True):
    """An instance that was taken out so that another can take its place under the same number."""

    ano: int
    ds: int
    t: datetime
    no: int
    created: datetime


EXISTS = Sql("select exists(select 1 from hub.hist where eno = $1)")
NEWEST_OF = Sql(
    """
select k.ano as ano, k.ds as ds, x.t from unnest($2::int[], $3::int[]) as k(ano, ds)
cross join lateral (select h.t from hub.hist h where h.eno = $1 and h.ano = k.ano and h.ds = k.ds
                    order by h.t desc, h.no desc limit 1) x
""",
    Newest,
)
TAKE_OUT = Sql(
    """
delete from hub.hist h using unnest($2::int[], $3::int[], $4::timestamptz[]) as k(ano, ds, t)
where h.eno = $1 and h.ano = k.ano and h.ds = k.ds and h.t = k.t and h.observed and h.op < 3
  and h.t between $5 and $6
returning h.ano, h.ds, h.t, h.no, coalesce(h.created, h.modified) as created
""",
    Replaced,
)
ONE = Sql(
    f"select {COLUMNS_OF} from hub.hist h where h.eno = $1 and h.ano = $2 and h.no = $3",
    Instance,
)
LAST = Sql(
    f"""
select {COLUMNS_OF} from hub.hist h where h.eno = $1 and h.ano = $2 and h.ds = $3
order by h.t desc, h.no desc limit 1
""",
    Instance,
)
REMOVE_ONE = Sql("delete from hub.hist where eno = $1 and ano = $2 and t = $3 and no = $4")
REMOVE_ATTRIBUTE = Sql("delete from hub.hist where eno = $1 and ano = $2 and ($3::int is null or ds = $3)")
REMOVE_ALL = Sql("delete from hub.hist where eno = $1")
