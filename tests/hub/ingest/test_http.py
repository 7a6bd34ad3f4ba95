"""The HTTP door: who may speak, what each line became, and when to come again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from tests.hub.ingest.helpers import bike, history, letters, message, said, value_of

from sejong.hub.ingest import keys
from sejong.hub.ingest.http import PATH, routes
from sejong.hub.ingest.mapping import read_model
from sejong.hub.ingest.needs import Limits
from sejong.hub.ingest.service import Ingest
from sejong.hub.service import Hub
from sejong.kernel.clock import ManualClock
from sejong.kit.act import Record

pytestmark = pytest.mark.anyio
NDJSON = "application/x-ndjson"


class Door:
    """A device with a key at the door."""

    def __init__(self, client: httpx.AsyncClient, secret: str) -> None:
        self.client, self.secret = client, secret

    async def post(self, body: Any, kind: str = "application/json", path: str = PATH, **headers: str) -> httpx.Response:
        sent = body if isinstance(body, bytes) or not isinstance(body, (dict, list)) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.secret}", "Content-Type": kind, **headers}
        return await self.client.post(path, content=sent, headers={k: v for k, v in headers.items() if v})


async def key(record: Record, name: str, **more: Any) -> str:
    async with record.act("operator", "hub.device_key.create") as act:
        return (await keys.create(act, name, **more)).secret


@pytest.fixture
async def door(ingest: Ingest, record: Record) -> AsyncIterator[Door]:
    secret = await key(record, "gw", ids=["urn:ngsi-ld:*"])
    await ingest.flush()
    transport = httpx.ASGITransport(Starlette(routes=routes(ingest)))
    async with httpx.AsyncClient(transport=transport, base_url="http://city") as client:
        yield Door(client, secret)


async def test_readings_are_in_the_record_when_answered(door: Door, hub: Hub) -> None:
    answer = await door.post([said(1, 7), said(2, 8, "2026-11-22T08:00:00+09:00")])
    assert (answer.status_code, answer.json()) == (
        200,
        {"accepted": 2, "late": 0, "duplicates": 0, "refused_count": 0, "refused": []},
    )
    assert await value_of(hub) == 7
    again = await door.post(said(1, 7))
    assert again.json()["duplicates"] == 1
    late = await door.post(said(1, 3, "2026-11-22T07:00:00Z"))
    assert (late.json()["accepted"], late.json()["late"]) == (1, 1)


async def test_header_of_the_small_devices(door: Door) -> None:
    answer = await door.post(said(), Authorization="", **{"X-Device-Key": door.secret})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic Z3c6eA=="},
        {"Authorization": "Bearer "},
        {"Authorization": "", "X-Device-Key": "wrong"},
    ],
)
async def test_strangers_are_told_to_bring_a_key(door: Door, headers: dict[str, str]) -> None:
    answer = await door.post(said(), **headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["detail_ko"] != answer.json()["detail"] or "ko" in answer.headers.get("accept-language", "ko")


async def test_revoked_key_is_a_stranger(door: Door, ingest: Ingest, record: Record) -> None:
    async with record.act("operator", "hub.device_key.revoke") as act:
        await keys.revoke(act, "gw")
    await ingest.flush()
    assert (await door.post(said())).status_code == 401


async def test_key_that_speaks_for_others_is_refused(door: Door, ingest: Ingest, record: Record, hub: Hub) -> None:
    door.secret = await key(record, "small", ids=[bike(1)])
    await ingest.flush()
    assert (await door.post(said(2))).status_code == 403
    answer = await door.post([said(1), said(2)])
    assert (answer.status_code, answer.json()["accepted"]) == (207, 1)
    assert [line["reason"] for line in answer.json()["refused"]] == ["NotThisKey"]


async def test_lines_are_answered_one_by_one(door: Door, hub: Hub) -> None:
    lines = [
        json.dumps(said(1, 7)).encode(),
        b"",
        b"garbage",
        json.dumps({"id": bike(77), "at": "2026-11-22T08:00:00Z", "availableBikeNumber": 1}).encode(),
        json.dumps(said(2, 8)).encode() + b"\r",
        json.dumps(said(1, None, status="ok")).encode(),
    ]
    answer = await door.post(b"\n".join(lines), NDJSON)
    told = answer.json()
    assert answer.status_code == 207
    assert (told["accepted"], told["refused_count"]) == (3, 3)
    assert [(line["line"], line["reason"]) for line in told["refused"]] == [
        (3, "NotJson"),
        (4, "UnknownEntity"),
        (6, "BadValue"),
    ]
    assert all(line["ko"] and line["en"] for line in told["refused"])
    assert [reason for reason, _, _ in await letters(hub.pool)].count("NotJson") == 1


async def test_stream_of_many_lines_arrives_in_pieces(door: Door, hub: Hub) -> None:
    text = b"\n".join(
        json.dumps(said(n % 50, n, f"2026-11-22T0{n // 3600}:{n // 60 % 60:02}:{n % 60:02}Z")).encode()
        for n in range(2500)
    )

    async def pieces() -> AsyncIterator[bytes]:
        for n in range(0, len(text), 7919):
            yield text[n : n + 7919]

    answer = await door.post(pieces(), NDJSON)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 2500)
    assert len(await history(hub.pool)) == 2500


async def test_entities_with_a_context_of_their_own(door: Door, hub: Hub) -> None:
    entity = {
        "@context": {"bikes": "https://smartdatamodels.org/dataModel.Transportation/availableBikeNumber"},
        "id": bike(5),
        "type": "https://smartdatamodels.org/dataModel.Transportation/BikeHireDockingStation",
        "bikes": {"type": "Property", "value": 4, "observedAt": "2026-11-22T08:00:00Z"},
    }
    answer = await door.post(entity, "application/ld+json")
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    assert await value_of(hub, 5) == 4
    broken = await door.post({**entity, "@context": {"bikes": 7}}, "application/ld+json")
    assert (broken.status_code, broken.json()["refused"][0]["reason"]) == (400, "BadName")


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data", ""])
async def test_other_media_are_refused(door: Door, kind: str) -> None:
    answer = await door.post(message(said()), kind)
    assert answer.status_code == 415
    assert "application/x-ndjson" in answer.json()["detail"]


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"7", 400), (b"", 400), (b'{"id":"urn:ngsi-ld:x:1"}', 400)])
async def test_bodies_without_any_reading(door: Door, body: bytes, status: int) -> None:
    answer = await door.post(body)
    assert (answer.status_code, answer.json()["accepted"], answer.json()["refused_count"]) == (status, 0, 1)


async def test_empty_stream_is_no_fault(door: Door) -> None:
    answer = await door.post(b"\n\n", NDJSON)
    assert (answer.status_code, answer.json()["refused_count"]) == (200, 0)


async def test_too_many_readings_must_wait(door: Door, ingest: Ingest, record: Record, clock: ManualClock) -> None:
    secret, door.secret = door.secret, await key(record, "busy", rate=10, burst=20)
    await ingest.flush()
    assert (await door.post([said(n) for n in range(40)])).status_code == 200
    answer = await door.post(said())
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 4
    other = door.secret
    door.secret = secret
    assert (await door.post(said())).status_code == 200  # others are not touched
    door.secret = other
    clock.advance(4)
    assert (await door.post(said())).status_code == 200


async def test_city_that_cannot_keep_up_says_so(hub: Hub, record: Record) -> None:
    secret = await key(record, "gw")
    ingest = Ingest(hub, Limits(backlog=10))
    async with hub.pool.acquire() as connection:
        await ingest.refresh(connection)
    # not running: nothing is written, as while the database is away
    from sejong.hub.ingest.source import Source

    ingest.receive(Source("mqtt", "gw", "", hub.clock.now(), message(*(said(n) for n in range(20)))), None)
    transport = httpx.ASGITransport(Starlette(routes=routes(ingest)))
    async with httpx.AsyncClient(transport=transport, base_url="http://city") as client:
        answer = await Door(client, secret).post(said(99))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
    assert ingest.collector.backlog == 20


async def test_device_model_by_name(door: Door, ingest: Ingest, record: Record, hub: Hub) -> None:
    model = read_model(
        {
            "name": "ul-bike",
            "format": "ultralight",
            "id": "urn:ngsi-ld:BikeHireDockingStation:sejong:{s}",
            "type": "BikeHireDockingStation",
            "attribute": [{"name": "availableBikeNumber", "path": "n"}],
        }
    )
    async with record.act("operator", "hub.device_model.save") as act:
        assert await ingest.save_models(act, [model]) == ["ul-bike"]
        assert await ingest.save_models(act, [model]) == []
    await ingest.flush()
    answer = await door.post(b"2026-11-22T08:00:00Z|s|SJ_00003|n|12", "text/plain", f"{PATH}?model=ul-bike")
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    assert await value_of(hub, 3) == 12
    unknown = await door.post(b"n|12", "text/plain", f"{PATH}?model=nothing")
    assert (unknown.status_code, unknown.json()["refused"][0]["reason"]) == (404, "UnknownModel")


async def test_line_without_end_is_too_large(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sejong.hub.ingest.http.LONGEST_LINE", 10_000)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    assert (await door.post(endless(), NDJSON)).status_code == 413
