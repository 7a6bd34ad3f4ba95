"""Opening the hub for a process of the city, and closing it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sejong.hub.feed import ChangeFeed
from sejong.hub.service import Hub
from sejong.hub.view import RecordView
from sejong.kit.city import City


@asynccontextmanager
async def start(city: City) -> AsyncIterator[None]:
    """Open the hub for a process of this city."""
    hub = Hub(city.pool, city.clock, city.settings)
    await hub.open()
    feed = ChangeFeed(city.pool)
    city.put(hub)
    city.put(RecordView(hub, feed))
    try:
        yield
    finally:
        await feed.close()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(hub.close(), 4)
