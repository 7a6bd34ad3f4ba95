"""A city with bikes in its record, and clients with and without keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from sejong.hub.ngsi.entity import expand_entity
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.opendata.catalogue import Catalogue
from sejong.hub.opendata.keys import OPERATOR, READER, Keys
from sejong.hub.service import Hub
from sejong.hub.web.routes import routes
from sejong.kit.city import City
from sejong.kit.http import Front, Guard
from sejong.settings import Settings

BIKES: dict[str, Any] = {
    "id": "bikes",
    "title": {"ko": "자전거", "en": "Bikes"},
    "description": {"ko": "대여소", "en": "Stations"},
    "theme": "TRAN",
    "query": {"type": "BikeHireDockingStation", "attrs": ["name", "location", "availableBikeNumber", "status"]},
    "owner": "시험마을",
    "licence": "https://creativecommons.org/licenses/by/4.0/",
    "update_s": 60,
}


def bike(city: City, n: int, free: Any = None, age_s: float = 0, **more: Any) -> dict[str, Any]:
    """A station, its bikes counted some seconds ago."""
    at = format_instant(city.clock.now() - timedelta(seconds=age_s))
    entity = {
        "id": f"urn:ngsi-ld:BikeHireDockingStation:test:{n:04}",
        "type": "BikeHireDockingStation",
        "name": {"type": "LanguageProperty", "languageMap": {"ko": f"대여소 {n}", "en": f"Station {n}"}},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [127 + n / 1000, 36 + n / 1000]}},
        **more,
    }
    if free is not None:
        entity["availableBikeNumber"] = {"type": "Property", "value": free, "observedAt": at, "unitCode": "C62"}
    return entity


async def tell(city: City, *entities: dict[str, Any]) -> None:
    """Put entities into the record."""
    hub = city.part(Hub)
    context = await hub.context()
    for result in await hub.upsert(0, [expand_entity(one, context, now=hub.now()) for one in entities]):
        assert not isinstance(result, Exception), result


@pytest.fixture
async def web(city: City, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The hub's routes, asked from another address than this machine's."""
    application = Starlette(routes=routes(city))
    front = Front(application)
    front.add(application.routes)
    guarded = Guard(front, clock=city.clock, max_body=settings.max_body_mb << 20)
    transport = httpx.ASGITransport(app=guarded, raise_app_exceptions=False, client=("203.0.113.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        yield client


async def key_of(city: City, role: str, **limits: Any) -> dict[str, str]:
    """The header of a new key."""
    async with city.record.act("test", "api_key.add") as act:
        made = await city.part(Keys).make(act, role, role=role, **limits)
    return {"X-API-Key": made.secret}


@pytest.fixture
async def operator(city: City) -> dict[str, str]:
    return await key_of(city, OPERATOR)


@pytest.fixture
async def reader(city: City) -> dict[str, str]:
    return await key_of(city, READER)


@pytest.fixture
def catalogue(city: City) -> Catalogue:
    return city.part(Catalogue)
