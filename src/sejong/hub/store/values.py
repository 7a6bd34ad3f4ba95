"""The indexes of attribute values that queries have earned. See docs/decisions/0007-value-index.md."""

from __future__ import annotations

import msgspec

from sejong.kit.postgres import Sql


class Indexed(msgspec.Struct, frozen=True):
    """An attribute that has, or is about to have, an index of its values."""

    ano: int
    ready: bool


INDEXED = Sql("select ano, ready from hub.indexed", Indexed)
PUT = Sql(
    """
insert into hub.attribute_value(eno, ano, val)
select r.eno, r.ano, r.val::jsonb from unnest($1::int[], $2::int[], $3::text[]) as r(eno, ano, val)
on conflict (eno, ano) do update set val = excluded.val
"""
)
BEGIN = Sql("insert into hub.indexed(ano, used) values ($1, $2) on conflict do nothing")
NEXT_TRANSACTION = Sql("select pg_snapshot_xmax(pg_current_snapshot())::text")
ARE_OVER = Sql("select pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8")
LAST_ENTITY = Sql("select coalesce(max(no), 0) from hub.entity")
FILL = Sql(
    """
insert into hub.attribute_value(eno, ano, val)
select no, $1, coalesce(q -> ($1::int)::text, 'null'::jsonb) from hub.entity
where no > $2 and no <= $3 and deleted is null and q ? ($1::int)::text
order by no
on conflict do nothing
"""
)
READY = Sql("update hub.indexed set ready = true where ano = $1")
USED = Sql("update hub.indexed set used = $2 where ano = any($1) and used < $2")
DROP_UNUSED = Sql("delete from hub.indexed where used < $1")
TRIM = Sql(
    """
delete from hub.attribute_value v using hub.entity e
where e.no = v.eno and (e.deleted is not null or not e.q ? v.ano::text
      or not exists (select from hub.indexed i where i.ano = v.ano))
"""
)
ANALYZE = Sql("analyze hub.attribute_value")
TRY_TO_BUILD = Sql("select pg_try_advisory_lock(hashtextextended('hub.value_index', 0))")
BUILT = Sql("select pg_advisory_unlock(hashtextextended('hub.value_index', 0))")
