"""Geoqueries and purges through HTTP. Source: CIM 009 clauses 4.10, 5.6.21, 5.7.2."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio


def point(lon: float, lat: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [lon, lat]}


def square(west: float, south: float, size: float) -> dict[str, Any]:
    east, north = west + size, south + size
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def spot(number: int, **attributes: Any) -> dict[str, Any]:
    return {"id": f"urn:ngsi-ld:Spot:{number}", "type": "Spot", **attributes}


@pytest.fixture
async def spots(ask: Any) -> Any:
    second = {"value": point(127.5, 36.5), "datasetId": "urn:d:1"}
    await ask.make(
        spot(1, location=point(127.0, 36.5)),
        spot(2, location=point(127.001, 36.5)),
        spot(3, location=point(127.1, 36.5)),
        spot(4, location=square(127.2, 36.4, 0.1)),
        spot(5, location=[{"value": point(128.5, 36.5)}, second]),
        spot(6, location=[second]),
        spot(7, entrance=point(127.0, 36.5)),
        spot(8, location={"type": "LineString", "coordinates": [[126.9, 36.5], [127.15, 36.5]]}),
        spot(9),
    )
    return ask


NEAR_1 = {"geometry": "Point", "coordinates": "[127.0,36.5]"}
PLACES = [
    ({"georel": "near;maxDistance==50", **NEAR_1}, "18"),
    ({"georel": "near;maxDistance==200", **NEAR_1}, "128"),
    ({"georel": "near;minDistance==200", **NEAR_1}, "3456"),
    ({"georel": "near;maxDistance==50", **NEAR_1, "geoproperty": "entrance"}, "7"),
    ({"georel": "near;maxDistance==10", "geometry": "Point", "coordinates": "[127.5,36.5]"}, "56"),
    ({"georel": "near;maxDistance==10", "geometry": "Point", "coordinates": "[128.5,36.5]"}, "5"),
    ({"georel": "within", "geometry": "Polygon", "coordinates": str(square(126.99, 36.4, 0.2)["coordinates"])}, "123"),
    ({"georel": "within", "geometry": "Polygon", "coordinates": str(square(127.45, 36.4, 0.2)["coordinates"])}, "56"),
    (
        {"georel": "intersects", "geometry": "Polygon", "coordinates": str(square(126.99, 36.4, 0.25)["coordinates"])},
        "12348",
    ),
    ({"georel": "contains", "geometry": "Point", "coordinates": "[127.25,36.45]"}, "4"),
    (
        {"georel": "disjoint", "geometry": "Polygon", "coordinates": str(square(126.8, 36.3, 0.8)["coordinates"])},
        "5",
    ),
    ({"georel": "equals", "geometry": "Point", "coordinates": "[127.0,36.5]"}, "1"),
    (
        {"georel": "overlaps", "geometry": "Polygon", "coordinates": str(square(127.25, 36.45, 0.1)["coordinates"])},
        "4",
    ),
    ({"georel": "intersects", "geometry": "LineString", "coordinates": "[[127.1,36.4],[127.1,36.6]]"}, "38"),
    (
        {
            "georel": "within",
            "geometry": "MultiPolygon",
            "coordinates": str([square(127.0, 36.4, 0.11)["coordinates"]]),
        },
        "23",
    ),
]


async def test_georels(spots: Any) -> None:
    for params, found in PLACES:
        assert await spots.ids(**params) == list(found), params
        assert await spots.ids(type="Spot", **params) == list(found), params
        counted = await spots("GET", "/entities", 200, count="true", limit="1", **params)
        assert counted.headers["ngsild-results-count"] == str(len(found)), params


async def test_geo_with_other_conditions(spots: Any) -> None:
    near = {"georel": "near;maxDistance==200", **NEAR_1}
    assert await spots.ids(type="Tree", **near) == []
    assert await spots.ids(id="urn:ngsi-ld:Spot:2", **near) == ["2"]
    assert await spots.ids(q="entrance", **near) == []


async def test_broken_geoqueries(ask: Any) -> None:
    for params in (
        {"georel": "near;maxDistance==50"},
        {"georel": "near;maxDistance==50", "geometry": "Point"},
        {"geometry": "Point", "coordinates": "[1,2]"},
        {"coordinates": "[1,2]"},
        {"geoproperty": "location"},
        {"georel": "near", **NEAR_1},
        {"georel": "near;maxDistance==0", **NEAR_1},
        {"georel": "near;maxDistance==-5", **NEAR_1},
        {"georel": "near;maxDistance=50", **NEAR_1},
        {"georel": "near;maxDistance==abc", **NEAR_1},
        {"georel": "inside", **NEAR_1},
        {"georel": "within", "geometry": "Circle", "coordinates": "[1,2]"},
        {"georel": "within", "geometry": "GeometryCollection", "coordinates": "[]"},
        {"georel": "within", "geometry": "Polygon", "coordinates": "[[[0,0],[1,0],[1,1],[0,1]]]"},
        {"georel": "within", "geometry": "Polygon", "coordinates": "[[0,0],[1,0]]"},
        {"georel": "within", "geometry": "Polygon", "coordinates": "nonsense"},
        {"georel": "near;maxDistance==50", "geometry": "Point", "coordinates": "[200,2]"},
        {"georel": "near;maxDistance==50", **NEAR_1, "geoproperty": "two words"},
    ):
        await ask("GET", "/entities", 400, type="Spot", error="BadRequestData", **params)


async def test_a_polygon_that_crosses_itself_is_accepted(spots: Any) -> None:
    bow = "[[[126.9,36.4],[127.1,36.6],[127.1,36.4],[126.9,36.6],[126.9,36.4]]]"
    await spots("GET", "/entities", 200, georel="within", geometry="Polygon", coordinates=bow)


async def test_places_follow_their_entities(spots: Any) -> None:
    near = {"georel": "near;maxDistance==50", "geometry": "Point", "coordinates": "[126.5,36.0]"}
    assert await spots.ids(**near) == []
    url = "/entities/urn:ngsi-ld:Spot:1"
    await spots("PATCH", url + "/attrs/location", 204, json={"value": point(126.5, 36.0)})
    assert await spots.ids(**near) == ["1"]
    await spots("POST", "/entities/urn:ngsi-ld:Spot:9/attrs", 204, json={"location": point(126.5, 36.0)})
    assert await spots.ids(**near) == ["1", "9"]
    await spots("DELETE", url + "/attrs/location", 204)
    await spots("DELETE", "/entities/urn:ngsi-ld:Spot:9", 204)
    assert await spots.ids(**near) == []


# --- purge --------------------------------------------------------------------------------------------------------


async def test_purge_entities(spots: Any) -> None:
    for params in ({}, {"id": "urn:ngsi-ld:Spot:1"}, {"idPattern": "."}, {"q": "createdAt>2000-01-01T00:00:00Z"}):
        await spots("DELETE", "/entities", 400, error="BadRequestData", **params)
    for params in ({"attrs": "location"}, {"pick": "location"}, {"count": "true"}):
        await spots("DELETE", "/entities", 400, type="Spot", error="InvalidRequest", **params)
    await spots("DELETE", "/entities", 400, type="Spot", csf="a==", error="BadRequestData")
    await spots("DELETE", "/entities", 204, type="Spot", georel="near;maxDistance==50", **NEAR_1)
    assert await spots.ids(type="Spot") == list("2345679")
    await spots("DELETE", "/entities", 204, type="Spot", id="urn:ngsi-ld:Spot:2,urn:ngsi-ld:Spot:3")
    await spots("DELETE", "/entities", 204, q="entrance")
    await spots("DELETE", "/entities", 204, type="Tree")
    assert await spots.ids(type="Spot") == list("4569")
    history = (await spots("GET", "/temporal/entities/urn:ngsi-ld:Spot:7", 200, options="sysAttrs")).json()
    assert history["entrance"][-1]["deletedAt"]
    await spots("DELETE", "/entities", 204, local="true")
    assert await spots.ids(local="true") == []


async def test_purge_attributes(ask: Any) -> None:
    parts = {"a": 1, "b": [{"value": 1}, {"value": 2, "datasetId": "urn:d:1"}], "c": 3, "scope": "/x"}
    await ask.make(spot(1, **parts), spot(2, **parts), {"id": "urn:ngsi-ld:Tree:3", "type": "Tree", **parts})
    await ask("DELETE", "/entities", 204, type="Spot", id="urn:ngsi-ld:Spot:1", drop="b,scope")
    assert (await ask.see("urn:ngsi-ld:Spot:1")).keys() == {"id", "type", "a", "c"}
    await ask("DELETE", "/entities", 204, type="Spot", keep="b,nothing")
    assert (await ask.see("urn:ngsi-ld:Spot:1")).keys() == {"id", "type"}
    assert (await ask.see("urn:ngsi-ld:Spot:2")).keys() == {"id", "type", "b"}
    assert (await ask.see("urn:ngsi-ld:Tree:3")).keys() == {"id", "type", "a", "b", "c", "scope"}
    for params in ({"keep": "a", "drop": "b"}, {"keep": "a{b}"}, {"drop": ""}, {"drop": "a,,b"}, {"q": "a{b}==1"}):
        await ask("DELETE", "/entities", 400, type="Spot", error="BadRequestData", **params)
    await ask("DELETE", "/entities", 204, type="Tree", scopeQ="/x", q="a==1", drop="a")
    assert "a" not in await ask.see("urn:ngsi-ld:Tree:3")


async def test_purge_of_more_than_a_page(ask: Any) -> None:
    await ask("POST", "/entityOperations/create", 201, json=[spot(n, a=n) for n in range(2500)])
    await ask("DELETE", "/entities", 204, q="a>=100")
    counted = await ask("GET", "/entities", 200, type="Spot", count="true", limit="0")
    assert counted.headers["ngsild-results-count"] == "100"
