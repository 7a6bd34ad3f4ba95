"""Hearing of registrations: what a subscriber is told and when. Source: CIM 009 v1.9.1 clause 5.11."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from sejong.kit.city import City

pytestmark = pytest.mark.anyio

HERE = "/csourceSubscriptions"
ONE = "urn:ngsi-ld:Subscription:1"
SOURCES = "/csourceRegistrations"
CONTEXT_REL = 'rel="http://www.w3.org/ns/json-ld#context"'


class Receiver:
    """A web server that takes notifications, or refuses them for a while."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.refuse = 0
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = int(head.partition("content-length: ")[2].partition("\r")[0])
        body = msgspec.json.decode(await reader.readexactly(size))
        refused, self.refuse = self.refuse > 0, max(0, self.refuse - 1)
        if not refused:
            self.heard.put_nowait((head, body))
        status = b"500 no" if refused else b"204 ok"
        writer.write(b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
        await writer.drain()
        writer.close()

    async def next(self) -> tuple[str, Any]:
        return await asyncio.wait_for(self.heard.get(), 8)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/told"
    yield receiver
    server.close()


def source(tail: str, kind: str = "Lamp", **more: Any) -> dict[str, Any]:
    return {
        "id": f"urn:ngsi-ld:ContextSourceRegistration:{tail}",
        "type": "ContextSourceRegistration",
        "information": [{"entities": [{"type": kind}]}, {"entities": [{"type": "Other"}]}],
        "endpoint": "http://osong.example",
        **more,
    }


def wish(url: str, **more: Any) -> dict[str, Any]:
    doc = {
        "id": ONE,
        "type": "Subscription",
        "entities": [{"type": "Lamp"}],
        "notification": {"endpoint": {"uri": url}},
        **more,
    }
    return {name: value for name, value in doc.items() if value is not None}


async def delivered(city: City) -> None:
    """Wait until nothing waits any more."""
    async with asyncio.timeout(5):
        while await city.pool.fetchval("select count(*) from hub.source_notification"):
            await asyncio.sleep(0.02)


async def test_a_subscriber_hears_of_every_change(ask: Any, receiver: Receiver, city: City) -> None:
    await ask("POST", SOURCES, 201, json=source("1"))
    await ask("POST", SOURCES, 201, json=source("cars", "Car"))
    made = await ask("POST", HERE, 201, json=wish(receiver.url))
    assert made.headers["location"] == f"/ngsi-ld/v1/csourceSubscriptions/{ONE}"
    head, first = await receiver.next()
    assert CONTEXT_REL in head
    assert "content-type: application/json" in head
    assert first.keys() == {"id", "type", "subscriptionId", "notifiedAt", "triggerReason", "data"}
    assert (first["type"], first["subscriptionId"]) == ("ContextSourceNotification", ONE)
    assert first["triggerReason"] == "newlyMatching"
    lamps = [{"entities": [{"type": "Lamp"}]}]
    assert first["data"] == [{**source("1"), "information": lamps}]
    path = f"{SOURCES}/{source('1')['id']}"
    await ask("PATCH", path, 204, json={"description": "new"})
    await ask("PATCH", path, 204, json={"information": source("1", "Bus")["information"]})
    await ask("PATCH", path, 204, json={"description": "newer"})
    await ask("PATCH", path, 204, json={"information": lamps})
    await ask("DELETE", path, 204)
    told = sorted([(await receiver.next())[1] for _ in range(4)], key=lambda one: one["notifiedAt"])
    assert [one["triggerReason"] for one in told] == [
        "updated",
        "noLongerMatching",
        "newlyMatching",
        "noLongerMatching",
    ]
    assert told[0]["data"][0]["description"] == "new"
    await delivered(city)
    seen = (await ask("GET", f"{HERE}/{ONE}", 200)).json()
    assert seen["status"] == "active"
    assert seen["notification"]["timesSent"] == 5
    assert receiver.heard.empty()


async def test_a_refused_notification_is_tried_again(ask: Any, receiver: Receiver, city: City) -> None:
    receiver.refuse = 1
    endpoint = {
        "uri": receiver.url,
        "accept": "application/ld+json",
        "receiverInfo": [{"key": "X-Key", "value": "secret"}],
    }
    mine = {"NGSILD-Tenant": "watchers"}
    await ask("POST", HERE, 201, json=wish(receiver.url, notification={"endpoint": endpoint}), headers=mine)
    await ask("POST", SOURCES, 201, json=source("elsewhere"))
    await ask("POST", SOURCES, 201, json=source("1"), headers=mine)
    head, body = await receiver.next()
    assert "x-key: secret" in head
    assert "ngsild-tenant: watchers" in head
    assert "\r\nlink:" not in head
    assert "content-type: application/ld+json" in head
    assert body["@context"].startswith("https://uri.etsi.org/ngsi-ld/v1/")
    await delivered(city)
    seen = (await ask("GET", f"{HERE}/{ONE}", 200, headers=mine)).json()["notification"]
    assert (seen["status"], seen["timesSent"], seen["timesFailed"]) == ("ok", 2, 1)


async def test_paused_and_expired_subscriptions_hear_nothing(ask: Any, receiver: Receiver, city: City) -> None:
    await ask("POST", HERE, 201, json=wish(receiver.url, isActive=False))
    await ask("POST", SOURCES, 201, json=source("1"))
    assert (await ask("GET", f"{HERE}/{ONE}", 200)).json()["status"] == "paused"
    assert await city.pool.fetchval("select count(*) from hub.source_notification") == 0
    await ask("PATCH", f"{HERE}/{ONE}", 204, json={"isActive": True})
    await ask("DELETE", f"{SOURCES}/{source('1')['id']}", 204)
    assert (await receiver.next())[1]["triggerReason"] == "noLongerMatching"


async def test_subscriptions_are_kept_listed_and_forgotten(ask: Any) -> None:
    given = wish(
        "http://receiver.example/x",
        watchedAttributes=["power"],
        q="power>3",
        csf='owner=="Osong"',
        geoQ={"georel": "near;maxDistance==9", "geometry": "Point", "coordinates": [127, 36], "geoproperty": "spot"},
        scopeQ="/Osong/#",
        temporalQ={"timerel": "after", "timeAt": "2020-01-01T00:00:00Z"},
        subscriptionName="lamps",
        expiresAt="2100-01-01T00:00:00Z",
    )
    context = {"Lamp": "https://ex.org/Lamp", "power": "https://ex.org/power", "owner": "https://ex.org/owner"}
    await ask("POST", HERE, 201, ld={**given, "@context": context})
    implicit = (await ask("GET", "/jsonldContexts", 200, kind="ImplicitlyCreated")).json()
    assert len(implicit) == 1
    link = {"Link": f'<{implicit[0]}>; {CONTEXT_REL}; type="application/ld+json"'}
    seen = (await ask("GET", f"{HERE}/{ONE}", 200, headers=link)).json()
    assert seen == {**given, "status": "active", "isActive": True}
    assert (await ask("GET", f"{HERE}/{ONE}", 200)).json()["watchedAttributes"] == ["https://ex.org/power"]
    await ask("POST", HERE, 409, json=wish("http://receiver.example"), error="AlreadyExists")
    page = await ask("GET", HERE, 200, limit="1", count="true", options="sysAttrs")
    assert page.headers["ngsild-results-count"] == "1"
    assert page.json()[0]["createdAt"]
    await ask("PATCH", f"{HERE}/{ONE}", 204, json={"q": None, "description": "x"})
    assert "q" not in (await ask("GET", f"{HERE}/{ONE}", 200)).json()
    await ask("DELETE", f"{HERE}/{ONE}", 204)
    for method in ("GET", "DELETE"):
        await ask(method, f"{HERE}/{ONE}", 404, error="ResourceNotFound")
    await ask("PATCH", f"{HERE}/{ONE}", 404, json={"description": "x"}, error="ResourceNotFound")


FAULTS: list[dict[str, Any]] = [
    {"type": "Sub"},
    {"id": "x"},
    {"entities": []},
    {"entities": None},
    {"entities": [{}]},
    {"watchedAttributes": []},
    {"watchedAttributes": [5]},
    {"q": "a=="},
    {"q": 5},
    {"csf": "("},
    {"geoQ": {"georel": "near"}},
    {"geoQ": []},
    {"scopeQ": "//"},
    {"temporalQ": {"timerel": "after"}},
    {"temporalQ": {"timerel": 5}},
    {"throttling": 0},
    {"timeInterval": 5, "throttling": 5},
    {"isActive": "yes"},
    {"expiresAt": "2020-01-01T00:00:00Z"},
    {"notification": None},
    {"notification": {}},
    {"notification": {"endpoint": {"uri": "receiver"}}},
    {"notification": {"endpoint": {"uri": "mqtt://x/y"}}},
    {"notification": {"endpoint": {"uri": "http://a.example", "accept": "text/plain"}}},
    {"notification": {"endpoint": {"uri": "http://a.example", "receiverInfo": []}}},
    {"notification": {"endpoint": {"uri": "http://a.example"}, "attributes": []}},
    {"timeInterval": 5, "watchedAttributes": ["power"]},
    {"colour": "red"},
]


async def test_what_breaks_a_rule_is_refused(ask: Any) -> None:
    for fault in FAULTS:
        answer = await ask("POST", HERE, 400, json=wish("http://receiver.example", **fault), error="BadRequestData")
        assert answer.json()["detail"], fault
    assert (await ask("GET", HERE, 200)).json() == []


async def test_periodic_notifications(ask: Any, receiver: Receiver) -> None:
    await ask("POST", HERE, 201, json=wish(receiver.url, timeInterval=0.2, notificationTrigger=["entityCreated"]))
    await ask("POST", SOURCES, 201, json=source("1"))
    first, second = (await receiver.next())[1], (await receiver.next())[1]
    assert first["triggerReason"] == second["triggerReason"] == "updated"
    assert first["data"][0]["id"] == source("1")["id"]
    await ask("PATCH", f"{HERE}/{ONE}", 204, json={"timeInterval": None, "isActive": False})
