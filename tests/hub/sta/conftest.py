"""The hub's part of the web application alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette

from sejong.hub.web.routes import routes
from sejong.kit.city import City
from sejong.kit.http import Front, Guard
from sejong.settings import Settings


@pytest.fixture
async def web(city: City, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    application = Starlette(routes=routes(city))
    front = Front(application)
    front.add(application.routes)
    guarded = Guard(front, clock=city.clock, max_body=settings.max_body_mb << 20)
    transport = httpx.ASGITransport(app=guarded, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        yield client
