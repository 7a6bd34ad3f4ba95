"""Freezing a part of the record: copying what queries mean, as it was at one moment, while the city goes on writing.

One reading transaction holds the moment. The copying itself is done inside PostgreSQL in portions, each a short
transaction that looks at the same moment: nobody waits for it, the feed of changes goes on, and no more than a portion
is in this process's memory. See docs/decisions/0009-snapshots.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
import structlog

from sejong.hub.contexts import ContextStore
from sejong.hub.history import Histories, Span
from sejong.hub.indexing import entity_row
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.ngsi.snapshot import DETAILS, QUERIES
from sejong.hub.query_object import Wanted, wanted
from sejong.hub.store import entities
from sejong.hub.store import snapshots as store
from sejong.hub.store.entities import EntityRow
from sejong.hub.store.selecting import Search
from sejong.hub.store.snapshots import Copied, SnapshotRow
from sejong.hub.store.terms import Dictionary
from sejong.kernel.clock import Clock
from sejong.kernel.errors import CityError
from sejong.kit.postgres import Connection

log = structlog.get_logger("hub")
PORTION = 500
"""Entities copied in one transaction. Chosen: some 20 ms, about as long as a commit of the writer."""
AT_ONCE = 20
"""Documents cut to the wanted part before others have their turn. Chosen: a millisecond or two."""
_EVERYTHING = [{"n": 0, "kind": "all", "first": None, "until": None, "anos": None, "newest": None}]

Meant = tuple[int, list[int]]
"""The number of an entity and the places of the queries that mean it."""


class Sources(msgspec.Struct, frozen=True):
    """What freezing needs of the hub."""

    clock: Clock
    terms: Dictionary
    contexts: ContextStore
    histories: Histories


class Freezing:
    """One attempt to fill the hidden tenant of a snapshot. `reader` holds the moment, `writer` copies."""

    def __init__(self, sources: Sources, row: SnapshotRow, reader: Connection, writer: Connection, moment: str) -> None:
        assert row.copy is not None
        self._sources, self._row, self._into = sources, row, row.copy
        self._reader, self._writer, self._moment = reader, writer, moment
        self._now = sources.clock.now()

    async def run(self) -> dict[str, list[dict[str, Any]]]:
        """Copy everything; how each query ended, in the members of a Snapshot. Raises what the database raises."""
        if self._row.origin is not None:
            await self._copy_all(self._row.origin)
            return self._row.details
        results: dict[str, list[dict[str, Any]]] = {}
        for name, details, temporal in zip(QUERIES, DETAILS, (False, True), strict=True):
            queries = self._row.asked.get(name)
            if queries:
                results[details] = await self._carry_out(queries, temporal=temporal)
        return results

    async def _carry_out(self, queries: Sequence[dict[str, Any]], *, temporal: bool) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = [{"resultStatus": "empty"} for _ in queries]
        readable: dict[int, Wanted] = {}
        for place, query in enumerate(queries):
            try:
                context = await self._sources.contexts.get(self._row.context)
                readable[place] = wanted(query, context.attribute, temporal=temporal)
            except CityError as error:
                results[place] = failed(error)
        streams = {place: self._numbers(place, one, results) for place, one in readable.items()}
        copy = self._copy_histories if temporal else self._copy_entities
        async for portion in _portions(_merged(streams)):
            await copy(portion, readable)
            for _, places in portion:
                for place in places:
                    results[place] = {"resultStatus": "success"}
        return results

    async def _numbers(self, place: int, one: Wanted, results: list[dict[str, Any]]) -> AsyncIterator[int]:
        """The numbers of the entities one query means, in order; it ends early if the query cannot be carried out."""
        sources, reader, tenant = self._sources, self._reader, self._row.tenant
        try:
            if one.span is not None:
                async for numbers in sources.histories.portions(reader, tenant, one.selection, one.span):
                    for number in numbers:
                        yield number
                return
            await sources.terms.look_up(reader, one.selection.names())
            search = Search(tenant, self._now, one.selection, sources.terms.number.get)
            async for number in (await search.prepare(reader)).each(reader):
                yield number
        except CityError as error:
            log.info("snapshot_query_failed", snapshot=self._row.id, query=place, why=str(error))
            results[place] = failed(error)

    @asynccontextmanager
    async def _at_that_moment(self) -> AsyncIterator[Connection]:
        """A short transaction that sees the record as it was when the freezing began, and its own changes."""
        async with self._writer.transaction(isolation="repeatable_read"):
            await self._writer.execute(f"set transaction snapshot '{self._moment}'")
            yield self._writer

    async def _copy_entities(self, portion: Sequence[Meant], readable: dict[int, Wanted]) -> None:
        numbers = [number for number, _ in portion]
        partial = {
            number: places for number, places in portion if not any(readable[place].is_whole for place in places)
        }
        parts = await self._parts(partial, readable)
        async with self._at_that_moment() as connection:
            copied = await store.COPY_ENTITIES.all(connection, self._into, numbers, None)
            if parts:
                await self._cut([one for one in copied if one.source in parts], parts)

    async def _cut(self, copied: Sequence[Copied], parts: dict[int, dict[str, Any]]) -> None:
        """Leave of these copies only these parts."""
        number_of = self._sources.terms.number.__getitem__
        rows: list[EntityRow] = []
        for one in copied:
            rows.append(msgspec.structs.replace(entity_row(parts[one.source], number_of, one.copy), search=""))
            await _breathe(len(rows))
        await entities.UPDATE.run(self._writer, self._into, *entities.columns(rows))

    async def _parts(self, partial: dict[int, list[int]], readable: dict[int, Wanted]) -> dict[int, dict[str, Any]]:
        """Of entities that no query wants whole, what at least one of the queries wants."""
        parts: dict[int, dict[str, Any]] = {}
        for row in await entities.NUMBERED.all(self._reader, list(partial)) if partial else ():
            entity = msgspec.json.decode(row.doc)
            part: dict[str, Any] = {}
            for place in partial[row.no]:
                for key, value in readable[place].part(entity).items():
                    both = isinstance(value, list) and key in part and ":" in key
                    part[key] = [*part[key], *(one for one in value if one not in part[key])] if both else value
            parts[row.no] = part
            await _breathe(len(parts))
        await self._sources.terms.look_up(self._reader, {key for part in parts.values() for key in part if ":" in key})
        return parts

    async def _copy_histories(self, portion: Sequence[Meant], readable: dict[int, Wanted]) -> None:
        spans = [self._span(place, one.span) for place, one in readable.items() if one.span is not None]
        numbers = [number for number, _ in portion]
        copies = await self._already(numbers)
        async with self._at_that_moment() as connection:
            # What no snapshotQueries mean has a history in the snapshot, but is not there now.
            missing = [number for number in numbers if number not in copies]
            for one in await store.COPY_ENTITIES.all(connection, self._into, missing, self._now) if missing else ():
                copies[one.source] = one.copy
            pairs = [(number, copies[number], place) for number, places in portion for place in places]
            await store.COPY_HISTORY.run(connection, *map(list, zip(*pairs, strict=True)), spans)

    async def _already(self, numbers: Sequence[int]) -> dict[int, int]:
        """Entity → copy, of those that are in the snapshot already."""
        names = {one.id: one.no for one in await store.NAMES.all(self._reader, numbers)}
        return {names[one.id]: one.no for one in await store.NAMED.all(self._writer, self._into, list(names))}

    def _span(self, place: int, span: Span) -> dict[str, Any]:
        interval = span.interval
        assert interval is not None
        number = self._sources.terms.number.get
        anos = None if span.attributes is None else [n for iri in sorted(span.attributes) if (n := number(iri))]
        return {
            "n": place,
            "kind": interval.timeproperty,
            "first": _text(interval.start),
            "until": _text(interval.end),
            "anos": anos,
            "newest": span.last_n,
        }

    async def _copy_all(self, origin: int) -> None:
        """Copy a whole snapshot: entities, also deleted ones, with their histories."""
        # One walk with a cursor: asked again and again for what comes next, the planner would sort all of it each time.
        async for portion in _portions(self._all_of(origin)):
            numbers = [number for number, _ in portion]
            async with self._at_that_moment() as connection:
                copied: list[Copied] = await store.COPY_ENTITIES.all(connection, self._into, numbers, None)
                pairs = [one.source for one in copied], [one.copy for one in copied], [0] * len(copied)
                await store.COPY_HISTORY.run(connection, *pairs, _EVERYTHING)

    async def _all_of(self, origin: int) -> AsyncIterator[Meant]:
        async for record in self._reader.cursor(store.ALL_OF.text, origin, prefetch=PORTION):
            yield record[0], []


def failed(error: CityError) -> dict[str, Any]:
    """An ExecutionResult of a query that could not be carried out (clause 5.2.42)."""
    return {"resultStatus": "failure", "problemDetails": error.problem()}


async def _breathe(done: int) -> None:
    """Let the requests of this process go on between handfuls of documents."""
    if done % AT_ONCE == 0:
        await asyncio.sleep(0)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else format_instant(moment)


async def _merged(streams: dict[int, AsyncIterator[int]]) -> AsyncIterator[Meant]:
    """Ordered streams of numbers as one, each number once with the places of the streams it came from.

    They share a connection, so they are asked one after the other.
    """
    heads: dict[int, int] = {}
    waiting = list(streams)
    while True:
        for place in waiting:
            head = await anext(streams[place], None)
            if head is not None:
                heads[place] = head
        if not heads:
            return
        lowest = min(heads.values())
        waiting = [place for place, head in heads.items() if head == lowest]
        for place in waiting:
            del heads[place]
        yield lowest, sorted(waiting)


async def _portions(meant: AsyncIterator[Meant]) -> AsyncIterator[list[Meant]]:
    portion: list[Meant] = []
    async for one in meant:
        portion.append(one)
        if len(portion) == PORTION:
            yield portion
            portion = []
    if portion:
        yield portion
