"""The MQTT door: one subscription for the whole city, every message acknowledged after its readings are committed.

The broker keeps what is not acknowledged and delivers it again after a crash; what is delivered twice is recognised by
attribute and time. While the collector has no room the socket is not read, and the broker waits.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import cast
from urllib.parse import unquote, urlsplit

import structlog

from sejong.hub.ingest import mqtt_wire as wire
from sejong.hub.ingest import refusals as no
from sejong.hub.ingest.mqtt_wire import Incoming, Wire, WireFault
from sejong.hub.ingest.reading import Refused, Understood
from sejong.hub.ingest.service import STRANGER, Ingest
from sejong.hub.ingest.source import Source
from sejong.kernel.errors import CityError, Invalid
from sejong.kit.embedded_broker import session_name

log = structlog.get_logger("mqtt")

KEEPALIVE_S = 30
CONNECT_S = 10.0
RECONNECT_S = (0.2, 0.5, 1.0, 2.0, 5.0)
DOOR = "mqtt"


class BrokerAway(CityError):
    """The MQTT broker does not answer, or refuses us."""

    status = 503
    ko = "MQTT 브로커에 연결할 수 없습니다: {why}"
    en = "The MQTT broker cannot be reached: {why}"


async def run_mqtt(ingest: Ingest, url: str, stop: asyncio.Event, ready: asyncio.Event | None = None) -> None:
    """Take readings from the broker at `url` (`mqtt[s]://user:password@host:port`) until `stop` is set.

    Connects again for ever; says once that the broker is away and once that it is back. `ready` is set once we are
    subscribed for the first time: from then on the broker keeps for us what comes while we are away, and devices of a
    new city may begin. Raises Invalid for a bad URL.
    """
    address = _Address(url)
    attempt, away = 0, False
    while not stop.is_set():
        try:
            session = await _connect(ingest, address)
        except (OSError, WireFault, TimeoutError) as error:
            if not away:
                log.warning("broker_away", why=str(error) or type(error).__name__, host=address.host, port=address.port)
            away = True
            await _pause(stop, RECONNECT_S[min(attempt, len(RECONNECT_S) - 1)])
            attempt += 1
            continue
        log.info("broker_back" if away else "broker_connected", host=address.host, port=address.port)
        attempt, away = 0, False
        if ready is not None:
            ready.set()
        await session.until(stop)
        if stop.is_set():
            await session.leave()
        else:
            away = True
            log.warning("broker_away", why=session.why, host=address.host, port=address.port)
            await _pause(stop, RECONNECT_S[0])


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(asyncio.TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


class _Address:
    """Where the broker is and how to sign in."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise Invalid(why="mqtt://user:password@host:port")
        self.host = parts.hostname
        self.tls = ssl.create_default_context() if parts.scheme == "mqtts" else None
        self.port = parts.port or (8883 if self.tls else 1883)
        self.user = unquote(parts.username) if parts.username else None
        self.password = unquote(parts.password) if parts.password else None
        self.client_id = session_name(url)


async def _connect(ingest: Ingest, address: _Address) -> _Session:
    """A session that the broker has accepted and that is subscribed. Raises OSError, WireFault, TimeoutError."""
    loop = asyncio.get_running_loop()
    session = _Session(ingest, address)
    async with asyncio.timeout(CONNECT_S):
        await loop.create_connection(lambda: session, address.host, address.port, ssl=address.tls)
        try:
            await session.ready
        except BaseException:
            session.abort()
            raise
    return session


