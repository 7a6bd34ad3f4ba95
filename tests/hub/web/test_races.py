"""Many writers at once: nothing is lost, nothing is done twice, nobody waits for ever."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from typing import Any

import pytest

from sejong.hub.ngsi import change as rules
from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.entity import expand_entity
from sejong.hub.service import Hub, creating, existing
from sejong.kernel.errors import CityError
from sejong.kit.postgres import open_pool

pytestmark = pytest.mark.anyio

LAMP = {"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp", "power": -1}
URL = "/entities/urn:ngsi-ld:Lamp:1"
NAME = "https://uri.etsi.org/ngsi-ld/default-context/power"
NOW = "2026-11-22T09:00:00.000000Z"


async def powers(ask: Any, number: int = 1) -> list[Any]:
    history = (await ask("GET", f"/temporal/entities/urn:ngsi-ld:Lamp:{number}", 200)).json()
    return [one["value"] for one in history["power"]]


async def test_fifty_patches_of_one_entity_all_stay(ask: Any) -> None:
    await ask.make(LAMP)
    changes = [ask("PATCH", f"{URL}/attrs/power", 204, json={"value": n}) for n in range(50)]
    await asyncio.gather(*changes)
    recorded = await powers(ask)
    assert sorted(recorded) == list(range(-1, 50))
    assert (await ask.see(LAMP["id"]))["power"]["value"] == recorded[-1]


async def test_patches_of_different_attributes_do_not_undo_each_other(ask: Any) -> None:
    await ask.make(LAMP)
    changes = [ask("POST", f"{URL}/attrs", 204, json={f"a{n}": n}) for n in range(50)]
    await asyncio.gather(*changes)
    seen = await ask.see(LAMP["id"], format="simplified")
    assert {name: value for name, value in seen.items() if name.startswith("a")} == {f"a{n}": n for n in range(50)}


async def test_one_of_many_creates(ask: Any) -> None:
    answers = await asyncio.gather(*(ask("POST", "/entities", json={**LAMP, "power": n}) for n in range(30)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 29}
    winner = next(n for n, answer in enumerate(answers) if answer.status_code == 201)
    assert await powers(ask) == [winner]


async def test_what_was_answered_can_be_read(ask: Any) -> None:
    async def one(number: int) -> None:
        url = f"/entities/urn:ngsi-ld:Lamp:{number}"
        await ask("POST", "/entities", 201, json={**LAMP, "id": f"urn:ngsi-ld:Lamp:{number}"})
        for value in range(5):
            await ask("PATCH", f"{url}/attrs/power", 204, json={"value": value})
            assert (await ask("GET", url, 200)).json()["power"]["value"] == value
        await ask("DELETE", url, 204)
        await ask("GET", url, 404)

    await asyncio.gather(*(one(number) for number in range(20)))


def lamp(number: int, power: Any) -> dict[str, Any]:
    body = {"id": f"urn:ngsi-ld:Lamp:{number:03}", "type": "Lamp", "power": power}
    return expand_entity(body, CORE, now=NOW)


async def second_hub(city: Any, dsn: str) -> Hub:
    """Another process's view of the same record, with connections of its own."""
    hub = Hub(await open_pool(dsn, size=4), city.clock, city.settings)
    await hub.open()
    return hub


async def test_two_hubs_create_the_same_things(city: Any, empty: str) -> None:
    hubs = [city.part(Hub), await second_hub(city, empty)]

    async def create(hub: Hub, order: range) -> list[Any]:
        return await hub.change_all(0, [(new["id"], creating(new)) for new in (lamp(n, id(hub)) for n in order)])

    results = await asyncio.gather(*(create(hubs[n % 2], range(100) if n % 3 else range(99, -1, -1)) for n in range(8)))
    made = Counter(c.entity["id"] for answers in results for c in answers if not isinstance(c, CityError))
    assert made == {f"urn:ngsi-ld:Lamp:{n:03}": 1 for n in range(100)}
    assert all(error.status == 409 for answers in results for error in answers if isinstance(error, CityError))
    await hubs[1].close()
    await hubs[1].pool.close()


