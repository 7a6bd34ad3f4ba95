"""The hub's use cases: keep what is told, answer what is asked. Everything else in the house goes through here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import structlog

from sejong.hub.bell import Bell
from sejong.hub.calls import Calls
from sejong.hub.contexts import ContextStore
from sejong.hub.entity_maps import EntityMaps
from sejong.hub.freezing import Sources
from sejong.hub.history import Histories
from sejong.hub.library import Library
from sejong.hub.ngsi import change as rules
from sejong.hub.ngsi.change import Change, live
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.errors import AlreadyExists, NonexistentTenant, ResourceNotFound
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.ngsi.order import Ordering, sort_key
from sejong.hub.ngsi.typeselect import TypeSelection
from sejong.hub.past import Past
from sejong.hub.reader import Reader
from sejong.hub.registry import Registry
from sejong.hub.rendered import Rendered
from sejong.hub.selection import Selection, Who
from sejong.hub.snapshots import Snapshots
from sejong.hub.store import entities as store
from sejong.hub.store import history, views
from sejong.hub.store.selecting import IDS, SECOND_TYPES, Search
from sejong.hub.store.terms import (
    ADD_SHAPES,
    ADD_TENANT,
    ADD_TERMS,
    ALL_SHAPES,
    ALL_TENANTS,
    ALL_TERMS,
    Dictionary,
)
from sejong.hub.subscriptions import Subscriptions
from sejong.hub.summaries import Rollups
from sejong.hub.value_index import ValueIndex
from sejong.hub.writer import Outcome, Writer
from sejong.kernel.clock import Clock
from sejong.kernel.errors import CityError
from sejong.kit.postgres import Connection, Pool

log = structlog.get_logger("hub")
Doc = dict[str, Any]
Step = Callable[[Doc | None, str], Change]
CITY_CONTEXT_PATH = "/context/city.jsonld"


class Use(msgspec.Struct, frozen=True):
    """That entities of a type have an attribute (`attribute` empty: the bare type)."""

    type: str
    attribute: str
    entities: int
    with_attribute: int
    second: bool
    """Counted under another type of the same entities already."""


class Hub:
    """One process's view of the record. Made once per process by `start`, found by `city.part(Hub)`."""

    def __init__(self, pool: Pool, clock: Clock, settings: Any) -> None:
        self.pool, self.clock, self.settings = pool, clock, settings
        self.terms = Dictionary(ALL_TERMS, ADD_TERMS)
        self.shapes = Dictionary(ALL_SHAPES, ADD_SHAPES)
        self.rendered = Rendered(settings.entity_cache)
        self.writer = Writer(pool, clock, self.terms, self.shapes, self.rendered)
        self.reader = Reader(pool)
        self.values = ValueIndex(pool, clock)
        self.subscriptions = Subscriptions(pool, clock)
        self.writer.watcher = self.subscriptions
        self.city_context_url = settings.public_url.rstrip("/") + CITY_CONTEXT_PATH
        self.city_context_document: Any = {"@context": {}}
        self.contexts = ContextStore(clock, egress=settings.context_egress, timeout=settings.context_timeout)
        self.library = Library(pool, clock, self.contexts, settings.public_url)
        self.subscriptions.host_context = partial(self.library.host, kind="ImplicitlyCreated")
        self.bell = Bell(pool)
        self.bell.on("hub_context", self.library.heard)
        self.registry = Registry(pool, clock)
        self.bell.on("hub_registry", self.registry.heard)
        self.calls = Calls(self.registry, clock, egress=settings.source_egress, timeout=settings.source_timeout)
        self.name_with(self.city_context_document)
        self.opened = clock.now()
        self._tenants: dict[str, int] = {"": 0}
        self._shape_documents: dict[int, Doc] = {}
        self.histories = Histories(pool, clock, self.terms, self.shapes, self.shape)
        self.rollups = Rollups(pool, clock, self.terms)
        self.past = Past(self.terms, self.shapes, self.shape)
        self.maps = EntityMaps(pool, clock, longest=settings.entity_map_lifetime, most=settings.entity_map_size)
        sources = Sources(clock, self.terms, self.contexts, self.histories)
        self.snapshots = Snapshots(
            pool,
            sources,
            longest=settings.snapshot_lifetime,
            most=settings.snapshots_most,
            egress=settings.notification_egress,
        )

    async def open(self) -> None:
        """Read the dictionaries and make ready for writing."""
        self.opened = self.clock.now()
        async with self.pool.acquire() as connection:
            await self.terms.refresh(connection)
            await self.shapes.refresh(connection)
            await self.values.open(connection)
            today = self.clock.now().date()
            await history.ensure_months(connection, [today + timedelta(days=30 * n) for n in (-1, 0, 1, 2)])
            await self._refresh_tenants(connection)
        await self.subscriptions.refresh()
        self.writer.start()
        self.library.start()
        await self.registry.start()
        self.bell.start()
        self.snapshots.start()

    async def close(self) -> None:
        """Finish waiting writes."""
        await self.snapshots.stop()
        await self.values.close()
        await self.rollups.close()
        await self.bell.stop()
        await self.library.stop()
        await self.registry.stop()
        await self.calls.close()
        await self.writer.stop()
        await self.contexts.close()

    async def context(self) -> Context:
        """The city's own context: the short names its devices, pack and pages use."""
        return await self.contexts.get(self.city_context_url)

    def name_with(self, document: Any) -> None:
        """Use this JSON-LD document as the city's own context (the pack loader brings it)."""
        self.city_context_document = document
        self.contexts.preload(self.city_context_url, document)

    def now(self) -> str:
        """The present moment as NGSI-LD text."""
        return format_instant(self.clock.now())

    # --- tenants --------------------------------------------------------------------------------------------

    async def tenant(self, name: str, *, create: bool = False) -> int:
        """The number of a tenant. Raises NonexistentTenant unless it may be created."""
        number = self._tenants.get(name)
        if number is not None:
            return number
        async with self.pool.acquire() as connection:
            if create:
                await ADD_TENANT.run(connection, name)
            await self._refresh_tenants(connection)
        number = self._tenants.get(name)
        if number is None:
            raise NonexistentTenant(f"no tenant is called {name!r}")
        return number

    async def _refresh_tenants(self, connection: Any) -> None:
        self._tenants = {term.text: term.no for term in await ALL_TENANTS.all(connection)}

    # --- reading --------------------------------------------------------------------------------------------

    async def retrieve(self, tenant: int, entity_id: str) -> Doc:
        """The entity as it is now, expanded. Raises ResourceNotFound."""
        return (await self.stored(tenant, entity_id))[1]

    async def stored(self, tenant: int, entity_id: str) -> tuple[int | None, Doc]:
        """As `retrieve`, with the entity's number, or None where time alone may change it. Raises ResourceNotFound."""
        stored = await self.reader.get(tenant, entity_id)
        entity = None if stored is None else self.living(stored.doc)
        if entity is None or stored is None:
            raise ResourceNotFound(f"no entity {entity_id}")
        return None if store.EXPIRES in stored.doc else stored.no, entity

    async def found(self, tenant: int, ids: Sequence[str]) -> dict[str, Doc]:
        """Those of these entities that exist, by id."""
        if not ids:
            return {}
        async with self.pool.acquire(timeout=10) as connection:
            rows = await store.FETCH.all(connection, tenant, list(ids))
        now = self.now()
        living = ((row.id, self.living(row.doc, now)) for row in rows if not row.deleted)
        return {one: entity for one, entity in living if entity is not None}

    async def query(
        self,
        tenant: int,
        selection: Selection,
        limit: int,
        offset: int,
        *,
        count: bool = False,
        order: Ordering | None = None,
    ) -> tuple[list[Doc], int | None]:
        """A page of the entities a selection means (oldest first unless ordered), and how many there are if asked."""
        # A page alone is one statement after another along the numbers; only with more must the record stand still.
        async with self._looking(still=count or order is not None) as connection:
            search = await self._search(connection, tenant, selection)
            if order is None or not limit:
                picked = await search.page(connection, limit, offset) if limit else []
            else:
                picked = await search.ordered(connection, limit, offset, sort_key(order))
            total = await search.count(connection) if count else None
        return picked, total

    async def ids_of(self, tenant: int, selection: Selection) -> list[list[str]]:
        """The ids of all entities a selection means, in handfuls of a thousand."""
        async with self._looking() as connection:
            numbers = await (await self._search(connection, tenant, selection)).numbers(connection)
            parts = [numbers[n : n + 1000] for n in range(0, len(numbers), 1000)]
            return [[row[0] for row in await connection.fetch(IDS.text, part)] for part in parts]

    async def numbers_of(self, tenant: int, selection: Selection, most: int) -> list[int]:
        """The numbers of the entities a selection means, in order of creation; no more than `most` and one."""
        found: list[int] = []
        async with self._looking() as connection:
            async for number in (await self._search(connection, tenant, selection)).each(connection):
                found.append(number)
                if len(found) > most:
                    break
        return found

    async def by_id(self, numbers: Sequence[int], *, descending: bool = False) -> list[int]:
        """These entities in the order of their ids."""
        async with self.pool.acquire(timeout=10) as connection:
            rows = await store.NUMBERED.all(connection, list(numbers))
        return [row.no for row in sorted(rows, key=lambda row: row.id, reverse=descending)]

    async def known(self, tenant: int, entity_id: str) -> store.Stored | None:
        """The row of an entity, also of a deleted one that has a history; None when nothing is known of it."""
        async with self.pool.acquire(timeout=10) as connection:
            return await store.KNOWN.one(connection, tenant, entity_id)

    @asynccontextmanager
    async def _looking(self, *, still: bool = True) -> AsyncIterator[Connection]:
        """A connection; if `still`, one that sees one and the same moment of the record throughout."""
        async with self.pool.acquire(timeout=10) as connection:
            if not still:
                yield connection
                return
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield connection

    async def _search(self, connection: Connection, tenant: int, selection: Selection) -> Search:
        await self.terms.look_up(connection, selection.names())
        index = self.values if tenant >= 0 else None  # the copies of snapshots are not indexed by value
        search = Search(tenant, self.clock.now(), selection, self.terms.number.get, index=index)
        return await search.prepare(connection)

    def living(self, doc: bytes, now: str | None = None) -> Doc | None:
        """A stored document without what has expired; None when all of it has."""
        entity = msgspec.json.decode(doc)
        return live(entity, now or self.now()) if store.EXPIRES in doc else entity

    def shape(self, number: int | None) -> Doc | None:
        """The instance shape of this number (see `shapes`)."""
        if number is None:
            return None
        known = self._shape_documents.get(number)
        if known is None and number in self.shapes.text:
            known = self._shape_documents[number] = msgspec.json.decode(self.shapes.text[number])
        return known

    # --- discovery ------------------------------------------------------------------------------------------

    async def uses(self, tenant: int) -> list[Use]:
        """Which types have which attributes, and how many entities; one line without attribute per bare type."""
        now = self.clock.now()
        async with self.pool.acquire(timeout=10) as connection:
            counts = await views.TYPES.all(connection, tenant, now)
            totals: dict[int, int] = {}
            for row in counts:
                totals[row.type0] = totals.get(row.type0, 0) + row.n
            second = [r[0] for r in await connection.fetch(SECOND_TYPES.text, list(totals))]
            rows = {no: await views.ATTRIBUTES.all(connection, tenant, no, now) for no in (None, *second)}
            numbers = {*totals, *(int(row.ano) for found in rows.values() for row in found)}
            if not numbers <= self.terms.text.keys():
                await self.terms.refresh(connection)
        text = self.terms.text
        uses = [Use(text[no], "", n, 0, second=False) for no, n in totals.items()]
        for number, found in rows.items():
            for row in found:
                if row.type0 != number:
                    kind = row.type0 if number is None else number
                    uses.append(Use(text[kind], text[int(row.ano)], totals[kind], row.n, second=number is not None))
        return uses

    async def kinds_of(self, tenant: int, type_iri: str, names: Collection[str]) -> dict[str, set[str]]:
        """Attribute → the kinds (Property, Relationship, …) it has among some hundred entities of a type."""
        who = (Who(types=TypeSelection(((type_iri,),))),)
        kinds: dict[str, set[str]] = {name: set() for name in names}
        entities, _ = await self.query(tenant, Selection(who=who), 100, 0)
        _note_kinds(kinds, entities)
        for name in [name for name, found in kinds.items() if not found]:
            entities, _ = await self.query(tenant, Selection(who=who, attributes=frozenset({name})), 20, 0)
            _note_kinds(kinds, entities)
        return kinds

    # --- writing --------------------------------------------------------------------------------------------

    async def change(self, tenant: int, entity_id: str, step: Step) -> Change:
        """Do one pure step to one entity; durable on return. Raises what the step raises."""
        outcome = await self.writer.write(tenant, entity_id, applying(step))
        return outcome.answer

    async def change_all(self, tenant: int, steps: Sequence[tuple[str, Step]]) -> list[Change | CityError]:
        """Do many steps in order, each succeeding or failing on its own; durable on return."""
        outcomes = await self.writer.write_all(tenant, [(eid, applying(step)) for eid, step in steps])
        return [outcome if isinstance(outcome, CityError) else outcome.answer for outcome in outcomes]

    async def remove_expired(self, tenant: int, entity_id: str) -> None:
        """Turn an entity whose time has come into a deleted one; nothing happens if it was renewed meanwhile."""
        # The writer itself buries what has expired before it shows it to any step.
        await self.writer.write(tenant, entity_id, applying(lambda old, _: Change(old)))

    async def upsert(self, tenant: int, entities: Sequence[Doc]) -> list[Change | CityError]:
        """Create or replace expanded entities, for other services and the pack loader."""
        return await self.change_all(tenant, [(entity["id"], upserting(entity)) for entity in entities])


