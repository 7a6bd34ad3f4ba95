"""Opening the hub for a process of the city, and closing it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from sejong.hub.device_view import DeviceView
from sejong.hub.federation.notices import Messenger
from sejong.hub.feed import ChangeFeed
from sejong.hub.ingest.mqtt import run_mqtt
from sejong.hub.ingest.service import Ingest
from sejong.hub.notify.deliverer import Deliverer
from sejong.hub.opendata.catalogue import Catalogue
from sejong.hub.opendata.doorkeeper import Doorkeeper
from sejong.hub.opendata.export import Exporter
from sejong.hub.opendata.keys import Keys
from sejong.hub.service import Hub
from sejong.hub.view import RecordView
from sejong.kit.city import City

log = structlog.get_logger("hub")


@asynccontextmanager
async def start(city: City) -> AsyncIterator[None]:
    """Open the hub for a process of this city."""
    hub = Hub(city.pool, city.clock, city.settings)
    messenger = Messenger(hub)
    await hub.open()
    messenger.start()
    feed = ChangeFeed(city.pool, hub.rendered)
    feed.start()
    record = RecordView(hub, feed)
    ingest = Ingest(hub)
    city.put(hub)
    city.put(feed)
    city.put(record)
    city.put(ingest)
    city.put(DeviceView(hub, record, ingest))
    keys = Keys(city.pool, city.clock, city.settings)
    catalogue = Catalogue(hub)
    city.put(keys)
    city.put(catalogue)
    city.put(Exporter(catalogue))
    keys.start()
    doorkeeper = Doorkeeper(catalogue, ingest)
    city.put(doorkeeper)
    deliverer = Deliverer(hub)
    city.put(deliverer)
    try:
        async with deliverer.running(), ingest.running():
            await doorkeeper.start()
            try:
                yield
            finally:
                await doorkeeper.stop()
    finally:
        await messenger.stop()
        await feed.close()
        await keys.stop()
        with suppress(asyncio.TimeoutError):
            async with asyncio.timeout(4):
                await hub.close()


async def take_readings(city: City, stop: asyncio.Event) -> None:
    """Part of `sejong work`: take what devices say over MQTT, until told to stop."""
    if city.settings.mqtt_url is None:
        log.info("no_mqtt", why="SEJONG_MQTT_URL is not set")
        await stop.wait()
        return
    await run_mqtt(city.part(Ingest), city.settings.mqtt_url, stop)
