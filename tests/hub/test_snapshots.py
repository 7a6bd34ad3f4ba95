"""Preparing snapshots on bad days: killed in the middle, written to meanwhile, endpoints that do not listen."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sejong.hub import freezing, snapshots
from sejong.hub.ngsi.change import update_attrs
from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.entity import expand_entity, expand_fragment
from sejong.hub.selection import select, someone
from sejong.hub.service import Hub, existing
from sejong.kit.city import City
from sejong.kit.postgres import Pool

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
SAID: dict[str, Any] = {"snapshotQueries": [{"type": "Query", "entities": [{"type": "T"}]}]}


@pytest.fixture
async def hub(city: City) -> Hub:
    """The hub of a process that does not work on snapshots until it is told to."""
    hub = city.part(Hub)
    await hub.snapshots.stop()
    return hub


async def put(hub: Hub, count: int) -> None:
    things = [{"id": f"urn:t:{n}", "type": "T", "a": 0, "b": n} for n in range(count)]
    await hub.upsert(0, [expand_entity(thing, CORE, now=hub.now()) for thing in things])


async def prepared(hub: Hub, name: str) -> dict[str, Any]:
    """The snapshot once it is prepared; keeps telling this process that there is something to do."""
    for _ in range(300):
        seen = await hub.snapshots.retrieve(0, name)
        if seen["snapshotStatus"] != "preparing":
            return seen
        hub.snapshots.nudge()
        await asyncio.sleep(0.05)
    raise AssertionError("nobody prepared it")


async def copies(hub: Hub, name: str) -> list[dict[str, Any]]:
    meant = select(CORE.attribute, who=[someone(CORE.attribute, None, None, "T")])
    found, total = await hub.query(await hub.snapshots.use(0, name), meant, 100_000, 0, count=True)
    assert total == len(found)
    return found


async def count(pool: Pool, condition: str) -> int:
    async with pool.acquire() as connection:
        return await connection.fetchval(f"select count(*) from {condition}")


async def test_killed_in_the_middle_another_process_prepares_it(hub: Hub, pool: Pool, empty: str) -> None:
    await put(hub, 1000)
    name = await hub.snapshots.create(0, SAID, None)
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/hub/preparing.py"), empty],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
    )
    try:
        for _ in range(3000):
            if await count(pool, "hub.entity where tenant < 0"):
                break
            await asyncio.sleep(0.005)
        async with pool.acquire() as connection, connection.transaction():
            # Now it cannot go on, and is killed.
            await connection.execute("lock table hub.entity_type in share mode")
            half = await count(pool, "hub.entity where tenant < 0")
            child.kill()
            await asyncio.to_thread(child.wait)
            assert 0 < half < 1000, "the kill came too late to prove anything"
            assert (await hub.snapshots.retrieve(0, name))["snapshotStatus"] == "preparing"
    finally:
        child.kill()
    await put(hub, 1001)
    hub.snapshots.start()
    assert (await prepared(hub, name))["snapshotStatus"] == "success"
    found = [one["id"] for one in await copies(hub, name)]
    assert len(found) == 1001
    assert set(found) == {f"urn:t:{n}" for n in range(1001)}
    assert await count(pool, "hub.snapshot where attempts = 2") == 1
    for _ in range(200):
        if await count(pool, "hub.tenant where no < 0") == 1:
            break
        hub.snapshots.nudge()
        await asyncio.sleep(0.05)
    assert await count(pool, "hub.tenant where no < 0") == 1, "what the dead process copied is still there"
    assert await count(pool, "hub.entity where tenant < 0") == 1001


async def test_a_process_that_stops_in_good_order_costs_no_attempt(hub: Hub, pool: Pool) -> None:
    await put(hub, 10)
    name = await hub.snapshots.create(0, SAID, None)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("lock table hub.entity_type in share mode")
        hub.snapshots.start()
        for _ in range(200):
            if await count(pool, "hub.snapshot where attempts = 1"):
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        await hub.snapshots.stop()
    assert await count(pool, "hub.snapshot where attempts = 0 and status = 'preparing'") == 1
    hub.snapshots.start()
    assert (await prepared(hub, name))["snapshotStatus"] == "success"
    assert len(await copies(hub, name)) == 10


async def test_a_snapshot_that_kills_its_processes_is_given_up(hub: Hub, pool: Pool) -> None:
    await put(hub, 3)
    name = await hub.snapshots.create(0, SAID, None)
    async with pool.acquire() as connection:
        await connection.execute("update hub.snapshot set attempts = 3")
    hub.snapshots.start()
    seen = await prepared(hub, name)
    assert seen["snapshotStatus"] == "failure"
    assert seen["snapshotQueriesDetails"][0]["problemDetails"]["title"]


async def test_two_processes_prepare_each_snapshot_once(hub: Hub, pool: Pool) -> None:
    await put(hub, 50)
    names = [await hub.snapshots.create(0, SAID, None) for _ in range(3)]
    async with pool.acquire() as connection:
        numbers = [row[0] for row in await connection.fetch("select no from hub.snapshot order by no")]
    await asyncio.gather(*(hub.snapshots.prepare(number) for number in numbers[:2] for _ in range(2)))
    await hub.snapshots.prepare(numbers[2])
    assert await count(pool, "hub.snapshot where attempts = 1 and status = 'success'") == 3
    for name in names:
        assert len(await copies(hub, name)) == 50


async def test_it_is_one_moment_however_much_is_written_meanwhile(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit gives all entities the same value: the copies must have one value too."""
    monkeypatch.setattr(freezing, "PORTION", 7)
    await put(hub, 150)
    rounds, going = 0, True

    async def write() -> None:
        nonlocal rounds
        while going:
            rounds += 1
            body = {"a": {"type": "Property", "value": rounds}}
            part = expand_fragment(body, CORE, now=hub.now(), mode="update")
            step = existing("x", None, lambda old, now, part=part: update_attrs(old, part, now))
            await hub.change_all(0, [(f"urn:t:{n}", step) for n in range(150)])

    writing = asyncio.create_task(write())
    hub.snapshots.start()
    for _ in range(4):
        before = rounds
        name = await hub.snapshots.create(0, SAID, None)
        await prepared(hub, name)
        assert rounds > before, "nothing was written meanwhile"
        found = await copies(hub, name)
        assert len(found) == 150
        assert len({one[CORE.attribute("a")][0]["value"] for one in found}) == 1
    going = False
    await writing