def _note_kinds(kinds: dict[str, set[str]], entities: Sequence[Doc]) -> None:
    for entity in entities:
        for name in kinds.keys() & entity.keys():
            kinds[name].update(instance["type"] for instance in entity[name])


def applying(step: Step) -> Callable[[Doc | None, str], Outcome]:
    """A pure NGSI-LD step in the form the writer takes."""

    def apply(entity: Doc | None, now: str) -> Outcome:
        done = step(entity, now)
        return Outcome(done.entity, done.ops, answer=done)

    return apply


def creating(new: Doc) -> Step:
    """A step that creates an entity. Raises AlreadyExists when there is one."""

    def step(old: Doc | None, now: str) -> Change:
        if old is not None:
            raise AlreadyExists(f"{new['id']} exists already")
        return rules.create(new, now)

    return step


def upserting(new: Doc, *, update: bool = False) -> Step:
    """A step that creates, or replaces (or updates the attributes of) what is there."""
    how = rules.upsert_update if update else rules.upsert_replace

    def step(old: Doc | None, now: str) -> Change:
        return how(old, new, now)

    return step


def merging_pack(new: Doc) -> Step:
    """A step that creates an entity of a city pack, or renews what the pack says about one already there.

    Attributes the pack does not mention, and those a device has measured since (they carry observedAt), stay.
    """

    def step(old: Doc | None, now: str) -> Change:
        if old is None:
            return rules.create(new, now)
        measured = {key for key, parts in old.items() if ":" in key and any("observedAt" in part for part in parts)}
        said = {key: value for key, value in new.items() if key not in measured and not _same(old.get(key), value)}
        said.pop("id", None)
        return rules.append_attrs(old, said, now) if said else Change(old)

    return step


def _same(old: Any, new: Any) -> bool:
    """Whether two attributes say the same, their times aside."""
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        return all(_same(old.get(k), new.get(k)) for k in (old.keys() | new.keys()) - {"createdAt", "modifiedAt"})
    return old == new and type(old) is type(new)


def existing(entity_id: str, types: Callable[[Doc], bool] | None, step: Callable[[Doc, str], Change]) -> Step:
    """A step on an entity that must be there (and be of the right type). Raises ResourceNotFound."""

    def checked(old: Doc | None, now: str) -> Change:
        if old is None or (types is not None and not types(old)):
            raise ResourceNotFound(f"no entity {entity_id}")
        return step(old, now)

    return checked
