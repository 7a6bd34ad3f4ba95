"""The pulse of the record: every process hears, a moment after each commit, which entities changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import structlog

from sejong.hub.rendered import Rendered
from sejong.hub.store.entities import CHANGES_AFTER, PRESENT
from sejong.kit.postgres import Pool

log = structlog.get_logger("hub")

MOST_WAITING = 64
"""Batches kept for a listener that is slow; beyond that its oldest are merged into one. Chosen."""
PAGE = 500
LOOK_ANYWAY = 5.0
"""Seconds after which the feed looks even without a notification (one may be lost with a connection). Chosen."""
LOOK_SOON = 0.2
"""Seconds after which it looks again when a notified commit was not to be seen yet. Chosen."""


class ChangeFeed:
    """Follows `hub.change` and hands entity numbers to any number of listeners in this process."""

    def __init__(self, pool: Pool, rendered: Rendered) -> None:
        self._pool, self._rendered = pool, rendered
        self._listeners: set[_Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._following = asyncio.Event()

    async def following(self) -> None:
        """Wait until every commit from now on is sure to be heard; who reads the record after this misses nothing."""
        await self._following.wait()

    def listen(self) -> AsyncIterator[list[int]]:
        """Numbers of entities that change from now on, in batches."""
        self.start()
        listener = _Listener(self._listeners)
        self._listeners.add(listener)
        return listener

    def start(self) -> None:
        """Begin to follow."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow(), name="hub-feed")

    async def close(self) -> None:
        """Stop following; listeners end."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for listener in list(self._listeners):
            listener.end()

    async def _follow(self) -> None:
        last: tuple[str, int] | None = None
        away = False
        while True:
            try:
                async with self._pool.acquire(timeout=10) as connection:
                    connection.add_termination_listener(self._ended)
                    await connection.add_listener("hub_change", self._noticed)
                    try:
                        if last is None:
                            last = (await PRESENT.value(connection), 0)
                            self._following.set()
                        if away:
                            log.info("feed_back")
                            away = False
                        self._rendered.follows(True)
                        while True:
                            # Cleared before looking: a commit during the look is looked at next time.
                            woken = self._wake.is_set()
                            self._wake.clear()
                            before, last = last, await self._read(connection, last)
                            # Woken in vain: the commit waits behind a transaction that still runs.
                            pause = LOOK_SOON if woken and last == before else LOOK_ANYWAY
                            with suppress(TimeoutError):
                                async with asyncio.timeout(pause):
                                    await self._wake.wait()
                    finally:
                        self._rendered.follows(False)
                        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                            connection.remove_termination_listener(self._ended)
                            await connection.remove_listener("hub_change", self._noticed)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                if not away:
                    log.warning("feed_lost", why=str(error) or type(error).__name__)
                    away = True
                await asyncio.sleep(0.5)

    async def _read(self, connection: asyncpg.pool.PoolConnectionProxy, last: tuple[str, int]) -> tuple[str, int]:
        while True:
            rows = await CHANGES_AFTER.all(connection, *last, PAGE)
            if rows:
                last = (rows[-1].xid, rows[-1].seq)
                changed = list(dict.fromkeys(no for row in rows for no in row.enos))
                for listener in list(self._listeners):
                    listener.offer(changed)
            if len(rows) < PAGE:
                return last

    def _noticed(self, _connection: object, _process: int, _channel: str, announcement: object) -> None:
        self._rendered.heard(str(announcement))
        self._wake.set()

    def _ended(self, _connection: object) -> None:
        # Noticed at once, not only when something is asked for next.
        self._rendered.follows(False)
        self._wake.set()


class _Listener:
    """One reader of the feed; closing it (or letting its task be cancelled) takes it off the list."""

    def __init__(self, home: set[_Listener]) -> None:
        self._home = home
        self._batches: list[list[int]] = []
        self._ready = asyncio.Event()
        self._ended = False

    def offer(self, changed: list[int]) -> None:
        """Give it a batch."""
        if len(self._batches) >= MOST_WAITING:
            self._batches[0:2] = [list(dict.fromkeys(self._batches[0] + self._batches[1]))]
        self._batches.append(changed)
        self._ready.set()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._home.discard(self)
        self._ready.set()

    def __aiter__(self) -> _Listener:
        return self

    async def __anext__(self) -> list[int]:
        while not self._batches:
            if self._ended:
                raise StopAsyncIteration
            self._ready.clear()
            try:
                await self._ready.wait()
            except asyncio.CancelledError:
                self.end()
                raise
        return self._batches.pop(0)

    async def aclose(self) -> None:
        """Stop listening."""
        self.end()
