"""Publishing notifications to MQTT brokers of the subscribers' choice, on connections that are kept.

Source: ETSI GS CIM 009 v1.9.1 clause 7.2; OASIS MQTT 3.1.1 and 5.0.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote

from sejong.hub.ngsi.members import Doc
from sejong.hub.ngsi.subscription_endpoint import PORTS, pairs, topic_of
from sejong.hub.notify.address import DeliveryFailed, allowed_address

if TYPE_CHECKING:
    from aiomqtt import Client

MOST_BROKERS = 100
"""Connections kept; the one used least lately makes room. Chosen."""
CONNECTING_AT_ONCE = 2
"""The client library connects in a thread; a broker that hangs must not take all threads. Chosen."""


class _Broker:
    """One connection."""

    def __init__(self) -> None:
        self.client: Client | None = None
        self.opening = asyncio.Lock()
        self.watch: asyncio.Task[None] | None = None


class MqttSender:
    """Publishes to brokers; safe to share between all subscriptions of a process."""

    def __init__(self, egress: str) -> None:
        self._egress = egress
        self._brokers: dict[tuple[str, str, str], _Broker] = {}
        self._connecting = asyncio.Semaphore(CONNECTING_AT_ONCE)
        self._leaving: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Say goodbye to every broker."""
        for broker in self._brokers.values():
            self._leave(broker)
        self._brokers.clear()
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=1)

    async def publish(self, parts: SplitResult, endpoint: Doc, payload: bytes, seconds: float) -> None:
        """Deliver one message with the quality of service the endpoint asks for. Raises DeliveryFailed."""
        import aiomqtt

        info = dict(pairs(endpoint, "notifierInfo"))
        version, qos = info.get("MQTT-Version", "mqtt5.0"), int(info.get("MQTT-QoS", "0"))
        key = (parts.scheme, parts.netloc, version)
        broker = self._brokers.pop(key, None) or _Broker()
        self._brokers[key] = broker
        while len(self._brokers) > MOST_BROKERS:
            self._leave(self._brokers.pop(next(iter(self._brokers))))
        try:
            async with broker.opening:
                if broker.client is None:
                    broker.client = await self._connect(parts, version, seconds)
                    broker.watch = asyncio.create_task(self._notice_end(broker, broker.client))
            await broker.client.publish(topic_of(parts), payload, qos=qos, timeout=seconds)
        except (aiomqtt.MqttError, OSError, ValueError, TimeoutError, asyncio.CancelledError) as error:
            self._leave(broker)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise DeliveryFailed(f"{parts.hostname}: {str(error) or type(error).__name__}") from error

    async def _connect(self, parts: SplitResult, version: str, seconds: float) -> Client:
        import aiomqtt

        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        address = await allowed_address(host, port, self._egress)
        await _answers(address, port, seconds)
        secure = ssl.create_default_context() if parts.scheme == "mqtts" else None
        client = aiomqtt.Client(
            # A certificate is for a name, so with TLS the name is what is connected to.
            hostname=host if secure else address,
            port=port,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            protocol=aiomqtt.ProtocolVersion.V311 if version == "mqtt3.1.1" else aiomqtt.ProtocolVersion.V5,
            tls_context=secure,
            timeout=seconds,
            max_inflight_messages=200,
        )
        async with self._connecting:
            await client.__aenter__()
        return client

    async def _notice_end(self, broker: _Broker, client: Client) -> None:
        """Learn that a connection is lost before something is published into nothing."""
        import aiomqtt

        with suppress(aiomqtt.MqttError):
            async for _ in client.messages:
                pass
        if broker.client is client:
            broker.client = broker.watch = None

    def _leave(self, broker: _Broker) -> None:
        """Give a connection up without waiting for its end."""
        client, broker.client = broker.client, None
        if broker.watch is not None:
            broker.watch.cancel()
            broker.watch = None
        if client is not None:
            task = asyncio.create_task(_goodbye(client))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)


async def _answers(address: str, port: int, seconds: float) -> None:
    """Find out whether anybody is there before a thread is spent on it. Raises OSError, TimeoutError."""
    async with asyncio.timeout(seconds):
        _, writer = await asyncio.open_connection(address, port)
    writer.transport.abort()


async def _goodbye(client: Client) -> None:
    # The broker may be gone already, in any way the library knows.
    with suppress(Exception):
        try:
            await client.__aexit__(None, None, None)
        finally:
            await anext(aiter(client.messages))  # hears the reason of the end, which else would be logged as unheard


def mqtt_message(headers: Mapping[str, str], body: Doc) -> dict[str, Any]:
    """What is published: the header fields as metadata, and the notification."""
    return {"metadata": dict(headers), "body": body}
