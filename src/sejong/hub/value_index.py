"""Indexes of attribute values, made when queries ask for them often and forgotten when nobody does any more.

See docs/decisions/0007-value-index.md.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime

import asyncpg
import structlog

from sejong.hub.store import values
from sejong.kernel.clock import Clock
from sejong.kit.postgres import AWAY, Connection, Pool

log = structlog.get_logger("hub")
LONG_SCAN = 2_000
"""Entities a query may look at before an index of values would have helped it. Chosen: some 4 ms."""
OFTEN = 3
"""Long scans for an attribute before its values are indexed. Chosen: one look does not make a habit."""
MOST_INDEXED = 64
"""Attributes with an index at most. Chosen: each costs every write of its attribute about 10 µs."""
FILLED_AT_ONCE = 5_000
PATIENCE = 60.0
"""Seconds to wait for transactions that began before the index; then it is tried again another time. Chosen."""


class ValueIndex:
    """Which attributes have an index of their values, and which are about to. One per process."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool, self._clock = pool, clock
        self.ready: frozenset[int] = frozenset()
        self._slow: Counter[int] = Counter()
        self._used: dict[int, datetime] = {}
        self._task: asyncio.Task[None] | None = None

    async def open(self, connection: Connection) -> None:
        """Read what there is."""
        self.ready = frozenset(one.ano for one in await values.INDEXED.all(connection) if one.ready)

    async def close(self) -> None:
        """Stop building."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def scanned(self, attributes: Iterable[int], rows: int) -> None:
        """A query had to look at this many entities although it compares these attributes."""
        if rows < LONG_SCAN or (self._task is not None and not self._task.done()):
            return
        self._slow.update(attributes)
        wanted = [number for number, times in self._slow.items() if times >= OFTEN]
        if wanted:
            self._slow.clear()
            self._task = asyncio.create_task(self._build(wanted), name="hub-value-index")

    def used(self, attribute: int) -> None:
        """A query was answered from the index of this attribute."""
        today = self._clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        if self._used.get(attribute) != today:
            self._used[attribute] = today
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._note_use(today), name="hub-value-index")

    def gone(self, attribute: int) -> None:
        """The index turned out to be there no more."""
        self.ready -= {attribute}

    async def _note_use(self, today: datetime) -> None:
        with suppress(*AWAY, OSError):
            async with self._pool.acquire(timeout=10) as connection:
                await values.USED.run(connection, list(self._used), today)

    async def _build(self, wanted: list[int]) -> None:
        try:
            async with self._pool.acquire(timeout=10) as connection:
                await self.open(connection)
                for number in wanted:
                    if number not in self.ready and len(self.ready) < MOST_INDEXED:
                        await self.build(connection, number)
        except (*AWAY, asyncpg.PostgresError, OSError, TimeoutError) as error:
            log.warning("value_index_failed", why=str(error) or type(error).__name__)

    async def build(self, connection: Connection, attribute: int) -> None:
        """Index the values of one attribute while the city goes on writing; another process may be at it already."""
        if not await values.TRY_TO_BUILD.value(connection):
            return
        try:
            started = self._clock.monotonic()
            await values.BEGIN.run(connection, attribute, self._clock.now())
            # From here every new transaction keeps the values itself; the others must end before the rest is read.
            fence = await values.NEXT_TRANSACTION.value(connection)
            async with asyncio.timeout(PATIENCE):
                while not await values.ARE_OVER.value(connection, fence):
                    await asyncio.sleep(0.02)
            last = await values.LAST_ENTITY.value(connection)
            for first in range(0, last, FILLED_AT_ONCE):
                await self._fill(connection, attribute, first)
            await values.ANALYZE.run(connection)
            await values.READY.run(connection, attribute)
            self.ready |= {attribute}
            log.info("values_indexed", attribute=attribute, seconds=round(self._clock.monotonic() - started, 2))
        finally:
            await values.BUILT.run(connection)

    @staticmethod
    async def _fill(connection: Connection, attribute: int, first: int) -> None:
        while True:
            try:
                await values.FILL.run(connection, attribute, first, first + FILLED_AT_ONCE)
            except asyncpg.DeadlockDetectedError:
                continue
            return
