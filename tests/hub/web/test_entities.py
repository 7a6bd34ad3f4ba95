"""The provision and consumption of single entities, as a client of the standard meets them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.anyio

LD = {"Content-Type": "application/ld+json"}
CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"
BASE = "/ngsi-ld/v1"
ERRORS = "https://uri.etsi.org/ngsi-ld/errors/"


def vehicle(number: int = 1, **attributes: Any) -> dict[str, Any]:
    return {
        "id": f"urn:ngsi-ld:Vehicle:{number}",
        "type": "Vehicle",
        "speed": {"type": "Property", "value": 50, "unitCode": "KMH", "observedAt": "2026-11-22T08:00:00Z"},
        "isParked": {"type": "Relationship", "object": "urn:ngsi-ld:OffStreetParking:1"},
        **attributes,
    }


async def made(web: httpx.AsyncClient, *entities: dict[str, Any]) -> None:
    for entity in entities:
        answer = await web.post(f"{BASE}/entities", json=entity)
        assert answer.status_code == 201, answer.text


async def test_create_then_retrieve(web: httpx.AsyncClient) -> None:
    answer = await web.post(f"{BASE}/entities", json=vehicle())
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{BASE}/entities/urn:ngsi-ld:Vehicle:1"
    assert answer.content == b""
    got = await web.get(f"{BASE}/entities/urn:ngsi-ld:Vehicle:1")
    assert got.status_code == 200
    assert got.json() == vehicle()
    assert got.headers["content-type"] == "application/json"
    assert got.headers["link"] == (f'<{CORE}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"')


async def test_second_create_is_a_conflict(web: httpx.AsyncClient) -> None:
    await made(web, vehicle())
    again = await web.post(f"{BASE}/entities", json=vehicle())
    assert again.status_code == 409
    assert again.json()["type"] == ERRORS + "AlreadyExists"


async def test_formats_and_system_attributes(web: httpx.AsyncClient) -> None:
    await made(web, vehicle())
    url = f"{BASE}/entities/urn:ngsi-ld:Vehicle:1"
    simple = (await web.get(url, params={"format": "simplified"})).json()
    assert simple["speed"] == 50
    assert (await web.get(url, params={"options": "keyValues"})).json() == simple
    full = (await web.get(url, params={"options": "sysAttrs"})).json()
    assert full["createdAt"] == full["modifiedAt"] == full["speed"]["createdAt"]
    ld = await web.get(url, headers={"Accept": "application/ld+json"})
    assert ld.json()["@context"] == CORE
    assert "link" not in ld.headers
    assert (await web.get(url, params={"pick": "speed"})).json().keys() == {"speed"}
    assert "speed" not in (await web.get(url, params={"omit": "speed"})).json()


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "status"),
    [
        ("POST", "/entities", {"Content-Type": "text/plain"}, b"{}", 415),
        ("POST", "/entities", {"Content-Type": "application/json"}, b"{", 400),
        ("POST", "/entities", {"Content-Type": "application/json"}, b"", 400),
        ("POST", "/entities", {"Content-Type": "application/json"}, b"{}", 400),
        ("GET", "/entities/urn:x:1", {"Accept": "text/html"}, None, 406),
        ("GET", "/entities/notauri", {}, None, 400),
        ("GET", "/entities/urn:ngsi-ld:Nobody:1", {}, None, 404),
        ("GET", "/entities/urn:ngsi-ld:Nobody:1?nonsense=1", {}, None, 400),
        ("GET", "/entities", {}, None, 400),
        ("GET", "/entities?type=Vehicle&limit=0", {}, None, 400),
        ("GET", "/entities?type=Vehicle&limit=-1", {}, None, 400),
        ("GET", "/entities?type=Vehicle&limit=100000", {}, None, 403),
        ("PUT", "/entities", {"Content-Type": "application/json"}, b"{}", 405),
        ("DELETE", "/entities/urn:ngsi-ld:Nobody:1", {}, None, 404),
        ("DELETE", "/entities", {}, None, 400),
        ("GET", "/nothing", {}, None, 404),
        ("GET", "/entities?type=Vehicle", {"NGSILD-Tenant": "nobody"}, None, 404),
    ],
)
async def test_refusals(
    web: httpx.AsyncClient, method: str, path: str, headers: dict[str, str], content: bytes | None, status: int
) -> None:
    answer = await web.request(method, BASE + path, headers=headers, content=content)
    assert answer.status_code == status, answer.text
    if status == 405:
        assert "POST" in answer.headers["allow"]
    elif status in (400, 403) or (status == 404 and path != "/nothing"):
        assert answer.json()["type"].startswith(ERRORS)
        assert answer.json()["status"] == status


async def test_updates_keep_what_they_do_not_name(web: httpx.AsyncClient) -> None:
    await made(web, vehicle())
    url = f"{BASE}/entities/urn:ngsi-ld:Vehicle:1"
    assert (await web.patch(f"{url}/attrs", json={"speed": {"type": "Property", "value": 60}})).status_code == 204
    assert (await web.get(url)).json()["speed"] == {"type": "Property", "value": 60}
    partial = await web.patch(f"{url}/attrs/speed", json={"value": 61, "unitCode": "KMH"})
    assert partial.status_code == 204
    assert (await web.get(url)).json()["speed"]["unitCode"] == "KMH"
    merged = await web.patch(url, json={"speed": {"value": "urn:ngsi-ld:null"}, "brand": {"value": "H"}})
    assert merged.status_code == 204, merged.text
    body = (await web.get(url)).json()
    assert "speed" not in body
    assert body["brand"]["value"] == "H"
    kept = await web.post(f"{url}/attrs?options=noOverwrite", json={"brand": {"type": "Property", "value": "K"}})
    assert kept.status_code == 207
    assert (
        await web.put(url, json={"type": "Vehicle", "colour": {"type": "Property", "value": "red"}})
    ).status_code == 204
    assert (await web.get(url)).json().keys() == {"id", "type", "colour"}
    assert (await web.delete(f"{url}/attrs/colour")).status_code == 204
    assert (await web.delete(f"{url}/attrs/colour")).status_code == 404
    gone = await web.delete(url)
    assert gone.status_code == 204
    assert "content-length" not in gone.headers
    assert (await web.get(url)).status_code == 404


async def test_queries_page_count_and_filter(web: httpx.AsyncClient) -> None:
    for n in range(25):
        place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [127.0 + n / 1000, 36.5]}}
        await made(web, vehicle(n, location=place, speed={"type": "Property", "value": n}))
    first = await web.get(f"{BASE}/entities", params={"type": "Vehicle", "limit": 10, "count": "true"})
    assert first.headers["ngsild-results-count"] == "25"
    assert len(first.json()) == 10
    assert 'rel="next"' in first.headers["link"]
    last = await web.get(f"{BASE}/entities", params={"type": "Vehicle", "limit": 10, "offset": 20})
    assert [e["id"] for e in last.json()] == [f"urn:ngsi-ld:Vehicle:{n}" for n in range(20, 25)]
    assert 'rel="prev"' in last.headers["link"]
    assert 'rel="next"' not in last.headers["link"]
    fast = await web.get(f"{BASE}/entities", params={"type": "Vehicle", "q": "speed>=20;speed<23"})
    assert [e["speed"]["value"] for e in fast.json()] == [20, 21, 22]
    near = await web.get(
        f"{BASE}/entities",
        params={
            "type": "Vehicle",
            "georel": "near;maxDistance==200",
            "geometry": "Point",
            "coordinates": "[127.0,36.5]",
        },
    )
    assert [e["id"] for e in near.json()] == [f"urn:ngsi-ld:Vehicle:{n}" for n in range(3)]
    geo = await web.get(
        f"{BASE}/entities", params={"type": "Vehicle", "limit": 2}, headers={"Accept": "application/geo+json"}
    )
    assert geo.json()["type"] == "FeatureCollection"
    assert geo.json()["features"][0]["geometry"]["type"] == "Point"
    posted = await web.post(
        f"{BASE}/entityOperations/query", json={"type": "Query", "entities": [{"type": "Vehicle"}], "q": "speed==7"}
    )
    assert [e["id"] for e in posted.json()] == ["urn:ngsi-ld:Vehicle:7"]
    assert (await web.get(f"{BASE}/entities", params={"type": "Nothing"})).json() == []


async def test_batches_report_each_failure(web: httpx.AsyncClient) -> None:
    bad = {"id": "nouri", "type": "Vehicle"}
    mixed = await web.post(f"{BASE}/entityOperations/create", json=[vehicle(1), bad, vehicle(1), vehicle(2)])
    assert mixed.status_code == 207
    assert mixed.json()["success"] == ["urn:ngsi-ld:Vehicle:1", "urn:ngsi-ld:Vehicle:2"]
    assert [e["entityId"] for e in mixed.json()["errors"]] == ["nouri", "urn:ngsi-ld:Vehicle:1"]
    upserted = await web.post(f"{BASE}/entityOperations/upsert", json=[vehicle(2), vehicle(3)])
    assert upserted.status_code == 201
    assert upserted.json() == ["urn:ngsi-ld:Vehicle:3"]
    assert (await web.post(f"{BASE}/entityOperations/upsert", json=[vehicle(2)])).status_code == 204
    assert (await web.post(f"{BASE}/entityOperations/update", json=[vehicle(9)])).status_code == 207
    deleted = await web.post(f"{BASE}/entityOperations/delete", json=[f"urn:ngsi-ld:Vehicle:{n}" for n in (1, 2, 3)])
    assert deleted.status_code == 204
    assert (await web.post(f"{BASE}/entityOperations/create", json=[])).status_code == 400


async def test_every_write_leaves_history(web: httpx.AsyncClient) -> None:
    await made(web, vehicle())
    url = f"{BASE}/entities/urn:ngsi-ld:Vehicle:1/attrs"
    for minute in range(1, 6):
        observed = f"2026-11-22T08:{minute:02}:00Z"
        change = {"speed": {"type": "Property", "value": 50.0 + minute, "unitCode": "KMH", "observedAt": observed}}
        assert (await web.patch(url, json=change)).status_code == 204
    history = f"{BASE}/temporal/entities/urn:ngsi-ld:Vehicle:1"
    whole = (await web.get(history)).json()
    assert [i["value"] for i in whole["speed"]] == [50, 51.0, 52.0, 53.0, 54.0, 55.0]
    assert whole["speed"][1]["observedAt"] == "2026-11-22T08:01:00Z"
    assert whole["speed"][1]["unitCode"] == "KMH"
    newest = (await web.get(history, params={"lastN": 2, "attrs": "speed", "format": "temporalValues"})).json()
    assert [pair[0] for pair in newest["speed"]["values"]] == [54.0, 55.0]
    between = {"timerel": "between", "timeAt": "2026-11-22T08:01:00Z", "endTimeAt": "2026-11-22T08:03:00Z"}
    assert [i["value"] for i in (await web.get(history, params=between)).json()["speed"]] == [51.0, 52.0]
    aggregate = {"format": "aggregatedValues", "aggrMethods": "max,avg", **between}
    assert (await web.get(history, params=aggregate)).json()["speed"]["max"][0][0] == 52.0
    found = await web.get(f"{BASE}/temporal/entities", params={"type": "Vehicle", **between})
    assert [e["id"] for e in found.json()] == ["urn:ngsi-ld:Vehicle:1"]
    assert (await web.delete(f"{BASE}/entities/urn:ngsi-ld:Vehicle:1")).status_code == 204
    after = (await web.get(history, params={"options": "sysAttrs"})).json()
    assert after["speed"][-1]["deletedAt"]


async def test_context_rules(web: httpx.AsyncClient) -> None:
    entity = vehicle() | {
        "@context": [{"Vehicle": "https://example.org/Vehicle", "speed": "https://example.org/speed"}]
    }
    assert (await web.post(f"{BASE}/entities", json=entity)).status_code == 400
    assert (await web.post(f"{BASE}/entities", json=entity, headers=LD)).status_code == 201
    got = (await web.get(f"{BASE}/entities/urn:ngsi-ld:Vehicle:1")).json()
    assert got["type"] == "https://example.org/Vehicle"
    assert "https://example.org/speed" in got
    bare = vehicle(2)
    assert (await web.post(f"{BASE}/entities", json=bare, headers=LD)).status_code == 400
    link = {"Link": '<http://127.0.0.1:1/none.jsonld>; rel="http://www.w3.org/ns/json-ld#context"'}
    away = await web.post(f"{BASE}/entities", json=bare, headers=link)
    assert away.status_code == 504
    assert away.json()["type"] == ERRORS + "LdContextNotAvailable"


async def test_tenants_are_apart(web: httpx.AsyncClient) -> None:
    osong = {"NGSILD-Tenant": "osong"}
    answer = await web.post(f"{BASE}/entities", json=vehicle(), headers=osong)
    assert answer.status_code == 201
    assert answer.headers["ngsild-tenant"] == "osong"
    assert (await web.get(f"{BASE}/entities/urn:ngsi-ld:Vehicle:1")).status_code == 404
    assert (await web.get(f"{BASE}/entities/urn:ngsi-ld:Vehicle:1", headers=osong)).status_code == 200


async def test_what_expires_is_gone_at_once(web: httpx.AsyncClient) -> None:
    from datetime import timedelta

    import anyio

    from sejong.hub.ngsi.instants import format_instant
    from sejong.kernel.clock import SystemClock

    soon = format_instant(SystemClock().now() + timedelta(seconds=2))
    await made(web, vehicle(expiresAt=soon))
    url = f"{BASE}/entities/urn:ngsi-ld:Vehicle:1"
    assert (await web.get(url)).status_code == 200
    await anyio.sleep(2.05)
    assert (await web.get(url)).status_code == 404
    assert (await web.get(f"{BASE}/entities", params={"type": "Vehicle"})).json() == []
    await made(web, vehicle())
    assert (await web.get(url)).status_code == 200


async def test_discovery(web: httpx.AsyncClient) -> None:
    await made(web, vehicle(1), {"id": "urn:ngsi-ld:Shop:1", "type": ["Shop", "Cafe"], "seats": {"value": 4}})
    assert (await web.get(f"{BASE}/types")).json()["typeList"] == ["Cafe", "Shop", "Vehicle"]
    info = (await web.get(f"{BASE}/types/Vehicle")).json()
    assert info["entityCount"] == 1
    assert {d["attributeName"] for d in info["attributeDetails"]} == {"speed", "isParked"}
    assert (await web.get(f"{BASE}/attributes/seats")).json()["typeNames"] == ["Cafe", "Shop"]
    assert (await web.get(f"{BASE}/entities", params={"type": "Cafe"})).json()[0]["id"] == "urn:ngsi-ld:Shop:1"
    assert (await web.get(f"{BASE}/types/Nothing")).status_code == 404


async def test_head_options_and_slashes(web: httpx.AsyncClient) -> None:
    await made(web, vehicle())
    head = await web.head(f"{BASE}/entities/urn:ngsi-ld:Vehicle:1/")
    assert head.status_code == 200
    options = await web.options(f"{BASE}/entities/")
    assert options.status_code == 204
    assert "GET" in options.headers["allow"]
