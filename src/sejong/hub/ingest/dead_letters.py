"""Looking after dead letters: what lies there and why, and trying it again once the cause is mended."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import msgspec

from sejong.hub.ingest import refusals as no
from sejong.hub.ingest.reading import Refused, Understood
from sejong.hub.ingest.service import STRANGER, Ingest
from sejong.hub.ingest.source import Source
from sejong.hub.store import ingest as store
from sejong.hub.store.ingest import LetterRow, PastCount, ReasonCount
from sejong.kit.postgres import Connection

PAGE = 200


class Replayed(msgspec.Struct, frozen=True):
    """What a replay came to: letters now understood (and gone), letters still not, readings they brought."""

    understood: int
    remaining: int
    readings: int


async def letters(
    connection: Connection,
    *,
    reason: str | None = None,
    sender: str | None = None,
    door: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[LetterRow]:
    """A page of dead letters, newest first; `before` is the last `no` of the page before."""
    return await store.LETTERS.all(connection, reason, sender, door, before, limit)


async def reasons(connection: Connection) -> list[ReasonCount]:
    """How many letters and messages lie there, by reason, sender and door."""
    return await store.REASONS.all(connection)


async def made_room(connection: Connection, limit: int = 100) -> list[PastCount]:
    """How many letters had to make room for newer ones, by day, sender and reason."""
    return await store.PAST.all(connection, limit)


async def remove(connection: Connection, numbers: Collection[int]) -> int:
    """Throw letters away for good; how many there were."""
    return await store.REMOVE_LETTERS.run(connection, list(numbers))


async def replay(ingest: Ingest, numbers: Collection[int] | None = None) -> Replayed:
    """Bring letters (all of them by default) through their doors again, as of when they first arrived.

    What is understood now leaves the list; the rest stays with its present reason. What was throttled or cut cannot be
    replayed. Readings already in the record change nothing.
    """
    understood = remaining = readings = 0
    last = 0
    wanted = None if numbers is None else list(numbers)
    async with ingest.hub.pool.acquire(timeout=10) as connection:
        await ingest.refresh(connection)
    while True:
        async with ingest.hub.pool.acquire(timeout=10) as connection:
            page = await store.LETTERS_TO_REPLAY.all(connection, last, wanted, PAGE)
        if not page:
            return Replayed(understood, remaining, readings)
        last = page[-1].no
        sources = await _again(ingest, page)
        gone = [row.no for row, source in zip(page, sources, strict=True) if not source.refused]
        async with ingest.hub.pool.acquire(timeout=10) as connection:
            await store.REMOVE_LETTERS.run(connection, gone)
            for row, source in zip(page, sources, strict=True):
                if source.refused:
                    error = source.refused[0].error
                    ko, en = error.message("ko"), error.message("en")
                    values = (row.no, error.code, ko.replace("\x00", "\ufffd"), en.replace("\x00", "\ufffd"))
                    await store.REASON_CHANGED.run(connection, *values, ingest.hub.clock.now())
        understood += len(gone)
        remaining += len(page) - len(gone)
        readings += sum(source.accepted + source.late for source in sources)


async def _again(ingest: Ingest, page: list[LetterRow]) -> list[Source]:
    """Bring a page of letters through again; returns once all of it is committed."""
    done = asyncio.get_running_loop().create_future()
    open_ = len(page)

    def settled(_: Source) -> None:
        nonlocal open_
        open_ -= 1
        if not open_ and not done.done():
            done.set_result(None)

    sources: list[Source] = []
    for row in page:
        form = "readings" if row.form == "readings" else "message"
        source = Source(
            row.door, row.sender, row.topic, row.arrived, row.payload, form=form, again=True, settled=settled
        )
        source.replayed = True
        sources.append(source)
        key = ingest.keys.by_topic(row.topic) if row.sender == STRANGER else ingest.keys.by_name(row.sender)
        if key is None and row.door in ("mqtt", "http"):
            understood = Understood([], [Refused(no.UnknownKey(key=row.sender))])
        else:
            understood = ingest.understand(source, key)
        ingest.collector.offer(source, understood, urgent=True)
    await done
    return sources
