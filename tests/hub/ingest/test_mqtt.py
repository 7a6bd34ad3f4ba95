"""The MQTT door with a real broker: what was acknowledged is in the record, and one loud device deafens nobody."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import pytest
import structlog
from tests.hub.ingest.conftest import DOCUMENT
from tests.hub.ingest.helpers import bike, history, letters, message, said, value_of
from tests.hub.ingest.publisher import Device

from sejong.hub.ingest import keys
from sejong.hub.ingest.mapping import read_model
from sejong.hub.ingest.mqtt import run_mqtt
from sejong.hub.ingest.needs import Limits
from sejong.hub.ingest.service import Ingest
from sejong.hub.service import Hub
from sejong.kernel.clock import SystemClock
from sejong.kernel.errors import Invalid
from sejong.kit import embedded_broker
from sejong.kit.act import Record
from sejong.kit.embedded_broker import Broker, BrokerUser
from sejong.kit.postgres import Pool
from sejong.settings import Settings

pytestmark = pytest.mark.anyio


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sejong-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def broker(state: Path) -> Iterator[Broker]:
    shutil.rmtree(state / "broker", ignore_errors=True)
    running = Broker(state, port=free_port())
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def living(pool: Pool, settings: Settings) -> AsyncIterator[Hub]:
    """A hub on the real clock, since here a broker runs on it too."""
    made = Hub(pool, SystemClock(), settings)
    made.name_with(DOCUMENT)
    await made.open()
    yield made
    await made.close()


class Station:
    """A city that listens at a broker, and a way to give devices keys."""

    def __init__(self, broker: Broker, hub: Hub) -> None:
        self.broker, self.hub = broker, hub
        self.record = Record(hub.pool, hub.clock)

    async def key(self, name: str, **more: Any) -> Device:
        async with self.record.act("operator", "hub.device_key.create") as act:
            created = await keys.create(act, name, **more)
        async with self.hub.pool.acquire() as connection:
            users = keys.broker_users(await keys.list_keys(connection))
        self.broker.reload([msgspec.convert(user, BrokerUser, from_attributes=True) for user in users])
        return Device(self.broker.port, name, created.secret)

    @property
    def url(self) -> str:
        return self.broker.ingest.url(self.broker.port)

    @asynccontextmanager
    async def listening(self, limits: Limits | None = None) -> AsyncIterator[Ingest]:
        stop, ready = asyncio.Event(), asyncio.Event()
        async with Ingest(self.hub, limits).running() as ingest:
            task = asyncio.create_task(run_mqtt(ingest, self.url, stop, ready))
            await asyncio.wait_for(ready.wait(), 10)
            try:
                yield ingest
            finally:
                stop.set()
                await asyncio.wait_for(task, 5)


@pytest.fixture
def station(broker: Broker, living: Hub) -> Station:
    return Station(broker, living)


async def until(check: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < end, "it did not come to pass"
        await asyncio.sleep(0.05)


async def test_readings_arrive(station: Station) -> None:
    device = await station.key("gw-bike")
    async with station.listening():
        device.send(*(message(said(n, n)) for n in range(200)), b"garbage", message([said(300), {"id": "?"}]))

        async def there() -> bool:
            return len(await history(station.hub.pool)) == 201 and len(await letters(station.hub.pool)) == 2

        await until(there)
        assert await value_of(station.hub, 7) == 7
        async with station.hub.pool.acquire() as connection:
            rows = await connection.fetch("select distinct door, sender, topic from hub.dead_letter")
    assert [tuple(row) for row in rows] == [("mqtt", "gw-bike", "sejong/v1/gw-bike/readings")]


async def test_readings_sent_while_ingest_is_away_arrive_when_it_returns(station: Station) -> None:
    device = await station.key("gw-bike")
    async with station.listening():
        device.send(message(said(1)))

        async def one() -> bool:
            return len(await history(station.hub.pool)) == 1

        await until(one)
    device.send(*(message(said(n, n)) for n in range(2, 50)))
    async with station.listening():

        async def all_() -> bool:
            return len(await history(station.hub.pool)) == 49

        await until(all_)


async def test_broker_that_comes_back_is_found_again(station: Station) -> None:
    device = await station.key("gw-bike")
    with structlog.testing.capture_logs() as logs:
        async with station.listening():
            device.send(message(said(1)))
            station.broker.stop()
            await asyncio.sleep(1.0)
            station.broker.start()
            device.send(message(said(2)))

            async def both() -> bool:
                return len(await history(station.hub.pool)) == 2

            await until(both, 20)
    assert [line["event"] for line in logs if line["event"].startswith("broker")] == [
        "broker_connected",
        "broker_away",
        "broker_back",
    ]


async def test_topic_of_a_device_model_added_while_listening(station: Station) -> None:
    device = await station.key("gw-lora", topic_filters=["lora/+/up"])
    async with station.listening() as ingest:
        model = read_model(
            {
                "name": "lora-bike",
                "topic": "lora/+/up",
                "format": "json",
                "id": "urn:ngsi-ld:BikeHireDockingStation:sejong:{topic[1]}",
                "type": "BikeHireDockingStation",
                "attribute": [{"name": "availableBikeNumber", "path": "n"}],
            }
        )
        async with station.record.act("operator", "hub.device_model.save") as act:
            await ingest.save_models(act, [model])
        await ingest.flush()

        async def there() -> bool:
            device.send(b'{"n": 12}', topic="lora/SJ_00009/up")
            return bool(await history(station.hub.pool))

        await until(there)
        assert await value_of(station.hub, 9) == 12
        async with station.record.act("operator", "hub.device_model.remove") as act:
            await ingest.remove_model(act, "lora-bike")
        await ingest.flush()
        assert ingest.reception.filters == ["sejong/v1/+/readings"]


async def test_topic_without_a_key_is_a_dead_letter(station: Station) -> None:
    simulator = Device(station.broker.port, "simulator", station.broker.simulator.password)
    async with station.listening():
        simulator.send(message(said(1)), topic="sejong/v1/nobody/readings")

        async def there() -> bool:
            return [reason for reason, _, _ in await letters(station.hub.pool)] == ["UnknownKey"]

        await until(there)
    assert await history(station.hub.pool) == []


async def test_device_that_floods_with_garbage_is_held_back_and_others_are_heard(station: Station) -> None:
    loud = await station.key("loud", rate=50, burst=100)
    good = await station.key("good")
    async with station.listening() as ingest:
        flood = asyncio.create_task(asyncio.to_thread(loud.send, *(b"garbage %d" % (n % 400) for n in range(20_000))))
        slowest = 0.0
        for n in range(20):
            begun = time.monotonic()
            await asyncio.to_thread(good.send, message(said(n, n)))

            async def heard(n: int = n) -> bool:
                return len(await history(station.hub.pool)) == n + 1

            await until(heard)
            slowest = max(slowest, time.monotonic() - begun)
        await flood
        await asyncio.sleep(0.2)
        await ingest.flush()
    assert slowest < 3.0
    kept = await letters(station.hub.pool)
    throttled = [n for reason, _, n in kept if reason == "Throttled"]
    assert 1 <= len(throttled) <= 2  # one letter for each minute the flood touched
    assert sum(throttled) + sum(n for reason, _, n in kept if reason == "NotJson") == 20_000  # all are accounted for
    assert sum(throttled) > 15_000


async def test_device_with_a_slow_clock_and_no_time_is_heard_once_per_message(station: Station) -> None:
    device = await station.key("gw")
    async with station.listening():
        for value in (1, 2, 2):
            device.send(message(said(1, value, None)))
            await asyncio.sleep(0.1)

        async def three() -> bool:
            return len(await history(station.hub.pool)) == 3

        await until(three)


async def test_full_backlog_stops_reading_and_loses_nothing(station: Station) -> None:
    device = await station.key("gw", rate=1e6, burst=1e6)
    async with station.listening(Limits(backlog=300)) as ingest:
        most = 0
        sending = asyncio.create_task(
            asyncio.to_thread(device.send, *(json.dumps([said(n, k) for n in range(40)]).encode() for k in range(100)))
        )

        async def there() -> bool:
            nonlocal most
            most = max(most, ingest.collector.backlog)
            async with station.hub.pool.acquire() as connection:
                # same time, other value: each is kept as a correction
                return await connection.fetchval("select count(*) from hub.hist") == 4000

        await until(there, 20)
        await sending
    assert most < 4000


async def test_broker_that_loses_patience_repeats_nothing_we_hold(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database is away the broker delivers again what we have not acknowledged; it waits already."""
    monkeypatch.setattr(embedded_broker, "ACK_WAIT_SECONDS", 1)
    station.broker.stop()
    station.broker.start()
    device = await station.key("gw")
    ingest, stop, ready = Ingest(station.hub), asyncio.Event(), asyncio.Event()
    async with station.hub.pool.acquire() as connection:
        await ingest.refresh(connection)
    listening = asyncio.create_task(run_mqtt(ingest, station.url, stop, ready))
    await asyncio.wait_for(ready.wait(), 10)
    device.send(*(message(said(n, n, None)) for n in range(50)))
    await asyncio.sleep(3.5)  # nothing is written yet: the collector has not begun
    assert ingest.collector.backlog == 50
    ingest.collector.start()
    await asyncio.wait_for(ingest.collector.drained(), 10)
    await asyncio.sleep(1.5)
    stop.set()
    await asyncio.wait_for(listening, 5)
    await ingest.collector.stop()
    assert len(await history(station.hub.pool)) == 50


