"""The composition root: which services this city has, and how they become one web application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

import asyncpg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

import sejong.citypack
import sejong.hub
import sejong.portal
from sejong.hub.web.data_operations import components, data_paths
from sejong.hub.web.openapi import ngsi_ld_paths
from sejong.hub.web.sta import sta_paths
from sejong.kernel.chance import Chance, unpredictable_seed
from sejong.kernel.clock import Clock, SimulatedClock, SystemClock
from sejong.kit.city import City, migrations_of
from sejong.kit.events import Handler
from sejong.kit.http import Front, Guard, json_response, operations_routes
from sejong.kit.memory import spare_the_collector
from sejong.kit.migrate import Migration, migrate
from sejong.kit.postgres import Pool, connect, open_pool
from sejong.kit.service import Service, in_start_order, outside_services, resolve
from sejong.kit.telemetry import configure_logs
from sejong.settings import Settings

VERSION = version("sejong")
BUILT_IN: tuple[Service, ...] = (sejong.hub.SERVICE, sejong.citypack.SERVICE, sejong.portal.SERVICE)


def services() -> list[Service]:
    """Every service of this installation, in start order. Raises BrokenManifest."""
    return in_start_order([*BUILT_IN, *outside_services()])


@asynccontextmanager
async def open_city(settings: Settings, clock: Clock | None = None, *, start: bool = True) -> AsyncIterator[City]:
    """A city connected to its database, its services started. Raises DatabaseAway."""
    pool = await open_pool(dsn_of(settings), size=settings.database_pool)
    try:
        city = compose(settings, pool, clock or city_clock(settings))
        if start:
            async with city.started():
                yield city
        else:
            yield city
    finally:
        await pool.close()


def city_clock(settings: Settings) -> Clock:
    """The clock this city lives by: the computer's, or a faster one all its processes share."""
    real = SystemClock()
    if settings.clock_speed == 1.0:
        return real
    now = real.now()
    anchor = settings.clock_start or now
    return SimulatedClock(anchor + (now - anchor) * settings.clock_speed, settings.clock_speed, real)


def compose(settings: Settings, pool: Pool, clock: Clock) -> City:
    """Put the parts of a city together without starting anything."""
    return City(settings=settings, clock=clock, chance=Chance(unpredictable_seed()), pool=pool, services=services())


async def migrate_city(settings: Settings, *, after: bool = True) -> list[Migration]:
    """Bring the database to the shape this code expects; the steps that ran. Raises DatabaseAway, MigrationFailed."""
    connection = await connect(dsn_of(settings), name="sejong migrate")
    try:
        return await migrate(connection, migrations_of(services()), after=after)
    finally:
        await connection.close()


def dsn_of(settings: Settings) -> str:
    """Where the database is: the setting, or the embedded one in the state folder when it runs."""
    if settings.database_url:
        return settings.database_url
    from sejong.kit.embedded_postgres import Cluster  # only needed without a DSN

    return Cluster(settings.state, bin_dir=settings.pg_bin).dsn("sejong")


class WebCity:
    """The city as an ASGI application that opens the city when the server starts it."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or city_clock(settings)
        self.city: City | None = None
        self.api = Starlette(lifespan=self._lifespan)
        self.api.router.redirect_slashes = False
        self.api.router.routes.append(Route("/openapi.json", _openapi))
        self.api.router.routes.extend(operations_routes(self._pool, lambda: self.city is not None))
        self.front = Front(self.api)
        self.guarded: ASGIApp = Guard(self.front, clock=self.clock, max_body=settings.max_body_mb << 20)

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        await self.guarded(scope, receive, send)

    def _pool(self) -> Pool:
        if self.city is None:
            raise asyncpg.InterfaceError("the city is starting")
        return self.city.pool

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with open_city(self.settings, self.clock) as city:
            self.mount(city)
            yield
            self.city = None

    def mount(self, city: City) -> None:
        """Add every service's routes (once) and begin answering."""
        routes = routes_of(city)
        self.api.router.routes.extend(routes)
        self.front.add(routes)
        self.city = city


async def _openapi(_: Request) -> Response:
    return json_response(openapi_document())


def routes_of(city: City) -> list[BaseRoute]:
    """The routes of all services, in start order."""
    found: list[BaseRoute] = []
    for service in city.services:
        if service.routes:
            found.extend(resolve(service.routes)(city))
    return found


def web() -> WebCity:
    """The application granian serves (`sejong.app:web`, a factory)."""
    settings = Settings()
    configure_logs(settings.log_style, settings.log_level)
    spare_the_collector()
    return WebCity(settings)


def handlers_of(city: City) -> dict[str, tuple[tuple[str, ...], Handler]]:
    """Handler name → (events it listens to, function), for `sejong work`."""
    found: dict[str, tuple[tuple[str, ...], Handler]] = {}
    for service in city.services:
        for event, function in service.on.items():
            found[f"{service.name}:{event}"] = ((event,), partial(resolve(function), city))
    return found


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document of everything this city answers to programs (no database needed)."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sejong",
            "version": VERSION,
            "description": "도시 운영 플랫폼 API · smart-city platform API",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {**ngsi_ld_paths(), **data_paths(), **sta_paths()},
        "components": components(),
    }
