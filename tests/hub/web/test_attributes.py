"""Operations on attributes. Source: CIM 009 clauses 5.6.2-5.6.5, 5.6.19 and 6.6, 6.7."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio

LAMP_ID = "urn:ngsi-ld:Lamp:1"
URL = f"/entities/{LAMP_ID}"
ATTRS = f"{URL}/attrs"
NULL = "urn:ngsi-ld:null"
DEFAULT = "https://uri.etsi.org/ngsi-ld/default-context/"
SCOPE = "https://uri.etsi.org/ngsi-ld/scope"


@pytest.fixture
async def lamp(ask: Any) -> Any:
    await ask.make(
        {
            "id": LAMP_ID,
            "type": "Lamp",
            "power": {"value": 5, "unitCode": "WTT", "observedAt": "2026-11-22T08:00:00Z", "accuracy": {"value": 1}},
            "name": {"languageMap": {"ko": "등"}},
            "level": [{"value": 0}, {"value": 1, "datasetId": "urn:d:1"}, {"value": 2, "datasetId": "urn:d:2"}],
            "isOn": {"object": "urn:ngsi-ld:Road:1"},
        }
    )
    return ask


def levels(seen: dict[str, Any]) -> dict[str | None, Any]:
    found = seen.get("level", [])
    return {one.get("datasetId"): one["value"] for one in (found if isinstance(found, list) else [found])}


async def test_unknown_entities(ask: Any) -> None:
    for method, path, body in [
        ("POST", ATTRS, {"power": 1}),
        ("PATCH", ATTRS, {"power": 1}),
        ("PATCH", ATTRS + "/power", {"value": 1}),
        ("PUT", ATTRS + "/power", {"value": 1}),
        ("DELETE", ATTRS + "/power", None),
    ]:
        await ask(method, path, 404, json=body, error="ResourceNotFound")


async def test_a_type_that_does_not_match_hides_the_entity(lamp: Any) -> None:
    for method, path, body in [
        ("POST", ATTRS, {"power": 1}),
        ("PATCH", ATTRS, {"power": 1}),
        ("PATCH", ATTRS + "/power", {"value": 1}),
        ("PUT", ATTRS + "/power", {"value": 1}),
        ("DELETE", ATTRS + "/power", None),
    ]:
        await lamp(method, path, 404, json=body, type="Tree", error="ResourceNotFound")
        await lamp(method, path, 400, json=body, type="(Tree", error="BadRequestData")
        await lamp(method, path, 204, json=body, type="Tree,Lamp", local="true")


async def test_append_overwrites(lamp: Any) -> None:
    before = await lamp.see(LAMP_ID, options="sysAttrs")
    await lamp("POST", ATTRS, 204, json={"power": {"value": 6}, "colour": "red", "type": "Thing", "scope": ["/a"]})
    after = await lamp.see(LAMP_ID, options="sysAttrs")
    assert after["power"].keys() == {"type", "value", "createdAt", "modifiedAt"}
    assert after["power"]["createdAt"] == before["power"]["createdAt"]
    assert after["power"]["modifiedAt"] == after["modifiedAt"] == after["colour"]["createdAt"] > before["modifiedAt"]
    assert after["name"] == before["name"]
    assert set(after["type"]) == {"Lamp", "Thing"}
    await lamp("POST", ATTRS, 204, json={"scope": "/b"})
    assert (await lamp.see(LAMP_ID))["scope"] == "/b"
    await lamp("POST", ATTRS, 204, json={"level": {"value": 9, "datasetId": "urn:d:2"}})
    await lamp("POST", ATTRS, 204, json={"level": [{"value": 8}, {"value": 7, "datasetId": "urn:d:3"}]})
    assert levels(await lamp.see(LAMP_ID)) == {None: 8, "urn:d:1": 1, "urn:d:2": 9, "urn:d:3": 7}


async def test_append_without_overwriting(lamp: Any) -> None:
    body = {"power": 6, "colour": "red", "level": [{"value": 9}, {"value": 7, "datasetId": "urn:d:3"}]}
    answer = await lamp("POST", ATTRS, 207, json=body, options="noOverwrite")
    assert answer.headers["content-type"] == "application/json"
    assert "link" not in answer.headers
    assert answer.json()["updated"] == [DEFAULT + "colour"]
    assert [one["attributeName"] for one in answer.json()["notUpdated"]] == [DEFAULT + "power", DEFAULT + "level"]
    assert all(one["reason"] for one in answer.json()["notUpdated"])
    seen = await lamp.see(LAMP_ID)
    assert seen["power"]["value"] == 5
    assert levels(seen) == {None: 0, "urn:d:1": 1, "urn:d:2": 2, "urn:d:3": 7}
    await lamp("POST", ATTRS, 204, json={"scope": ["/a"]}, options="noOverwrite")
    await lamp("POST", ATTRS, 204, json={"scope": ["/b", "/a"]}, options="noOverwrite")
    assert (await lamp.see(LAMP_ID))["scope"] == ["/a", "/b"]
    await lamp("POST", ATTRS, 204, json={"size": 1}, options="noOverwrite")


async def test_appended_things_must_be_right(lamp: Any) -> None:
    before = await lamp.see(LAMP_ID)
    for body in (
        {},
        {"colour": None},
        {"colour": NULL},
        {"colour": {"type": "Property", "value": NULL}},
        {"power": {"type": "Relationship"}},
        {"id": "urn:ngsi-ld:Lamp:2", "colour": "red"},
        {"colour": "red", "size": {"type": "Property"}},
        {"location": {"type": "Property", "value": 1}},
    ):
        await lamp("POST", ATTRS, 400, json=body, error="BadRequestData")
    assert await lamp.see(LAMP_ID) == before


async def test_update(lamp: Any) -> None:
    await lamp("PATCH", ATTRS, 204, json={"id": LAMP_ID, "power": {"value": 7}, "colour": "red"})
    seen = await lamp.see(LAMP_ID)
    assert seen["power"] == {"type": "Property", "value": 7}
    assert seen["colour"]["value"] == "red"
    await lamp("PATCH", ATTRS, 204, json={"level": {"value": NULL, "datasetId": "urn:d:1"}})
    assert levels(await lamp.see(LAMP_ID)) == {None: 0, "urn:d:2": 2}
    nulls = {
        "colour": NULL,
        "power": {"type": "Property", "value": NULL},
        "name": {"type": "LanguageProperty", "languageMap": {"@none": NULL}},
        "isOn": {"type": "Relationship", "object": NULL},
    }
    await lamp("PATCH", ATTRS, 204, json=nulls)
    assert (await lamp.see(LAMP_ID)).keys() == {"id", "type", "level"}
    partly = await lamp("PATCH", ATTRS, 207, json={"size": 5, "scope": "/a", "colour": NULL})
    assert partly.json()["updated"] == [DEFAULT + "size"]
    assert {one["attributeName"] for one in partly.json()["notUpdated"]} == {SCOPE, DEFAULT + "colour"}
    await lamp("POST", ATTRS, 204, json={"scope": "/a"})
    await lamp("PATCH", ATTRS, 204, json={"scope": ["/b", "/c"]})
    assert (await lamp.see(LAMP_ID))["scope"] == ["/b", "/c"]
    await lamp("PATCH", ATTRS, 400, json={"power": None}, error="BadRequestData")
    await lamp("PATCH", ATTRS, 400, json={"id": "urn:ngsi-ld:Lamp:2", "power": 1}, error="BadRequestData")


async def test_partial_update(lamp: Any) -> None:
    before = await lamp.see(LAMP_ID, options="sysAttrs")
    await lamp("PATCH", ATTRS + "/power", 204, json={"value": 6, "note": {"value": "x"}, "unitCode": NULL})
    after = await lamp.see(LAMP_ID, options="sysAttrs")
    assert after["power"]["value"] == 6
    assert "unitCode" not in after["power"]
    assert after["power"]["observedAt"] == "2026-11-22T08:00:00Z"
    assert after["power"]["accuracy"] == before["power"]["accuracy"]
    assert after["power"]["note"]["value"] == "x"
    assert after["power"]["createdAt"] == before["power"]["createdAt"]
    assert after["modifiedAt"] == after["power"]["modifiedAt"] > before["modifiedAt"]
    await lamp("PATCH", ATTRS + "/power", 204, json={"type": "Property", "accuracy": NULL, "observedAt": NULL})
    assert (await lamp.see(LAMP_ID))["power"].keys() == {"type", "value", "note"}
    await lamp("PATCH", ATTRS + "/level", 204, json={"value": 11, "datasetId": "urn:d:1"})
    await lamp("PATCH", ATTRS + "/level", 204, json={"value": 10})
    assert levels(await lamp.see(LAMP_ID)) == {None: 10, "urn:d:1": 11, "urn:d:2": 2}
    await lamp("PATCH", ATTRS + "/level", 204, json={"value": NULL, "datasetId": "urn:d:2"})
    await lamp("PATCH", ATTRS + "/level", 204, json={"value": NULL})
    assert levels(await lamp.see(LAMP_ID)) == {"urn:d:1": 11}
    await lamp("PATCH", ATTRS + "/isOn", 204, json={"object": ["urn:ngsi-ld:Road:2", "urn:ngsi-ld:Road:3"]})
    assert (await lamp.see(LAMP_ID))["isOn"]["object"] == ["urn:ngsi-ld:Road:2", "urn:ngsi-ld:Road:3"]


async def test_partial_update_refusals(lamp: Any) -> None:
    before = await lamp.see(LAMP_ID, options="sysAttrs")
    await lamp("PATCH", ATTRS + "/colour", 404, json={"value": 1}, error="ResourceNotFound")
    await lamp("PATCH", ATTRS + "/level", 404, json={"value": 1, "datasetId": "urn:d:9"}, error="ResourceNotFound")
    for name, body in [
        ("power", {}),
        ("power", {"type": "Relationship", "object": "urn:x:1"}),
        ("power", {"object": "urn:x:1"}),
        ("power", {"value": None}),
        ("power", {"datasetId": NULL, "value": 1}),
        ("isOn", {"value": 1}),
        ("isOn", {"object": "nouri"}),
        ("scope", {"value": "/a"}),
        ("two%20words", {"value": 1}),
        ("value", {"value": 1}),
    ]:
        await lamp("PATCH", f"{ATTRS}/{name}", 400, json=body, error="BadRequestData")
    assert await lamp.see(LAMP_ID, options="sysAttrs") == before


async def test_replace_an_attribute(lamp: Any) -> None:
    before = await lamp.see(LAMP_ID, options="sysAttrs")
    await lamp("PUT", ATTRS + "/power", 204, json={"type": "Property", "value": 9})
    after = await lamp.see(LAMP_ID, options="sysAttrs")
    assert after["power"].keys() == {"type", "value", "createdAt", "modifiedAt"}
    assert after["power"]["createdAt"] == before["power"]["createdAt"]
    await lamp("PUT", ATTRS + "/level", 204, json={"value": 11, "datasetId": "urn:d:1"})
    assert levels(await lamp.see(LAMP_ID)) == {None: 0, "urn:d:1": 11, "urn:d:2": 2}
    await lamp("PUT", ATTRS + "/power", 204, json={"type": "Relationship", "object": "urn:x:1"})
    assert (await lamp.see(LAMP_ID))["power"] == {"type": "Relationship", "object": "urn:x:1"}
    await lamp("PUT", ATTRS + "/colour", 404, json={"value": 1}, error="ResourceNotFound")
    await lamp("PUT", ATTRS + "/level", 404, json={"value": 1, "datasetId": "urn:d:9"}, error="ResourceNotFound")
    for name, body in [
        ("power", {}),
        ("power", {"type": "Property"}),
        ("power", {"type": "Property", "value": None}),
        ("power", {"type": "Property", "value": NULL}),
        ("scope", {"value": "/a"}),
    ]:
        await lamp("PUT", f"{ATTRS}/{name}", 400, json=body, error="BadRequestData")


async def test_delete_an_attribute(lamp: Any) -> None:
    before = await lamp.see(LAMP_ID, options="sysAttrs")
    await lamp("DELETE", ATTRS + "/power", 204)
    assert (await lamp.see(LAMP_ID, options="sysAttrs"))["modifiedAt"] > before["modifiedAt"]
    await lamp("DELETE", ATTRS + "/power", 404, error="ResourceNotFound")
    await lamp("DELETE", ATTRS + "/level", 404, datasetId="urn:d:9", error="ResourceNotFound")
    await lamp("DELETE", ATTRS + "/level", 400, datasetId="nouri", error="BadRequestData")
    await lamp("DELETE", ATTRS + "/level", 204, datasetId="urn:d:1")
    assert levels(await lamp.see(LAMP_ID)) == {None: 0, "urn:d:2": 2}
    await lamp("DELETE", ATTRS + "/level", 204)
    assert levels(await lamp.see(LAMP_ID)) == {"urn:d:2": 2}
    await lamp("DELETE", ATTRS + "/level", 404, error="ResourceNotFound")
    await lamp("DELETE", ATTRS + "/level", 204, deleteAll="true")
    await lamp("DELETE", ATTRS + "/level", 404, deleteAll="true", error="ResourceNotFound")
    await lamp("DELETE", ATTRS + "/scope", 404, error="ResourceNotFound")
    await lamp("POST", ATTRS, 204, json={"scope": "/a"})
    await lamp("DELETE", ATTRS + "/scope", 204)
    await lamp("DELETE", ATTRS + "/two%20words", 400, error="BadRequestData")
    assert (await lamp.see(LAMP_ID)).keys() == {"id", "type", "name", "isOn"}


async def test_what_did_not_change_keeps_its_times(lamp: Any) -> None:
    before = await lamp.see(LAMP_ID, options="sysAttrs")
    await lamp("PATCH", ATTRS + "/power", 204, json={"value": 6})
    after = await lamp.see(LAMP_ID, options="sysAttrs")
    assert {k: v for k, v in after.items() if k not in ("power", "modifiedAt")} == {
        k: v for k, v in before.items() if k not in ("power", "modifiedAt")
    }
