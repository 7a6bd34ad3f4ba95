"""A client of the NGSI-LD API who states the status they expect of every request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from starlette.applications import Starlette

from sejong.hub.web.routes import routes
from sejong.kit.city import City
from sejong.kit.http import Front, Guard
from sejong.settings import Settings

BASE = "/ngsi-ld/v1"
ERRORS = "https://uri.etsi.org/ngsi-ld/errors/"
LD = "application/ld+json"


class Door:
    """The hub's door, as one client sees it."""

    def __init__(self, web: httpx.AsyncClient) -> None:
        self.web = web

    async def __call__(
        self,
        method: str,
        path: str,
        expect: int | None = None,
        *,
        json: Any = None,
        ld: Any = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        error: str | None = None,
        **params: str,
    ) -> httpx.Response:
        """Send one request (`ld`: a body as application/ld+json) and check its status and error name."""
        sent = dict(headers or {})
        if ld is not None:
            sent["Content-Type"] = LD
        body = {"json": ld if json is None else json} if content is None and (json or ld) is not None else {}
        if json is not None and not json:
            body = {"json": json}
        if params and "?" in path:
            path, params = f"{path}&{urlencode(params)}", {}
        answer = await self.web.request(
            method, BASE + path, headers=sent, params=params or None, content=content, **body
        )
        if expect is not None:
            assert answer.status_code == expect, f"{method} {path} {params}: {answer.status_code} {answer.text}"
        if error is not None:
            assert answer.json()["type"] == ERRORS + error, answer.text
            assert answer.json()["status"] == answer.status_code
            assert answer.json()["title"]
            assert answer.headers["content-type"] == "application/json"
        return answer

    async def make(self, *entities: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        """Create entities that are expected to be right."""
        for entity in entities:
            await self("POST", "/entities", 201, json=entity, headers=headers)

    async def see(self, entity_id: str, **params: str) -> Any:
        """The entity as GET shows it."""
        return (await self("GET", f"/entities/{entity_id}", 200, **params)).json()

    async def find(self, **params: str) -> list[Any]:
        """The entities a query finds."""
        return (await self("GET", "/entities", 200, **params)).json()

    async def ids(self, **params: str) -> list[str]:
        """The last parts of the ids a query finds, in order."""
        return [entity["id"].rpartition(":")[2] for entity in await self.find(**params)]


@pytest.fixture
async def web(city: City, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The hub's part of the web application alone: these tests need no portal."""
    application = Starlette(routes=routes(city))
    application.router.redirect_slashes = False
    front = Front(application)
    front.add(application.routes)
    guarded = Guard(front, clock=city.clock, max_body=settings.max_body_mb << 20)
    transport = httpx.ASGITransport(app=guarded, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        yield client


@pytest.fixture
def ask(web: httpx.AsyncClient) -> Door:
    """The door of a city whose record is empty."""
    return Door(web)
