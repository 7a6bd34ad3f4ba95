"""What pages ask of the record, on the real Testville pack."""

from __future__ import annotations

import pytest

from sejong.citypack.api import CityPack, load
from sejong.hub.api import DeviceView, Hub, RecordView
from sejong.kit.city import City

pytestmark = pytest.mark.anyio


@pytest.fixture
async def loaded(city: City) -> City:
    await load(city, "testville")
    return city


async def test_search_finds_korean_and_english_and_forgives(loaded: City) -> None:
    view = loaded.part(RecordView)
    stations = [e for e in loaded.part(CityPack).entities() if e["type"] == "BikeHireDockingStation"]
    names = stations[0]["name"]["languageMap"]
    for words in (names["ko"], names["en"], names["en"].upper(), stations[0]["id"].rpartition(":")[2]):
        found = await view.search(words, [], None, None, 10, 0)
        assert stations[0]["id"] in [card.id for card in found.items], words
    everything = await view.search(None, ["BikeHireDockingStation"], None, None, 2, 0)
    assert (len(everything.items), everything.total) == (2, len(stations))
    assert (await view.search(None, ["BikeHireDockingStation"], None, None, 2, 99)).total == len(stations)
    for odd in ("%", "\\", "';--", "가" * 500):
        assert (await view.search(odd, [], None, None, 5, 0)).total == 0, odd
    assert (await view.search("\x00", [], None, None, 1, 0)).total == len(list(loaded.part(CityPack).entities()))


async def test_loading_twice_changes_nothing(loaded: City) -> None:
    before = await loaded.pool.fetchval("select count(*) from hub.hist")
    assert (await load(loaded, "testville")).skipped
    again = await load(loaded, "testville", again=True)
    assert not again.skipped
    assert await loaded.pool.fetchval("select count(*) from hub.hist") == before


async def test_page_of_a_thing_and_what_points_at_it(loaded: City) -> None:
    view = loaded.part(RecordView)
    line = next(e for e in loaded.part(CityPack).entities() if e["type"] == "BusLine")
    entity = await view.entity(line["id"])
    assert entity is not None
    assert entity["name"]["languageMap"] == line["name"]["languageMap"]
    assert entity["createdAt"]
    assert await view.entity("urn:ngsi-ld:Nobody:1") is None
    card = await view.card(line["id"])
    assert card is not None
    assert [c.id for c in await view.cards([card.no, 999_999])] == [line["id"]]


async def test_operators_see_an_empty_house(loaded: City) -> None:
    devices = loaded.part(DeviceView)
    rate = await devices.ingest_rate(60)
    assert len(rate) == 60
    assert {n for _, n in rate} == {0}
    assert await devices.silent_devices(10) == []
    assert await devices.suspects(10) == []
    assert await devices.dead_letters(10, 0) == ([], 0)
    assert (await devices.replay(None)).n_ok == 0


async def test_one_broken_sensor_does_not_move_a_city_wide_number(loaded: City) -> None:
    hub, view = loaded.part(Hub), loaded.part(RecordView)
    context = await hub.context()
    kind, power = context.expand("ACMeasurement"), context.expand("totalActivePower")
    now = hub.now()
    await hub.upsert(
        0,
        [
            {
                "id": f"urn:ngsi-ld:ACMeasurement:t:{n}",
                "type": [kind],
                power: [{"type": "Property", "value": value, "unitCode": "WTT", "observedAt": now}],
            }
            for n, value in enumerate([100, 110, 90, 999_999])
        ],
    )
    shown = (await view.tiles())["power"]
    assert (shown.value, shown.n, shown.unit) == (300, 3, "WTT")
