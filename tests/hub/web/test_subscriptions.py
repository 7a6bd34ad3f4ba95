"""Subscriptions are kept as they were meant, refused where the standard refuses them, shown in the reader's words."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio

ROOT = "/ngsi-ld/v1/subscriptions/"
ENDPOINT = {"uri": "http://127.0.0.1:9/told", "accept": "application/json"}
LAMPS: dict[str, Any] = {
    "id": "urn:ngsi-ld:Subscription:lamps",
    "type": "Subscription",
    "entities": [{"type": "Lamp"}],
    "watchedAttributes": ["power"],
    "notification": {"endpoint": ENDPOINT},
}
URL = "/subscriptions/urn:ngsi-ld:Subscription:lamps"
FULL: dict[str, Any] = {
    **LAMPS,
    "subscriptionName": "dark streets",
    "description": "lamps that fail",
    "entities": [
        {"type": "Lamp|(Pole;Lit)", "id": ["urn:ngsi-ld:Lamp:1", "urn:ngsi-ld:Lamp:2"]},
        {"type": "Lamp", "idPattern": "^urn:ngsi-ld:Lamp:9"},
    ],
    "q": 'power<5;maker=="A power"|power.observedAt>2020-01-01T00:00:00Z',
    "geoQ": {"georel": "near;maxDistance==50", "geometry": "Point", "coordinates": [127.2, 36.4], "geoproperty": "at"},
    "scopeQ": "/Sejong/#",
    "csf": "x==1",
    "lang": "ko,en;q=0.5",
    "datasetId": ["urn:d:1", "@none"],
    "notificationTrigger": ["entityCreated", "attributeUpdated"],
    "throttling": 0.5,
    "isActive": True,
    "expiresAt": "2999-01-01T00:00:00Z",
    "localOnly": True,
    "splitEntities": False,
    "expandValues": ["category"],
    "jsonKeys": "raw",
    "ngsildConformance": "1.6",
    "notification": {
        "endpoint": {
            "uri": "mqtts://user:pw@broker.example:8884/a/b",
            "accept": "application/ld+json",
            "timeout": 1000,
            "cooldown": 500,
            "receiverInfo": [{"key": "X-Key", "value": "s"}],
            "notifierInfo": [{"key": "MQTT-Version", "value": "mqtt3.1.1"}, {"key": "MQTT-QoS", "value": "2"}],
        },
        "pick": ["id", "power", "isIn{name}"],
        "format": "concise",
        "join": "inline",
        "joinLevel": 2,
        "sysAttrs": True,
        "showChanges": True,
    },
}
CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"


async def test_one_is_created_shown_listed_and_removed(ask: Any) -> None:
    made = await ask("POST", "/subscriptions", 201, json=LAMPS)
    assert made.headers["location"] == ROOT + LAMPS["id"]
    assert made.content == b""
    kept = await ask("GET", URL, 200)
    assert kept.json() == {**LAMPS, "status": "active", "jsonldContext": CORE}
    assert kept.headers["link"].startswith(f"<{CORE}>")
    assert (await ask("GET", "/subscriptions", 200)).json() == [kept.json()]
    await ask("POST", "/subscriptions", 409, json=LAMPS, error="AlreadyExists")
    await ask("DELETE", URL, 204)
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", {"isActive": False})):
        await ask(method, URL, 404, json=body, error="ResourceNotFound")
    await ask("POST", "/subscriptions", 201, json=LAMPS)


async def test_every_member_comes_back_as_it_was_given(ask: Any) -> None:
    await ask("POST", "/subscriptions", 201, json=FULL)
    kept = (await ask("GET", URL, 200)).json()
    assert kept == {**FULL, "status": "active", "jsonldContext": CORE}


async def test_names_are_shown_in_the_words_of_the_reader(ask: Any) -> None:
    context = {"Lamp": "https://ex.org/Lamp", "power": "https://ex.org/power", "at": "https://ex.org/at"}
    body = {**FULL, "notification": {**FULL["notification"], "endpoint": ENDPOINT}}
    await ask("POST", "/subscriptions", 201, ld={**body, "@context": context})
    kept = (await ask("GET", URL, 200)).json()
    assert kept["entities"][0]["type"] == "https://ex.org/Lamp|(Pole;Lit)"
    assert kept["watchedAttributes"] == ["https://ex.org/power"]
    assert kept["q"].startswith('https://ex.org/power<5;maker=="A power"|')
    assert kept["geoQ"]["geoproperty"] == "https://ex.org/at"
    assert kept["notification"]["pick"] == ["id", "https://ex.org/power", "isIn{name}"]
    await ask("PATCH", URL, 204, json={"watchedAttributes": ["power", "other"]})
    kept = (await ask("GET", URL, 200)).json()
    assert kept["watchedAttributes"] == ["power", "other"]
    assert kept["entities"][0]["type"] == "https://ex.org/Lamp|(Pole;Lit)"


async def test_an_id_is_given_where_there_is_none(ask: Any) -> None:
    body = {key: value for key, value in LAMPS.items() if key != "id"}
    places = [(await ask("POST", "/subscriptions", 201, json=body)).headers["location"] for _ in range(2)]
    assert places[0] != places[1]
    assert (await ask("GET", places[0].removeprefix("/ngsi-ld/v1"), 200)).json()["id"].startswith("urn:ngsi-ld:Subscr")


async def test_pages_count_and_system_times(ask: Any) -> None:
    for number in range(5):
        await ask("POST", "/subscriptions", 201, json={**LAMPS, "id": f"urn:s:{number}"})
    page = await ask("GET", "/subscriptions", 200, limit="2", offset="1", count="true", options="sysAttrs")
    assert [one["id"] for one in page.json()] == ["urn:s:1", "urn:s:2"]
    assert page.headers["ngsild-results-count"] == "5"
    assert 'rel="next"' in page.headers["link"]
    assert 'rel="prev"' in page.headers["link"]
    assert all(one["createdAt"].endswith("Z") and "modifiedAt" in one for one in page.json())
    assert (await ask("GET", "/subscriptions", 200, limit="0", count="true")).json() == []
    await ask("GET", "/subscriptions", 400, limit="0", error="BadRequestData")
    await ask("GET", "/subscriptions", 400, q="x", error="InvalidRequest")
    await ask("GET", "/subscriptions/urn:s:1", 400, options="keyValues", error="InvalidRequest")


async def test_tenants_do_not_see_each_other(ask: Any) -> None:
    other = {"NGSILD-Tenant": "subscribers-osong"}
    await ask("GET", URL, 404, headers=other, error="NonexistentTenant")
    made = await ask("POST", "/subscriptions", 201, json=LAMPS, headers=other)
    assert made.headers["ngsild-tenant"] == "subscribers-osong"
    await ask("GET", URL, 404, error="ResourceNotFound")
    await ask("GET", URL, 200, headers=other)
    assert (await ask("GET", "/subscriptions", 200)).json() == []


def without(*members: str) -> dict[str, Any]:
    return {key: value for key, value in LAMPS.items() if key not in members}


def having(**members: Any) -> dict[str, Any]:
    return {**LAMPS, **members}


def telling(**members: Any) -> dict[str, Any]:
    return having(notification={"endpoint": ENDPOINT, **members})


def ending(**members: Any) -> dict[str, Any]:
    return having(notification={"endpoint": {**ENDPOINT, **members}})


REFUSED: list[dict[str, Any]] = [
    without("type"),
    having(type="Abo"),
    having(id="no uri"),
    without("notification"),
    without("entities", "watchedAttributes"),
    having(unheard="of"),
    *(having(**{member: []}) for member in ("entities", "watchedAttributes", "notificationTrigger", "datasetId")),
    *(having(entities=[item]) for item in ({}, 5, {"id": "urn:a:1"}, {"type": "Lamp", "id": "nouri"}, {"type": "1x"})),
    having(entities=[{"type": "Lamp", "idPattern": "("}]),
    having(entities=[{"type": "Lamp", "id": []}]),
    having(watchedAttributes=["no name"]),
    having(timeInterval=10),
    {**without("watchedAttributes"), "timeInterval": 10, "throttling": 5},
    {**without("watchedAttributes", "entities"), "localOnly": True, "timeInterval": 10},
    *({**without("watchedAttributes"), "timeInterval": wrong} for wrong in (0, -1, "5", True)),
    *(having(throttling=wrong) for wrong in (0, -0.1, "5", True)),
    having(expiresAt="2001-01-01T00:00:00Z"),
    having(expiresAt="tomorrow"),
    having(isActive="yes"),
    having(q="power>"),
    having(q="isIn{name}==5"),
    having(q=5),
    having(geoQ={}),
    having(geoQ={"georel": "near"}),
    having(geoQ={"georel": "near;maxDistance==5", "geometry": "Point", "coordinates": [1]}),
    having(scopeQ="//"),
    having(lang=""),
    having(datasetId=["no uri"]),
    having(notificationTrigger=["entityMoved"]),
    having(jsonldContext="no uri"),
    having(ngsildConformance="2"),
    telling(pick=["power"], attributes=["power"]),
    telling(pick=["power"], omit=["power"]),
    telling(attributes=[]),
    telling(joinLevel=1),
    telling(join="inline", joinLevel=0),
    telling(join="outer"),
    telling(format="geojson"),
    telling(showChanges=True, format="keyValues"),
    telling(showChanges=True, format="simplified"),
    telling(sysAttrs="yes"),
    telling(surprise=1),
    having(notification={}),
    having(notification=[]),
    *(ending(uri=wrong) for wrong in (None, "", "nouri", "ftp://a/b", "http:///x", "mqtt://h", "mqtt://h/a/#")),
    ending(accept="text/plain"),
    *(ending(**{member: wrong}) for member in ("timeout", "cooldown") for wrong in (0, -1, "1", True)),
    *(ending(receiverInfo=wrong) for wrong in ([], {}, [{"key": "a"}], [{"key": "a", "value": 1}])),
    ending(receiverInfo=[{"key": "A b", "value": "x"}]),
    ending(receiverInfo=[{"key": "A", "value": "x\r\nB: y"}]),
    ending(receiverInfo=[{"key": "Content-Length", "value": "5"}]),
    ending(notifierInfo=[{"key": "MQTT-Version", "value": "4"}]),
    ending(notifierInfo=[{"key": "MQTT-QoS", "value": "3"}]),
]


async def test_what_breaks_a_rule_is_refused_and_not_kept(ask: Any) -> None:
    for body in REFUSED:
        answer = await ask("POST", "/subscriptions", json=body)
        assert answer.status_code == 400, str(body)
        assert answer.json()["type"].endswith("/BadRequestData"), body
    assert (await ask("GET", "/subscriptions", 200)).json() == []


async def test_the_order_of_checks(ask: Any) -> None:
    await ask("POST", "/subscriptions", 400, content=b"{", headers={"Content-Type": "application/json"},
              error="InvalidRequest")  # fmt: skip
    await ask("POST", "/subscriptions", 400, content=b"", headers={"Content-Type": "application/json"},
              error="InvalidRequest")  # fmt: skip
    await ask("POST", "/subscriptions", 415, content=b"{}", headers={"Content-Type": "text/plain"})
    await ask("POST", "/subscriptions", 400, json=[], error="BadRequestData")
    await ask("POST", "/subscriptions", 400, json=LAMPS, unknown="1", error="InvalidRequest")
    await ask("GET", "/subscriptions/nouri", 400, error="BadRequestData")
    await ask("PATCH", "/subscriptions/nouri", 400, json={"isActive": True}, error="BadRequestData")
    await ask("DELETE", "/subscriptions/nouri", 400, error="BadRequestData")
    assert "GET" in (await ask("PUT", URL, 405)).headers["allow"]
    gone = "http://127.0.0.1:1/no-context"
    await ask("POST", "/subscriptions", 504, json={**LAMPS, "jsonldContext": gone}, error="LdContextNotAvailable")


async def test_patch_replaces_members_and_null_removes_them(ask: Any) -> None:
    await ask("POST", "/subscriptions", 201, json=FULL)
    await ask("PATCH", URL, 204, json={"q": None, "geoQ": "urn:ngsi-ld:null", "isActive": False, "lang": "fr"})
    kept = (await ask("GET", URL, 200)).json()
    assert kept["status"] == "paused"
    assert kept["lang"] == "fr"
    assert not {"q", "geoQ"} & kept.keys()
    merge = {"Content-Type": "application/merge-patch+json"}
    await ask("PATCH", URL, 204, json={"isActive": True}, headers=merge)
    assert (await ask("GET", URL, 200)).json()["status"] == "active"
    await ask("PATCH", URL, 204, json={"notification": {"format": "normalized", "pick": None}})
    told = (await ask("GET", URL, 200)).json()["notification"]
    assert told == {k: v for k, v in FULL["notification"].items() if k != "pick"} | {"format": "normalized"}
    await ask("PATCH", URL, 204, json={"notification": {"endpoint": ENDPOINT}})
    assert (await ask("GET", URL, 200)).json()["notification"] == {"endpoint": ENDPOINT}


BREAKING: list[dict[str, Any]] = [
    {},
    {"type": "Abo"},
    {"type": None},
    {"id": "urn:another:1"},
    {"notification": None},
    {"notification": {"endpoint": None}},
    {"notification": {"format": "html"}},
    {"expiresAt": "2001-01-01T00:00:00Z"},
    {"entities": None, "watchedAttributes": None, "localOnly": None},
    {"timeInterval": 5},
    {"throttling": 0},
    {"entities": []},
    {"jsonldContext": None},
    {"unheard": 1},
]


async def test_patch_refuses_what_would_break_the_subscription(ask: Any) -> None:
    await ask("POST", "/subscriptions", 201, json=LAMPS)
    before = (await ask("GET", URL, 200)).json()
    for fragment in BREAKING:
        await ask("PATCH", URL, 400, json=fragment, error="BadRequestData")
    assert (await ask("GET", URL, 200)).json() == before


async def test_what_only_the_hub_says_is_ignored(ask: Any) -> None:
    said = {"status": "paused", "createdAt": "2000-01-01T00:00:00Z"}
    body = {**LAMPS, **said, "notification": {"endpoint": ENDPOINT, "timesSent": 7, "status": "failed"}}
    await ask("POST", "/subscriptions", 201, json=body)
    assert (await ask("GET", URL, 200)).json() == {**LAMPS, "status": "active", "jsonldContext": CORE}
