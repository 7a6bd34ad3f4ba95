"""Pages that stay true while open: the map's socket and one entity's event stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import msgspec
import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from sejong.kernel.geo import BBox
from sejong.kit.telemetry import LIVE_VIEWERS
from sejong.portal.city_view import Card, CityView
from sejong.portal.frames import Grid, encode, grid_over
from sejong.portal.scene import LIVE_TYPES, Scene, View, Viewport
from sejong.portal.words import KINDS, SHAPES

log = structlog.get_logger("portal")

TICK_S = 1.0
"""A viewer is told at most this often."""
RETRY_S = 2.0
MOST_THINGS = 200_000
LONGEST_MESSAGE = 2_000
CLOSE_BAD_MESSAGE, CLOSE_WRONG_ORIGIN = 1007, 1008


class Ear:
    """One listener's pending changes: a set, so that a slow listener holds each number once."""

    def __init__(self, only: int | None) -> None:
        self._only = only
        self._numbers: set[int] = set()
        self._heard = asyncio.Event()
        self.deaf = False
        """Changes may have been missed; look at everything anew."""

    def hear(self, numbers: list[int]) -> None:
        """Called by the pulse."""
        if self._only is None:
            self._numbers.update(numbers)
        elif self._only in numbers:
            self._numbers.add(self._only)
        if self._numbers:
            self._heard.set()

    def miss(self) -> None:
        """Called by the pulse when the record could not be followed for a while."""
        self.deaf = True
        self._heard.set()

    async def take(self) -> list[int]:
        """Wait for a change and take all that came since the last time."""
        await self._heard.wait()
        self._heard.clear()
        taken, self._numbers = sorted(self._numbers), set()
        return taken


class Pulse:
    """The record's changes, followed once per process while anybody listens."""

    def __init__(self, view: CityView) -> None:
        self._view = view
        self._ears: set[Ear] = set()
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listen(self, only: int | None = None) -> AsyncIterator[Ear]:
        """An ear for all changes, or for those of one thing."""
        ear = Ear(only)
        self._ears.add(ear)
        if self._task is None:
            self._task = asyncio.create_task(self._follow())
        try:
            yield ear
        finally:
            self._ears.discard(ear)
            if not self._ears and self._task is not None:
                task, self._task = self._task, None
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _follow(self) -> None:
        while True:
            try:
                async for numbers in self._view.changes():
                    for ear in self._ears:
                        ear.hear(numbers)
            except Exception as error:  # noqa: BLE001 - the record may be away for a while; viewers wait
                log.warning("live_changes_lost", error=repr(error))
            await asyncio.sleep(RETRY_S)
            for ear in self._ears:
                ear.miss()


class LiveMap:
    """The scene all viewers share; it is loaded for the first one and dropped after the last."""

    def __init__(self, view: CityView, bbox: BBox, pulse: Pulse, tick_s: float = TICK_S) -> None:
        self._view, self._bbox, self._pulse, self.tick_s = view, bbox, pulse, tick_s
        self.grid = grid_over(bbox)
        self._viewers = 0
        self._task: asyncio.Task[None] | None = None
        self._scene: asyncio.Future[Scene] | None = None
        self._news = asyncio.Event()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Scene]:
        """The living scene, kept up to date while inside."""
        self._viewers += 1
        LIVE_VIEWERS.inc()
        if self._scene is None:
            self._scene = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._keep_up(self._scene))
        try:
            yield await asyncio.shield(self._scene)
        finally:
            self._viewers -= 1
            LIVE_VIEWERS.dec()
            if not self._viewers and self._task is not None:
                task, self._task, self._scene = self._task, None, None
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    @property
    def news(self) -> asyncio.Event:
        """Set when the scene changes next; take it before looking at the scene."""
        return self._news

    async def _keep_up(self, ready: asyncio.Future[Scene]) -> None:
        async with self._pulse.listen() as ear:
            scene = Scene(self.grid)
            while not ready.done():
                try:
                    scene.apply(await self._everything())
                    ready.set_result(scene)
                except Exception as error:  # noqa: BLE001 - the record may be away; viewers see "connecting" meanwhile
                    log.warning("live_scene_unloaded", error=repr(error))
                    await asyncio.sleep(RETRY_S)
            while True:
                numbers = await ear.take()
                try:
                    await self._refresh(scene, ear, numbers)
                except Exception as error:  # noqa: BLE001 - as above
                    log.warning("live_scene_stale", error=repr(error))
                    await asyncio.sleep(RETRY_S)
                    ear.miss()
                await asyncio.sleep(self.tick_s)

    async def _refresh(self, scene: Scene, ear: Ear, numbers: list[int]) -> None:
        if ear.deaf:
            ear.deaf = False
            different = scene.apply(await self._everything(), asked=scene.known())
        else:
            different = scene.apply(await self._view.cards(numbers), asked=numbers)
        if different:
            news, self._news = self._news, asyncio.Event()
            news.set()

    async def _everything(self) -> list[Card]:
        """All live things, type by type, so that other visitors are answered in between."""
        found: list[Card] = []
        for name in LIVE_TYPES:
            found += await self._view.in_view([name], self._bbox, MOST_THINGS)
        return found

    async def serve(self, socket: WebSocket) -> None:
        """One viewer: hello as text, then frames until they leave."""
        if not same_origin(socket):
            await socket.close(CLOSE_WRONG_ORIGIN)
            return
        await socket.accept()
        with suppress(WebSocketDisconnect, RuntimeError):
            await socket.send_text(hello(self.grid))
            async with self.watching() as scene:
                await _Viewer(self, socket, View(scene)).run()


