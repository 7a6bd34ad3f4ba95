"""Keeping registrations: who says they hold part of the record, checked against what is here already.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.9.2-5.9.4 (provision), 5.10.1-5.10.2 (retrieval, discovery), 4.3.6 (modes).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from sejong.hub.federation.notices import announce
from sejong.hub.ngsi.errors import AlreadyExists, Conflict, ResourceNotFound
from sejong.hub.ngsi.instants import format_instant, parse_instant
from sejong.hub.ngsi.source_query import SourceQuery
from sejong.hub.ngsi.sourcing import Source, Wanted, source_of
from sejong.hub.ngsi.typeselect import TypeSelection
from sejong.hub.registry import notice_of
from sejong.hub.selection import Selection, Who
from sejong.hub.service import Hub
from sejong.hub.store import registry as store
from sejong.hub.store.registry import RegistryRow
from sejong.kernel.ids import new_id, urn
from sejong.kit.postgres import Connection

Doc = dict[str, Any]


async def register(hub: Hub, tenant: int, doc: Doc) -> str:
    """Keep a new registration; its id. Raises AlreadyExists, Conflict."""
    doc.setdefault("id", urn("ContextSourceRegistration", new_id(hub.clock)))
    source, now = source_of(doc), hub.clock.now()
    async with hub.registry.writing, hub.pool.acquire(timeout=10) as connection, connection.transaction():
        await store.LOCK.run(connection, tenant)
        if await store.FIND.one(connection, tenant, now, source.id) is not None:
            raise AlreadyExists(f"{source.id} is registered already")
        await _refuse_conflicts(hub, connection, tenant, source)
        await store.ADD.run(connection, tenant, source.id, msgspec.json.encode(doc), now, _expiry(doc))
        await announce(hub, connection, tenant, None, doc, now)
        await store.TELL.run(connection, notice_of(tenant, source.id))
    hub.registry.know(tenant, source.id, doc)
    return source.id


async def change(hub: Hub, tenant: int, source_id: str, patch: Callable[[Doc], Doc]) -> None:
    """Change a registration. Raises ResourceNotFound, Conflict, and what `patch` raises."""
    now = hub.clock.now()
    async with hub.registry.writing, hub.pool.acquire(timeout=10) as connection, connection.transaction():
        await store.LOCK.run(connection, tenant)
        old = msgspec.json.decode((await _found(connection, tenant, now, source_id)).doc)
        new = patch(old)
        await _refuse_conflicts(hub, connection, tenant, source_of(new))
        await store.CHANGE.run(connection, tenant, source_id, msgspec.json.encode(new), now, _expiry(new))
        await announce(hub, connection, tenant, old, new, now)
        await store.TELL.run(connection, notice_of(tenant, source_id))
    hub.registry.know(tenant, source_id, new)


async def remove(hub: Hub, tenant: int, source_id: str) -> None:
    """Forget a registration. Raises ResourceNotFound."""
    now = hub.clock.now()
    async with hub.registry.writing, hub.pool.acquire(timeout=10) as connection, connection.transaction():
        await store.LOCK.run(connection, tenant)
        old = msgspec.json.decode((await _found(connection, tenant, now, source_id)).doc)
        await store.REMOVE.run(connection, tenant, source_id)
        await announce(hub, connection, tenant, old, None, now)
        await store.TELL.run(connection, notice_of(tenant, source_id))
    hub.registry.know(tenant, source_id, None)


async def remove_expired(hub: Hub, connection: Connection) -> None:
    """Forget registrations whose time is over, and tell those who watch them."""
    now = hub.clock.now()
    for row in await store.EXPIRED.all(connection, now):
        await store.LOCK.run(connection, row.tenant)
        await store.REMOVE.run(connection, row.tenant, row.id)
        await announce(hub, connection, row.tenant, msgspec.json.decode(row.doc), None, now)
        await store.TELL.run(connection, notice_of(row.tenant, row.id))


async def one(hub: Hub, tenant: int, source_id: str) -> RegistryRow:
    """A registration. Raises ResourceNotFound."""
    await hub.registry.note_calls()
    async with hub.pool.acquire(timeout=10) as connection:
        return await _found(connection, tenant, hub.clock.now(), source_id)


async def found(hub: Hub, tenant: int, query: SourceQuery) -> list[RegistryRow]:
    """The registrations a question means, oldest first."""
    await hub.registry.note_calls()
    async with hub.pool.acquire(timeout=10) as connection:
        rows = await store.OF_TENANT.all(connection, tenant, hub.clock.now())
    return [row for row in rows if query.admits(source_of(msgspec.json.decode(row.doc)), times_of(row))]


def times_of(row: RegistryRow) -> Doc:
    """When a registration was made and changed."""
    return {"createdAt": format_instant(row.created), "modifiedAt": format_instant(row.modified)}


async def _found(connection: Connection, tenant: int, now: datetime, source_id: str) -> RegistryRow:
    row = await store.FIND.one(connection, tenant, now, source_id)
    if row is None:
        raise ResourceNotFound(f"no registration {source_id}")
    return row


def _expiry(doc: Doc) -> datetime | None:
    return parse_instant(doc["expiresAt"]) if "expiresAt" in doc else None


# --- what must not be ---------------------------------------------------------------------------------------------


async def _refuse_conflicts(hub: Hub, connection: Connection, tenant: int, new: Source) -> None:
    """An exclusive or redirecting source may not claim what is kept here, nor what another one claims alone.

    Raises Conflict.
    """
    if not new.is_proxied:
        return
    for row in await store.OF_TENANT.all(connection, tenant, hub.clock.now()):
        other = source_of(msgspec.json.decode(row.doc))
        if other.id == new.id or not other.is_proxied or new.mode == other.mode == "redirect":
            continue
        if any(other.part(info.entities, info.names) for info in new.information):
            raise Conflict(f"{other.id} ({other.mode}) holds part of this already")
    for info in new.information:
        selection = Selection(who=tuple(map(who_of, info.entities)), attributes=info.names)
        kept, _ = await hub.query(tenant, selection, 1, 0)
        if kept:
            raise Conflict(f"part of this is kept here: {kept[0]['id']}")


def who_of(wanted: Wanted) -> Who:
    """The same entities in the words of a selection."""
    return Who(
        ids=None if wanted.ids is None else tuple(sorted(wanted.ids)),
        pattern=wanted.pattern,
        types=None if wanted.types is None else TypeSelection(tuple((iri,) for iri in sorted(wanted.types))),
    )
