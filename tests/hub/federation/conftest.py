"""Fixtures: towns that can be built by name, and a server that is no hub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from tests.conftest import emptied
from tests.hub.federation.towns import Town, Wire
from tests.hub.web.conftest import Door

from sejong.app import migrate_city, open_city
from sejong.hub.web.routes import routes
from sejong.kit.embedded_postgres import Cluster
from sejong.kit.http import Front
from sejong.settings import Settings

Build = Callable[..., Awaitable[list[Town]]]


@pytest.fixture(scope="session")
async def databases(cluster: Cluster, worker_id: str) -> dict[str, str]:
    """The databases that exist already, by the name of their town."""
    return {}


@pytest.fixture
async def towns(
    databases: dict[str, str], cluster: Cluster, worker_id: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Build]:
    """Builds towns by their names."""
    async with AsyncExitStack() as stack:

        async def build(*names: str, **values: Any) -> list[Town]:
            built: list[Town] = []
            for name in names:
                if name not in databases:
                    databases[name] = cluster.ensure_database(f"fed_{name}_{worker_id}")
                    await migrate_city(Settings(database_url=databases[name], city="testville"))
                await emptied(databases[name])
                wire = Wire()
                await wire.start()
                stack.push_async_callback(wire.stop)
                settings = Settings(
                    database_url=databases[name],
                    city="testville",
                    state=tmp_path_factory.mktemp("state"),
                    database_pool=6,
                    public_url=wire.url,
                    source_alias=name,
                    **values,
                )
                city = await stack.enter_async_context(open_city(settings))
                application = Starlette(routes=routes(city))
                application.router.redirect_slashes = False
                wire.app = Front(application)
                wire.app.add(application.routes)
                transport = httpx.ASGITransport(app=wire.app, raise_app_exceptions=False)
                client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url=wire.url))
                built.append(Town(name, city, wire, Door(client)))
            return built

        yield build


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """A server that is no hub: it answers what a test tells it to."""
    wire = Wire()
    await wire.start()
    yield wire
    await wire.stop()
