"""Creating, replacing, merging and deleting whole entities. Source: CIM 009 clauses 5.6.1, 5.6.6, 5.6.17, 5.6.18."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio

LAMP_ID = "urn:ngsi-ld:Lamp:1"
URL = f"/entities/{LAMP_ID}"
NULL = "urn:ngsi-ld:null"
POINT = {"type": "Point", "coordinates": [127.28, 36.48]}


def lamp(**attributes: Any) -> dict[str, Any]:
    return {"id": LAMP_ID, "type": "Lamp", **attributes}


EVERY_KIND = {
    "power": {"type": "Property", "value": 40.5, "unitCode": "WTT", "observedAt": "2026-11-22T08:00:00Z"},
    "tags": {"type": "Property", "value": ["a", 1, {"b": [True]}], "valueType": "https://ex.org/Tags"},
    "location": {"type": "GeoProperty", "value": POINT},
    "isOn": {"type": "Relationship", "object": "urn:ngsi-ld:Road:1", "objectType": "Road"},
    "near": {"type": "Relationship", "object": ["urn:ngsi-ld:Lamp:2", "urn:ngsi-ld:Lamp:3"]},
    "name": {"type": "LanguageProperty", "languageMap": {"ko": "등", "en": ["lamp", "light"], "@none": "x"}},
    "state": {"type": "VocabProperty", "vocab": "on"},
    "states": {"type": "VocabProperty", "vocab": ["on", "broken"]},
    "raw": {"type": "JsonProperty", "json": {"a": None, "b": [1, {"c": NULL}]}},
    "levels": {"type": "ListProperty", "valueList": [1, [2, 3], "x"]},
    "wires": {
        "type": "ListRelationship",
        "objectList": [{"object": "urn:ngsi-ld:Box:1"}, {"object": "urn:ngsi-ld:Box:1"}],
    },
}


async def test_every_kind_comes_back_as_it_was_sent(ask: Any) -> None:
    rich = lamp(scope=["/Sejong/Nasung", "/Parks"], **EVERY_KIND)
    rich["power"] = {
        **EVERY_KIND["power"],
        "accuracy": {
            "type": "Property",
            "value": 0.5,
            "by": {"type": "Relationship", "object": "urn:ngsi-ld:Lab:1", "since": {"type": "Property", "value": 1}},
        },
        "measuredAt": {"type": "GeoProperty", "value": POINT},
    }
    await ask.make(rich)
    assert await ask.see(LAMP_ID) == rich
    assert (await ask.find(type="Lamp"))[0] == rich


async def test_concise_and_simplified_input(ask: Any) -> None:
    concise = lamp(
        power={"value": 40, "unitCode": "WTT"},
        colour="red",
        sizes=[1, 2],
        box={"width": 3},
        location=POINT,
        isOn={"object": "urn:ngsi-ld:Road:1"},
        name={"languageMap": {"ko": "등"}},
        state={"vocab": "on"},
        raw={"json": {"a": 1}},
        levels={"valueList": [1]},
        wires={"objectList": ["urn:ngsi-ld:Box:1"]},
        flag=False,
    )
    await ask.make(concise)
    seen = await ask.see(LAMP_ID)
    assert seen["power"] == {"type": "Property", "value": 40, "unitCode": "WTT"}
    assert seen["flag"] == {"type": "Property", "value": False}
    assert seen["box"] == {"type": "Property", "value": {"width": 3}}
    assert seen["location"] == {"type": "GeoProperty", "value": POINT}
    assert seen["wires"] == {"type": "ListRelationship", "objectList": [{"object": "urn:ngsi-ld:Box:1"}]}
    assert {seen[name]["type"] for name in ("isOn", "name", "state", "raw", "levels")} == {
        "Relationship",
        "LanguageProperty",
        "VocabProperty",
        "JsonProperty",
        "ListProperty",
    }
    again = await ask.see(LAMP_ID, format="concise")
    assert again == {**concise, "wires": {"objectList": [{"object": "urn:ngsi-ld:Box:1"}]}}


BROKEN: list[dict[str, Any]] = [
    {"type": "Lamp"},
    {"id": LAMP_ID},
    {"id": "nouri", "type": "Lamp"},
    {"id": "", "type": "Lamp"},
    {"id": 5, "type": "Lamp"},
    {"id": NULL, "type": "Lamp"},
    {"id": LAMP_ID, "type": []},
    {"id": LAMP_ID, "type": 5},
    {"id": LAMP_ID, "type": ""},
    {"id": LAMP_ID, "type": "two words"},
    lamp(power=None),
    lamp(power={"type": "Property", "value": None}),
    lamp(power={"type": "Property"}),
    lamp(power={"type": "Proprety", "value": 1}),
    lamp(power={"type": "Property", "object": "urn:x:1", "value": 1}),
    lamp(power={"type": "Property", "value": 1, "observedAt": "yesterday"}),
    lamp(power={"type": "Property", "value": 1, "observedAt": "2026-11-22T10:00:00+09:00"}),
    lamp(power={"type": "Property", "value": 1, "observedAt": {"type": "Property", "value": "2026-11-22T10:00:00Z"}}),
    lamp(power={"type": "Property", "value": 1, "datasetId": "nouri"}),
    lamp(power={"type": "Property", "value": 1, "expiresAt": "2020-01-01T00:00:00Z"}),
    lamp(power={"type": "Property", "value": NULL}),
    lamp(power={"type": "Property", "value": {"a": [NULL]}}),
    lamp(power={"type": "Property", "value": {"a": None}}),
    lamp(power=[{"type": "Property", "value": 1}, {"type": "Property", "value": 2}]),
    lamp(power=[{"type": "Property", "value": 1, "datasetId": "urn:d:1"}] * 2),
    lamp(power=[{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "@none"}]),
    lamp(isOn={"type": "Relationship", "object": "nouri"}),
    lamp(isOn={"type": "Relationship", "object": []}),
    lamp(isOn={"type": "Relationship", "object": "urn:x:1", "entity": {}}),
    lamp(location={"type": "Property", "value": 5}),
    lamp(location={"type": "GeoProperty", "value": {"type": "Circle", "coordinates": [1, 2]}}),
    lamp(location={"type": "GeoProperty", "value": {"type": "GeometryCollection", "geometries": []}}),
    lamp(location={"type": "GeoProperty", "value": {"type": "Point", "coordinates": ["a", 2]}}),
    lamp(location={"type": "GeoProperty", "value": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]}}),
    lamp(name={"type": "LanguageProperty", "languageMap": {"ko": 5}}),
    lamp(name={"type": "LanguageProperty", "languageMap": {"no tag": "x"}}),
    lamp(name={"type": "LanguageProperty", "languageMap": {"@none": NULL}}),
    lamp(state={"type": "VocabProperty", "vocab": 5}),
    lamp(raw={"type": "JsonProperty", "json": None}),
    lamp(levels={"type": "ListProperty", "valueList": 5}),
    lamp(wires={"type": "ListRelationship", "objectList": ["nouri"]}),
    lamp(scope="/a b"),
    lamp(scope=[]),
    lamp(scope=NULL),
    lamp(expiresAt="2020-01-01T00:00:00Z"),
    lamp(expiresAt="soon"),
    lamp(**{"two words": 1}),
    lamp(**{"1st": 1}),
    lamp(**{"a<b": 1}),
    lamp(value=1),
    lamp(observedAt="2026-11-22T10:00:00Z"),
]


async def test_what_is_not_an_entity(ask: Any) -> None:
    for broken in BROKEN:
        await ask("POST", "/entities", 400, json=broken, error="BadRequestData")
        await ask("GET", URL, 404)


async def test_times_of_senders_are_ignored(ask: Any) -> None:
    old = "2001-01-01T00:00:00Z"
    mine = {"createdAt": old, "modifiedAt": old, "deletedAt": old}
    await ask.make(lamp(**mine, power={"type": "Property", "value": 1, "instanceId": "urn:x:1", **mine}))
    seen = await ask.see(LAMP_ID, options="sysAttrs")
    assert old not in str(seen)
    assert seen["power"].keys() == {"type", "value", "createdAt", "modifiedAt"}
    assert "createdAt" not in str(await ask.see(LAMP_ID))


async def test_values_survive_unchanged(ask: Any) -> None:
    odd = {
        "zero": -0.0,
        "float": 1.0,
        "tiny": 5e-324,
        "large": 1.7976931348623157e308,
        "big": 9007199254740993,
        "huge": 123456789012345678901234567890,
        "empty": "",
        "nul": "a\x00b",
        "korean": "나성동 \U0001f6b2",
        "quote": '"\\\n\t\u2028',
        "nested": {"": {"a b": [[], {}, ""]}, "type": "x"},
    }
    await ask.make(lamp(**{name: {"type": "Property", "value": value} for name, value in odd.items()}))
    seen = await ask.see(LAMP_ID, format="simplified")
    assert {name: seen[name] for name in odd} == odd
    assert str(seen["zero"]) == "-0.0"
    assert isinstance(seen["float"], float)
    history = (await ask("GET", "/temporal" + URL, 200)).json()
    assert {name: history[name][0]["value"] for name in odd} == odd
    assert isinstance(history["float"][0]["value"], float)


async def test_replace(ask: Any) -> None:
    await ask("PUT", URL, 404, json={"type": "Lamp", "power": 1}, error="ResourceNotFound")
    await ask.make(lamp(scope="/a", power={"value": 1, "accuracy": 2}, colour="red"))
    before = await ask.see(LAMP_ID, options="sysAttrs")
    await ask("PUT", URL, 204, json={"id": LAMP_ID, "type": ["Lamp", "Thing"], "power": 2})
    after = await ask.see(LAMP_ID, options="sysAttrs")
    assert after.keys() == {"id", "type", "createdAt", "modifiedAt", "power"}
    assert set(after["type"]) == {"Lamp", "Thing"}
    assert after["createdAt"] == before["createdAt"] == after["power"]["createdAt"]
    assert after["modifiedAt"] == after["power"]["modifiedAt"] > before["modifiedAt"]
    assert "accuracy" not in after["power"]
    await ask("PUT", URL, 400, json={"id": "urn:ngsi-ld:Lamp:2", "power": 2}, error="BadRequestData")
    await ask("PUT", URL, 400, json={"type": "Lamp", "power": NULL}, error="BadRequestData")
    await ask("PUT", URL, 400, json={"type": "Lamp", "power": None}, error="BadRequestData")
    await ask("PUT", URL, 400, json={}, error="BadRequestData")
    await ask("PUT", URL, 404, json={"type": "Lamp", "power": 1}, type="Tree")
    await ask("PUT", URL, 204, json={"type": "Tree", "height": 1}, type="Lamp;Thing".replace(";", ","))
    assert (await ask.see(LAMP_ID))["type"] == "Tree"
    assert await ask.find(type="Thing") == []
    assert len(await ask.find(type="Tree")) == 1


async def test_merge(ask: Any) -> None:
    await ask.make(
        lamp(
            box={"value": {"w": 1, "h": {"a": 1, "b": 2}}, "note": {"value": "x"}, "unitCode": "MTR"},
            name={"languageMap": {"ko": "등", "en": "lamp"}},
            power={"value": 5, "observedAt": "2026-11-22T08:00:00Z"},
            isOn={"object": "urn:ngsi-ld:Road:1"},
        )
    )
    patch = {
        "type": "Thing",
        "box": {"value": {"w": NULL, "h": {"b": 3, "c": 4}, "d": 5}, "note": NULL, "unitCode": NULL},
        "name": {"languageMap": {"en": NULL, "de": "Lampe"}},
        "colour": {"value": "red"},
        "scope": "/a",
    }
    await ask("PATCH", URL, 204, json=patch)
    seen = await ask.see(LAMP_ID)
    assert seen["box"] == {"type": "Property", "value": {"h": {"a": 1, "b": 3, "c": 4}, "d": 5}}
    assert seen["name"]["languageMap"] == {"ko": "등", "de": "Lampe"}
    assert seen["colour"]["value"] == "red"
    assert seen["scope"] == "/a"
    assert set(seen["type"]) == {"Lamp", "Thing"}
    assert seen["isOn"] == {"type": "Relationship", "object": "urn:ngsi-ld:Road:1"}
    await ask("PATCH", URL, 204, json={"power": {"value": 6}}, observedAt="2026-11-22T09:00:00Z")
    assert (await ask.see(LAMP_ID))["power"]["observedAt"] == "2026-11-22T09:00:00Z"
    await ask("PATCH", URL, 204, json={"colour": {"value": "blue"}}, observedAt="2026-11-22T09:00:00Z")
    assert "observedAt" not in (await ask.see(LAMP_ID))["colour"]
    await ask("PATCH", URL, 204, json={"name": {"value": "灯"}}, lang="zh")
    assert (await ask.see(LAMP_ID))["name"]["languageMap"]["zh"] == "灯"
    await ask("PATCH", URL, 204, json={"isOn": "urn:ngsi-ld:Road:2", "colour": "green"}, format="simplified")
    assert (await ask.see(LAMP_ID))["isOn"] == {"type": "Relationship", "object": "urn:ngsi-ld:Road:2"}
    await ask("PATCH", URL, 204, json={"isOn": "urn:ngsi-ld:Road:3"}, options="keyValues")
    await ask("PATCH", URL, 204, json={"colour": NULL, "scope": NULL, "power": {"value": NULL}})
    assert (await ask.see(LAMP_ID)).keys() == {"id", "type", "box", "name", "isOn"}


async def test_merge_refusals(ask: Any) -> None:
    await ask("PATCH", URL, 404, json={"power": 1}, error="ResourceNotFound")
    await ask.make(lamp(power=5, isOn={"object": "urn:ngsi-ld:Road:1"}, location=POINT))
    before = await ask.see(LAMP_ID, options="sysAttrs")
    for body in (
        {},
        {"power": None},
        {"power": {"value": None}},
        {"power": {"type": "Relationship", "object": "urn:x:1"}},
        {"isOn": {"type": "Property", "value": 5}},
        {"power": {"value": [NULL]}},
        {"power": {"value": 1, "datasetId": NULL}},
        {"location": {"value": {"type": "Polygon"}}},
        {"id": "urn:ngsi-ld:Lamp:2", "power": 1},
        {"type": NULL},
        {"power": {"value": 1, "observedAt": "never"}},
    ):
        await ask("PATCH", URL, 400, json=body, error="BadRequestData")
    await ask("PATCH", URL, 400, json={"power": 6}, observedAt="never", error="BadRequestData")
    await ask("PATCH", URL, 400, json={"power": 6}, lang="no tag", error="BadRequestData")
    await ask("PATCH", URL, 404, json={"power": 6}, type="Tree", error="ResourceNotFound")
    assert await ask.see(LAMP_ID, options="sysAttrs") == before


async def test_merge_by_dataset(ask: Any) -> None:
    one = {"value": 1, "datasetId": "urn:d:1", "unitCode": "WTT"}
    await ask.make(lamp(power=[{"value": 0}, one]))
    await ask("PATCH", URL, 204, json={"power": {"value": 10, "datasetId": "urn:d:1"}})
    await ask("PATCH", URL, 204, json={"power": [{"value": 20, "datasetId": "urn:d:2"}, {"value": 5}]})
    power = (await ask.see(LAMP_ID))["power"]
    assert [(p["value"], p.get("datasetId"), p.get("unitCode")) for p in power] == [
        (5, None, None),
        (10, "urn:d:1", "WTT"),
        (20, "urn:d:2", None),
    ]
    await ask("PATCH", URL, 204, json={"power": {"value": NULL, "datasetId": "urn:d:1"}})
    assert [p["value"] for p in (await ask.see(LAMP_ID))["power"]] == [5, 20]


async def test_delete(ask: Any) -> None:
    await ask("DELETE", URL, 404, error="ResourceNotFound")
    await ask.make(lamp(scope="/a", power=5, isOn={"object": "urn:ngsi-ld:Road:1"}))
    await ask("DELETE", URL, 404, type="Tree")
    await ask("DELETE", URL, 204, type="Lamp")
    await ask("DELETE", URL, 404)
    assert await ask.find(type="Lamp") == []
    assert (await ask("GET", "/types", 200)).json()["typeList"] == []
    history = (await ask("GET", "/temporal" + URL, 200, options="sysAttrs")).json()
    for name, null in {"power": NULL, "isOn": NULL, "scope": NULL}.items():
        last = history[name][-1]
        assert last["deletedAt"]
        assert last.get("value", last.get("object")) == null
    await ask.make(lamp(power=6))
    seen = await ask.see(LAMP_ID, options="sysAttrs")
    assert seen.keys() == {"id", "type", "createdAt", "modifiedAt", "power"}
    assert seen["createdAt"] == seen["power"]["createdAt"]
    assert [i["value"] for i in (await ask("GET", "/temporal" + URL, 200)).json()["power"]] == [5, NULL, 6]
