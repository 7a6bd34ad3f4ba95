"""Sending the simulated readings to the broker, one MQTT connection for each gateway key, as field devices would.

Nothing is invented or dropped here in silence: what cannot be sent waits in a bounded box (the oldest stay, newer ones
are refused and counted), a lost connection is said once and its return once, and being late is said every ten seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, tzinfo
from math import ceil
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import aiomqtt
import anyio
import msgspec
import structlog
from anyio import to_thread

from sejong.kernel.clock import Clock
from sejong.kernel.errors import CityError
from sejong.simulator.message import FaultRates, Message
from sejong.simulator.places import Entity
from sejong.simulator.simulation import KOREA, TICK_S, Simulation

TOPIC = "sejong/v1/{key}/readings"
PER_MESSAGE = 50
"""Most objects in one MQTT message. Chosen: about 12 kB."""
WINDOW = 8
"""Most MQTT messages of one gateway on their way at once, so that a slow answer does not hold up the rest. Chosen,
below the ten from which aiomqtt warns."""
BOX_SIZE = 20_000
"""Most objects a gateway keeps while it cannot send: some minutes at normal speed. Chosen."""
GATEWAY_READINGS_S = 250.0
"""Readings a second of real time one gateway is thinned down to on a fast clock. Chosen: half of what a device key may
send (`SEJONG_DEVICE_RATE`), so that changes fit in as well."""
PACE_READINGS_S = 450.0
"""No gateway sends more readings a second; above it waits its turn. Chosen, just under `SEJONG_DEVICE_RATE`."""
WAIT_FIRST_S, WAIT_LONGEST_S = 0.5, 20.0
"""Waiting before connecting again: first, and at most (doubling). Units: s. Chosen."""
ANSWER_S = 5.0
"""How long the broker may take to answer. Units: s. Chosen."""
CATCH_UP_S = 900.0
"""More city time than this behind (times the speed, if above 1), and the simulator jumps to the present instead of
sending old readings: the computer slept, and so did the devices. Units: s. Chosen."""
SET_BACK_S = 60.0
"""A clock set back by more than this begins the simulation anew at the earlier time. Units: s. Chosen."""
CHUNK = timedelta(seconds=60)
"""City time simulated without letting others run."""
PROGRESS_S = 10.0
LAST_WORDS_S = 0.6
"""Time to finish the message under way and to say goodbye when stopped. Units: s."""

_log = structlog.get_logger("sejong.simulator")


class GatewayKeyMissing(CityError):
    """The simulator was not given the password of a gateway key it needs."""

    status: ClassVar[int] = 500
    ko = "시뮬레이터에 게이트웨이 키 {names}의 비밀번호가 없습니다."
    en = "The simulator has no password for the gateway keys {names}."


class BrokerAddressWrong(CityError):
    """The address of the MQTT broker cannot be understood."""

    status: ClassVar[int] = 500
    ko = "MQTT 주소 '{url}'을(를) 이해할 수 없습니다. 예: mqtt://127.0.0.1:1883"
    en = "The MQTT address '{url}' cannot be understood. Example: mqtt://127.0.0.1:1883"


class Broker(msgspec.Struct, frozen=True):
    """Where the broker listens, and the user allowed to speak for every gateway, if there is one."""

    host: str
    port: int
    secure: bool = False
    user: str | None = None
    password: str | None = None


def broker_of(url: str) -> Broker:
    """Read `mqtt://host:port` or `mqtts://host:port`, with or without `user:password@`.

    >>> broker_of("mqtts://simulator:s3cret@broker.example")
    Broker(host='broker.example', port=8883, secure=True, user='simulator', password='s3cret')
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or port == -1:
        raise BrokerAddressWrong(url=url)
    secure = parts.scheme == "mqtts"
    user, password = (None if part is None else unquote(part) for part in (parts.username, parts.password))
    return Broker(unquote(parts.hostname), port or (8883 if secure else 1883), secure, user, password)


def thinning(per_second: Mapping[str, float], speed: float) -> dict[str, int]:
    """Every so manieth report for each gateway, so that none sends more than it may at this speed of the clock.

    >>> thinning({"gw-bus": 40.0, "gw-air": 0.8}, 600)
    {'gw-bus': 96, 'gw-air': 2}
    """
    return {name: max(1, ceil(rate * speed / GATEWAY_READINGS_S)) for name, rate in per_second.items()}


class Packet(msgspec.Struct, frozen=True):
    """One MQTT message: its bytes, and how many objects and readings they hold."""

    payload: bytes
    objects: int
    readings: int


