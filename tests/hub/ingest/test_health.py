"""An operator sees what arrives, who has fallen silent, and whose values cannot be right."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.hub.ingest.helpers import bike, message, said, through

from sejong.hub.ingest import health
from sejong.hub.ingest.needs import Limits
from sejong.hub.ingest.service import Ingest
from sejong.hub.service import Hub
from sejong.kernel.clock import ManualClock
from sejong.kit.postgres import Pool

pytestmark = pytest.mark.anyio


async def silent(pool: Pool, clock: ManualClock) -> list[str]:
    async with pool.acquire() as connection:
        return [row.entity for row in await health.silent_devices(connection, clock.now())]


async def minutes(ingest: Ingest, clock: ManualClock, count: int, *stations: int) -> None:
    """So many minutes in which these stations report once a minute."""
    for _ in range(count):
        clock.advance(60)
        await through(ingest, *(message(said(n, 5, None)) for n in stations), door="mqtt")
    await ingest.flush()


async def test_device_that_misses_several_of_its_intervals_is_silent(
    ingest: Ingest, hub: Hub, clock: ManualClock
) -> None:
    await minutes(ingest, clock, 5, 1, 2)
    assert await silent(hub.pool, clock) == []
    await minutes(ingest, clock, 3, 1)
    assert await silent(hub.pool, clock) == []
    await minutes(ingest, clock, 1, 1)
    assert await silent(hub.pool, clock) == [bike(2)]
    async with hub.pool.acquire() as connection:
        (row,) = await health.silent_devices(connection, clock.now())
    assert (row.usual_s, row.silent_s) == (60.0, 240.0)
    await minutes(ingest, clock, 1, 1, 2)
    assert await silent(hub.pool, clock) == []


async def test_time_without_ingest_is_nobodys_silence(hub: Hub, clock: ManualClock) -> None:
    async with Ingest(hub, Limits()).running() as first:
        await minutes(first, clock, 5, 1, 2)
    clock.advance(86_400)
    async with hub.pool.acquire() as connection:
        await connection.execute("update hub.ingest_run set beat = beat - interval '1 hour'")
    assert await silent(hub.pool, clock) == []  # nobody listens
    async with Ingest(hub, Limits()).running() as second:
        await second.flush()
        assert await silent(hub.pool, clock) == []
        await minutes(second, clock, 5, 1)
        assert await silent(hub.pool, clock) == [bike(2)]


async def test_clock_that_jumps_does_not_leave_everybody_silent(ingest: Ingest, hub: Hub, clock: ManualClock) -> None:
    await minutes(ingest, clock, 5, 1, 2)
    clock.advance(-7200)
    await minutes(ingest, clock, 2, 1, 2)
    assert await silent(hub.pool, clock) == []
    clock.advance(10_800)
    await minutes(ingest, clock, 1, 1, 2)
    assert await silent(hub.pool, clock) == []


async def test_rate_counts_by_minute_and_door(ingest: Ingest, hub: Hub, clock: ManualClock) -> None:
    await through(ingest, message(said(1, 5, "2026-11-22T08:00:00Z")), b"garbage", door="mqtt")
    await through(ingest, message(said(1, 5, "2026-11-22T08:00:00Z"), said(1, 4, "2026-11-22T07:00:00Z")), door="http")
    await ingest.flush()
    await through(ingest, message(said(2)), door="mqtt")
    clock.advance(60)
    await through(ingest, message(said(3)), door="mqtt")
    await ingest.flush()
    await ingest.flush()
    async with hub.pool.acquire() as connection:
        rows = await health.ingest_rate(connection, clock.now(), 60)
    assert [(r.minute.minute, r.door, r.readings, r.duplicates, r.late, r.refused) for r in rows] == [
        (0, "http", 2, 1, 1, 0),
        (0, "mqtt", 2, 0, 0, 1),
        (1, "mqtt", 1, 0, 0, 0),
    ]


async def test_suspects_are_told_with_what_was_expected(ingest: Ingest, hub: Hub, clock: ManualClock) -> None:
    await through(ingest, message(said(1, -1, "2026-11-22T08:00:00Z")), message(said(2, 5)))
    await ingest.flush()
    await through(ingest, message(said(1, 255, "2026-11-22T08:05:00Z")))
    await ingest.flush()
    async with hub.pool.acquire() as connection:
        (row,) = await health.suspects(connection, clock.now())
        assert await health.suspects(connection, clock.now(), kind="stuck") == []
        assert await health.suspects(connection, clock.now() + timedelta(hours=2)) == []
        await health.trim(connection, clock.now() + timedelta(days=30), Limits())
        assert await health.suspects(connection, clock.now()) == []
    assert (row.entity, row.kind, row.n, row.value, row.low, row.high) == (bike(1), "range", 2, 255.0, 0.0, 200.0)


async def test_what_could_not_be_written_is_kept_for_the_next_time(
    ingest: Ingest, hub: Hub, clock: ManualClock
) -> None:
    await through(ingest, message(said(1)), door="mqtt")
    async with hub.pool.acquire() as connection:
        await connection.execute("alter table hub.ingest_minute rename to elsewhere")
        with pytest.raises(Exception, match="ingest_minute"):
            await ingest.flush()
        await connection.execute("alter table hub.elsewhere rename to ingest_minute")
    await ingest.flush()
    async with hub.pool.acquire() as connection:
        (row,) = await health.ingest_rate(connection, clock.now())
        assert await connection.fetchval("select n from hub.device_seen") == 1
    assert row.readings == 1
