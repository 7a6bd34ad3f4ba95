"""The portal of one running city: its pages, what they read, and how their errors look."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sejong.kernel.errors import CityError, NotFound
from sejong.kit.http import error_response
from sejong.portal.city_view import CityView
from sejong.portal.live import LiveMap, Pulse
from sejong.portal.pages import Pages

log = structlog.get_logger("portal")

Endpoint = Callable[[Request], Awaitable[Response]]


class TileReader(Protocol):
    """The pack's base map; `sejong.citypack.basemap.tiles_reader` makes one."""

    def tile(self, z: int, x: int, y: int) -> bytes | None:
        """A gzip-compressed vector tile, or None where the map is empty."""
        ...


class Face:
    """What every portal endpoint is given."""

    def __init__(self, *, pages: Pages, view: CityView, tiles: TileReader | None) -> None:
        self.pages, self.view, self.tiles = pages, view, tiles
        self.pulse = Pulse(view)
        self.live = LiveMap(view, pages.city.bbox, self.pulse)

    def page(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint with errors shown as a page (or as problem+json to programs)."""

        @functools.wraps(endpoint)
        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request)
            except Exception as error:  # noqa: BLE001 - a visitor always gets a page, never a dropped connection
                return self.error(request, error)

        return answer

    def error(self, request: Request, error: Exception) -> Response:
        """What a visitor sees when something goes wrong."""
        if isinstance(error, HTTPException):
            error = NotFound(what=request.url.path) if error.status_code == 404 else Refused(status=error.status_code)
        if not isinstance(error, CityError):
            log.error("page_failed", path=request.url.path, error=repr(error), exc_info=error)
            error = CityError()
        visitor = self.pages.visitor(request)
        if "text/html" not in request.headers.get("accept", "text/html"):
            return error_response(error, visitor.lang)
        values: dict[str, Any] = {"status": error.status, "message": error.message(visitor.lang)}
        headers = {"Cache-Control": "no-store", **error.headers}
        return self.pages.answer(
            request, "portal/error.html", values, status=error.status, headers=headers, visitor=visitor
        )


class Refused(CityError):
    """The way something was asked for is not offered here."""

    status = 405
    ko = "이 주소에서는 할 수 없는 요청입니다. ({status})"
    en = "This cannot be done at this address. ({status})"