class Outbox:
    """What one gateway still has to send."""

    def __init__(self, key: str, size: int = BOX_SIZE) -> None:
        self.key, self._size = key, size
        self.refused = self.readings = self.objects = self.sent = 0
        self._waiting: deque[tuple[datetime, Message]] = deque()
        self._news = anyio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def oldest(self) -> datetime | None:
        """City time since which something waits."""
        return self._waiting[0][0] if self._waiting else None

    def put(self, message: Message, now: datetime) -> None:
        """Take a message; when full it is refused and counted."""
        if len(self._waiting) >= self._size:
            self.refused += 1
            return
        self._waiting.append((now, message))
        self._news.set()

    def close(self) -> None:
        """Say that nothing more is to be sent."""
        self._closed = True
        self._news.set()

    async def next(self) -> list[Packet]:
        """What to send next, in order, at most `WINDOW` packets; they stay until `done`. Empty only when closed."""
        while not self._waiting and not self._closed:
            self._news = anyio.Event()
            await self._news.wait()
        packets: list[Packet] = []
        group: list[dict[str, Any]] = []
        readings = 0
        for _, message in () if self._closed else self._waiting:
            alone = message.alone or isinstance(message.payload, bytes)
            if group and (alone or len(group) == PER_MESSAGE):
                packets.append(Packet(msgspec.json.encode(group), len(group), readings))
                group, readings = [], 0
            if len(packets) == WINDOW:
                return packets
            if isinstance(message.payload, bytes):
                packets.append(Packet(message.payload, 1, 0))
            elif alone:
                packets.append(Packet(msgspec.json.encode(message.payload), 1, message.readings))
            else:
                group.append(message.payload)
                readings += message.readings
        if group and len(packets) < WINDOW:
            packets.append(Packet(msgspec.json.encode(group), len(group), readings))
        return packets

    def done(self, packet: Packet) -> None:
        """The broker has the first packet that was waiting."""
        for _ in range(packet.objects):
            self._waiting.popleft()
        self.sent += 1
        self.objects += packet.objects
        self.readings += packet.readings


async def run(
    entities: Iterable[Entity],
    *,
    url: str,
    credentials: Mapping[str, str] | None = None,
    clock: Clock,
    seed: int,
    speed: float = 1.0,
    faults: FaultRates | None = None,
    stop: anyio.Event,
    zone: tzinfo = KOREA,
) -> None:
    """Simulate the city's devices on `clock` and publish what they say until `stop` is set.

    `url` of the broker. If it names a user, that one speaks for every gateway; else each gateway signs in with its own
    key and needs its password in `credentials` (`GATEWAYS`; not those of which the pack has no device). `speed` how
    fast `clock` runs. Raises GatewayKeyMissing, BrokerAddressWrong. Must run on asyncio (aiomqtt).
    """
    broker, known = broker_of(url), dict(credentials or {})
    sim = await to_thread.run_sync(_prepare, entities, seed, clock.now(), faults, zone, speed)
    entities = ()  # the pack is read; let it go
    if stop.is_set():
        return
    used = sim.readings_per_second()
    missing = sorted(used.keys() - known.keys())
    if missing and broker.user is None:
        raise GatewayKeyMissing(names=", ".join(missing))
    boxes = {key: Outbox(key) for key in used}
    _log.info("simulator_started", devices=sum(sim.devices().values()), gateways=len(boxes), seed=seed, speed=speed)
    outages = Outages()
    async with anyio.create_task_group() as senders:
        for key, box in boxes.items():
            senders.start_soon(_deliver, box, broker, known.get(key), stop, outages)
        async with anyio.create_task_group() as makers:
            makers.start_soon(_simulate, sim, boxes, clock, speed)
            makers.start_soon(_tell, sim, list(boxes.values()), clock)
            await stop.wait()
            makers.cancel_scope.cancel()
        for box in boxes.values():
            box.close()
        senders.cancel_scope.deadline = anyio.current_time() + LAST_WORDS_S
    _log.info("simulator_stopped", unsent=sum(map(len, boxes.values())))


def _prepare(
    entities: Iterable[Entity],
    seed: int,
    now: datetime,
    faults: FaultRates | None,
    zone: tzinfo,
    speed: float,
) -> Simulation:
    sim = Simulation(entities, seed, now, faults, zone=zone)
    sim.thin_out(thinning(sim.readings_per_second(), speed))
    gc.collect()
    gc.freeze()  # thousands of small dicts a minute must not make the collector walk the whole city each time
    return sim


