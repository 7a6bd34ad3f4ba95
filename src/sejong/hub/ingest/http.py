"""The HTTP door: `POST /ingest/v1/readings` for devices and gateways that speak HTTP, one message or a stream of lines.

The answer comes after the readings are committed and says what became of each line. See docs/guides/ingest.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sejong.hub.ingest import refusals as no
from sejong.hub.ingest.health import THROTTLED
from sejong.hub.ingest.keys import DeviceKey
from sejong.hub.ingest.reception import MODEL
from sejong.hub.ingest.service import Ingest
from sejong.hub.ingest.source import Source
from sejong.kernel.errors import CityError, NotAuthenticated, TooManyRequests
from sejong.kit.http import error_response, json_response
from sejong.kit.i18n import preferred
from sejong.kit.postgres import DatabaseAway

DOOR = "http"
PATH = "/ingest/v1/readings"
JSON_TYPES = frozenset({"application/json", "application/ld+json", "application/senml+json"})
LINE_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
MODEL_TYPES = JSON_TYPES | {"text/plain", "text/csv", "application/octet-stream", ""}
LINES_AT_ONCE = 1000
BYTES_AT_ONCE = 1 << 20
LONGEST_LINE = 4 << 20
MOST_TOLD = 100
"""Refused lines named in an answer; all are counted and lie among the dead letters. Chosen."""
PATIENCE_S = 30.0
"""How long an answer waits for the database before it says so; the readings stay on their way. Chosen."""


class NotThisMediaType(CityError):
    """The content type is none this door reads."""

    status = 415
    ko = "Content-Type {given}은(는) 받지 않습니다. {expected} 중 하나로 보내세요."
    en = "Content-Type {given} is not accepted here. Send one of {expected}."


def routes(ingest: Ingest) -> list[BaseRoute]:
    """The door's routes."""

    async def readings(request: Request) -> Response:
        try:
            return await _readings(ingest, request)
        except CityError as error:
            language = preferred(request.headers.get("accept-language"), ingest.hub.settings.language)
            response = error_response(error, language)
            if isinstance(error, NotAuthenticated):
                response.headers["WWW-Authenticate"] = "Bearer"
            return response

    return [Route(PATH, readings, methods=["POST"])]


async def _readings(ingest: Ingest, request: Request) -> Response:
    key = _key(ingest, request)
    model = request.query_params.get("model")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (MODEL_TYPES if model else JSON_TYPES | LINE_TYPES):
        raise NotThisMediaType(given=kind or "-", expected=", ".join(sorted(JSON_TYPES | LINE_TYPES)))
    now = ingest.hub.clock.monotonic()
    if not key.bucket.is_open(now):
        ingest.health.count(DOOR, ingest.hub.clock.now(), THROTTLED)
        raise TooManyRequests(seconds=max(1, round(key.bucket.wait_s(now) + 0.5)))
    if not ingest.collector.has_room:
        raise TooManyRequests(seconds=2)
    batch = _Batch(ingest, key, "" if model is None else MODEL + model)
    if kind in LINE_TYPES:
        async for lines in _blocks(request.stream()):
            await batch.pace()
            await batch.take(lines)
    else:
        await batch.take([(None, await request.body())])
    return batch.answer()


def _key(ingest: Ingest, request: Request) -> DeviceKey:
    """Who sends. Raises NotAuthenticated."""
    secret = request.headers.get("x-device-key", "")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if not secret and scheme.lower() == "bearer":
        secret = token.strip()
    if not secret:
        raise NotAuthenticated(why="Authorization: Bearer <device key> · X-Device-Key")
    key = ingest.keys.by_secret(secret)
    if key is None:
        raise NotAuthenticated(why="unknown or revoked device key · 없거나 취소된 기기 키")
    return key


async def _blocks(stream: AsyncIterator[bytes]) -> AsyncIterator[list[tuple[int | None, bytes]]]:
    """The lines of a body, numbered from 1, in blocks, as they arrive; empty lines are passed over."""
    rest, number, size = b"", 0, 0
    block: list[tuple[int | None, bytes]] = []
    async for chunk in stream:
        *lines, rest = (rest + chunk).split(b"\n") if rest else chunk.split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise no.TooLarge(what="line", size=len(rest), most=LONGEST_LINE)
        for line in lines:
            number += 1
            if line.strip():
                block.append((number, line))
                size += len(line)
            if len(block) >= LINES_AT_ONCE or size >= BYTES_AT_ONCE:
                yield block
                block, size = [], 0
    if rest.strip():
        block.append((number + 1, rest))
    if block:
        yield block


class _Batch:
    """One request while its messages are taken: what became of them so far."""

    def __init__(self, ingest: Ingest, key: DeviceKey, topic: str) -> None:
        self._ingest, self._key, self._topic = ingest, key, topic
        self._accepted = self._late = self._duplicates = self._refused = 0
        self._told: list[dict[str, Any]] = []
        self._statuses: set[int] = set()

    async def pace(self) -> None:
        """Let a stream wait for its bucket and for the collector, instead of breaking it off in the middle."""
        clock = self._ingest.hub.clock
        while wait := self._key.bucket.wait_s(clock.monotonic()):
            await asyncio.sleep(min(wait, 1.0))
        await self._ingest.collector.room()

    async def take(self, messages: Sequence[tuple[int | None, bytes]]) -> None:
        """Understand these messages and return once they are committed. Raises DatabaseAway if that takes too long."""
        ingest = self._ingest
        done = asyncio.get_running_loop().create_future()
        open_ = len(messages)

        def settled(_: Source) -> None:
            nonlocal open_
            open_ -= 1
            if not open_ and not done.done():
                done.set_result(None)

        now = ingest.hub.clock.now()
        sources: list[tuple[int | None, Source]] = []
        for line, raw in messages:
            source = Source(DOOR, self._key.name, self._topic, now, raw, settled=settled)
            sources.append((line, source))
            understood = await ingest.understand_names(source, self._key)
            ingest.charge(self._key, len(understood.readings), len(raw), now)
            ingest.collector.offer(source, understood, urgent=True)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await done
        except TimeoutError:
            raise DatabaseAway(why="the readings wait for the database") from None
        for line, source in sources:
            self._note(line, source)

    def _note(self, line: int | None, source: Source) -> None:
        self._accepted += source.accepted + source.late
        self._late += source.late
        self._duplicates += source.duplicates
        self._refused += len(source.refused)
        for refused in source.refused:
            error = refused.error
            self._statuses.add(error.status)
            if len(self._told) < MOST_TOLD:
                told = {"reason": error.code, "ko": error.message("ko"), "en": error.message("en")}
                self._told.append(told if line is None else {"line": line, **told})

    def answer(self) -> Response:
        """200 when everything was taken, 207 when part of it, else 400 (or the one status all refusals share)."""
        body = {
            "accepted": self._accepted,
            "late": self._late,
            "duplicates": self._duplicates,
            "refused_count": self._refused,
            "refused": self._told,
        }
        if not self._refused:
            return json_response(body)
        if self._accepted or self._duplicates:
            return json_response(body, 207)
        return json_response(body, next(iter(self._statuses)) if len(self._statuses) == 1 else 400)
