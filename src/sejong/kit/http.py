"""What every HTTP answer of the house has in common: errors a person understands, limits, measurements.

Plain ASGI middleware, so that a route pays for nothing it does not use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import msgspec
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sejong.kernel.clock import Clock
from sejong.kernel.errors import CityError
from sejong.kit.i18n import preferred
from sejong.kit.postgres import AWAY, DatabaseAway, Pool
from sejong.kit.telemetry import HTTP_SECONDS

log = structlog.get_logger("http")
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
"""Methods measured by name; whatever else a client makes up is measured together."""


class BodyTooLarge(CityError):
    """More was sent than this city accepts in one request."""

    status = 413
    ko = "보낸 내용이 너무 큽니다. 최대 {limit_mb} MiB까지 받습니다."
    en = "What was sent is too large; at most {limit_mb} MiB are accepted."


def json_response(body: Any, status: int = 200, media_type: str = "application/json", **headers: str) -> Response:
    """A JSON answer; header names are given with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(msgspec.json.encode(body), status, named, media_type)


def error_response(error: CityError, language: str) -> Response:
    """The error as problem+json, its `detail` in the visitor's language."""
    problem = error.problem()
    problem["detail"] = error.message(language)
    headers = dict(error.headers)
    if "seconds" in error.values:
        headers["Retry-After"] = str(error.values["seconds"])
    return Response(msgspec.json.encode(problem), error.status, headers, "application/problem+json")


class Guard:
    """The outermost layer: measures each request, limits its body, turns errors into answers."""

    def __init__(self, app: ASGIApp, *, clock: Clock, max_body: int) -> None:
        self.app, self.clock, self.max_body = app, clock, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = self.clock.monotonic()
        watch = _Watch(send)
        try:
            if _stated_length(scope) > self.max_body:
                raise BodyTooLarge(limit_mb=self.max_body >> 20)
            await self.app(scope, _limited(receive, self.max_body), watch)
        except Exception as error:
            if watch.status:
                raise
            await _answer_error(error, scope, receive, watch)
        finally:
            route = scope.get("route")
            name = getattr(route, "path", None) or "other"
            _clock_of(name, scope["method"], watch.status // 100).observe(self.clock.monotonic() - started)


@lru_cache(maxsize=2000)
def _clock_of(name: str, method: str, hundreds: int) -> Histogram:
    return HTTP_SECONDS.labels(name, method if method in METHODS else "other", f"{hundreds}xx")


class Straight(Mount):
    """An application that knows its way from the whole path: requests below its own go to it without the router."""


class Front:
    """Leads requests straight to the applications that need no router, and all others through it.

    Measured: the router with its middleware costs a third of what the hub needs for a GET.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.straight: list[tuple[str, ASGIApp]] = []

    def add(self, routes: Iterable[BaseRoute]) -> None:
        """Notice the `Straight` ones among the routes."""
        self.straight.extend((f"{route.path}/", route.app) for route in routes if isinstance(route, Straight))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for path, app in self.straight:
                if scope["path"].startswith(path):
                    await app(scope, receive, send)
                    return
        await self.app(scope, receive, send)


class _Watch:
    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def _stated_length(scope: Scope) -> int:
    """What Content-Length says; 0 where it says nothing a machine can use (the body is counted anyway)."""
    text = next((value for name, value in scope["headers"] if name == b"content-length"), b"").decode("latin-1")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _limited(receive: Receive, limit: int) -> Receive:
    got = 0

    async def take() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > limit:
            raise BodyTooLarge(limit_mb=limit >> 20)
        return message

    return take


async def _answer_error(error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    language = preferred(Request(scope).headers.get("accept-language"), "ko")
    if isinstance(error, AWAY):
        error = DatabaseAway(why=str(error) or type(error).__name__)
    if not isinstance(error, CityError):
        log.error("request_failed", path=scope["path"], error=repr(error), exc_info=error)
        error = CityError()
    await error_response(error, language)(scope, receive, send)


def operations_routes(pool: Callable[[], Pool], ready: Callable[[], bool]) -> list[BaseRoute]:
    """`/health/live`, `/health/ready` and `/metrics` for whoever keeps the city running."""

    async def live(_: Request) -> Response:
        return json_response({"status": "ok"})

    async def is_ready(_: Request) -> Response:
        try:
            if not ready():
                return json_response({"status": "starting"}, 503)
            await pool().fetchval("select 1", timeout=2)
        except Exception as error:  # noqa: BLE001 - any reason means: not ready
            return json_response({"status": "database_away", "why": str(error) or type(error).__name__}, 503)
        return json_response({"status": "ok"})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [Route("/health/live", live), Route("/health/ready", is_ready), Route("/metrics", metrics)]
