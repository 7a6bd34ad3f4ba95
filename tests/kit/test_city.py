"""A package from outside adds a service to the city: tables, words, routes, handlers and jobs, nothing else changed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import asyncpg
import httpx
import pytest

from sejong import work
from sejong.app import WebCity, compose, handlers_of, routes_of, services
from sejong.kernel.clock import ManualClock, SystemClock
from sejong.kit.act import Happened
from sejong.kit.city import City, migrations_of
from sejong.kit.embedded_postgres import Cluster
from sejong.kit.events import deliver
from sejong.kit.jobs import worker_app
from sejong.kit.migrate import migrate
from sejong.kit.postgres import Pool, open_pool
from sejong.kit.service import Service, in_start_order, resolve
from sejong.settings import Settings

pytestmark = pytest.mark.anyio

FILES = {
    "__init__.py": """
        from sejong.kit.service import Service
        SERVICE = Service(
            name="rentals", package="outside_rentals", element="mobility", depends=("hub",),
            routes="outside_rentals.parts:routes", start="outside_rentals.parts:start",
            on={"bikes.Returned": "outside_rentals.parts:note"},
            jobs={"rentals.tidy": "outside_rentals.parts:tidy"}, periodic={"rentals.tidy": "5 * * * *"},
        )
    """,
    "parts.py": """
        from contextlib import asynccontextmanager
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route
        from sejong.hub.api import Hub

        class Desk:
            open = True

        @asynccontextmanager
        async def start(city):
            city.part(Hub)
            desk = Desk()
            city.put(desk)
            yield
            desk.open = False

        def routes(city):
            async def desk(_):
                return PlainTextResponse("open" if city.part(Desk).open else "closed")
            return [Route("/rentals", desk)]

        async def note(city, act, payload):
            await act.connection.execute("insert into rentals.note(text) values ($1)", payload["bike"])
            act.later("rentals.tidy", bike=payload["bike"])

        async def tidy(city, act, bike):
            await act.connection.execute("update rentals.note set tidy = true where text = $1", bike)
    """,
    "migrations/0001_rentals.sql": """
        create schema rentals;
        create table rentals.note(text text not null, tidy boolean not null default false);
    """,
    "locale/en.po": """
        msgid "대여소"
        msgstr "rental station"
    """,
}


@pytest.fixture
def rentals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The manifest of a package somebody else wrote."""
    for name, text in FILES.items():
        file = tmp_path / "outside_rentals" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import outside_rentals  # type: ignore[import-not-found]

    yield outside_rentals.SERVICE
    for name in [name for name in sys.modules if name.startswith("outside_rentals")]:
        del sys.modules[name]


@pytest.fixture
async def bigger(rentals: Service, cluster: Cluster, settings: Settings, worker_id: str) -> AsyncIterator[City]:
    """Testville with that service, in a database of its own."""
    own = settings.model_copy(update={"database_url": cluster.ensure_database(f"bigger_{worker_id}")})
    found = in_start_order([*services(), rentals])
    pool = await open_pool(own.database_url, size=4)
    async with pool.acquire() as connection:
        await migrate(connection, migrations_of(found))
        await connection.execute("delete from rentals.note; delete from kit.event; delete from kit.event_cursor")
    parts = compose(own, pool, SystemClock())
    city = City(settings=own, clock=parts.clock, chance=parts.chance, pool=pool, services=found)
    async with city.started():
        yield city
    await pool.close()


async def notes(city: City) -> list[tuple[str, bool]]:
    return [tuple(row) for row in await city.pool.fetch("select text, tidy from rentals.note")]


async def returned(city: City, bike: str) -> None:
    async with city.record.act("kim", "bikes.return") as act:
        act.emit(Happened("bikes.Returned", {"bike": bike}))


async def test_its_handler_and_its_job_do_their_work(bigger: City) -> None:
    await returned(bigger, "B-7")
    assert await deliver(bigger.record, handlers_of(bigger)) == 1
    assert await notes(bigger) == [("B-7", False)]
    jobs = {name: resolve(f) for service in bigger.services for name, f in service.jobs.items()}
    app = worker_app(bigger, bigger.settings.database_url, jobs, {})
    async with app.open_async():
        await app.run_worker_async(queues=["city"], wait=False, install_signal_handlers=False, listen_notify=False)
    assert await notes(bigger) == [("B-7", True)]


