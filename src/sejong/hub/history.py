"""Reading histories: which entities have one that a temporal query means, and the instances it consists of.

Source: ETSI GS CIM 009 v1.9.1 clauses 4.11 (temporal query), 5.7.3, 5.7.4.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from sejong.hub import shapes
from sejong.hub.ngsi.aggregation import Summaries
from sejong.hub.ngsi.errors import TooManyResults
from sejong.hub.ngsi.instants import TemporalFilter, format_instant
from sejong.hub.ngsi.members import SCOPE
from sejong.hub.ngsi.scope import ScopeQuery, scope_predicate
from sejong.hub.ngsi.temporal import Row, scopes_within
from sejong.hub.selection import Selection
from sejong.hub.store import history
from sejong.hub.store.entities import NUMBERED, Stored
from sejong.hub.store.history import DELETED, Instance
from sejong.hub.store.selecting import Search
from sejong.hub.store.terms import Dictionary
from sejong.kernel.clock import Clock
from sejong.kit.postgres import Connection, Pool

Doc = dict[str, Any]
INSTANCE_ID = "urn:ngsi-ld:instance:"
MOST_ROWS: Final = 1_000_000
"""History rows read for one request at most. Chosen: about a gigabyte of memory."""
CANDIDATES: Final = 500
"""Entities whose histories are looked at together. Chosen."""


class Evolution(msgspec.Struct, frozen=True):
    """One entity's head (id, type, its own times) and its recorded instances."""

    entity: Doc
    rows: list[Row]
    attributes: list[str] = []
    """Attributes (IRIs) that have instances which may not all have been read."""
    number: int = 0
    figures: Summaries = {}
    """Attributes whose instances were not read because their figures say all that was asked."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of histories is wanted: an interval, attributes, datasets (None: all), the newest of each."""

    interval: TemporalFilter | None = None
    attributes: frozenset[str] | None = None
    last_n: int | None = None
    datasets: frozenset[str] | None = None
    """Dataset ids, `@none` for the default."""

    @property
    def by_writing(self) -> bool:
        """Whether instances are sought by when they were written, not by when they were observed."""
        return self.interval is not None and self.interval.timeproperty != "observedAt"


