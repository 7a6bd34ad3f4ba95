"""The context sources this process knows of, in memory: a question that concerns none costs one look.

Every process keeps all registrations, refreshed when one of them says (`hub_registry`) that they changed.
Source: ETSI GS CIM 009 v1.9.1 clauses 5.9, 5.12.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec
import structlog

from sejong.hub.ngsi.instants import format_instant
from sejong.hub.ngsi.members import Doc
from sejong.hub.ngsi.sourcing import Names, Part, Source, Wanted, source_of
from sejong.hub.store import registry as store
from sejong.kernel.clock import Clock
from sejong.kit.postgres import AWAY, Pool

log = structlog.get_logger("hub")
LONGEST_NOTICE = 7000
"""Bytes of an id that fit a notification (PostgreSQL allows 8,000)."""
COUNT_EVERY = 5.0
"""Seconds between two writings of how calls to sources went. Chosen."""

Match = tuple[Source, Part]


def notice_of(tenant: int, source_id: str) -> str:
    """What is said on `hub_registry` when a registration changes."""
    said = msgspec.json.encode((tenant, source_id)).decode()
    return said if len(said.encode()) <= LONGEST_NOTICE else ""


class _Calls(msgspec.Struct):
    sent: int = 0
    failed: int = 0
    last_success: datetime | None = None
    last_failure: datetime | None = None


class _Shelf:
    """The registrations of one tenant, filed by what they speak about most precisely."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.order = {source.id: place for place, source in enumerate(sources)}
        self.by_id: dict[str, list[Source]] = {}
        self.named_by_type: dict[str, list[Source]] = {}
        """Those that name their entities by id, filed by type as well."""
        self.named_untyped: list[Source] = []
        self.by_type: dict[str, list[Source]] = {}
        self.others: list[Source] = []
        for source in sources:
            entities = [entity for info in source.information for entity in info.entities]
            typed = all(entity.types is not None for entity in entities)
            kinds = [one for entity in entities for one in entity.types or ()]
            if all(entity.ids is not None for entity in entities):
                _file(self.by_id, source, (one for entity in entities for one in entity.ids or ()))
                if typed:
                    _file(self.named_by_type, source, kinds)
                else:
                    self.named_untyped.append(source)
            elif typed:
                _file(self.by_type, source, kinds)
            else:
                self.others.append(source)

    def near(self, who: Sequence[Wanted]) -> list[Source]:
        """The registrations that may concern these entities, oldest first."""
        found = {source.id: source for source in self.others}
        for wanted in who:
            parts = _under(self.by_type, wanted.types)
            if wanted.ids is not None:
                parts += _under(self.by_id, wanted.ids)
            else:
                parts += [*_under(self.named_by_type, wanted.types), self.named_untyped]
            for sources in parts:
                found.update((source.id, source) for source in sources)
        return sorted(found.values(), key=lambda source: self.order[source.id])


def _under(index: dict[str, list[Source]], keys: Names | None) -> list[list[Source]]:
    return list(index.values()) if keys is None else [index[key] for key in keys if key in index]


def _file(index: dict[str, list[Source]], source: Source, keys: Iterable[str]) -> None:
    for key in dict.fromkeys(keys):
        index.setdefault(key, []).append(source)


class Registry:
    """All registrations, by tenant."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool, self._clock = pool, clock
        self._sources: dict[int, dict[str, Source]] = {}
        self._shelves: dict[int, _Shelf] = {}
        self._calls: dict[tuple[int, str], _Calls] = {}
        self._task: asyncio.Task[None] | None = None
        self._refreshing = asyncio.Lock()
        self._own = 0
        """Changes made by this process: what was read while one happened may be older than it."""
        self.writing = asyncio.Lock()
        """Held while a registration is changed: its checks need a second connection of the pool."""

    async def start(self) -> None:
        """Read all registrations, begin to write down now and then how calls to sources went."""
        await self.refresh()
        self._task = asyncio.create_task(self._count(), name="hub-source-calls")

    async def stop(self) -> None:
        """Write down what was counted, then stop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(*AWAY, OSError):
            await self.note_calls()

    async def refresh(self) -> None:
        """Read all registrations anew."""
        async with self._refreshing:
            own, rows = -1, []
            while own != self._own:
                own = self._own
                async with self._pool.acquire(timeout=10) as connection:
                    rows = await store.EVERY.all(connection)
            self._sources, self._shelves = {}, {}
            for row in rows:
                self._know(row.tenant, row.id, msgspec.json.decode(row.doc))

    async def heard(self, said: str) -> None:
        """Some process changed a registration (empty: perhaps several)."""
        if not said:
            await self.refresh()
            return
        tenant, source_id = msgspec.json.decode(said, type=tuple[int, str])
        async with self._refreshing:
            own, row = -1, None
            while own != self._own:
                own = self._own
                async with self._pool.acquire(timeout=10) as connection:
                    row = await store.ONE.one(connection, tenant, source_id)
            self._know(tenant, source_id, None if row is None else msgspec.json.decode(row.doc))

    def know(self, tenant: int, source_id: str, doc: Doc | None) -> None:
        """This process has made a registration like this (None: there is none any more)."""
        self._own += 1
        self._know(tenant, source_id, doc)

    def _know(self, tenant: int, source_id: str, doc: Doc | None) -> None:
        known = self._sources.setdefault(tenant, {})
        if doc is None:
            known.pop(source_id, None)
        else:
            known[source_id] = source_of(doc)
        if not known:
            del self._sources[tenant]
        self._shelves.pop(tenant, None)  # filed anew when the next question comes

    def has(self, tenant: int) -> bool:
        """Whether anything of this tenant is kept elsewhere too. The one question every request asks."""
        return tenant in self._sources

    def _shelf(self, tenant: int) -> _Shelf | None:
        shelf = self._shelves.get(tenant)
        if shelf is None and tenant in self._sources:
            shelf = self._shelves[tenant] = _Shelf(list(self._sources[tenant].values()))
        return shelf

    def matching(
        self, tenant: int, who: Sequence[Wanted], names: Names | None, *, via: Iterable[str] = ()
    ) -> list[Match]:
        """The sources that a question about `who` and the attributes `names` concerns, with their parts of it.

        `via`: hubs the question has come through; registrations of those do not match (clause 5.12).
        """
        shelf = self._shelf(tenant)
        if shelf is None:
            return []
        passed, now = frozenset(via), format_instant(self._clock.now())
        return [
            (source, part)
            for source in shelf.near(who)
            if source.alive(now)
            and (source.alias is None or source.alias not in passed)
            and (part := source.part(who, names)) is not None
        ]

    # --- counting calls -------------------------------------------------------------------------------------

    def note_call(self, tenant: int, source_id: str, *, ok: bool) -> None:
        """Count a call to a source."""
        calls, now = self._calls.setdefault((tenant, source_id), _Calls()), self._clock.now()
        calls.sent += 1
        if ok:
            calls.last_success = now
        else:
            calls.failed += 1
            calls.last_failure = now

    async def note_calls(self) -> None:
        """Write down what was counted since the last time."""
        calls, self._calls = self._calls, {}
        if not calls:
            return
        columns = [
            [tenant for tenant, _ in calls],
            [source for _, source in calls],
            *([getattr(one, name) for one in calls.values()] for name in _Calls.__struct_fields__),
        ]
        async with self._pool.acquire(timeout=10) as connection:
            await store.COUNT.run(connection, *columns)

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(COUNT_EVERY)
            try:
                await self.note_calls()
            except Exception as error:  # noqa: BLE001 - counting must never end, whatever it meets
                log.warning("source_calls_lost", why=str(error) or type(error).__name__)