async def test_usual_client_of_a_device_works_too(station: Station) -> None:
    device = await station.key("gw-own")
    async with (
        station.listening(),
        aiomqtt.Client("127.0.0.1", station.broker.port, username="gw-own", password=device.password) as client,
    ):
        await client.publish("sejong/v1/gw-own/readings", message(said(3, 1)), qos=1)
        await client.publish("sejong/v1/gw-own/readings", message(said(4, 1)), qos=0)

        async def both() -> bool:
            return {row[0] for row in await history(station.hub.pool)} == {bike(3), bike(4)}

        await until(both)


async def test_wrong_password_and_wrong_address_are_said_once_and_tried_again(station: Station) -> None:
    async with Ingest(station.hub).running() as ingest:
        for url in (f"mqtt://ingest:wrong@127.0.0.1:{station.broker.port}", f"mqtt://127.0.0.1:{free_port()}"):
            stop = asyncio.Event()
            with structlog.testing.capture_logs() as logs:
                task = asyncio.create_task(run_mqtt(ingest, url, stop))
                await asyncio.sleep(1.0)
                stop.set()
                await asyncio.wait_for(task, 3)
            assert [line["event"] for line in logs] == ["broker_away"]
        with pytest.raises(Invalid):
            await run_mqtt(ingest, "http://127.0.0.1", asyncio.Event())
