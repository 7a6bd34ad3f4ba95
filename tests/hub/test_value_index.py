"""Queries answer the same with and without an index of values, also while it is being made and written to."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from sejong.hub import value_index
from sejong.hub.ngsi.change import delete_entity
from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.entity import expand_entity
from sejong.hub.selection import select, someone
from sejong.hub.service import Hub, existing
from sejong.hub.store import values
from sejong.kit.city import City

pytestmark = pytest.mark.anyio

QUERIES = (
    "a>=10;a<20", "a==15", "a==3,4", 'a=="text"', "a<5", "a>95", "a==true", "a>=10;b<3", "a==10..12", "a!=5",
    "a>1;a~=x", "b==1;(a>5|a<2)", 'b=="2026-01-01"', "c.d==1", "a[x]==1", "a",
)  # fmt: skip


def value(chance: random.Random) -> Any:
    kinds = (chance.randrange(100), chance.randrange(100) + 0.5, "text", True, [3, 4], {"x": 1}, "2026-01-01", None)
    return chance.choices(kinds, (60, 20, 3, 3, 3, 3, 3, 5))[0]


def thing(number: int, chance: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {"id": f"urn:t:{number}", "type": chance.choice(("T", "T", "U", ["T", "U"]))}
    for name in "abc":
        if (held := value(chance)) is not None:
            made[name] = {"type": "Property", "value": held}
    if chance.random() < 0.05 and "a" in made:
        made["a"] = [made["a"], {"type": "Property", "value": chance.randrange(100), "datasetId": "urn:d:1"}]
    return made


async def put(hub: Hub, numbers: range, chance: random.Random) -> None:
    await hub.upsert(0, [expand_entity(thing(n, chance), CORE, now=hub.now()) for n in numbers])


async def answers(hub: Hub) -> list[list[str]]:
    found = []
    for q in QUERIES:
        meant = select(CORE.attribute, who=[someone(CORE.attribute, None, None, "T")], q=q)
        page, total = await hub.query(0, meant, 1000, 0, count=True)
        rest, _ = await hub.query(0, meant, 7, 5)
        assert total == len(page)
        assert rest == page[5:12]
        found.append([entity["id"] for entity in page])
    return found


async def number_of(hub: Hub, name: str) -> int:
    return hub.terms.number[CORE.attribute(name)]


async def test_index_changes_no_answer(city: City) -> None:
    hub, chance = city.part(Hub), random.Random(5)
    await put(hub, range(400), chance)
    plain = await answers(hub)
    assert sum(map(len, plain)) > 600
    async with city.pool.acquire() as connection:
        for name in "ab":
            await hub.values.build(connection, await number_of(hub, name))
    assert len(hub.values.ready) == 2
    assert await answers(hub) == plain
    # What is written from now on, what goes and what comes back.
    await put(hub, range(300, 500), chance)
    for entity in [f"urn:t:{n}" for n in range(0, 400, 9)]:
        await hub.change(0, entity, existing(entity, None, delete_entity))
    await put(hub, range(0, 90, 9), chance)
    indexed = await answers(hub)
    hub.values.ready = frozenset()
    assert await answers(hub) == indexed
    assert indexed != plain


async def test_nothing_is_missed_by_an_index_made_while_others_write(city: City) -> None:
    hub, chance = city.part(Hub), random.Random(7)
    await put(hub, range(600), chance)
    writing = True

    async def write() -> None:
        while writing:
            await put(hub, range(chance.randrange(500), 600), chance)

    writers = [asyncio.create_task(write()) for _ in range(2)]
    async with city.pool.acquire() as connection:
        await hub.values.build(connection, await number_of(hub, "a"))
    await asyncio.sleep(0.1)
    writing = False
    await asyncio.gather(*writers)
    indexed = await answers(hub)
    hub.values.ready = frozenset()
    assert await answers(hub) == indexed


async def test_long_scans_make_an_index_and_disuse_ends_it(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(value_index, "LONG_SCAN", 100)
    hub, chance = city.part(Hub), random.Random(9)
    await put(hub, range(300), chance)
    meant = select(CORE.attribute, who=[someone(CORE.attribute, None, None, "T")], q="a==15;b>=0")
    for _ in range(value_index.OFTEN):
        await hub.query(0, meant, 100, 0)
    async with asyncio.timeout(10):
        while len(hub.values.ready) < 2:
            await asyncio.sleep(0.02)
    plain, _ = await hub.query(0, meant, 100, 0)
    # Another process gave it up: the reader notices before it trusts it.
    async with city.pool.acquire() as connection:
        await connection.execute("update hub.indexed set used = '2020-01-01'")
        assert await values.DROP_UNUSED.run(connection, city.clock.now()) == 2
        assert await values.TRIM.run(connection) > 0
    assert (await hub.query(0, meant, 100, 0))[0] == plain
    assert not hub.values.ready
