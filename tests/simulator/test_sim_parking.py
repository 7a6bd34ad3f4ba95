"""Cars in and out of car parks, and bays that agree with the count at the barrier."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sejong.simulator.parking import Bays, Lots


def parks(town: Any, *sizes: int) -> list[dict[str, Any]]:
    return [town.entity("OffStreetParking", f"p{i}", 127.26, 36.49, totalSpotNumber=n) for i, n in enumerate(sizes)]


def bays(town: Any, park: int, n: int) -> list[dict[str, Any]]:
    site = {"type": "Relationship", "object": f"urn:ngsi-ld:OffStreetParking:town:p{park}"}
    return [town.entity("ParkingSpot", f"p{park}-{i}", refParkingSite=site) for i in range(n)]


def check(lots: Any) -> None:
    assert lots.drove_in - lots.drove_out == sum(lots.occupied)
    for taken, occupied, available, capacity in zip(
        lots.taken, lots.occupied, lots.available, lots.capacity, strict=True
    ):
        assert sum(taken) == occupied
        assert 0 <= occupied <= capacity
        assert occupied + available == capacity


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**31),
    st.lists(st.integers(1, 90), min_size=1, max_size=4),
    st.lists(st.integers(1, 8 * 3600), min_size=1, max_size=5),
)
def test_cars_are_conserved(town: Any, seed: int, sizes: list[int], steps: list[int]) -> None:
    lots = town.family(Lots, parks(town, *sizes), seed)
    t = 6 * 3600
    lots.begin(town.at(t / 3600))
    check(lots)
    for step in steps:
        t += step
        lots.advance(town.at(t / 3600))
        check(lots)
    again = town.family(Lots, parks(town, *sizes), seed)
    again.begin(town.at(6))
    again.advance(town.at(t / 3600))
    assert again.taken == lots.taken


def test_offices_fill_by_day_and_streets_by_night(town: Any) -> None:
    lots = town.family(Lots, parks(town, *[100] * 25))
    share = {}
    for hour in (4, 7, 12, 15, 21):
        lots.begin(town.at(hour, day=1))
        share[hour] = sum(lots.occupied) / 2500
    assert share[12] > share[7]
    assert share[12] > share[21] > 0.1
    assert share[15] > share[4]
    assert 0.4 < share[12] < 0.97


def test_a_full_car_park_turns_cars_away(town: Any) -> None:
    lots = town.family(Lots, parks(town, *[2] * 40), seed=1)
    lots.begin(town.at(14))
    assert lots.turned_away > 0
    check(lots)


def test_a_restart_finds_the_same_cars(town: Any) -> None:
    """The day before is replayed from an empty car park; by then its emptiness is forgotten."""
    run = town.family(Lots, parks(town, 60, 120, 30))
    run.begin(town.at(9))
    run.advance(town.at(24 + 11))
    restarted = town.family(Lots, parks(town, 60, 120, 30))
    restarted.begin(town.at(24 + 11))
    assert restarted.occupied == pytest.approx(run.occupied, abs=2)


def test_bays_say_what_the_barrier_counts(town: Any) -> None:
    entities = parks(town, 30, 12)
    lots = town.family(Lots, entities)
    family = Bays(lots.world, bays(town, 0, 30) + bays(town, 1, 5), {})
    family.join({"lot": lots})
    for hour in (3, 9, 12.5, 12.6, 18, 23):
        m = town.at(hour)
        if hour == 3:
            lots.begin(m)
            family.begin(m)
            seen = list(family.status)
        else:
            lots.advance(m)
            family.advance(m)
        for i in family.changed():
            seen[i] = family.status[i]
        assert seen == family.status, "a bay changed without saying so"
        assert family.status[:30].count("occupied") == lots.occupied[0]
        assert set(family.status) <= {"free", "occupied"}


def test_bays_of_nobody_are_unknown(town: Any) -> None:
    lots = town.family(Lots, parks(town, 3))
    lots.begin(town.at(12))
    family = Bays(lots.world, bays(town, 0, 5) + bays(town, 9, 1), {})
    family.join({"lot": lots})
    family.begin(town.at(12))
    assert family.status[3:] == ["unknown"] * 3
    alone = Bays(lots.world, bays(town, 0, 2), {})
    alone.join({})
    alone.begin(town.at(12))
    assert alone.status == ["unknown"] * 2


def test_a_car_park_without_capacity_has_no_barrier(town: Any) -> None:
    assert not Lots.chosen(town.entity("OffStreetParking", "p"))
    assert not Bays.chosen(town.entity("ParkingSpot", "s"))
