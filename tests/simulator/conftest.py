"""A small handmade town and the packs, for the simulator's tests."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from sejong.citypack.api import open_pack
from sejong.kernel.chance import Chance
from sejong.simulator.family import Family, World
from sejong.simulator.moment import Calendar, Moment
from sejong.simulator.sky import Sky

KST = timezone(timedelta(hours=9))


class Town:
    """What a test needs to build a town: entities as a pack gives them, moments, and families that live in it."""

    @staticmethod
    def at(hour: float = 0.0, day: int = 0) -> Moment:
        """A moment of local time; day 0 is Monday 2026-11-23, a dry spell of seed 7."""
        start = datetime(2026, 11, 23, tzinfo=KST) + timedelta(days=day, hours=hour)
        return Calendar(KST).at(round(start.timestamp()))

    @staticmethod
    def world(seed: int = 7) -> World:
        """The surroundings families live in."""
        chance, calendar = Chance(seed), Calendar(KST)
        return World(chance, calendar, Sky(chance, calendar, 127.27, 36.49), (127.27, 36.49))

    @staticmethod
    def entity(kind: str, name: str, lon: float | None = None, lat: float = 0.0, **values: Any) -> dict[str, Any]:
        """Normalized, short names. A value that is a dict is the attribute itself."""
        made: dict[str, Any] = {"id": f"urn:ngsi-ld:{kind}:town:{name}", "type": kind}
        if lon is not None:
            made["location"] = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [lon, lat]}}
        for key, value in values.items():
            made[key] = value if isinstance(value, dict) else {"type": "Property", "value": value}
        return made

    @classmethod
    def line(cls, kind: str, name: str, places: list[tuple[float, float]], **values: Any) -> dict[str, Any]:
        """An entity with a line for its place."""
        shape = {"type": "LineString", "coordinates": [list(p) for p in places]}
        return {**cls.entity(kind, name, **values), "location": {"type": "GeoProperty", "value": shape}}

    @classmethod
    def bikes(cls, n: int, slots: int = 12) -> list[dict[str, Any]]:
        """Bike stations on a grid about 500 m wide."""
        return [
            cls.entity(
                "BikeHireDockingStation",
                f"b{i}",
                127.25 + 0.006 * (i % 6),
                36.48 + 0.005 * (i // 6),
                totalSlotNumber=slots,
            )
            for i in range(n)
        ]

    @classmethod
    def family(cls, kind: type[Family], entities: list[dict[str, Any]], seed: int = 7, **city: Any) -> Any:
        """One family on its own (Any: tests look at the state of its kind)."""
        family = kind(cls.world(seed), [e for e in entities if kind.chosen(e)], city)
        family.join({})
        return family


@pytest.fixture(scope="session")
def town() -> type[Town]:
    return Town


@pytest.fixture(scope="session")
def testville() -> list[dict[str, Any]]:
    return list(open_pack("testville").entities())


@pytest.fixture(scope="session")
def whole_sejong() -> list[dict[str, Any]]:
    """The whole of Sejong: takes a second."""
    return list(open_pack("sejong").entities())
