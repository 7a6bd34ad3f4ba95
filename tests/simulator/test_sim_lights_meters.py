"""Lamps go by the sun; counters only rise and are the sum of what they count."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sejong.simulator.lights import Lights
from sejong.simulator.meters import CELL_S, PowerMeters, WaterMeters
from sejong.simulator.sun import daylight


def lamps(town: Any, n: int = 200) -> list[dict[str, Any]]:
    return [town.entity("Streetlight", f"l{i}", 127.2 + 0.001 * i, 36.49, powerRating=100) for i in range(n)]


def blocks(town: Any, kind: str, n: int = 60) -> list[dict[str, Any]]:
    return [town.entity(kind, f"h{i}", households=100) for i in range(n)]


def test_lamps_are_off_at_noon_on_at_night_and_dimmed_in_the_small_hours(town: Any) -> None:
    lights = town.family(Lights, lamps(town))
    for day in range(0, 365, 30):
        lights.begin(town.at(12, day))
        assert set(lights.state) == {"off"}
        assert lights.power.max() < 2
        lights.begin(town.at(21, day))
        assert set(lights.state) == {"on"}
        assert lights.power.min() > 90
        lights.begin(town.at(25.5, day))
        assert set(lights.state) == {"low"}
        assert (lights.power < 60).all()


def test_the_city_lights_up_within_an_hour_after_sunset_and_not_at_once(town: Any) -> None:
    lights = town.family(Lights, lamps(town))
    midnight = town.at(0).t
    sunset = daylight(midnight, 127.27, 36.49).set
    assert sunset is not None
    hour = (sunset - midnight) / 3600
    share = []
    for minute in range(-30, 60):
        m = town.at(round(hour * 60 + minute) / 60)
        lights.begin(m) if minute == -30 else lights.advance(m)
        share.append(np.mean(lights.level > 0))
    assert share[0] == 0
    assert share[-1] == 1
    assert all(b >= a - 0.1 for a, b in pairwise(share))
    assert sum(0.02 < s < 0.98 for s in share) >= 3


def test_each_switching_is_told_once(town: Any) -> None:
    lights = town.family(Lights, lamps(town, 50))
    lights.begin(town.at(12))
    told: list[int] = []
    for minute in range(12 * 60 + 1, 22 * 60, 1):
        lights.advance(town.at(minute / 60))
        told += lights.changed()
    assert sorted(told) == list(range(50))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, 4 * 86_400), min_size=3, max_size=9).map(sorted))
def test_counters_never_fall(town: Any, seed: int, instants: list[int]) -> None:
    for kind, name, counters in (
        (PowerMeters, "ACMeasurement", ("imported", "exported")),
        (WaterMeters, "WaterConsumptionObserved", ("consumed",)),
    ):
        family = town.family(kind, blocks(town, name, 12), seed)
        family.begin(town.at(instants[0] / 3600))
        before = {c: np.nan_to_num(getattr(family, c)) for c in counters}
        for t in instants[1:]:
            family.advance(town.at(t / 3600))
            for c in counters:
                now = np.nan_to_num(getattr(family, c))
                assert (now >= before[c] - 1e-9).all()
                before[c] = now


def test_a_counter_is_the_sum_of_the_power_shown(town: Any) -> None:
    meters = town.family(PowerMeters, blocks(town, "ACMeasurement"))
    meters.begin(town.at(0))
    taken, given_ = meters.imported.copy(), np.nan_to_num(meters.exported)
    joules_in = joules_out = np.zeros(60)
    for k in range(2 * 86_400 // CELL_S):
        meters.advance(town.at(k * CELL_S / 3600))
        joules_in = joules_in + np.maximum(meters.power, 0) * CELL_S
        joules_out = joules_out + np.maximum(-meters.power, 0) * CELL_S
    meters.advance(town.at(48))
    assert meters.imported - taken == pytest.approx(joules_in / 3.6e6)
    assert np.nan_to_num(meters.exported) - given_ == pytest.approx(joules_out / 3.6e6)


@pytest.mark.parametrize("kind", [PowerMeters, WaterMeters])
def test_a_restart_goes_on_counting_where_it_was(town: Any, kind: Any) -> None:
    run = town.family(kind, blocks(town, kind.row.kind))
    run.begin(town.at(10))
    run.advance(town.at(24 * 9 + 3.51))
    again = town.family(kind, blocks(town, kind.row.kind))
    again.begin(town.at(24 * 9 + 3.51))
    assert np.allclose(again._count, run._count, rtol=1e-12)


def test_a_city_that_lives_before_the_meters_were_put_in_counts_too(town: Any) -> None:
    meters = town.family(PowerMeters, blocks(town, "ACMeasurement", 3))
    meters.begin(town.at(12, day=-4000))
    assert (meters.imported > 0).all()


def test_panels_give_by_day_only_and_some_give_more_than_is_used(town: Any) -> None:
    meters = town.family(PowerMeters, blocks(town, "ACMeasurement", 200))
    has = meters.panels_w > 0
    assert 0.1 < has.mean() < 0.4
    offset = 9 * 3600
    sun = meters.sun(town.at(12).day, offset)
    night = list(range(18)) + list(range(126, 144))  # before 03 and after 21 o'clock
    assert (sun[:, night] == 0).all()
    assert (sun[~has] == 0).all()
    assert (sun[has].max(axis=1) > 0).all()
    meters.begin(town.at(12, day=-150))
    lowest = np.min(
        [(meters.advance(town.at(h, -150 + d)), meters.power)[1] for d in range(6) for h in (12, 13)], axis=0
    )
    assert lowest[has].min() < 0 <= lowest[~has].min()
    assert np.isnan(meters.exported[~has]).all()


def test_homes_use_most_in_the_evening_and_least_at_night(town: Any) -> None:
    power, water = (town.family(k, blocks(town, k.row.kind, 100)) for k in (PowerMeters, WaterMeters))
    home = ~(power.panels_w > 0)
    use = {}
    for hour in (3.5, 8, 12, 20):
        m = town.at(hour, day=2)
        power.begin(m)
        water.begin(m)
        use[hour] = (power.power[home].mean() / 100, water.flow.mean() / 100)
    assert use[20][0] > use[12][0] > use[3.5][0] > 150
    assert use[8][1] > use[12][1] > use[3.5][1] > 0
    assert 300 < np.mean([u[0] for u in use.values()]) < 700  # watts a home
    assert use[8][1] * 60 < 60  # litres an hour and home


def test_a_day_of_a_home_is_a_korean_home(town: Any) -> None:
    family = town.family(WaterMeters, blocks(town, "WaterConsumptionObserved", 100))
    family.begin(town.at(0))
    before = family.consumed.sum()
    family.advance(town.at(24))
    litres = (family.consumed.sum() - before) * 1000 / 100 / 100
    assert 300 < litres < 650


def test_summer_cools_and_midnight_is_whole(town: Any) -> None:
    meters = town.family(PowerMeters, blocks(town, "ACMeasurement", 30))
    winter, summer = town.at(20, day=-120), town.at(20, day=-30)
    meters.begin(winter)
    august = meters.power.mean()
    meters.begin(summer)
    assert august > 1.1 * meters.power.mean()
    assert datetime.fromtimestamp(winter.t, UTC).month == 7
