"""Group commit: what one commit makes of many writes."""

from __future__ import annotations

from typing import Any

import pytest

from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.service import Hub
from sejong.hub.store import evolution
from sejong.hub.writer import Informed, Outcome
from sejong.kit.city import City

pytestmark = pytest.mark.anyio

SPEED = "https://uri.etsi.org/ngsi-ld/default-context/speed"
CAR = "urn:ngsi-ld:Car:1"


def reading(value: float, at: str, now: str) -> dict[str, Any]:
    return {"type": "Property", "value": value, "observedAt": at, "createdAt": now, "modifiedAt": now}


def measured(value: float, at: str) -> Any:
    def apply(entity: dict[str, Any] | None, now: str) -> Outcome:
        instance = reading(value, at, now)
        head = entity or {"id": CAR, "type": ["https://uri.etsi.org/ngsi-ld/default-context/Car"], "createdAt": now}
        return Outcome({**head, "modifiedAt": now, SPEED: [instance]}, [(SPEED, None, instance, 2 if entity else 1)])

    return apply


def late(value: float, at: str) -> Any:
    def apply(entity: dict[str, Any] | None, now: str) -> Outcome:
        return Outcome(entity, late=[(SPEED, None, reading(value, at, now), 2)])

    return apply


async def told(city: City) -> list[tuple[str, float]]:
    rows = await city.pool.fetch("select to_char(t, 'HH24:MI') as at, num from hub.hist order by t, num")
    return [(row["at"], row["num"]) for row in rows]


async def test_late_reading_that_this_very_commit_writes_is_there_once(city: City) -> None:
    writer = city.part(Hub).writer
    nine, ten = "2026-11-22T09:00:00Z", "2026-11-22T10:00:00Z"
    items = [measured(1.5, nine), measured(2.5, ten), late(1.5, nine), late(1.5, nine), late(1.25, nine)]
    results = await writer.write_all(0, [(CAR, apply) for apply in items])
    assert all(isinstance(result, Outcome) for result in results)
    assert await told(city) == [("09:00", 1.25), ("09:00", 1.5), ("10:00", 2.5)]


async def test_late_reading_of_an_earlier_commit_is_there_once(city: City) -> None:
    writer = city.part(Hub).writer
    nine, ten = "2026-11-22T09:00:00Z", "2026-11-22T10:00:00Z"
    for apply in (measured(1.5, nine), measured(2.5, ten), late(1.5, nine)):
        await writer.write(0, CAR, apply)
    assert await told(city) == [("09:00", 1.5), ("10:00", 2.5)]


async def test_an_informed_step_that_fails_undoes_itself_alone(city: City) -> None:
    """What it edited is there again, whether it refuses or breaks; its neighbours of the same commit are written."""
    writer = city.part(Hub).writer
    nine = "2026-11-22T09:00:00Z"
    await writer.write(0, CAR, measured(1.5, nine))

    def removing(error: Exception) -> Informed:
        async def run(connection: Any, row: Any, entity: Any, now: str) -> Outcome:
            assert await evolution.REMOVE_ALL.run(connection, row.no) == 1
            raise error

        return Informed(run)

    for error, name in ((BadRequestData("no"), "BadRequestData"), (ValueError("broken"), "InternalError")):
        other = f"urn:ngsi-ld:Car:{name}"

        def create(entity: dict[str, Any] | None, now: str, other: str = other) -> Outcome:
            assert entity is None
            return Outcome({"id": other, "type": ["https://x.example/Car"], "createdAt": now, "modifiedAt": now})

        refused, made = await writer.write_all(0, [(CAR, removing(error)), (other, create)])
        assert type(refused).__name__ == name
        assert isinstance(made, Outcome)
        assert await told(city) == [("09:00", 1.5)]
        assert await city.pool.fetchval("select count(*) from hub.entity where id = $1", other) == 1
