"""Fetching and keeping @context documents: preloaded ones, remote ones by their cache headers."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from sejong.hub.ngsi.context import CORE, Context, MissingDocument, compile_context
from sejong.hub.ngsi.errors import BadRequestData, LdContextNotAvailable
from sejong.kernel.clock import Clock

_MAX_AGE = re.compile(r"(?:s-maxage|max-age)\s*=\s*(\d+)")
DEFAULT_LIFE = 3600.0
"""Seconds a document without cache headers is kept. Chosen; RFC 9111 §4.2.2 allows a heuristic."""
LARGEST_DOCUMENT = 2 << 20
"""Bytes of a remote @context accepted at most. Chosen: published ones reach about 1 MB."""
MOST_COMPILED = 500
MOST_DOCUMENTS = 200


class _Kept(msgspec.Struct):
    document: Any
    until: float


class ContextStore:
    """Compiled contexts by what the request named. Safe to share between all requests of a process."""

    def __init__(
        self, clock: Clock, preloaded: Mapping[str, Any], *, egress: str = "any", timeout: float = 5.0
    ) -> None:
        self._clock, self._preloaded, self._egress, self._timeout = clock, dict(preloaded), egress, timeout
        self._kept: dict[str, _Kept] = {}
        self._compiled: dict[bytes, tuple[Context, float]] = {}
        self._client: httpx.AsyncClient | None = None
        self.core = CORE

    async def close(self) -> None:
        """Close connections to other context hosts."""
        if self._client is not None:
            await self._client.aclose()

    def preload(self, url: str, document: Any) -> None:
        """Serve `document` for `url` without ever fetching it."""
        self._preloaded[url] = document
        self._compiled.clear()

    async def get(self, value: Any) -> Context:
        """The context for what a request gave (`None`, a URL, an object, a list of both).

        Raises LdContextNotAvailable if a document cannot be fetched, BadRequestData if one is invalid.
        """
        if value is None:
            return self.core
        key = msgspec.json.encode(value)
        known = self._compiled.get(key)
        if known is not None and known[1] > self._clock.monotonic():
            return known[0]
        documents: dict[str, Any] = {}
        until = self._clock.monotonic() + 10 * 365 * 86400.0
        while True:
            try:
                context = compile_context(value, documents)
                break
            except MissingDocument as missing:
                document, life = await self._document(missing.url)
                documents[missing.url] = document
                until = min(until, life)
        if len(self._compiled) >= MOST_COMPILED:
            self._compiled.clear()
        self._compiled[key] = (context, until)
        return context

    async def _document(self, url: str) -> tuple[Any, float]:
        if url in self._preloaded:
            return self._preloaded[url], float("inf")
        kept = self._kept.get(url)
        if kept is not None and kept.until > self._clock.monotonic():
            return kept.document, kept.until
        document, life = await self._fetch(url)
        until = self._clock.monotonic() + life
        if len(self._kept) >= MOST_DOCUMENTS:
            self._kept.clear()
        if life > 0:
            self._kept[url] = _Kept(document, until)
        return document, until

    async def _fetch(self, url: str) -> tuple[Any, float]:
        await self._check_address(url)
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self._timeout, follow_redirects=False, trust_env=False)
        try:
            answer = await self._follow(url)
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise LdContextNotAvailable(f"{url}: {str(error) or type(error).__name__}") from error
        if answer.status_code != 200:
            raise LdContextNotAvailable(f"{url} answered {answer.status_code}")
        if len(answer.content) > LARGEST_DOCUMENT:
            raise LdContextNotAvailable(f"{url} is larger than {LARGEST_DOCUMENT >> 20} MiB")
        try:
            document = msgspec.json.decode(answer.content)
        except msgspec.DecodeError as error:
            raise BadRequestData(f"the @context at {url} is not JSON: {error}") from error
        return document, _life(answer.headers.get("cache-control", ""))

    async def _follow(self, url: str, hops: int = 3) -> httpx.Response:
        assert self._client is not None
        headers = {"Accept": "application/ld+json, application/json;q=0.9"}
        answer = await self._client.get(url, headers=headers)
        while answer.is_redirect and hops > 0:
            hops -= 1
            target = str(answer.next_request.url) if answer.next_request else ""
            await self._check_address(target)
            answer = await self._client.get(target, headers=headers)
        return answer

    async def _check_address(self, url: str) -> None:
        """Refuse what the installation does not allow to be fetched (SSRF). Raises LdContextNotAvailable."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise LdContextNotAvailable(f"{url} is not an http address")
        if self._egress == "deny":
            raise LdContextNotAvailable(f"{url}: this city fetches no remote contexts")
        if self._egress == "any":
            return
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                parts.hostname, parts.port or 443, type=socket.SOCK_STREAM
            )
        except OSError as error:
            raise LdContextNotAvailable(f"{url}: {error}") from error
        for *_, address in found:
            if not ipaddress.ip_address(address[0]).is_global:
                raise LdContextNotAvailable(f"{url}: this city does not fetch from private addresses")


def _life(cache_control: str) -> float:
    lowered = cache_control.lower()
    if "no-store" in lowered or "no-cache" in lowered:
        return 0.0
    ages = [int(age) for age in _MAX_AGE.findall(lowered)]
    shared = re.search(r"s-maxage\s*=\s*(\d+)", lowered)
    return float(shared.group(1)) if shared else float(ages[0]) if ages else DEFAULT_LIFE
