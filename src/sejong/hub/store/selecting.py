"""Finding entities by a selection. The only SQL of the house that is put together at run time.

Texts come from `selection.where` alone, which binds every value of a client as a parameter.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from sejong.hub.ngsi import qsql
from sejong.hub.ngsi.change import live
from sejong.hub.ngsi.errors import TooComplexQuery
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.selection import Selection, link_targets
from sejong.hub.store.entities import EXPIRES, FETCH, NUMBERED
from sejong.kit.postgres import Connection, Sql

Doc = dict[str, Any]
SECOND_TYPES = Sql("select distinct type from hub.entity_type where type = any($1)")
IDS = Sql("select id from hub.entity where no = any($1) order by no")
PAGE = 1000
"""Rows read at once while candidates are tested. Chosen."""
MOST_ORDERED = 100_000
"""Entities one request puts in an order of its own at most. Chosen: a few seconds of work."""
MOST_KNOWN = 20_000
"""Linked entities kept while candidates are tested. Chosen."""
MOST_CANDIDATES = 20_000
"""Entities an index of values may bring. Chosen: beyond it every tenth entity or so matches, and a scan soon ends."""
MOST_ONCE = 400
LARGEST_WINDOW = 25_600
FIRST = -2_147_483_647
"""Below the number of every entity (those of snapshots are negative)."""
_TRANSIENT = f"position('{EXPIRES.decode()}'::bytea in doc) > 0"


class ValueIndex(Protocol):
    """Which attributes have an index of their values (`hub/value_index.py`)."""

    @property
    def ready(self) -> frozenset[int]:
        """Attributes whose index is whole."""
        ...

    def scanned(self, attributes: Iterable[int], rows: int) -> None:
        """A query had to look at this many entities although it compares these attributes."""

    def used(self, attribute: int) -> None:
        """A query was answered from the index of this attribute."""

    def gone(self, attribute: int) -> None:
        """The index turned out to be there no more."""


def _candidates_of(attribute: int, condition: str) -> str:
    """Statement: whether the index may answer (read together, as it may be given up), and the numbers it brings."""
    found = f"select eno from hub.attribute_value where ano = {attribute:d} and"
    most = f"limit {MOST_CANDIDATES + 1}"
    return (
        f"select (select ready from hub.indexed where ano = {attribute:d}), "
        f"array({found} {condition} {most}) || array({found} val = 'null'::jsonb {most})"
    )


async def _handfuls(numbers: list[int], after: int, size: int) -> AsyncIterator[list[int]]:
    """The numbers above `after`, `size` of them first, then more and more at once."""
    start = bisect_right(numbers, after)
    while start < len(numbers):
        yield numbers[start : start + size]
        start, size = start + size, min(PAGE, 2 * size)


class Search:
    """One selection against one tenant at one moment. `history`: also what is deleted or has expired."""

    def __init__(
        self,
        tenant: int,
        now: datetime,
        selection: Selection,
        number: Callable[[str], int | None],
        *,
        history: bool = False,
        index: ValueIndex | None = None,
    ) -> None:
        self.values: list[Any] = [tenant, now]
        self.selection, self._number, self._history = selection, number, history
        self._index = index
        self._first_type: int | None = None
        self._looked = 0
        self._now = format_instant(now)
        self.maybe = self.sure = "true"
        self._test: Callable[[Doc], bool] | None = None
        self._links = selection.links
        self._known: dict[str, Doc | None] = {}

    async def prepare(self, connection: Connection) -> Search:
        """Write the conditions (asks the database which of the types occur as second types)."""
        numbers = [n for iri in self.selection.types() if (n := self._number(iri)) is not None]
        second: frozenset[int] = frozenset()
        if numbers:
            second = frozenset(r["type"] for r in await connection.fetch(SECOND_TYPES.text, numbers))
        where = self.selection.where(self._number, self._bind, second)
        self._first_type = self.selection.first_type(self._number, second)
        # NULL means no in both strengths.
        self.maybe, self.sure = where.maybe, f"coalesce({where.sure}, false)"
        if self.selection.asks_attributes:
            self.sure = f"({self.sure} and not {_TRANSIENT})"
        elif where.is_exact:
            return self
        self._test = self.selection.test(self._known.get)
        return self

    def _bind(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values)}"

    @property
    def _bare_head(self) -> str:
        alive = "deleted is null and (expires is null or expires > $2)"
        if self._history:
            alive = "$2::timestamptz is not null"
        return f"from hub.entity where tenant = $1 and {alive}"

    @property
    def _head(self) -> str:
        return f"{self._bare_head} and ({self.maybe})"

    async def page(self, connection: Connection, limit: int, offset: int) -> list[Doc]:
        """`limit` living entities after the first `offset`, in order of their creation."""
        if self._test is None:
            sql = f"select doc {self._head} order by no limit {int(limit)} offset {int(offset)}"
            return [e for (doc,) in await connection.fetch(sql, *self.values) if (e := self._living(doc))]
        numbers = await self._candidates(connection)
        start = await self._skip(connection, offset, numbers) if offset else FIRST
        picked: list[Doc] = []
        if start is None:
            return picked
        # Mostly the database decides, and no more rows are read than are wanted; else more and more at once.
        size = min(PAGE, limit + 2)
        if numbers is not None:
            matches = self._among(connection, _handfuls(numbers, start, size))
        elif self.selection.is_scanned and not self._history:
            matches = self._among(connection, self._scan(connection, start, size))
        else:
            # Each statement looks the place up anew: better one that brings some too many than two.
            matches = self._matches(connection, start, min(PAGE, max(64, 2 * limit)))
        async for _, entity in matches:
            if entity is not None:
                picked.append(entity)
            if len(picked) == limit:
                break
        if self._index is not None and self._looked and self.selection.q is not None:
            self._index.scanned(qsql.by_value(self.selection.q, self._number).keys(), self._looked)
        return picked

    async def _skip(self, connection: Connection, offset: int, numbers: list[int] | None) -> int | None:
        """The number of the `offset`-th match, None if there are fewer."""
        if numbers is None:
            matches = self._matches(connection, documents=False)
        else:
            matches = self._among(connection, _handfuls(numbers, FIRST, PAGE), documents=False)
        async for no, _ in matches:
            offset -= 1
            if not offset:
                return no
        return None

    async def ordered(
        self, connection: Connection, limit: int, offset: int, key: Callable[[Mapping[str, Any]], Any]
    ) -> list[Doc]:
        """`limit` living entities after the first `offset`, in the order of `key`. Raises TooComplexQuery."""
        found: list[tuple[Any, int]] = []
        async for no, entity in self._matches(connection):
            if entity is not None:
                found.append((key(entity), no))
            if len(found) > MOST_ORDERED:
                raise TooComplexQuery(f"orderBy: more than {MOST_ORDERED} entities would have to be put in order")
        found.sort()
        wanted = [no for _, no in found[offset : offset + limit]]
        docs = {row.no: row.doc for row in await NUMBERED.all(connection, wanted)}
        return [entity for no in wanted if (entity := self._living(docs[no]))]

    async def count(self, connection: Connection) -> int:
        """How many entities match in all."""
        if self._test is None:
            return int(await connection.fetchval(f"select count(*) {self._head}", *self.values) or 0)
        certain = f"select count(*) filter (where {self.sure}) {self._head}"
        total = int(await connection.fetchval(certain, *self.values) or 0)
        async for _ in self._matches(connection, only_unsure=True):
            total += 1
        return total

    async def numbers(self, connection: Connection) -> list[int]:
        """The numbers of all matching entities, in order of their creation."""
        return [no async for no in self.each(connection)]

    async def each(self, connection: Connection) -> AsyncIterator[int]:
        """The same, one after the other: no more than a page of them is in memory."""
        async for no, _ in self._matches(connection, documents=False):
            yield no

    async def some(self, connection: Connection, after: int, size: int) -> tuple[list[tuple[int, Doc]], int | None]:
        """The matches among the `size` candidates after the number `after`, and the number to go on from (None: end).

        Nothing is kept between two calls, so that an export may take its time without holding a connection.
        """
        sure = "true" if self._test is None else self.sure
        sql = f"select no, doc, {sure} as sure {self._head} and no > {int(after)} order by no limit {int(size)}"
        rows = await connection.fetch(sql, *self.values)
        found = [(no, entity) for no, entity in await self._tested(connection, rows) if entity is not None]
        return found, rows[-1][0] if len(rows) == size else None

    async def kinds(self, connection: Connection) -> dict[int, set[str]]:
        """The attributes (numbers) of what may match, and which JSON types their scalar values have."""
        # Every bound value must occur in the text, also those that only the sure condition looks at.
        found = f"select q {self._head} and ({self.sure} or true)"
        sql = f"""select a.key::int as ano, array_agg(distinct jsonb_typeof(a.value)) as types
                  from ({found}) e cross join lateral jsonb_each(e.q) as a(key, value) group by 1"""
        return {row["ano"]: set(row["types"]) for row in await connection.fetch(sql, *self.values)}

    async def _matches(
        self,
        connection: Connection,
        after: int = FIRST,
        size: int = PAGE,
        *,
        documents: bool = True,
        only_unsure: bool = False,
    ) -> AsyncIterator[tuple[int, Doc | None]]:
        """Numbers of what matches, in order; with documents where they were read."""
        sure = "true" if self._test is None else self.sure
        doc = "doc" if documents else f"case when {sure} then null else doc end as doc"
        extra = f" and not {sure}" if only_unsure else ""
        while True:
            sql = f"select no, {doc}, {sure} as sure {self._head}{extra} and no > {int(after)} order by no limit {size}"
            rows = await connection.fetch(sql, *self.values)
            for match in await self._tested(connection, rows):
                yield match
            if len(rows) < size:
                return
            after, size = rows[-1][0], min(PAGE, 4 * size)

    async def _among(
        self, connection: Connection, handfuls: AsyncIterator[list[int]], *, documents: bool = True
    ) -> AsyncIterator[tuple[int, Doc | None]]:
        """As `_matches`, but looking only at the entities of these numbers, which come in order."""
        doc = "doc" if documents else f"case when {self.sure} then null else doc end as doc"
        place = f"${len(self.values) + 1}"
        sql = f"select no, {doc}, {self.sure} as sure {self._head} and no = any({place}::int[]) order by no"
        async for numbers in handfuls:
            rows = await connection.fetch(sql, *self.values, numbers)
            for match in await self._tested(connection, rows):
                yield match

    async def _candidates(self, connection: Connection) -> list[int] | None:
        """All entities that can match, in order, where an index of values tells; None where there is none or too many.

        Also those whose document must be asked, and some that are gone: every one is looked at again.
        """
        index, query = self._index, self.selection.q
        if index is None or query is None or not index.ready or not self.selection.is_scanned or self._history:
            return None
        found: set[int] | None = None
        for number, (condition, values) in qsql.by_value(query, self._number).items():
            if number in index.ready:
                ((ready, numbers),) = await connection.fetch(_candidates_of(number, condition), *values)
                if not ready:
                    index.gone(number)
                elif len(numbers) <= MOST_CANDIDATES:
                    index.used(number)
                    found = set(numbers) if found is None else found.intersection(numbers)
        return None if found is None else sorted(found)

    async def _scan(self, connection: Connection, after: int, size: int) -> AsyncIterator[list[int]]:
        """Numbers of entities that may match, found by looking at all of their type (or all there are) in order."""
        place = f"${len(self.values) + 1}"
        kind = "true" if self._first_type is None else f"type0 = {self._first_type:d}"
        # The inner limit keeps the planner, which knows nothing about values, on the index of types.
        looked_at = f"select * {self._bare_head} and {kind} and no > {place} order by no limit"
        # Naming `sure` gives every parameter a place.
        found = f"array_agg(no) filter (where ({self.maybe}) and (({self.sure}) or true))"
        window = max(MOST_ONCE, 4 * size)
        while True:
            sql = f"select count(*), max(no), {found} from ({looked_at} {window}) as looked_at"
            ((seen, last, numbers),) = await connection.fetch(sql, *self.values, after)
            self._looked += seen
            async for few in _handfuls(numbers or [], FIRST, size):
                yield few
            if seen < window:
                return
            after, window = last, min(LARGEST_WINDOW, 4 * window)

    async def _tested(self, connection: Connection, rows: Sequence[Any]) -> list[tuple[int, Doc | None]]:
        read = [(no, None if doc is None else self._living(doc), doc is None, sure) for no, doc, sure in rows]
        unsure = [entity for _, entity, _, sure in read if not sure and entity is not None]
        if self._links and unsure:
            await self._follow(connection, unsure)
        test = self._test
        return [
            (no, entity)
            for no, entity, unread, sure in read
            if (sure and (unread or entity is not None)) or (entity is not None and test is not None and test(entity))
        ]

    async def _follow(self, connection: Connection, entities: Sequence[Doc]) -> None:
        """Read the entities that these link to, as far as the query looks."""
        if len(self._known) > MOST_KNOWN:
            self._known.clear()
        for paths in self._links:
            wanted = set().union(*(link_targets(entity, paths) for entity in entities))
            missing = [one for one in wanted if one not in self._known]
            if missing:
                self._known.update(dict.fromkeys(missing))
                for row in await FETCH.all(connection, self.values[0], missing):
                    self._known[row.id] = None if row.deleted else self._living(row.doc)
            entities = [entity for one in wanted if (entity := self._known[one]) is not None]

    def _living(self, doc: bytes) -> Doc | None:
        entity = msgspec.json.decode(doc)
        return live(entity, self._now) if EXPIRES in doc and not self._history else entity
