"""The publisher against a real broker: all arrives, losses and returns are said once, it stops at once."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiomqtt
import anyio
import bcrypt
import msgspec
import pytest
from structlog.testing import capture_logs

from sejong.kernel.clock import ManualClock, SimulatedClock
from sejong.kit.embedded_broker import Broker, BrokerUser
from sejong.simulator import GATEWAYS, FaultRates, Message, Simulation
from sejong.simulator.publish import (
    CATCH_UP_S,
    PER_MESSAGE,
    WINDOW,
    BrokerAddressWrong,
    GatewayKeyMissing,
    Outbox,
    broker_of,
    run,
    thinning,
)

pytestmark = pytest.mark.anyio
START = datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
SECRET = "secret"
HASH = bcrypt.hashpw(SECRET.encode(), bcrypt.gensalt(4)).decode()
KEYS = dict.fromkeys(GATEWAYS, SECRET)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = Broker(tmp_path, port=port)
    running.start([BrokerUser(key, HASH, (f"sejong/v1/{key}/#",)) for key in GATEWAYS])
    yield running
    running.stop()


@asynccontextmanager
async def listening(broker: Broker, heard: list[tuple[str, bytes]]) -> AsyncIterator[None]:
    """Collect (key, payload) of all readings; survives the broker's restarts."""

    async def listen(task_status: Any) -> None:
        while True:
            try:
                async with aiomqtt.Client(
                    "127.0.0.1", broker.port, username="ingest", password=broker.ingest.password, identifier="ears",
                    clean_session=False,
                ) as client:  # fmt: skip
                    await client.subscribe("sejong/v1/+/readings", qos=1)
                    if task_status:
                        task_status.started()
                        task_status = None
                    async for message in client.messages:
                        assert isinstance(message.payload, bytes)
                        heard.append((str(message.topic).split("/")[2], message.payload))
            except aiomqtt.MqttError:
                await anyio.sleep(0.1)

    async with anyio.create_task_group() as tasks:
        await tasks.start(_with_status(listen))
        yield
        tasks.cancel_scope.cancel()


def _with_status(function: Callable[[Any], Any]) -> Callable[..., Any]:
    async def inner(*, task_status: Any) -> None:
        await function(task_status)

    return inner


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.02)


def objects(heard: list[tuple[str, bytes]]) -> Counter[str]:
    """Key and object of everything heard, as text; garbage as it is."""
    found: Counter[str] = Counter()
    for key, payload in heard:
        try:
            decoded = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            found[f"{key} {payload!r}"] += 1
            continue
        for one in decoded if isinstance(decoded, list) else [decoded]:
            found[f"{key} {msgspec.json.encode(one, order='sorted').decode()}"] += 1
    return found


def expected(messages: list[Message]) -> Counter[str]:
    return objects(
        [(m.gateway, m.payload if isinstance(m.payload, bytes) else msgspec.json.encode(m.payload)) for m in messages]
    )


async def test_all_that_devices_say_arrives_once_under_their_gateways_key(broker: Broker, testville: list[Any]) -> None:
    faults = FaultRates(malformed=0.01, duplicate=0.01)
    clock, stop, heard = ManualClock(START), anyio.Event(), list[tuple[str, bytes]]()
    sim = Simulation(testville, 7, START, faults)
    wanted: list[Message] = []
    async with listening(broker, heard), anyio.create_task_group() as tasks:
        url = f"mqtt://127.0.0.1:{broker.port}"
        tasks.start_soon(
            lambda: run(testville, url=url, credentials=KEYS, clock=clock, seed=7, faults=faults, stop=stop)
        )
        for _ in range(4):
            await anyio.sleep(0.3)
            clock.advance(150)
            wanted += sim.step(clock.now())
        await until(lambda: objects(heard).total() >= len(wanted))
        stop.set()
    assert objects(heard) == expected(wanted)
    for key, payload in heard:
        if key == "gw-bus" and payload[:1] in b"[{":
            assert payload[:1] == b"{", "a bus speaks for itself"
    groups = [len(msgspec.json.decode(p)) for k, p in heard if k == "gw-light" and p[:1] == b"["]
    assert max(groups) > 1


