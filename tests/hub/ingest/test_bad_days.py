"""The days on which things break: killed processes, a database that restarts, a broker that restarts."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from tests.hub.ingest.conftest import DOCUMENT
from tests.hub.ingest.helpers import history, letters, said
from tests.hub.ingest.publisher import Device
from tests.hub.ingest.test_mqtt import free_port

import sejong.hub
from sejong.hub.ingest import keys
from sejong.hub.ingest.needs import Limits
from sejong.hub.ingest.service import Ingest
from sejong.hub.ingest.source import Source
from sejong.hub.service import Hub
from sejong.kernel.clock import SystemClock
from sejong.kit import embedded_broker
from sejong.kit.act import Record
from sejong.kit.city import migrations_of
from sejong.kit.embedded_broker import Broker, BrokerUser
from sejong.kit.embedded_postgres import Cluster
from sejong.kit.migrate import migrate
from sejong.kit.postgres import Pool, connect, open_pool
from sejong.settings import Settings

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]
MESSAGES, PER_MESSAGE = 2 * 2000, 4


def payloads() -> list[bytes]:
    """Messages of four readings each, every reading of its own time."""
    return [
        json.dumps([said(n % 40, n * PER_MESSAGE + k, at(n * PER_MESSAGE + k)) for k in range(PER_MESSAGE)]).encode()
        for n in range(MESSAGES)
    ]


def at(n: int) -> str:
    return f"2026-11-22T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z"


class Process:
    """An ingest process that can be killed."""

    def __init__(self, dsn: str, url: str) -> None:
        self.child = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/hub/ingest/listening.py"), dsn, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        )
        assert self.child.stdout is not None
        assert self.child.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()


async def count(pool: Pool) -> int:
    async with pool.acquire() as connection:
        return await connection.fetchval("select count(*) from hub.hist")


@pytest.mark.slow
async def test_ingest_killed_in_mid_stream_has_every_acknowledged_reading_once(
    pool: Pool, empty: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill -9` twice while a device publishes; the broker repeats what was not acknowledged to it."""
    monkeypatch.setattr(embedded_broker, "ACK_WAIT_SECONDS", 2)
    async with Record(pool, SystemClock()).act("operator", "hub.device_key.create") as act:
        created = await keys.create(act, "gw")
    async with pool.acquire() as connection:
        users = keys.broker_users(await keys.list_keys(connection))
    broker = Broker(tmp_path_factory.mktemp("broker"), port=free_port())
    broker.start([msgspec.convert(user, BrokerUser, from_attributes=True) for user in users])
    process = Process(empty, broker.ingest.url(broker.port))
    kills = 0
    try:
        device = Device(broker.port, "gw", created.secret, window=200)
        publishing = asyncio.create_task(asyncio.to_thread(device.send, *payloads()))
        before = 0
        for wanted in (200, 800):
            while await count(pool) < wanted:
                await asyncio.sleep(0.01)
            process.kill()
            kills += 1
            before = await count(pool)
            process = await asyncio.to_thread(Process, empty, broker.ingest.url(broker.port))
        assert before < MESSAGES * PER_MESSAGE, "the kills came too late to prove anything"
        assert await publishing == MESSAGES
        end = time.monotonic() + 20
        while await count(pool) < MESSAGES * PER_MESSAGE:
            assert time.monotonic() < end, f"{await count(pool)} of {MESSAGES * PER_MESSAGE} came"
            await asyncio.sleep(0.05)
        await asyncio.sleep(2.5)  # what was acknowledged must not come again
    finally:
        process.kill()
        broker.stop()
    values = Counter(value for _, _, value in await history(pool))
    assert set(values) == set(range(MESSAGES * PER_MESSAGE))
    assert [value for value, times in values.items() if times > 1] == []
    assert kills == 2


@pytest.mark.slow
async def test_database_that_restarts_costs_no_reading(tmp_path: Path) -> None:
    """While it is away messages wait, unacknowledged; afterwards everything is there once."""
    # asyncpg tells the loop of connections that were torn in the middle of a COPY; that is what this day is about
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    with Cluster(tmp_path / "pg") as cluster:
        dsn = cluster.ensure_database("city")
        connection = await connect(dsn)
        await migrate(connection, migrations_of([sejong.hub.SERVICE]))
        await connection.close()
        pool = await open_pool(dsn, size=5)
        hub = Hub(pool, SystemClock(), Settings(database_url=dsn))
        hub.name_with(DOCUMENT)
        await hub.open()
        settled: list[int] = []
        async with Ingest(hub, Limits(device_rate=1e9, device_burst=1e9, backlog=3000)).running() as ingest:

            async def feed() -> None:
                for n, raw in enumerate(payloads()[:1500]):
                    await ingest.collector.room()
                    source = Source(
                        "mqtt", "gw", "", hub.clock.now(), raw, mid=n, settled=lambda s: settled.append(s.mid)
                    )
                    ingest.receive(source, None)
                    if n % 20 == 0:
                        await asyncio.sleep(0.005)

            feeding = asyncio.create_task(feed())
            await asyncio.sleep(0.3)
            for _ in range(2):
                await asyncio.to_thread(cluster.stop)
                before = len(settled)
                await asyncio.sleep(0.5)
                assert len(settled) == before  # nothing is acknowledged while nothing can be kept
                await asyncio.to_thread(cluster.start)
                await asyncio.sleep(0.2)
            await asyncio.wait_for(feeding, 30)
            await asyncio.wait_for(ingest.collector.drained(), 30)
            assert sorted(settled) == list(range(1500))
        assert await letters(pool) == []
        values = [value for _, _, value in await history(pool)]
        assert sorted(values) == list(range(1500 * PER_MESSAGE))
        await hub.close()
        await pool.close()
