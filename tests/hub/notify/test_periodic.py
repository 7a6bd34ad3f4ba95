"""Periodic subscriptions: told at their time by exactly one process; throttling by the city's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conftest import START
from tests.hub.notify.conftest import until
from tests.hub.notify.receiver import Receiver

from sejong.hub.ngsi.context import CORE, CORE_URL
from sejong.hub.ngsi.entity import expand_entity
from sejong.hub.ngsi.subscription import patched, read_subscription
from sejong.hub.notify.deliverer import Deliverer
from sejong.hub.service import Hub
from sejong.kernel.clock import ManualClock
from sejong.kit.postgres import Pool
from sejong.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def hubs(pool: Pool, clock: ManualClock, settings: Settings) -> AsyncIterator[list[Hub]]:
    """Two processes of a city whose clock stands still."""
    made = [Hub(pool, clock, settings) for _ in range(2)]
    for hub in made:
        await hub.open()
    yield made
    for hub in made:
        await hub.close()


async def lamp(hub: Hub, number: int, power: int = 1) -> None:
    body = {"id": f"urn:ngsi-ld:Lamp:{number}", "type": "Lamp", "power": power}
    await hub.upsert(0, [expand_entity(body, CORE, now=hub.now())])


async def wish(hub: Hub, uri: str, **members: Any) -> None:
    body = {
        "id": "urn:s:1",
        "type": "Subscription",
        "entities": [{"type": "Lamp"}],
        "notification": {"endpoint": {"uri": uri}, "format": "simplified"},
        **members,
    }
    await hub.subscriptions.create(0, read_subscription(body, CORE, CORE_URL, now=hub.now()))


async def test_all_that_match_at_each_interval_from_one_process(
    hubs: list[Hub], clock: ManualClock, receiver: Receiver
) -> None:
    one, two = Deliverer(hubs[0]), Deliverer(hubs[1])
    async with one.running(), two.running():
        await wish(hubs[0], receiver.url(), timeInterval=10, q="power>0")
        await until(lambda: len(hubs[1].subscriptions.index.watches) == 1)

        async def due() -> None:
            await asyncio.gather(*(each.tell_what_is_due() for each in (one, two, one, two)))

        await due()
        clock.advance(10.5)
        await due()
        assert not await hubs[0].pool.fetchval("select count(*) from hub.outbox")  # nothing matches, nothing is sent
        for number in range(3):
            await lamp(hubs[0], number, number)
        await due()
        clock.advance(9)
        await due()
        assert not receiver.bodies()
        clock.advance(1)
        await due()
        (told,) = await receiver.wait(1)
        assert [entity["power"] for entity in told["data"]] == [1, 2]
        clock.advance(35)
        await due()
        await due()
        assert len(await receiver.wait(2)) == 2
        await hubs[0].subscriptions.change(
            0, "urn:s:1", lambda old: patched(old, {"isActive": False}, CORE, now=hubs[0].now())
        )
        clock.advance(10)
        await due()
        await asyncio.sleep(0.3)
        assert len(receiver.bodies()) == 2


async def test_throttling_counts_from_what_was_told(hubs: list[Hub], clock: ManualClock, receiver: Receiver) -> None:
    hub = hubs[0]
    async with Deliverer(hub).running():
        await wish(hub, receiver.url(), throttling=60)
        for seconds, power in ((0, 1), (59, 2), (0.9, 3), (0.1, 4), (30, 5), (29.9, 6), (0.1, 7)):
            clock.advance(seconds)
            await lamp(hub, 1, power)
        await receiver.wait(3)
        await until(lambda: nothing_waits(hub))
        assert [body["data"][0]["power"] for body in receiver.bodies()] == [1, 4, 7]
        assert receiver.bodies()[0]["notifiedAt"].startswith(START.isoformat()[:19])


async def nothing_waits(hub: Hub) -> bool:
    return not await hub.pool.fetchval("select count(*) from hub.outbox")


async def test_an_expired_subscription_is_told_no_more(hubs: list[Hub], clock: ManualClock, receiver: Receiver) -> None:
    hub = hubs[0]
    async with Deliverer(hub).running():
        await wish(hub, receiver.url(), expiresAt="2026-11-22T09:10:00Z")
        await lamp(hub, 1, 1)
        await receiver.wait(1)
        clock.advance(601)
        await lamp(hub, 1, 2)
        assert not await hub.pool.fetchval("select count(*) from hub.outbox where at > $1", START)
        kept = await hub.subscriptions.retrieve(0, "urn:s:1")
        assert kept.definition.status(hub.now()) == "expired"