class _Viewer:
    """One open socket: one task reads viewports, one sends what changed. Nothing queues up for a slow browser."""

    def __init__(self, live: LiveMap, socket: WebSocket, view: View) -> None:
        self._live, self._socket, self._view = live, socket, view
        self._viewport: Viewport | None = None
        self._looked = asyncio.Event()

    async def run(self) -> None:
        sender = asyncio.create_task(self._send())
        try:
            await self._read()
        finally:
            sender.cancel()
            with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await sender
            if self._socket.application_state is WebSocketState.CONNECTED:
                with suppress(RuntimeError):
                    await self._socket.close(CLOSE_BAD_MESSAGE)

    async def _read(self) -> None:
        while True:
            text = await self._socket.receive_text()
            viewport = read_viewport(text)
            if viewport is None:
                return
            self._viewport = viewport
            self._looked.set()

    async def _send(self) -> None:
        await self._looked.wait()
        while True:
            self._looked.clear()
            viewport = self._viewport
            if viewport is None:
                return
            news = self._live.news
            frame, roads = self._view.frame(viewport), self._view.roads(viewport)
            if frame is not None:
                await self._socket.send_bytes(encode(frame))
            if roads is not None:
                await self._socket.send_text(msgspec.json.encode({"roads": roads}).decode())
            await self._next(news)

    async def _next(self, news: asyncio.Event) -> None:
        waits = {asyncio.ensure_future(event.wait()) for event in (news, self._looked)}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def hello(grid: Grid) -> str:
    """The first words of a conversation: where the grid lies, and the shape and size of each kind."""
    kinds = [[SHAPES.index(kind.shape) if kind.shape in SHAPES else 0, kind.size] for kind in KINDS]
    words = {"west": grid.west, "north": grid.north, "step": grid.step, "kinds": kinds}
    return msgspec.json.encode(words).decode()


def read_viewport(text: str) -> Viewport | None:
    """What the browser says it shows, or None when it is not that."""
    if len(text) > LONGEST_MESSAGE:
        return None
    try:
        viewport = msgspec.json.decode(text, type=Viewport)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    west, south, east, north = viewport.bbox
    return viewport if -360 <= west < east <= 360 and -90 <= south < north <= 90 else None


def same_origin(socket: WebSocket) -> bool:
    """Whether the page that opens the socket is ours; programs that send no Origin are welcome."""
    origin = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == socket.headers.get("host")


async def events_of(
    pulse: Pulse,
    number: int,
    render: Callable[[], Awaitable[str | None]],
    pause_s: float = TICK_S,
    beat_s: float = 20.0,
) -> AsyncIterator[bytes]:
    """A server-sent event with fresh HTML now and whenever one thing changed; comments keep proxies awake."""
    async with pulse.listen(only=number) as ear:
        while True:
            html = await render()
            if html is None:
                return
            yield as_event(html)
            await asyncio.sleep(pause_s)
            while not await heard_within(ear, beat_s):
                yield b": still here\n\n"


async def heard_within(ear: Ear, seconds: float) -> bool:
    """Whether a change came in time."""
    try:
        async with asyncio.timeout(seconds):
            await ear.take()
    except TimeoutError:
        return False
    return True


def as_event(html: str) -> bytes:
    """HTML as one server-sent event."""
    return ("".join(f"data: {line}\n" for line in html.splitlines()) + "\n").encode()
