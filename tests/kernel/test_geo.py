"""Distances, directions and boxes agree with each other anywhere on the Earth."""

from __future__ import annotations

from math import pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.kernel.geo import EARTH_RADIUS_M, BBox, bearing_deg, haversine_m, move_m

longitudes = st.floats(min_value=-180, max_value=180)
latitudes = st.floats(min_value=-85, max_value=85)
bearings = st.floats(min_value=0, max_value=360)
metres = st.floats(min_value=0, max_value=100_000)
HALF_ROUND = pi * EARTH_RADIUS_M


@st.composite
def boxes(draw: st.DrawFn) -> BBox:
    west, east = sorted(draw(st.tuples(longitudes, longitudes)))
    south, north = sorted(draw(st.tuples(latitudes, latitudes)))
    return BBox(west, south, east, north)


@given(longitudes, latitudes, bearings, st.floats(min_value=0, max_value=HALF_ROUND * 0.99))
def test_moving_takes_as_far_as_was_asked(lon: float, lat: float, bearing: float, distance: float) -> None:
    there = move_m(lon, lat, bearing, distance)
    assert -180 <= there[0] <= 180
    assert -90 <= there[1] <= 90
    assert haversine_m(lon, lat, *there) == pytest.approx(distance, rel=1e-6, abs=0.05)


@given(longitudes, latitudes, longitudes, latitudes)
def test_distance_and_bearing_lead_there(lon1: float, lat1: float, lon2: float, lat2: float) -> None:
    distance = haversine_m(lon1, lat1, lon2, lat2)
    assert 0 <= distance <= HALF_ROUND
    if distance < HALF_ROUND * 0.99:
        reached = move_m(lon1, lat1, bearing_deg(lon1, lat1, lon2, lat2), distance)
        assert haversine_m(*reached, lon2, lat2) < 0.05 + distance * 1e-6


@given(longitudes, latitudes, longitudes, latitudes)
def test_distance_is_the_same_both_ways(lon1: float, lat1: float, lon2: float, lat2: float) -> None:
    assert haversine_m(lon1, lat1, lon2, lat2) == haversine_m(lon2, lat2, lon1, lat1)
    assert haversine_m(lon1, lat1, lon1, lat1) == 0
    assert 0 <= bearing_deg(lon1, lat1, lon2, lat2) < 360


@pytest.mark.parametrize(("to", "expected"), [((127, 37), 0), ((128, 36), 90), ((127, 35), 180), ((126, 36), 270)])
def test_the_four_winds(to: tuple[float, float], expected: float) -> None:
    assert bearing_deg(127, 36, *to) == pytest.approx(expected, abs=0.5)


def test_a_hair_west_of_north_is_north() -> None:
    assert bearing_deg(0.0, 0.0, -1e-300, 1.0) == 0.0


def test_a_degree_of_latitude_and_the_date_line() -> None:
    assert haversine_m(127, 36, 127, 37) == pytest.approx(111_195, abs=1)
    assert haversine_m(179.9995, 0, -179.9995, 0) == pytest.approx(111.2, abs=0.1)
    lon, lat = move_m(179.999, 0, 90, 1000)
    assert (lon, lat) == (pytest.approx(-179.992, abs=1e-3), pytest.approx(0, abs=1e-9))


def test_poles_have_no_side() -> None:
    assert haversine_m(0, 90, 127, 90) == pytest.approx(0, abs=1e-6)
    assert haversine_m(0, 90, 0, -90) == pytest.approx(HALF_ROUND)


@given(boxes(), longitudes, latitudes)
def test_a_box_contains_its_edge_and_nothing_outside(box: BBox, lon: float, lat: float) -> None:
    for x in (box.west, box.east):
        for y in (box.south, box.north):
            assert box.contains(x, y)
    assert box.contains(lon, lat) is box.intersects(BBox(lon, lat, lon, lat))


@given(boxes(), boxes())
def test_boxes_intersect_both_ways_or_not_at_all(one: BBox, two: BBox) -> None:
    assert one.intersects(two) is two.intersects(one)
    shared = BBox(
        max(one.west, two.west), max(one.south, two.south), min(one.east, two.east), min(one.north, two.north)
    )
    assert one.intersects(two) is (shared.west <= shared.east and shared.south <= shared.north)


@given(st.floats(min_value=-170, max_value=170), latitudes, st.floats(0, 2), st.floats(0, 2), bearings, metres)
def test_a_grown_box_holds_everything_within_that_many_metres(
    west: float, south: float, width: float, height: float, bearing: float, distance: float
) -> None:
    box = BBox(west, south, west + width, min(85.0, south + height))
    grown = box.expand(distance)
    for corner in ((box.west, box.south), (box.west, box.north), (box.east, box.south), (box.east, box.north)):
        lon, lat = move_m(*corner, bearing, distance * 0.999_999)
        lon += 360 if lon < corner[0] - 180 else -360 if lon > corner[0] + 180 else 0
        assert BBox(grown.west - 1e-9, grown.south - 1e-9, grown.east + 1e-9, grown.north + 1e-9).contains(lon, lat)
