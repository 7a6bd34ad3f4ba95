"""A device that says too much is held back, and only that device."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ingest.throttle import Bucket, cost


def test_burst_then_rate() -> None:
    bucket = Bucket(rate=10, burst=5, now=100.0)
    for _ in range(5):
        assert bucket.is_open(100.0)
        bucket.spend(1, 100.0)
    assert not bucket.is_open(100.0)
    assert bucket.is_open(100.11)
    assert bucket.wait_s(100.11) == 0.0


def test_debt_is_at_most_one_burst_and_must_be_paid() -> None:
    bucket = Bucket(rate=10, burst=5, now=0.0)
    bucket.spend(1_000_000, 0.0)
    assert bucket.wait_s(0.0) == 0.5
    assert not bucket.is_open(0.49)
    assert bucket.is_open(0.51)


def test_clock_that_stands_or_goes_back_gives_nothing() -> None:
    bucket = Bucket(rate=10, burst=5, now=50.0)
    bucket.spend(5, 50.0)
    assert not bucket.is_open(50.0)
    assert not bucket.is_open(10.0)
    assert bucket.is_open(50.2)


def test_long_silence_saves_no_more_than_one_burst() -> None:
    bucket = Bucket(rate=10, burst=5, now=0.0)
    bucket.is_open(1e6)
    bucket.spend(5, 1e6)
    assert not bucket.is_open(1e6)


def test_garbage_costs_by_its_size() -> None:
    assert cost(3, 1_000_000) == 3
    assert cost(0, 10) == 1
    assert cost(0, 1000) == 10


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 20)), max_size=60), st.floats(1, 50), st.floats(1, 50))
def test_never_more_than_rate_and_burst(steps: list[tuple[float, float]], rate: float, burst: float) -> None:
    now = spent = 0.0
    bucket = Bucket(rate, burst, now)
    for pause, amount in steps:
        now += pause
        if bucket.is_open(now):
            bucket.spend(amount, now)
            spent += amount
    # one message may overdraw, by at most its own cost
    assert spent <= burst + rate * now + max((amount for _, amount in steps), default=0) * 1.000001 + len(steps) * 20
    opened = now + bucket.wait_s(now)
    assert opened - now <= burst / rate + 1e-6
