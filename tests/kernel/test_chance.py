"""The same seed gives the same city; a new stream never moves an old one."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from sejong.kernel.chance import Chance, secret_token, unpredictable_seed

names = st.lists(st.one_of(st.text(max_size=20), st.integers()), max_size=4).map(tuple)


def numbers(chance: Chance, *name: str | int) -> list[float]:
    stream = chance.stream(*name)
    return [stream.random() for _ in range(5)]


@given(st.integers(), names)
def test_same_seed_and_name_repeat_exactly(seed: int, name: tuple[str | int, ...]) -> None:
    assert numbers(Chance(seed), *name) == numbers(Chance(seed), *name)


@given(st.integers(), names, names)
def test_streams_of_other_names_are_others(seed: int, one: tuple[str | int, ...], two: tuple[str | int, ...]) -> None:
    same = [str(part) for part in one] == [str(part) for part in two]
    assert (Chance(seed).seed_of(*one) == Chance(seed).seed_of(*two)) is same


@given(st.integers(), st.integers(), names)
def test_other_seeds_give_other_numbers(one: int, two: int, name: tuple[str | int, ...]) -> None:
    assert (numbers(Chance(one), *name) == numbers(Chance(two), *name)) is (one == two)


@given(st.integers(), st.integers(min_value=0, max_value=50))
def test_draws_of_one_stream_never_move_another(seed: int, draws: int) -> None:
    alone = numbers(Chance(seed), "mobility", "arrivals")
    chance = Chance(seed)
    noisy = chance.stream("energy", "meters")
    arrivals = chance.stream("mobility", "arrivals")
    found: list[float] = []
    for _ in range(5):
        for _ in range(draws):
            noisy.random()
        found.append(arrivals.random())
    assert found == alone


def test_names_are_not_simply_joined() -> None:
    chance = Chance(7)
    assert len({chance.seed_of("a", "bc"), chance.seed_of("ab", "c"), chance.seed_of("abc"), chance.seed_of()}) == 4


def test_the_seed_of_a_stream_is_pinned() -> None:
    """A change here would change every stored simulation: FIPS 180-4 over seed and length-prefixed names."""
    digest = hashlib.sha256(b"7" + (8).to_bytes(4, "big") + b"mobility" + (8).to_bytes(4, "big") + b"arrivals")
    assert Chance(7).seed_of("mobility", "arrivals") == int.from_bytes(digest.digest()[:16], "big")
    assert numbers(Chance(7), "mobility", "arrivals")[0] == 0.7409361881789296


def test_each_call_starts_the_stream_anew() -> None:
    chance = Chance(1)
    assert chance.stream("x").random() == chance.stream("x").random()


def test_secrets_are_long_and_never_the_same() -> None:
    tokens = {secret_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 32 for token in tokens)
    assert len({unpredictable_seed() for _ in range(100)}) == 100
