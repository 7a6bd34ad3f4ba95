"""Summaries of histories from figures the database puts together: from hourly rollups and what these do not cover.

Rollups are made of what is asked for: an aggregate that had to read many instances has its entity rolled up in the
background, and `hub.roll_up` keeps such entities up to date. Source: ETSI GS CIM 009 v1.9.1 clause 4.5.19.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec
import structlog

from sejong.hub.ngsi.aggregation import Aggregation, Figures, Summaries, powers
from sejong.hub.ngsi.instants import TemporalFilter
from sejong.hub.store import rollups as store
from sejong.hub.store.terms import Dictionary
from sejong.kernel.clock import Clock
from sejong.kit.postgres import Connection, Pool

log = structlog.get_logger("hub")
HOUR: Final = timedelta(hours=1)
_HOUR: Final = 3_600_000_000  # microseconds
WORTH: Final = 2_000
"""Instances one answer had to read from an entity's history before that is rolled up. Chosen: a millisecond's work."""
CHUNK: Final = 50_000
"""Instances summarised under one lock of an entity at most. Chosen: writers wait a tenth of a second."""
AGAIN: Final = 60.0
"""Seconds before the same entity is looked at again because of a request. Chosen."""
MOST_PERIODS: Final = 10_000
"""Calendar periods (months) the database counts at most; beyond, every instance is read. Chosen."""
MOST_BEHIND: Final = 500
"""Entities one run of the job looks after at most. Chosen."""


class Summary(msgspec.Struct, frozen=True):
    """What is known of some entities: figures by entity, and the attributes whose instances must be read."""

    figures: dict[int, Summaries]
    unfit: frozenset[str]


class Rollups:
    """The hourly summaries, in one process's view of the record."""

    def __init__(self, pool: Pool, clock: Clock, terms: Dictionary) -> None:
        self._pool, self._clock, self._terms = pool, clock, terms
        self._tasks: set[asyncio.Task[None]] = set()
        self._looked: dict[int, float] = {}
        self._one = asyncio.Semaphore(1)

    async def close(self) -> None:
        """Stop what is under way; it is done again when it is asked for again."""
        for task in list(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def summary(
        self,
        numbers: Sequence[int],
        interval: TemporalFilter | None,
        attributes: frozenset[str] | None,
        aggregation: Aggregation,
    ) -> Summary | None:
        """The figures of these entities' numbers in an interval of observedAt; None where they cannot say it.

        Attributes with values that are no numbers are named `unfit`: for them the instances decide.
        """
        start = None if interval is None else interval.start
        period = aggregation.period
        if interval is not None and interval.timeproperty != "observedAt":
            return None
        if not period.is_zero and start is None:
            return None  # periods are counted from the oldest instance of each series
        async with self._pool.acquire(timeout=10) as connection:
            anos = await self._anos(connection, numbers, attributes)
            starts = await self._starts(connection, numbers, anos, interval, aggregation)
            if starts is not None and len(starts) > MOST_PERIODS:
                return None
            rows, distinct = await self._series(
                connection, _asked(numbers, anos, interval, aggregation, starts), aggregation
            )
            known = self._terms.text
            if any(row.ano not in known or (row.ds and row.ds not in known) for row in rows):
                await self._terms.refresh(connection)
        self._want(rows)
        return self._summary(rows, distinct)

    async def _series(
        self, connection: Connection, asked: tuple[Any, ...], aggregation: Aggregation
    ) -> tuple[list[store.SeriesRow], dict[tuple[int, int, int], store.DistinctRow]]:
        if "distinctCount" not in aggregation.methods:
            return await store.PARTS.all(connection, *asked), {}
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            rows = await store.PARTS.all(connection, *asked)
            distinct = await store.DISTINCT.all(connection, *asked[:8])
        return rows, {(row.eno, row.ano, row.ds): row for row in distinct}

    async def _anos(
        self, connection: Connection, numbers: Sequence[int], attributes: frozenset[str] | None
    ) -> list[int]:
        if attributes is None:
            found = [row[0] for row in await connection.fetch(store.ATTRIBUTES_OF.text, numbers)]
            if any(ano not in self._terms.text for ano in found):
                await self._terms.refresh(connection)
            return found
        await self._terms.look_up(connection, attributes)
        return [ano for iri in attributes if (ano := self._terms.number.get(iri)) is not None]

    async def _starts(
        self,
        connection: Connection,
        numbers: Sequence[int],
        anos: Sequence[int],
        interval: TemporalFilter | None,
        aggregation: Aggregation,
    ) -> list[datetime] | None:
        """The starts of all calendar periods, None where periods have a fixed length."""
        period = aggregation.period
        if not period.months or interval is None or interval.start is None:
            return None
        end = interval.end
        if end is None:
            newest = await store.NEWEST_OBSERVED.value(connection, numbers, anos)
            end = interval.start if newest is None else _aware(newest)
        starts = [interval.start]
        while starts[-1] <= end and len(starts) <= MOST_PERIODS:
            starts.append(period.after(interval.start, len(starts)))
        return starts

    def _summary(
        self, rows: Sequence[store.SeriesRow], distinct: Mapping[tuple[int, int, int], store.DistinctRow]
    ) -> Summary:
        texts = self._terms.text
        unfit = frozenset(texts[row.ano] for row in (*rows, *distinct.values()) if _is_unfit(row))
        found: dict[int, Any] = {}
        for row in rows:
            if texts[row.ano] not in unfit:
                dataset = texts[row.ds] if row.ds else None
                found.setdefault(row.eno, {}).setdefault(texts[row.ano], {})[dataset] = _figures(
                    row, distinct.get((row.eno, row.ano, row.ds))
                )
        return Summary(found, unfit)

    # --- making them ----------------------------------------------------------------------------------------

    def _want(self, rows: Iterable[store.SeriesRow], /) -> None:
        """Have those entities rolled up of which much had to be read; not now, and not again and again."""
        read: dict[int, int] = {}
        for row in rows:
            if row.raw:
                read[row.eno] = read.get(row.eno, 0) + row.raw
        now = self._clock.monotonic()
        for eno, n in read.items():
            if n >= WORTH and now >= self._looked.get(eno, now):
                if len(self._looked) > 10_000:
                    self._looked.clear()
                self._looked[eno] = now + AGAIN
                task = asyncio.create_task(self._later(eno), name=f"hub-rollup-{eno}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _later(self, eno: int) -> None:
        try:
            async with self._one:
                await self.roll_up(eno)
        except Exception as error:  # noqa: BLE001 - answers come without rollups too, only slower
            log.warning("rollup_failed", entity=eno, error=repr(error))

    async def idle(self) -> None:
        """Wait until everything that was wanted is made."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def behind(self) -> Collection[int]:
        """Entities that are rolled up but not up to date."""
        async with self._pool.acquire(timeout=10) as connection:
            rows = await connection.fetch(store.BEHIND.text, self._horizon() - HOUR, MOST_BEHIND)
        return [row[0] for row in rows]

    async def roll_up(self, eno: int) -> None:
        """Summarise an entity's hours that are over, and again those in which something changed.

        Each step holds the entity's row, as every writer of its history does: nothing comes in between unseen.
        """
        horizon = self._horizon()
        async with self._pool.acquire(timeout=10) as connection:
            rolled = await store.ROLLED.value(connection, eno)
            days = await store.DAYS.all(connection, eno, rolled, horizon)
            for end in [*_chunks(days), horizon]:
                async with connection.transaction():
                    rolled = await store.HOLD.value(connection, eno)
                    await store.RENEW.run(connection, eno)
                    await store.DROP_EMPTY.run(connection, eno)
                    if rolled is None or rolled < end:
                        await store.SUMMARISE.run(connection, eno, rolled, end)
                        await store.SET_ROLLED.run(connection, eno, end)

    def _horizon(self) -> datetime:
        """Before this, hours are over: what was observed in the last hour may still be on its way."""
        return (self._clock.now() - HOUR).replace(minute=0, second=0, microsecond=0)


def _is_unfit(row: store.SeriesRow | store.DistinctRow) -> bool:
    """Whether a series has values of which the database alone cannot say what is asked."""
    return bool(row.whole if isinstance(row, store.DistinctRow) else row.odd)


def _figures(row: store.SeriesRow, distinct: store.DistinctRow | None) -> list[Figures]:
    nothing = [None] * len(row.n)
    starts = nothing if row.starts is None else map(_aware, row.starts)
    totals = nothing if row.totals is None else map(Decimal, row.totals)
    squares = nothing if row.squares is None else map(Decimal, row.squares)
    counts = nothing if distinct is None else distinct.n
    edges = ([_aware(row.oldest)], [_aware(row.newest)]) if row.starts is None else ()
    return list(map(Figures, starts, row.n, totals, squares, row.lows, row.highs, counts, *edges))


def _chunks(days: Sequence[store.Day]) -> list[datetime]:
    """Moments between days so that not many more than CHUNK instances lie between two of them."""
    ends: list[datetime] = []
    size = 0
    for day in days:
        if size and size + day.n > CHUNK:
            ends.append(_aware(day.day))
            size = 0
        size += day.n
    return ends


def _asked(
    numbers: Sequence[int],
    anos: Sequence[int],
    interval: TemporalFilter | None,
    aggregation: Aggregation,
    starts: list[datetime] | None,
) -> tuple[Any, ...]:
    """The parameters of PARTS."""
    start, end = (None, None) if interval is None else (interval.start, interval.end)
    period = aggregation.period
    exact = None if period.is_zero or period.months else timedelta(microseconds=period.microseconds)
    on_the_hour = start is None or start == _hour(start)
    aligned = period.is_zero or (on_the_hour and period.microseconds % _HOUR == 0)
    first = None if start is None else start if on_the_hour else _hour(start) + HOUR
    return numbers, anos, start, end, powers(aggregation), start, exact, starts, first, aligned


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