async def test_a_broker_that_goes_and_comes_back_costs_nothing(broker: Broker, testville: list[Any]) -> None:
    clock, stop, heard = ManualClock(START), anyio.Event(), list[tuple[str, bytes]]()
    sim = Simulation(testville, 7, START, FaultRates.none())
    wanted: list[Message] = []
    with capture_logs() as logs:
        async with listening(broker, heard), anyio.create_task_group() as tasks:
            url = broker.simulator.url(broker.port)
            tasks.start_soon(lambda: run(testville, url=url, clock=clock, seed=7, faults=FaultRates.none(), stop=stop))

            async def pass_time(seconds: int) -> None:
                for _ in range(0, seconds, 30):
                    clock.advance(30)
                    wanted.extend(sim.step(clock.now()))
                    await anyio.sleep(0.1)

            await anyio.sleep(0.5)
            await pass_time(120)
            await until(lambda: objects(heard).total() >= len(wanted))
            broker.stop()
            await pass_time(300)
            await until(lambda: any(x["event"] == "simulator_cut_off" for x in logs))
            broker.start()
            await pass_time(60)
            await until(lambda: objects(heard).keys() >= expected(wanted).keys())
            await until(lambda: any(x["event"] == "simulator_connected_again" for x in logs))
            stop.set()
    reasons = [x["why"] for x in logs if x["event"] == "simulator_cut_off"]
    assert len(reasons) == len(set(reasons)) <= 3
    assert sum(x["event"] == "simulator_connected_again" for x in logs) == 1
    assert not any(x["event"] == "simulator_box_full" for x in logs)


@pytest.mark.parametrize("there", [True, False])
async def test_it_stops_within_a_second(broker: Broker, testville: list[Any], there: bool) -> None:
    if not there:
        broker.stop()
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        clock = SimulatedClock(START, 60)
        url = broker.simulator.url(broker.port)
        tasks.start_soon(lambda: run(testville, url=url, clock=clock, seed=7, speed=60, stop=stop))
        await anyio.sleep(2.0)
        began = time.monotonic()
        stop.set()
    assert time.monotonic() - began < 1.0


async def test_it_can_be_cancelled_at_once(broker: Broker, testville: list[Any]) -> None:
    began = 0.0
    async with anyio.create_task_group() as tasks:
        clock = SimulatedClock(START)
        url = broker.simulator.url(broker.port)
        tasks.start_soon(lambda: run(testville, url=url, clock=clock, seed=7, stop=anyio.Event()))
        await anyio.sleep(1.5)
        began = time.monotonic()
        tasks.cancel_scope.cancel()
    assert time.monotonic() - began < 1.0


async def test_a_gateway_with_a_wrong_password_does_not_hold_up_the_others(
    broker: Broker, testville: list[Any]
) -> None:
    stop, heard = anyio.Event(), list[tuple[str, bytes]]()
    with capture_logs() as logs:
        async with listening(broker, heard), anyio.create_task_group() as tasks:
            clock, url = SimulatedClock(START, 60), f"mqtt://127.0.0.1:{broker.port}"
            keys = {**KEYS, "gw-bike": "wrong"}
            tasks.start_soon(
                lambda: run(testville, url=url, credentials=keys, clock=clock, seed=7, speed=60, stop=stop)
            )
            await until(lambda: {k for k, _ in heard} == set(GATEWAYS) - {"gw-bike"})
            stop.set()
    assert [x["gateway"] for x in logs if x["event"] == "simulator_cut_off"] == ["gw-bike"]


