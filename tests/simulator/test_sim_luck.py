"""Chance without memory: exact, even, independent of order and of the past."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sejong.kernel.chance import Chance
from sejong.simulator.luck import (
    Drift,
    Mood,
    arrivals,
    bits,
    counts,
    draws,
    halves,
    keys_of,
    normal,
    one_bits,
    one_normal,
    one_uniform,
    uniform,
)

KEYS = keys_of(Chance(1), "test", [f"device {i}" for i in range(2000)])
U64 = st.integers(0, 2**64 - 1)


@given(U64, st.integers(-(2**40), 2**40), st.integers(0, 2**33))
def test_one_device_alone_has_the_luck_it_has_among_all(key: int, when: int, draw: int) -> None:
    keys = np.array([key, key ^ 1], dtype=np.uint64)
    assert one_bits(key, when, draw) == int(bits(keys, when, draw)[0])
    assert one_uniform(key, when, draw) == float(uniform(keys, when, draw)[0])
    assert one_normal(key, when, draw) == float(normal(keys, when, draw)[0])
    instants = np.array([when, when + 1])
    assert int(bits(keys, instants, draw)[0]) == one_bits(key, when, draw)
    assert bits(keys, when, draws(draw, draw + 1))[1].tolist() == bits(keys, when, draw + 1).tolist()


def test_numbers_are_even_and_nearly_normal() -> None:
    u = np.concatenate([uniform(KEYS, t) for t in range(50)])
    assert u.min() >= 0
    assert u.max() < 1
    tenths, _ = np.histogram(u, 10, (0, 1))
    assert np.abs(tenths / len(u) - 0.1).max() < 0.004
    x = np.concatenate([normal(KEYS, t) for t in range(50)])
    assert abs(x.mean()) < 0.01
    assert abs(x.std() - 1) < 0.01
    assert np.abs(x).max() < 3.47
    a, b = halves(KEYS, 3, 4)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.08


@pytest.mark.parametrize("step", [1, 5, 60, 3600, 21_600])
def test_neighbouring_instants_and_draws_do_not_resemble_each_other(step: int) -> None:
    assert abs(np.corrcoef(normal(KEYS, 1_795_000_000), normal(KEYS, 1_795_000_000 + step))[0, 1]) < 0.08
    assert abs(np.corrcoef(normal(KEYS, 7, 0), normal(KEYS, 7, step))[0, 1]) < 0.08


def test_a_key_hangs_on_seed_family_and_name_only() -> None:
    names = ["a", "b", "c"]
    assert keys_of(Chance(1), "f", names).tolist() == keys_of(Chance(1), "f", names[::-1]).tolist()[::-1]
    assert keys_of(Chance(1), "f", ["b"])[0] == keys_of(Chance(1), "f", names)[1]
    assert keys_of(Chance(2), "f", ["b"])[0] != keys_of(Chance(1), "f", ["b"])[0]
    assert keys_of(Chance(1), "g", ["b"])[0] != keys_of(Chance(1), "f", ["b"])[0]
    assert len(keys_of(Chance(1), "f", [])) == 0


@pytest.mark.parametrize("mean", [0.0, 0.02, 1.0, 8.0, 60.0])
def test_counts_are_poisson(mean: float) -> None:
    n = counts(np.full(20_000, mean), np.concatenate([uniform(KEYS, t, 5) for t in range(10)]))
    assert n.min() >= 0
    assert n.mean() == pytest.approx(mean, rel=0.06, abs=0.005)
    assert n.var() == pytest.approx(mean, rel=0.08, abs=0.005)


def test_arrivals_come_in_order_within_their_block_and_keep_their_luck() -> None:
    mean = np.full(50, 2.0)
    who, when, number = arrivals(KEYS[:50], mean, 100, 900, 1)
    assert (np.diff(when) >= 0).all()
    assert when.min() >= 0
    assert when.max() < 900
    mean[7] = 0.0
    who2, when2, number2 = arrivals(KEYS[:50], mean, 100, 900, 1)
    others = who != 7
    assert (who[others].tolist(), when[others].tolist(), number[others].tolist()) == (
        who2.tolist(),
        when2.tolist(),
        number2.tolist(),
    )


def test_drift_remembers_and_stays_in_its_range() -> None:
    drift = Drift(KEYS, 600, 0.8)
    knots = np.stack([drift.at(600 * k) for k in range(100, 160)])
    assert abs(knots.std() - 1) < 0.03
    assert abs(knots.mean()) < 0.03
    assert np.corrcoef(knots[:-1].ravel(), knots[1:].ravel())[0, 1] == pytest.approx(0.8, abs=0.02)
    assert np.corrcoef(knots[:-5].ravel(), knots[5:].ravel())[0, 1] == pytest.approx(0.8**5, abs=0.03)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=8))
def test_drift_is_the_same_in_whatever_order_it_is_read(instants: list[int]) -> None:
    keys = KEYS[:3]
    drift, mood = Drift(keys, 600, 0.7, 2), Mood(keys, 600, 0.7, 2)
    for t in instants:
        fresh = Drift(keys, 600, 0.7, 2).at(t)
        assert drift.at(t).tolist() == fresh.tolist()
        assert mood.at(t) == pytest.approx(float(fresh[0]), abs=1e-12)
