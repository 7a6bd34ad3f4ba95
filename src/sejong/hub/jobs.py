"""What the hub does by itself: next months' partitions, forgetting old change notes, removing what expired."""

from __future__ import annotations

from datetime import timedelta

import structlog

from sejong.hub.federation import registering
from sejong.hub.opendata.catalogue import KEEP_QUALITY, Catalogue
from sejong.hub.opendata.retention import forget
from sejong.hub.service import Hub
from sejong.hub.store import datasets, history, maps, snapshots, subscriptions, values
from sejong.hub.store import entities as store
from sejong.hub.store.terms import ALL_TENANTS
from sejong.kernel.errors import CityError
from sejong.kit.act import Act
from sejong.kit.city import City

log = structlog.get_logger("hub")
KEEP_CHANGES = timedelta(days=1)
"""How long the note of which entities a commit changed is kept. Chosen: longer than any restart."""
KEEP_UNUSED = timedelta(days=30)
"""How long an index of values is kept after the last query that used it. Chosen: monthly reports find theirs."""
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


async def roll_up(city: City, act: Act) -> None:
    """Bring the hourly summaries of histories up to date, one entity after the other, each in its own transaction."""
    rollups = city.part(Hub).rollups
    for eno in await rollups.behind():
        await rollups.roll_up(eno)


async def keep_promises(city: City, act: Act) -> None:
    """Forget histories that are older than their data sets promise to keep them."""
    gone = await forget(city.part(Catalogue), act.now)
    if gone:
        log.info("history_forgotten", rows=gone)


async def measure_data_sets(city: City, act: Act) -> None:
    """Measure the quality of every data set; one that cannot be measured does not stop the others."""
    catalogue = city.part(Catalogue)
    for one in await catalogue.all():
        try:
            await catalogue.measure(one.data_set)
        except CityError as error:
            log.warning("data_set_not_measured", data_set=one.data_set.id, why=str(error))
    await datasets.TRIM_QUALITY.run(act.connection, act.now - KEEP_QUALITY)


async def trim_notifications(city: City, act: Act) -> None:
    """Forget subscriptions deleted a day ago, processes that ended, and what nobody can be told any more."""
    await subscriptions.TRIM_GONE.run(act.connection, act.now - KEEP_CHANGES)
    await subscriptions.TRIM_RUNS.run(act.connection)
    await subscriptions.TRIM_DEAD.run(act.connection, act.now - KEEP_DEAD)
    await subscriptions.TRIM_ORPHANS.run(act.connection, act.now - timedelta(hours=1))


async def trim_contexts(city: City, act: Act) -> None:
    """Forget copies of remote @contexts that nobody may believe any more."""
    await city.part(Hub).library.trim(act.connection)


async def remove_expired_registrations(city: City, act: Act) -> None:
    """Delete registrations whose time has come (they match nothing already) and tell their subscribers."""
    await registering.remove_expired(city.part(Hub), act.connection)