async def test_after_a_sleep_it_goes_on_in_the_present(broker: Broker, testville: list[Any]) -> None:
    clock, stop, heard = ManualClock(START), anyio.Event(), list[tuple[str, bytes]]()
    with capture_logs() as logs:
        async with listening(broker, heard), anyio.create_task_group() as tasks:
            url = broker.simulator.url(broker.port)
            tasks.start_soon(lambda: run(testville, url=url, clock=clock, seed=7, faults=FaultRates.none(), stop=stop))
            await anyio.sleep(1.0)
            clock.advance(CATCH_UP_S + 3600)
            await until(lambda: any(x["event"] == "simulator_clock_jumped" for x in logs))
            clock.advance(120)
            await until(lambda: len(heard) > 3)
            clock.advance(-7200)
            await until(lambda: sum(x["event"] == "simulator_clock_jumped" for x in logs) == 2)
            stop.set()
    first = START + timedelta(seconds=CATCH_UP_S + 3600)
    for key, payload in heard:
        decoded = msgspec.json.decode(payload)
        for one in decoded if isinstance(decoded, list) else [decoded]:
            assert datetime.fromisoformat(one["at"]) >= first, key


async def test_keys_and_addresses_are_checked_before_anything_is_sent(testville: list[Any]) -> None:
    clock, stop = ManualClock(START), anyio.Event()
    with pytest.raises(GatewayKeyMissing) as missing:
        await run(testville, url="mqtt://127.0.0.1:1", credentials={"gw-bike": "x"}, clock=clock, seed=7, stop=stop)
    assert "gw-bus" in missing.value.message("ko")
    assert "gw-bike," not in missing.value.message("en")
    for url in ("http://x", "mqtt://", "mqtt://host:port", "127.0.0.1:1883", ""):
        with pytest.raises(BrokerAddressWrong):
            broker_of(url)
    assert broker_of("mqtt://h").port == 1883
    assert broker_of("mqtts://h").secure
    assert broker_of("mqtt://a:b%20c@[::1]:99") == type(broker_of("mqtt://h"))("::1", 99, False, "a", "b c")


async def test_a_full_box_keeps_the_oldest_and_counts_what_it_refused() -> None:
    box = Outbox("gw-air", size=3)
    for n in range(5):
        box.put(Message("gw-air", {"id": f"urn:a:{n}", "pm25": n}), START + timedelta(seconds=n))
    assert (len(box), box.refused, box.oldest) == (3, 2, START)
    (packet,) = await box.next()
    assert [o["pm25"] for o in msgspec.json.decode(packet.payload)] == [0, 1, 2]
    assert (packet.objects, packet.readings) == (3, 3)
    assert len(box) == 3, "what is not acknowledged stays"
    box.done(packet)
    assert (len(box), box.readings, box.sent) == (0, 3, 1)
    box.close()
    assert await box.next() == []


async def test_what_must_stand_alone_stands_alone() -> None:
    box = Outbox("gw")
    for payload, alone in (({"id": "a"}, False), ({"id": "b"}, True), (b"\xff", True), ({"id": "c"}, False)):
        box.put(Message("gw", payload, alone), START)
    assert [p.payload for p in await box.next()] == [b'[{"id":"a"}]', b'{"id":"b"}', b"\xff", b'[{"id":"c"}]']


@pytest.mark.parametrize("alone", [True, False])
async def test_only_so_much_is_under_way_at_once_and_in_order(alone: bool) -> None:
    box = Outbox("gw")
    for n in range(WINDOW * PER_MESSAGE * 2):
        box.put(Message("gw", {"id": n}, alone), START)
    seen: list[int] = []
    while len(box):
        packets = await box.next()
        assert 1 <= len(packets) <= WINDOW
        for packet in packets:
            decoded = msgspec.json.decode(packet.payload)
            seen += [o["id"] for o in ([decoded] if alone else decoded)]
            assert packet.objects == (1 if alone else PER_MESSAGE)
            box.done(packet)
    assert seen == list(range(WINDOW * PER_MESSAGE * 2))


def test_a_fast_clock_thins_out_only_what_must_be() -> None:
    assert thinning({"gw-air": 1.0, "gw-bus": 50.0}, 1) == {"gw-air": 1, "gw-bus": 1}
    assert thinning({"gw-air": 1.0, "gw-bus": 50.0}, 600) == {"gw-air": 3, "gw-bus": 120}
