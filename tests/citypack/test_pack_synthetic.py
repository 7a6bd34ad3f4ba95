"""What a pack invents: marked there and nowhere else, by the declared numbers, the same every time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from sejong.citypack.api import CityPack, Rejected, open_pack
from sejong.citypack.domain import position as position_or_none
from sejong.kernel.geo import haversine_m

Town = Callable[..., CityPack]
INVENTED = {
    "Streetlight", "ParkingSpot", "ACMeasurement", "WaterConsumptionObserved", "AirQualityObserved",
    "NoiseLevelObserved", "WaterQualityObserved", "WeatherObserved", "Vehicle",
}  # fmt: skip
DRAWN = {("BikeHireDockingStation", "totalSlotNumber"), ("OffStreetParking", "totalSpotNumber")}
MARK = {"type": "Property", "value": True}


def position(entity: dict[str, Any]) -> tuple[float, float]:
    place = position_or_none(entity)
    assert place is not None
    return place


def by_type(pack: CityPack, kind: str) -> list[dict[str, Any]]:
    return list(pack.entities({kind}))


@pytest.mark.parametrize("name", ["sejong", "testville"])
def test_the_mark_stands_exactly_where_something_is_invented(name: str) -> None:
    seen: set[str] = set()
    for entity in open_pack(name).entities():
        kind = entity["type"]
        seen.add(kind)
        assert (entity.get("synthetic") == MARK) == (kind in INVENTED), entity["id"]
        for attribute, instance in entity.items():
            if isinstance(instance, dict) and attribute != "synthetic":
                assert (instance.get("synthetic") == MARK) == ((kind, attribute) in DRAWN), (
                    entity["id"],
                    attribute,
                )
    assert seen >= INVENTED


@pytest.mark.parametrize("name", ["sejong", "testville"])
def test_twice_is_the_same_and_a_part_is_the_same_as_the_whole(name: str) -> None:
    pack = open_pack(name)
    whole = list(pack.entities())
    assert list(open_pack(name).entities()) == whole
    for kinds in ({"Vehicle"}, {"ParkingSpot", "ACMeasurement"}, {"Streetlight"}, {"NoiseLevelObserved"}):
        assert list(pack.entities(kinds)) == [e for e in whole if e["type"] in kinds]
    assert list(pack.entities(set())) == list(pack.entities({"Unicorn"})) == []


def test_changing_what_a_reader_got_does_not_change_the_next_reading(testville: CityPack) -> None:
    for entity in testville.entities():
        for instance in entity.values():
            if isinstance(instance, dict):
                instance.clear()
    assert all(e["source"] for e in testville.entities())
    assert by_type(testville, "TransportStation")[1]["stationType"]["value"] == ["bus"]


def test_lamps_stand_at_their_spacing_on_the_verge(testville: CityPack) -> None:
    lamps = by_type(testville, "Streetlight")
    by_link = Counter(lamp["id"].rsplit(":", 1)[-1].split("-")[0] for lamp in lamps)
    # 504 m every 100 m on both sides; staggered; 1,002 m staggered; 504 m every 200 m on one side, twice.
    assert by_link == {"l1": 10, "l3": 5, "l5": 10, "l7": 3, "l9": 3}
    wide = [position(lamp) for lamp in lamps if ":l1-" in lamp["id"]]
    south = [(lon, lat) for lon, lat in wide if lat < 36.0]
    north = [(lon, lat) for lon, lat in wide if lat > 36.0]
    assert len(south) == len(north) == 5
    for lon, lat in (*south, *north):
        assert haversine_m(lon, lat, lon, 36.0) == pytest.approx(3 * 3.0 + 1.5, abs=0.1)
    for (a, _), (b, _) in pairwise(sorted(south)):
        assert haversine_m(a, 36.0, b, 36.0) == pytest.approx(100.0, abs=0.2)
    sides = [position(lamp)[1] > 36.0 for lamp in lamps if ":l3-" in lamp["id"]]
    assert sides == [False, True, False, True, False]
    assert [lamp["name"]["languageMap"]["ko"] for lamp in lamps[:2]] == [
        "남쪽대로 가로등 1",
        "남쪽대로 가로등 2",
    ]
    assert {lamp["powerRating"]["value"] for lamp in lamps if ":l1-" in lamp["id"]} == {150.0}
    assert all(lamp["refRoadSegment"]["object"].endswith(lamp["id"].rsplit(":", 1)[-1].split("-")[0]) for lamp in lamps)


def test_a_one_way_road_is_lit_and_a_short_one_is_not(town: Town) -> None:
    pack = town(
        ("data/links.csv", "l8,n5,n4,1,107,북쪽길,30,503.7,\n", ""),
        ("data/links.csv", "l4,n3,n2,2", "l4,n3,n2,9"),
    )
    lamps = by_type(pack, "Streetlight")
    assert sum(":l7-" in lamp["id"] for lamp in lamps) == 3
    assert sum(":l3-" in lamp["id"] for lamp in lamps) == 10  # the wider direction decides
    far = town(("city.toml", "spacing_m = 200.0", "spacing_m = 2000.0"))
    assert not [lamp for lamp in by_type(far, "Streetlight") if ":l7-" in lamp["id"]]


def test_a_draw_keeps_to_its_range_and_to_its_thing(town: Town, testville: CityPack) -> None:
    bikes = {e["id"]: e["totalSlotNumber"]["value"] for e in by_type(testville, "BikeHireDockingStation")}
    assert [v for k, v in bikes.items() if k.endswith(":b1")] == [20]  # 광장
    assert all(8 <= v <= 12 for k, v in bikes.items() if not k.endswith(":b1"))
    more = town(("data/bikes.csv", "b1,", "b0,새 대여소,Y,yes,127.001,36.001,\nb1,"), ("city.toml", "rows = 4\n", ""))
    again = {e["id"]: e["totalSlotNumber"]["value"] for e in by_type(more, "BikeHireDockingStation")}
    assert len(again) == 5
    assert {k: again[k] for k in bikes} == bikes
    other = town(("city.toml", "seed = 7", "seed = 8"))
    assert list(other.entities()) != list(testville.entities())


def test_bays_are_as_many_as_the_car_park_says_and_do_not_overlap(testville: CityPack) -> None:
    bays = by_type(testville, "ParkingSpot")
    park = next(p for p in by_type(testville, "OffStreetParking") if p["id"] == bays[0]["refParkingSite"]["object"])
    assert len(bays) == park["totalSpotNumber"]["value"]
    places = [position(bay) for bay in bays]
    nearest = min(haversine_m(*a, *b) for i, a in enumerate(places) for b in places[:i])
    assert nearest == pytest.approx(2.5, abs=0.05)
    centre = position(park)
    assert max(haversine_m(*centre, *place) for place in places) < 40.0


def test_meters_go_to_the_areas_by_weight(town: Town, sejong_pack: CityPack) -> None:
    power, water = by_type(sejong_pack, "ACMeasurement"), by_type(sejong_pack, "WaterConsumptionObserved")
    assert len(power) == len(water) == 300
    assert [p["location"] for p in power] == [w["location"] for w in water]
    assert all(80 <= p["households"]["value"] <= 240 for p in power)
    named = Counter(p["name"]["languageMap"]["ko"].split()[0] for p in power)
    assert len(named) == 24
    assert named["조치원읍"] == max(named.values())
    lost = town(("data/weights.csv", "시험동", "없는동"))
    assert lost.rejected == (Rejected("data/weights.csv", 2, "area", "없는동", "known place"),)
    assert by_type(lost, "ACMeasurement") == []
    bad = town(("data/weights.csv", "없는동,1200", "시험동,many"))
    assert bad.rejected == (Rejected("data/weights.csv", 2, "people", "many", "number"),)


def test_a_place_the_pack_does_not_have_is_said(town: Town) -> None:
    pack = town(
        ("city.toml", '{ road = "남쪽대로" }', '{ road = "하늘로" }'),
        ("city.toml", '{ area = "시험동" }', '{ area = "구름동" }'),
        ("city.toml", '"sunlight-square-car-park"', '"cloud-car-park"'),
    )
    assert [(r.column, r.found) for r in pack.rejected] == [
        ("synthetic.car_parks", "cloud-car-park"),
        ("synthetic.air", "구름동"),
        ("synthetic.noise", "하늘로"),
    ]
    assert {r.expected for r in pack.rejected} == {"known place"}


def test_the_fleet_keeps_its_headway(testville: CityPack, sejong_pack: CityPack) -> None:
    # 3.7 km at 30 km/h take 7.5 minutes: three buses for one every 3 minutes.
    assert [e["id"].rsplit(":", 1)[-1] for e in by_type(testville, "Vehicle")] == [
        "bus-t1-1",
        "bus-t1-2",
        "bus-t1-3",
    ]
    (route,) = testville.routes()
    first = by_type(testville, "Vehicle")[0]
    assert position(first) == route.path[0]
    assert first["refPublicTransportRoute"]["object"] == route.id
    assert "containedInPlace" not in first  # it moves
    fleet = Counter(v["refPublicTransportRoute"]["object"] for v in by_type(sejong_pack, "Vehicle"))
    for line in sejong_pack.routes():
        n = fleet[line.id]
        assert (n - 1) * 10.0 < line.length_m / 1000.0 / 28.0 * 60.0 <= n * 10.0
