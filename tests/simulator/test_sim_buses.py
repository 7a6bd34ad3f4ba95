"""Buses keep to their line, their stops and their hours."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from sejong.kernel.geo import haversine_m
from sejong.simulator.buses import EMPTY, PARKED, Buses, folded, route_of

LOOP = [(127.26, 36.48), (127.28, 36.48), (127.28, 36.50), (127.26, 36.50), (127.26, 36.4805)]
LINE = [(127.26, 36.48), (127.28, 36.48), (127.30, 36.49), (127.31, 36.52)]


def city(town: Any, course: list[tuple[float, float]], vehicles: int = 3, capacity: int = 40) -> dict[str, list[Any]]:
    stops = [town.entity("TransportStation", f"s{i}", lon + 0.0003, lat) for i, (lon, lat) in enumerate(course)]
    order = {"type": "ListRelationship", "objectList": [{"object": s["id"]} for s in stops]}
    line = town.line("BusLine", "b1", course, refPublicTransportStops=order)
    on_line = {"type": "Relationship", "object": line["id"]}
    return {
        "TransportStation": stops,
        "BusLine": [line],
        "Vehicle": [
            town.entity("Vehicle", f"v{i}", refPublicTransportRoute=on_line, capacity=capacity) for i in range(vehicles)
        ],
    }


def buses(town: Any, course: list[tuple[float, float]], **how: Any) -> Any:
    entities = city(town, course, **how)
    return town.family(Buses, entities["Vehicle"], **entities)


def off_the_line(course: list[tuple[float, float]], lon: float, lat: float) -> float:
    """Metres from the course, by trying 2,000 places of it."""
    best = 1e9
    for (a, b), (c, d) in pairwise(course):
        for f in np.linspace(0, 1, 500):
            best = min(best, haversine_m(lon, lat, a + f * (c - a), b + f * (d - b)))
    return best


@pytest.mark.parametrize("course", [LOOP, LINE])
def test_a_bus_drives_its_line_by_day_and_sleeps_by_night(town: Any, course: list[tuple[float, float]]) -> None:
    family = buses(town, course)
    family.begin(town.at(4))
    everyone = np.arange(len(family.ids))
    seen: set[str] = set()
    last: dict[int, tuple[float, float]] = {}
    for second in range(int(7.9 * 3600), int(8.6 * 3600), 10):
        family.look(everyone, town.at(second / 3600))
        for i in everyone.tolist():
            lon, lat = family.location[i]["coordinates"]
            if i in last:
                assert haversine_m(*last[i], lon, lat) < 250, "a bus jumped"
            last[i] = (lon, lat)
            assert 0 <= family.speed[i] < 80
            assert 0 <= family.bearing[i] <= 360
            assert 0 <= family.passengers[i] <= 40
            seen.add(family.status[i])
            if family.next_stop[i]:
                assert family.next_stop[i]["object"].startswith("urn:ngsi-ld:TransportStation:town:s")
        if second % 600 == 0:
            assert off_the_line(course, lon, lat) < 30
    assert "onRoute" in seen
    assert ("outOfService" in seen) == (course is LINE)
    family.look(everyone, town.at(27.5))
    assert family.status == ["parked"] * 3
    assert all(family.resting(i, town.at(27.5).t) for i in range(3))
    assert not family.resting(0, town.at(8.2).t)


def test_buses_of_a_line_are_spread_over_it(town: Any) -> None:
    family = buses(town, LOOP, vehicles=4)
    family.begin(town.at(12))
    family.look(np.arange(4), town.at(12))
    places = [tuple(p["coordinates"]) for p in family.location]
    assert min(haversine_m(*a, *b) for i, a in enumerate(places) for b in places[:i]) > 300


def test_the_way_back_is_empty_and_the_other_way_round(town: Any) -> None:
    family = buses(town, LINE, vehicles=1)
    family.begin(town.at(12))
    plan, route = family._plans[0], family._route[0]
    k = plan.state.index(EMPTY)
    there = folded(route, plan.how_far[k] - 1000)
    back = folded(route, plan.how_far[k] + 1000)
    assert haversine_m(*there[:2], *back[:2]) < 5
    assert abs(abs(there[2] - back[2]) - 180) < 1
    assert plan.aboard[k] == 0


def test_a_service_day_runs_forward_from_four_to_four(town: Any) -> None:
    for course in (LOOP, LINE):
        family = buses(town, course)
        family.begin(town.at(12))
        for plan in family._plans:
            assert (np.diff(plan.when) >= 0).all()
            assert (np.diff(plan.how_far) >= -1e-9).all()
            assert len(plan.state) == len(plan.aboard) == len(plan.when) - 1
            assert plan.state[0] == plan.state[-1] == PARKED
            assert plan.when[-1] - plan.when[0] == 86_400


def test_rush_hour_makes_buses_full_and_late(town: Any) -> None:
    family = buses(town, LINE, vehicles=6, capacity=500)
    everyone = np.arange(6)

    def mean(what: str, hours: Any) -> float:
        values = []
        for day in range(1, 4):
            for hour in hours:
                m = town.at(hour, day)
                family.advance(m)
                family.look(everyone, m)
                values += [getattr(family, what)[i] for i in everyone if family.status[i] == "onRoute"]
        return float(np.mean(values))

    family.begin(town.at(4))
    rush, quiet = np.arange(7.3, 8.7, 0.1), np.arange(20.5, 22, 0.1)
    assert mean("passengers", rush) > 1.5 * mean("passengers", quiet)
    assert mean("delay", rush) > mean("delay", quiet) + 20


def test_a_loop_passes_its_first_stop_twice_and_knows_both_places(town: Any) -> None:
    entities = city(town, LOOP)
    line, stops = entities["BusLine"][0], entities["TransportStation"]
    line["refPublicTransportStops"]["objectList"].append({"object": stops[0]["id"]})
    places = {s["id"]: tuple(s["location"]["value"]["coordinates"]) for s in stops}
    route = route_of(line, places)
    assert route is not None
    assert route.loop
    assert (np.diff(route.stops) >= 0).all()
    assert route.stops[0] < 100
    assert route.stops[-1] > route.length - 100


def test_lines_without_stops_and_vehicles_without_lines_stay_in_the_depot(town: Any) -> None:
    entities = city(town, LINE)
    entities["TransportStation"] = entities["TransportStation"][:1]
    assert town.family(Buses, entities["Vehicle"], **entities).ids == []
    assert not Buses.chosen(town.entity("Vehicle", "car"))
