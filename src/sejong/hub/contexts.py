"""Fetching and keeping @context documents: preloaded ones, remote ones by their cache headers."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urljoin

import httpx
import msgspec

from sejong.hub.egress import AddressRefused, check_address
from sejong.hub.ngsi.context import CORE, Context, MissingDocument, compile_context
from sejong.hub.ngsi.errors import BadRequestData, LdContextNotAvailable
from sejong.kernel.clock import Clock

_MAX_AGE = re.compile(r"(?<![a-z-])max-age\s*=\s*\"?(\d+)")
_SHARED_AGE = re.compile(r"s-maxage\s*=\s*\"?(\d+)")
DEFAULT_LIFE = 3600.0
"""Seconds a document without cache headers is kept. Chosen; RFC 9111 §4.2.2 allows a heuristic."""
FOR_EVER = 10 * 365 * 86400.0
LARGEST_DOCUMENT = 2 << 20
"""Bytes of a remote @context accepted at most. Chosen: published ones reach about 1 MB."""
MOST_COMPILED = 500
MOST_DOCUMENTS = 200
MOST_REDIRECTS = 3


class _Kept(msgspec.Struct):
    document: Any
    until: float


class Shelf(Protocol):
    """Where documents lie that need no fetching, beyond the memory of this process."""

    async def find(self, url: str) -> tuple[bytes, float] | None:
        """A document and the seconds it holds, None when it has to be fetched."""
        ...

    async def keep(self, url: str, document: bytes, life: float) -> None:
        """Put a fetched document there for `life` seconds."""
        ...


class ContextStore:
    """Compiled contexts by what the request named. Safe to share between all requests of a process."""

    def __init__(self, clock: Clock, *, egress: str = "any", timeout: float = 5.0) -> None:
        self._clock, self._egress, self._timeout = clock, egress, timeout
        self._preloaded: dict[str, Any] = {}
        self._kept: dict[str, _Kept] = {}
        self._under_way: dict[str, asyncio.Task[_Kept]] = {}
        self._compiled: dict[bytes, tuple[Context, float]] = {}
        self._client: httpx.AsyncClient | None = None
        self.core = CORE
        self.shelf: Shelf | None = None

    async def close(self) -> None:
        """Close connections to other context hosts."""
        for task in list(self._under_way.values()):
            task.cancel()
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
        until = self._clock.monotonic() + FOR_EVER
        while True:
            try:
                context = compile_context(value, documents)
                break
            except MissingDocument as missing:
                kept = await self._document(missing.url)
                documents[missing.url] = kept.document
                until = min(until, kept.until)
        if len(self._compiled) >= MOST_COMPILED:
            self._compiled.clear()
        self._compiled[key] = (context, until)
        return context

    async def _document(self, url: str) -> _Kept:
        if url in self._preloaded:
            return _Kept(self._preloaded[url], float("inf"))
        kept = self._kept.get(url)
        if kept is not None and kept.until > self._clock.monotonic():
            return kept
        # Everybody who waits for the same document waits for the same download.
        task = self._under_way.get(url)
        if task is None:
            task = self._under_way[url] = asyncio.create_task(self._obtain(url))
            task.add_done_callback(lambda done: self._arrived(url, done))
        return await asyncio.shield(task)

    def _arrived(self, url: str, task: asyncio.Task[_Kept]) -> None:
        self._under_way.pop(url, None)
        if not task.cancelled():
            task.exception()  # heard, even if nobody waits any more

    def forget(self, url: str | None = None) -> None:
        """Hold what is at an address (None: at any) no longer for known."""
        if url is None:
            self._kept.clear()
        else:
            self._kept.pop(url, None)
        self._compiled.clear()

    async def fetch_anew(self, url: str) -> None:
        """Fetch a document again. Raises LdContextNotAvailable, BadRequestData; what was known then stays."""
        await self._download(url)
        self._compiled.clear()

    async def _obtain(self, url: str) -> _Kept:
        found = None if self.shelf is None else await self.shelf.find(url)
        if found is None:
            return await self._download(url)
        document, life = found
        return self._keep(url, _Kept(msgspec.json.decode(document), self._clock.monotonic() + min(life, FOR_EVER)))

    def _keep(self, url: str, kept: _Kept) -> _Kept:
        if len(self._kept) >= MOST_DOCUMENTS:
            self._kept.clear()
        self._kept[url] = kept
        return kept

    async def _download(self, url: str) -> _Kept:
        place, body, headers = await self._fetch(url)
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequestData(f"the @context at {url} is not JSON: {error}") from error
        if place != url and isinstance(document, dict) and "@context" in document:
            document = {**document, "@context": _absolute(document["@context"], place)}
        life = self._life(headers)
        kept = _Kept(document, self._clock.monotonic() + life)
        if life <= 0:
            return kept
        if self.shelf is not None:
            await self.shelf.keep(url, msgspec.json.encode(document), life)
        return self._keep(url, kept)

    async def _fetch(self, url: str) -> tuple[str, bytes, httpx.Headers]:
        """Where a document was found in the end, its bytes, its headers. Raises LdContextNotAvailable."""
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self._timeout, follow_redirects=False, trust_env=False)
        target = url
        try:
            async with asyncio.timeout(self._timeout):
                for _ in range(MOST_REDIRECTS + 1):
                    await self._check_address(target)
                    answer = await self._read(self._client, target)
                    if isinstance(answer, tuple):
                        return target, *answer
                    target = urljoin(target, answer)
        except TimeoutError as error:
            raise LdContextNotAvailable(f"{url}: no answer within {self._timeout:g} seconds") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise LdContextNotAvailable(f"{url}: {str(error) or type(error).__name__}") from error
        raise LdContextNotAvailable(f"{url} is redirected more than {MOST_REDIRECTS} times")

    async def _read(self, client: httpx.AsyncClient, url: str) -> tuple[bytes, httpx.Headers] | str:
        """Body and headers of a document, or the address it has moved to."""
        wanted = {"Accept": "application/ld+json, application/json;q=0.9"}
        async with client.stream("GET", url, headers=wanted) as answer:
            if answer.has_redirect_location:
                return answer.headers["location"]
            if answer.status_code != 200:
                raise LdContextNotAvailable(f"{url} answered {answer.status_code}")
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > LARGEST_DOCUMENT:
                    raise LdContextNotAvailable(f"{url} is larger than {LARGEST_DOCUMENT >> 20} MiB")
            return bytes(body), answer.headers

    async def _check_address(self, url: str) -> None:
        """Refuse what the installation does not allow to be fetched (SSRF). Raises LdContextNotAvailable."""
        try:
            await check_address(url, self._egress, "remote contexts")
        except AddressRefused as refused:
            raise LdContextNotAvailable(str(refused)) from refused

    def _life(self, headers: httpx.Headers) -> float:
        """Seconds a document may be kept. Source: RFC 9111 §4.2.1 (s-maxage before max-age before Expires), §5.2.2."""
        control = headers.get("cache-control", "").lower()
        if "no-store" in control or "no-cache" in control:
            return 0.0
        age = _SHARED_AGE.search(control) or _MAX_AGE.search(control)
        if age is not None:
            return float(min(int(age.group(1)), int(FOR_EVER)))
        expires = headers.get("expires")
        if expires is None:
            return DEFAULT_LIFE
        try:
            moment = parsedate_to_datetime(expires)
        except ValueError:
            return 0.0
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return max(0.0, (moment - self._clock.now()).total_seconds())


def _absolute(context: Any, place: str) -> Any:
    """A context whose document has moved, its relative addresses seen from where it was found."""
    if isinstance(context, str):
        return urljoin(place, context)
    return [_absolute(part, place) for part in context] if isinstance(context, list) else context
