"""How a thing is doing, as one of six classes: what the live map colours and marks.

Pure functions of a thing's present facts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

UNKNOWN, GOOD, FAIR, BAD, WORST, OFF = range(6)

STATE_NAMES = ("unknown", "good", "fair", "bad", "worst", "off")

PM25_GRADES = (15, 35, 75)
"""Upper ends of good, moderate and bad PM2.5. Units: µg/m³. Source: AirKorea, grades of the comprehensive index."""
PM10_GRADES = (30, 80, 150)
"""Upper ends of good, moderate and bad PM10. Units: µg/m³. Source: AirKorea, grades of the comprehensive index."""
NOISE_GRADES = (55, 65, 75)
"""Roadside living areas: 55 at night, 65 by day. Units: dB(A) Leq. Source: 환경정책기본법 시행령 별표 1."""
ROAD_SPEEDS = (15, 25)
"""Below the first jammed, below the second slow. Units: km/h. Source: 국토교통부 ITS 소통등급, 도시부 도로."""
PH_RANGE = (6.5, 8.5)
"""Source: 환경정책기본법 시행령 별표 1, 하천 생활환경기준."""
FEW_BIKES = 3
NEARLY_FULL = 0.1
"""Share of free places below which a car park counts as nearly full."""
LATE_S = 300.0

Facts = Mapping[str, Any]


def number(facts: Facts, name: str) -> float | None:
    """A fact as a number; a boolean, a text or nothing is none."""
    value = facts.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def graded(value: float | None, ends: tuple[float, ...]) -> int:
    """Good up to the first end, then one class worse per end passed.

    >>> [graded(v, PM25_GRADES) for v in (15, 15.1, 36, 80)]
    [1, 2, 3, 4]
    """
    return UNKNOWN if value is None else GOOD + sum(value > end for end in ends)


def bike(facts: Facts) -> int:
    """Whether somebody who walks there finds a bike."""
    free = number(facts, "availableBikeNumber")
    if facts.get("status") == "outOfService":
        return OFF
    if free is None:
        return UNKNOWN
    return BAD if free < 1 else FAIR if free <= FEW_BIKES else GOOD


def parking(facts: Facts) -> int:
    """Whether somebody who drives there finds a place."""
    free, total = number(facts, "availableSpotNumber"), number(facts, "totalSpotNumber")
    if free is None:
        return {"free": GOOD, "occupied": BAD}.get(str(facts.get("status")), UNKNOWN)
    if free < 1:
        return BAD
    return FAIR if total and free / total < NEARLY_FULL else GOOD


def bus(facts: Facts) -> int:
    """On its way, late, or out of service."""
    if facts.get("serviceStatus") in {"outOfService", "garaged", "parked"}:
        return OFF
    delay = number(facts, "delay")
    return FAIR if delay is not None and delay > LATE_S else GOOD


def road(facts: Facts) -> int:
    """How the traffic flows."""
    speed = number(facts, "averageVehicleSpeed")
    if speed is None:
        return UNKNOWN
    return BAD if speed < ROAD_SPEEDS[0] else FAIR if speed < ROAD_SPEEDS[1] else GOOD


def air(facts: Facts) -> int:
    """The worse of fine and ultrafine dust."""
    return max(graded(number(facts, "pm25"), PM25_GRADES), graded(number(facts, "pm10"), PM10_GRADES))


def noise(facts: Facts) -> int:
    """Against the roadside standard."""
    return graded(number(facts, "LAeq"), NOISE_GRADES)


def water(facts: Facts) -> int:
    """Whether the water's acidity is within the standard."""
    ph = number(facts, "pH")
    if ph is None:
        return UNKNOWN
    return GOOD if PH_RANGE[0] <= ph <= PH_RANGE[1] else BAD


def light(facts: Facts) -> int:
    """Burning, dark, or broken."""
    if str(facts.get("status", "ok")) not in {"ok", "working"}:
        return BAD
    return {"on": GOOD, "low": GOOD, "off": OFF}.get(str(facts.get("powerState")), UNKNOWN)


def measured(name: str) -> Callable[[Facts], int]:
    """For meters without a grade: good when there is a number at all."""
    return lambda facts: UNKNOWN if number(facts, name) is None else GOOD


RULES: dict[str, Callable[[Facts], int]] = {
    "BikeHireDockingStation": bike,
    "Vehicle": bus,
    "RoadSegment": road,
    "OffStreetParking": parking,
    "ParkingSpot": parking,
    "AirQualityObserved": air,
    "NoiseLevelObserved": noise,
    "WaterQualityObserved": water,
    "WaterConsumptionObserved": measured("waterConsumption"),
    "ACMeasurement": measured("totalActivePower"),
    "WeatherObserved": measured("temperature"),
    "Streetlight": light,
    "TransportStation": lambda _: OFF,
}


def state_of(type: str, facts: Facts) -> int:
    """The class of a thing of this type; a type without a rule is unknown."""
    rule = RULES.get(type)
    return rule(facts) if rule else UNKNOWN