async def _simulate(sim: Simulation, boxes: Mapping[str, Outbox], clock: Clock, speed: float) -> None:
    """Move the simulation along with the clock and put what is said into the boxes."""
    pause = min(1.0, max(0.02, TICK_S / speed))
    while True:
        now = clock.now()
        behind = (now - sim.now).total_seconds()
        if behind > CATCH_UP_S * max(1.0, speed) or behind < -SET_BACK_S:
            _log.warning("simulator_clock_jumped", seconds=round(behind), city_time=now.isoformat())
            await to_thread.run_sync(sim.seek, now)
            continue
        for message in sim.step(min(now, sim.now + CHUNK)):
            boxes[message.gateway].put(message, sim.now)
        late = (clock.now() - sim.now).total_seconds() >= CHUNK.total_seconds()
        await anyio.sleep(0 if late else pause)


class Outages:
    """Which gateways are cut off. Says a loss once for each reason, and once when all are back."""

    def __init__(self) -> None:
        self._cut_off: set[str] = set()
        self._said: set[str] = set()
        self._since = 0.0

    def lost(self, key: str, why: str) -> None:
        """A gateway lost its connection or did not get one."""
        if not self._cut_off:
            self._since = anyio.current_time()
        self._cut_off.add(key)
        if why not in self._said:
            self._said.add(why)
            _log.warning("simulator_cut_off", gateway=key, why=why)

    def back(self, key: str) -> None:
        """A gateway is connected."""
        if key not in self._cut_off:
            return
        self._cut_off.remove(key)
        if not self._cut_off:
            self._said.clear()
            _log.info("simulator_connected_again", after_s=round(anyio.current_time() - self._since, 1))


async def _deliver(box: Outbox, broker: Broker, password: str | None, stop: anyio.Event, outages: Outages) -> None:
    """Keep one gateway connected and empty its box."""
    wait = WAIT_FIRST_S
    while not stop.is_set():
        client, connected = _client(box.key, broker, password), False
        try:
            async with client:
                outages.back(box.key)
                wait, connected = WAIT_FIRST_S, True
                await _empty(client, box)
        except aiomqtt.MqttError as why:
            if stop.is_set():
                return
            outages.lost(box.key, str(why) or type(why).__name__)
            with anyio.move_on_after(wait):
                await stop.wait()
            wait = min(2 * wait, WAIT_LONGEST_S)
        finally:
            if connected:
                await _why_it_ended(client)


def _client(key: str, broker: Broker, password: str | None) -> aiomqtt.Client:
    return aiomqtt.Client(
        broker.host,
        broker.port,
        username=broker.user or key,
        password=broker.password if broker.user else password,
        identifier=f"sejong-simulator-{key}",
        timeout=ANSWER_S,
        keepalive=30,
        tls_context=ssl.create_default_context() if broker.secure else None,
    )


async def _why_it_ended(client: aiomqtt.Client) -> None:
    """Take the reason of a lost connection from the client, which else complains that nobody asked for it."""
    with contextlib.suppress(aiomqtt.MqttError), anyio.move_on_after(1.0):
        await anext(aiter(client.messages))


async def _empty(client: aiomqtt.Client, box: Outbox) -> None:
    """Send what the box holds, never faster than the pace; ends when the box is closed."""
    topic, free_at = TOPIC.format(key=box.key), anyio.current_time()
    while packets := await box.next():
        answers = await asyncio.gather(
            *(client.publish(topic, packet.payload, qos=1) for packet in packets), return_exceptions=True
        )
        for packet, answer in zip(packets, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer  # what came after it may have arrived and is sent again
            box.done(packet)
            free_at = max(free_at, anyio.current_time() - 1.0) + packet.readings / PACE_READINGS_S
        if (ahead := free_at - anyio.current_time()) > 0:
            await anyio.sleep(ahead)


async def _tell(sim: Simulation, boxes: list[Outbox], clock: Clock) -> None:
    """One line every ten seconds: how much is sent, how far behind the city's clock, what waits, what was refused."""
    before, since = _sums(boxes), anyio.current_time()
    while True:
        await anyio.sleep(PROGRESS_S)
        after, now = _sums(boxes), anyio.current_time()
        readings, messages, full = (b - a for a, b in zip(before, after, strict=True))
        oldest = min([sim.now, *(box.oldest for box in boxes if box.oldest)])
        _log.info(
            "simulator",
            readings_per_s=round(readings / (now - since), 1),
            messages_per_s=round(messages / (now - since), 1),
            lag_s=round(max(0.0, (clock.now() - oldest).total_seconds()), 1),
            waiting=sum(map(len, boxes)),
            refused=after[2],
            faults=len(sim.truth()),
            city_time=sim.now.isoformat(),
        )
        if full:
            _log.warning("simulator_box_full", refused=full, gateways=[b.key for b in boxes if b.refused])
        before, since = after, now


def _sums(boxes: list[Outbox]) -> tuple[int, int, int]:
    return sum(b.readings for b in boxes), sum(b.sent for b in boxes), sum(b.refused for b in boxes)
