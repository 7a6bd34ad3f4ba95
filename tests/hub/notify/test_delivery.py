"""Subscribers are told what changed, in their words and in order; nobody's trouble is anybody else's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.hub.notify.conftest import subscribe, until

pytestmark = pytest.mark.anyio

LAMP = {"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp", "power": 5}
URL = "/entities/urn:ngsi-ld:Lamp:1"
CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"


async def power(ask: Any, value: Any) -> None:
    await ask("PATCH", f"{URL}/attrs", 204, json={"power": value})


async def test_a_change_is_told_with_its_envelope_and_headers(ask: Any, receiver: Any) -> None:
    url = await subscribe(ask, receiver.url(), endpoint={"receiverInfo": [{"key": "X-Key", "value": "s"}]})
    await ask.make(LAMP)
    (told,) = await receiver.wait(1)
    assert told["type"] == "Notification"
    assert told["id"].startswith("urn:ngsi-ld:Notification:")
    assert told["subscriptionId"] == "urn:s:1"
    assert told["notifiedAt"].endswith("Z")
    assert told["data"] == [{**LAMP, "power": {"type": "Property", "value": 5}}]
    fields = receiver.headers[0]
    assert fields["Content-Type"] == "application/json"
    assert fields["Link"] == f'<{CORE}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
    assert fields["X-Key"] == "s"
    assert "NGSILD-Tenant" not in fields
    kept = await until(lambda: told_of(ask, url, 1))
    assert kept["status"] == "ok"
    assert kept["lastNotification"] == kept["lastSuccess"]
    assert not {"timesFailed", "lastFailure"} & {key for key, value in kept.items() if value}


async def told_of(ask: Any, url: str, sent: int) -> Any:
    notification = (await ask("GET", url, 200)).json()["notification"]
    return notification if notification.get("timesSent", 0) >= sent else None


async def test_the_media_types(ask: Any, receiver: Any) -> None:
    for name, accept in (("ld", "application/ld+json"), ("geo", "application/geo+json")):
        await subscribe(ask, receiver.url(f"/{name}"), name, endpoint={"accept": accept})
    place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [127.2, 36.4]}}
    await ask.make({**LAMP, "location": place})
    (ld,) = await receiver.wait(1, "/ld")
    assert ld["@context"] == CORE
    (geo,) = await receiver.wait(1, "/geo")
    assert geo["data"]["type"] == "FeatureCollection"
    assert geo["data"]["features"][0]["geometry"] == place["value"]
    assert all("Link" not in fields for fields in receiver.headers)


async def test_formats_projection_language_and_system_times(ask: Any, receiver: Any) -> None:
    styles: dict[str, dict[str, Any]] = {
        "kv": {"notification": {"format": "keyValues", "attributes": ["power"]}},
        "concise": {"notification": {"format": "concise", "omit": ["name"]}},
        "pick": {"notification": {"format": "simplified", "pick": ["power"]}},
        "sys": {"notification": {"sysAttrs": True, "attributes": ["power"]}},
        "ko": {"lang": "ko", "notification": {"format": "simplified", "pick": ["name"]}},
        "old": {"ngsildConformance": "1.3"},
    }
    for name, members in styles.items():
        await subscribe(ask, receiver.url(f"/{name}"), name, **members)
    await ask.make({**LAMP, "name": {"type": "LanguageProperty", "languageMap": {"ko": "등", "en": "lamp"}}})
    seen = {name: (await receiver.wait(1, f"/{name}"))[0]["data"][0] for name in styles}
    assert seen["kv"] == LAMP
    assert seen["concise"] == LAMP
    assert seen["pick"] == {"power": 5}
    assert {"createdAt", "modifiedAt"} <= seen["sys"].keys() & seen["sys"]["power"].keys()
    assert seen["ko"] == {"name": "등"}
    assert seen["old"]["name"]["type"] == "Property"


async def test_the_tenant_comes_along(ask: Any, receiver: Any) -> None:
    other = {"NGSILD-Tenant": "osong"}
    await subscribe(ask, receiver.url("/osong"), headers=other)
    await subscribe(ask, receiver.url("/home"))
    await ask.make(LAMP, headers=other)
    await receiver.wait(1, "/osong")
    assert receiver.headers[0]["NGSILD-Tenant"] == "osong"
    assert not receiver.bodies("/home")


async def test_linked_entities_are_joined(ask: Any, receiver: Any) -> None:
    await ask.make({"id": "urn:ngsi-ld:Pole:1", "type": "Pole", "height": 7})
    joined = {"join": "inline", "format": "simplified"}
    await subscribe(ask, receiver.url("/inline"), "i", notification=joined)
    await subscribe(ask, receiver.url("/flat"), "f", notification={"join": "flat", "format": "simplified"})
    on = {"type": "Relationship", "object": "urn:ngsi-ld:Pole:1"}
    await ask.make({**LAMP, "isOn": on})
    pole = {"id": "urn:ngsi-ld:Pole:1", "type": "Pole", "height": 7}
    assert (await receiver.wait(1, "/inline"))[0]["data"][0]["isOn"] == pole
    assert (await receiver.wait(1, "/flat"))[0]["data"] == [{**LAMP, "isOn": pole["id"]}, pole]


async def test_changes_previous_values_and_deletions(ask: Any, receiver: Any) -> None:
    triggers = ["entityUpdated", "entityDeleted"]
    await subscribe(ask, receiver.url(), notificationTrigger=triggers, notification={"showChanges": True})
    await ask.make(LAMP)
    await power(ask, 6)
    await power(ask, 6)
    await ask("DELETE", f"{URL}/attrs/power", 204)
    await ask("DELETE", URL, 204)
    told = [body["data"][0] for body in await receiver.wait(4)]
    assert "previousValue" not in told[0]["power"]
    assert told[1]["power"] == {"type": "Property", "value": 6, "previousValue": 5}
    assert told[2]["power"] == {"type": "Property", "value": "urn:ngsi-ld:null", "previousValue": 6}
    assert told[3].keys() == {"id", "type", "deletedAt"}


async def test_a_batch_is_one_notification_and_repetitions_are_several(ask: Any, receiver: Any) -> None:
    await subscribe(ask, receiver.url(), notification={"format": "simplified"})
    lamps = [{"id": f"urn:ngsi-ld:Lamp:{n}", "type": "Lamp", "power": n} for n in range(5)]
    await ask("POST", "/entityOperations/create", 201, json=lamps)
    (told,) = await receiver.wait(1)
    assert told["data"] == lamps
    twice = [{**LAMP, "power": 10}, {**LAMP, "power": 11}]
    await ask("POST", "/entityOperations/upsert", 204, json=twice)
    assert [body["data"] for body in (await receiver.wait(3))[1:]] == [[one] for one in twice]


async def test_the_order_of_changes_is_kept_and_connections_too(ask: Any, receiver: Any) -> None:
    await subscribe(ask, receiver.url(), notification={"format": "simplified", "pick": ["power"]})
    await ask.make({**LAMP, "power": -1})
    for value in range(60):
        await power(ask, value)
    told = await receiver.wait(61)
    assert [body["data"][0]["power"] for body in told] == list(range(-1, 60))
    assert len({body["id"] for body in told}) == 61
    assert receiver.connections == 1


async def test_a_subscription_ends_pauses_and_changes_at_once(ask: Any, receiver: Any) -> None:
    url = await subscribe(ask, receiver.url())
    await ask.make(LAMP)
    await receiver.wait(1)
    await ask("PATCH", url, 204, json={"isActive": False})
    await power(ask, 6)
    await ask("PATCH", url, 204, json={"isActive": True, "q": "power>7"})
    await power(ask, 7)
    await power(ask, 8)
    told = await receiver.wait(2)
    assert told[1]["data"][0]["power"]["value"] == 8
    await ask("DELETE", url, 204)
    await power(ask, 9)
    await asyncio.sleep(0.2)
    assert len(receiver.bodies()) == 2


BAD = ["500", "404", "hang", "redirect", "close", "half", "garbage"]
GOOD = ["200", "201", "204", "chunked", "last", "endless"]


async def test_every_kind_of_receiver(ask: Any, receiver: Any, city: Any) -> None:
    """Bad ones fail and are tried again, good ones are told at once, however the bad ones behave."""
    urls = {}
    for manner in (*BAD, *GOOD):
        receiver.manner[f"/{manner}"] = manner
        patience = {"timeout": 3000} if manner in BAD else {}
        urls[manner] = await subscribe(ask, receiver.url(f"/{manner}"), manner, endpoint=patience)
    urls["nobody"] = await subscribe(ask, "http://127.0.0.1:1/x", "nobody")
    started = city.clock.monotonic()
    await ask.make(LAMP)
    for manner in GOOD:
        await receiver.wait(1, f"/{manner}")
    assert city.clock.monotonic() - started < 3  # nobody waited for the one that hangs
    for value in range(10):
        await power(ask, value)
    for manner in GOOD:
        assert len(await receiver.wait(11, f"/{manner}")) == 11
        kept = await until(lambda manner=manner: told_of(ask, urls[manner], 11))
        assert kept["status"] == "ok", (manner, kept, {line.sub: line.why for line in city_lines(city)})
    whys = {}
    for manner in (*BAD, "nobody"):
        kept = await until(lambda manner=manner: told_of(ask, urls[manner], 1))
        assert kept["status"] == "failed"
        assert kept["timesFailed"] == kept["timesSent"]
        assert "lastSuccess" not in kept
        line = next(line for line in city_lines(city) if line.sub in subs_of(city, f"urn:s:{manner}"))
        whys[manner] = line.why
    assert whys["500"] == "answered 500"
    assert whys["redirect"] == "answered 307"
    assert "no answer within 3 seconds" in whys["hang"]
    assert not receiver.bodies("/elsewhere")


def city_lines(city: Any) -> list[Any]:
    from sejong.hub.notify.deliverer import Deliverer

    return list(city.part(Deliverer).lines.values())


def subs_of(city: Any, name: str) -> set[int]:
    from sejong.hub.service import Hub

    watches = city.part(Hub).subscriptions.index.watches
    return {no for no, watch in watches.items() if watch.definition.id == name}


async def test_a_receiver_that_recovers_gets_everything_in_order(ask: Any, receiver: Any) -> None:
    url = await subscribe(ask, receiver.url(), notification={"format": "simplified", "pick": ["power"]})
    receiver.manner["/told"] = "500"
    await ask.make(LAMP)
    for value in (6, 7):
        await power(ask, value)
    await until(lambda: told_of(ask, url, 2))
    receiver.manner["/told"] = "200"
    kept = await until(lambda: told_of(ask, url, 5))
    assert kept["status"] == "ok"
    assert kept["timesFailed"] >= 2
    values = [body["data"][0]["power"] for body in receiver.bodies()]
    assert values[-3:] == [5, 6, 7]
    assert set(values[:-3]) == {5}


async def test_a_cooldown_is_respected(ask: Any, receiver: Any, city: Any) -> None:
    receiver.manner["/told"] = "500"
    await subscribe(ask, receiver.url(), endpoint={"cooldown": 1200})
    started = city.clock.monotonic()
    await ask.make(LAMP)
    await receiver.wait(2)
    assert city.clock.monotonic() - started >= 1.2


async def test_counters_are_saved_together(ask: Any, receiver: Any, city: Any, monkeypatch: Any) -> None:
    """Many notifications, few updates of the row; what the page says is never behind what was sent."""
    from sejong.hub.notify.deliverer import Deliverer

    saves = 0
    save = Deliverer.save

    async def counted(self: Deliverer) -> None:
        nonlocal saves
        saves += 1
        await save(self)

    monkeypatch.setattr(Deliverer, "save", counted)
    url = await subscribe(ask, receiver.url())
    await ask.make(LAMP)
    started = city.clock.monotonic()
    for value in range(100, 300):
        await power(ask, value)
    await receiver.wait(201)
    assert (await ask("GET", url, 200)).json()["notification"]["timesSent"] == 201
    seconds = city.clock.monotonic() - started
    assert saves <= 5 * seconds + 3
    await until(lambda: kept_count(city))


async def kept_count(city: Any) -> bool:
    return await city.pool.fetchval("select sent from hub.delivery") == 201


async def test_connections_that_are_not_used_are_closed(ask: Any, receiver: Any, city: Any, monkeypatch: Any) -> None:
    from sejong.hub.notify import http
    from sejong.hub.notify.deliverer import Deliverer

    await subscribe(ask, receiver.url())
    await ask.make(LAMP)
    await receiver.wait(1)
    sender = city.part(Deliverer)._teller._http
    await until(lambda: sender._idle)
    sender.tidy()
    assert sender._idle
    monkeypatch.setattr(http, "KEPT_FOR", 0.0)
    sender.tidy()
    assert not sender._idle
    await power(ask, 6)
    await receiver.wait(2)
    assert receiver.connections == 2


async def test_a_context_without_an_address(ask: Any, receiver: Any) -> None:
    """It is hosted here, so that its words come back to those who take JSON-LD and to those a Link leads there."""
    context = [CORE, {"Lamp": "https://ex.org/Lamp", "power": "https://ex.org/power"}]
    for name, accept in (("ld", "application/ld+json"), ("json", "application/json")):
        endpoint = {"uri": receiver.url(f"/{name}"), "accept": accept}
        body = {
            "id": f"urn:s:{name}",
            "type": "Subscription",
            "entities": [{"type": "Lamp"}],
            "notification": {"endpoint": endpoint, "format": "simplified"},
            "@context": context,
        }
        await ask("POST", "/subscriptions", 201, ld=body)
    await ask("POST", "/entities", 201, ld={**LAMP, "@context": context})
    (ld,) = await receiver.wait(1, "/ld")
    assert ld["data"] == [LAMP]
    assert ld["@context"] == context
    (plain,) = await receiver.wait(1, "/json")
    assert plain["data"] == [LAMP]
