"""Bad days: killed processes, several processes, faults in matching, messages nobody takes, forbidden addresses."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from typing import Any

import pytest
from tests.hub.notify.conftest import subscribe, until
from tests.hub.notify.receiver import Receiver

from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.entity import expand_entity
from sejong.hub.notify.deliverer import Deliverer
from sejong.hub.service import Hub
from sejong.kit.postgres import open_pool

pytestmark = pytest.mark.anyio

LAMP = {"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp", "power": 5}
SIMPLE = {"format": "simplified", "pick": ["power"]}

KILLED = """
import asyncio, sys
from sejong.app import open_city
from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.entity import expand_entity
from sejong.hub.service import Hub
from sejong.settings import Settings

async def main():
    async with open_city(Settings()) as city:
        hub = city.part(Hub)
        for n in range(40):
            body = {"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp", "power": n}
            await hub.upsert(0, [expand_entity(body, CORE, now=hub.now())])
            print(n, flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


def powers(receiver: Receiver, path: str = "/told") -> list[Any]:
    return [body["data"][0]["power"] for body in receiver.bodies(path)]


async def test_kill_9_loses_no_notification(ask: Any, city: Any, settings: Any, receiver: Receiver) -> None:
    """A process dies with its outbox full; the next one delivers what is pending, at least once and in order."""
    receiver.manner["/told"] = "hang"
    await subscribe(ask, receiver.url(), notification=SIMPLE, endpoint={"timeout": 60_000})
    environment = {**os.environ, "SEJONG_DATABASE_URL": settings.database_url, "SEJONG_CITY": "testville"}
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert other.stdout is not None
    async with asyncio.timeout(60):
        while (await other.stdout.readline()).strip() != b"39":
            pass
    other.send_signal(signal.SIGKILL)
    await other.wait()
    waiting = await city.pool.fetchval("select count(*) from hub.outbox")
    assert waiting == 40
    assert not receiver.bodies()
    receiver.manner["/told"] = "200"
    deliverer = city.part(Deliverer)
    deliverer.lease = 1.0
    told = await receiver.wait(40, seconds=15)
    assert powers(receiver)[:40] == list(range(40))
    await until(lambda: emptied(city))
    assert Counter(body["id"] for body in told).keys() == {body["id"] for body in receiver.bodies()}


async def emptied(city: Any) -> bool:
    return not await city.pool.fetchval("select count(*) from hub.outbox")


async def test_two_processes_tell_each_subscriber_once_and_in_order(ask: Any, city: Any, empty: str,
                                                                     receiver: Receiver) -> None:  # fmt: skip
    """A subscription made here is known there; what is written there is told by whoever owns the subscriber."""
    pool = await open_pool(empty, size=5)
    there = Hub(pool, city.clock, city.settings)
    await there.open()
    async with Deliverer(there).running():
        await subscribe(ask, receiver.url(), notification=SIMPLE)
        await until(lambda: there.subscriptions.index.watches)
        here = city.part(Hub)
        for value in range(30):
            hub = (here, there)[value % 2]
            await hub.upsert(0, [expand_entity({**LAMP, "power": value}, CORE, now=hub.now())])
        await receiver.wait(30)
        await until(lambda: emptied(city))
        assert powers(receiver) == list(range(30))
    await there.close()
    await pool.close()


async def test_a_deleted_subscription_is_forgotten_everywhere(ask: Any, city: Any, empty: str) -> None:
    pool = await open_pool(empty, size=5)
    there = Hub(pool, city.clock, city.settings)
    await there.open()
    async with Deliverer(there).running():
        url = await subscribe(ask, "http://127.0.0.1:1/x")
        await until(lambda: there.subscriptions.wanted(0))
        await ask("DELETE", url, 204)
        await until(lambda: not there.subscriptions.wanted(0))
    await there.close()
    await pool.close()


async def test_a_fault_in_matching_never_fails_a_write(ask: Any, city: Any, receiver: Receiver) -> None:
    subscriptions = city.part(Hub).subscriptions
    await subscribe(ask, receiver.url("/bad"), "bad")
    await subscribe(ask, receiver.url("/good"), "good")

    def broken(_: Any) -> bool:
        raise ZeroDivisionError("a predicate that raises")

    bad = next(watch for watch in subscriptions.index.watches.values() if watch.definition.id == "urn:s:bad")
    bad.tested = broken
    await ask.make(LAMP)
    await receiver.wait(1, "/good")
    assert not receiver.bodies("/bad")
    subscriptions.index._tenants = {0: None}
    subscriptions.wanted = lambda tenant: True
    await ask("PATCH", "/entities/urn:ngsi-ld:Lamp:1/attrs", 204, json={"power": 6})


async def test_what_nobody_takes_goes_to_the_dead_notifications(
    ask: Any, city: Any, receiver: Receiver, web: Any
) -> None:
    receiver.manner["/told"] = "500"
    url = await subscribe(ask, receiver.url())
    city.part(Deliverer).hub.settings = city.settings.model_copy(update={"notification_patience": 0.2})
    await ask.make(LAMP)
    dead = await until(lambda: dead_of(web))
    assert dead[0]["subscription"] == "urn:s:1"
    assert dead[0]["why"] == "answered 500"
    assert dead[0]["attempts"] >= 1
    assert "data" not in dead[0]
    assert await emptied(city)
    assert await city.pool.fetchval("select count(*) from hub.dead_notifications") == 1
    receiver.manner["/told"] = "200"
    await ask("PATCH", "/entities/urn:ngsi-ld:Lamp:1/attrs", 204, json={"power": 6})
    await until(lambda: told_ok(ask, url))
    other = await web.get("/hub/v1/dead-notifications?subscription=urn:s:2")
    assert other.json() == []


async def dead_of(web: Any) -> Any:
    answer = await web.get("/hub/v1/dead-notifications")
    assert answer.status_code == 200
    return answer.json()


async def told_ok(ask: Any, url: str) -> bool:
    return (await ask("GET", url, 200)).json()["notification"].get("status") == "ok"


@pytest.mark.parametrize(("egress", "why"), [("deny", "calls no receivers"), ("public", "private addresses")])
async def test_forbidden_addresses_are_not_reached(
    ask: Any, city: Any, receiver: Receiver, egress: str, why: str
) -> None:
    deliverer = city.part(Deliverer)
    deliverer._teller._http._egress = deliverer._teller._mqtt._egress = egress
    await subscribe(ask, receiver.url(), "h")
    await subscribe(ask, f"mqtt://127.0.0.1:{receiver.port}/a", "m")
    await ask.make(LAMP)
    await until(lambda: len([line for line in deliverer.lines.values() if why in line.why]) == 2)
    assert receiver.connections == 0


async def test_more_than_fits_in_memory_waits_in_the_outbox(ask: Any, city: Any, receiver: Receiver) -> None:
    receiver.manner["/told"] = "hang"
    await subscribe(ask, receiver.url(), notification=SIMPLE, endpoint={"timeout": 60_000})
    hub = city.part(Hub)
    count = 450
    for n in range(0, count, 50):
        lamps = [expand_entity({**LAMP, "power": n + k}, CORE, now=hub.now()) for k in range(50)]
        await hub.upsert(0, lamps)
    (line,) = city.part(Deliverer).lines.values()
    assert len(line.waiting) < count
    receiver.manner["/told"] = "200"
    line.task.cancel()
    await asyncio.sleep(0)
    city.part(Deliverer)._go_on_soon(line)
    await receiver.wait(count, seconds=15)
    assert powers(receiver) == list(range(count))


async def test_a_message_nobody_heard_of_is_found(ask: Any, city: Any, receiver: Receiver, monkeypatch: Any) -> None:
    from sejong.hub.notify import deliverer

    monkeypatch.setattr(deliverer, "SWEEP_EVERY", 1)
    there = city.part(Deliverer)
    there.lease = 0.4
    await subscribe(ask, receiver.url())
    await ask.make(LAMP)
    await receiver.wait(1)
    subscriptions = city.part(Hub).subscriptions

    def deaf(_: Any) -> None:
        raise ZeroDivisionError("a fault after the commit")

    subscriptions.on_committed = deaf
    await ask("PATCH", "/entities/urn:ngsi-ld:Lamp:1/attrs", 204, json={"power": 6})
    await receiver.wait(2)
    await until(lambda: emptied(city))
    assert len(receiver.bodies()) == 2


async def test_who_takes_nothing_does_not_fill_the_disk(
    ask: Any, city: Any, receiver: Receiver, monkeypatch: Any
) -> None:
    from sejong.hub.notify import deliverer, line

    monkeypatch.setattr(deliverer, "MOST_WAITING", 20)
    monkeypatch.setattr(deliverer, "SWEEP_EVERY", 1)
    monkeypatch.setattr(line, "MOST_HELD", 10)
    receiver.manner["/told"] = "500"
    await subscribe(ask, receiver.url(), notification=SIMPLE, endpoint={"cooldown": 4000})
    hub, there = city.part(Hub), city.part(Deliverer)
    there.lease = 0.4
    for n in range(300):
        await hub.upsert(0, [expand_entity({**LAMP, "power": n}, CORE, now=hub.now())])

    async def shortened() -> bool:
        return await city.pool.fetchval("select count(*) from hub.outbox") == 20

    await until(shortened)
    assert await city.pool.fetchval("select count(*) from hub.dead_notification") == 280
    receiver.manner["/told"] = "200"
    await until(lambda: emptied(city), 10)
    assert [value for value in powers(receiver) if value][-20:] == list(range(280, 300))