class Histories:
    """What was true before, in one process's view of the record."""

    def __init__(
        self, pool: Pool, clock: Clock, terms: Dictionary, shape_book: Dictionary, shape: Callable[[int | None], Any]
    ) -> None:
        self._pool, self._clock, self._terms, self._shapes, self._shape = pool, clock, terms, shape_book, shape

    async def meant(self, tenant: int, selection: Selection, span: Span, enough: int | None = None) -> list[int]:
        """Numbers of the entities, in order of creation, that a temporal query means; `enough` ends the search.

        Deleted entities are among them: their history remains. `q` and the geoquery must hold for instances of the
        interval, and an entity without any instance in it is left out.
        """
        found: list[int] = []
        async with self._pool.acquire(timeout=10) as connection, connection.transaction(readonly=True):
            async for some in self.portions(connection, tenant, selection, span):
                found.extend(some)
                if enough is not None and len(found) >= enough:
                    break
        return found

    async def portions(
        self, connection: Connection, tenant: int, selection: Selection, span: Span
    ) -> AsyncIterator[list[int]]:
        """The same numbers a few hundred at a time, as this connection sees the record."""
        names = selection.names() | (span.attributes or frozenset()) | (span.datasets or frozenset()) - {"@none"}
        await self._terms.look_up(connection, names)
        who = Selection(who=selection.who, map=selection.map)
        search = Search(tenant, self._clock.now(), who, self._terms.number.get, history=True)
        numbers = await (await search.prepare(connection)).numbers(connection)
        for start in range(0, len(numbers), CANDIDATES):
            some = await self._having(connection, numbers[start : start + CANDIDATES], span)
            if selection.scope is not None:
                some = await self._scoped(connection, some, selection.scope, span.interval)
            if selection.asks_attributes:
                some = await self._meeting(connection, some, selection, span)
            yield some

    async def of(
        self, numbers: Sequence[int], span: Span, most: int = MOST_ROWS, known: Stored | None = None
    ) -> list[Evolution]:
        """The histories of these entities in that order, each oldest instance first; `known`: the row of the only one.

        Of more than `most` instances only the first `most` and the rest of their last moment are certain to be there
        (with `last_n`: of each attribute the newest). Raises TooManyResults beyond what fits into memory.
        """
        if known is not None and span.attributes is not None and not span.attributes:
            return [Evolution(_head(known), [], [], known.no)]
        async with self._pool.acquire(timeout=10) as connection:
            names = (span.attributes or frozenset()) | (span.datasets or frozenset()) - {"@none"}
            await self._terms.look_up(connection, names)
            return await self._read(connection, list(numbers), span, most, known)

    async def has_any(self, number: int, attributes: frozenset[str]) -> bool:
        """Whether an entity has ever had one of these attributes."""
        async with self._pool.acquire(timeout=10) as connection:
            await self._terms.look_up(connection, attributes)
            return bool(await self._more(connection, [number], Span(attributes=attributes)))

    async def _having(self, connection: Connection, numbers: list[int], span: Span) -> list[int]:
        if span.interval is None or not numbers:
            return numbers
        statement = history.HAVING_WRITTEN if span.by_writing else history.HAVING
        return [row[0] for row in await connection.fetch(statement.text, *self._asked(numbers, span, 1))]

    async def _scoped(
        self, connection: Connection, numbers: list[int], query: ScopeQuery, interval: TemporalFilter | None
    ) -> list[int]:
        """Those that had a scope the query means at some time of the interval."""
        matches = scope_predicate(query)
        found: list[int] = []
        await self._terms.look_up(connection, [SCOPE])
        every = await self._read(connection, numbers, Span(attributes=frozenset({SCOPE})), MOST_ROWS)
        for number, evolution in zip(numbers, every, strict=True):
            scopes = scopes_within(evolution.rows, interval) if evolution.rows else [evolution.entity.get("scope", ())]
            if any(map(matches, scopes)):
                found.append(number)
        return found

    async def _meeting(self, connection: Connection, numbers: list[int], selection: Selection, span: Span) -> list[int]:
        meets = selection.about(history=True).test()
        asked = Span(interval=span.interval, attributes=selection.asked())
        found: list[int] = []
        for number, evolution in zip(numbers, await self._read(connection, numbers, asked, MOST_ROWS), strict=True):
            entity = dict(evolution.entity)
            for attribute in asked.attributes or ():
                entity.pop(attribute, None)
            for row in evolution.rows:
                entity.setdefault(row.attribute, []).append(row.instance)
            if meets(entity):
                found.append(number)
        return found

    async def _read(
        self, connection: Connection, numbers: list[int], span: Span, most: int, known: Stored | None = None
    ) -> list[Evolution]:
        if not numbers:
            return []
        heads = {row.no: _head(row) for row in ([known] if known else await NUMBERED.all(connection, numbers))}
        nothing = span.attributes is not None and not span.attributes
        rows = [] if nothing else await self._rows(connection, numbers, span, min(most, MOST_ROWS) + 1)
        more = await self._more(connection, numbers, span) if len(rows) > most and span.last_n is None else []
        if len(rows) > MOST_ROWS:
            raise TooManyResults(f"more than {MOST_ROWS} instances; ask for a shorter time or fewer entities")
        if any(row.ano not in self._terms.text or row.ds not in self._terms.text for row in rows):
            await self._terms.refresh(connection)
        if any(row.shape is not None and row.shape not in self._shapes.text for row in rows):
            await self._shapes.refresh(connection)
        rows.sort(key=lambda row: (_aware(row.t), row.no))
        found = {no: Evolution(heads[no], [], [], no) for no in numbers if no in heads}
        texts = self._terms.text
        for row in rows:
            dataset = texts[row.ds] if row.ds else None
            found[row.eno].rows.append(row_of(row, texts[row.ano], dataset, self._shape(row.shape)))
        for number, attribute in more:
            found[number].attributes.append(texts[attribute])
        return list(found.values())

    async def _more(self, connection: Connection, numbers: list[int], span: Span) -> list[tuple[int, int]]:
        """Which attributes these entities have in the span (numbers of both), where not all was read."""
        statement = history.WRITTEN_ATTRIBUTES if span.by_writing else history.ATTRIBUTES
        rows = await connection.fetch(statement.text, *self._asked(numbers, span, 1))
        if any(row["ano"] not in self._terms.text for row in rows):
            await self._terms.refresh(connection)
        return [(row["eno"], row["ano"]) for row in rows]

    async def _rows(self, connection: Connection, numbers: list[int], span: Span, most: int) -> list[Instance]:
        if span.last_n is None:
            statement = history.BY_WRITING if span.by_writing else history.BY_TIME
            return await statement.all(connection, *self._asked(numbers, span, most))
        statement = history.NEWEST_WRITTEN if span.by_writing else history.NEWEST
        return await statement.all(connection, *self._asked(numbers, span, min(span.last_n, most)))

    def _asked(self, numbers: list[int], span: Span, most: int) -> tuple[Any, ...]:
        """The parameters every statement about a span takes."""
        interval = span.interval
        start, end = (None, None) if interval is None else (interval.start, interval.end)
        about = None if interval is None else _about(interval)
        datasets = None
        if span.datasets is not None:
            texts = self._terms.number
            datasets = [0 if one == "@none" else texts.get(one, -1) for one in span.datasets]
        return numbers, self._numbers_of(span.attributes), start, end, most, about, datasets

    def _numbers_of(self, attributes: frozenset[str] | None) -> list[int] | None:
        if attributes is None:
            return None
        return [n for iri in attributes if (n := self._terms.number.get(iri)) is not None]


