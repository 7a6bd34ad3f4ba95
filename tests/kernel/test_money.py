"""Won are whole numbers: nothing else gets in."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.kernel.money import won


@given(st.integers())
def test_whole_numbers_stay_what_they_are(amount: int) -> None:
    assert won(amount) == amount
    assert type(won(amount)) is int


@pytest.mark.parametrize("amount", [1.0, True, "1000", None, Fraction(1), 1_000.5])
def test_anything_else_is_a_programmers_fault(amount: object) -> None:
    with pytest.raises(TypeError, match=type(amount).__name__):
        won(amount)  # type: ignore[arg-type]
