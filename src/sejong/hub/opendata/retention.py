"""How long histories are kept: what its data sets promise, and no longer.

Where a thing belongs to several data sets the longest promise counts; a data set that promises nothing keeps for ever.
What no data set speaks of stays. Present values are never touched, only what was before.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sejong.hub.opendata.catalogue import Catalogue
from sejong.hub.opendata.dataset import DataSet
from sejong.hub.store import datasets as store
from sejong.hub.store.selecting import Search
from sejong.kit.postgres import Connection

SERIES_AT_ONCE = 2000
"""Series whose old rows are deleted in one statement. Chosen: a second of work, so that no writer waits long."""
GRACE = timedelta(days=62)
"""Months are dropped only when they ended so long ago; late readings may still come for younger ones. Chosen."""
FOR_EVER = float("inf")
Promises = dict[int, dict[int | None, float]]
"""Entity number → attribute number (None: all others) → days."""


async def promises(catalogue: Catalogue, connection: Connection, sets: Sequence[DataSet]) -> Promises:
    """What is promised of each series by the data sets together."""
    hub = catalogue.hub
    context = await hub.context()
    found: Promises = {}
    for one in sets:
        days = FOR_EVER if one.retention_days is None else float(one.retention_days)
        iris = [context.expand(name) for name in one.query.attrs]
        await hub.terms.look_up(connection, iris)
        anos: list[int | None] = [hub.terms.number[iri] for iri in iris if iri in hub.terms.number]
        for no in await members(catalogue, connection, one):
            kept = found.setdefault(no, {})
            for ano in anos if iris else [None]:
                kept[ano] = max(kept.get(ano, 0.0), days)
    for kept in found.values():
        # A set of all attributes holds for those named elsewhere, too.
        for ano in kept:
            kept[ano] = max(kept[ano], kept.get(None, 0.0))
    return found


async def members(catalogue: Catalogue, connection: Connection, one: DataSet) -> list[int]:
    """The things of a data set; also deleted ones, unless its query looks at present values."""
    hub = catalogue.hub
    selection = one.query.selection(await hub.context())
    if selection.asks_attributes:
        return await (await catalogue.search(connection, selection)).numbers(connection)
    await hub.terms.look_up(connection, selection.names())
    search = Search(0, hub.clock.now(), selection, hub.terms.number.get, history=True)
    return await (await search.prepare(connection)).numbers(connection)


async def forget(catalogue: Catalogue, now: datetime) -> int:
    """Delete what is older than promised, and drop months that are empty then. How many rows went."""
    hub = catalogue.hub
    sets = [one.data_set for one in await catalogue.all()]
    if all(one.retention_days is None for one in sets):
        return 0
    async with hub.pool.acquire(timeout=10) as connection:
        kept = await promises(catalogue, connection, sets)
    gone = 0
    series = [(no, ano, days) for no, by in kept.items() for ano, days in by.items() if ano is not None]
    for start in range(0, len(series), SERIES_AT_ONCE):
        some = [(no, ano, now - timedelta(days=days)) for no, ano, days in series[start : start + SERIES_AT_ONCE]
                if days != FOR_EVER]  # fmt: skip
        if some:
            async with hub.pool.acquire(timeout=10) as connection, connection.transaction():
                columns = ([s[0] for s in some], [s[1] for s in some], [s[2] for s in some])
                await store.DOUBT_SUMMARIES.run(connection, columns[0], columns[2])
                gone += await store.FORGET.run(connection, *columns)
    whole = [(no, by[None], [ano for ano in by if ano is not None]) for no, by in kept.items() if None in by]
    for start in range(0, len(whole), SERIES_AT_ONCE):
        group = [(no, now - timedelta(days=days), named) for no, days, named in whole[start : start + SERIES_AT_ONCE]
                 if days != FOR_EVER]  # fmt: skip
        if group:
            named = [(no, ano) for no, _, anos in group for ano in anos]
            async with hub.pool.acquire(timeout=10) as connection, connection.transaction():
                columns = ([g[0] for g in group], [g[1] for g in group], [n[0] for n in named], [n[1] for n in named])
                await store.DOUBT_SUMMARIES.run(connection, columns[0], columns[1])
                gone += await store.FORGET_OTHERS.run(connection, *columns)
    async with hub.pool.acquire(timeout=10) as connection, connection.transaction():
        await store.DROP_EMPTY_MONTHS.value(connection, (now - GRACE).date())
    return gone
