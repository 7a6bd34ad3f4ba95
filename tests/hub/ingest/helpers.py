"""Small things the tests of the doors share."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec

from sejong.hub.ingest.service import Ingest
from sejong.hub.ingest.source import Source
from sejong.hub.service import Hub
from sejong.kit.postgres import Pool

BIKE = "urn:ngsi-ld:BikeHireDockingStation:sejong:SJ_00001"
BIKES = "https://smartdatamodels.org/dataModel.Transportation/availableBikeNumber"


def bike(number: int = 1) -> str:
    return f"urn:ngsi-ld:BikeHireDockingStation:sejong:SJ_{number:05}"


def said(number: int = 1, value: Any = 7, at: str | None = "2026-11-22T08:00:00Z", **more: Any) -> dict[str, Any]:
    """One object of the default payload about a bike station."""
    thing = {"id": bike(number), "type": "BikeHireDockingStation", "availableBikeNumber": value, **more}
    return thing if at is None else {**thing, "at": at}


def message(*things: Any) -> bytes:
    return json.dumps(things[0] if len(things) == 1 else list(things)).encode()


async def through(
    ingest: Ingest, *messages: bytes, door: str = "http", sender: str = "gw", topic: str = "", **more: Any
) -> list[Source]:
    """Bring messages through the collector; returns once all of them are committed."""
    now = ingest.hub.clock.now()
    loop = asyncio.get_running_loop()
    waiting: list[asyncio.Future[None]] = []
    sources: list[Source] = []
    for raw in messages:
        done = loop.create_future()
        waiting.append(done)
        source = Source(door, sender, topic, now, raw, settled=lambda _, d=done: d.set_result(None), **more)
        sources.append(source)
        ingest.receive(source, ingest.keys.by_name(sender))
    await asyncio.wait_for(asyncio.gather(*waiting), 10)
    return sources


async def history(pool: Pool) -> list[tuple[str, str, Any]]:
    """Every observation in the record: (id, time, number or JSON), sorted."""
    async with pool.acquire() as connection:
        rows = await connection.fetch(
            """select e.id, to_char(h.t at time zone 'UTC', 'HH24:MI:SS.US') as t, h.num, h.val
               from hub.hist h join hub.entity e on e.no = h.eno order by 1, 2, 3, 4"""
        )
    return [(row[0], row[1], row[2] if row[2] is not None else msgspec.json.decode(row[3])["value"]) for row in rows]


async def value_of(hub: Hub, number: int = 1) -> Any:
    entity = await hub.retrieve(0, bike(number))
    return entity[BIKES][0]["value"]


async def letters(pool: Pool) -> list[tuple[str, bytes, int]]:
    """The dead letters: (reason, payload, how often), oldest first."""
    async with pool.acquire() as connection:
        rows = await connection.fetch("select reason, payload, n from hub.dead_letter order by no")
    return [(row[0], row[1], row[2]) for row in rows]
