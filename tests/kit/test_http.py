"""Whatever goes wrong inside, the one who asked gets an answer they understand, and the operators can see it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from sejong.app import WebCity, migrate_city, open_city
from sejong.kernel.clock import ManualClock
from sejong.kernel.errors import CityError, NotFound, TooManyRequests
from sejong.kit.embedded_postgres import Cluster
from sejong.kit.http import Guard, operations_routes
from sejong.kit.postgres import AWAY
from sejong.settings import Settings

pytestmark = pytest.mark.anyio
LIMIT = 1 << 20
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def client(app: App, clock: ManualClock | None = None) -> httpx.AsyncClient:
    """A visitor of the application; behind the guard when there is a clock to measure with."""
    guarded = Guard(app, clock=clock, max_body=LIMIT) if clock else app
    return httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://city")


def raising(error: Exception) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return app


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads all there is and says how much."""
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


# --- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wants", "detail"),
    [
        ("ko", "대여소을(를) 찾을 수 없습니다."),
        ("en-US,en;q=0.9", "대여소 was not found."),
        ("fr", "대여소을(를) 찾을 수 없습니다."),
    ],
)
async def test_a_refusal_is_a_problem_document_in_the_visitors_language(
    clock: ManualClock, wants: str, detail: str
) -> None:
    """Source: RFC 9457."""
    answer = await client(raising(NotFound(what="대여소")), clock).get("/x", headers={"Accept-Language": wants})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:sejong:error:NotFound",
        "title": "NotFound",
        "status": 404,
        "detail": detail,
        "detail_ko": "대여소을(를) 찾을 수 없습니다.",
    }


async def test_a_fault_of_ours_says_nothing_of_the_inside(clock: ManualClock) -> None:
    answer = await client(raising(KeyError("secret_table")), clock).get("/x")
    assert answer.status_code == 500
    assert answer.json()["title"] == "CityError"
    assert "secret_table" not in answer.text


async def test_a_file_that_is_missing_is_not_a_database_that_is_away(clock: ManualClock) -> None:
    assert (await client(raising(FileNotFoundError("x.css")), clock).get("/x")).status_code == 500


@pytest.mark.parametrize("kind", AWAY, ids=lambda kind: kind.__name__)
async def test_a_database_that_is_away_is_503_and_come_again(clock: ManualClock, kind: type[Exception]) -> None:
    answer = await client(raising(kind("gone")), clock).get("/x")
    assert answer.status_code == 503
    assert answer.json()["title"] == "DatabaseAway"
    assert int(answer.headers["retry-after"]) > 0


async def test_too_many_requests_says_when(clock: ManualClock) -> None:
    answer = await client(raising(TooManyRequests(seconds=7)), clock).get("/x")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


async def test_an_answer_already_begun_is_broken_off_not_mended(clock: ManualClock) -> None:
    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise NotFound(what="the rest")

    with pytest.raises(NotFound):
        await client(half, clock).get("/x")


async def test_cancelling_passes_through(clock: ManualClock) -> None:
    with pytest.raises(asyncio.CancelledError):
        await client(raising(asyncio.CancelledError()), clock).get("/x")  # type: ignore[arg-type]


# --- limits -----------------------------------------------------------------------------------------------------


async def chunks(total: int, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, total, size):
        yield b"x" * min(size, total - start)


async def test_a_body_of_just_the_limit_is_read(clock: ManualClock) -> None:
    web = client(reading, clock)
    assert (await web.post("/x", content=b"x" * LIMIT)).text == str(LIMIT)
    assert (await web.post("/x", content=chunks(LIMIT))).text == str(LIMIT)


@pytest.mark.parametrize("stated", [True, False], ids=["stated length", "chunked"])
async def test_one_byte_more_is_refused(clock: ManualClock, stated: bool) -> None:
    content: Any = b"x" * (LIMIT + 1) if stated else chunks(LIMIT + 1)
    answer = await client(reading, clock).post("/x", content=content)
    assert answer.status_code == 413
    assert answer.json()["detail"] == "보낸 내용이 너무 큽니다. 최대 1 MiB까지 받습니다."


async def test_a_stated_length_is_refused_before_anything_is_read(clock: ManualClock) -> None:
    answer = await client(raising(AssertionError("read")), clock).post("/x", headers={"Content-Length": str(LIMIT + 1)})
    assert answer.status_code == 413


async def test_a_lie_about_the_length_does_not_help(clock: ManualClock) -> None:
    answer = await client(reading, clock).post("/x", content=chunks(LIMIT + 1), headers={"Content-Length": "1"})
    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["", "-1", "abc", "²", "9" * 5000, "1e3", "0x10"])
async def test_a_senseless_length_is_no_fault_of_ours(clock: ManualClock, length: str) -> None:
    headers = [(b"content-length", length.encode("latin-1"))]
    answer = await client(reading, clock).post("/x", content=chunks(3), headers=headers)
    assert (answer.status_code, answer.text) == (200, "3")


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_what_is_no_request_passes_untouched(clock: ManualClock, kind: str) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])
        raise CityError

    with pytest.raises(CityError):
        await Guard(app, clock=clock, max_body=1)({"type": kind}, None, None)  # type: ignore[arg-type]
    assert seen == [kind]


