"""Followers see the present state, then every change, over Server-Sent Events and WebSocket; slow ones harm nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sejong.hub.web import changes
from sejong.hub.web.changes import PATH
from sejong.hub.web.routes import routes

pytestmark = pytest.mark.anyio
LAMP = {"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp", "power": 5}
Event = tuple[str, Any]


class Follower:
    """A client as ASGI sees one; it can refuse to read."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.said: asyncio.Queue[Any] = asyncio.Queue()
        self.reads = asyncio.Event()
        self.reads.set()
        self.leaves = asyncio.Event()

    async def event(self) -> Event:
        return await asyncio.wait_for(self.said.get(), 8)

    async def events(self, count: int) -> list[Event]:
        return [await self.event() for _ in range(count)]


@asynccontextmanager
async def following(city: Any, query: str, kind: str = "http", **headers: str) -> AsyncIterator[Follower]:
    from starlette.applications import Starlette

    app = Starlette(routes=routes(city))
    follower = Follower()
    begun = False

    async def receive() -> Any:
        nonlocal begun
        if not begun:
            begun = True
            return {"type": "http.request"} if kind == "http" else {"type": "websocket.connect"}
        await follower.leaves.wait()
        return {"type": f"{kind}.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        await follower.reads.wait()
        match message["type"]:
            case "http.response.start":
                follower.status, follower.headers = message["status"], dict(message["headers"])
            case "http.response.body":
                for part in message.get("body", b"").decode().split("\n\n"):
                    if part.startswith("event: "):
                        name, data = part.removeprefix("event: ").split("\ndata: ")
                        follower.said.put_nowait((name, json.loads(data)))
                    elif part:
                        follower.said.put_nowait(("raw", part))
            case "websocket.send":
                body = json.loads(message["text"])
                follower.said.put_nowait((body["event"], body["data"]))
            case "websocket.close":
                follower.status = message["code"]

    scope = {
        "type": kind, "method": "GET", "path": PATH, "raw_path": PATH.encode(), "query_string": query.encode(),
        "headers": [(k.lower().replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
        "http_version": "1.1", "scheme": "http", "server": ("localhost", 8000), "root_path": "",
        "asgi": {"spec_version": "2.4"},
    }  # fmt: skip
    task = asyncio.create_task(app(scope, receive, send))
    try:
        yield follower
    finally:
        follower.reads.set()
        follower.leaves.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_the_present_state_then_changes(ask: Any, city: Any, kind: str) -> None:
    await ask.make(LAMP, {**LAMP, "id": "urn:ngsi-ld:Lamp:2", "power": 1}, {"id": "urn:ngsi-ld:Pole:1", "type": "Pole"})
    async with following(city, "type=Lamp&q=power%3E3&format=simplified", kind) as client:
        assert await client.events(2) == [("entity", LAMP), ("current", {"entities": 1})]
        await ask("PATCH", f"/entities/{LAMP['id']}/attrs", 204, json={"power": 6})
        assert await client.event() == ("entity", {**LAMP, "power": 6})
        await ask("PATCH", "/entities/urn:ngsi-ld:Lamp:2/attrs", 204, json={"power": 7})
        assert (await client.event())[1]["id"] == "urn:ngsi-ld:Lamp:2"
        await ask("PATCH", f"/entities/{LAMP['id']}/attrs", 204, json={"power": 2})
        assert await client.event() == ("gone", {"id": LAMP["id"]})
        await ask("PATCH", f"/entities/{LAMP['id']}/attrs", 204, json={"power": 1})
        await ask("DELETE", "/entities/urn:ngsi-ld:Lamp:2", 204)
        assert await client.event() == ("gone", {"id": "urn:ngsi-ld:Lamp:2"})
    if kind == "http":
        assert client.headers[b"content-type"].startswith(b"text/event-stream")


async def test_a_tenant_sees_its_own_only(ask: Any, city: Any) -> None:
    other = {"NGSILD-Tenant": "osong"}
    await ask.make({**LAMP, "power": 9}, headers=other)
    async with following(city, "type=Lamp&tenant=osong&pick=power") as client, following(city, "type=Lamp") as home:
        assert (await client.events(2))[0] == ("entity", {"power": {"type": "Property", "value": 9}})
        assert await home.event() == ("current", {"entities": 0})
        await ask.make(LAMP)
        assert (await home.event())[1]["id"] == LAMP["id"]
        # What was written just before the beginning may be told twice; what others wrote never is.
        while not client.said.empty():
            assert client.said.get_nowait() == ("entity", {"power": {"type": "Property", "value": 9}})


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 400), ("type=Lamp&limit=1", 400), ("type=Lamp&q=%3E", 400), ("type=Lamp&tenant=nobody", 404),
     ("type=Lamp&context=http://127.0.0.1:1/c", 504), ("type=Lamp&tenant=a&tenant=b", 400)],
)  # fmt: skip
async def test_what_cannot_be_followed_is_refused(ask: Any, city: Any, query: str, status: int) -> None:
    async with following(city, query) as client:
        assert (await client.event())[0] == "raw"
        assert client.status == status
    async with following(city, query, "websocket") as client:
        name, body = await client.event()
        assert (name, body["status"]) == ("error", status)


async def test_followers_and_entities_have_limits(ask: Any, city: Any, monkeypatch: Any) -> None:
    await ask.make(LAMP, {**LAMP, "id": "urn:ngsi-ld:Lamp:2"})
    monkeypatch.setattr(changes, "MOST_ENTITIES", 1)
    async with following(city, "type=Lamp") as client:
        await client.event()
        assert client.status == 403
    monkeypatch.setattr(changes, "MOST_FOLLOWERS", 0)
    async with following(city, "type=Lamp&id=urn:ngsi-ld:Lamp:1") as client:
        await client.event()
        assert client.status == 429


async def test_a_slow_follower_gets_the_newest_state_and_delays_nobody(ask: Any, city: Any) -> None:
    await ask.make(LAMP)
    async with following(city, "type=Lamp&format=simplified") as slow, following(city, "type=Lamp") as fast:
        await slow.events(2)
        await fast.events(2)
        slow.reads.clear()
        for value in range(150):
            await ask("PATCH", f"/entities/{LAMP['id']}/attrs", 204, json={"power": value})
        while (await fast.event())[1]["power"]["value"] != 149:
            pass
        slow.reads.set()
        seen = [(await slow.event())[1]["power"]]
        while seen[-1] != 149:
            seen.append((await slow.event())[1]["power"])
        assert len(seen) < 150


async def test_a_quiet_line_is_kept_open(ask: Any, city: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(changes, "STILL_HERE", 0.05)
    async with following(city, "type=Lamp") as client:
        assert await client.events(2) == [("current", {"entities": 0}), ("raw", ": still here")]
