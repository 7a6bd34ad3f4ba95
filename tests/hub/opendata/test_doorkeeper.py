"""At the doors: what does not fit a model becomes a dead letter, and who wrote an attribute is remembered."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from sejong.hub.api import read_models
from sejong.hub.ingest import keys as device_keys
from sejong.hub.ingest.service import Ingest
from sejong.hub.opendata.catalogue import Catalogue
from sejong.hub.opendata.doorkeeper import Doorkeeper
from sejong.hub.service import Hub
from sejong.kit.city import City

from .conftest import BIKES, bike, tell

pytestmark = pytest.mark.anyio
ID = "urn:ngsi-ld:BikeHireDockingStation:test:0001"
MODEL = {"type": "object", "properties": {"availableBikeNumber": {"type": "integer", "minimum": 0}}}
FREE = "https://smartdatamodels.org/dataModel.Transportation/availableBikeNumber"


@pytest.fixture
async def device(city: City) -> dict[str, str]:
    """The header of a device key called `gw`; its bikes are in the record."""
    async with city.record.act("test", "devices.add") as act:
        made = await device_keys.create(act, "gw")
    async with city.pool.acquire() as connection:
        await city.part(Ingest).refresh(connection)
    await tell(city, bike(city, 1, 3, 600), bike(city, 2, 3, 600))
    return {"X-Device-Key": made.secret}


async def send(web: httpx.AsyncClient, device: dict[str, str], *things: Any, **params: str) -> dict[str, Any]:
    answer = await web.post("/ingest/v1/readings", json=list(things), headers=device, params=params)
    return answer.json()


def reading(value: Any, number: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": f"{ID[:-1]}{number}", "availableBikeNumber": value, **more}


async def declare(city: City, catalogue: Catalogue, **changes: Any) -> None:
    async with city.record.act("test", "declare") as act:
        await catalogue.create(act, {**BIKES, "model": MODEL, "validation": "reject", **changes})
    await city.part(Doorkeeper).learn()


async def free(city: City, entity_id: str = ID) -> Any:
    return (await city.part(Hub).retrieve(0, entity_id))[FREE][0]["value"]


async def test_what_does_not_fit_is_a_dead_letter_and_its_neighbours_pass(
    city: City, catalogue: Catalogue, web: httpx.AsyncClient, device: dict[str, str]
) -> None:
    await declare(city, catalogue)
    told = await send(web, device, reading(-4), reading(6, 2, status="open"))
    assert await free(city) == 3
    assert await free(city, f"{ID[:-1]}2") == 6
    assert "DoesNotFit" in json.dumps(told)
    letters = await city.pool.fetch("select reason, en, payload from hub.dead_letter")
    assert [row["reason"] for row in letters] == ["DoesNotFit"]
    assert "availableBikeNumber is below 0" in letters[0]["en"]
    assert b"-4" in letters[0]["payload"]
    await send(web, device, reading("viele"))
    assert await free(city) == 3
    await city.pool.execute('update hub.data_set set declared = declared || \'{"validation": "report"}\'')
    await city.part(Doorkeeper).learn()
    await send(web, device, reading(-5))
    assert await free(city) == -5
    await catalogue.measure((await catalogue.one("bikes")).data_set)
    assert [(f.attribute, f.why) for f in await catalogue.faults("bikes")] == [("availableBikeNumber", "is below 0")]


async def test_only_a_whole_type_is_guarded(
    city: City, catalogue: Catalogue, web: httpx.AsyncClient, device: dict[str, str]
) -> None:
    await declare(city, catalogue, query={"type": "BikeHireDockingStation", "q": "availableBikeNumber>2"})
    await send(web, device, reading(-4))
    assert await free(city) == -4


async def test_who_wrote_what_by_which_mapping(
    city: City, catalogue: Catalogue, web: httpx.AsyncClient, device: dict[str, str]
) -> None:
    await declare(city, catalogue, validation="off")
    await send(web, device, reading(4, status="open"), reading(5, 2))
    keeper = city.part(Doorkeeper)
    await keeper.flush()
    rows = (await web.get("/data/v1/sets/bikes/provenance")).json()["writers"]
    assert {(r["attribute"], r["door"], r["sender"], r["mapping"], r["things"]) for r in rows} == {
        ("availableBikeNumber", "http", "gw", "sejong/v1", 2), ("status", "http", "gw", "sejong/v1", 1)}  # fmt: skip
    before = await city.pool.fetch("select xmin, * from hub.attribute_source")
    await send(web, device, reading(7), reading(8, 2))
    await keeper.flush()
    assert await city.pool.fetch("select xmin, * from hub.attribute_source") == before
    await teach(city, scale=1)
    await send(web, device, {"nr": "0002", "n": 9}, model="counter")
    await keeper.flush()
    first = await written(city)
    assert (first["mapping"], len(first["version"])) == ("counter", 12)
    await teach(city, scale=2)
    await send(web, device, {"nr": "0002", "n": 9}, model="counter")
    await keeper.flush()
    assert await free(city, f"{ID[:-1]}2") == 18
    assert (await written(city))["version"] not in ("", first["version"])


async def teach(city: City, scale: int) -> None:
    """Another version of the device model `counter`."""
    attribute = {"name": "availableBikeNumber", "path": "n", "scale": scale}
    model = {"name": "counter", "type": "BikeHireDockingStation", "format": "json", "attribute": [attribute]}
    declared = {"model": [{**model, "id": "urn:ngsi-ld:BikeHireDockingStation:test:{nr}"}]}
    async with city.record.act("test", "model") as act:
        await city.part(Ingest).save_models(act, read_models(declared))
    async with city.pool.acquire() as connection:
        await city.part(Ingest).refresh(connection)
    await city.part(Doorkeeper).learn()


async def written(city: City) -> Any:
    """Who wrote the bikes of station 2 last."""
    return await city.pool.fetchrow(
        "select mapping, version from hub.attribute_source where entity like '%0002' and attribute = $1", FREE
    )


async def test_what_could_not_be_noted_is_noted_later(
    city: City, catalogue: Catalogue, web: httpx.AsyncClient, device: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(web, device, reading(4))
    keeper = city.part(Doorkeeper)
    with monkeypatch.context() as broken:
        broken.setattr(keeper._catalogue.hub, "pool", None)
        with pytest.raises(AttributeError):
            await keeper.flush()
    await keeper.flush()
    assert await city.pool.fetchval("select sender from hub.attribute_source") == "gw"
