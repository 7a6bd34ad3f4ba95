"""Types and attributes of several hubs. Source: CIM 009 v1.9.1 clauses 5.7.5-5.7.10."""

from __future__ import annotations

from typing import Any

import pytest
from tests.hub.federation.towns import Wire, lamp

pytestmark = pytest.mark.anyio

HERE = "https://uri.etsi.org/ngsi-ld/default-context/"


async def test_types_and_attributes_of_all_hubs(towns: Any, wire: Wire) -> None:
    sejong, osong = await towns("sejong", "osong")
    await sejong.ask.make(lamp("1", power=1), {"id": "urn:ngsi-ld:Car:1", "type": "Car", "speed": 1})
    await osong.ask.make(
        lamp("2", power={"type": "Relationship", "object": "urn:a:b"}, height=4),
        lamp("3"),
        {"id": "urn:ngsi-ld:Bus:1", "type": "Bus", "speed": 1},
    )
    await sejong.knows(osong, information=[{"entities": [{"idPattern": ".*"}]}])
    ask = sejong.ask
    assert (await ask("GET", "/types", 200)).json()["typeList"] == ["Bus", "Car", "Lamp"]
    assert (await ask("GET", "/types", 200, local="true")).json()["typeList"] == ["Car", "Lamp"]
    details = {
        one["typeName"]: one["attributeNames"] for one in (await ask("GET", "/types", 200, details="true")).json()
    }
    assert details == {"Bus": ["speed"], "Car": ["speed"], "Lamp": ["height", "power"]}
    one = (await ask("GET", "/types/Lamp", 200)).json()
    assert one["entityCount"] == 3
    assert {a["attributeName"]: a["attributeTypes"] for a in one["attributeDetails"]} == {
        "height": ["Property"],
        "power": ["Property", "Relationship"],
    }
    assert (await ask("GET", "/types/Bus", 200)).json()["entityCount"] == 1
    await ask("GET", "/types/Bus", 404, local="true")
    await ask("GET", "/types/Tram", 404)
    assert (await ask("GET", "/attributes", 200)).json()["attributeList"] == ["height", "power", "speed"]
    kinds = {a["attributeName"]: a["typeNames"] for a in (await ask("GET", "/attributes", 200, details="true")).json()}
    assert kinds == {"height": ["Lamp"], "power": ["Lamp"], "speed": ["Bus", "Car"]}
    power = (await ask("GET", "/attributes/power", 200)).json()
    assert power["attributeCount"] == 2
    assert power["attributeTypes"] == ["Property", "Relationship"]
    assert (await ask("GET", "/attributes/height", 200)).json()["typeNames"] == ["Lamp"]
    await ask("GET", "/attributes/depth", 404)
    await sejong.knows(wire)
    wire.answer = (200, b'{"typeList": 5}')
    flagged = await ask("GET", "/types", 200)
    assert flagged.headers["ngsild-warning"].startswith("111 ")
    assert flagged.json()["typeList"] == ["Bus", "Car", "Lamp"]
