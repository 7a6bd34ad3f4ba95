"""One throw-away PostgreSQL for the whole run, one database per worker, real commits, no network."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import hypothesis
import pytest

from sejong.app import WebCity, migrate_city, open_city
from sejong.kernel.clock import ManualClock, SystemClock
from sejong.kit.city import City
from sejong.kit.embedded_postgres import Cluster
from sejong.kit.postgres import Pool, open_pool
from sejong.settings import Settings

hypothesis.settings.register_profile(
    "house", max_examples=40, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("house")

SHARED = Path(__file__).parents[2] / "shared" / "data"
START = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


LONG_FIRST = (
    "browser/",
    "hub/ingest/test_bad_days",
    "up/",
    "kit/test_embedded",
    "hub/notify/",
    "simulator/",
    "citypack/",
)
"""Files of few but long tests: begun last, one of them would keep everybody waiting for one worker."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    items.sort(key=lambda item: not item.path.relative_to(here).as_posix().startswith(LONG_FIRST))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The development data beside the repository; a stranger's clone has none."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here (it lies beside the founders' checkout only)")
    return SHARED


def _only_here(host: Any) -> None:
    """Refuse an address of another machine, and a name somebody would have to be asked about."""
    name = host.decode() if isinstance(host, bytes) else host
    if name and name != "localhost" and not name.startswith(("127.", "::1")):
        raise AssertionError(f"a test tried to reach {name}")


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Nothing in a test may leave this machine: rule five, checked (by tests/architecture/test_network.py)."""
    patch, look_up = pytest.MonkeyPatch(), socket.getaddrinfo

    def guarded(method: str) -> Callable[..., Any]:
        plain = getattr(socket.socket, method)

        def only_here(self: socket.socket, *arguments: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                _only_here(arguments[-1][0])
            return plain(self, *arguments)

        return only_here

    def known(host: Any, *arguments: Any, **named: Any) -> Any:
        if not re.fullmatch(r"[\d.]+|.*:.*", str(host)):  # an address in figures asks nobody
            _only_here(host)
        return look_up(host, *arguments, **named)

    for method in ("connect", "connect_ex", "sendto"):
        patch.setattr(socket.socket, method, guarded(method))
    patch.setattr(socket, "getaddrinfo", known)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A PostgreSQL without fsync, on memory where there is some, gone after the run."""
    with Cluster(tmp_path_factory.mktemp("postgres"), fast=True) as running:
        yield running


@pytest.fixture(scope="session")
def dsn(cluster: Cluster, worker_id: str) -> str:
    """A database of this worker's own."""
    return cluster.ensure_database(f"test_{worker_id}")


@pytest.fixture(scope="session")
def settings(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        database_url=dsn, city="testville", state=tmp_path_factory.mktemp("state"), database_pool=6, language="ko"
    )


@pytest.fixture(scope="session")
async def migrated(settings: Settings) -> str:
    """The DSN of a database with every service's schema."""
    await migrate_city(settings)
    assert settings.database_url
    return settings.database_url


@pytest.fixture
async def empty(migrated: str) -> AsyncIterator[str]:
    """The same database with nothing in it, whatever the test before left (also one that did not use this fixture)."""
    await emptied(migrated)
    yield migrated
    await emptied(migrated)


async def emptied(dsn: str) -> None:
    """Delete every row of a database."""
    connection = await asyncpg.connect(dsn)
    try:
        await wipe(connection)
    finally:
        await connection.close()


@pytest.fixture
async def pool(empty: str) -> AsyncIterator[Pool]:
    opened = await open_pool(empty, size=6)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def system_clock() -> SystemClock:
    return SystemClock()


KEPT = {("kit", "migration"), ("hub", "tenant")}


async def wipe(connection: asyncpg.Connection) -> None:
    """Delete every row in one round trip, triggers off (much faster than TRUNCATE on small tables)."""
    tables = await connection.fetch("""
        select n.nspname as schema, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and not c.relispartition
          and (n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast'))""")
    statements = "".join(
        f'delete from "{t["schema"]}"."{t["name"]}";' for t in tables if (t["schema"], t["name"]) not in KEPT
    )
    await connection.execute("set session_replication_role = replica;" + statements)


if "PYTEST_XDIST_WORKER" not in os.environ:

    @pytest.fixture(scope="session")
    def worker_id() -> str:
        return "main"


@pytest.fixture
async def city(empty: str, settings: Settings) -> AsyncIterator[City]:
    """Testville, running on the real clock, nothing in its record."""
    async with open_city(settings) as running:
        yield running


@pytest.fixture
async def web(city: City, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The whole web application of that city, without a network in between."""
    application = WebCity(settings)
    application.mount(city)
    transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        yield client
