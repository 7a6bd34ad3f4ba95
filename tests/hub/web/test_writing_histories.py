"""Writing histories directly. Source: CIM 009 clauses 5.6.11-5.6.16, 6.18, 6.20-6.22."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytestmark = pytest.mark.anyio

NULL = "urn:ngsi-ld:null"
DAY = "2024-05-20T"
TEMPORAL = "/temporal/entities"
METER = "urn:ngsi-ld:Meter:1"
URL = f"{TEMPORAL}/{METER}"


def at(clock: str, value: Any, **more: Any) -> dict[str, Any]:
    """One instance, observed at a time of the day."""
    return {"type": "Property", "value": value, "observedAt": f"{DAY}{clock}:00Z", **more}


def evolution(**series: Any) -> dict[str, Any]:
    return {"id": METER, "type": "Meter", **series}


async def history(ask: Any, **params: str) -> Any:
    return (await ask("GET", URL, 200, **params)).json()


def values(found: Any, name: str = "flow") -> list[Any]:
    return [one["value"] for one in found.get(name, [])]


async def instance_of(ask: Any, value: Any, name: str = "flow") -> str:
    return next(one["instanceId"] for one in (await history(ask))[name] if one["value"] == value)


async def test_a_history_makes_an_entity(ask: Any) -> None:
    body = evolution(
        flow=[at("10:00", 2), at("09:00", 1), at("11:00", 3, datasetId="urn:d:1")], name=[at("08:00", "a")]
    )
    made = await ask("POST", TEMPORAL, 201, json=body)
    assert made.headers["location"] == f"/ngsi-ld/v1{URL}"
    assert made.content == b""
    assert values(await history(ask)) == [1, 2, 3]
    now = await ask.see(METER, format="simplified")
    assert now == {"id": METER, "type": "Meter", "flow": {"dataset": {"@none": 2, "urn:d:1": 3}}, "name": "a"}
    more = {"id": METER, "type": "Sensor", "flow": [at("09:30", 1.5), at("12:00", 4)], "scope": "/a"}
    assert (await ask("POST", TEMPORAL, 204, json=more)).content == b""
    assert values(await history(ask)) == [1, 1.5, 2, 3, 4]
    now = await ask.see(METER, format="simplified")
    assert (now["type"], now["flow"]["dataset"]["@none"], now["scope"]) == (["Meter", "Sensor"], 4, "/a")
    await ask("DELETE", f"/entities/{METER}/attrs/name", 204)
    assert values(await history(ask), "name") == ["a", NULL]


async def test_what_is_refused(ask: Any) -> None:
    await ask("POST", TEMPORAL, 201, json=evolution(flow=[at("10:00", 1)]))
    number = await instance_of(ask, 1)
    one = at("10:00", 1)
    for method, path, body, status, error in (
        ("POST", TEMPORAL, {}, 400, "BadRequestData"),
        ("POST", TEMPORAL, [], 400, "BadRequestData"),
        ("POST", TEMPORAL, {"id": METER, "flow": [one]}, 400, "BadRequestData"),
        ("POST", TEMPORAL, {"type": "Meter", "flow": [one]}, 400, "BadRequestData"),
        ("POST", TEMPORAL, evolution(flow=[one, {"type": "Property"}]), 400, "BadRequestData"),
        ("POST", TEMPORAL, evolution(flow=[{**one, "value": NULL}]), 400, "BadRequestData"),
        ("POST", TEMPORAL, evolution(flow=[{**one, "observedAt": "today"}]), 400, "BadRequestData"),
        ("POST", TEMPORAL, evolution(scope=[{"value": "/a", "unitCode": "x"}]), 400, "BadRequestData"),
        ("POST", TEMPORAL, evolution(scope=[{"type": "Property", "value": "no scope"}]), 400, "BadRequestData"),
        ("POST", TEMPORAL, evolution(location=[one]), 400, "BadRequestData"),
        ("POST", f"{URL}/attrs", {}, 400, "BadRequestData"),
        ("POST", f"{URL}/attrs", {"id": "urn:other:1", "flow": [one]}, 400, "BadRequestData"),
        ("POST", f"{TEMPORAL}/urn:ngsi-ld:Meter:9/attrs", {"flow": [one]}, 404, "ResourceNotFound"),
        ("POST", f"{URL}/attrs?type=Tree", {"flow": [one]}, 404, "ResourceNotFound"),
        ("POST", f"{TEMPORAL}/nouri/attrs", {"flow": [one]}, 400, "BadRequestData"),
        ("PATCH", f"{URL}/attrs/flow/nouri", one, 400, "BadRequestData"),
        ("PATCH", f"{URL}/attrs/flow/urn:ngsi-ld:instance:1", one, 404, "ResourceNotFound"),
        ("PATCH", f"{URL}/attrs/flow/urn:what:1", one, 404, "ResourceNotFound"),
        ("PATCH", f"{URL}/attrs/level/{number}", one, 404, "ResourceNotFound"),
        ("PATCH", f"{URL}/attrs/flow/{number}", {}, 400, "BadRequestData"),
        ("PATCH", f"{URL}/attrs/flow/{number}", [one, one], 400, "BadRequestData"),
        ("PATCH", f"{URL}/attrs/flow/{number}", {**one, "datasetId": "urn:d:1"}, 400, "BadRequestData"),
        ("DELETE", f"{URL}/attrs/flow/nouri", None, 400, "BadRequestData"),
        ("DELETE", f"{URL}/attrs/flow/urn:ngsi-ld:instance:1", None, 404, "ResourceNotFound"),
        ("DELETE", f"{URL}/attrs/level", None, 404, "ResourceNotFound"),
        ("DELETE", f"{URL}/attrs/flow?datasetId=urn:d:1", None, 404, "ResourceNotFound"),
        ("DELETE", f"{URL}/attrs/flow?datasetId=x", None, 400, "BadRequestData"),
        ("DELETE", f"{URL}/attrs/flow?datasetId=urn:d:1&deleteAll=true", None, 400, "InvalidRequest"),
        ("DELETE", f"{TEMPORAL}/urn:ngsi-ld:Meter:9", None, 404, "ResourceNotFound"),
        ("DELETE", f"{URL}?type=Tree", None, 404, "ResourceNotFound"),
        ("DELETE", f"{URL}?q=flow", None, 400, "InvalidRequest"),
        ("PUT", URL, one, 405, None),
    ):  # fmt: skip
        content = b"{}" if body == {} else None
        await ask(method, path, status, json=body, content=content, error=error,
                  headers={"Content-Type": "application/json"} if content else None)  # fmt: skip
    found = await history(ask)
    assert (values(found), found["flow"][0]["instanceId"]) == ([1], number)
    assert (await ask.see(METER))["flow"]["value"] == 1


async def test_the_same_moment_is_replaced(ask: Any) -> None:
    await ask("POST", TEMPORAL, 201, json=evolution(flow=[at("09:00", 1), at("10:00", 2), at("10:00", 2.5)]))
    assert values(await history(ask)) == [1, 2.5]
    before = (await history(ask, options="sysAttrs"))["flow"]
    await ask("POST", f"{URL}/attrs", 204, json={"flow": [at("09:00", 1.5), at("10:00", 3, unitCode="MQH")]})
    after = (await history(ask, options="sysAttrs"))["flow"]
    assert [one["value"] for one in after] == [1.5, 3]
    for key, same in (("instanceId", True), ("createdAt", True), ("modifiedAt", False)):
        assert [(one[key] == other[key]) for one, other in zip(before, after, strict=True)] == [same, same], key
    assert (await ask.see(METER))["flow"] == at("10:00", 3, unitCode="MQH")
    # Fractions of a second name the same moment however many digits they have.
    await ask("POST", f"{URL}/attrs", 204, json={"flow": [{"value": 4, "observedAt": f"{DAY}10:00:00.000Z"}]})
    assert values(await history(ask)) == [1.5, 4]
    # What was written as a present is replaced as well.
    await ask("PATCH", f"/entities/{METER}/attrs", 204, json={"flow": at("11:00", 5)})
    await ask("PATCH", f"/entities/{METER}/attrs", 204, json={"flow": at("11:00", 6)})
    assert values(await history(ask)) == [1.5, 4, 5, 6]
    await ask("POST", f"{URL}/attrs", 204, json={"flow": [at("11:00", 7)]})
    assert values(await history(ask)) == [1.5, 4, 7]
    assert (await ask.see(METER))["flow"]["value"] == 7


async def test_the_newest_instance_is_the_present(ask: Any) -> None:
    await ask.make({"id": METER, "type": "Meter", "flow": at("10:00", 10), "level": 1})
    await ask("POST", f"{URL}/attrs", 204, json={"flow": [at("09:00", 9)], "level": [at("09:00", 0)]})
    assert (await ask.see(METER, format="simplified"))["flow"] == 10
    assert (await ask.see(METER, format="simplified"))["level"] == 1
    await ask("POST", f"{URL}/attrs", 204, json={"level": [{"type": "Property", "value": 2}]})
    assert (await ask.see(METER, format="simplified"))["level"] == 2
    await ask("DELETE", f"/entities/{METER}/attrs/flow", 204)
    await ask("POST", f"{URL}/attrs", 204, json={"flow": [at("11:00", 11)], "fresh": [at("01:00", 1)]})
    now = await ask.see(METER, format="simplified")
    assert "flow" not in now  # its deletion is newer than that
    assert now["fresh"] == 1
    assert values(await history(ask)) == [9, 10, 11, NULL]
    # The entity is gone; an older history does not bring it back, a newer one does.
    await ask("DELETE", f"/entities/{METER}", 204)
    await ask("POST", TEMPORAL, 204, json=evolution(flow=[at("12:00", 12)]))
    await ask("GET", f"/entities/{METER}", 404)
    assert values(await history(ask)) == [9, 10, 11, 12, NULL]
    await ask("POST", f"{URL}/attrs", 204, json={"flow": [{"type": "Property", "value": 13}]})
    assert await ask.see(METER, format="simplified") == {"id": METER, "type": "Meter", "flow": 13}
    assert values(await history(ask)) == [9, 10, 11, 12, NULL, 13]


async def test_instances_are_edited(ask: Any) -> None:
    await ask("POST", TEMPORAL, 201, json=evolution(flow=[at("09:00", 1), at("10:00", 2), at("11:00", 3)]))
    created = {one["value"]: one["createdAt"] for one in (await history(ask, options="sysAttrs"))["flow"]}
    # An old one: only the history changes.
    await ask(
        "PATCH", f"{URL}/attrs/flow/{await instance_of(ask, 1)}", 204, json=at("09:00", 1.5, instanceId="urn:x:1")
    )
    assert values(await history(ask)) == [1.5, 2, 3]
    timed = (await history(ask, options="sysAttrs"))["flow"][0]
    assert timed["createdAt"] == created[1] < timed["modifiedAt"]
    assert (await ask.see(METER))["flow"]["value"] == 3
    # The newest one is the present; moved into the past, another is.
    newest = await instance_of(ask, 3)
    await ask("PATCH", f"{URL}/attrs/flow/{newest}", 204, json={"flow": [at("11:00", 3.5)]})
    assert (await ask.see(METER))["flow"]["value"] == 3.5
    await ask("PATCH", f"{URL}/attrs/flow/{newest}", 204, json={"type": "Meter", "flow": at("08:00", 0.5)})
    assert values(await history(ask)) == [0.5, 1.5, 2]
    assert (await ask.see(METER))["flow"] == at("10:00", 2)
    await ask("PATCH", f"{URL}/attrs/flow/{newest}", 204, json=at("12:00", 4))
    assert (await ask.see(METER))["flow"]["value"] == 4
    assert await instance_of(ask, 4) == newest
    # Removing: the present falls back to what is left, then there is no such attribute.
    await ask("DELETE", f"{URL}/attrs/flow/{await instance_of(ask, 1.5)}", 204)
    assert (await ask.see(METER))["flow"]["value"] == 4
    await ask("DELETE", f"{URL}/attrs/flow/{newest}", 204)
    await ask("DELETE", f"{URL}/attrs/flow/{newest}", 404)
    assert (await ask.see(METER))["flow"] == at("10:00", 2)
    await ask("DELETE", f"{URL}/attrs/flow/{await instance_of(ask, 2)}", 204)
    assert await ask.see(METER) == {"id": METER, "type": "Meter"}
    assert await history(ask) == {"id": METER, "type": "Meter"}


async def test_attributes_and_entities_are_forgotten(ask: Any) -> None:
    both = [at("09:00", 1), at("10:00", 2), at("09:00", 3, datasetId="urn:d:1"), at("09:00", 4, datasetId="urn:d:2")]
    await ask("POST", TEMPORAL, 201, json=evolution(flow=both, level=[at("09:00", 5)], scope="/a"))
    await ask("DELETE", f"{URL}/attrs/flow", 204)
    assert values(await history(ask)) == [3, 4]
    assert [one["value"] for one in (await ask.see(METER))["flow"]] == [3, 4]
    await ask("DELETE", f"{URL}/attrs/flow", 404, error="ResourceNotFound")
    await ask("DELETE", f"{URL}/attrs/flow", 204, datasetId="urn:d:1")
    await ask("DELETE", f"{URL}/attrs/flow", 204, deleteAll="true")
    assert (await history(ask)).keys() == (await ask.see(METER)).keys() | {"level", "scope"}
    await ask("DELETE", f"{URL}/attrs/scope", 204)
    assert (await ask.see(METER)).keys() == {"id", "type", "level"}
    # An attribute that is gone from the present can still be forgotten.
    await ask("DELETE", f"/entities/{METER}/attrs/level", 204)
    await ask("DELETE", f"{URL}/attrs/level", 204)
    assert await history(ask) == {"id": METER, "type": "Meter"}
    await ask("DELETE", URL, 204)
    for method, path in (
        ("GET", URL),
        ("DELETE", URL),
        ("GET", f"/entities/{METER}"),
        ("DELETE", f"/entities/{METER}"),
    ):
        await ask(method, path, 404, error="ResourceNotFound")
    await ask("POST", f"{URL}/attrs", 404, json={"flow": [at("09:00", 1)]})
    await ask("POST", TEMPORAL, 201, json=evolution(flow=[at("09:00", 1)]))
    # Deleted as a present, its history is still there to be forgotten.
    await ask("DELETE", f"/entities/{METER}", 204)
    assert values(await history(ask)) == [1, NULL]
    await ask("DELETE", URL, 204)
    await ask("GET", URL, 404)


async def test_scopes_have_a_history(ask: Any) -> None:
    scopes = [{"type": "Property", "value": "/b", "observedAt": f"{DAY}10:00:00Z"},
              {"type": "Property", "value": ["/a", "/c"], "observedAt": f"{DAY}09:00:00Z"}]  # fmt: skip
    await ask("POST", TEMPORAL, 201, json=evolution(flow=[at("09:00", 1)], scope=scopes))
    assert (await ask.see(METER))["scope"] == "/b"
    assert values(await history(ask), "scope") == [["/a", "/c"], ["/b"]]
    await ask(
        "POST",
        f"{URL}/attrs",
        204,
        json={"scope": [{**scopes[0], "value": "/d"}, {**scopes[1], "observedAt": f"{DAY}08:00:00Z"}]},
    )
    assert (await ask.see(METER))["scope"] == "/d"
    newest = await instance_of(ask, ["/d"], "scope")
    await ask("PATCH", f"{URL}/attrs/scope/{newest}", 204, json={**scopes[0], "value": "/e"})
    assert (await ask.see(METER))["scope"] == "/e"
    await ask("DELETE", f"{URL}/attrs/scope/{newest}", 204)
    assert (await ask.see(METER))["scope"] == ["/a", "/c"]
    assert [one["id"] for one in await ask.find(type="Meter", scopeQ="/c")] == [METER]


async def test_many_writers_of_one_history(ask: Any) -> None:
    """Written at once, from many clients: nothing is lost, nothing is there twice, one of them made the entity."""
    clocks = [f"{hour:02}:{minute:02}" for hour in range(4) for minute in range(0, 60, 10)]
    answers = await asyncio.gather(
        *(ask("POST", TEMPORAL, None, json=evolution(flow=[at(clock, n)])) for n, clock in enumerate(clocks)),
        *(ask("POST", TEMPORAL, None, json=evolution(flow=[at(clock, n)])) for n, clock in enumerate(clocks)),
        ask("POST", TEMPORAL, None, json=evolution(location=[at("09:00", 1)])),
    )
    statuses = [one.status_code for one in answers]
    assert (statuses.count(201), statuses.count(204), statuses.count(400)) == (1, 2 * len(clocks) - 1, 1)
    found = await history(ask)
    assert values(found) == list(range(len(clocks)))
    assert (await ask.see(METER))["flow"]["value"] == len(clocks) - 1
    numbers = [one["instanceId"] for one in found["flow"]]
    answers = await asyncio.gather(*(ask("DELETE", f"{URL}/attrs/flow/{one}") for one in numbers[3:] for _ in (1, 2)))
    assert sorted(one.status_code for one in answers) == [204] * len(numbers[3:]) + [404] * len(numbers[3:])
    assert (await ask.see(METER))["flow"]["value"] == 2
