"""Reading many entities at once: all requests of one turn of the event loop share one database query."""

from __future__ import annotations

import asyncio

from sejong.hub.store.entities import FETCH, Stored
from sejong.kit.postgres import DatabaseAway, Pool

MOST_AT_ONCE = 500
"""Ids in one query at most. Chosen."""
IN_FLIGHT = 2
"""Queries under way at once: one is decoded while the next one runs."""


class Reader:
    """Fetches documents by id; concurrent requests for any ids become one `= any($1)`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[tuple[int, str], list[asyncio.Future[Stored | None]]] = {}
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, tenant: int, entity_id: str) -> Stored | None:
        """The stored entity, or None. Reads what was committed before the call. Raises DatabaseAway."""
        future: asyncio.Future[Stored | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault((tenant, entity_id), []).append(future)
        if self._running < IN_FLIGHT:
            self._running += 1
            task = asyncio.create_task(self._drain())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _drain(self) -> None:
        try:
            await asyncio.sleep(0)
            while self._waiting:
                tenant = next(iter(self._waiting))[0]
                keys = [key for key in self._waiting if key[0] == tenant][:MOST_AT_ONCE]
                await self._fetch(tenant, {key[1]: self._waiting.pop(key) for key in keys})
        finally:
            self._running -= 1

    async def _fetch(self, tenant: int, wanted: dict[str, list[asyncio.Future[Stored | None]]]) -> None:
        try:
            async with self._pool.acquire(timeout=10) as connection:
                found = {row.id: row for row in await FETCH.all(connection, tenant, list(wanted)) if not row.deleted}
        except Exception as error:  # noqa: BLE001 - whoever waits must hear
            away = DatabaseAway(why=str(error) or type(error).__name__)
            for future in (one for waiting in wanted.values() for one in waiting if not one.done()):
                future.set_exception(away)
            return
        for entity_id, waiting in wanted.items():
            for future in waiting:
                if not future.done():
                    future.set_result(found.get(entity_id))
