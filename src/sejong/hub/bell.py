"""Hearing what other processes changed: one database connection that listens on every channel anybody cares about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg
import structlog

from sejong.kit.postgres import Pool

log = structlog.get_logger("hub")
Heard = Callable[[str], Awaitable[None]]
"""Called with what was said; with the empty text when something may have been missed."""
RETRY = 0.5
"""Seconds until a lost connection is opened again. Chosen."""
LOOK = 15.0
"""Seconds after which the connection is tried, because a broken one says nothing. Chosen."""


class Bell:
    """Rings in this process when any process of the city says something on a channel."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._hearers: dict[str, Heard] = {}
        self._said: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.listening = asyncio.Event()

    def on(self, channel: str, heard: Heard) -> None:
        """Call `heard` for everything said on a channel. To be asked for before `start`."""
        self._hearers[channel] = heard

    def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._listen(), name="hub-bell")

    async def stop(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        away = False
        while True:
            self._said = asyncio.Queue()
            try:
                async with self._pool.acquire(timeout=10) as connection:
                    connection.add_termination_listener(self._ended)
                    for channel in self._hearers:
                        await connection.add_listener(channel, self._rung)
                    try:
                        # Whatever was said before this moment nobody heard.
                        for heard in self._hearers.values():
                            await heard("")
                        self.listening.set()
                        away = False
                        await self._pass_on(connection)
                    finally:
                        connection.remove_termination_listener(self._ended)
                        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                            for channel in self._hearers:
                                await connection.remove_listener(channel, self._rung)
            except Exception as error:  # noqa: BLE001 - listening must go on whatever a hearer meets
                if not away:
                    log.warning("bell_lost", why=str(error) or type(error).__name__)
                away = True
                await asyncio.sleep(RETRY)

    async def _pass_on(self, connection: asyncpg.pool.PoolConnectionProxy) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK):
                    channel, text = await self._said.get()
            except TimeoutError:
                await connection.execute("select 1")
                continue
            if not channel:
                raise ConnectionError("the connection has ended")
            await self._hearers[channel](text)

    def _ended(self, _: object) -> None:
        self._said.put_nowait(("", ""))

    def _rung(self, _: object, __: object, channel: str, payload: object) -> None:
        self._said.put_nowait((channel, str(payload)))