async def test_overlapping_upserts_in_any_order(ask: Any, city: Any, empty: str) -> None:
    hubs = [city.part(Hub), await second_hub(city, empty)]
    rounds, things = 6, 60

    async def upsert(number: int) -> None:
        hub = hubs[number % 2]
        order = list(range(things)) if number % 4 < 2 else list(range(things - 1, -1, -1))
        order = order[number % 7 :] + order[: number % 7]
        for turn in range(rounds):
            answers = await hub.upsert(0, [lamp(n, number * 1000 + turn) for n in order])
            assert not [answer for answer in answers if isinstance(answer, CityError)]

    async with asyncio.timeout(60):
        await asyncio.gather(*(upsert(number) for number in range(8)))
    wanted = sorted(number * 1000 + turn for number in range(8) for turn in range(rounds))
    for n in (0, things // 2, things - 1):
        history = (await ask("GET", f"/temporal/entities/urn:ngsi-ld:Lamp:{n:03}", 200)).json()["power"]
        assert sorted(one["value"] for one in history) == wanted
        assert len({one["instanceId"] for one in history}) == len(wanted)
    counted = await ask("GET", "/entities", 200, type="Lamp", count="true", limit="0")
    assert counted.headers["ngsild-results-count"] == str(things)
    await hubs[1].close()
    await hubs[1].pool.close()


async def test_two_hubs_count_together(city: Any, empty: str) -> None:
    """A step sees what the other hub committed: no increment is lost."""
    hubs = [city.part(Hub), await second_hub(city, empty)]
    await hubs[0].upsert(0, [lamp(1, 0)])

    def one_more(old: Any, now: str) -> rules.Change:
        value = old[NAME][0]["value"] + 1
        return rules.append_attrs(old, {NAME: [{"type": "Property", "value": value}]}, now)

    eid = "urn:ngsi-ld:Lamp:001"
    await asyncio.gather(*(hubs[n % 2].change(0, eid, existing(eid, None, one_more)) for n in range(100)))
    assert (await hubs[0].retrieve(0, eid))[NAME][0]["value"] == 100
    await hubs[1].close()
    await hubs[1].pool.close()


OTHER_PROCESS = """
import asyncio, sys
from sejong.app import open_city
from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.entity import expand_entity
from sejong.hub.service import Hub
from sejong.kernel.errors import CityError
from sejong.settings import Settings

async def main():
    async with open_city(Settings()) as city:
        hub = city.part(Hub)
        print("ready", flush=True)
        sys.stdin.readline()
        made = 0
        for turn in range(5):
            ids = [f"urn:ngsi-ld:Lamp:{n:03}" for n in range(79, -1, -1)]
            bodies = [{"id": one, "type": "Lamp", "power": 1000 + turn} for one in ids]
            answers = await hub.upsert(0, [expand_entity(b, CORE, now=hub.now()) for b in bodies])
            assert not [a for a in answers if isinstance(a, CityError)]
            made += sum(a.ops[0][3] == 1 for a in answers)
        print(made, flush=True)

asyncio.run(main())
"""


async def test_two_processes_on_one_record(ask: Any, city: Any, settings: Any) -> None:
    import os

    environment = {**os.environ, "SEJONG_DATABASE_URL": settings.database_url, "SEJONG_CITY": "testville"}
    other = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        OTHER_PROCESS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert (await asyncio.wait_for(other.stdout.readline(), 60)).strip() == b"ready"
    other.stdin.write(b"go\n")
    hub = city.part(Hub)
    made = 0
    for turn in range(5):
        answers = await hub.upsert(0, [lamp(n, turn) for n in range(80)])
        made += sum(not isinstance(one, CityError) and one.ops[0][3] == rules.CREATED for one in answers)
    theirs = int(await asyncio.wait_for(other.stdout.readline(), 60))
    assert await other.wait() == 0
    assert made + theirs == 80
    for n in (0, 40, 79):
        history = (await ask("GET", f"/temporal/entities/urn:ngsi-ld:Lamp:{n:03}", 200)).json()["power"]
        assert sorted(one["value"] for one in history) == [*range(5), *range(1000, 1005)]


async def test_instance_numbers_are_never_given_twice(city: Any) -> None:
    from sejong.hub.store.history import InstanceNumbers

    numbers = InstanceNumbers()

    async def take(count: int) -> list[int]:
        async with city.pool.acquire() as connection:
            return await numbers.take(connection, count)

    taken = await asyncio.gather(*(take(count) for count in (900, 1900, 1900, 50, 2500, 1)))
    assert [len(part) for part in taken] == [900, 1900, 1900, 50, 2500, 1]
    assert len({number for part in taken for number in part}) == 7251
