"""What the hub does by itself: next months' partitions, forgetting old change notes, removing what expired."""

from __future__ import annotations

from datetime import timedelta

from sejong.hub.service import Hub
from sejong.hub.store import entities as store
from sejong.hub.store import history, maps, snapshots, values
from sejong.hub.store.terms import ALL_TENANTS
from sejong.kit.act import Act
from sejong.kit.city import City

KEEP_CHANGES = timedelta(days=1)
"""How long the note of which entities a commit changed is kept. Chosen: longer than any restart."""
KEEP_UNUSED = timedelta(days=30)
"""How long an index of values is kept after the last query that used it. Chosen: monthly reports find theirs."""
MOST_EXPIRED = 1000


async def ensure_months(city: City, act: Act) -> None:
    """Make the history partitions of last month to two months ahead."""
    today = act.now.date()
    for n in (-1, 0, 1, 2):
        await history.ENSURE_MONTH.run(act.connection, today + timedelta(days=30 * n))


async def trim_changes(city: City, act: Act) -> None:
    """Forget which entities changed more than a day ago."""
    await store.TRIM_CHANGES.run(act.connection, act.now - KEEP_CHANGES)


async def trim_values(city: City, act: Act) -> None:
    """Give up indexes of values nobody asked for in a month, and forget values of what is gone."""
    await values.DROP_UNUSED.run(act.connection, act.now - KEEP_UNUSED)
    await values.TRIM.run(act.connection)


async def remove_expired_copies(city: City, act: Act) -> None:
    """Forget entity maps and snapshots whose time is over (they are invisible already)."""
    await maps.REMOVE_EXPIRED.run(act.connection, act.now)
    await snapshots.REMOVE_EXPIRED.run(act.connection, act.now)


async def remove_expired(city: City, act: Act) -> None:
    """Delete entities whose time has come (they are invisible already); their history stays."""
    hub = city.part(Hub)
    for tenant in await ALL_TENANTS.all(act.connection):
        expired = await store.EXPIRED.all(act.connection, act.now, tenant.no, MOST_EXPIRED)
        for row in expired:
            await hub.remove_expired(tenant.no, row.id)
