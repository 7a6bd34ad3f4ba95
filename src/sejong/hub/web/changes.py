"""`/hub/v1/changes`: what a query means now, then everything that changes about it. For browsers and apps.

Not part of the standard. The same address answers Server-Sent Events to a GET and speaks WebSocket when asked to. The
parameters are those of `GET /ngsi-ld/v1/entities`, and two for browsers, which cannot set header fields: `context` (an
address) and `tenant`. Events:

    entity   an entity that is or has become part of the answer, or has changed
    current  {"entities": n}: the present state is complete, changes follow
    gone     {"id": ...}: an entity that is no longer part of the answer

Whoever reads slowly gets the newest state of what changed meanwhile, not every step; nobody else waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from sejong.hub.feed import ChangeFeed
from sejong.hub.ngsi.errors import BadRequestData, TooManyResults
from sejong.hub.selection import Selection
from sejong.hub.service import Hub
from sejong.hub.store.entities import NUMBERED_OF
from sejong.hub.web.answers import problem_of
from sejong.hub.web.asked import Shown, check_source_filters, selection_of
from sejong.hub.web.operations import Operation
from sejong.hub.web.request import NgsiRequest, Refused, opened
from sejong.hub.web.router import problem
from sejong.kernel.errors import CityError, TooManyRequests
from sejong.kit.postgres import AWAY, DatabaseAway

Doc = dict[str, Any]
Event = tuple[str, Doc]
PATH = "/hub/v1/changes"
MOST_ENTITIES = 10_000
"""Entities one follower may follow at most; a narrower query is wanted then. Chosen."""
MOST_FOLLOWERS = 1000
"""Followers of one process. Chosen."""
STILL_HERE = 15.0
"""Seconds of silence after which a follower is told that the line stands. Chosen below usual proxy timeouts."""
_CLOSE_REFUSED = 1008
_PARAMETERS = frozenset(
    {"id", "idPattern", "type", "q", "georel", "geometry", "coordinates", "geoproperty", "scopeQ", "expandValues"}
    | {"jsonKeys", "attrs", "pick", "omit", "lang", "datasetId", "options", "format", "local", "context", "tenant"}
)
FOLLOW = Operation(
    method="FOLLOW",
    path=PATH,
    handler="",
    summary="Follow what a query means",
    params=_PARAMETERS,
    options=frozenset({"sysAttrs"}),
    formats=frozenset({"normalized", "concise", "simplified", "keyValues"}),
)
_encode = msgspec.json.encode


class Following:
    """The followers of one process."""

    def __init__(self, hub: Hub, feed: ChangeFeed) -> None:
        self._hub, self._feed = hub, feed
        self.followers = 0

    def routes(self) -> list[BaseRoute]:
        """Where to follow."""
        return [Route(PATH, self.as_events, methods=["GET"]), WebSocketRoute(PATH, self.as_socket)]

    async def as_events(self, request: Request) -> Response:
        """GET: Server-Sent Events. Source: HTML Living Standard, section 9.2."""
        try:
            asked = await self._asked(request.scope, request.receive)
        except Refused as refused:
            return refused.response
        except CityError as error:
            return problem(error)

        async def text() -> AsyncIterator[bytes]:
            async for event in asked.events():
                if event is None:
                    yield b": still here\n\n"
                else:
                    yield b"event: %s\ndata: %s\n\n" % (event[0].encode(), _encode(event[1]))

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Access-Control-Allow-Origin": "*"}
        return StreamingResponse(text(), headers=headers, media_type="text/event-stream")

    async def as_socket(self, socket: WebSocket) -> None:
        """WebSocket: each event as `{"event": ..., "data": ...}`; what the client sends is not listened to."""
        await socket.accept()
        with suppress(WebSocketDisconnect, RuntimeError):
            try:
                asked = await self._asked(socket.scope, socket.receive)
            except CityError as error:
                await socket.send_text(_encode({"event": "error", "data": problem_of(error)}).decode())
                await socket.close(_CLOSE_REFUSED)
                return
            leaving = asyncio.ensure_future(_until_gone(socket))
            telling = asyncio.ensure_future(_tell(socket, asked))
            try:
                await asyncio.wait({leaving, telling}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (leaving, telling):
                    task.cancel()
                await asyncio.gather(leaving, telling, return_exceptions=True)

    async def _asked(self, scope: Any, receive: Any) -> _Follower:
        """Everything that can be refused, before a word is said."""
        request = await opened(self._hub, scope, receive, FOLLOW, {})
        if "context" in request.params:
            request.context = await self._hub.contexts.get(request.params["context"])
        if "tenant" in request.params:
            if request.tenant_name:
                raise BadRequestData("the tenant is named twice")
            request.tenant = await self._hub.tenant(request.params["tenant"])
        check_source_filters(request.params)
        if self.followers >= MOST_FOLLOWERS:
            raise TooManyRequests(seconds=10)
        follower = _Follower(self, self._hub, self._feed, request)
        try:
            await follower.look()
        except AWAY as error:
            raise DatabaseAway(why=str(error) or type(error).__name__) from error
        return follower


async def _until_gone(socket: WebSocket) -> None:
    with suppress(WebSocketDisconnect):
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass


async def _tell(socket: WebSocket, asked: _Follower) -> None:
    async for event in asked.events():
        if event is not None:
            await socket.send_text(_encode({"event": event[0], "data": event[1]}).decode())


class _Follower:
    """One who follows a query."""

    def __init__(self, home: Following, hub: Hub, feed: ChangeFeed, request: NgsiRequest) -> None:
        self._home, self._hub, self._feed = home, hub, feed
        self._tenant = request.tenant
        self._shown = Shown(request)
        self._selection: Selection = selection_of(request)
        self._test = self._selection.test()
        self._known: set[str] = set()
        self._ids: list[list[str]] = []
        self._listener: Any = None

    async def look(self) -> None:
        """Find what is there, changes being noted from before that. Raises TooManyResults."""
        self._listener = self._feed.listen()
        try:
            async with asyncio.timeout(10):
                await self._feed.following()
            self._ids = await self._hub.ids_of(self._tenant, self._selection)
            if sum(map(len, self._ids)) > MOST_ENTITIES:
                raise TooManyResults(f"at most {MOST_ENTITIES} entities can be followed at once")
        except BaseException:
            await self._listener.aclose()
            raise

    async def events(self) -> AsyncIterator[Event | None]:
        """The present state, then changes; None when nothing has happened for a while."""
        self._home.followers += 1
        waiting: asyncio.Future[list[int]] | None = None
        try:
            for ids in self._ids:
                found = await self._hub.found(self._tenant, ids)
                for entity_id in ids:
                    if entity_id in found and (event := self._event(entity_id, found[entity_id])) is not None:
                        yield event
            yield "current", {"entities": len(self._known)}
            while True:
                waiting = waiting or asyncio.ensure_future(anext(self._listener))
                done, _ = await asyncio.wait({waiting}, timeout=STILL_HERE)
                if not done:
                    yield None
                    continue
                try:
                    numbers, waiting = waiting.result(), None
                except StopAsyncIteration:
                    return
                for event in await self._changes(numbers):
                    yield event
        finally:
            self._home.followers -= 1
            if waiting is not None:
                waiting.cancel()
            await self._listener.aclose()

    async def _changes(self, numbers: list[int]) -> list[Event]:
        async with self._hub.pool.acquire(timeout=10) as connection:
            rows = await NUMBERED_OF.all(connection, numbers, self._tenant)
        events: list[Event] = []
        for row in rows:
            entity = None if row.deleted else self._hub.living(row.doc)
            event = self._event(row.id, entity)
            if event is not None:
                events.append(event)
        return events

    def _event(self, entity_id: str, entity: Doc | None) -> Event | None:
        if entity is not None and self._test(entity) and self._shown.projection.admits(entity):
            body = self._shown.plain(entity)
            if body:
                self._known.add(entity_id)
                return "entity", body
        if entity_id in self._known:
            self._known.discard(entity_id)
            return "gone", {"id": entity_id}
        return None
