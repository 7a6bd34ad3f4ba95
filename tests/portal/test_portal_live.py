"""The live socket and the event stream, spoken to as ASGI speaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
from portal_demo_city import CENTRE, DemoCity, DemoFace
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from sejong.portal.frames import Frame, decode
from sejong.portal.live import LiveMap, Pulse, as_event, events_of, read_viewport

pytestmark = pytest.mark.anyio
LON, LAT = CENTRE
EVERYTHING = {"bbox": [127.1, 36.3, 127.5, 36.8], "layers": ["bike", "bus", "road", "parking"], "zoom": 12}


class Line:
    """One open socket from the browser's side."""

    def __init__(self) -> None:
        self.to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.from_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def look(self, **viewport: Any) -> None:
        await self.say(msgspec.json.encode({**EVERYTHING, **viewport}).decode())

    async def say(self, text: str) -> None:
        await self.to_server.put({"type": "websocket.receive", "text": text})

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(3):
            return await self.from_server.get()

    async def text(self) -> Any:
        message = await self.hear()
        return msgspec.json.decode(message["text"])

    async def frame(self) -> Frame:
        while True:
            message = await self.hear()
            if message.get("bytes") is not None:
                return decode(message["bytes"])


@asynccontextmanager
async def line_to(app: Starlette, **headers: str) -> AsyncIterator[Line]:
    """A browser's socket, gone when the block ends."""
    line = Line()
    named = {"host": "sejong.test", **headers}
    scope = {
        "type": "websocket",
        "path": "/live",
        "raw_path": b"/live",
        "query_string": b"",
        "root_path": "",
        "scheme": "ws",
        "server": ("sejong.test", 80),
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "subprotocols": [],
    }
    await line.to_server.put({"type": "websocket.connect"})
    task = asyncio.ensure_future(app(scope, line.to_server.get, line.from_server.put))
    try:
        yield line
    finally:
        await line.to_server.put({"type": "websocket.disconnect", "code": 1001})
        async with asyncio.timeout(3):
            await task


@pytest.fixture
def live(demo: DemoCity) -> LiveMap:
    return LiveMap(demo, DemoFace().bbox, Pulse(demo), tick_s=0.01)


@pytest.fixture
def sockets(live: LiveMap) -> Starlette:
    return Starlette(routes=[WebSocketRoute("/live", live.serve)])


async def test_a_viewer_hears_the_grid_then_what_is_in_view(sockets: Starlette, demo: DemoCity) -> None:
    async with line_to(sockets) as line:
        assert (await line.hear())["type"] == "websocket.accept"
        hello = await line.text()
        assert {"west", "north", "step", "kinds"} == set(hello)
        await line.look()
        first = await line.frame()
        assert first.forget
        assert len(first.put) == 48 + 6 + 5
        assert await line.text() == {"roads": {"3630000001": 2}}
        demo.set("urn:ngsi-ld:BikeHireDockingStation:demo:SJ_00001", "availableBikeNumber", 0)
        change = await line.frame()
        assert change.put.tolist() == [2]
        assert change.state.tolist() == [3]


async def test_a_narrow_view_hears_only_its_own(sockets: Starlette, demo: DemoCity) -> None:
    async with line_to(sockets) as line:
        await line.look(bbox=[127.1, 36.3, 127.11, 36.31])
        assert not len((await line.frame()).put)
        demo.set("urn:ngsi-ld:BikeHireDockingStation:demo:SJ_00001", "availableBikeNumber", 0)
        await line.look(layers=["parking"])
        assert len((await line.frame()).put) == 5


async def test_moving_things_arrive_where_they_are(sockets: Starlette, demo: DemoCity, live: LiveMap) -> None:
    async with line_to(sockets) as line:
        await line.look(layers=["bus"])
        first = await line.frame()
        demo.move_buses(30)
        second = await line.frame()
        assert sorted(first.put.tolist()) == sorted(second.put.tolist())
        assert first.x.tolist() != second.x.tolist()
        card = (await demo.cards([int(second.put[0])]))[0]
        assert live.grid.steps(card.lon or 0, card.lat or 0) == (second.x[0], second.y[0])


async def test_a_deleted_thing_goes(sockets: Starlette, demo: DemoCity) -> None:
    async with line_to(sockets) as line:
        await line.look()
        await line.frame()
        demo.remove("urn:ngsi-ld:OffStreetParking:demo:P0")
        assert len((await line.frame()).gone) == 1


async def test_a_foreign_page_is_turned_away(sockets: Starlette) -> None:
    async with line_to(sockets, origin="http://evil.test") as line:
        answer = await line.hear()
        assert (answer["type"], answer["code"]) == ("websocket.close", 1008)


