"""The city's own broker keeps what it acknowledged, lets each device say its own things only, and survives."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiomqtt
import bcrypt
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from sejong.kit import child_process, embedded_broker
from sejong.kit.embedded_broker import (
    Broker,
    BrokerFolderUnusable,
    BrokerInUse,
    BrokerPortTaken,
    BrokerProgramMissing,
    BrokerUser,
    BrokerUserRefused,
    change_users,
    session_name,
    subject_of,
)

pytestmark = pytest.mark.anyio
SOURCE = Path(__file__).parents[2] / "src"
READINGS = "sejong/v1/{}/readings"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def state() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sejong-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


HASHES: dict[str, str] = {}


def device(name: str) -> BrokerUser:
    """A device whose key's secret is its own name, with one hash per test run."""
    hashed = HASHES.setdefault(name, bcrypt.hashpw(name.encode(), bcrypt.gensalt(4)).decode())
    return BrokerUser(name, hashed, (f"sejong/v1/{name}/#",), (f"sejong/v1/{name}/commands",))


@pytest.fixture
def broker(state: Path) -> Iterator[Broker]:
    running = Broker(state, port=free_port())
    running.start([device("gw-bike"), device("gw-bus")])
    yield running
    running.stop()


def as_device(broker: Broker, name: str, password: str | None = None) -> aiomqtt.Client:
    return aiomqtt.Client("127.0.0.1", broker.port, username=name, password=password or name)


def as_ingest(broker: Broker, *, manual_ack: bool = False) -> aiomqtt.Client:
    """The ingest process: a session the broker keeps; with `manual_ack` nothing is acknowledged by itself."""
    sign_in = broker.ingest
    client = aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        username=sign_in.name,
        password=sign_in.password,
        identifier=session_name(sign_in.url(broker.port)),
        clean_session=False,
        max_queued_incoming_messages=0,
    )
    client._client.manual_ack_set(manual_ack)
    return client


def acknowledge(client: aiomqtt.Client, message: aiomqtt.Message) -> None:
    client._client.ack(message.mid, message.qos)


def forget_lost_connection(client: aiomqtt.Client) -> None:
    """aiomqtt leaves the loss of a connection in a future that nobody reads, and asyncio complains about that."""
    if client._disconnected.done():
        client._disconnected.exception()


async def read(client: aiomqtt.Client, count: int, seconds: float = 5) -> list[aiomqtt.Message]:
    """The next `count` messages, or fewer when they do not come in time."""
    got: list[aiomqtt.Message] = []
    try:
        async with asyncio.timeout(seconds):
            async for message in client.messages:
                got.append(message)
                if len(got) == count:
                    break
    except TimeoutError:
        pass
    return got


def payloads(messages: list[aiomqtt.Message]) -> list[bytes]:
    return [message.payload for message in messages if isinstance(message.payload, bytes)]


async def test_a_wrong_or_unknown_key_is_refused(broker: Broker) -> None:
    for name, password in (("gw-bike", "wrong"), ("stranger", "x"), ("ingest", "ingest")):
        with pytest.raises(aiomqtt.MqttError):
            async with as_device(broker, name, password):
                pass
    with pytest.raises(aiomqtt.MqttError):
        async with aiomqtt.Client("127.0.0.1", broker.port):
            pass


async def test_a_device_speaks_for_itself_only_and_hears_nothing_of_others(broker: Broker) -> None:
    async with as_ingest(broker) as ingest, as_device(broker, "gw-bike") as bike, as_device(broker, "gw-bus") as bus:
        await ingest.subscribe("sejong/v1/+/readings", qos=1)
        await bus.publish(READINGS.format("gw-bike"), b"forged", qos=1)
        await bike.publish(READINGS.format("gw-bike"), b"true", qos=1)
        assert payloads(await read(ingest, 2, seconds=1)) == [b"true"]
        refused = await bus.subscribe("sejong/v1/gw-bike/readings", qos=1)
        everything = await bus.subscribe("#", qos=1)
        own = await bus.subscribe("sejong/v1/gw-bus/commands", qos=1)
        assert [int(code.value) for code in (*refused, *everything, *own)] == [0x80, 0x80, 1]  # pyright: ignore


async def test_readings_sent_while_ingest_is_away_arrive_when_it_returns(broker: Broker) -> None:
    async with as_ingest(broker) as ingest:
        await ingest.subscribe("sejong/v1/+/readings", qos=1)
    async with as_device(broker, "gw-bike") as bike:
        for number in range(20):
            await bike.publish(READINGS.format("gw-bike"), b"%d" % number, qos=1)
    async with as_ingest(broker) as ingest:  # no new subscription: the session has it
        assert payloads(await read(ingest, 20)) == [b"%d" % number for number in range(20)]


