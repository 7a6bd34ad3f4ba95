"""A small HTTP/1.1 load generator on raw sockets: it must cost far less than what it measures."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable

import msgspec


class Load(msgspec.Struct, frozen=True):
    """What one round of load gave."""

    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    n: int
    errors: int


def request(method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
    """The bytes of one request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}"
    if body or method in ("POST", "PATCH", "PUT"):
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


async def answered(reader: asyncio.StreamReader) -> int:
    """Read one whole answer; its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lowered = head.lower()
    at = lowered.find(b"content-length:")
    if at >= 0:
        size = int(lowered[at + 15 : lowered.index(b"\r", at)])
        if size:
            await reader.readexactly(size)
    elif b"transfer-encoding: chunked" in lowered:
        while (size := int((await reader.readline()).strip(), 16)) > 0:
            await reader.readexactly(size + 2)
        await reader.readline()
    return status


async def drive(port: int, make: Callable[[int], bytes], *, connections: int, seconds: float) -> Load:
    """Keep `connections` requests in flight for `seconds`; `make(n)` gives the n-th request."""
    times: list[float] = []
    errors = count = 0
    end = time.perf_counter() + seconds

    async def one() -> None:
        nonlocal errors, count
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            count += 1
            started = time.perf_counter()
            writer.write(make(count))
            status = await answered(reader)
            times.append(time.perf_counter() - started)
            errors += status >= 400
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    took = time.perf_counter() - started
    cuts = statistics.quantiles(times, n=100)
    return Load(
        round(len(times) / took, 1),
        *(round(cuts[at] * 1e3, 2) for at in (49, 94)),
        round(cuts[98] * 1e3, 2),
        len(times),
        errors,
    )
