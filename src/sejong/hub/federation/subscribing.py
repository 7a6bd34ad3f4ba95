"""Keeping subscriptions to registrations. Source: ETSI GS CIM 009 v1.9.1 clauses 5.11.2-5.11.6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from sejong.hub.federation.notices import tell_all
from sejong.hub.ngsi.errors import AlreadyExists, ResourceNotFound
from sejong.hub.ngsi.source_subscription import is_active
from sejong.hub.service import Hub
from sejong.hub.store import registry as store
from sejong.hub.store.registry import RegistryRow
from sejong.kernel.ids import new_id, urn

Doc = dict[str, Any]


async def subscribe(hub: Hub, tenant: int, doc: Doc) -> str:
    """Keep a new subscription and tell its subscriber what matches already; its id. Raises AlreadyExists."""
    doc.setdefault("id", urn("Subscription", new_id(hub.clock)))
    now = hub.clock.now()
    async with hub.pool.acquire(timeout=10) as connection, connection.transaction():
        await store.LOCK.run(connection, tenant)
        if not await store.ADD_SUBSCRIPTION.run(
            connection, tenant, doc["id"], msgspec.json.encode(doc), now, doc.get("timeInterval")
        ):
            raise AlreadyExists(f"there is a subscription {doc['id']} already")
        row = await store.SUBSCRIPTION.one(connection, tenant, doc["id"])
        assert row is not None
        if is_active(doc, hub.now()):
            await tell_all(hub, connection, row, doc, "newlyMatching", now)
    return doc["id"]


async def change(hub: Hub, tenant: int, subscription_id: str, patch: Callable[[Doc], Doc]) -> None:
    """Change a subscription. Raises ResourceNotFound, and what `patch` raises."""
    async with hub.pool.acquire(timeout=10) as connection, connection.transaction():
        await store.LOCK.run(connection, tenant)
        row = await store.SUBSCRIPTION.one(connection, tenant, subscription_id)
        new = patch(msgspec.json.decode(_there(row, subscription_id).doc))
        await store.CHANGE_SUBSCRIPTION.run(
            connection, tenant, subscription_id, msgspec.json.encode(new), hub.clock.now(), new.get("timeInterval")
        )


async def remove(hub: Hub, tenant: int, subscription_id: str) -> None:
    """Forget a subscription and what still waits for it. Raises ResourceNotFound."""
    async with hub.pool.acquire(timeout=10) as connection:
        if not await store.REMOVE_SUBSCRIPTION.run(connection, tenant, subscription_id):
            raise ResourceNotFound(f"no subscription {subscription_id}")


async def one(hub: Hub, tenant: int, subscription_id: str) -> RegistryRow:
    """A subscription. Raises ResourceNotFound."""
    async with hub.pool.acquire(timeout=10) as connection:
        return _there(await store.SUBSCRIPTION.one(connection, tenant, subscription_id), subscription_id)


async def every(hub: Hub, tenant: int) -> list[RegistryRow]:
    """All subscriptions of a tenant, oldest first."""
    async with hub.pool.acquire(timeout=10) as connection:
        return await store.SUBSCRIPTIONS.all(connection, tenant)


def _there(row: RegistryRow | None, subscription_id: str) -> RegistryRow:
    if row is None:
        raise ResourceNotFound(f"no subscription {subscription_id}")
    return row
