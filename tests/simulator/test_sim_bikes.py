"""Bikes are never made or lost, stations never overflow, rides take their time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sejong.simulator.bikes import NIGHT_ROUND_HOUR, RIDE_KMH, RIDE_SPREAD, Bikes


def check(bikes: Any) -> None:
    """The law of conservation, and the size of every station."""
    assert sum(bikes.docked) + len(bikes.under_way) == bikes.fleet
    assert all(0 <= d <= n for d, n in zip(bikes.docked, bikes.slots, strict=True))
    assert all(d + f == n for d, f, n in zip(bikes.docked, bikes.free, bikes.slots, strict=True))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    slots=st.integers(1, 20),
    start=st.integers(0, 23 * 3600),
    steps=st.lists(st.integers(1, 6 * 3600), min_size=1, max_size=6),
)
def test_bikes_are_conserved(town: Any, seed: int, slots: int, start: int, steps: list[int]) -> None:
    bikes = town.family(Bikes, town.bikes(9, slots), seed)
    bikes.begin(town.at(start / 3600))
    check(bikes)
    t = start
    for step in steps:
        t += step
        bikes.advance(town.at(t / 3600))
        check(bikes)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 7200), min_size=1, max_size=12), st.integers(0, 1000))
def test_the_size_of_a_step_changes_nothing(town: Any, steps: list[int], seed: int) -> None:
    in_steps = town.family(Bikes, town.bikes(12), seed)
    at_once = town.family(Bikes, town.bikes(12), seed)
    t = 17 * 3600
    in_steps.begin(town.at(t / 3600))
    at_once.begin(town.at(t / 3600))
    news: set[int] = set()
    for step in steps:
        t += step
        in_steps.advance(town.at(t / 3600))
        news |= set(in_steps.changed())
    at_once.advance(town.at(t / 3600))
    assert (in_steps.docked, sorted(in_steps.under_way)) == (at_once.docked, sorted(at_once.under_way))
    assert news == set(at_once.changed())
    late = town.family(Bikes, town.bikes(12), seed)
    late.begin(town.at(t / 3600))
    assert (late.docked, sorted(late.under_way)) == (at_once.docked, sorted(at_once.under_way))


def test_people_ride_at_rush_hour_not_in_the_small_hours(town: Any) -> None:
    bikes = town.family(Bikes, town.bikes(60, slots=30))

    def rides(hour: int, days: range) -> float:
        found = 0
        for day in days:
            bikes.begin(town.at(hour, day))
            before = bikes.rides
            bikes.advance(town.at(hour + 1, day))
            found += bikes.rides - before
        return found / len(days)

    week = range(-140, -120, 5)  # July; every fifth day, so that a rainy one does not decide
    night, rush, noon = rides(2, week), rides(18, week), rides(11, week)
    assert rush > 1.4 * noon
    assert noon > 3 * night
    saturdays, fridays = range(-142, -107, 7), range(-143, -108, 7)
    assert rides(8, saturdays) < rides(8, fridays) / 2


def test_rain_keeps_people_at_home(town: Any) -> None:
    family = town.family(Bikes, town.bikes(1))
    sky = family.world.sky
    dry_day = wet = None
    for day in range(-200, 0):
        for hour in range(8, 20):
            m = town.at(hour, day)
            if sky.rain(m) > 4:
                wet = m
            elif sky.rain(m) == 0 and sky.temperature(m, 0.5) > 15:
                dry_day = m
    assert wet is not None
    assert dry_day is not None
    assert family._willing(wet) < 0.15 < 0.6 < family._willing(dry_day)


def test_rides_take_at_least_the_way(town: Any) -> None:
    bikes = town.family(Bikes, town.bikes(20))
    fastest = RIDE_KMH / 3.6 * 1.3 / (1 - 3.47 * RIDE_SPREAD) if RIDE_SPREAD * 3.47 < 0.5 else RIDE_KMH / 3.6 / 0.5
    for a in range(20):
        for b in range(20):
            if a != b:
                assert bikes._ride_s(a, b, -3.47) >= bikes._away[a, b] / fastest


def test_a_full_station_sends_riders_on(town: Any) -> None:
    bikes = town.family(Bikes, town.bikes(12, slots=2), seed=3)
    bikes.begin(town.at(4))
    full_seen = False
    for minute in range(240, 24 * 60, 5):
        bikes.advance(town.at(minute / 60))
        check(bikes)
        full_seen = full_seen or 0 in bikes.free
    assert full_seen
    assert bikes.refused > 0
    assert bikes.rides > 20


def test_the_night_round_fills_the_stations_again(town: Any) -> None:
    bikes = town.family(Bikes, town.bikes(30))
    bikes.begin(town.at(23))
    evening = np.array(bikes.docked)
    bikes.changed()
    bikes.advance(town.at(24 + NIGHT_ROUND_HOUR))
    morning = np.array(bikes.docked)
    assert not bikes.under_way
    assert morning.min() > 0
    assert set(np.flatnonzero(evening != morning)) <= set(bikes.changed())


def test_stations_closed_or_without_slots_or_place_take_no_part(town: Any) -> None:
    good = town.bikes(1)[0]
    closed = town.entity("BikeHireDockingStation", "x", 127.2, 36.4, totalSlotNumber=9, status="outOfService")
    no_slots = town.entity("BikeHireDockingStation", "y", 127.2, 36.4)
    nowhere = town.entity("BikeHireDockingStation", "z", totalSlotNumber=9)
    assert [Bikes.chosen(e) for e in (good, closed, no_slots, nowhere)] == [True, False, False, False]


@pytest.mark.parametrize("n", [0, 1])
def test_no_or_one_station_is_no_accident(town: Any, n: int) -> None:
    bikes = town.family(Bikes, town.bikes(n))
    bikes.begin(town.at(8))
    bikes.advance(town.at(20))
    check(bikes)
