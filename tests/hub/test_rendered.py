"""An answer kept ready is never older than what its reader could have read, whoever writes."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.app import open_city
from sejong.hub.ngsi.context import CORE
from sejong.hub.rendered import EVERYTHING, Rendered, announcement
from sejong.hub.service import Hub
from sejong.kit.city import City
from sejong.settings import Settings

pytestmark = pytest.mark.anyio
PLAIN = ("application/json", CORE.source)
LAMP = "/ngsi-ld/v1/entities/urn:l:1"


def lamp(value: int) -> dict[str, Any]:
    return {"power": {"type": "Property", "value": value}}


async def made(web: httpx.AsyncClient) -> None:
    answer = await web.post("/ngsi-ld/v1/entities", json={"id": "urn:l:1", "type": "Lamp", **lamp(0)})
    assert answer.status_code == 201


async def seen(web: httpx.AsyncClient) -> int:
    await asyncio.sleep(0)  # what is answered from memory waits for nothing, and the others want their turn
    return (await web.get(LAMP)).json()["power"]["value"]


async def test_writers_of_this_process_are_read_at_once(web: httpx.AsyncClient, city: City) -> None:
    await made(web)
    rendered = city.part(Hub).rendered

    async def write() -> None:
        for value in range(1, 30):
            assert (await web.patch(f"{LAMP}/attrs", json=lamp(value))).status_code == 204
            assert await seen(web) == value

    async def read() -> None:
        newest = 0
        while newest < 29:
            value = await seen(web)
            assert value >= newest
            newest = value

    await asyncio.gather(write(), *(read() for _ in range(2)))
    assert rendered.is_current
    assert await seen(web) == 29
    await until(lambda: rendered.get(0, "urn:l:1", PLAIN) is not None, lambda: seen(web))
    assert (await web.delete(LAMP)).status_code == 204
    assert (await web.get(LAMP)).status_code == 404


async def test_writers_of_other_processes_are_read_soon(web: httpx.AsyncClient, city: City, settings: Settings) -> None:
    await made(web)
    async with open_city(settings) as other:
        hub, elsewhere = city.part(Hub), other.part(Hub)
        for value in range(1, 8):
            await until(lambda: hub.rendered.get(0, "urn:l:1", PLAIN), lambda: seen(web))
            entity = await elsewhere.retrieve(0, "urn:l:1")
            name = next(key for key in entity if key.endswith("power"))
            entity[name][0]["value"] = value
            await elsewhere.upsert(0, [entity])
            async with asyncio.timeout(5):
                while await seen(web) != value:
                    await asyncio.sleep(0.005)


async def test_nothing_is_answered_from_memory_while_announcements_do_not_arrive(
    web: httpx.AsyncClient, city: City
) -> None:
    await made(web)
    rendered = city.part(Hub).rendered
    await until(lambda: rendered.get(0, "urn:l:1", PLAIN), lambda: seen(web))
    await city.pool.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() "
        "and datname = current_database() and query like '%as xid, seq, at, enos%'"
    )
    async with asyncio.timeout(5):
        while rendered.get(0, "urn:l:1", PLAIN) is not None:
            await asyncio.sleep(0.005)
    assert await seen(web) == 0
    await until(lambda: rendered.is_current, lambda: asyncio.sleep(0.05))


async def until(holds: Any, step: Any) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await step()
            await asyncio.sleep(0.005)


# --- the rules, step by step ---------------------------------------------------------------------------------------

STEPS = st.lists(st.tuples(st.sampled_from(["read", "keep", "write", "told", "lost", "back"]), st.integers(0, 3)))


@given(STEPS)
def test_what_is_kept_is_what_was_last_written(steps: list[tuple[str, int]]) -> None:
    """Four entities, writers here and elsewhere; announcements of others arrive late."""
    rendered = Rendered(2)
    rendered.follows(True)
    now = dict.fromkeys(range(4), 0)
    hidden: list[int] = []  # written elsewhere and not announced yet
    reads: dict[int, list[tuple[tuple[int, int], int]]] = {n: [] for n in range(4)}
    for step, n in steps:
        match step:
            case "read":
                reads[n].append((rendered.begin(0, str(n)), now[n]))
            case "keep" if reads[n]:
                began, value = reads[n].pop()
                rendered.put(0, str(n), n, began, "json", value)
            case "write":
                now[n] += 1
                if n % 2:
                    rendered.forget(0, [str(n)])
                else:
                    hidden.append(n)
            case "told" if hidden:
                rendered.heard(announcement([hidden.pop(0)]) if n else EVERYTHING)
                if not n:
                    hidden.clear()
            case "lost":
                rendered.follows(False)
                hidden.clear()
            case "back":
                rendered.follows(True)
            case _:
                pass
        for m in range(4):
            kept = rendered.get(0, str(m), "json")
            assert kept is None or m in hidden or kept == now[m]
        if not rendered.is_current:
            hidden.clear()