async def test_our_own_page_is_welcome(sockets: Starlette) -> None:
    async with line_to(sockets, origin="http://sejong.test") as line:
        assert (await line.hear())["type"] == "websocket.accept"


@pytest.mark.parametrize(
    "words", ["", "{", "[]", '{"bbox":[1,2,3],"layers":[]}', "x" * 5000, '{"bbox":[3,2,1,4],"layers":[]}']
)
async def test_nonsense_ends_the_conversation(sockets: Starlette, words: str) -> None:
    async with line_to(sockets) as line:
        await line.say(words)
        last: dict[str, Any] = {}
        while last.get("type") != "websocket.close":
            last = await line.hear()
        assert last["code"] == 1007


async def test_the_scene_lives_only_while_somebody_watches(sockets: Starlette, demo: DemoCity, live: LiveMap) -> None:
    async with line_to(sockets) as one, line_to(sockets) as two:
        await one.look()
        await two.look()
        await one.frame()
        await two.frame()
        assert len(demo._listeners) == 1
    assert not demo._listeners
    assert live._scene is None
    async with line_to(sockets) as again:
        await again.look()
        assert len((await again.frame()).put) == 59


async def test_a_silent_viewer_costs_nothing_and_may_leave(sockets: Starlette, demo: DemoCity) -> None:
    async with line_to(sockets) as line:
        assert (await line.hear())["type"] == "websocket.accept"
    assert not demo._listeners


async def test_a_slow_viewer_skips_ticks_but_ends_up_right(live: LiveMap, demo: DemoCity) -> None:
    async with live.watching() as scene:
        for n in range(20):
            demo.set("urn:ngsi-ld:BikeHireDockingStation:demo:SJ_00001", "availableBikeNumber", n % 2)
            await asyncio.sleep(0.005)
        before = scene.tick
        assert before < 20
        async with asyncio.timeout(3):
            while scene.state[1] != 2:
                await asyncio.sleep(0.01)


async def test_the_scene_comes_back_after_the_record_was_away(
    demo: DemoCity, live: LiveMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sejong.portal.live.RETRY_S", 0.01)
    good, failures = demo.cards, 2

    async def failing(numbers: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise ConnectionError("the database is away")
        return await good(numbers)

    monkeypatch.setattr(demo, "cards", failing)
    async with live.watching() as scene:
        demo.set("urn:ngsi-ld:BikeHireDockingStation:demo:SJ_00001", "availableBikeNumber", 0)
        async with asyncio.timeout(3):
            while scene.state[1] != 3:
                await asyncio.sleep(0.01)
    assert failures < 2


async def test_an_entity_stream_says_the_present_then_every_change(demo: DemoCity) -> None:
    entity_id = "urn:ngsi-ld:BikeHireDockingStation:demo:SJ_00001"

    async def render() -> str | None:
        entity = demo.entities.get(entity_id)
        return f"<b>{entity['availableBikeNumber']['value']}</b>\nbikes" if entity else None

    stream = events_of(Pulse(demo), demo.numbers[entity_id], render, pause_s=0, beat_s=0.05)
    assert await anext(stream) == b"data: <b>3</b>\ndata: bikes\n\n"
    assert await anext(stream) == b": still here\n\n"
    demo.set("urn:ngsi-ld:OffStreetParking:demo:P0", "availableSpotNumber", 9)
    assert await anext(stream) == b": still here\n\n"
    demo.set(entity_id, "availableBikeNumber", 11)
    assert await anext(stream) == b"data: <b>11</b>\ndata: bikes\n\n"
    demo.remove(entity_id)
    with suppress(StopAsyncIteration):
        while True:
            assert await anext(stream) == b": still here\n\n"
    assert not demo._listeners


def test_markup_cannot_leave_its_event() -> None:
    assert as_event("a\r\nevent: b\n\ndata: c") == b"data: a\ndata: event: b\ndata: \ndata: data: c\n\n"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ('{"bbox":[127,36,128,37],"layers":["bike"]}', True),
        ('{"bbox":[127,36,128,37],"layers":["bike"],"zoom":12.5,"other":1}', True),
        ('{"bbox":[127,36,128,37],"layers":"bike"}', False),
        ('{"bbox":[127,36,128,1e999],"layers":[]}', False),
        ('{"bbox":[127,36,128,null],"layers":[]}', False),
    ],
)
def test_viewports_are_checked(text: str, good: bool) -> None:
    assert (read_viewport(text) is not None) is good
