"""Where the sun stands over the city, and when it rises and sets.

Source: J. Meeus, Astronomical Algorithms, 2nd ed., ch. 25 (low accuracy, 0.01°) for the sun's place and ch. 15 for
rising; the same formulas as NOAA's Solar Calculator. Good to about a minute of time at Korean latitudes.
"""

from __future__ import annotations

from collections.abc import Callable
from math import asin, atan2, cos, degrees, radians, sin

import msgspec

RISING_DEG = -0.833
"""Height of the sun's centre when its upper edge shows. Units: degrees. Source: Meeus ch. 15 (34′ bent, 16′ disc)."""
_J2000 = 946_728_000
"""Epoch second of J2000.0, 2000-01-01T12:00Z; the 64 s between UTC and dynamical time move the sun by 0.001°."""


class Daylight(msgspec.Struct, frozen=True):
    """Rise and set of the sun on one local day, epoch seconds; None where it does not happen."""

    rise: int | None
    noon: int
    set: int | None


def place(t: float) -> tuple[float, float]:
    """(declination in radians, Greenwich hour angle of the sun in radians) at epoch second `t`."""
    days = (t - _J2000) / 86_400
    c = days / 36_525
    mean_longitude = 280.46646 + c * (36_000.76983 + 0.0003032 * c)
    anomaly = radians(357.52911 + c * (35_999.05029 - 0.0001537 * c))
    centre = (
        (1.914602 - c * (0.004817 + 0.000014 * c)) * sin(anomaly)
        + (0.019993 - 0.000101 * c) * sin(2 * anomaly)
        + 0.000289 * sin(3 * anomaly)
    )
    node = radians(125.04 - 1934.136 * c)
    longitude = radians(mean_longitude + centre - 0.00569 - 0.00478 * sin(node))
    obliquity = radians(23.439291 - 0.0130042 * c + 0.00256 * cos(node))
    declination = asin(sin(obliquity) * sin(longitude))
    right_ascension = atan2(cos(obliquity) * sin(longitude), cos(longitude))
    sidereal = radians((280.46061837 + 360.98564736629 * days) % 360)
    return declination, sidereal - right_ascension


def elevation_deg(t: float, lon: float, lat: float) -> float:
    """How high the sun stands above the horizon, in degrees (negative at night; without refraction).

    >>> round(elevation_deg(1_795_316_400, 127.27, 36.49))  # Sejong, 2026-11-22 12:00 local time
    33
    """
    declination, hour_angle = place(t)
    phi = radians(lat)
    h = hour_angle + radians(lon)
    return degrees(asin(sin(phi) * sin(declination) + cos(phi) * cos(declination) * cos(h)))


def daylight(midnight: int, lon: float, lat: float, height: float = RISING_DEG) -> Daylight:
    """When the sun passes `height` degrees on the local day that begins at epoch second `midnight`."""

    def above(t: float) -> bool:
        return elevation_deg(t, lon, lat) > height

    noon = max(range(midnight, midnight + 86_400, 60), key=lambda t: elevation_deg(t, lon, lat))
    if not above(noon):
        return Daylight(None, noon, None)
    return Daylight(_crossing(midnight, noon, above), noon, _crossing(midnight + 86_400, noon, above))


def _crossing(dark: int, light: int, above: Callable[[float], bool]) -> int | None:
    if above(dark):
        return None
    while abs(light - dark) > 1:
        middle = (dark + light) // 2
        if above(middle):
            light = middle
        else:
            dark = middle
    return light