async def test_its_page_and_its_words_are_there(bigger: City) -> None:
    application = WebCity(bigger.settings)
    application.mount(bigger)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://city") as client:
        assert (await client.get("/rentals")).text == "open"
    assert bigger.translator.says("en", "대여소") == "rental station"
    assert "/rentals" in {getattr(route, "path", "") for route in routes_of(bigger)}


async def test_the_worker_hears_of_an_event_at_once(bigger: City, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "LOOK_ANYWAY", 60.0)
    stop = asyncio.Event()
    working = asyncio.create_task(work._events(bigger, stop))
    await asyncio.sleep(0.3)
    await returned(bigger, "B-8")
    await asyncio.wait_for(_until(bigger, [("B-8", False)]), 10)
    stop.set()
    await returned(bigger, "B-9")
    await asyncio.wait_for(working, 10)


async def test_a_worker_that_lost_its_ear_says_so_by_ending(bigger: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise events would come late for ever, and nobody would know."""
    monkeypatch.setattr(work, "LOOK_ANYWAY", 0.1)
    working = asyncio.create_task(work._events(bigger, asyncio.Event()))
    ear = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sejong work: events'"
    while not await bigger.pool.fetchval(ear):
        await asyncio.sleep(0.02)
    _, waiting = await asyncio.wait({working}, timeout=10)
    assert not waiting
    assert isinstance(working.exception(), asyncpg.PostgresError | OSError | None)


async def _until(city: City, expected: list[tuple[str, bool]]) -> None:
    while await notes(city) != expected:
        await asyncio.sleep(0.02)


# --- parts ------------------------------------------------------------------------------------------------------


def test_an_object_is_found_by_its_type(settings: Settings, clock: ManualClock) -> None:
    city = compose(settings, None, clock)  # type: ignore[arg-type]
    with pytest.raises(LookupError, match="no Path in this city"):
        city.part(Path)
    city.put("세종")
    assert city.part(str) == "세종"
    city.put("다른 도시")
    assert city.part(str) == "다른 도시"


@pytest.fixture
def diary(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Three services that write down when they start and stop; the last fails when told."""
    written: list[str] = []
    module = ModuleType("diary_parts")

    def starting(name: str) -> Any:
        @asynccontextmanager
        async def start(city: City) -> AsyncIterator[None]:
            if name in city.settings:
                raise RuntimeError(f"{name} cannot start")
            written.append(f"+{name}")
            try:
                yield
            finally:
                written.append(f"-{name}")

        return start

    for name in "abc":
        setattr(module, name, starting(name))
    monkeypatch.setitem(sys.modules, "diary_parts", module)
    yield written


def lettered(pool: Pool, clock: ManualClock, failing: str) -> City:
    found = [
        Service(name=name, element="test", package="sejong.kit", depends=tuple(needs), start=f"diary_parts:{name}")
        for name, needs in (("c", "b"), ("b", "a"), ("a", ""))
    ]
    return City(settings=failing, clock=clock, chance=None, pool=pool, services=in_start_order(found))  # type: ignore[arg-type]


async def test_services_start_in_order_and_stop_in_reverse(diary: list[str], pool: Pool, clock: ManualClock) -> None:
    async with lettered(pool, clock, "").started() as city:
        assert diary == ["+a", "+b", "+c"]
        assert isinstance(city, City)
    assert diary == ["+a", "+b", "+c", "-c", "-b", "-a"]


async def test_when_one_cannot_start_the_others_are_stopped(diary: list[str], pool: Pool, clock: ManualClock) -> None:
    with pytest.raises(RuntimeError, match="c cannot start"):
        async with lettered(pool, clock, "c").started():
            pass
    assert diary == ["+a", "+b", "-b", "-a"]


async def test_they_are_stopped_also_after_a_fault(diary: list[str], pool: Pool, clock: ManualClock) -> None:
    with pytest.raises(ZeroDivisionError):
        async with lettered(pool, clock, "").started():
            raise ZeroDivisionError
    assert diary == ["+a", "+b", "+c", "-c", "-b", "-a"]
