"""What the collector takes is in the record before anybody is told so, and one bad reading spoils nothing else."""

from __future__ import annotations

import asyncio
import random
import string

import pytest
from tests.hub.ingest.helpers import BIKES, bike, history, letters, message, said, through, value_of

from sejong.hub.ingest import collector as module
from sejong.hub.ingest.needs import Limits
from sejong.hub.ingest.reading import Reading, Understood
from sejong.hub.ingest.service import Ingest
from sejong.hub.ingest.source import Source
from sejong.hub.service import Hub

pytestmark = pytest.mark.anyio


async def test_readings_are_in_the_record_when_settled(ingest: Ingest, hub: Hub) -> None:
    (source,) = await through(ingest, message(said(1, 7), said(2, 8)))
    assert (source.accepted, source.late, source.duplicates, source.refused) == (2, 0, 0, [])
    assert (await value_of(hub, 1), await value_of(hub, 2)) == (7, 8)
    assert ingest.collector.backlog == 0


async def test_late_and_repeated_readings(ingest: Ingest, hub: Hub) -> None:
    newest, older, again = (
        message(said(1, 9, "2026-11-22T08:30:00Z")),
        message(said(1, 5, "2026-11-22T08:10:00Z")),
        message(said(1, 9, "2026-11-22T08:30:00Z"), said(1, 5, "2026-11-22T08:10:00Z")),
    )
    for raw in (newest, older, again, again):
        (source,) = await through(ingest, raw)
    assert (source.accepted, source.late, source.duplicates) == (0, 1, 1)
    assert await value_of(hub) == 9
    assert [(t, v) for _, t, v in await history(hub.pool)] == [("08:10:00.000000", 5), ("08:30:00.000000", 9)]


async def test_many_messages_in_any_order_are_in_the_history_once(ingest: Ingest, hub: Hub) -> None:
    things = [said(n % 7, n, f"2026-11-22T08:{n // 60:02}:{n % 60:02}Z") for n in range(600)]
    chance = random.Random(1)
    mixed = things + chance.choices(things, k=300)
    chance.shuffle(mixed)
    await through(ingest, *(message(*mixed[n : n + 9]) for n in range(0, len(mixed), 9)))
    found = await history(hub.pool)
    assert len(found) == len(set(found)) == 600
    for n in range(7):
        assert await value_of(hub, n) == max(m for m in range(600) if m % 7 == n)


async def test_unknown_thing_without_type_becomes_a_dead_letter_that_can_be_read_again(
    ingest: Ingest, hub: Hub
) -> None:
    lost = {"id": bike(9), "at": "2026-11-22T08:00:00Z", "availableBikeNumber": 3, "status": "ok"}
    (source,) = await through(ingest, message(said(1, 7), lost))
    assert source.accepted == 1
    assert [refused.error.code for refused in source.refused] == ["UnknownEntity"]
    ((reason, payload, n),) = await letters(hub.pool)
    assert (reason, n) == ("UnknownEntity", 1)
    assert b"availableBikeNumber" in payload
    assert b"2026-11-22T08:00:00" in payload
    assert ingest.collector.backlog == 0


async def test_reading_that_spoils_the_commit_is_found_and_set_aside(ingest: Ingest, hub: Hub) -> None:
    """The door never lets such an id through; should anything ever, it must not stop the others for ever."""
    poison = "urn:x:" + "".join(random.Random(2).choices(string.ascii_letters, k=9000))
    source = Source("http", "gw", "", hub.clock.now(), b"")
    done = asyncio.Event()
    source.settled = lambda _: done.set()
    instance = {"type": "Property", "value": 1, "observedAt": "2026-11-22T08:00:00.000000Z"}
    entities = [*(bike(n) for n in range(20)), poison]
    readings = [
        Reading(entity, ["urn:t:Bike"], BIKES, instance, instance["observedAt"], False, source) for entity in entities
    ]
    ingest.collector.offer(source, Understood(readings, []))
    await asyncio.wait_for(done.wait(), 20)
    assert source.accepted == 20
    assert [refused.error.code for refused in source.refused] == ["CannotStore"]
    assert [reason for reason, _, _ in await letters(hub.pool)] == ["CannotStore"]
    assert len(await history(hub.pool)) == 20


async def test_full_backlog_is_said_and_ends(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 50)
    async with Ingest(hub, Limits(backlog=100)).running() as ingest:
        rang: list[int] = []
        source = Source("mqtt", "gw", "", hub.clock.now(), message(*(said(n) for n in range(150))))
        ingest.receive(source, None)
        assert not ingest.collector.has_room
        ingest.collector.when_room(lambda: rang.append(ingest.collector.backlog))
        await asyncio.wait_for(ingest.collector.room(), 10)
        assert ingest.collector.has_room
        assert rang == [ingest.collector.backlog]
        await ingest.collector.drained()
    assert len(await history(hub.pool)) == 150


async def test_what_waits_is_written_when_the_process_stops(hub: Hub) -> None:
    async with Ingest(hub, Limits()).running() as ingest:
        for n in range(50):
            ingest.receive(Source("mqtt", "gw", "", hub.clock.now(), message(said(n), {"id": "?"})), None)
    assert len(await history(hub.pool)) == 50
    assert [(reason, n) for reason, _, n in await letters(hub.pool)] == [("BadId", 50)]


async def test_same_garbage_is_one_letter_that_counts(ingest: Ingest, hub: Hub) -> None:
    await through(ingest, *[b"garbage"] * 5, b"other garbage")
    await through(ingest, b"garbage")
    assert sorted(await letters(hub.pool)) == [("NotJson", b"garbage", 6), ("NotJson", b"other garbage", 1)]


async def test_letters_of_any_bytes_can_be_kept(ingest: Ingest, hub: Hub) -> None:
    nasty = [
        b"\x00\xff" * 10,
        b"x" * 100_000,
        message({"id": "urn:x:1", "n\x00m": 1}),
        message({"id": "urn:x:\x00", "a": 1}),
    ]
    sources = await through(ingest, *nasty, sender="gw\x00", topic="a/\x00/b")
    assert all(source.refused for source in sources)
    async with hub.pool.acquire() as connection:
        rows = await connection.fetch("select octet_length(payload) as kept, size from hub.dead_letter order by no")
    assert [tuple(row) for row in rows] == [(20, 20), (65_536, 100_000), (32, 32), (30, 30)]