async def test_numbers_go_round_in_circles(hub: Hub, pool: Pool) -> None:
    """At the end of a circle what is still in use is passed over; a copy that meets another one is tried again."""
    await put(hub, 5)
    first = await hub.snapshots.create(0, SAID, None)
    hub.snapshots.start()
    await prepared(hub, first)
    async with pool.acquire() as connection:
        used = await connection.fetchval("select copy from hub.snapshot")
        lowest = await connection.fetchval("select min(no) from hub.entity where tenant < 0")
        await connection.fetchval("select setval('hub.hidden_tenant', $1, false)", used)
        await connection.fetchval("select setval('hub.copied_entity', $1, false)", lowest)
    second = await hub.snapshots.create(0, SAID, None)
    assert (await prepared(hub, second))["snapshotStatus"] == "success"
    assert len(await copies(hub, first)) == len(await copies(hub, second)) == 5
    assert await count(pool, "hub.snapshot where attempts > 1") == 1


Heard = list[tuple[dict[str, str], dict[str, Any]]]


@asynccontextmanager
async def endpoint(answer: Callable[[int], bytes]) -> AsyncIterator[tuple[str, Heard]]:
    """An HTTP server and what it heard; `answer` gives the status line of the n-th request."""
    heard: Heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in head)}
        heard.append((fields, json.loads(await reader.readexactly(int(fields["content-length"])))))
        writer.write(b"HTTP/1.1 " + answer(len(heard)) + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/told", heard


async def test_the_endpoint_is_told_until_it_listens(hub: Hub, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "WAITS", (0.05, 0.05))
    await put(hub, 2)
    tenant = await hub.tenant("", create=True)
    hub.snapshots.start()
    async with endpoint(lambda n: b"500 No" if n == 1 else b"200 OK") as (uri, heard):
        receiver = [{"key": "X-Key", "value": "k"}, {"key": "Content-Type", "value": "text/plain"}]
        told = {"uri": uri, "receiverInfo": receiver}
        name = await hub.snapshots.create(tenant, {**SAID, "endpoint": told}, None)
        for _ in range(200):
            if len(heard) == 2 and not await count(pool, "hub.snapshot where tell is not null"):
                break
            await asyncio.sleep(0.025)
        assert len(heard) == 2
        (_, first), (fields, body) = heard
        assert fields["x-key"] == "k"
        assert fields["content-type"] == "application/json"
        assert 'rel="http://www.w3.org/ns/json-ld#context"' in fields["link"]
        assert body["id"] == first["id"]
        assert body["type"] == "SnapshotNotification"
        assert body["snapshotId"] == name
        assert body["snapshotStatus"] == "success"
        assert body["snapshotQueriesDetails"] == [{"resultStatus": "success"}]
        # One that never listens is given up; nothing else suffers.
    async with endpoint(lambda _: b"503 Busy") as (uri, heard):
        await hub.snapshots.create(0, {**SAID, "endpoint": {"uri": uri, "accept": "application/ld+json"}}, None)
        for _ in range(200):
            if len(heard) >= 3 and not await count(pool, "hub.snapshot where tell is not null"):
                break
            await asyncio.sleep(0.025)
        assert len(heard) == 3
        assert heard[0][0]["content-type"] == "application/ld+json"
        assert "@context" in heard[0][1]
        # And a private address is not even tried where the city does not allow it.
        monkeypatch.setattr(hub.snapshots, "_egress", "public")
        name = await hub.snapshots.create(0, {**SAID, "endpoint": {"uri": uri}}, None)
        await prepared(hub, name)
        for _ in range(200):
            if not await count(pool, "hub.snapshot where tell is not null"):
                break
            await asyncio.sleep(0.025)
        assert await count(pool, "hub.snapshot where tell is not null") == 0
        assert len(heard) == 3
