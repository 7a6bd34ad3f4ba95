"""The pulse of the record: every commit is heard once, also one that ends after a later one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from sejong.hub.feed import ChangeFeed
from sejong.hub.rendered import Rendered
from sejong.kit.postgres import Pool

pytestmark = pytest.mark.anyio

CHANGED = "insert into hub.change(at, tenant, enos) values (now(), 0, $1)"
TELL = "select pg_notify('hub_change', '')"


async def heard(listener: AsyncIterator[list[int]], *awaited: int) -> list[int]:
    """All that is told until the awaited numbers were."""
    found: list[int] = []
    while not set(awaited) <= set(found):
        found.extend(await asyncio.wait_for(anext(listener), 15))
    return found


async def begun(feed: ChangeFeed, pool: Pool) -> AsyncIterator[list[int]]:
    """A listener that certainly hears: the feed has answered once."""
    for _ in range(100):
        listener = feed.listen()  # a listener whose wait is cut short has ended: each try takes its own
        await pool.execute(CHANGED, [0])
        await pool.execute(TELL)
        try:
            await asyncio.wait_for(anext(listener), 0.3)
            return listener
        except TimeoutError:
            continue
    raise AssertionError("the feed never answered")


async def test_commit_that_ends_after_a_later_one_is_heard(pool: Pool, empty: str) -> None:
    feed = ChangeFeed(pool, Rendered(0))
    slow, quick = await asyncpg.connect(empty), await asyncpg.connect(empty)
    try:
        listener = await begun(feed, pool)
        first = slow.transaction()
        await first.start()
        await slow.execute(CHANGED, [1])
        await slow.execute(TELL)
        await quick.execute(CHANGED, [2])
        await quick.execute(TELL)
        await asyncio.sleep(0.5)
        await first.commit()
        numbers = [n for n in await heard(listener, 1, 2) if n]
        assert sorted(numbers) == [1, 2]
    finally:
        await feed.close()
        await slow.close()
        await quick.close()


async def test_feed_survives_the_loss_of_its_connection(pool: Pool) -> None:
    feed = ChangeFeed(pool, Rendered(0))
    try:
        listener = await begun(feed, pool)
        await pool.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where query like '%hub.change%' "
            "and pid <> pg_backend_pid() and datname = current_database()"
        )
        await pool.execute(CHANGED, [7])
        await pool.execute(TELL)
        await heard(listener, 7)
    finally:
        await feed.close()