# --- for operators ----------------------------------------------------------------------------------------------


def measured(route: str, status: str, method: str = "GET") -> float:
    labels = {"route": route, "method": method, "status": status}
    return REGISTRY.get_sample_value("sejong_http_request_seconds_count", labels) or 0.0


def samples(answer: httpx.Response, name: str) -> list[Sample]:
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    return families[name].samples


async def test_each_request_is_measured_by_its_route(web: httpx.AsyncClient) -> None:
    """By the route's template: the raw path would give one series for each entity."""
    before = measured("/ngsi-ld/v1/entities/{id}", "4xx"), measured("/health/live", "2xx")
    await web.get("/ngsi-ld/v1/entities/urn:ngsi-ld:Nobody:1")
    await web.get("/health/live")
    await web.get("/no/such/page")
    after = measured("/ngsi-ld/v1/entities/{id}", "4xx"), measured("/health/live", "2xx")
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1]
    routes = {sample.labels["route"] for sample in samples(await web.get("/metrics"), "sejong_http_request_seconds")}
    assert not {route for route in routes if "urn:" in route or "no/such" in route}


async def test_the_time_is_the_clocks(clock: ManualClock) -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        clock.advance(3)
        await PlainTextResponse("ok")(scope, receive, send)

    name = {"route": "other", "method": "PATCH", "status": "2xx"}
    before = REGISTRY.get_sample_value("sejong_http_request_seconds_sum", name) or 0.0
    await client(slow, clock).patch("/x")
    assert REGISTRY.get_sample_value("sejong_http_request_seconds_sum", name) == before + 3


async def test_methods_somebody_made_up_do_not_fill_the_memory(clock: ManualClock) -> None:
    visitor = client(reading, clock)
    before = measured("other", "2xx", "other")
    for method in ("BREW", "PROPFIND", "X" * 500):
        await visitor.request(method, "/x")
    assert measured("other", "2xx", "other") == before + 3
    assert measured("other", "2xx", "BREW") == 0


async def test_metrics_are_text_prometheus_reads(web: httpx.AsyncClient) -> None:
    answer = await web.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert families["sejong_http_request_seconds"].type == "histogram"
    assert {"sejong_readings", "sejong_dead_letters", "sejong_commit_seconds"} <= families.keys()


async def test_a_living_city_is_live_and_ready(web: httpx.AsyncClient) -> None:
    for path in ("/health/live", "/health/ready"):
        answer = await web.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_starting_city_is_live_but_not_ready() -> None:
    def no_pool() -> Any:
        raise asyncpg.InterfaceError("the city is starting")

    found = {route.path: route for route in operations_routes(no_pool, lambda: False)}  # type: ignore[attr-defined]
    ready = await client(found["/health/ready"].app).get("/health/ready")  # type: ignore[attr-defined]
    assert (ready.status_code, ready.json()) == (503, {"status": "starting"})
    away = {route.path: route for route in operations_routes(no_pool, lambda: True)}  # type: ignore[attr-defined]
    ready = await client(away["/health/ready"].app).get("/health/ready")  # type: ignore[attr-defined]
    assert (ready.status_code, ready.json()["status"]) == (503, "database_away")
    live = await client(found["/health/live"].app).get("/health/live")  # type: ignore[attr-defined]
    assert live.status_code == 200


async def test_a_city_survives_the_death_and_return_of_its_database(tmp_path: Path) -> None:
    entity = {"id": "urn:ngsi-ld:Vehicle:1", "type": "Vehicle", "speed": {"type": "Property", "value": 50}}
    place = "/ngsi-ld/v1/entities/urn:ngsi-ld:Vehicle:1"
    with Cluster(tmp_path, fast=True) as cluster:
        settings = Settings(database_url=cluster.ensure_database(), city="testville", state=tmp_path, database_pool=6)
        await migrate_city(settings)
        async with open_city(settings) as city:
            application = WebCity(settings)
            application.mount(city)
            web = client(application)
            assert (await web.post("/ngsi-ld/v1/entities", json=entity)).status_code == 201
            assert cluster.pid
            os.kill(cluster.pid, signal.SIGQUIT)
            while cluster.is_running:
                await asyncio.sleep(0.01)
            assert (await web.get("/health/live")).status_code == 200
            assert (await web.get("/health/ready")).status_code == 503
            for answer in (
                await web.get(place),
                await web.post("/ngsi-ld/v1/entities", json=entity | {"id": "urn:x:2"}),
            ):
                assert answer.status_code == 503, answer.text
                assert answer.headers["retry-after"]
            cluster.start()
            assert (await web.get("/health/ready")).json() == {"status": "ok"}
            assert (await web.get(place)).json()["speed"]["value"] == 50
            assert (await web.post("/ngsi-ld/v1/entities", json=entity | {"id": "urn:x:2"})).status_code == 201
