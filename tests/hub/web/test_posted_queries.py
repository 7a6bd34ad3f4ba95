"""Queries that come as a Query object. Source: CIM 009 clauses 5.2.23, 6.23, 6.24."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio

PATH = "/entityOperations/query"
TEMPORAL = "/temporal/entityOperations/query"


def car(number: int, **attributes: Any) -> dict[str, Any]:
    return {"id": f"urn:ngsi-ld:Car:{number}", "type": "Car", **attributes}


async def found(ask: Any, body: dict[str, Any], **params: str) -> list[str]:
    answer = await ask("POST", PATH, 200, json={"type": "Query", **body}, **params)
    return [one["id"][-1] for one in answer.json()]


@pytest.fixture
async def cars(ask: Any) -> Any:
    name = {"languageMap": {"ko": "차", "en": "car"}}
    place = {"type": "Point", "coordinates": [127.0, 36.5]}
    await ask.make(
        car(1, speed=50, name=name, scope="/a/b", location=place),
        car(2, speed=[{"value": 60}, {"value": 70, "datasetId": "urn:d:1"}], state={"vocab": "open"}),
        {"id": "urn:ngsi-ld:Bus:3", "type": "Bus", "speed": 50},
    )
    return ask


async def test_every_member(cars: Any) -> None:
    assert await found(cars, {"entities": [{"type": "Car"}]}) == ["1", "2"]
    assert await found(cars, {"entities": [{"type": "Car"}, {"type": "Bus"}]}) == ["1", "2", "3"]
    assert await found(cars, {"entities": [{"type": "Car", "id": "urn:ngsi-ld:Car:2"}, {"type": "Bus"}]}) == ["2", "3"]
    assert await found(cars, {"entities": [{"type": "Car", "id": ["urn:ngsi-ld:Car:2", "urn:x:1"]}]}) == ["2"]
    assert await found(cars, {"entities": [{"type": "*", "idPattern": "1$"}]}) == ["1"]
    assert await found(cars, {"q": "speed==50"}) == ["1", "3"]
    assert await found(cars, {"attrs": ["name"]}) == ["1"]
    assert await found(cars, {"entities": [{"type": "Car"}], "scopeQ": "/a/+"}) == ["1"]
    assert await found(cars, {"q": 'state=="open"', "expandValues": ["state"]}) == ["2"]
    near = {"georel": "near;maxDistance==5", "geometry": "Point"}
    for coordinates in ([127.0, 36.5], "[127.0,36.5]"):
        assert await found(cars, {"geoQ": {**near, "coordinates": coordinates}}) == ["1"]
        assert await found(cars, {"geoQ": {**near, "coordinates": coordinates, "geoproperty": "entrance"}}) == []
    assert await found(cars, {}, local="true") == ["1", "2", "3"]


async def test_what_is_shown(cars: Any) -> None:
    base = {"type": "Query", "entities": [{"type": "Car"}]}
    picked = await cars("POST", PATH, 200, json={**base, "pick": ["id", "speed"], "datasetId": ["@none"]})
    assert picked.json()[1] == {"id": "urn:ngsi-ld:Car:2", "speed": {"type": "Property", "value": 60}}
    omitted = await cars(
        "POST", PATH, 200, json={**base, "omit": ["name", "location"], "lang": "ko"}, format="simplified"
    )
    assert omitted.json()[0] == {"id": "urn:ngsi-ld:Car:1", "type": "Car", "scope": "/a/b", "speed": 50}
    spoken = await cars("POST", PATH, 200, json={**base, "lang": "ko"})
    assert spoken.json()[0]["name"] == {"type": "Property", "value": "차", "lang": "ko"}
    timed = await cars("POST", PATH, 200, json=base, options="sysAttrs,keyValues")
    assert timed.json()[0]["createdAt"]
    geo = await cars(
        "POST", PATH, 200, json=base, headers={"Accept": "application/geo+json"}, geometryProperty="location"
    )
    assert geo.headers["content-type"] == "application/geo+json"
    assert geo.json()["features"][0]["geometry"]["type"] == "Point"
    ld = await cars("POST", PATH, 200, json=base, headers={"Accept": "application/ld+json"})
    assert all("@context" in one for one in ld.json())


async def test_pages(cars: Any) -> None:
    answer = await cars("POST", PATH, 200, json={"type": "Query", "q": "speed"}, limit="1", offset="1", count="true")
    assert [one["id"][-1] for one in answer.json()] == ["2"]
    assert answer.headers["ngsild-results-count"] == "3"
    assert 'offset=2>; rel="next"' in answer.headers["link"]
    assert 'rel="prev"' in answer.headers["link"]


WRONG: list[dict[str, Any]] = [
    {},
    {"type": "query", "q": "speed"},
    {"type": "Query"},
    {"type": "Query", "entities": []},
    {"type": "Query", "entities": {}},
    {"type": "Query", "entities": "Car"},
    {"type": "Query", "entities": [{}]},
    {"type": "Query", "entities": ["Car"]},
    {"type": "Query", "entities": [{"id": "urn:ngsi-ld:Car:1"}]},
    {"type": "Query", "entities": [{"type": 5}]},
    {"type": "Query", "entities": [{"type": "Car", "id": []}]},
    {"type": "Query", "entities": [{"type": "Car", "id": "nouri"}]},
    {"type": "Query", "entities": [{"type": "Car", "id": ["nouri"]}]},
    {"type": "Query", "entities": [{"type": "Car", "idPattern": 5}]},
    {"type": "Query", "entities": [{"type": "Car", "idPattern": "("}]},
    {"type": "Query", "q": 5},
    {"type": "Query", "q": ""},
    {"type": "Query", "q": ["speed"]},
    {"type": "Query", "q": "speed", "attrs": []},
    {"type": "Query", "q": "speed", "attrs": [5]},
    {"type": "Query", "q": "speed", "pick": []},
    {"type": "Query", "q": "speed", "pick": 5},
    {"type": "Query", "q": "speed", "pick": {"id": 1}},
    {"type": "Query", "q": "speed", "pick": ["id", None]},
    {"type": "Query", "q": "speed", "omit": [""]},
    {"type": "Query", "q": "speed", "pick": ["id"], "omit": ["id"]},
    {"type": "Query", "q": "speed", "datasetId": []},
    {"type": "Query", "q": "speed", "datasetId": 5},
    {"type": "Query", "q": "speed", "datasetId": ["nouri"]},
    {"type": "Query", "q": "speed", "lang": 5},
    {"type": "Query", "q": "speed", "lang": "no tag"},
    {"type": "Query", "q": "speed", "scopeQ": 5},
    {"type": "Query", "q": "speed", "expandValues": []},
    {"type": "Query", "q": "speed", "jsonKeys": 5},
    {"type": "Query", "q": "speed", "geoQ": {}},
    {"type": "Query", "q": "speed", "geoQ": []},
    {"type": "Query", "geoQ": {"georel": 5, "geometry": "Point", "coordinates": [1, 2]}},
    {"type": "Query", "geoQ": {"georel": "within", "geometry": {}, "coordinates": [1, 2]}},
    {"type": "Query", "geoQ": {"georel": "within", "geometry": "Point"}},
    {"type": "Query", "geoQ": {"georel": "within", "geometry": "Point", "coordinates": {"a": 1}}},
    {"type": "Query", "q": "speed", "temporalQ": {"timerel": "before", "timeAt": "2026-11-22T00:00:00Z"}},
    {"type": "Query", "q": "speed", "nonsense": 1},
    {"type": "Query", "q": "speed", "limit": 5},
    {"type": "Query", "q": "speed", "join": 5},
    {"type": "Query", "q": "speed", "join": "sideways"},
    {"type": "Query", "q": "speed", "joinLevel": 2},
    {"type": "Query", "q": "speed", "join": "inline", "joinLevel": 0},
    {"type": "Query", "q": "speed", "join": "inline", "joinLevel": "x"},
    {"type": "Query", "q": "speed", "join": "inline", "joinLevel": True},
    {"type": "Query", "q": "speed", "join": "inline", "containedBy": ["nouri"]},
    {"type": "Query", "q": "speed", "ordering": []},
    {"type": "Query", "q": "speed", "ordering": {"orderBy": []}},
    {"type": "Query", "q": "speed", "ordering": {"orderBy": ["speed;sideways"]}},
]


async def test_wrong_queries(ask: Any) -> None:
    for body in WRONG:
        await ask("POST", PATH, 400, json=body, error="BadRequestData")
    for body in ([], "text", 5, None):
        await ask("POST", PATH, 400, content=str(body).encode(), headers={"Content-Type": "application/json"})
    for later in ({"csf": "a==1"},):
        await ask("POST", PATH, 400, json={"type": "Query", "q": "speed", **later}, error="InvalidRequest")


async def test_histories(cars: Any) -> None:
    since = {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z", "timeproperty": "modifiedAt"}
    body = {"type": "Query", "entities": [{"type": "Car"}], "temporalQ": since}
    answer = await cars("POST", TEMPORAL, 200, json=body, count="true")
    assert [one["id"][-1] for one in answer.json()] == ["1", "2"]
    assert answer.headers["ngsild-results-count"] == "2"
    assert isinstance(answer.json()[0]["speed"], list)
    newest = await cars("POST", TEMPORAL, 200, json={**body, "attrs": ["speed"]}, lastN="1", format="temporalValues")
    assert newest.json()[0]["speed"]["values"][0][0] == 50
    summed = await cars(
        "POST", TEMPORAL, 200, json={**body, "pick": ["id", "speed"]}, format="aggregatedValues", aggrMethods="max"
    )
    assert summed.json()[0]["speed"]["max"][0][0] == 50
    for wrong in (
        {"type": "Query", "entities": [{"type": "Car"}]},
        {**body, "temporalQ": {}},
        {**body, "temporalQ": []},
        {**body, "temporalQ": {"timerel": 5, "timeAt": "2020-01-01T00:00:00Z"}},
        {**body, "temporalQ": {"timerel": "after"}},
        {**body, "join": "inline"},
        {"type": "Query", "temporalQ": since},
    ):
        await cars("POST", TEMPORAL, 400, json=wrong, error="BadRequestData")
