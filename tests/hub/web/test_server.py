"""The door behind the real web server: what a byte-counting client sees on the socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.anyio

ROOT = b"/ngsi-ld/v1"
JSON = b"Content-Type: application/json\r\n"


class Reply(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Line:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(
        self, method: bytes, path: bytes, headers: bytes = b"", body: bytes = b"", *, head: bool = False
    ) -> Reply:
        """Send a request and read its answer exactly as far as its headers say."""
        self.writer.write(b"%b %b%b HTTP/1.1\r\nHost: localhost\r\n%b\r\n%b" % (method, ROOT, path, headers, body))
        return await self.read(empty=head)

    async def read(self, *, empty: bool = False) -> Reply:
        async with asyncio.timeout(20):
            raw = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = raw.strip().split(b"\r\n")
            headers = dict(line.lower().split(b": ", 1) for line in lines)
            size = 0 if empty else int(headers.get(b"content-length", b"0"))
            return Reply(int(first.split()[1]), headers, await self.reader.readexactly(size))

    async def rest(self) -> bytes:
        """What comes until the server closes or says nothing for a moment."""
        try:
            return await asyncio.wait_for(self.reader.read(100), 0.2)
        except TimeoutError:
            return b""


@pytest.fixture(scope="module")
async def port(migrated: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    environment = {
        **os.environ,
        "SEJONG_DATABASE_URL": migrated,
        "SEJONG_CITY": "testville",
        "SEJONG_PORT": str(number),
        "SEJONG_STATE": str(tmp_path_factory.mktemp("web")),
        "SEJONG_MAX_BODY_MB": "1",
    }
    server = await asyncio.create_subprocess_exec(sys.executable, "-m", "sejong", "web", env=environment)
    try:
        for _ in range(300):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", number)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            writer.close()
            break
        yield number
    finally:
        server.send_signal(signal.SIGTERM)
        await asyncio.wait_for(server.wait(), 20)


@pytest.fixture
async def line(port: int, empty: str) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Line(reader, writer)
    writer.close()


def lamp(tail: str = "1", **more: Any) -> tuple[bytes, bytes]:
    """Headers and body of an entity."""
    import json

    body = json.dumps(
        {"id": f"urn:ngsi-ld:Lamp:{tail}", "type": "Lamp", "power": 1, **more}, ensure_ascii=False
    ).encode()
    return JSON + b"Content-Length: %d\r\n" % len(body), body


async def test_bodies_and_lengths(line: Line) -> None:
    made = await line.ask(b"POST", b"/entities", *lamp())
    assert (made.status, made.body) == (201, b"")
    patched = await line.ask(
        b"PATCH", b"/entities/urn:ngsi-ld:Lamp:1/attrs", JSON + b"Content-Length: 11\r\n", b'{"power":2}'
    )
    assert patched.status == 204
    assert b"content-length" not in patched.headers
    assert b"transfer-encoding" not in patched.headers
    got = await line.ask(b"GET", b"/entities/urn:ngsi-ld:Lamp:1/")
    assert got.status == 200
    head = await line.ask(b"HEAD", b"/entities/urn:ngsi-ld:Lamp:1", head=True)
    assert head.headers[b"content-length"] == got.headers[b"content-length"]
    options = await line.ask(b"OPTIONS", b"/entities/")
    assert options.status == 204
    assert b"delete" in options.headers[b"allow"]
    gone = await line.ask(b"DELETE", b"/entities/urn:ngsi-ld:Lamp:1")
    assert gone.status == 204
    assert b"content-length" not in gone.headers
    assert (await line.ask(b"GET", b"/entities/urn:ngsi-ld:Lamp:1")).status == 404
    assert await line.rest() == b""


async def test_ids_with_slashes_and_letters_of_any_script(line: Line) -> None:
    for tail, segment in {"a/b": b"a%2Fb", "a%2Fb": b"a%252Fb", "나": b"%EB%82%98"}.items():
        made = await line.ask(b"POST", b"/entities", *lamp(tail))
        assert made.status == 201
        assert made.headers[b"location"].endswith(b":" + segment.lower())
        for path in (b"/entities/urn:ngsi-ld:Lamp:" + segment, b"/entities/urn%3Angsi-ld%3ALamp%3A" + segment):
            got = await line.ask(b"GET", path)
            assert got.status == 200
            assert f'"urn:ngsi-ld:Lamp:{tail}"'.encode() in got.body


async def test_a_body_needs_a_length_or_chunks(line: Line) -> None:
    refused = await line.ask(b"POST", b"/entities", JSON)
    assert (refused.status, refused.body) == (411, b"")
    _, body = lamp()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    made = await line.ask(b"POST", b"/entities", JSON + b"Transfer-Encoding: chunked\r\n", chunks)
    assert made.status == 201
    empty = await line.ask(b"POST", b"/entities", JSON + b"Content-Length: 0\r\n")
    assert empty.status == 400


async def test_a_connection_survives_refusals(line: Line) -> None:
    wrong = [
        (b"PUT", b"/entities", b"Content-Length: 3\r\n", b"abc", 405),
        (b"POST", b"/entities", b"Content-Type: text/plain\r\nContent-Length: 3\r\n", b"abc", 415),
        (b"POST", b"/entities", JSON + b"Content-Length: 3\r\n", b"abc", 400),
        (b"GET", b"/entities/nouri", b"", b"", 400),
        (b"GET", b"/entities?type=A&nonsense=1", b"Content-Length: 3\r\n", b"abc", 400),
        (b"GET", b"/types", b"Accept: text/html\r\n", b"", 406),
        (b"GET", b"/nothing", b"", b"", 404),
        (b"DELETE", b"/entities/urn:x:1", b"NGSILD-Tenant: nobody\r\n", b"", 404),
    ]
    for method, path, headers, body, status in wrong:
        assert (await line.ask(method, path, headers, body)).status == status
    assert (await line.ask(b"GET", b"/types")).status == 200


async def test_bodies_that_are_too_large(port: int, line: Line) -> None:
    stated = await line.ask(b"POST", b"/entities", JSON + b"Content-Length: 1048577\r\n", b"{")
    assert stated.status == 413
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    other = Line(reader, writer)
    other.writer.write(b"POST %b/entities HTTP/1.1\r\nHost: x\r\n%bTransfer-Encoding: chunked\r\n\r\n" % (ROOT, JSON))
    part = b"10000\r\n" + b" " * 65536 + b"\r\n"
    for _ in range(20):
        other.writer.write(part)
    assert (await other.read()).status == 413
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert (await Line(reader, writer).ask(b"GET", b"/types")).status == 200
    writer.close()


async def test_requests_in_a_row_without_waiting(line: Line) -> None:
    """Pipelined requests are answered in order."""
    for tail in "abc":
        headers, body = lamp(tail)
        line.writer.write(b"POST %b/entities HTTP/1.1\r\nHost: x\r\n%b\r\n%b" % (ROOT, headers, body))
    assert [(await line.read()).headers[b"location"][-1:] for _ in range(3)] == [b"a", b"b", b"c"]


async def test_clients_that_hang_up(port: int, line: Line) -> None:
    """Half a body and a closed socket harm nobody, and a write under way is carried out or not at all."""
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST %b/entities HTTP/1.1\r\nHost: x\r\n%bContent-Length: 500\r\n\r\n{" % (ROOT, JSON))
        await writer.drain()
        writer.close()
    for number in range(20):
        headers, body = lamp(f"h{number}")
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST %b/entities HTTP/1.1\r\nHost: x\r\n%b\r\n%b" % (ROOT, headers, body))
        await writer.drain()
        writer.close()
    assert (await line.ask(b"POST", b"/entities", *lamp("last"))).status == 201
    found = await line.ask(b"GET", b"/entities?type=Lamp&limit=100&pick=id,power")
    assert found.body.count(b"urn:ngsi-ld:Lamp:") == found.body.count(b'"power"')
