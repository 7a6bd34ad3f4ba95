"""Reading histories: which entities have one that a temporal query means, and the instances it consists of.

Source: ETSI GS CIM 009 v1.9.1 clauses 4.11 (temporal query), 5.7.3, 5.7.4.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from sejong.hub import shapes
from sejong.hub.ngsi.errors import TooManyResults
from sejong.hub.ngsi.instants import TemporalFilter, format_instant
from sejong.hub.ngsi.temporal import Row
from sejong.hub.selection import Selection
from sejong.hub.store import history
from sejong.hub.store.entities import NUMBERED
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


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of histories is wanted: an interval (None: all), attributes (None: all), the newest of each."""

    interval: TemporalFilter | None = None
    attributes: frozenset[str] | None = None
    last_n: int | None = None


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
        names = selection.names() | (span.attributes or frozenset())
        await self._terms.look_up(connection, names)
        search = Search(tenant, self._clock.now(), selection.about(), self._terms.number.get, history=True)
        numbers = await (await search.prepare(connection)).numbers(connection)
        for start in range(0, len(numbers), CANDIDATES):
            some = await self._having(connection, numbers[start : start + CANDIDATES], span)
            if selection.asks_attributes:
                some = await self._meeting(connection, some, selection, span)
            yield some

    async def of(self, numbers: Sequence[int], span: Span, most: int = MOST_ROWS) -> list[Evolution]:
        """The histories of these entities in that order, each oldest instance first.

        Of more than `most` instances only the first `most` and the rest of their last moment are certain to be there
        (with `last_n`: of each attribute the newest). Raises TooManyResults beyond what fits into memory.
        """
        async with self._pool.acquire(timeout=10) as connection:
            await self._terms.look_up(connection, span.attributes or ())
            return await self._read(connection, list(numbers), span, most)

    async def _having(self, connection: Connection, numbers: list[int], span: Span) -> list[int]:
        interval = span.interval
        if interval is None or not numbers:
            return numbers
        asked = (numbers, self._numbers_of(span.attributes), interval.start, interval.end)
        if interval.timeproperty == "observedAt":
            rows = await connection.fetch(history.HAVING.text, *asked)
        else:
            rows = await connection.fetch(history.HAVING_WRITTEN.text, *asked, _deletions(interval))
        return [row[0] for row in rows]

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

    async def _read(self, connection: Connection, numbers: list[int], span: Span, most: int) -> list[Evolution]:
        if not numbers:
            return []
        heads = {row.no: row.doc for row in await NUMBERED.all(connection, numbers)}
        rows = await self._rows(connection, numbers, span, min(most, MOST_ROWS) + 1)
        more = await self._more(connection, numbers, span) if len(rows) > most and span.last_n is None else []
        if len(rows) > MOST_ROWS:
            raise TooManyResults(f"more than {MOST_ROWS} instances; ask for a shorter time or fewer entities")
        if any(row.ano not in self._terms.text or row.ds not in self._terms.text for row in rows):
            await self._terms.refresh(connection)
        if any(row.shape is not None and row.shape not in self._shapes.text for row in rows):
            await self._shapes.refresh(connection)
        rows.sort(key=lambda row: (_aware(row.t), row.no))
        found = {no: Evolution(msgspec.json.decode(heads[no]), []) for no in numbers if no in heads}
        texts = self._terms.text
        for row in rows:
            dataset = texts[row.ds] if row.ds else None
            found[row.eno].rows.append(row_of(row, texts[row.ano], dataset, self._shape(row.shape)))
        for number, attribute in more:
            found[number].attributes.append(texts[attribute])
        return list(found.values())

    async def _more(self, connection: Connection, numbers: list[int], span: Span) -> list[tuple[int, int]]:
        """Which attributes these entities have in the span (numbers of both), where not all was read."""
        interval = span.interval
        start, end = (None, None) if interval is None else (interval.start, interval.end)
        asked = (numbers, self._numbers_of(span.attributes), start, end)
        if interval is not None and interval.timeproperty != "observedAt":
            rows = await connection.fetch(history.WRITTEN_ATTRIBUTES.text, *asked, _deletions(interval))
        else:
            rows = await connection.fetch(history.ATTRIBUTES.text, *asked, None if interval is None else True)
        if any(row["ano"] not in self._terms.text for row in rows):
            await self._terms.refresh(connection)
        return [(row["eno"], row["ano"]) for row in rows]

    async def _rows(self, connection: Connection, numbers: list[int], span: Span, most: int) -> list[Instance]:
        interval, anos = span.interval, self._numbers_of(span.attributes)
        start, end = (None, None) if interval is None else (interval.start, interval.end)
        asked = (numbers, anos, start, end)
        if interval is not None and interval.timeproperty != "observedAt":
            deletions = _deletions(interval)
            if span.last_n is None:
                return await history.BY_WRITING.all(connection, *asked, most, deletions)
            return await history.NEWEST_WRITTEN.all(connection, *asked, min(span.last_n, most), deletions)
        if span.last_n is not None:
            return await history.NEWEST.all(connection, *asked, min(span.last_n, most), interval is not None)
        return await history.BY_TIME.all(connection, *asked, most, None if interval is None else True)

    def _numbers_of(self, attributes: frozenset[str] | None) -> list[int] | None:
        if attributes is None:
            return None
        return [n for iri in attributes if (n := self._terms.number.get(iri)) is not None]


def _deletions(interval: TemporalFilter) -> bool | None:
    """Which rows a time property other than observedAt is about: deletions, the others, or all."""
    return {"deletedAt": True, "createdAt": False, "modifiedAt": None}.get(interval.timeproperty)


def _aware(moment: datetime) -> datetime:
    """The first and the last moment of the calendar arrive without a time zone (PostgreSQL's infinities)."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def row_of(instance: Instance, attribute: str, dataset: str | None, shape: Doc | None) -> Row:
    """The recorded instance as the temporal representation needs it."""
    body = shapes.join(instance.num, shape, instance.val)
    moment = format_instant(instance.modified)
    if instance.observed:
        body["observedAt"] = as_written(instance.t)
    if dataset is not None:
        body["datasetId"] = dataset
    body["createdAt"] = body["modifiedAt"] = moment
    if instance.op == DELETED:
        body["deletedAt"] = moment
    return Row(attribute, body, f"{INSTANCE_ID}{instance.no}")


def as_written(moment: datetime) -> str:
    """A moment with as many digits as senders write: none, three or six behind the second.

    >>> as_written(datetime(2026, 11, 22, 10, tzinfo=UTC))
    '2026-11-22T10:00:00Z'
    """
    moment = _aware(moment)
    digits = "seconds" if not moment.microsecond else "microseconds" if moment.microsecond % 1000 else "milliseconds"
    return moment.astimezone(UTC).isoformat(timespec=digits).removesuffix("+00:00") + "Z"
