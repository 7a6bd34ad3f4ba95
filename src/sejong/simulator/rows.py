"""What a device family sends, as data: a family is one `DeviceRow`, a measured thing one `Measure` in it.

Adding a measured thing is adding a row; the simulation does the rest (period, rounding, range, noise, faults).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Column = Sequence[Any] | NDArray[Any]
"""One value per device of the family, in the order of its ids; None = this device does not measure that."""

FAHRENHEIT, PERCENT = (1.8, 32.0), (100.0, 0.0)
THOUSANDTH, THOUSANDFOLD = (0.001, 0.0), (1000.0, 0.0)
METRES_A_SECOND, KILOMETRES_AN_HOUR = (1 / 3.6, 0.0), (3.6, 0.0)
"""Usual mistakes in units, as (factor, summand) on the right value: °F for °C, % for a share, mg for µg."""


class Measure(msgspec.Struct, frozen=True):
    """One attribute a device reports.

    `value` reads it from the family's present state; `unit` UN/CEFACT code; `digits` decimals sent (0 = whole number,
    None = not a number); `noise` deviation of the instrument; `low`, `high` what the instrument can show; `wrong`
    (factor, summand) that turns the right unit into the one a badly configured device sends; `spike` what it shows
    when it fails for a moment; `optional` some devices do not measure it (their value is not a number). What has no
    `spike` or `wrong` does not fail that way.
    """

    attribute: str
    value: Callable[[Any], Column]
    unit: str | None = None
    digits: int | None = None
    noise: float = 0.0
    low: float | None = None
    high: float | None = None
    wrong: tuple[float, float] | None = None
    spike: float | None = None
    optional: bool = False


class DeviceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One family of devices.

    `gateway` key it publishes with; `kind` entity type; `period_s` a device reports at least so often (thousands of
    devices, each at its own place in the period, a multiple of `spread_s`); `step_s` the state moves on so often;
    `alone` the device has a connection of its own and does not share MQTT messages; `history` in the day of history
    before the first start it speaks every so manieth hour only; `on_change` it reports a change at once as well.
    """

    name: str
    gateway: str
    kind: str
    period_s: int
    step_s: int
    measures: tuple[Measure, ...]
    spread_s: int = 5
    alone: bool = False
    history: int = 1
    on_change: bool = False

    def units(self) -> dict[str, str]:
        """Attribute to unit code, for those that have one."""
        return {m.attribute: m.unit for m in self.measures if m.unit}


def of(name: str) -> Callable[[Any], Column]:
    """A `Measure.value` that reads one field of the family."""
    return lambda family: getattr(family, name)


def rounded(measure: Measure, values: NDArray[np.float64]) -> list[Any]:
    """Numbers as the device sends them: within its range, with its decimals, plain Python numbers."""
    if measure.low is not None:
        values = np.maximum(values, measure.low)
    if measure.high is not None:
        values = np.minimum(values, measure.high)
    if not measure.digits:
        return np.rint(values).astype(np.int64).tolist()
    return values.round(measure.digits).tolist()
