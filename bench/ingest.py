"""Readings through the whole way: MQTT QoS 1 → broker → `sejong work` → commit, none lost."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiomqtt

from bench.servers import free_port, memory_mb
from sejong.kit.embedded_broker import Broker
from sejong.kit.embedded_postgres import Cluster
from sejong.kit.postgres import connect

GATEWAYS, DEVICES, OBJECTS, PER_OBJECT = 8, 400, 10, 3
"""Gateways with a connection each, devices behind each, objects in a message, readings in an object."""


def measure_mqtt(cluster: Cluster, folder: Path, seconds: float) -> dict[str, Any]:
    """Send as fast as acknowledgements allow for `seconds`; count what is in the history afterwards."""
    dsn = cluster.ensure_database("bench_mqtt")
    port = free_port()
    broker = Broker(folder / "mqtt", port=port)
    broker.start()
    env = {
        **os.environ,
        "SEJONG_DATABASE_URL": dsn,
        "SEJONG_CITY": "testville",
        "SEJONG_STATE": str(folder / "mqtt"),
        "SEJONG_MQTT_URL": broker.ingest.url(port),
        "SEJONG_DEVICE_RATE": "1000000",
        "SEJONG_DEVICE_BURST": "10000000",
    }
    sejong = [sys.executable, "-m", "sejong"]
    subprocess.run([*sejong, "migrate"], env=env, check=True, stdout=subprocess.DEVNULL)
    asyncio.run(_admit(dsn))
    worker = subprocess.Popen([*sejong, "work"], env=env, stderr=subprocess.DEVNULL)
    try:
        return asyncio.run(_measure(dsn, broker, port, seconds, worker.pid))
    finally:
        worker.terminate()
        worker.wait(10)
        broker.stop()


async def _admit(dsn: str) -> None:
    from sejong.hub.ingest import keys
    from sejong.kernel.clock import SystemClock
    from sejong.kit.act import Record
    from sejong.kit.postgres import open_pool

    pool = await open_pool(dsn)
    async with Record(pool, SystemClock()).act("bench", "keys") as act:
        for n in range(GATEWAYS):
            await keys.ensure(act, f"gw-bench-{n}", rate=1e6, burst=1e7)
    await pool.close()


async def _measure(dsn: str, broker: Broker, port: int, seconds: float, worker: int) -> dict[str, Any]:
    connection = await connect(dsn)
    await asyncio.sleep(6)  # the worker connects and subscribes
    started = time.perf_counter()
    sent = sum(await asyncio.gather(*(_gateway(broker, port, n, started + seconds) for n in range(GATEWAYS))))
    sending = time.perf_counter() - started
    stored = 0
    quiet = time.perf_counter()
    while stored < sent and time.perf_counter() - quiet < 20:
        found = await connection.fetchval("select count(*) from hub.hist where observed")
        if found > stored:
            stored, quiet = found, time.perf_counter()
        await asyncio.sleep(0.25)
    took = time.perf_counter() - started
    letters = await connection.fetchval("select coalesce(sum(n), 0) from hub.dead_letter")
    await connection.close()
    return {
        "readings_s": round(stored / took, 1),
        "sent": sent,
        "stored": stored,
        "lost": sent - stored,
        "dead_letters": int(letters),
        "sending_s": round(sending, 2),
        "until_stored_s": round(took, 2),
        "worker_mb": memory_mb(worker),
    }


async def _gateway(broker: Broker, port: int, n: int, until: float) -> int:
    sent = step = 0
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    user = broker.simulator
    async with aiomqtt.Client(
        "127.0.0.1",
        port,
        username=user.name,
        password=user.password,
        identifier=f"bench-{n}",
        timeout=60,
        max_inflight_messages=100,
    ) as client:
        client.pending_calls_threshold = 1000  # not a warning a line
        waiting: set[asyncio.Task[None]] = set()
        while time.perf_counter() < until:
            step += 1
            things = [_thing(n, step * OBJECTS + k, begin) for k in range(OBJECTS)]
            body = json.dumps(things)
            task = asyncio.create_task(client.publish(f"sejong/v1/gw-bench-{n}/readings", body, qos=1))
            waiting.add(task)
            sent += OBJECTS * PER_OBJECT
            if len(waiting) >= 32:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    one.result()
        await asyncio.gather(*waiting)
    return sent


def _thing(gateway: int, number: int, begin: datetime) -> dict[str, Any]:
    at = (begin + timedelta(milliseconds=250 * (number // DEVICES))).isoformat().replace("+00:00", "Z")
    return {
        "id": f"urn:ngsi-ld:AirQualityObserved:bench:{gateway}-{number % DEVICES}",
        "type": "AirQualityObserved",
        "at": at,
        "pm25": number % 97 + 0.5,
        "pm10": number % 83 + 0.25,
        "temperature": number % 31 + 0.1,
    }
