"""The @context documents this hub hosts or has read: stored, counted, and seen alike by every process.

Source: ETSI GS CIM 009 v1.9.1 clause 5.13 (storing, managing and serving @contexts), 5.2.36.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Literal

import msgspec
import structlog

from sejong.hub.contexts import ContextStore
from sejong.hub.ngsi.context import CORE_URLS, compile_context, context_urls
from sejong.hub.ngsi.errors import BadRequestData, LdContextNotAvailable, OperationNotSupported, ResourceNotFound
from sejong.hub.store import contexts as store
from sejong.hub.store.contexts import ContextRow
from sejong.kernel.clock import Clock
from sejong.kernel.ids import new_id
from sejong.kit.postgres import AWAY, Pool

log = structlog.get_logger("hub")
HOSTED_PATH = "/ngsi-ld/v1/jsonldContexts/"
COUNT_EVERY = 5.0
"""Seconds between two writings of how often contexts were used. Chosen."""
LONGEST_NOTICE = 7000
"""Bytes of an address that fit a notification (PostgreSQL allows 8,000)."""
KEEP_EXPIRED = timedelta(days=1)
"""How long a copy is kept after it has expired. Chosen."""

Kind = Literal["Hosted", "Cached", "ImplicitlyCreated"]
KINDS: tuple[Kind, ...] = ("Hosted", "Cached", "ImplicitlyCreated")


class Library:
    """Hosted and cached contexts of one process; the shelf its `ContextStore` looks at before asking other hosts."""

    def __init__(self, pool: Pool, clock: Clock, contexts: ContextStore, public_url: str) -> None:
        self._pool, self._clock, self._contexts = pool, clock, contexts
        self.base = public_url.rstrip("/") + HOSTED_PATH
        self._uses: dict[tuple[str, str], tuple[int, datetime]] = {}
        self._task: asyncio.Task[None] | None = None
        contexts.shelf = self

    def start(self) -> None:
        """Begin to write down now and then how often contexts are used."""
        self._task = asyncio.create_task(self._count(), name="hub-context-uses")

    async def stop(self) -> None:
        """Write down what was counted, then stop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(*AWAY, OSError):
            await self.note_uses()

    # --- the shelf ------------------------------------------------------------------------------------------

    async def find(self, url: str) -> tuple[bytes, float] | None:
        """A document that needs no fetching, and for how many seconds it holds; None when it has to be fetched.

        Raises LdContextNotAvailable for an address of ours that holds nothing (we never call ourselves).
        """
        own = own_id(url)
        async with self._pool.acquire(timeout=10) as connection:
            if own is not None:
                document = await store.HOSTED.value(connection, own)
                if document is not None:
                    return document, float("inf")
                if url.startswith(self.base):
                    raise LdContextNotAvailable(f"{url}: no context of this id is hosted here")
            now = self._clock.now()
            copy = await store.FIND_COPY.one(connection, url, now)
        return None if copy is None else (copy.document, (copy.expires - now).total_seconds())

    async def keep(self, url: str, document: bytes, life: float) -> None:
        """Keep what another host answered, for all processes, for `life` seconds."""
        now = self._clock.now()
        async with self._pool.acquire(timeout=10) as connection:
            await store.KEEP_COPY.run(connection, url, document, now, now + timedelta(seconds=life))

    # --- hosting --------------------------------------------------------------------------------------------

    async def host(self, tenant: int, value: Any, kind: Kind = "Hosted") -> str:
        """Host a context value (what stands behind `@context`); the address it can be found at from now on.

        An ImplicitlyCreated one of the same content is made once per tenant. Raises BadRequestData.
        """
        await self._check(value)
        document = msgspec.json.encode({"@context": value})
        local = new_id(self._clock)
        if kind == "ImplicitlyCreated":
            local = blake2b(b"%d " % tenant + document, digest_size=16).hexdigest()
        async with self._pool.acquire(timeout=10) as connection:
            await store.HOST.run(connection, tenant, local, self.base + local, kind, document, self._clock.now())
        return self.base + local

    async def _check(self, value: Any) -> None:
        """Refuse what can never be a context; one that only leads to an unreachable place is accepted."""
        if not isinstance(value, str | list | dict):
            raise BadRequestData("@context must be an address, an object or an array")
        try:
            await self._contexts.get(value)
        except LdContextNotAvailable:
            for part in value if isinstance(value, list) else ():
                if isinstance(part, dict):
                    compile_context(part, {})

    async def list(self, tenant: int, kind: str | None = None) -> Sequence[ContextRow]:
        """All contexts of a tenant (of one kind), oldest first, without those whose copy has expired."""
        await self.note_uses()
        async with self._pool.acquire(timeout=10) as connection:
            rows = await store.LIST.all(connection, tenant, self._clock.now(), sorted(CORE_URLS))
        return [row for row in rows if kind is None or row.kind == kind]

    async def get(self, tenant: int, name: str) -> ContextRow:
        """The context of a local id or address. Raises ResourceNotFound."""
        await self.note_uses()
        async with self._pool.acquire(timeout=10) as connection:
            row = await store.FIND.one(connection, tenant, self._clock.now(), sorted(CORE_URLS), own_id(name) or name)
        if row is None and name in CORE_URLS:
            return ContextRow(local_id(name), name, "Cached", None, self._clock.now(), None, None, 0)
        if row is None:
            raise ResourceNotFound(f"no context {name}")
        return row

    def content(self, row: ContextRow) -> bytes:
        """The document of a hosted context. Raises OperationNotSupported for a cached one."""
        if row.document is None:
            raise OperationNotSupported(f"{row.url} is hosted elsewhere; only what is known about it is served")
        return row.document

    async def remove(self, tenant: int, name: str) -> None:
        """Forget a context, here and in every process. Raises ResourceNotFound, BadRequestData for the core."""
        row = await self.get(tenant, name)
        if row.url in CORE_URLS:
            raise BadRequestData("the core context cannot be deleted")
        async with self._pool.acquire(timeout=10) as connection, connection.transaction():
            await store.REMOVE.run(connection, tenant, row.id)
            await store.REMOVE_COPY.run(connection, row.url)
            await self._tell(connection, row.url)
        self._contexts.forget(row.url)

    async def reload(self, tenant: int, name: str) -> None:
        """Fetch a cached context anew; if that fails the old copy stays.

        Raises ResourceNotFound, BadRequestData unless it is cached, LdContextNotAvailable.
        """
        row = await self.get(tenant, name)
        if row.kind != "Cached":
            raise BadRequestData("reload is for cached contexts only; this one is hosted here")
        if row.url in CORE_URLS:
            return
        await self._contexts.fetch_anew(row.url)
        async with self._pool.acquire(timeout=10) as connection:
            await self._tell(connection, row.url)

    async def _tell(self, connection: Any, url: str) -> None:
        await store.TELL.run(connection, url if len(url.encode()) <= LONGEST_NOTICE else "")

    async def heard(self, url: str) -> None:
        """Another process removed or renewed a context (empty: any of them)."""
        self._contexts.forget(url or None)

    # --- counting -------------------------------------------------------------------------------------------

    def used(self, tenant: str, value: Any) -> None:
        """Count a use of the contexts a request of this tenant named by address."""
        if value is None:
            return
        now = self._clock.now()
        for url in (value,) if isinstance(value, str) else _addresses(value):
            count, _ = self._uses.get((tenant, url), (0, now))
            self._uses[tenant, url] = (count + 1, now)

    async def note_uses(self) -> None:
        """Write down what was counted since the last time."""
        uses, self._uses = self._uses, {}
        if not uses:
            return
        try:
            await self._write_uses(uses)
        except BaseException:
            for key, (count, at) in uses.items():
                more, last = self._uses.get(key, (0, at))
                self._uses[key] = (count + more, max(at, last))
            raise

    async def _write_uses(self, uses: dict[tuple[str, str], tuple[int, datetime]]) -> None:
        own = [(key, used) for (_, url), used in uses.items() if (key := own_id(url))]
        others = [(*key, *used) for key, used in uses.items() if own_id(key[1]) is None]
        async with self._pool.acquire(timeout=10) as connection:
            if own:
                summed: dict[str, tuple[int, datetime]] = {}
                for key, (count, at) in own:
                    summed[key] = (summed.get(key, (0, at))[0] + count, at)
                await store.COUNT_OWN.run(
                    connection, list(summed), [n for n, _ in summed.values()], [at for _, at in summed.values()]
                )
            if others:
                tenants, urls, counts, moments = map(list, zip(*others, strict=True))
                ids = [local_id(url) for url in urls]
                await store.COUNT_OTHERS.run(connection, tenants, ids, urls, counts, moments)

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(COUNT_EVERY)
            try:
                await self.note_uses()
            except Exception as error:  # noqa: BLE001 - counting must never end, whatever it meets
                log.warning("context_uses_lost", why=str(error) or type(error).__name__)

    async def trim(self, connection: Any) -> None:
        """Forget copies that expired more than a day ago, and what was counted of them."""
        limit = self._clock.now() - KEEP_EXPIRED
        await store.TRIM_COPIES.run(connection, limit)
        await store.TRIM_USES.run(connection, limit)


def own_id(url: str) -> str | None:
    """The local id in an address of a hosted context, whatever name the hub was called by; None for other addresses.

    >>> own_id("http://localhost:8000/ngsi-ld/v1/jsonldContexts/0190b2c4")
    '0190b2c4'
    """
    _, found, local = url.partition(HOSTED_PATH)
    return local if found and local and "/" not in local else None


def local_id(url: str) -> str:
    """The local id of a context hosted elsewhere."""
    return blake2b(url.encode(), digest_size=16).hexdigest()


def _addresses(value: Any) -> list[str]:
    named = [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
    return list(dict.fromkeys([*named, *context_urls(value)]))