class Sender:
    """A device that sends as fast as the broker answers, and remembers what was acknowledged.

    Plain paho: what it does when its broker is killed in the middle must not depend on a wrapper.
    """

    def __init__(self, port: int, name: str) -> None:
        self._payload_of: dict[int, bytes] = {}
        self._answered: set[int] = set()  # packet ids; far fewer than 65,535 are used
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        self._client.username_pw_set(name, name)
        self._client.on_publish = lambda _client, _data, mid, *_: self._answered.add(mid)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    @property
    def acknowledged(self) -> set[bytes]:
        return {self._payload_of[mid] for mid in self._answered}

    def send(self, topic: str, start: int, seconds: float) -> int:
        """Send numbers from `start` on for some seconds, eight under way at a time; answers the next number."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if len(self._payload_of) - len(self._answered) < 8:
                payload = b"%d" % start
                self._payload_of[self._client.publish(topic, payload, qos=1).mid] = payload
                start += 1
            else:
                time.sleep(0.0005)
        return start

    def close(self) -> None:
        self._client.loop_stop()


@pytest.mark.parametrize("durable", [False, True])
async def test_broker_killed_in_the_middle_loses_no_acknowledged_reading(state: Path, durable: bool) -> None:
    broker = Broker(state, port=free_port(), durable=durable)
    broker.start([device("gw-bike")])
    async with as_ingest(broker) as ingest:
        await ingest.subscribe("sejong/v1/+/readings", qos=1)
    acknowledged: set[bytes] = set()
    try:
        sent = 0
        for _ in range(3):
            before, sender = sent, Sender(broker.port, "gw-bike")
            sent = sender.send(READINGS.format("gw-bike"), sent, 0.4)
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGKILL)
            sender.close()
            assert sent - before > 20
            assert len(sender.acknowledged) >= sent - before - 8
            acknowledged |= sender.acknowledged
            broker.stop()
            broker.start()  # keeps the devices of the run before
        async with as_ingest(broker) as ingest:
            kept = payloads(await read(ingest, 1_000_000, seconds=2))
        assert acknowledged <= set(kept)
        assert len(kept) == len(set(kept)) <= sent  # some were stored, but killed before the acknowledgement left
    finally:
        broker.stop()


async def test_reading_that_ingest_did_not_acknowledge_comes_again(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ingest acknowledges after its commit; one killed in between gets the readings once more."""
    monkeypatch.setattr(embedded_broker, "ACK_WAIT_SECONDS", 2)
    with Broker(state, port=free_port()) as broker:
        change_users(state, [device("gw-bike")])
        async with as_ingest(broker, manual_ack=True) as ingest, as_device(broker, "gw-bike") as bike:
            await ingest.subscribe("sejong/v1/+/readings", qos=1)
            for payload in (b"a", b"b", b"c"):
                await bike.publish(READINGS.format("gw-bike"), payload, qos=1)
            first = await read(ingest, 3)
            assert payloads(first) == [b"a", b"b", b"c"]
            acknowledge(ingest, first[1])
            await asyncio.sleep(0.1)
        async with as_ingest(broker, manual_ack=True) as ingest:
            again = await read(ingest, 2, seconds=6)
            assert payloads(again) == [b"a", b"c"]
            for message in again:
                acknowledge(ingest, message)
            assert await read(ingest, 1, seconds=3) == []


async def test_latest_retained_value_is_given_to_a_newcomer(broker: Broker) -> None:
    topic = "sejong/v1/gw-bike/status"
    async with as_device(broker, "gw-bike") as bike:
        for payload in (b"old", b"online"):
            await bike.publish(topic, payload, qos=1, retain=True)
    broker.stop()
    broker.start()
    got: list[aiomqtt.Message] = []
    for _ in range(5):  # right after a start the broker may still be reading its retained values
        async with as_ingest(broker) as ingest:
            await ingest.subscribe("sejong/v1/+/status", qos=1)
            if got := await read(ingest, 1, seconds=1):
                break
    assert [(message.payload, message.retain) for message in got] == [(b"online", True)]


async def test_changed_keys_take_effect_at_once_and_disturb_nobody_else(broker: Broker) -> None:
    async with as_ingest(broker) as ingest, as_device(broker, "gw-bike") as bike, as_device(broker, "gw-bus") as bus:
        await ingest.subscribe("sejong/v1/+/readings", qos=1)
        broker.reload([device("gw-bus"), device("gw-new")])
        with pytest.raises(aiomqtt.MqttError):
            await bike.publish(READINGS.format("gw-bike"), b"revoked", qos=1, timeout=2)
        forget_lost_connection(bike)
        async with as_device(broker, "gw-new") as new:
            await new.publish(READINGS.format("gw-new"), b"new", qos=1)
        await bus.publish(READINGS.format("gw-bus"), b"bus", qos=1)
        assert payloads(await read(ingest, 3, seconds=1)) == [b"new", b"bus"]


