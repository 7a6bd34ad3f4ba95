"""Posting notifications over HTTP/1.1 on connections that are kept.

Why our own: a thousand notifications a second cost a usual client library most of a processor; this costs a fraction,
connects to the very address that was checked, and never follows a redirect. A POST that met a connection the receiver
had just closed is sent again on a new one. Sources: RFC 9110, RFC 9112 (section numbers below).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import SplitResult, quote

from sejong.hub.notify.address import DeliveryFailed, allowed_address
from sejong.kernel.clock import Clock

LARGEST_HEAD = 64 << 10
LARGEST_BODY = 1 << 20
"""Bytes of an answer that are read to keep a connection; nobody looks at them. Chosen."""
KEPT_PER_RECEIVER = 16
KEPT_FOR = 15.0
"""Seconds an idle connection is kept. Chosen below the usual timeouts of servers."""

Place = tuple[str, str, int]
"""Scheme, host, port."""


class _Closed(Exception):
    """The receiver closed a kept connection before it answered."""


class _Line:
    """One connection to a receiver."""

    __slots__ = ("reader", "since", "writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.since = reader, writer, 0.0

    def close(self) -> None:
        """Let it go without a word."""
        with suppress(OSError, RuntimeError):
            self.writer.transport.abort()


class HttpSender:
    """Sends bodies to receivers; safe to share between all subscriptions of a process."""

    def __init__(self, clock: Clock, egress: str) -> None:
        self._clock, self._egress = clock, egress
        self._idle: dict[Place, deque[_Line]] = {}
        self._tls: ssl.SSLContext | None = None

    def close(self) -> None:
        """Close what is kept."""
        for lines in self._idle.values():
            for line in lines:
                line.close()
        self._idle.clear()

    def tidy(self) -> None:
        """Close connections nobody has used for a while, and forget receivers nobody has told anything."""
        before = self._clock.monotonic() - KEPT_FOR
        for place, lines in list(self._idle.items()):
            while lines and (lines[0].since < before or lines[0].reader.at_eof()):
                lines.popleft().close()
            if not lines:
                del self._idle[place]

    async def post(self, parts: SplitResult, headers: Mapping[str, str], body: bytes) -> None:
        """Deliver one body. Raises DeliveryFailed unless the receiver answers 2xx; the caller sets the time limit."""
        place = (parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        request = _request(parts, headers, len(body)) + body
        line = self._kept(place)
        try:
            if line is not None:
                try:
                    status = await self._exchange(place, line, request)
                except _Closed:
                    status = await self._exchange(place, await self._connect(place), request)
            else:
                status = await self._exchange(place, await self._connect(place), request)
        except _Closed:
            raise DeliveryFailed("the connection was closed before an answer came") from None
        except (OSError, ssl.SSLError, EOFError, ValueError) as error:
            raise DeliveryFailed(str(error) or type(error).__name__) from error
        if not 200 <= status < 300:
            raise DeliveryFailed(f"answered {status}")

    def _kept(self, place: Place) -> _Line | None:
        lines = self._idle.get(place)
        while lines:
            line = lines.pop()
            if self._clock.monotonic() - line.since < KEPT_FOR and not line.reader.at_eof():
                return line
            line.close()
        return None

    async def _connect(self, place: Place) -> _Line:
        scheme, host, port = place
        address = await allowed_address(host, port, self._egress)
        secure = None
        if scheme == "https":
            if self._tls is None:
                self._tls = ssl.create_default_context()
            secure = self._tls
        try:
            reader, writer = await asyncio.open_connection(
                address, port, ssl=secure, server_hostname=host if secure else None, limit=LARGEST_HEAD
            )
        except OSError as error:
            raise DeliveryFailed(f"{host}:{port}: {error}") from error
        return _Line(reader, writer)

    async def _exchange(self, place: Place, line: _Line, request: bytes) -> int:
        kept = False
        try:
            line.writer.write(request)
            status, kept = await _answer(line.reader)
            return status
        finally:
            lines = self._idle.setdefault(place, deque())
            if kept and len(lines) < KEPT_PER_RECEIVER:
                line.since = self._clock.monotonic()
                lines.append(line)
            else:
                line.close()


def _request(parts: SplitResult, headers: Mapping[str, str], length: int) -> bytes:
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (
        "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?[]") if parts.query else ""
    )
    host = parts.netloc.rpartition("@")[2].encode("idna" if parts.netloc.isascii() is False else "ascii").decode()
    fields = [f"POST {target} HTTP/1.1", f"Host: {host}", "User-Agent: sejong", f"Content-Length: {length}"]
    fields.extend(f"{name}: {value}" for name, value in headers.items())
    if parts.username and "authorization" not in {name.lower() for name in headers}:
        fields.append(f"Authorization: {_basic(parts)}")
    return ("\r\n".join(fields) + "\r\n\r\n").encode("latin-1", "replace")


def _basic(parts: SplitResult) -> str:
    from base64 import b64encode
    from urllib.parse import unquote

    return "Basic " + b64encode(f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()).decode()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The status of an answer, and whether the connection can be used again (RFC 9112 §6.3, §9.3)."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if not error.partial:
                raise _Closed from None
            raise DeliveryFailed("the answer broke off") from error
        except ConnectionError:
            raise _Closed from None
        except asyncio.LimitOverrunError as error:
            raise DeliveryFailed("the head of the answer is too long") from error
        if not head.startswith(b"HTTP/1.") or not head[9:12].isdigit():
            raise DeliveryFailed("the answer is not HTTP/1.1")
        status = int(head[9:12])
        if status >= 200:
            break
    fields = _fields(head)
    kept = head.startswith(b"HTTP/1.1") and "close" not in fields.get("connection", "").lower()
    if status in (204, 304):  # has no body; who announces one anyway may send it and spoil the next answer
        return status, kept and fields.get("content-length", "0") == "0"
    # The status is known: whatever is wrong with the rest costs the connection, not the delivery.
    try:
        return status, await _skip_body(reader, fields) and kept
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        return status, False


def _fields(head: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        found[name.strip().lower()] = value.strip()
    return found


async def _skip_body(reader: asyncio.StreamReader, fields: Mapping[str, str]) -> bool:
    """Read past the body; False when its end cannot be told or is too far away."""
    if "chunked" in fields.get("transfer-encoding", "").lower():
        total = 0
        while True:
            size = int((await reader.readline()).split(b";")[0].strip() or b"x", 16)
            total += size
            if total > LARGEST_BODY:
                return False
            await reader.readexactly(size + 2)
            if size == 0:
                return True
    length = fields.get("content-length", "")
    if not length.isascii() or not length.isdigit() or int(length) > LARGEST_BODY:
        return False
    await reader.readexactly(int(length))
    return True
