"""Several hubs on one machine, each with a database, an address and a name of its own."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.types import ASGIApp
from tests.hub.web.conftest import Door

from sejong.hub.service import Hub
from sejong.kit.city import City


class Wire:
    """A web server on this machine: an ASGI application behind real sockets, one request per connection."""

    def __init__(self, app: ASGIApp | None = None) -> None:
        self.app = app
        self.url = ""
        self.hangs = False
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: tuple[int, bytes] | None = None
        self._server: asyncio.Server | None = None
        self.open: set[asyncio.StreamWriter] = set()

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Close the port: whoever calls now is refused."""
        if self._server is not None:
            self._server.close()
        for writer in list(self.open):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head, *lines = (await reader.readuntil(b"\r\n\r\n")).strip().split(b"\r\n")
            headers = [(k.lower(), v.strip()) for k, _, v in (line.partition(b":") for line in lines)]
            body = await reader.readexactly(int(dict(headers).get(b"content-length", b"0")))
            method, target, _ = head.split(b" ")
            plain = {k.decode(): v.decode() for k, v in headers}
            self.requests.append((method.decode(), target.decode(), plain, body))
            if self.hangs:
                await asyncio.sleep(30)
            status, fields, out = await self._answered(method, target, headers, body)
            text = b"".join(b"%b: %b\r\n" % field for field in fields if field[0] != b"content-length")
            writer.write(
                b"HTTP/1.1 %d x\r\n%bcontent-length: %d\r\nconnection: close\r\n\r\n" % (status, text, len(out))
            )
            writer.write(out)
            await writer.drain()
        self.open.discard(writer)
        writer.close()

    async def _answered(
        self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        if self.answer is not None or self.app is None:
            status, out = self.answer or (404, b"")
            return status, [(b"content-type", b"application/json")], out
        path, _, query = target.partition(b"?")
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method.decode(),
            "path": unquote(path.decode()),
            "raw_path": path,
            "query_string": query,
            "headers": headers,
        }
        said: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            said.append(message)

        await self.app(scope, receive, send)
        return said[0]["status"], said[0]["headers"], b"".join(one.get("body", b"") for one in said[1:])


class Town:
    """One city with its hub and its web server."""

    def __init__(self, name: str, city: City, wire: Wire, ask: Door) -> None:
        self.name, self.city, self.wire, self.ask = name, city, wire, ask

    @property
    def hub(self) -> Hub:
        return self.city.part(Hub)

    async def knows(self, other: Town | Wire, information: Any = None, **more: Any) -> str:
        """Register another town (or any server) as a source of lamps here; the registration's id."""
        name = other.name if isinstance(other, Town) else "wire"
        url = other.wire.url if isinstance(other, Town) else other.url
        alias = {"contextSourceAlias": other.name} if isinstance(other, Town) else {}
        doc = {
            "id": f"urn:ngsi-ld:ContextSourceRegistration:{name}",
            "type": "ContextSourceRegistration",
            "information": information or [{"entities": [{"type": "Lamp"}]}],
            "endpoint": url,
            **alias,
            **more,
        }
        body = {key: value for key, value in doc.items() if value is not None}
        await self.ask("POST", "/csourceRegistrations", 201, json=body)
        return doc["id"]


def lamp(tail: str, **attributes: Any) -> dict[str, Any]:
    """A street lamp."""
    return {"id": f"urn:ngsi-ld:Lamp:{tail}", "type": "Lamp", **attributes}


def told(*entities: Any) -> tuple[int, bytes]:
    """An answer with these entities."""
    return 200, msgspec.json.encode(list(entities))
