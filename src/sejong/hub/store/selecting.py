"""Finding entities by a selection. The only SQL of the house that is put together at run time.

Texts come from `selection.where` alone, which binds every value of a client as a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from sejong.hub.selection import Selection
from sejong.kit.postgres import Connection, Sql

SECOND_TYPES = Sql("select distinct type from hub.entity_type where type = any($1)")
PAGE = 1000
"""Rows read at once while candidates are tested. Chosen."""


class Picked(msgspec.Struct, frozen=True):
    """One entity of a page."""

    no: int
    doc: bytes


class Search:
    """One selection against one tenant at one moment."""

    def __init__(self, tenant: int, now: datetime, selection: Selection, number: Callable[[str], int | None]) -> None:
        self.values: list[Any] = [tenant, now]
        self.selection, self._number = selection, number
        self.maybe = self.sure = "true"
        self._test: Callable[[dict[str, Any]], bool] | None = None

    async def prepare(self, connection: Connection) -> Search:
        """Write the conditions (asks the database which of the types occur as second types)."""
        numbers = [n for iri in self.selection.types() if (n := self._number(iri)) is not None]
        second: frozenset[int] = frozenset()
        if numbers:
            second = frozenset(r["type"] for r in await connection.fetch(SECOND_TYPES.text, numbers))
        where = self.selection.where(self._number, self._bind, second)
        # NULL means no in both strengths.
        self.maybe, self.sure = where.maybe, f"coalesce({where.sure}, false)"
        if not where.is_exact:
            self._test = self.selection.test()
        return self

    def _bind(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values)}"

    def _rows(self, extra: str = "") -> str:
        return (
            "select no, doc, {sure} as sure from hub.entity where tenant = $1 and deleted is null"
            " and (expires is null or expires > $2) and {maybe}{extra} order by no"
        ).format(sure="true" if self._test is None else self.sure, maybe=f"({self.maybe})", extra=extra)

    async def page(self, connection: Connection, limit: int, offset: int) -> list[Picked]:
        """`limit` entities after the first `offset`, in order of their creation."""
        if self._test is None:
            values = self._bound()
            sql = f"{self._rows()} limit {int(limit)} offset {int(offset)}"
            return [Picked(r[0], r[1]) for r in await connection.fetch(sql, *values)]
        picked: list[Picked] = []
        skipped, last = 0, 0
        while len(picked) < limit:
            size = min(PAGE, max(64, 2 * (limit + offset)))
            rows = await connection.fetch(f"{self._rows(f' and no > {int(last)}')} limit {size}", *self._bound())
            for no, doc, sure in rows:
                if len(picked) == limit:
                    break
                if sure or self._test(msgspec.json.decode(doc)):
                    if skipped < offset:
                        skipped += 1
                    else:
                        picked.append(Picked(no, doc))
            if len(rows) < size:
                break
            last = rows[-1][0]
        return picked

    async def count(self, connection: Connection) -> int:
        """How many entities match in all."""
        head = (
            "from hub.entity where tenant = $1 and deleted is null and (expires is null or expires > $2)"
            f" and ({self.maybe})"
        )
        if self._test is None:
            return int(await connection.fetchval(f"select count(*) {head}", *self._bound()) or 0)
        certain = f"select count(*) filter (where {self.sure}) {head}"
        total = int(await connection.fetchval(certain, *self._bound()) or 0)
        async for (doc,) in connection.cursor(f"select doc {head} and not {self.sure}", *self._bound(), prefetch=PAGE):
            total += self._test(msgspec.json.decode(doc))
        return total

    async def numbers(self, connection: Connection) -> list[int]:
        """The numbers of all matching entities (for histories)."""
        found: list[int] = []
        for no, doc, sure in await connection.fetch(self._rows(), *self._bound()):
            if sure or self._test is None or self._test(msgspec.json.decode(doc)):
                found.append(no)
        return found

    def _bound(self) -> Sequence[Any]:
        return self.values
