"""Linked entities and orders of one's own. Source: CIM 009 clauses 4.5.23, 4.9, 4.21, 4.23, 5.7.1, 5.7.2."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio


def urn(kind: str, number: int) -> str:
    return f"urn:ngsi-ld:{kind}:{number}"


def thing(kind: str, number: int, **attributes: Any) -> dict[str, Any]:
    return {"id": urn(kind, number), "type": kind, "name": f"{kind} {number}", **attributes}


@pytest.fixture
async def town(ask: Any) -> Any:
    """Shops on streets in districts; district 1 links back to shop 1; shop 3 links to nothing that exists."""
    await ask.make(
        thing("Shop", 1, on={"object": urn("Street", 1)}, seats=4),
        thing("Shop", 2, on={"object": [urn("Street", 1), urn("Street", 2), urn("Street", 9)]}, seats=9),
        thing("Shop", 3, on={"object": urn("Street", 9)}),
        thing("Street", 1, part={"object": urn("District", 1)}, length=100),
        thing("Street", 2, part={"object": urn("District", 2)}, length=200),
        thing("District", 1, best={"object": urn("Shop", 1)}, people=5),
        thing("District", 2, lines={"objectList": [urn("Street", 1), urn("Street", 2), urn("Street", 1)]}),
    )
    return ask


async def test_inside_the_relationship(town: Any) -> None:
    shop = await town.see(urn("Shop", 1), join="inline")
    street = shop["on"]["entity"]
    assert shop["on"]["object"] == street["id"] == urn("Street", 1)
    assert street["length"] == {"type": "Property", "value": 100}
    assert "entity" not in street["part"]
    several = (await town.see(urn("Shop", 2), join="inline"))["on"]
    assert [one["id"] for one in several["entityList"]] == [urn("Street", 1), urn("Street", 2)]
    assert "entity" not in several
    nowhere = await town.see(urn("Shop", 3), join="inline")
    assert nowhere == await town.see(urn("Shop", 3)) == await town.see(urn("Shop", 3), join="@none")
    ordered = (await town.see(urn("District", 2), join="inline"))["lines"]["entityList"]
    assert [one["id"][-1] for one in ordered] == ["1", "2", "1"]
    found = await town.find(type="Shop", join="inline", options="sysAttrs")
    assert found[0]["on"]["entity"]["createdAt"]


async def test_levels_and_cycles(town: Any) -> None:
    deep = await town.see(urn("Shop", 1), join="inline", joinLevel="2")
    district = deep["on"]["entity"]["part"]["entity"]
    assert district["people"]["value"] == 5
    assert "entity" not in district["best"]
    round_trip = await town.see(urn("Shop", 1), join="inline", joinLevel="5")
    assert "entity" not in round_trip["on"]["entity"]["part"]["entity"]["best"]
    cut = await town.see(urn("Shop", 1), join="inline", joinLevel="2", containedBy=urn("District", 1))
    assert "entity" not in cut["on"]["entity"]["part"]
    for params in (
        {"joinLevel": "2"},
        {"containedBy": urn("Shop", 2)},
        {"join": "sideways"},
        {"join": "inline", "joinLevel": "0"},
        {"join": "inline", "joinLevel": "-1"},
        {"join": "inline", "joinLevel": "x"},
        {"join": "inline", "containedBy": "nouri"},
    ):
        await town("GET", f"/entities/{urn('Shop', 1)}", 400, error="BadRequestData", **params)
    await town("GET", f"/entities/{urn('Shop', 1)}", 403, join="flat", joinLevel="6", error="TooManyResults")


async def test_other_formats(town: Any) -> None:
    simple = await town.see(urn("Shop", 1), join="inline", joinLevel="2", format="simplified")
    assert simple["on"] == {
        "id": urn("Street", 1),
        "type": "Street",
        "name": "Street 1",
        "length": 100,
        "part": {
            "id": urn("District", 1),
            "type": "District",
            "name": "District 1",
            "best": urn("Shop", 1),
            "people": 5,
        },
    }
    several = await town.see(urn("Shop", 2), join="inline", format="simplified")
    assert [one["id"] if isinstance(one, dict) else one for one in several["on"]] == [
        urn("Street", 1),
        urn("Street", 2),
        urn("Street", 9),
    ]
    concise = await town.see(urn("Shop", 1), join="inline", format="concise")
    assert concise["on"]["entity"]["length"] == 100
    two = {"on": [{"object": urn("Street", 1)}, {"object": urn("Street", 2), "datasetId": "urn:d:1"}]}
    await town("PATCH", f"/entities/{urn('Shop', 1)}/attrs", 204, json=two)
    both = await town.see(urn("Shop", 1), join="inline", format="simplified")
    assert both["on"]["dataset"]["@none"]["id"] == urn("Street", 1)
    assert both["on"]["dataset"]["urn:d:1"]["id"] == urn("Street", 2)
    only = await town.see(urn("Shop", 1), join="inline", datasetId="urn:d:1")
    assert only["on"]["entity"]["id"] == urn("Street", 2)
    geo = await town(
        "GET", f"/entities/{urn('Shop', 2)}", 200, join="inline", headers={"Accept": "application/geo+json"}
    )
    assert len(geo.json()["properties"]["on"]["entityList"]) == 2


async def test_after_the_entities(town: Any) -> None:
    flat = await town.see(urn("Shop", 1), join="flat")
    assert [one["id"] for one in flat] == [urn("Shop", 1), urn("Street", 1)]
    assert flat[0] == await town.see(urn("Shop", 1))
    deeper = await town.see(urn("Shop", 2), join="flat", joinLevel="3", format="simplified")
    assert {one["id"] for one in deeper} == {
        urn("Shop", 2),
        urn("Street", 1),
        urn("Street", 2),
        urn("District", 1),
        urn("District", 2),
        urn("Shop", 1),
    }
    assert deeper[0]["id"] == urn("Shop", 2)
    page = await town("GET", "/entities", 200, type="Shop", join="flat", limit="2", count="true")
    assert [one["id"] for one in page.json()] == [urn("Shop", 1), urn("Shop", 2), urn("Street", 1), urn("Street", 2)]
    assert page.headers["ngsild-results-count"] == "3"
    assert 'rel="next"' in page.headers["link"]
    geo = await town("GET", f"/entities/{urn('Shop', 1)}", 200, join="flat", headers={"Accept": "application/geo+json"})
    assert [one["type"] for one in geo.json()["features"]] == ["Feature", "Feature"]
    alone = await town.see(urn("Shop", 3), join="flat")
    assert [one["id"] for one in alone] == [urn("Shop", 3)]


async def test_projection_of_linked_entities(town: Any) -> None:
    picked = await town.see(
        urn("Shop", 1), join="inline", joinLevel="2", pick="name,on{name,part{people}}", format="simplified"
    )
    assert picked == {"name": "Shop 1", "on": {"name": "Street 1", "part": {"people": 5}}}
    omitted = await town.see(urn("Shop", 1), join="inline", omit="name,on{part,id}", format="simplified")
    assert omitted["on"] == {"type": "Street", "name": "Street 1", "length": 100}
    flat = await town.see(urn("Shop", 1), join="flat", pick="id,on{id,length}", format="simplified")
    assert flat == [{"id": urn("Shop", 1), "on": urn("Street", 1)}, {"id": urn("Street", 1), "length": 100}]
    for pick in ("on{name}", "on{part{people}}"):
        level = {} if pick == "on{name}" else {"join": "inline"}
        await town("GET", f"/entities/{urn('Shop', 1)}", 400, pick=pick, error="BadRequestData", **level)


async def test_conditions_on_linked_entities(town: Any) -> None:
    async def found(q: str, level: str = "1") -> list[str]:
        counted = await town("GET", "/entities", 200, q=q, join="flat", joinLevel=level, count="true", pick="id,on{id}")
        ids = await town.ids(q=q, join="inline", joinLevel=level)
        assert counted.headers["ngsild-results-count"] == str(len(ids))
        return ids

    assert await found("on{length}==100") == ["1", "2"]
    assert await found("on{length}==200") == ["2"]
    assert await found("on{Street:length}>0;seats>5") == ["2"]
    assert await found("on{District:length}>0") == []
    assert await found("on{part{people}}==5", "2") == ["1", "2"]
    assert await found("seats==4|on{length}==200") == ["1", "2"]
    assert await found("lines{length}==200") == ["2"]
    await town("GET", "/entities", 400, q="on{part{people}}==5", join="inline", error="BadRequestData")
    body = {"type": "Query", "q": "on{length}==200", "join": "inline", "pick": ["id", "on{length}"]}
    posted = await town("POST", "/entityOperations/query", 200, json=body, format="simplified")
    assert posted.json() == [
        {"id": urn("Shop", 2), "on": [{"length": 100}, {"length": 200}, urn("Street", 9)]},
    ]


# --- order ------------------------------------------------------------------------------------------------------------


async def test_orders(ask: Any) -> None:
    def point(lon: float) -> dict[str, Any]:
        return {"type": "Point", "coordinates": [lon, 36.5]}

    await ask.make(
        thing("Shop", 1, seats=5, label="나", location=point(127.3), box={"a": 2}),
        thing("Shop", 2, seats=3, label="b", location=point(127.1), box={"a": 1}),
        thing("Shop", 3, seats="many", label="B", location=point(127.2)),
        thing("Shop", 4, seats=5, label="가", location=point(127.4)),
        thing("Shop", 5),
    )

    async def order(by: str, **params: str) -> str:
        return "".join(await ask.ids(type="Shop", local="true", orderBy=by, **params))

    assert await order("seats,id") == "21435"
    assert await order("seats;desc,id") == "14235"
    assert await order("label") == "23415"
    assert await order("id;desc") == "54321"
    assert await order("box[a]") == "21345"
    assert await order("createdAt;desc") == "54321"
    assert await order("location;dist-asc", orderFrom="[127.19,36.5]") == "32145"
    assert await order("location;dist-desc", orderFrom="[127.19,36.5]") == "41235"
    assert await order("id;desc", limit="2", offset="1") == "43"
    page = await ask("GET", "/entities", 200, type="Shop", local="true", orderBy="id;desc", limit="2", count="true")
    assert page.headers["ngsild-results-count"] == "5"
    assert "orderBy=id%3Bdesc" in page.headers["link"]
    body = {"type": "Query", "entities": [{"type": "Shop"}], "ordering": {"orderBy": ["seats;desc", "id"]}}
    posted = await ask("POST", "/entityOperations/query", 200, json=body, local="true")
    assert "".join(one["id"][-1] for one in posted.json()) == "14235"
    near = {"orderBy": ["location;dist-asc"], "coordinates": [127.19, 36.5], "geometry": "Point"}
    posted = await ask("POST", "/entityOperations/query", 200, json={**body, "ordering": near}, local="true")
    assert "".join(one["id"][-1] for one in posted.json()) == "32145"
    for params in (
        {"orderBy": "seats", "local": "false"},
        {"orderBy": "seats"},
        {"orderBy": "seats;sideways", "local": "true"},
        {"orderBy": "", "local": "true"},
        {"orderBy": "location;dist-asc", "local": "true"},
        {"orderFrom": "[1,2]", "local": "true"},
        {"collation": "und", "local": "true"},
        {"orderBy": "label", "collation": "no tag", "local": "true"},
    ):
        await ask("GET", "/entities", 400, type="Shop", error="BadRequestData", **params)
    await ask("POST", "/entityOperations/query", 400, json=body, error="BadRequestData")
