"""Won: whole numbers only, never a float."""

from __future__ import annotations

from typing import NewType

Won = NewType("Won", int)
"""An amount of Korean won. Units: KRW (ISO 4217, no minor unit)."""


def won(amount: int) -> Won:
    """Check that an amount is a whole number of won (a bool or a float is a programmer's fault)."""
    if type(amount) is not int:
        raise TypeError(f"won are whole numbers, not {type(amount).__name__}")
    return Won(amount)
