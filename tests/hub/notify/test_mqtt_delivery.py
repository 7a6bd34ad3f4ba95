"""Notifications over MQTT 3.1.1 and 5 with every quality of service, and brokers that do not work."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import bcrypt
import pytest
from tests.hub.notify.conftest import subscribe, until

from sejong.hub.notify.deliverer import Deliverer
from sejong.kit.embedded_broker import Broker, BrokerUser

pytestmark = pytest.mark.anyio

LAMP = {"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp", "power": 5}
CONNECT, PUBLISH, PUBREL = 1, 3, 6


class FakeBroker:
    """Speaks just enough MQTT, written from the OASIS texts: 3.1.1 sections 3.1-3.7 and 5.0 sections 3.1-3.7."""

    def __init__(self, manner: str = "well") -> None:
        self.manner = manner
        self.levels: list[int] = []
        self.users: list[tuple[str, str] | None] = []
        self.got: list[tuple[str, int, Any]] = []
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[FakeBroker]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield self
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            level = 4
            while True:
                first = (await reader.readexactly(1))[0]
                body = await reader.readexactly(await _length(reader))
                if first >> 4 == CONNECT:
                    level = body[6]
                    self.levels.append(level)
                    if self.manner == "silent":
                        await asyncio.sleep(3600)
                    code = 0 if self.manner != "refuse" else 0x87 if level == 5 else 5
                    writer.write(bytes((0x20, 3, 0, code, 0)) if level == 5 else bytes((0x20, 2, 0, code)))
                elif first >> 4 == PUBLISH:
                    self._published(first, body, level, writer)
                elif first >> 4 == PUBREL:
                    writer.write(b"\x70\x02" + body[:2])
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    def _published(self, first: int, body: bytes, level: int, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(body[:2], "big")
        topic, rest, qos = body[2 : 2 + size].decode(), body[2 + size :], first >> 1 & 3
        mid = b""
        if qos:
            mid, rest = rest[:2], rest[2:]
        if level == 5:
            rest = rest[1 + rest[0] :]
        self.got.append((topic, qos, json.loads(rest)))
        if self.manner == "mute":
            return
        if qos:
            writer.write((b"\x40\x02" if qos == 1 else b"\x50\x02") + mid)


async def _length(reader: asyncio.StreamReader) -> int:
    total, shift = 0, 0
    while True:
        digit = (await reader.readexactly(1))[0]
        total |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            return total


def wants(version: str, qos: int) -> dict[str, Any]:
    pairs = [{"key": "MQTT-Version", "value": version}, {"key": "MQTT-QoS", "value": str(qos)}]
    return {"notifierInfo": pairs, "receiverInfo": [{"key": "X-Key", "value": "s"}]}


async def test_versions_and_qualities_of_service(ask: Any) -> None:
    async with FakeBroker().listening() as broker:
        cases = [("mqtt3.1.1", qos) for qos in (0, 1, 2)] + [("mqtt5.0", qos) for qos in (0, 1, 2)]
        for version, qos in cases:
            uri = f"mqtt://127.0.0.1:{broker.port}/city/{version[4]}/{qos}"
            await subscribe(ask, uri, f"{version}-{qos}", endpoint=wants(version, qos))
        await subscribe(ask, f"mqtt://127.0.0.1:{broker.port}/plain%20topic", "plain")
        await ask.make(LAMP)
        await until(lambda: len(broker.got) == 7)
        assert sorted((topic, qos) for topic, qos, _ in broker.got) == sorted(
            [*((f"city/{version[4]}/{qos}", qos) for version, qos in cases), ("plain topic", 0)]
        )
        assert sorted(broker.levels) == [4, 5]
        for topic, _, message in broker.got:
            assert message["body"]["data"][0]["power"]["value"] == 5
            metadata = message["metadata"]
            assert metadata["Content-Type"] == "application/json"
            assert "ngsi-ld-core-context" in metadata["Link"]
            assert metadata.get("X-Key") == ("s" if topic != "plain topic" else None)
        for version, qos in cases:
            await until(lambda version=version, qos=qos: sent(ask, f"urn:s:{version}-{qos}", "ok"))


async def sent(ask: Any, subscription_id: str, status: str) -> bool:
    kept = (await ask("GET", f"/subscriptions/{subscription_id}", 200)).json()["notification"]
    return kept.get("status") == status


async def test_brokers_that_do_not_work_are_tried_again_and_hurt_nobody(ask: Any, city: Any, receiver: Any) -> None:
    async with (
        FakeBroker("silent").listening() as silent,
        FakeBroker("refuse").listening() as refusing,
        FakeBroker("mute").listening() as mute,
    ):
        for name, port in (("silent", silent.port), ("refuse", refusing.port), ("mute", mute.port), ("nobody", 1)):
            uri = f"mqtt://127.0.0.1:{port}/a"
            await subscribe(ask, uri, name, endpoint={**wants("mqtt5.0", 1), "timeout": 400})
        await subscribe(ask, receiver.url(), "http")
        await ask.make(LAMP)
        await receiver.wait(1, seconds=3)
        for name in ("silent", "refuse", "mute", "nobody"):
            await until(lambda name=name: sent(ask, f"urn:s:{name}", "failed"))
        mute.manner = refusing.manner = "well"
        await until(lambda: sent(ask, "urn:s:mute", "ok"))
        await until(lambda: sent(ask, "urn:s:refuse", "ok"))
        assert len({message["body"]["id"] for _, _, message in mute.got}) == 1
        assert {line.sub for line in city.part(Deliverer).lines.values() if line.why}


@pytest.fixture
def real_broker() -> Iterator[Broker]:
    """The city's own broker: MQTT 3.1.1 as somebody else understands it."""
    folder = Path(tempfile.mkdtemp(prefix="sejong-test-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    hashed = bcrypt.hashpw(b"pw", bcrypt.gensalt(4)).decode()
    running = Broker(folder, port=port)
    running.start([BrokerUser("hub", hashed, ("told/#",), ()), BrokerUser("app", hashed, (), ("told/#",))])
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


async def test_a_real_broker_passes_them_on(ask: Any, real_broker: Broker) -> None:
    async with aiomqtt.Client("127.0.0.1", real_broker.port, username="app", password="pw") as app:
        await app.subscribe("told/#", qos=1)
        for qos in (0, 1, 2):
            uri = f"mqtt://hub:pw@127.0.0.1:{real_broker.port}/told/{qos}"
            await subscribe(ask, uri, str(qos), endpoint=wants("mqtt3.1.1", qos))
        await ask.make(LAMP)
        got: dict[str, Any] = {}
        async with asyncio.timeout(8):
            async for message in app.messages:
                got[str(message.topic)] = json.loads(message.payload)  # type: ignore[arg-type]
                if len(got) == 3:
                    break
    assert got.keys() == {"told/0", "told/1", "told/2"}
    assert all(message["body"]["data"][0]["id"] == LAMP["id"] for message in got.values())
