"""Calling context sources: in time, never in circles, not while they recover, and only where the city allows it.

Source: ETSI GS CIM 009 v1.9.1 clauses 4.3.6, 5.2.34 (management), 5.2.41, 6.3.17 (warnings), 6.3.18 (Via).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

import httpx
import msgspec

from sejong.hub.egress import AddressRefused, check_address
from sejong.hub.ngsi.sourcing import Source
from sejong.hub.registry import Registry
from sejong.kernel.clock import Clock

Why = Literal["timeout", "loop", "unreachable", "refused", "status", "invalid"]
WARNINGS: dict[Why, int] = {
    "timeout": 199,
    "loop": 199,
    "unreachable": 199,
    "refused": 199,
    "status": 299,
    "invalid": 111,
}
"""The codes of `NGSILD-Warning`."""
STALE = 110
LARGEST_ANSWER = 64 << 20
"""Bytes of one answer of a source accepted at most. Chosen."""
MOST_CACHED = 500
AS_REQUESTED = "urn:ngsi-ld:request"
"""The value of a contextSourceInfo pair that stands for the header of the request that is passed on."""
_OURS = frozenset(
    {"ngsild-tenant", "content-length", "host", "via", "connection", "transfer-encoding", "content-type", "link"}
)
"""Headers a registration cannot set by their names."""
_SPECIAL = {"accept": "Accept", "contenttype": "Content-Type"}
JSON = "application/json"


class SourceFault(Exception):
    """A source did not answer as it should; `status` is what it answered, if it did."""

    def __init__(self, source: Source, why: Why, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.source, self.text, self.status = source, text, status
        self.why: Why = why

    def warning(self) -> str:
        """The fault as a value of `NGSILD-Warning`."""
        return warning(WARNINGS[self.why], self.source, self.text)


class Reply(msgspec.Struct):
    """What a source answered: status, JSON (None without a body), and what it warns of."""

    status: int
    body: Any
    headers: Mapping[str, str]
    stale: bool = False


class Origin(msgspec.Struct, frozen=True):
    """The request that makes calls necessary: whose, with which headers, and through which hubs it came."""

    tenant: int
    alias: str
    """The name we add to `Via`."""
    headers: Mapping[str, str]
    via: tuple[str, ...] = ()


class Calls:
    """The calls of one process to context sources."""

    def __init__(self, registry: Registry, clock: Clock, *, egress: str, timeout: float) -> None:
        self._registry, self._clock, self._egress, self._timeout = registry, clock, egress, timeout
        self._client: httpx.AsyncClient | None = None
        self._resting: dict[tuple[int, str], float] = {}
        self._cache: dict[tuple[Any, ...], tuple[Reply, float]] = {}

    async def close(self) -> None:
        """Close the connections to sources."""
        if self._client is not None:
            await self._client.aclose()

    async def call(
        self,
        origin: Origin,
        source: Source,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Reply:
        """Ask a source; a Reply for every 2xx and 404. Raises SourceFault for anything else."""
        query = {**(params or {}), **({"local": "true"} if source.local_only else {})}
        url = f"{source.endpoint}/ngsi-ld/v1{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        reading = method == "GET" and source.cache > 0
        key = (origin.tenant, source.id, url, source.doc.get("tenant"))
        known = self._cache.get(key) if reading else None
        if known is not None and self._clock.monotonic() - known[1] <= source.cache:
            return known[0]
        try:
            reply = await self._sent(origin, source, method, url, body)
        except SourceFault as fault:
            if known is not None and fault.why != "loop":
                return msgspec.structs.replace(known[0], stale=True)
            raise
        if reading:
            if len(self._cache) >= MOST_CACHED:
                self._cache.clear()
            self._cache[key] = (reply, self._clock.monotonic())
        return reply

    async def _sent(self, origin: Origin, source: Source, method: str, url: str, body: Any) -> Reply:
        place = (origin.tenant, source.id)
        if self._clock.monotonic() < self._resting.get(place, 0.0):
            raise SourceFault(source, "unreachable", "it failed a moment ago and is left alone for a while")
        try:
            reply = await self._exchange(origin, source, method, url, body)
        except SourceFault as fault:
            self._registry.note_call(*place, ok=False)
            if source.cooldown and fault.why in ("timeout", "unreachable"):
                self._resting[place] = self._clock.monotonic() + source.cooldown
            raise
        self._registry.note_call(*place, ok=True)
        return reply

    async def _exchange(self, origin: Origin, source: Source, method: str, url: str, body: Any) -> Reply:
        if self._client is None:
            limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
            self._client = httpx.AsyncClient(timeout=None, follow_redirects=False, trust_env=False, limits=limits)
        timeout = source.timeout or self._timeout
        content = None if body is None else msgspec.json.encode(body)
        headers = headers_for(origin, source, with_body=content is not None)
        try:
            async with asyncio.timeout(timeout):
                await check_address(url, self._egress, "context sources")
                async with self._client.stream(method, url, content=content, headers=headers) as answer:
                    raw = bytearray()
                    async for part in answer.aiter_bytes():
                        raw += part
                        if len(raw) > LARGEST_ANSWER:
                            raise SourceFault(source, "invalid", "its answer is too large")
        except AddressRefused as refused:
            raise SourceFault(source, "refused", str(refused)) from refused
        except (TimeoutError, httpx.TimeoutException) as error:
            raise SourceFault(source, "timeout", f"no answer within {timeout:g} seconds") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            text = str(error) or type(error).__name__
            raise SourceFault(source, "unreachable", f"it cannot be reached: {text}") from error
        return _understood(source, answer, bytes(raw))


def _understood(source: Source, answer: httpx.Response, raw: bytes) -> Reply:
    status = answer.status_code
    if status == 508:
        raise SourceFault(source, "loop", "the request has come through it already", status)
    if status != 404 and not answer.is_success:
        raise SourceFault(source, "status", f"it answered {status}{_detail(raw)}", status)
    try:
        body = msgspec.json.decode(raw) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if status == 404:
            return Reply(status, None, answer.headers)
        raise SourceFault(source, "invalid", "its answer is not JSON") from error
    return Reply(status, body, answer.headers)


def _detail(raw: bytes) -> str:
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    said = (body.get("detail") or body.get("title")) if isinstance(body, dict) else None
    return f": {said[:200]}" if isinstance(said, str) else ""


def headers_for(origin: Origin, source: Source, *, with_body: bool) -> dict[str, str]:
    """The header fields of a call: ours, then what the registration wants. Source: clauses 4.3.6.7, 6.3.18."""
    came = origin.headers.get("via")
    own = f"1.1 {origin.alias}"
    headers = {"Accept": JSON, "Via": f"{came}, {own}" if came else own}
    if with_body:
        headers["Content-Type"] = JSON
    if source.tenant:
        headers["NGSILD-Tenant"] = source.tenant
    for key, given in source.headers:
        name = key.lower()
        value = given
        if given == AS_REQUESTED:
            value = origin.headers.get({"contenttype": "content-type"}.get(name, name), "")
        if not value:
            continue
        if name == "jsonldcontext":
            headers["Link"] = f'<{value}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
        elif name == "ngsildconformance":
            headers["Prefer"] = f"ngsi-ld={value}"
        elif name in _SPECIAL:
            if name == "accept" or with_body:
                headers[_SPECIAL[name]] = value
        elif name not in _OURS:
            headers[key] = value
    return headers


def naming_context(source: Source) -> str | None:
    """The address of the context a source wants to be spoken to in."""
    for key, value in source.headers:
        if key.lower() == "jsonldcontext" and value != AS_REQUESTED:
            return value
    return None


def warning(code: int, source: Source, text: str) -> str:
    """A value of `NGSILD-Warning`. Source: clause 6.3.17, in the form of RFC 7234 §5.5."""
    who = source.alias or urlsplit(source.endpoint).netloc or source.id
    plain = text.encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")
    return f'{code} {quote(who, safe=":.-_~[]+%")} "{" ".join(plain.split())}"'
