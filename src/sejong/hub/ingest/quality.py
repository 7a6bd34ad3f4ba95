"""Signs that a sensor measures wrongly, each simple enough to be explained in one sentence to whoever drives out.

`range`: no such value exists. `jump`: it changed far more than it ever does, and its neighbours did not. `stuck`: it
has said the same for so long, while its neighbours changed, that chance is no explanation. Pure; in order of arrival.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Literal

import msgspec

Kind = Literal["range", "jump", "stuck"]
Range = tuple[str | None, float, float]
"""Unit code, lowest and highest value that can exist."""

RANGES: Mapping[str, Range] = {
    "temperature": ("CEL", -40.0, 50.0),
    "relativeHumidity": (None, 0.0, 1.05),
    "atmosphericPressure": ("A97", 870.0, 1085.0),
    "windSpeed": ("MTS", 0.0, 75.0),
    "windDirection": ("DD", -180.0, 360.0),
    "precipitation": ("H67", 0.0, 300.0),
    "solarRadiation": (None, -10.0, 1500.0),
    "illuminance": ("LUX", 0.0, 150_000.0),
    "pm25": ("GQ", 0.0, 800.0),
    "pm10": ("GQ", 0.0, 1800.0),
    "no2": ("59", 0.0, 1.0),
    "o3": ("59", 0.0, 0.6),
    "so2": ("59", 0.0, 1.0),
    "co": ("59", 0.0, 50.0),
    "LAeq": ("2N", 20.0, 130.0),
    "LAmax": ("2N", 20.0, 139.0),
    "pH": ("Q30", 3.0, 12.0),
    "turbidity": ("NTU", 0.0, 900.0),
    "residualChlorine": ("M1", 0.0, 4.5),
    "conductivity": ("G42", 10.0, 10_000.0),
    "averageVehicleSpeed": ("KMH", 0.0, 200.0),
    "speed": ("KMH", 0.0, 200.0),
    "occupancy": (None, 0.0, 1.0),
    "intensity": (None, 0.0, 12_000.0),
    "illuminanceLevel": (None, 0.0, 1.0),
    "powerConsumption": ("WTT", 0.0, 2_000.0),
    "totalActivePower": ("WTT", -900_000.0, 900_000.0),
    "flow": ("L2", 0.0, 6_000.0),
    "passengers": (None, 0.0, 200.0),
    "availableBikeNumber": (None, 0.0, 200.0),
    "freeSlotNumber": (None, 0.0, 200.0),
    "availableSpotNumber": (None, 0.0, 20_000.0),
    "occupiedSpotNumber": (None, 0.0, 20_000.0),
}
"""What can exist in a Korean city, by attribute name. Chosen a little beyond the records. Source: KMA extremes of
temperature (-32.6 °C 1981, 41.0 °C 2018) and gusts (63.7 m/s 2006), WMO pressure extremes (870 and 1,084.8 hPa)."""

JUMP = 12.0
"""A change so many times the usual one is a jump. Chosen: a normal instrument shows 12 deviations never."""
JUMP_AFTER = 30
"""Readings after which the usual change of a series is known. Chosen."""
JUMPERS = 0.05
"""If more than this share of the neighbours jumped lately, something happened in the city. Chosen."""
STUCK_LUCK = log(1e-9)
"""So unlikely must a run of equal values be. Chosen: less than once in a year of a million readings a day."""
STUCK_AFTER = 10
NEIGHBOURS = 3
OWN_HABIT = 100
"""Readings after which a counter's own habit of changing is known (a quiet bike station is not broken). Chosen."""
MOST_SERIES = 200_000


class Sign(msgspec.Struct, frozen=True):
    """One sign: which kind, the value, and what was expected (None: no bound)."""

    kind: Kind
    value: float
    low: float | None
    high: float | None


class _Group:
    """The neighbours: all series of one type and attribute."""

    __slots__ = ("change_rate", "jump_rate", "members")

    def __init__(self) -> None:
        self.members = 0
        self.change_rate = 0.5
        self.jump_rate = 0.0


class _Series:
    """One attribute of one thing."""

    __slots__ = ("changes", "count", "group", "high", "low", "same", "unit", "usual", "value")

    def __init__(self, value: float, group: _Group, allowed: Range | None) -> None:
        self.value = value
        self.group = group
        self.unit, self.low, self.high = allowed or (None, float("-inf"), float("inf"))
        self.count = 1
        self.changes = 0
        self.same = 1
        self.usual = 0.0


class Watch:
    """Looks at every numeric reading once, as it is stored."""

    def __init__(self, ranges: Mapping[str, Range] = RANGES) -> None:
        self._ranges = ranges
        self._series: dict[tuple[str, str], _Series] = {}
        self._groups: dict[tuple[str, str], _Group] = {}

    def see(self, entity: str, attribute: str, value: float, unit: str | None) -> list[Sign]:
        """The signs that this value gives. `attribute` is the IRI."""
        series = self._series.get((entity, attribute))
        if series is None:
            series = self._meet(entity, attribute, value)
            return [] if series is None else self._out_of_range(series, value, unit)
        signs = self._out_of_range(series, value, unit)
        change = value - series.value
        group = series.group
        series.count += 1
        if change:
            series.changes += 1
            series.same = 1
            jumped = self._jumped(series, abs(change), value)
            if jumped is not None and not signs:
                signs.append(jumped)
            series.usual += (abs(change) - series.usual) * max(0.05, 1 / series.changes)
        else:
            series.same += 1
            if series.same >= STUCK_AFTER and self._stuck(series, value):
                signs.append(Sign("stuck", value, None, None))
        group.change_rate += ((1.0 if change else 0.0) - group.change_rate) * 0.002
        series.value = value
        return signs

    def _meet(self, entity: str, attribute: str, value: float) -> _Series | None:
        if len(self._series) >= MOST_SERIES:
            return None
        parts = entity.split(":", 3)
        kind = parts[2] if len(parts) > 2 else ""
        group = self._groups.setdefault((kind, attribute), _Group())
        group.members += 1
        name = attribute[max(attribute.rfind("/"), attribute.rfind("#"), attribute.rfind(":")) + 1 :]
        series = self._series[entity, attribute] = _Series(value, group, self._ranges.get(name))
        return series

    @staticmethod
    def _out_of_range(series: _Series, value: float, unit: str | None) -> list[Sign]:
        if series.low <= value <= series.high or (unit is not None and series.unit is not None and unit != series.unit):
            return []
        return [Sign("range", value, series.low, series.high)]

    @staticmethod
    def _jumped(series: _Series, change: float, value: float) -> Sign | None:
        """A jump, unless the neighbours jump as well. Updates how often they do."""
        group, usual = series.group, series.usual
        is_jump = series.count > JUMP_AFTER and change > JUMP * usual > 0
        calm = group.jump_rate <= JUMPERS
        group.jump_rate += ((1.0 if is_jump else 0.0) - group.jump_rate) * 0.02
        if not is_jump or not calm or group.members < NEIGHBOURS:
            return None
        return Sign("jump", value, series.value - JUMP * usual, series.value + JUMP * usual)

    @staticmethod
    def _stuck(series: _Series, value: float) -> bool:
        group = series.group
        rate = group.change_rate
        if value.__class__ is int:
            # Counters differ in how busy they are: one is judged by its own past, too.
            before = series.count - series.same
            if before < OWN_HABIT:
                return False
            rate = min(rate, series.changes / before)
        if group.members < NEIGHBOURS or rate <= 0.0:
            return False
        return series.same * log(max(1e-12, 1.0 - min(rate, 1.0 - 1e-9))) < STUCK_LUCK
