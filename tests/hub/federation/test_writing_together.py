"""Changes that belong to several hubs. Source: CIM 009 v1.9.1 clauses 4.3.6, 5.6, 4.20."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.hub.federation.towns import Town, Wire, lamp

from sejong.hub.ngsi.sourcing import Wanted, narrowed

pytestmark = pytest.mark.anyio

ID = "urn:ngsi-ld:Lamp:1"
LAMP = f"/entities/{ID}"
DEFAULT = "https://uri.etsi.org/ngsi-ld/default-context/"
WRITES = ["redirectionOps", "createBatch", "upsertBatch", "updateBatch", "deleteBatch", "mergeBatch"]
ONLY_POWER = [{"entities": [{"id": ID, "type": "Lamp"}], "propertyNames": ["power"]}]


async def shown(town: Town, expect: int = 200) -> dict[str, Any]:
    """What a town itself keeps of the lamp, without the head."""
    answer = await town.ask("GET", LAMP, expect, local="true", format="simplified")
    return {k: v for k, v in answer.json().items() if k not in ("id", "type")} if expect == 200 else {}


async def test_a_redirected_entity_lives_elsewhere_only(towns: Any) -> None:
    sejong, osong = await towns("sejong", "osong")
    await sejong.knows(osong, mode="redirect", operations=WRITES)
    ask = sejong.ask
    made = await ask(
        "POST",
        "/entities",
        201,
        json=lamp("1", power=1, colour={"type": "LanguageProperty", "languageMap": {"ko": "빨강"}}),
    )
    assert made.headers["location"] == f"/ngsi-ld/v1{LAMP}"
    await shown(sejong, 404)
    assert (await shown(osong))["power"] == 1
    await ask("POST", "/entities", 409, json=lamp("1"), error="Conflict")
    await ask("PATCH", LAMP + "/attrs", 204, json={"power": 2})
    await ask("POST", LAMP + "/attrs", 204, json={"height": 4})
    await ask("PATCH", LAMP + "/attrs/power", 204, json={"value": 3, "observedAt": "2026-01-01T00:00:00Z"})
    assert (await shown(osong))["power"] == 3
    await ask("PATCH", LAMP, 204, json={"height": "urn:ngsi-ld:null", "power": {"value": 4}})
    await ask("PUT", LAMP + "/attrs/power", 204, json={"type": "Property", "value": 5, "unitCode": "WTT"})
    assert await shown(osong) == {"power": 5, "colour": {"languageMap": {"ko": "빨강"}}}
    await ask("DELETE", LAMP + "/attrs/colour", 204)
    await ask("DELETE", LAMP + "/attrs/colour", 404, error="ResourceNotFound")
    partly = await ask("POST", LAMP + "/attrs", 207, json={"power": 9, "depth": 1}, options="noOverwrite")
    assert partly.json()["updated"] == [DEFAULT + "depth"]
    (refused,) = partly.json()["notUpdated"]
    assert refused["attributeName"] == DEFAULT + "power"
    assert refused["registrationId"].endswith(":osong")
    await ask("PUT", LAMP, 204, json={"type": "Lamp", "power": 6})
    assert (await ask.see(ID))["power"]["value"] == 6
    assert await shown(osong) == {"power": 6}
    await ask("DELETE", LAMP, 204)
    await ask("DELETE", LAMP, 404, error="ResourceNotFound")
    await ask.make({"id": "urn:ngsi-ld:Car:1", "type": "Car", "speed": 1})
    assert not [one for one in osong.wire.requests if "Car" in one[1]]


async def test_an_exclusive_attribute_is_kept_by_its_source_alone(towns: Any) -> None:
    sejong, osong = await towns("sejong", "osong")
    await osong.ask.make(lamp("1", power=1))
    await sejong.knows(osong, information=ONLY_POWER, mode="exclusive", operations=WRITES)
    ask = sejong.ask
    both = await ask("POST", "/entities", 207, json=lamp("1", power=2, colour="red"))
    assert both.json()["success"] == [ID]
    (error,) = both.json()["errors"]
    assert error["entityId"] == ID
    assert error["error"]["status"] == 409
    assert error["registrationId"].endswith(":osong")
    assert await shown(sejong) == {"colour": "red"}
    await ask("PATCH", LAMP + "/attrs", 204, json={"power": 3, "colour": "blue"})
    assert (await shown(sejong), await shown(osong)) == ({"colour": "blue"}, {"power": 3})
    assert (await ask("GET", LAMP, 200, format="simplified")).json() == {
        "id": ID,
        "type": "Lamp",
        "colour": "blue",
        "power": 3,
    }
    await ask("DELETE", LAMP + "/attrs/power", 204)
    await ask("PATCH", LAMP, 204, json={"power": 8, "colour": "green"})
    assert (await shown(sejong), await shown(osong)) == ({"colour": "green"}, {"power": 8})
    await ask("DELETE", LAMP, 204)
    await shown(sejong, 404)
    await shown(osong, 404)


async def test_an_inclusive_source_gets_a_copy_if_it_takes_it(towns: Any) -> None:
    sejong, osong, jochiwon = await towns("sejong", "osong", "jochiwon")
    await sejong.knows(osong, operations=["createEntity", "updateEntity", "deleteEntity", "queryEntity"])
    await sejong.knows(jochiwon)
    ask = sejong.ask
    await ask("POST", "/entities", 201, json=lamp("1", power=1))
    assert (await shown(sejong), await shown(osong)) == ({"power": 1}, {"power": 1})
    await ask("PATCH", LAMP + "/attrs", 204, json={"power": 2})
    await ask("POST", LAMP + "/attrs", 204, json={"height": 4})
    assert (await shown(sejong), await shown(osong)) == ({"power": 2, "height": 4}, {"power": 2})
    await osong.ask("DELETE", LAMP, 204)
    await ask("PATCH", LAMP + "/attrs", 204, json={"power": 3})
    await ask("DELETE", LAMP, 204)
    await ask("DELETE", LAMP, 404, error="ResourceNotFound")
    await ask("PATCH", LAMP + "/attrs", 404, json={"power": 3}, error="ResourceNotFound")
    await ask("POST", "/entities", 201, json=lamp("1", power=1), local="true")
    await shown(osong, 404)
    assert not [one for one in jochiwon.wire.requests if one[0] != "GET"]


@pytest.mark.parametrize(
    ("fault", "status"),
    [("down", 502), ("hangs", 504), ("broken", 502), ("loop", 508), ("missing", 404), ("unable", 409)],
)
async def test_what_goes_wrong_at_the_only_source(towns: Any, wire: Wire, fault: str, status: int) -> None:
    (sejong,) = await towns("sejong", source_timeout=0.2 if fault == "hangs" else 10)
    operations = ["retrieveOps"] if fault == "unable" else WRITES
    await sejong.knows(wire, mode="redirect", operations=operations)
    wire.answer = {"broken": (500, b""), "loop": (508, b""), "missing": (404, b"")}.get(fault, (204, b""))
    wire.hangs = fault == "hangs"
    if fault == "down":
        await wire.stop()
    for method, path, body in [
        ("PATCH", LAMP + "/attrs", {"power": 1}),
        ("DELETE", LAMP, None),
        ("PUT", LAMP + "/attrs/power", {"value": 1}),
    ]:
        answer = await sejong.ask(method, path, status, json=body)
        assert answer.json()["status"] == status
    await shown(sejong, 404)
    if fault == "unable":
        assert not wire.requests


async def test_batches_are_divided(towns: Any) -> None:
    sejong, osong, jochiwon = await towns("sejong", "osong", "jochiwon")
    await sejong.knows(osong, mode="redirect", operations=WRITES)
    cars = [{"entities": [{"type": "Car"}]}]
    await sejong.knows(jochiwon, cars, mode="redirect", operations=["createEntity", "deleteEntity", "queryEntity"])
    ask = sejong.ask

    def car(tail: str) -> dict[str, Any]:
        return {"id": f"urn:ngsi-ld:Car:{tail}", "type": "Car", "speed": 1}

    bus = {"id": "urn:ngsi-ld:Bus:1", "type": "Bus", "line": 1}
    made = await ask("POST", "/entityOperations/create", 201, json=[lamp("1", power=1), bus, car("1"), car("2")])
    assert made.json() == [ID, bus["id"], car("1")["id"], car("2")["id"]]
    assert [one[1] for one in osong.wire.requests] == ["/ngsi-ld/v1/entityOperations/create"]
    assert [one[1] for one in jochiwon.wire.requests] == ["/ngsi-ld/v1/entities"] * 2
    assert [one["id"] for one in await ask.find(type="Lamp,Bus,Car", local="true")] == [bus["id"]]
    again = await ask("POST", "/entityOperations/upsert", 207, json=[lamp("1", power=2), lamp("2", power=1), car("3")])
    assert sorted(again.json()["success"]) == [ID, "urn:ngsi-ld:Lamp:2"]
    (unable,) = again.json()["errors"]
    assert (unable["entityId"], unable["error"]["status"]) == (car("3")["id"], 409)
    assert unable["registrationId"].endswith(":jochiwon")
    new = await ask("POST", "/entityOperations/upsert", 201, json=[lamp("1", power=3), lamp("3", power=1)])
    assert new.json() == ["urn:ngsi-ld:Lamp:3"]
    await ask("POST", "/entityOperations/update", 204, json=[lamp("1", power=4), {**bus, "line": 2}])
    await ask("POST", "/entityOperations/merge", 204, json=[lamp("1", height=4), {**bus, "line": 3}])
    assert await shown(osong) == {"power": 4, "height": 4}
    gone = await ask("POST", "/entityOperations/delete", 207, json=[ID, bus["id"], "urn:ngsi-ld:Lamp:9"])
    assert gone.json()["success"] == [ID, bus["id"]]
    await shown(osong, 404)
    assert [one["entityId"] for one in gone.json()["errors"]] == ["urn:ngsi-ld:Lamp:9"]


async def test_a_purge_reaches_the_sources_that_offer_it(towns: Any, wire: Wire) -> None:
    sejong, osong, jochiwon = await towns("sejong", "osong", "jochiwon")
    for town in (sejong, osong, jochiwon):
        await town.ask.make(*(lamp(f"{town.name}{n}", power=n, colour="red") for n in range(3)))
    await sejong.knows(osong, operations=["purgeEntity", "queryEntity"])
    await sejong.knows(jochiwon)
    await sejong.ask("DELETE", "/entities", 204, type="Lamp", q="power>1")
    await sejong.ask("DELETE", "/entities", 204, type="Lamp", q="power==1", drop="colour")
    for town, left in ((sejong, 2), (osong, 2), (jochiwon, 3)):
        assert len(await town.ask.find(type="Lamp", local="true")) == left
    assert len(await osong.ask.find(type="Lamp", attrs="colour", local="true")) == 1
    await sejong.knows(wire, operations=["purgeEntity"])
    wire.answer = (500, b"")
    await sejong.ask("DELETE", "/entities", 204, type="Lamp", id="urn:a:b", csf='contextSourceAlias=="osong"')
    assert not wire.requests
    await sejong.ask("DELETE", "/entities", 502, type="Lamp")


async def test_tenants_are_mapped(towns: Any) -> None:
    sejong, osong = await towns("sejong", "osong")
    mine = {"NGSILD-Tenant": "city-a"}
    body = {
        "type": "ContextSourceRegistration",
        "information": [{"entities": [{"type": "Lamp"}]}],
        "endpoint": osong.wire.url + "/",
        "mode": "redirect",
        "operations": WRITES,
        "tenant": "town-b",
    }
    await sejong.ask("POST", "/csourceRegistrations", 201, json=body, headers=mine)
    await sejong.ask("POST", "/entities", 201, json=lamp("1", power=1), headers=mine)
    await osong.ask("GET", LAMP, 200, headers={"NGSILD-Tenant": "town-b"})
    await osong.ask("GET", LAMP, 404)
    await sejong.ask("GET", LAMP, 200, headers=mine)
    await sejong.ask("GET", LAMP, 404, local="true", headers=mine)
    assert osong.wire.requests[0][2]["via"] == "1.1 sejong+city-a"
    await sejong.ask("POST", "/entities", 201, json=lamp("1", power=1))
    await shown(sejong)


async def test_bodies_are_whole(towns: Any, wire: Wire) -> None:
    (sejong,) = await towns("sejong")
    await sejong.knows(wire, mode="redirect", operations=WRITES)
    wire.answer = (201, b"")
    entity = lamp(
        "1",
        scope="/Sejong",
        expiresAt="2100-01-01T00:00:00Z",
        power=[
            {"type": "Property", "value": 1, "unitCode": "WTT"},
            {"type": "Property", "value": 2, "datasetId": "urn:d:1"},
        ],
        place={"type": "GeoProperty", "value": {"type": "Point", "coordinates": [127, 36]}},
        near={"type": "Relationship", "object": "urn:a:b", "since": {"type": "Property", "value": "x"}},
    )
    await sejong.ask("POST", "/entities", 201, json=entity)
    method, target, headers, body = wire.requests[-1]
    assert (method, target) == ("POST", "/ngsi-ld/v1/entities")
    assert headers["content-type"] == "application/json"
    assert msgspec.json.decode(body) == entity


def test_what_two_descriptions_have_in_common() -> None:
    lamps, cars = frozenset({"Lamp"}), frozenset({"Car"})
    one, two = frozenset({"urn:a:1"}), frozenset({"urn:a:1", "urn:a:2"})
    for left, right, expected in [
        (Wanted(), Wanted(), Wanted()),
        (Wanted(types=lamps), Wanted(), Wanted(types=lamps)),
        (Wanted(types=lamps), Wanted(types=cars), None),
        (Wanted(types=lamps), Wanted(types=lamps | cars), Wanted(types=lamps)),
        (Wanted(ids=one), Wanted(ids=two), Wanted(ids=one)),
        (Wanted(pattern="2$"), Wanted(ids=two), Wanted(ids=frozenset({"urn:a:2"}))),
        (Wanted(pattern="3$"), Wanted(ids=two), None),
        (Wanted(ids=two), Wanted(pattern="1$"), Wanted(ids=one)),
        (Wanted(pattern="a"), Wanted(pattern="b"), Wanted(pattern="a")),
    ]:
        assert narrowed(left, right) == expected
