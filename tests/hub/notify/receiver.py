"""A receiver of notifications that behaves as it is told: well, or in one of the ways receivers go wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any


class Receiver:
    """Listens on a port of this machine; `got` holds what came, by path."""

    def __init__(self) -> None:
        self.got: dict[str, list[dict[str, Any]]] = {}
        self.headers: list[dict[str, str]] = []
        self.manner: dict[str, str] = {}
        self.connections = 0
        self.port = 0
        self._news = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, path: str = "/told") -> str:
        """Where to send to."""
        return f"http://127.0.0.1:{self.port}{path}"

    def bodies(self, path: str = "/told") -> list[dict[str, Any]]:
        """The notifications that came."""
        return self.got.get(path, [])

    async def wait(self, count: int, path: str = "/told", seconds: float = 8) -> list[dict[str, Any]]:
        """The notifications once there are `count`."""
        async with asyncio.timeout(seconds):
            while len(self.bodies(path)) < count:
                self._news.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), 0.5)
        return self.bodies(path)

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[Receiver]:
        """Open the door."""
        self._server = await asyncio.start_server(self._welcome, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._serve(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split()[1]
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        body = json.loads(await reader.readexactly(int(fields["Content-Length"])))
        manner = self.manner.get(path, "200")
        self.headers.append(fields)
        if manner == "hang":
            await asyncio.sleep(3600)
        self.got.setdefault(path, []).append(body)
        self._news.set()
        if manner == "close":
            return False
        if manner == "half":
            writer.write(b"HTTP/1.1 200 O")
            return False
        if manner == "garbage":
            writer.write(b"ICY 200 OK\r\n\r\n")
        elif manner == "redirect":
            writer.write(f"HTTP/1.1 307 T\r\nLocation: {self.url('/elsewhere')}\r\nContent-Length: 0\r\n\r\n".encode())
        elif manner == "chunked":
            writer.write(
                b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            )
        elif manner == "last":
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()
            return False
        elif manner == "endless":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100)
        else:
            writer.write(f"HTTP/1.1 {manner} X\r\nContent-Length: 2\r\n\r\nok".encode())
        await writer.drain()
        return True
