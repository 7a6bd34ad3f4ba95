"""An ingest process of its own, to be killed: `python listening.py DSN MQTT_URL`. Says `ready` once it listens."""

from __future__ import annotations

import asyncio
import sys

from tests.hub.ingest.conftest import DOCUMENT

from sejong.hub.ingest.mqtt import run_mqtt
from sejong.hub.ingest.needs import Limits
from sejong.hub.ingest.service import Ingest
from sejong.hub.service import Hub
from sejong.kernel.clock import SystemClock
from sejong.kit.postgres import open_pool
from sejong.kit.telemetry import configure_logs
from sejong.settings import Settings


async def main(dsn: str, url: str) -> None:
    configure_logs()
    pool = await open_pool(dsn, size=5)
    hub = Hub(pool, SystemClock(), Settings(database_url=dsn))
    hub.name_with(DOCUMENT)
    await hub.open()
    stop, ready = asyncio.Event(), asyncio.Event()
    async with Ingest(hub, Limits(device_rate=1e9, device_burst=1e9)).running() as ingest:
        listening = asyncio.create_task(run_mqtt(ingest, url, stop, ready))
        await ready.wait()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        stop.set()
        await listening
    await hub.close()
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
