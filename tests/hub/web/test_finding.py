"""Which entities a query finds: ids, types, q, scopes, pages. Source: CIM 009 clauses 4.9, 4.17, 4.19, 5.5.9, 5.7.2."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytestmark = pytest.mark.anyio


def car(number: int, **attributes: Any) -> dict[str, Any]:
    return {"id": f"urn:ngsi-ld:Car:{number}", "type": "Car", **attributes}


@pytest.fixture
async def cars(ask: Any) -> Any:
    await ask.make(
        car(1, speed=50, brand="Kia", scope="/Sejong/Nasung", isIn={"object": "urn:ngsi-ld:Road:1"}),
        car(2, speed=60.5, brand="Hyundai", scope=["/Sejong/Dodam", "/Taxi"], tags=["red", "old"]),
        car(3, speed="fast", brand={"value": "Kia", "by": "x"}, name={"languageMap": {"ko": "차", "en": "car"}}),
        car(4, speed=[40, 50], since={"value": "2026-11-22T08:00:00Z", "observedAt": "2026-11-22T09:00:00Z"}),
        car(5, box={"value": {"w": 5, "deep": {"h": [1, 2]}}}, flag=True, scope="/Sejong"),
        car(6, speed=[{"value": 10}, {"value": 90, "datasetId": "urn:d:1"}], state={"vocab": "open"}),
        {"id": "urn:ngsi-ld:Bus:7", "type": ["Bus", "Car"], "speed": 70, "raw": {"json": {"ex": 1}}},
        {"id": "urn:ngsi-ld:Bus:8", "type": "Bus", "speed": 0, "day": "2026-11-22"},
    )
    return ask


Q = [
    ("speed==50", "14"),
    ("speed!=50", "23678"),
    ("speed>50", "267"),
    ("speed>=50", "1267"),
    ("speed<=50", "168"),
    ("speed==10..55", "16"),
    ("speed==50,70", "147"),
    ('speed=="fast"', "3"),
    ("speed", "1234678"),
    ('brand=="Kia"', "13"),
    ('brand!="Kia"', "2"),
    ('brand~="^K"', "13"),
    ("brand~=undai", "2"),
    ('brand!~="^K"', "2"),
    ('brand=="Kia";speed==50', "1"),
    ('brand=="Kia"|speed==70', "137"),
    ('brand=="Kia";speed==50|speed==70', "17"),
    ('brand=="Kia";(speed==50|speed=="fast")', "13"),
    ("brand.by", "3"),
    ('brand.by=="x"', "3"),
    ("isIn==urn:ngsi-ld:Road:1", "1"),
    ('isIn=="urn:ngsi-ld:Road:1"', "1"),
    ("isIn!=urn:ngsi-ld:Road:2", "1"),
    ('tags=="red"', "2"),
    ('tags!="red"', ""),
    ('name[ko]=="차"', "3"),
    ('name[*]=="car"', "3"),
    ('name[en]=="차"', ""),
    ("box[w]==5", "5"),
    ("box[deep.h]==2", "5"),
    ("flag==true", "5"),
    ("flag!=true", ""),
    ("since>2026-11-22T07:59:59Z", "4"),
    ('since=="2026-11-22T08:00:00Z"', "4"),
    ("since.observedAt==2026-11-22T09:00:00.000Z", "4"),
    ("day<2026-11-23", "8"),
    ("speed.datasetId==urn:d:1", "6"),
    ("nothing", ""),
    ("nothing!=5", ""),
    ("createdAt>2020-01-01T00:00:00Z;speed==50", "14"),
]


async def test_q(cars: Any) -> None:
    for q, found in Q:
        assert await cars.ids(q=q) == list(found), q
        counted = await cars("GET", "/entities", 200, q=q, count="true", limit="2", offset="1")
        assert counted.headers["ngsild-results-count"] == str(len(found)), q
        assert [one["id"][-1] for one in counted.json()] == list(found[1:3]), q


async def test_values_that_are_expanded(cars: Any) -> None:
    assert await cars.ids(type="Car", q='state=="open"') == []
    assert await cars.ids(type="Car", q='state=="open"', expandValues="state") == ["6"]
    assert await cars.ids(q="raw[ex]==1", jsonKeys="raw") == ["7"]


BROKEN_Q = [
    "speed==",
    "==5",
    "speed=5",
    "(speed==5",
    "speed==5)",
    ";speed",
    "speed;",
    "speed||brand",
    'a=="x',
    "id==urn:x:1",
    "speed==5;;brand",
    "speed>true",
    "brand~=(",
    "isIn{name}==5",
    "speed==1..",
    "a b",
    "speed.==5",
    "speed[",
    "@type==5",
]


async def test_q_that_cannot_be_read(ask: Any) -> None:
    for q in BROKEN_Q:
        body = {"type": "Query", "entities": [{"type": "Car"}], "q": q}
        await ask("GET", "/entities", 400, type="Car", q=q, error="BadRequestData")
        await ask("POST", "/entityOperations/query", 400, json=body, error="BadRequestData")


TYPES = [
    ("Car", "1234567"),
    ("Bus", "78"),
    ("Bus,Tree", "78"),
    ("Bus|Tree", "78"),
    ("(Bus;Car)", "7"),
    ("(Bus;Car),Tree", "7"),
    ("Car,Bus", "12345678"),
    ("*", "12345678"),
    ("Tree", ""),
    ("https://uri.etsi.org/ngsi-ld/default-context/Bus", "78"),
]


async def test_types(cars: Any) -> None:
    for selector, found in TYPES:
        assert await cars.ids(type=selector) == list(found)


async def test_ids(cars: Any) -> None:
    assert await cars.ids(type="Car", id="urn:ngsi-ld:Car:2,urn:ngsi-ld:Car:1,urn:ngsi-ld:Bus:8") == ["1", "2"]
    assert await cars.ids(type="*", idPattern="Car:[1-3]$") == ["1", "2", "3"]
    assert await cars.ids(type="*", idPattern="^urn:ngsi-ld:B") == ["7", "8"]
    answer = await cars("GET", "/entities?type=*&idPattern=^urn.+Bus.+7$", 200)
    assert len(answer.json()) == 1
    assert await cars.ids(id="urn:ngsi-ld:Car:2", idPattern="Bus", local="true") == []
    for params in (
        {"id": "nouri"},
        {"id": "urn:x:1,"},
        {"idPattern": "("},
        {"type": "Car,"},
        {"type": "(Car"},
        {"type": "A;B"},
    ):
        await cars("GET", "/entities", 400, local="true", error="BadRequestData", **params)


async def test_too_wide(cars: Any) -> None:
    for params in (
        {},
        {"id": "urn:ngsi-ld:Car:1"},
        {"idPattern": ".*"},
        {"scopeQ": "/Sejong"},
        {"pick": "speed"},
        {"q": "createdAt>2020-01-01T00:00:00Z"},
        {"attrs": "modifiedAt"},
        {"local": "false"},
        {"limit": "5", "count": "true"},
    ):
        await cars("GET", "/entities", 400, error="BadRequestData", **params)
    assert len(await cars.find(local="true")) == 8
    assert await cars.ids(id="urn:ngsi-ld:Car:1", local="true") == ["1"]


SCOPES = [
    ("/Sejong", "5"),
    ("/Sejong/Nasung", "1"),
    ("/Sejong/+", "12"),
    ("/Sejong/#", "125"),
    ("/#", "125"),
    ("/Taxi,/Sejong/Nasung", "12"),
    ("/Taxi|/Sejong/Nasung", "12"),
    ("(/Taxi;/Sejong/Dodam)", "2"),
    ("(/Taxi;/Sejong/Nasung)", ""),
    ("Sejong", "5"),
    ("/+", "25"),
]


async def test_scopes(cars: Any) -> None:
    for scope_q, found in SCOPES:
        assert await cars.ids(type="Car", scopeQ=scope_q) == list(found)
        assert await cars.ids(type="Car", scopeQ=scope_q, q="speed") == [one for one in found if one != "5"]
        raw = (await cars("GET", f"/entities?type=Car&scopeQ={scope_q.replace('#', '%23')}", 200)).json()
        assert [one["id"][-1] for one in raw] == list(found)


async def test_scopes_that_are_none(ask: Any) -> None:
    for text in ("", "/", "/a b", "/Sejong/#/x", "//", "/a,,/b", "(/a;/b", "/1a"):
        await ask("GET", "/entities", 400, type="Car", scopeQ=text, error="BadRequestData")


async def test_pages(ask: Any) -> None:
    await ask("POST", "/entityOperations/create", 201, json=[car(100 + n, speed=n) for n in range(25)])
    url = "/entities?type=Car&q=speed>=0&options=keyValues&limit=10"
    seen: list[int] = []
    while True:
        answer = await ask("GET", url, 200)
        seen.extend(one["speed"] for one in answer.json())
        following = re.search(r'<([^>]+)>; rel="next"; type="([^"]+)"', answer.headers["link"])
        if following is None:
            break
        assert following.group(2) == "application/json"
        assert "options=keyValues" in following.group(1)
        url = following.group(1).removeprefix("/ngsi-ld/v1")
    assert seen == list(range(25))
    assert "json-ld#context" in answer.headers["link"]
    back = re.search(r'<([^>]+)>; rel="prev"', answer.headers["link"])
    assert back is not None
    answer = await ask("GET", back.group(1).removeprefix("/ngsi-ld/v1"), 200)
    assert [one["speed"] for one in answer.json()] == list(range(10, 20))
    first = await ask("GET", "/entities?type=Car&limit=25", 200)
    assert 'rel="next"' not in first.headers["link"]
    assert 'rel="prev"' not in first.headers["link"]
    ld = await ask("GET", "/entities?type=Car&limit=5", 200, headers={"Accept": "application/ld+json"})
    assert 'rel="next"; type="application/ld+json"' in ld.headers["link"]
    assert await ask.find(type="Car", offset="25") == []
    assert await ask.find(type="Car", offset="999999999999") == []
    assert len(await ask.find(type="Car")) == 20
    counted = await ask("GET", "/entities", 200, type="Car", count="true", limit="0", offset="3")
    assert (counted.json(), counted.headers["ngsild-results-count"]) == ([], "25")
    await ask("GET", "/entities", 403, type="Car", limit="1001", error="TooManyResults")
    await ask("GET", "/entities", 400, type="Car", limit="0", error="BadRequestData")
    await ask("GET", "/entities", 400, type="Car", limit="0", count="false", error="BadRequestData")
    await ask("GET", "/entities", 400, type="Car", limit="-1", error="BadRequestData")


async def test_pages_of_what_only_the_document_can_answer(ask: Any) -> None:
    """Every second entity matches by its document, every third by the database: pages must not lose any."""
    batch = [car(1000 + n, speed=n if n % 3 == 0 else [n]) for n in range(1, 301)]
    await ask("POST", "/entityOperations/create", 201, json=batch)
    wanted = [str(1000 + n) for n in range(1, 301) if n % 3 == 0 or n == 100]
    seen: list[str] = []
    for offset in range(0, 130, 7):
        seen += await ask.ids(q="speed==100|speed>=1", limit="7", offset=str(offset))
    assert seen == wanted
    counted = await ask("GET", "/entities", 200, q="speed==100|speed>=1", count="true")
    assert counted.headers["ngsild-results-count"] == str(len(wanted))


async def test_limits_of_queries(ask: Any) -> None:
    await ask("GET", "/entities", 403, q="|".join(f"a{n}" for n in range(101)), error="TooComplexQuery")
    await ask("GET", "/entities", 403, type=",".join(f"T{n}" for n in range(101)), error="TooComplexQuery")


async def test_another_process_may_bring_new_names(cars: Any, city: Any) -> None:
    """A name this process has never seen may already be in the record."""
    from sejong.hub.service import Hub

    other = Hub(city.pool, city.clock, city.settings)
    await other.open()
    new = {"id": "urn:ngsi-ld:Ship:9", "type": ["Ship", "Vessel"], "createdAt": "", "modifiedAt": ""}
    depth = {"https://uri.etsi.org/ngsi-ld/default-context/depth": [{"type": "Property", "value": 5}]}
    kinds = [f"https://uri.etsi.org/ngsi-ld/default-context/{name}" for name in new["type"]]
    await other.upsert(0, [{**new, "type": kinds, **depth}])
    for params in ({"type": "Ship"}, {"type": "Vessel"}, {"q": "depth==5"}, {"attrs": "depth"}):
        assert await cars.ids(**params) == ["9"]
    assert "Ship" in (await cars("GET", "/types", 200)).json()["typeList"]
    since = {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z", "timeproperty": "modifiedAt"}
    found = await cars("GET", "/temporal/entities", 200, q="depth==5", **since)
    assert [one["id"] for one in found.json()] == ["urn:ngsi-ld:Ship:9"]
    await other.close()