def _head(row: Stored) -> Doc:
    """An entity as its history is headed; a deleted one says since when it is."""
    entity = msgspec.json.decode(row.doc)
    return {**entity, "deletedAt": entity["modifiedAt"]} if row.deleted else entity


def _about(interval: TemporalFilter) -> bool | None:
    """What a time property asks for: deletions, or not; null: either (of observedAt: what was observed)."""
    return {"observedAt": True, "deletedAt": True, "createdAt": False, "modifiedAt": None}[interval.timeproperty]


def _aware(moment: datetime) -> datetime:
    """The first and the last moment of the calendar arrive without a time zone (PostgreSQL's infinities)."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


_written: Final = lru_cache(maxsize=4096)(format_instant)
"""Instances of one commit were written at one moment."""


def row_of(instance: Instance, attribute: str, dataset: str | None, shape: Doc | None) -> Row:
    """The recorded instance as the temporal representation needs it."""
    body = shapes.join(instance.num, shape, instance.val)
    moment = _written(instance.modified)
    created = moment if instance.created is None else _written(instance.created)
    if instance.observed:
        body["observedAt"] = as_written(instance.t)
    if dataset is not None:
        body["datasetId"] = dataset
    body["createdAt"], body["modifiedAt"] = created, moment
    if instance.op == DELETED:
        body["deletedAt"] = moment
    return Row(attribute, body, f"{INSTANCE_ID}{instance.no}")


def as_written(moment: datetime) -> str:
    """A moment with as many digits as senders write: none, three or six behind the second.

    >>> as_written(datetime(2026, 11, 22, 10, tzinfo=UTC))
    '2026-11-22T10:00:00Z'
    """
    text = format_instant(_aware(moment))
    if not moment.microsecond:
        return text[:19] + "Z"
    return text if moment.microsecond % 1000 else text[:23] + "Z"
