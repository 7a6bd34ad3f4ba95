"""How one entity is shown: formats, projection, languages, datasets, GeoJSON. Source: CIM 009 4.5, 4.15, 4.21."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio

ID = "urn:ngsi-ld:Shop:1"
URL = f"/entities/{ID}"
POINT = {"type": "Point", "coordinates": [127.28, 36.48]}
LINE = {"type": "LineString", "coordinates": [[127.2, 36.4], [127.3, 36.5]]}
SHOP = {
    "id": ID,
    "type": ["Shop", "Cafe"],
    "scope": ["/Sejong/Nasung"],
    "name": {"type": "LanguageProperty", "languageMap": {"ko": "가게", "en": "shop", "fr-CH": ["magasin", "boutique"]}},
    "seats": {"type": "Property", "value": 4, "unitCode": "C62", "counted": {"type": "Property", "value": True}},
    "rating": [
        {"type": "Property", "value": 3},
        {"type": "Property", "value": 4, "datasetId": "urn:d:1"},
        {"type": "Property", "value": 5, "datasetId": "urn:d:2"},
    ],
    "owner": {"type": "Relationship", "object": "urn:ngsi-ld:Person:1"},
    "state": {"type": "VocabProperty", "vocab": "open"},
    "raw": {"type": "JsonProperty", "json": {"a": 1}},
    "hours": {"type": "ListProperty", "valueList": [9, 18]},
    "wires": {"type": "ListRelationship", "objectList": [{"object": "urn:x:1"}]},
    "location": {"type": "GeoProperty", "value": POINT},
    "outline": {"type": "GeoProperty", "value": LINE},
}
GEO = {"Accept": "application/geo+json"}


@pytest.fixture
async def shop(ask: Any) -> Any:
    await ask.make(SHOP)
    return ask


async def test_simplified(shop: Any) -> None:
    expected = {
        "id": ID,
        "type": ["Shop", "Cafe"],
        "scope": "/Sejong/Nasung",
        "name": {"languageMap": SHOP["name"]["languageMap"]},
        "seats": 4,
        "rating": {"dataset": {"@none": 3, "urn:d:1": 4, "urn:d:2": 5}},
        "owner": "urn:ngsi-ld:Person:1",
        "state": {"vocab": "open"},
        "raw": {"json": {"a": 1}},
        "hours": [9, 18],
        "wires": ["urn:x:1"],
        "location": POINT,
        "outline": LINE,
    }
    for params in (
        {"format": "simplified"},
        {"options": "keyValues"},
        {"options": "simplified"},
        {"format": "keyValues"},
    ):
        assert await shop.see(ID, **params) == expected
    assert await shop.see(ID, format="simplified", options="normalized") == expected
    timed = await shop.see(ID, format="simplified", options="sysAttrs")
    assert timed.keys() == expected.keys() | {"createdAt", "modifiedAt"}


async def test_concise(shop: Any) -> None:
    seen = await shop.see(ID, format="concise")
    assert seen["seats"] == {"value": 4, "unitCode": "C62", "counted": True}
    assert seen["rating"] == [{"value": 3}, {"value": 4, "datasetId": "urn:d:1"}, {"value": 5, "datasetId": "urn:d:2"}]
    assert seen["owner"] == {"object": "urn:ngsi-ld:Person:1"}
    assert seen["location"] == POINT
    assert seen["name"] == {"languageMap": SHOP["name"]["languageMap"]}
    assert seen["hours"] == {"valueList": [9, 18]}
    timed = await shop.see(ID, options="concise,sysAttrs")
    assert timed["owner"].keys() == {"object", "createdAt", "modifiedAt"}


async def test_system_attributes_appear_only_on_request(shop: Any) -> None:
    await shop("POST", f"{URL}/attrs", 204, json={"seats": {"value": 5, "expiresAt": "2099-01-01T00:00:00Z", "by": 1}})
    await shop("PATCH", URL, 204, json={"expiresAt": "2098-01-01T00:00:00Z"})
    for params in ({}, {"format": "concise"}, {"format": "simplified"}):
        for accept in ("application/json", "application/ld+json", "application/geo+json"):
            for path in (URL, "/entities?type=Shop", "/temporal" + URL):
                if "temporal" in path and (accept == "application/geo+json" or params.get("format") == "simplified"):
                    continue
                found = await shop("GET", path, 200, headers={"Accept": accept}, **params)
                for word in ("createdAt", "modifiedAt", "expiresAt", "deletedAt"):
                    assert word not in found.text, (path, params, accept)
    full = await shop.see(ID, options="sysAttrs")
    assert full["expiresAt"] == "2098-01-01T00:00:00Z"
    assert full["seats"]["expiresAt"] == "2099-01-01T00:00:00Z"
    assert full["seats"]["by"].keys() == {"type", "value", "createdAt", "modifiedAt"}
    assert all(one["createdAt"].endswith("Z") for one in full["rating"])


async def test_pick_and_omit_are_literal(shop: Any) -> None:
    assert await shop.see(ID, pick="seats", format="simplified") == {"seats": 4}
    assert await shop.see(ID, pick="id,type") == {"id": ID, "type": ["Shop", "Cafe"]}
    assert await shop.see(ID, pick="id|scope") == {"id": ID, "scope": "/Sejong/Nasung"}
    assert "id" not in await shop.see(ID, omit="id")
    few = await shop.see(ID, omit="name,rating,owner,state,raw,hours,wires,location,outline,scope", format="simplified")
    assert few == {"id": ID, "type": ["Shop", "Cafe"], "seats": 4}
    await shop("GET", URL, 404, pick="nothing", error="ResourceNotFound")
    await shop("GET", URL, 200, pick="nothing,seats")
    assert await shop.find(type="Shop", pick="nothing") == []
    for params in (
        {"pick": "seats", "omit": "seats"},
        {"pick": "seats", "attrs": "seats"},
        {"omit": "seats", "attrs": "seats"},
        {"pick": ""},
        {"pick": "seats,,owner"},
        {"pick": ",seats"},
        {"pick": "seats;owner"},
        {"pick": "owner{name}"},
        {"pick": "owner{name"},
        {"omit": "two words"},
        {"attrs": "seats,"},
    ):
        await shop("GET", URL, 400, error="BadRequestData", **params)
        await shop("GET", "/entities", 400, error="BadRequestData", type="Shop", **params)


async def test_attrs_also_chooses(shop: Any) -> None:
    seen = await shop.see(ID, attrs="seats,nothing")
    assert seen == {"id": ID, "type": ["Shop", "Cafe"], "scope": "/Sejong/Nasung", "seats": SHOP["seats"]}
    await shop("GET", URL, 404, attrs="nothing", error="ResourceNotFound")
    await shop.make({"id": "urn:ngsi-ld:Shop:2", "type": "Shop", "size": 5})
    assert [one["id"] for one in await shop.find(type="Shop", attrs="size")] == ["urn:ngsi-ld:Shop:2"]
    assert len(await shop.find(attrs="size,seats")) == 2
    await shop("GET", "/entities", 400, attrs="createdAt", error="BadRequestData")


async def test_type_filter(shop: Any) -> None:
    for selector in ("Shop", "Cafe", "Tree|Cafe", "(Shop;Cafe)", "*"):
        await shop("GET", URL, 200, type=selector)
    for selector in ("Tree", "(Shop;Tree)"):
        await shop("GET", URL, 404, type=selector, error="ResourceNotFound")
    await shop("GET", URL, 400, type="(Shop", error="BadRequestData")


async def test_datasets(shop: Any) -> None:
    one = await shop.see(ID, datasetId="urn:d:1")
    assert one == {
        "id": ID,
        "type": ["Shop", "Cafe"],
        "scope": "/Sejong/Nasung",
        "rating": {"type": "Property", "value": 4, "datasetId": "urn:d:1"},
    }
    two = await shop.see(ID, datasetId="urn:d:2,@none", format="simplified")
    assert two["rating"] == {"dataset": {"@none": 3, "urn:d:2": 5}}
    assert two["seats"] == 4
    none = await shop.see(ID, datasetId="@none")
    assert none["rating"] == {"type": "Property", "value": 3}
    assert (await shop.find(type="Shop", datasetId="urn:d:9"))[0].keys() == {"id", "type", "scope"}
    await shop("GET", URL, 400, datasetId="nouri", error="BadRequestData")


@pytest.mark.parametrize(
    ("lang", "value", "tag"),
    [
        ("en", "shop", "en"),
        ("fr", ["magasin", "boutique"], "fr-CH"),
        ("en-GB", "shop", "en"),
        ("de,ko;q=0.5,en;q=0.9", "shop", "en"),
        ("KO", "가게", "ko"),
    ],
)
async def test_languages(shop: Any, lang: str, value: Any, tag: str) -> None:
    seen = await shop.see(ID, lang=lang)
    assert seen["name"] == {"type": "Property", "value": value, "lang": tag}
    assert seen["seats"] == SHOP["seats"]
    assert (await shop.see(ID, lang=lang, format="simplified"))["name"] == value
    assert (await shop.find(type="Shop", lang=lang))[0]["name"]["lang"] == tag


async def test_no_language_fits(shop: Any) -> None:
    assert (await shop.see(ID, lang="ja"))["name"]["lang"] in ("ko", "en", "fr-CH")
    await shop("PATCH", URL, 204, json={"name": {"languageMap": {"@none": "x"}}})
    assert (await shop.see(ID, lang="ja"))["name"] == {"type": "Property", "value": "x", "lang": "@none"}


async def test_geojson(shop: Any) -> None:
    feature = (await shop("GET", URL, 200, headers=GEO)).json()
    assert feature.keys() == {"id", "type", "geometry", "properties", "@context"}
    assert (feature["id"], feature["type"], feature["geometry"]) == (ID, "Feature", POINT)
    assert feature["properties"] == {key: value for key, value in SHOP.items() if key != "id"} | {
        "scope": "/Sejong/Nasung"
    }
    other = (await shop("GET", URL, 200, headers=GEO, geometryProperty="outline", format="simplified")).json()
    assert other["geometry"] == LINE
    assert other["properties"]["seats"] == 4
    assert (await shop("GET", URL, 200, headers=GEO, geometryProperty="seats")).json()["geometry"] is None
    assert (await shop("GET", URL, 200, headers=GEO, geometryProperty="nothing")).json()["geometry"] is None
    plain = await shop("GET", URL, 200, headers={**GEO, "Prefer": "body=json"})
    assert "@context" not in plain.json()
    assert "json-ld#context" in plain.headers["link"]
    found = (await shop("GET", "/entities", 200, headers=GEO, type="Shop")).json()
    assert found.keys() == {"type", "features", "@context"}
    assert [f["id"] for f in found["features"]] == [ID]
    assert (await shop("GET", "/entities", 200, headers=GEO, type="Tree")).json()["features"] == []
    await shop("GET", URL, 400, geometryProperty="location", error="BadRequestData")
    picked = (await shop("GET", URL, 200, headers=GEO, pick="id,seats")).json()
    assert picked["properties"].keys() == {"seats"}


async def test_older_versions(shop: Any) -> None:
    older = await shop("GET", URL, 203, headers={"Prefer": "ngsi-ld=1.5"})
    assert older.headers["preference-applied"] == "ngsi-ld=1.5"
    seen = older.json()
    assert seen["state"] == {"type": "Property", "value": "open"}
    assert seen["hours"] == {"type": "Property", "value": [9, 18]}
    assert seen["wires"]["type"] == "Relationship"
    assert seen["name"] == SHOP["name"]
    assert (await shop("GET", "/entities?type=Shop", 203, headers={"Prefer": "ngsi-ld=1.5"})).json() == [seen]
    geo = await shop("GET", URL, 203, headers={**GEO, "Prefer": "ngsi-ld=1.5"})
    assert geo.json()["properties"]["state"] == {"type": "Property", "value": "open"}
    await shop("GET", URL, 200, headers={"Prefer": "ngsi-ld=1.9"})
    await shop("GET", URL, 400, headers={"Prefer": "ngsi-ld=nonsense"}, error="BadRequestData")
    await shop("GET", URL, 200, headers={"Prefer": "respond-async, wait=5"})


async def test_what_comes_later_is_said(shop: Any) -> None:
    await shop("GET", "/entities", 400, type="Shop", csf="a==", error="BadRequestData")
    await shop("GET", "/entities", 200, type="Shop", splitEntities="true", csf="a==1")
    await shop("GET", "/entities", 200, type="Shop", splitEntities="false")