async def test_device_that_takes_the_sessions_name_hears_nothing(broker: Broker) -> None:
    name = session_name(broker.ingest.url(broker.port))
    async with as_ingest(broker) as ingest:
        await ingest.subscribe("sejong/v1/+/readings", qos=1)
    thief = aiomqtt.Client(
        "127.0.0.1", broker.port, username="gw-bus", password="gw-bus", identifier=name, clean_session=False
    )
    async with thief, as_device(broker, "gw-bike") as bike:
        await bike.publish(READINGS.format("gw-bike"), b"private", qos=1)
        assert await read(thief, 1, seconds=1) == []


async def test_broken_clients_do_not_harm_the_broker(broker: Broker) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(2000), b"\x10\xff\xff\xff\xff"):
        with socket.create_connection(("127.0.0.1", broker.port), timeout=2) as raw:
            raw.sendall(garbage)
    async with as_device(broker, "gw-bike") as bike:
        await bike.publish(READINGS.format("gw-bike"), b"x", qos=1)
    assert broker.is_running


def test_taken_port_is_named_before_anything_starts(state: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BrokerPortTaken, match=str(port)):
            Broker(state, port=port).start()


def test_second_broker_on_one_folder_says_so(broker: Broker, state: Path) -> None:
    with pytest.raises(BrokerInUse) as refused:
        Broker(state, port=free_port()).start()
    assert str(os.getpid()) in refused.value.message("ko")
    assert broker.is_running


def test_unusable_folder_and_missing_program(state: Path) -> None:
    with pytest.raises(BrokerFolderUnusable):
        Broker(Path("/proc/sejong"), port=free_port()).start()
    with pytest.raises(BrokerProgramMissing, match="nowhere"):
        Broker(state, port=free_port(), program=Path("/nowhere/nats-server")).start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_broker_does_not_outlive_a_killed_owner(state: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from sejong.kit.embedded_broker import Broker\n"
        "broker = Broker(Path(sys.argv[1]), port=int(sys.argv[2])); broker.start(); print(broker.pid, flush=True)\n"
        "time.sleep(60)"
    )
    port = free_port()
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(state), str(port)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    end = time.monotonic() + 5
    while child_process.alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not child_process.alive(pid)


def test_leftover_broker_is_stopped_at_the_next_start(broker: Broker, state: Path) -> None:
    broker.stop()
    left = child_process.spawn(
        [str(embedded_broker.broker_program()), "-c", str(state / "broker" / "broker.conf")], at_parent_death=0
    )
    end = time.monotonic() + 5
    while embedded_broker.running_pid(state) != left.pid and time.monotonic() < end:
        time.sleep(0.02)
    broker.start()
    assert left.wait(5) == 0
    assert broker.pid == embedded_broker.running_pid(state) != left.pid


def test_secrets_are_kept_private(broker: Broker, state: Path) -> None:
    for name in ("ingest.json", "simulator.json", "users.conf"):
        assert (state / "broker" / name).stat().st_mode & 0o077 == 0
    assert broker.ingest.password not in (state / "broker" / "users.conf").read_text()
    assert Broker(state).ingest == broker.ingest


@pytest.mark.parametrize(
    "name", ["", "gw bike", "gw.bike", "gw/bike", "gw*", 'gw"', "ingest", "gw\n", "센서}", "gw-bike"]
)
def test_names_that_could_break_out_of_the_configuration_are_refused(state: Path, name: str) -> None:
    one = device("gw-bike")
    with pytest.raises(BrokerUserRefused):
        change_users(state, [one, BrokerUser(name, one.bcrypt)])
    assert not (state / "broker" / "users.conf").exists()


@pytest.mark.parametrize("topic", ["", "a//b", "/a", "a/", "a.b", "a/*", "a/>", "#/a", "a b", 'a"', "a/+b"])
def test_topics_the_broker_would_understand_differently_are_refused(topic: str) -> None:
    with pytest.raises(BrokerUserRefused):
        subject_of(topic)


def test_topics_as_subjects() -> None:
    assert subject_of("sejong/v1/+/readings") == ("sejong.v1.*.readings",)
    assert subject_of("a/#") == ("a", "a.>")
    assert subject_of("#") == (">",)


def test_session_name_is_stable_and_secret() -> None:
    one = session_name("mqtt://ingest:s3cret@127.0.0.1:1883")
    assert one == session_name("mqtt://ingest:s3cret@127.0.0.1:1884")
    assert one != session_name("mqtt://ingest:other@127.0.0.1:1883")
    assert "s3cret" not in one
    assert len(one) <= 23  # the longest that MQTT 3.1.1 brokers must take
