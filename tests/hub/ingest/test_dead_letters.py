"""Nothing is silently dropped: what was not understood lies there with its reason, and comes back once it can."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.hub.ingest.helpers import BIKES, bike, history, letters, message, said, through, value_of

from sejong.hub.ingest import dead_letters, keys
from sejong.hub.ingest.mapping import DeviceModel, read_model
from sejong.hub.ingest.needs import Limits
from sejong.hub.ingest.service import Ingest
from sejong.hub.ingest.source import Source
from sejong.hub.service import Hub
from sejong.kernel.clock import ManualClock
from sejong.kit.act import Record

pytestmark = pytest.mark.anyio
TOPIC = "bikes/SJ_00001/up"


def bike_model(**changed: Any) -> DeviceModel:
    row = {"name": "availableBikeNumber", "path": "n"}
    plain = {"name": "bikes", "topic": "bikes/+/up", "format": "json", "type": "BikeHireDockingStation"}
    return read_model(
        {**plain, "id": "urn:ngsi-ld:BikeHireDockingStation:sejong:{topic[1]}", "attribute": [{**row, **changed}]}
    )


async def save(ingest: Ingest, record: Record, *models: DeviceModel) -> None:
    async with record.act("operator", "hub.device_model.save") as act:
        await ingest.save_models(act, list(models))
    await ingest.flush()


@pytest.fixture
async def key(ingest: Ingest, record: Record) -> None:
    async with record.act("operator", "hub.device_key.create") as act:
        await keys.create(act, "gw", topic_filters=["bikes/+/up", "unknown/#"])
    await ingest.flush()


@pytest.mark.usefixtures("key")
async def test_mended_mapping_brings_the_readings_back(
    ingest: Ingest, record: Record, hub: Hub, clock: ManualClock
) -> None:
    await save(ingest, record, bike_model(values={"few": 1}))
    (source,) = await through(ingest, message({"n": "many"}), door="mqtt", topic=TOPIC)
    assert [refused.error.code for refused in source.refused] == ["BadValue"]
    assert (await dead_letters.replay(ingest)) == dead_letters.Replayed(0, 1, 0)
    came = clock.now()
    clock.advance(3600)
    await save(ingest, record, bike_model(values={"few": 1, "many": 20}))
    assert (await dead_letters.replay(ingest)) == dead_letters.Replayed(1, 0, 1)
    assert await letters(hub.pool) == []
    entity = await hub.retrieve(0, bike(1))
    assert entity[BIKES][0]["value"] == 20
    assert entity[BIKES][0]["observedAt"].startswith(came.strftime("%Y-%m-%dT%H:%M:%S"))  # when it came, not now


@pytest.mark.usefixtures("key")
async def test_good_siblings_are_kept_and_come_once(ingest: Ingest, record: Record, hub: Hub) -> None:
    await save(ingest, record, bike_model())
    raw = message([{"n": 5}, {"m": 6}])
    (source,) = await through(ingest, raw, door="mqtt", topic=TOPIC)
    assert source.accepted == 1
    ((reason, payload, _),) = await letters(hub.pool)
    assert (reason, payload) == ("NoReadings", raw)  # the whole message, for the mended model to see
    await dead_letters.replay(ingest)
    assert len(await history(hub.pool)) == 1


@pytest.mark.usefixtures("key")
async def test_reason_follows_the_present_fault(ingest: Ingest, record: Record, hub: Hub) -> None:
    (_,) = await through(ingest, message({"n": [None]}), door="mqtt", topic=TOPIC)
    assert [reason for reason, _, _ in await letters(hub.pool)] == ["UnknownTopic"]
    await save(ingest, record, bike_model())
    assert (await dead_letters.replay(ingest)).remaining == 1
    assert [reason for reason, _, _ in await letters(hub.pool)] == ["BadValue"]


async def test_thing_that_came_later_brings_its_readings_back(ingest: Ingest, hub: Hub) -> None:
    early = {"id": bike(4), "at": "2026-11-22T08:00:00Z", "availableBikeNumber": 3, "simulated": True}
    await through(ingest, message(early), sender="file.csv", door="file")
    await through(ingest, message(said(4, 9, "2026-11-22T07:00:00Z")), sender="file.csv", door="file")
    assert (await dead_letters.replay(ingest)) == dead_letters.Replayed(1, 0, 1)
    assert await value_of(hub, 4) == 3
    assert len(await history(hub.pool)) == 2


async def test_only_chosen_letters_are_replayed(ingest: Ingest, hub: Hub) -> None:
    for n in (1, 2, 3):
        thing = {"id": bike(n), "at": "2026-11-22T08:00:00Z", "availableBikeNumber": n}
        await through(ingest, message(thing), door="file", sender="a.csv")
    await through(
        ingest, message(*(said(n, 0, "2026-11-22T07:00:00Z") for n in (1, 2, 3))), door="file", sender="a.csv"
    )
    async with hub.pool.acquire() as connection:
        rows = await dead_letters.letters(connection)
    assert (await dead_letters.replay(ingest, [rows[1].no])).understood == 1
    assert [await value_of(hub, n) for n in (1, 2, 3)] == [0, 2, 0]


async def test_letters_of_a_revoked_key_stay(ingest: Ingest, hub: Hub) -> None:
    await through(ingest, message({"id": bike(1), "availableBikeNumber": 3}), door="http", sender="gone")
    assert (await dead_letters.replay(ingest)).remaining == 1
    assert [reason for reason, _, _ in await letters(hub.pool)] == ["UnknownKey"]


async def test_list_pages_filters_and_counts(ingest: Ingest, hub: Hub) -> None:
    await through(ingest, *[b"garbage %d" % n for n in range(5)], b"garbage 1")
    await through(ingest, message({"id": "?"}), sender="other", door="mqtt")
    async with hub.pool.acquire() as connection:
        everything = await dead_letters.letters(connection, limit=4)
        rest = await dead_letters.letters(connection, limit=4, before=everything[-1].no)
        of_other = await dead_letters.letters(connection, sender="other", reason="BadId", door="mqtt")
        counts = await dead_letters.reasons(connection)
        assert await dead_letters.remove(connection, [row.no for row in rest]) == 2
    assert [row.no for row in (*everything, *rest)] == sorted((row.no for row in (*everything, *rest)), reverse=True)
    assert len(everything) + len(rest) == 6
    assert [row.payload for row in of_other] == [b'{"id":"?"}']
    assert [(c.reason, c.sender, c.letters, c.messages) for c in counts] == [
        ("NotJson", "gw", 5, 6),
        ("BadId", "other", 1, 1),
    ]


async def test_old_letters_make_room_and_are_counted(hub: Hub, clock: ManualClock) -> None:
    limits = Limits(letters=8, letters_of_a_kind=5)
    async with Ingest(hub, limits).running() as ingest:
        await through(ingest, *[b"garbage %d" % n for n in range(9)], sender="flood")
        await through(ingest, message({"id": "?"}), sender="quiet")
        await through(ingest, *[b"garbage %d" % n for n in range(9)], sender="other")
        await ingest.flush()
        async with hub.pool.acquire() as connection:
            kept = await dead_letters.reasons(connection)
            past = await dead_letters.made_room(connection)
    # of each kind the newest five; of those, the newest eight of all
    assert {(c.sender, c.letters) for c in kept} == {("flood", 2), ("quiet", 1), ("other", 5)}
    assert {(p.sender, p.n) for p in past} == {("flood", 7), ("other", 4)}
    assert past[0].day.date() == clock.now().date()


async def test_throttled_messages_are_one_letter_a_minute(ingest: Ingest, hub: Hub, clock: ManualClock) -> None:
    for minute in range(2):
        for n in range(30):
            source = Source("mqtt", "gw", "sejong/v1/gw/readings", clock.now(), b"flood %d" % n)
            ingest.throttled(source, None)
        await ingest.flush()
        for _ in range(5):
            ingest.throttled(Source("mqtt", "gw", "sejong/v1/gw/readings", clock.now(), b"more"), None)
        await ingest.flush()
        clock.advance(60 * (minute + 1))
    assert await letters(hub.pool) == [("Throttled", b"flood 0", 35), ("Throttled", b"flood 0", 35)]
    async with hub.pool.acquire() as connection:
        assert await connection.fetchval("select sum(throttled) from hub.ingest_minute") == 70
    assert (await dead_letters.replay(ingest)).remaining == 0  # a sample is no message to bring back
    assert clock.now() - timedelta(minutes=3) == (await first_arrival(hub))


async def first_arrival(hub: Hub) -> Any:
    async with hub.pool.acquire() as connection:
        return await connection.fetchval("select min(arrived) from hub.dead_letter")