class _Session(asyncio.Protocol):
    """One connection to the broker."""

    def __init__(self, ingest: Ingest, address: _Address) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.why = "the connection was closed"
        self._closed: asyncio.Future[None] = loop.create_future()
        self._ingest, self._address, self._loop = ingest, address, loop
        self._wire = Wire(largest=ingest.limits.message)
        self._transport: asyncio.Transport | None = None
        self._held: set[int] = set()
        """Packet ids not yet acknowledged; the broker repeats them with the same id when it loses patience."""
        self._acks: list[int] = []
        self._filters: list[str] = []
        self._paused = False

    # -- the connection ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports keep the contract without being subclasses.
        sender = cast(asyncio.Transport, transport)
        self._transport = sender
        address = self._address
        sender.write(wire.connect(address.client_id, address.user, address.password, KEEPALIVE_S))
        self._filters = self._ingest.reception.filters
        sender.write(wire.subscribe(self._filters))

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.why = str(exc) or type(exc).__name__
        if not self.ready.done():
            self.ready.set_exception(WireFault(self.why))
        if not self._closed.done():
            self._closed.set_result(None)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._wire.feed(data)
        except WireFault as fault:
            self.why = str(fault)
            self.abort()
            return
        if not self.ready.done() and self._wire.subscribed is not None:
            self._note_refused(self._wire.subscribed)
            self.ready.set_result(None)
        if messages:
            self._take(messages)

    def abort(self) -> None:
        """Give the connection up at once."""
        if self._transport is not None:
            self._transport.abort()

    async def until(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set or the connection is lost."""
        stopping = asyncio.ensure_future(stop.wait())
        beat = asyncio.ensure_future(self._beat())
        await asyncio.wait({stopping, self._closed}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        beat.cancel()

    async def leave(self) -> None:
        """Write down and acknowledge what was taken, then say goodbye."""
        if self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        with suppress(asyncio.TimeoutError):
            async with asyncio.timeout(3):
                await self._ingest.collector.drained()
        self._send_acks()
        if self._transport is not None:
            self._transport.write(wire.GOODBYE)
            self._transport.close()
        await self._closed

    async def _beat(self) -> None:
        """Keep the connection alive and its subscriptions right."""
        while True:
            before = self._wire.pongs
            if self._transport is not None:
                self._transport.write(wire.PING)
            for _ in range(KEEPALIVE_S // 2):
                await asyncio.sleep(1)
                self._follow_models()
            if self._wire.pongs == before and not self._paused:
                self.why = "the broker does not answer"
                self.abort()

    def _follow_models(self) -> None:
        wanted = self._ingest.reception.filters
        if wanted == self._filters or self._transport is None:
            return
        new = [name for name in wanted if name not in self._filters]
        old = [name for name in self._filters if name not in wanted]
        if new:
            self._transport.write(wire.subscribe(new))
        if old:
            self._transport.write(wire.unsubscribe(old))
        self._filters = wanted

    def _note_refused(self, codes: bytes) -> None:
        for name, code in zip(self._filters, codes, strict=False):
            if code & 0x80:
                log.error("subscription_refused", topic=name)

    # -- messages ---------------------------------------------------------------------------------------------------

    def _take(self, messages: Sequence[Incoming]) -> None:
        ingest, held, acks = self._ingest, self._held, self._acks
        now = ingest.hub.clock.now()
        keys = ingest.keys
        for message in messages:
            mid = message.mid
            if mid in held:
                continue  # the broker lost patience while the database has not; it is on its way
            topic = message.topic
            key = keys.by_topic(topic)
            sender = STRANGER if key is None else key.name
            source = Source(
                DOOR, sender, topic, now, message.payload, again=message.again, mid=mid, settled=self._settled
            )
            if not ingest.admit(key):
                ingest.throttled(source, key)
                if mid:
                    acks.append(mid)
                continue
            if mid:
                held.add(mid)
            if key is None:
                ingest.charge(None, 0, message.size, now)
                ingest.refuse(source, _refused(no.UnknownKey(key=topic[:100])), size=message.size)
            elif message.size > len(message.payload):
                ingest.charge(key, 0, message.size, now)
                error = no.TooLarge(what="bytes", size=message.size, most=ingest.limits.message)
                ingest.refuse(source, _refused(error), size=message.size)
            else:
                ingest.receive(source, key)
        if acks:
            self._send_acks()
        if not self._paused and not ingest.collector.has_room and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
            ingest.collector.when_room(self._resume)

    def _settled(self, source: Source) -> None:
        """All of a message is committed: tell the broker, many in one packet."""
        mid = source.mid
        if mid:
            self._held.discard(mid)
            if not self._acks:
                self._loop.call_soon(self._send_acks)
            self._acks.append(mid)

    def _send_acks(self) -> None:
        if self._acks and self._transport is not None:
            self._transport.write(wire.acknowledge(self._acks))
        self._acks.clear()

    def _resume(self) -> None:
        self._paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()


def _refused(error: no.Refusal) -> Understood:
    return Understood([], [Refused(error)])
