"""Tenants, transient things, and what the record says it contains. Source: CIM 009 4.14, 5.5.10, 5.7.5-5.7.10."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from sejong.hub.ngsi.instants import format_instant
from sejong.hub.service import Hub

pytestmark = pytest.mark.anyio

LAMP = {"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp", "power": 40}
URL = "/entities/urn:ngsi-ld:Lamp:1"
OPS = "/entityOperations/"
DEFAULT = "https://uri.etsi.org/ngsi-ld/default-context/"


def of(name: str) -> dict[str, str]:
    return {"NGSILD-Tenant": name}


async def test_only_creating_makes_a_tenant(ask: Any) -> None:
    body = {"power": 1}
    for method, path, json in [
        ("GET", "/entities?type=Lamp", None),
        ("GET", URL, None),
        ("GET", "/types", None),
        ("GET", "/temporal" + URL, None),
        ("DELETE", URL, None),
        ("DELETE", "/entities?type=Lamp", None),
        ("PATCH", URL + "/attrs", body),
        ("PATCH", URL, body),
        ("PUT", URL, body),
        ("POST", OPS + "update", [LAMP]),
        ("POST", OPS + "merge", [LAMP]),
        ("POST", OPS + "delete", [LAMP["id"]]),
        ("POST", OPS + "query", {"type": "Query", "q": "power"}),
    ]:
        await ask(method, path, 404, json=json, headers=of("dodam"), error="NonexistentTenant")
    # A request that is refused makes none either.
    await ask("POST", "/entities", 400, json={"id": "nouri", "type": "Lamp"}, headers=of("dodam"))
    await ask("POST", "/entities", 400, content=b"{", headers={**of("dodam"), "Content-Type": "application/json"})
    await ask("POST", OPS + "upsert", 207, json=[{"id": "nouri", "type": "Lamp"}], headers=of("dodam"))
    await ask("GET", URL, 404, headers=of("dodam"), error="NonexistentTenant")
    for name, path in {"t1": "/entities", "t2": OPS + "create", "t3": OPS + "upsert"}.items():
        await ask("POST", path, 201, json=LAMP if path == "/entities" else [LAMP], headers=of(name))
        await ask("GET", URL, 200, headers=of(name))
    await ask("POST", "/entities", 400, json=LAMP, headers=of("x" * 201), error="BadRequestData")


async def test_tenants_see_nothing_of_each_other(ask: Any) -> None:
    for name, power in {"a": 1, "b": 2, "": 3}.items():
        await ask("POST", "/entities", 201, json={**LAMP, "power": power}, headers=of(name))
    await ask("POST", URL + "/attrs", 204, json={"colour": "red"}, headers=of("a"))
    await ask("POST", "/entities", 201, json={"id": "urn:ngsi-ld:Tree:1", "type": "Tree"}, headers=of("b"))
    for name, power in {"a": 1, "b": 2, "": 3}.items():
        headers = of(name) if name else None
        assert (await ask("GET", URL, 200, headers=headers)).json()["power"]["value"] == power
        found = (await ask("GET", "/entities?q=power>0", 200, headers=headers)).json()
        assert [one["power"]["value"] for one in found] == [power]
        history = (await ask("GET", "/temporal" + URL, 200, headers=headers)).json()
        assert [one["value"] for one in history["power"]] == [power]
        types = (await ask("GET", "/types", 200, headers=headers)).json()["typeList"]
        assert types == (["Lamp", "Tree"] if name == "b" else ["Lamp"])
        names = (await ask("GET", "/attributes", 200, headers=headers)).json()["attributeList"]
        assert names == (["colour", "power"] if name == "a" else ["power"])
        since = "timerel=after&timeAt=2020-01-01T00:00:00Z&timeproperty=modifiedAt"
        evolved = (await ask("GET", f"/temporal/entities?q=power>0&{since}", 200, headers=headers)).json()
        assert [one["power"][0]["value"] for one in evolved] == [power]
    await ask("DELETE", "/entities?type=Lamp", 204, headers=of("a"))
    await ask("GET", URL, 200, headers=of("b"))
    await ask("GET", URL, 200)


async def test_one_tenant_made_by_many_at_once(ask: Any) -> None:
    lamps = [{**LAMP, "id": f"urn:ngsi-ld:Lamp:{n}"} for n in range(20)]
    await asyncio.gather(*(ask("POST", "/entities", 201, json=lamp, headers=of("many")) for lamp in lamps))
    assert len((await ask("GET", "/entities?type=Lamp", 200, headers=of("many"))).json()) == 20


# --- what lasts only for a while --------------------------------------------------------------------------------------


@pytest.fixture
def soon(city: Any) -> str:
    return format_instant(city.clock.now() + timedelta(milliseconds=400))


async def test_transient_entities_vanish_everywhere_at_once(ask: Any, city: Any, soon: str) -> None:
    await ask.make({**LAMP, "expiresAt": soon}, {"id": "urn:ngsi-ld:Tree:1", "type": "Tree"})
    assert (await ask.see(LAMP["id"], options="sysAttrs"))["expiresAt"] == soon
    await asyncio.sleep(0.45)
    await ask("GET", URL, 404, error="ResourceNotFound")
    counted = await ask("GET", "/entities", 200, q="power==40", count="true")
    assert (counted.json(), counted.headers["ngsild-results-count"]) == ([], "0")
    assert await ask.find(local="true", pick="id") == [{"id": "urn:ngsi-ld:Tree:1"}]
    assert (await ask("GET", "/types", 200)).json()["typeList"] == ["Tree"]
    await ask("GET", "/attributes/power", 404)
    await ask("PATCH", URL + "/attrs", 404, json={"power": 1})
    await ask("DELETE", URL, 404)
    await ask("POST", OPS + "update", 207, json=[LAMP])
    await ask("POST", OPS + "upsert", 201, json=[LAMP])
    history = (await ask("GET", "/temporal" + URL, 200)).json()
    assert [one["value"] for one in history["power"]] == [40, "urn:ngsi-ld:null", 40]
    assert "expiresAt" not in await ask.see(LAMP["id"], options="sysAttrs")
    hub = city.part(Hub)
    await hub.remove_expired(0, LAMP["id"])
    await ask("GET", URL, 200)


async def test_transient_attributes_vanish_at_once(ask: Any, soon: str) -> None:
    place = {"type": "Point", "coordinates": [127.0, 36.5]}
    await ask.make(
        {
            **LAMP,
            "heat": {"value": 5, "expiresAt": soon},
            "level": [{"value": 1}, {"value": 2, "datasetId": "urn:d:1", "expiresAt": soon}],
            "note": {"value": "x", "by": {"value": "y", "expiresAt": soon}},
            "location": {"value": place, "expiresAt": soon},
        }
    )
    asked: list[dict[str, str]] = [
        {"q": "heat==5"},
        {"q": "heat"},
        {"attrs": "heat"},
        {"q": "level==2"},
        {"q": 'note.by=="y"'},
        {"georel": "near;maxDistance==5", "geometry": "Point", "coordinates": "[127.0,36.5]"},
    ]
    for params in asked:
        assert await ask.ids(**params) == ["1"], params
    await asyncio.sleep(0.45)
    for params in asked:
        assert await ask.ids(**params) == [], params
        counted = await ask("GET", "/entities", 200, count="true", limit="0", **params)
        assert counted.headers["ngsild-results-count"] == "0", params
    assert await ask.ids(q="level==1") == ["1"]
    assert await ask.ids(q="power==40") == ["1"]
    seen = await ask.see(LAMP["id"], format="simplified")
    assert seen == {**LAMP, "level": 1, "note": "x"}
    await ask("PATCH", URL + "/attrs/heat", 404, json={"value": 6})
    await ask("PATCH", URL + "/attrs", 204, json={"heat": 7})
    assert (await ask.see(LAMP["id"]))["heat"]["value"] == 7


async def test_expiry_can_be_moved_and_removed(ask: Any, soon: str) -> None:
    await ask.make({**LAMP, "expiresAt": soon})
    await ask("PATCH", URL, 204, json={"expiresAt": "2099-01-01T00:00:00Z"})
    await asyncio.sleep(0.45)
    assert (await ask.see(LAMP["id"], options="sysAttrs"))["expiresAt"] == "2099-01-01T00:00:00Z"
    await ask("PATCH", URL, 204, json={"expiresAt": "urn:ngsi-ld:null"})
    assert "expiresAt" not in await ask.see(LAMP["id"], options="sysAttrs")
    await ask("PATCH", URL, 400, json={"expiresAt": "2001-01-01T00:00:00Z"}, error="BadRequestData")


# --- discovery --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def town(ask: Any) -> Any:
    await ask.make(
        {"id": "urn:ngsi-ld:A:1", "type": "Shop", "seats": 1, "owner": {"object": "urn:x:1"}},
        {"id": "urn:ngsi-ld:A:2", "type": ["Shop", "Cafe"], "seats": {"languageMap": {"ko": "네"}}},
        {"id": "urn:ngsi-ld:A:3", "type": ["Cafe"], "menu": {"json": {}}},
        {"id": "urn:ngsi-ld:A:4", "type": "https://ex.org/Bare"},
    )
    return ask


async def test_types(town: Any) -> None:
    listed = (await town("GET", "/types", 200)).json()
    assert listed.keys() == {"id", "type", "typeList"}
    assert listed["type"] == "EntityTypeList"
    assert listed["id"].startswith("urn:ngsi-ld:EntityTypeList:")
    assert sorted(listed["typeList"]) == ["Cafe", "Shop", "https://ex.org/Bare"]
    detailed = {one["typeName"]: one for one in (await town("GET", "/types", 200, details="true")).json()}
    assert detailed["Cafe"] == {
        "id": DEFAULT + "Cafe",
        "type": "EntityType",
        "typeName": "Cafe",
        "attributeNames": ["menu", "seats"],
    }
    assert detailed["https://ex.org/Bare"]["attributeNames"] == []
    info = (await town("GET", "/types/Shop", 200)).json()
    assert (info["id"], info["type"], info["typeName"], info["entityCount"]) == (
        DEFAULT + "Shop",
        "EntityTypeInfo",
        "Shop",
        2,
    )
    kinds = {one["attributeName"]: one["attributeTypes"] for one in info["attributeDetails"]}
    assert kinds == {"seats": ["LanguageProperty", "Property"], "owner": ["Relationship"]}
    assert (await town("GET", "/types/https%3A%2F%2Fex.org%2FBare", 200)).json()["entityCount"] == 1
    assert (await town("GET", "/types/Cafe", 200)).json()["entityCount"] == 2
    await town("GET", "/types/Tree", 404, error="ResourceNotFound")
    await town("GET", "/types/two%20words", 400, error="BadRequestData")


async def test_attributes(town: Any) -> None:
    listed = (await town("GET", "/attributes", 200)).json()
    assert listed.keys() == {"id", "type", "attributeList"}
    assert listed["attributeList"] == ["menu", "owner", "seats"]
    detailed = {one["attributeName"]: one for one in (await town("GET", "/attributes", 200, details="true")).json()}
    assert detailed["seats"] == {
        "id": DEFAULT + "seats",
        "type": "Attribute",
        "attributeName": "seats",
        "typeNames": ["Cafe", "Shop"],
    }
    info = (await town("GET", "/attributes/seats", 200)).json()
    assert info == {
        "id": DEFAULT + "seats",
        "type": "Attribute",
        "attributeName": "seats",
        "attributeCount": 2,
        "attributeTypes": ["LanguageProperty", "Property"],
        "typeNames": ["Cafe", "Shop"],
    }
    await town("GET", "/attributes/nothing", 404, error="ResourceNotFound")


async def test_discovery_follows_the_record(town: Any) -> None:
    await town("DELETE", "/entities/urn:ngsi-ld:A:3", 204)
    await town("GET", "/attributes/menu", 404)
    assert (await town("GET", "/types/Cafe", 200)).json()["entityCount"] == 1
    await town("PUT", "/entities/urn:ngsi-ld:A:2", 204, json={"type": "Shop", "seats": 3})
    await town("GET", "/types/Cafe", 404)
    await town("DELETE", "/entities/urn:ngsi-ld:A:1/attrs/owner", 204)
    assert (await town("GET", "/attributes", 200)).json()["attributeList"] == ["seats"]


async def test_discovery_pages_and_contexts(town: Any) -> None:
    answer = await town("GET", "/types", 200, limit="1", offset="1", count="true")
    assert (len(answer.json()["typeList"]), answer.headers["ngsild-results-count"]) == (1, "3")
    assert 'rel="next"' in answer.headers["link"]
    answer = await town("GET", "/attributes", 200, limit="2", details="true", count="true")
    assert (len(answer.json()), answer.headers["ngsild-results-count"]) == (2, "3")
    ld = await town("GET", "/types", 200, headers={"Accept": "application/ld+json"})
    assert ld.json()["@context"]


async def test_a_rare_attribute_still_has_a_kind(ask: Any) -> None:
    many = [{"id": f"urn:ngsi-ld:A:{n:04}", "type": "Shop", "seats": n} for n in range(300)]
    many[299]["rare"] = {"object": "urn:x:1"}
    await ask("POST", OPS + "create", 201, json=many)
    info = (await ask("GET", "/types/Shop", 200)).json()
    assert {one["attributeName"]: one["attributeTypes"] for one in info["attributeDetails"]} == {
        "seats": ["Property"],
        "rare": ["Relationship"],
    }
    assert (await ask("GET", "/attributes/rare", 200)).json()["attributeTypes"] == ["Relationship"]
