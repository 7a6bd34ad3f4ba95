"""What the hub does by itself: next months' partitions, forgetting old change notes, removing what expired."""

from __future__ import annotations

from datetime import timedelta

from sejong.hub.service import Hub
from sejong.hub.store import entities as store
from sejong.hub.store import history, subscriptions
from sejong.hub.store.terms import ALL_TENANTS
from sejong.kit.act import Act
from sejong.kit.city import City

KEEP_CHANGES = timedelta(days=1)
"""How long the note of which entities a commit changed is kept. Chosen: longer than any restart."""
MOST_EXPIRED = 1000
KEEP_DEAD = timedelta(days=30)
"""How long a notification that could not be delivered is kept. Chosen."""


async def ensure_months(city: City, act: Act) -> None:
    """Make the history partitions of last month to two months ahead."""
    today = act.now.date()
    for n in (-1, 0, 1, 2):
        await history.ENSURE_MONTH.run(act.connection, today + timedelta(days=30 * n))


async def trim_changes(city: City, act: Act) -> None:
    """Forget which entities changed more than a day ago."""
    await store.TRIM_CHANGES.run(act.connection, act.now - KEEP_CHANGES)


async def remove_expired(city: City, act: Act) -> None:
    """Delete entities whose time has come (they are invisible already); their history stays."""
    hub = city.part(Hub)
    for tenant in await ALL_TENANTS.all(act.connection):
        expired = await store.EXPIRED.all(act.connection, act.now, tenant.no, MOST_EXPIRED)
        for row in expired:
            await hub.remove_expired(tenant.no, row.id)


async def trim_notifications(city: City, act: Act) -> None:
    """Forget subscriptions deleted a day ago, processes that ended, and what nobody can be told any more."""
    await subscriptions.TRIM_GONE.run(act.connection, act.now - KEEP_CHANGES)
    await subscriptions.TRIM_RUNS.run(act.connection)
    await subscriptions.TRIM_DEAD.run(act.connection, act.now - KEEP_DEAD)
    await subscriptions.TRIM_ORPHANS.run(act.connection, act.now - timedelta(hours=1))
