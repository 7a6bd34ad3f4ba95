"""City time stands still, runs fast or is set back exactly as told, and never by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.kernel.clock import ManualClock, SimulatedClock, SystemClock

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SEOUL = timezone(timedelta(hours=9))


def test_system_clock_is_aware_utc_and_monotonic() -> None:
    clock = SystemClock()
    assert clock.now().utcoffset() == timedelta(0)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    first = clock.monotonic()
    assert clock.monotonic() >= first


def test_manual_clock_stands_still_until_moved() -> None:
    clock = ManualClock(NOON)
    assert clock.now() == clock.now() == NOON
    clock.advance(1.5)
    assert clock.now() == NOON + timedelta(seconds=1.5)
    assert clock.monotonic() == 1.5


def test_a_wall_clock_set_back_does_not_move_monotonic_back() -> None:
    clock = ManualClock(NOON)
    clock.advance(10)
    clock.advance(-3600)
    assert clock.now() == NOON + timedelta(seconds=10 - 3600)
    assert clock.monotonic() == 10
    clock.advance(5)
    assert clock.monotonic() == 15


@given(st.lists(st.floats(min_value=-1e6, max_value=1e6, allow_nan=False), max_size=20))
def test_monotonic_never_runs_backwards(steps: list[float]) -> None:
    clock = ManualClock(NOON)
    before = clock.monotonic()
    for step in steps:
        clock.advance(step)
        assert clock.monotonic() >= before
        before = clock.monotonic()


def test_start_in_another_zone_is_the_same_instant_in_utc() -> None:
    for clock in (ManualClock(NOON.astimezone(SEOUL)), SimulatedClock(NOON.astimezone(SEOUL), real=ManualClock(NOON))):
        assert clock.now() == NOON
        assert clock.now().tzinfo is UTC


@pytest.mark.parametrize("make", [ManualClock, SimulatedClock])
def test_a_clock_without_a_zone_is_refused(make: type) -> None:
    with pytest.raises(ValueError, match="aware"):
        make(datetime(2026, 11, 22))


@pytest.mark.parametrize("speed", [0, -1])
def test_simulated_time_runs_forward_only(speed: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        SimulatedClock(NOON, speed)


@given(st.floats(min_value=1, max_value=600), st.floats(min_value=0, max_value=86_400))
def test_simulated_time_runs_speed_times_as_fast(speed: float, seconds: float) -> None:
    real = ManualClock(NOON - timedelta(days=400))
    city = SimulatedClock(NOON, speed, real)
    assert city.now() == NOON
    real.advance(seconds)
    assert city.monotonic() == pytest.approx(seconds * speed)
    assert city.now() == NOON + timedelta(seconds=city.monotonic())


def test_a_jump_of_the_computers_clock_does_not_jump_the_city() -> None:
    real = ManualClock(NOON)
    city = SimulatedClock(NOON, 60, real)
    real.advance(2)
    real.advance(-7200)
    assert city.now() == NOON + timedelta(seconds=120)


def test_two_simulated_clocks_of_one_real_clock_are_independent() -> None:
    real = ManualClock(NOON)
    real.advance(1000)
    slow, fast = SimulatedClock(NOON, 1, real), SimulatedClock(NOON, 600, real)
    real.advance(1)
    assert (slow.monotonic(), fast.monotonic()) == (1, 600)
