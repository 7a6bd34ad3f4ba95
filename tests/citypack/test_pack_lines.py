"""Bus lines along the road links."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.citypack.api import CityPack, Rejected, Route, along
from sejong.citypack.lines import _Vertex, _without_spurs
from sejong.citypack.network import Network
from sejong.kernel.geo import haversine_m

Town = Callable[..., CityPack]
LINE = "data/line.csv"


def length(path: tuple[tuple[float, float], ...]) -> float:
    return sum(haversine_m(*a, *b) for a, b in pairwise(path))


def test_the_path_follows_the_links_and_their_bends(testville: CityPack) -> None:
    (route,) = testville.routes()
    bend = (127.0115, 36.0045)
    corners = [
        (127.0, 36.0),
        (127.0056, 36.0),
        (127.0112, 36.0),
        bend,
        (127.0112, 36.009),
        (127.0056, 36.009),
    ]
    assert route.path == (*corners, (127.0056, 36.02))
    assert (route.short, route.name_ko, route.name_en) == (
        "T1",
        "T1 (터미널~산너머)",
        "T1 (Terminal – Sanneomeo)",
    )
    assert route.length_m == pytest.approx(length(route.path), abs=0.1)
    assert route.straight_m == pytest.approx(haversine_m(127.0056, 36.009, 127.0056, 36.02), abs=0.1)


def test_stops_come_in_order_however_the_file_lists_them(testville: CityPack) -> None:
    (route,) = testville.routes()
    assert [stop.id.rsplit(":", 1)[-1] for stop in route.stops] == ["s1", "s2", "s3", "s4", "s5", "s6"]
    assert [stop.at_m for stop in route.stops] == sorted(stop.at_m for stop in route.stops)
    assert route.stops[0].at_m == 0.0
    assert route.stops[-1].at_m == route.length_m
    line = next(testville.entities({"BusLine"}))
    assert [o["object"] for o in line["refPublicTransportStops"]["objectList"]] == [s.id for s in route.stops]
    assert "containedInPlace" not in line


def test_a_bus_can_be_placed_along_the_line(testville: CityPack) -> None:
    (route,) = testville.routes()
    assert along(route, 0.0) == (127.0, 36.0, pytest.approx(90.0, abs=0.1))
    lon, lat, bearing = along(route, route.stops[1].at_m + 100.0)
    assert haversine_m(127.0056, 36.0, lon, lat) == pytest.approx(100.0, abs=0.5)
    assert bearing == pytest.approx(90.0, abs=0.1)
    assert along(route, route.length_m + 50.0)[:2] == (127.0056, 36.02)


def test_an_unknown_stop_and_a_bad_order_are_refused(town: Town) -> None:
    pack = town((LINE, "2,s2", "2,s9"), (LINE, "4,s4", "four,s4"))
    assert pack.rejected == (
        Rejected(LINE, 4, "stop", "s9", "known stop"),
        Rejected(LINE, 5, "n", "four", "integer"),
    )
    (route,) = pack.routes()
    assert len(route.stops) == 4


def test_a_line_of_one_stop_is_none(town: Town) -> None:
    pack = town((LINE, "t1,T1번 (터미널~산너머),1,s1", "t9,T9번,1,s1"))
    assert Rejected(LINE, 0, "stop", "t9", "known stop") in pack.rejected
    assert [route.local_id for route in pack.routes()] == ["t1"]


def test_a_pack_without_lines_has_no_routes(town: Town) -> None:
    pack = town()
    text = (pack.folder / "city.toml").read_text(encoding="utf-8")
    start, end = text.index("[lines]"), text.index("[[synthetic]]")
    (pack.folder / "city.toml").write_text(text[:start] + text[end:], encoding="utf-8")
    again = town()
    assert again.routes() == []
    assert not [e for e in again.entities() if e["type"] in ("BusLine", "Vehicle")]


def test_the_shortest_way_is_found_and_one_way_streets_are_kept(testville: CityPack) -> None:
    network = Network(testville.entities({"RoadSegment"}))
    assert network.path("n1", "n6") == (
        ["n1", "n2", "n3", "n4", "n5", "n6"],
        pytest.approx(503.7 * 4 + 1000.8),
    )
    assert network.path("n1", "n1") == (["n1"], 0.0)
    assert network.path("n1", "nowhere") is None
    assert network.nearest(127.0, 36.0001, 50.0) == "n1"
    assert network.nearest(127.0, 36.0010, 50.0) is None
    assert Network([]).nearest(127.0, 36.0, 1e9) is None


grid = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda p: (127.0 + p[0] * 0.001, 36.0 + p[1] * 0.001))


@given(st.lists(st.tuples(grid, st.booleans()), min_size=2, max_size=25))
def test_cutting_spurs_loses_no_stop_and_no_order_and_never_lengthens(
    walk: list[tuple[tuple[float, float], bool]],
) -> None:
    stops = iter(range(len(walk)))
    vertices = [_Vertex(place, [next(stops)] if stop else []) for place, stop in walk]
    before = length(tuple(place for place, _ in walk))
    kept = _without_spurs(vertices, 250.0)
    held = [stop for vertex in kept for stop in vertex.stops]
    assert held == sorted(held)
    assert len(held) == sum(stop for _, stop in walk)
    assert length(tuple(vertex.place for vertex in kept)) <= before + 1e-6


def test_sejong_s_lines(sejong_pack: CityPack) -> None:
    routes: list[Route] = sejong_pack.routes()
    assert len(routes) == 11
    assert sum(len(route.stops) for route in routes) == 233
    assert {route.short for route in routes} == {"B0", "B2", "B4", "B5"}
    for route in routes:
        assert [stop.at_m for stop in route.stops] == sorted(stop.at_m for stop in route.stops)
        assert 0 <= route.straight_m < route.length_m
        far = [stop for stop in route.stops if haversine_m(stop.lon, stop.lat, *along(route, stop.at_m)[:2]) > 450.0]
        assert far == [], f"{route.name_ko}: stops far from where the path says they are"
    assert {r.short for r in routes if r.straight_m == 0.0} == {"B5"}  # the others leave the reconstructed core
