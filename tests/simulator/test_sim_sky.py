"""Sun, time and weather."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sejong.simulator.curves import HOME_POWER, HOME_WATER, ROAD, DayCurve
from sejong.simulator.moment import Calendar, iso
from sejong.simulator.sky import WET_SHARE, clear_sky, cloud_factor
from sejong.simulator.sun import daylight, elevation_deg

KST = timezone(timedelta(hours=9))
SEJONG = (127.2891, 36.4800)


def clock(t: int | None) -> str:
    assert t is not None
    return datetime.fromtimestamp(t, KST).strftime("%H:%M")


@pytest.mark.parametrize(
    ("day", "rise", "set_"),
    [  # computed with the full NOAA method (Meeus, with equation of time) for this place
        ((2026, 11, 22), "07:14", "17:18"),
        ((2026, 6, 21), "05:12", "19:52"),
        ((2026, 12, 22), "07:39", "17:19"),
        ((2026, 3, 20), "06:35", "18:42"),
    ],
)
def test_sunrise_and_sunset_in_sejong(day: tuple[int, int, int], rise: str, set_: str) -> None:
    found = daylight(int(datetime(*day, tzinfo=KST).timestamp()), *SEJONG)
    for known, t in ((rise, found.rise), (set_, found.set)):
        assert t is not None
        wanted = datetime(*day, int(known[:2]), int(known[3:]), 30, tzinfo=KST).timestamp()
        assert abs(t - wanted) <= 120, (known, clock(t))


def test_the_sun_at_the_ends_of_the_earth() -> None:
    summer = int(datetime(2026, 6, 21, tzinfo=UTC).timestamp())
    assert daylight(summer, 0.0, 89.0).rise is None
    assert elevation_deg(summer, 0.0, 89.0) > 20
    winter = daylight(int(datetime(2026, 12, 21, tzinfo=UTC).timestamp()), 0.0, 80.0)
    assert winter.rise is None
    assert winter.set is None
    equator = daylight(int(datetime(2026, 3, 20, tzinfo=UTC).timestamp()), 0.0, 0.0)
    assert equator.rise is not None
    assert equator.set is not None
    assert abs(equator.set - equator.rise - 12 * 3600 - 7 * 60) < 90  # half a day, the disc and refraction


def test_highest_sun_is_colatitude_plus_declination() -> None:
    noon = daylight(int(datetime(2026, 6, 21, tzinfo=KST).timestamp()), *SEJONG).noon
    assert elevation_deg(noon, *SEJONG) == pytest.approx(90 - SEJONG[1] + 23.44, abs=0.05)


def test_local_hours_and_days() -> None:
    calendar = Calendar(KST)
    t = int(datetime(2026, 11, 22, 23, 59, 59, tzinfo=KST).timestamp())
    before, after = calendar.at(t), calendar.at(t + 1)
    assert before.hour == pytest.approx(24.0, abs=0.001)
    assert after.hour == 0.0
    assert after.day == before.day + 1
    assert before.weekend
    assert not after.weekend
    assert after.weekday == datetime(2026, 11, 23).weekday()
    assert after.year_day == 327
    assert iso(calendar.last(4.0, t)) == "2026-11-21T19:00:00Z"
    four = int(datetime(2026, 11, 22, 4, tzinfo=KST).timestamp())
    assert calendar.last(4.0, four) == four
    assert calendar.last(4.0, four - 1) == four - 86_400


def test_half_hour_zones_work() -> None:
    calendar = Calendar(timezone(timedelta(hours=5, minutes=30)))
    assert calendar.at(0).hour == 5.5
    assert calendar.at(1800 * 37).day == 1


@given(st.floats(0, 23.999))
def test_a_curve_stays_between_its_hours(hour: float) -> None:
    curve = ROAD.weekday
    a, b = curve.hourly[int(hour)], curve.hourly[(int(hour) + 1) % 24]
    assert min(a, b) - 1e-12 <= curve.at(hour) <= max(a, b) + 1e-12


def test_a_curve_closes_at_midnight_and_has_24_hours() -> None:
    curve = DayCurve([0.0] * 23 + [1.0])
    assert curve.at(23.5) == 0.5
    assert curve.at(0.0) == 0.0
    with pytest.raises(ValueError, match="24"):
        DayCurve([1.0])
    for rhythm in (HOME_WATER, HOME_POWER):
        for weekend in (False, True):
            assert rhythm.curve(weekend).half_hours().mean() == pytest.approx(1.0, abs=0.1)


def test_weather_is_possible_at_every_hour_of_a_year(town: Any) -> None:
    sky, calendar, wet, hours = town.world(3).sky, Calendar(KST), 0, 0
    begin = datetime(2026, 1, 1, tzinfo=KST)
    warmest, coldest = [], []
    for h in range(0, 365 * 24, 5):
        at = begin + timedelta(hours=h)
        w = sky.at(calendar.at(int(at.timestamp())))
        assert 0.1 <= w.humidity <= 1
        assert 0 <= w.cloud <= 1
        assert 0 < w.wind < 25
        assert 0 <= w.wind_from < 360
        assert -25 < w.temperature < 42
        assert 985 < w.pressure < 1050
        assert w.rain < 80
        assert (w.sunshine > 0) == (w.sun_deg > 0)
        assert w.light >= w.sunshine
        if w.rain > 0:
            assert w.cloud >= 0.92
            assert w.humidity > 0.85
        wet, hours = wet + (w.rain > 0), hours + 1
        if 14 <= at.hour <= 16:
            (warmest if at.month == 8 else coldest if at.month == 1 else []).append(w.temperature)
    assert wet / hours == pytest.approx(sum(WET_SHARE) / 12, abs=0.025)
    assert sum(warmest) / len(warmest) > 25
    assert sum(coldest) / len(coldest) < 8


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 5 * 86_400), min_size=2, max_size=6))
def test_the_weather_of_an_instant_does_not_hang_on_what_was_asked_before(town: Any, offsets: list[int]) -> None:
    sky = town.world().sky
    for offset in offsets:
        m = town.at(offset / 3600, day=-140)
        assert sky.at(m) == town.world().sky.at(m)


def test_rain_goes_on_across_midnight(town: Any) -> None:
    """The chain is begun anew for each day; the seam must not show."""
    sky = town.world(5).sky
    same = total = 0
    for day in range(-180, -60):
        before, after = town.at(-1 / 6, day), town.at(0, day)
        same += (sky.rain(before) > 0) == (sky.rain(after) > 0)
        total += 1
    assert same / total > 0.93


def test_clouds_dim_and_night_is_dark() -> None:
    assert clear_sky(-1) == 0
    assert clear_sky(90) == pytest.approx(1098 * 0.9446, rel=0.001)
    assert cloud_factor(0) == 1
    assert cloud_factor(1) == pytest.approx(0.25)
    assert cloud_factor(0.5) > 0.9
