"""Many entities in one request. Source: CIM 009 clauses 5.6.7-5.6.10, 5.6.20, 6.14-6.17, 6.31."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio

OPS = "/entityOperations/"
NULL = "urn:ngsi-ld:null"
OTHERS = ("create", "upsert", "update", "merge")


def lamp(number: int, **attributes: Any) -> dict[str, Any]:
    return {"id": f"urn:ngsi-ld:Lamp:{number}", "type": "Lamp", **(attributes or {"power": number})}


def urn(*numbers: int) -> list[str]:
    return [f"urn:ngsi-ld:Lamp:{number}" for number in numbers]


async def values(ask: Any, number: int) -> list[Any]:
    history = (await ask("GET", f"/temporal/entities/urn:ngsi-ld:Lamp:{number}", 200)).json()
    return [one["value"] for one in history["power"]]


def errors(answer: Any) -> list[tuple[Any, str]]:
    found = answer.json()["errors"]
    assert all(entry["error"]["status"] >= 400 and entry["error"]["title"] for entry in found)
    return [(entry["entityId"], entry["error"]["type"].rpartition("/")[2]) for entry in found]


@pytest.mark.parametrize("operation", [*OTHERS, "delete"])
async def test_bodies_that_are_no_batch(ask: Any, operation: str) -> None:
    for body, error in [
        (b"{}", "InvalidRequest"),
        (b"5", "InvalidRequest"),
        (b"[", "InvalidRequest"),
        (b"", "InvalidRequest"),
    ]:
        await ask("POST", OPS + operation, 400, content=body, headers={"Content-Type": "application/json"}, error=error)
    for body in (b"[]", b"[null]", b'["urn:ngsi-ld:Lamp:1", null]'):
        await ask(
            "POST",
            OPS + operation,
            400,
            content=body,
            headers={"Content-Type": "application/json"},
            error="BadRequestData",
        )


@pytest.mark.parametrize("operation", OTHERS)
async def test_one_malformed_item_is_one_error(ask: Any, operation: str) -> None:
    await ask.make(lamp(1), lamp(2))
    right = [lamp(3), lamp(4)] if operation == "create" else [lamp(1, power=11), lamp(2, power=12)]
    wrong: list[Any] = [
        {"id": "nouri", "type": "Lamp"},
        {"type": "Lamp", "power": 1},
        lamp(7, power=None),
        5,
        "urn:ngsi-ld:Lamp:8",
        [],
    ]
    answer = await ask("POST", OPS + operation, 207, json=[right[0], *wrong, right[1]])
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["success"] == [one["id"] for one in right]
    assert errors(answer) == [
        ("nouri", "BadRequestData"),
        (None, "BadRequestData"),
        ("urn:ngsi-ld:Lamp:7", "BadRequestData"),
        (5, "BadRequestData"),
        ("urn:ngsi-ld:Lamp:8", "BadRequestData"),
        ([], "BadRequestData"),
    ]
    everything = await ask("POST", OPS + operation, 207, json=wrong[:1])
    assert everything.json()["success"] == []


async def test_create(ask: Any) -> None:
    answer = await ask("POST", OPS + "create", 201, json=[lamp(1), lamp(2)])
    assert answer.json() == urn(1, 2)
    assert answer.headers["content-type"] == "application/json"
    mixed = await ask("POST", OPS + "create", 207, json=[lamp(2), lamp(3), lamp(3, power=33)])
    assert mixed.json()["success"] == urn(3)
    assert errors(mixed) == [("urn:ngsi-ld:Lamp:2", "AlreadyExists"), ("urn:ngsi-ld:Lamp:3", "AlreadyExists")]
    assert (await ask.see("urn:ngsi-ld:Lamp:3"))["power"]["value"] == 3
    seen = [await ask.see(one, options="sysAttrs") for one in urn(1, 2)]
    assert len({moment for one in seen for moment in (one["modifiedAt"], one["power"]["createdAt"])}) == 1


async def test_upsert(ask: Any) -> None:
    await ask.make(lamp(1, power=1, colour="red"), lamp(2, power=1, colour="red"))
    replaced = await ask("POST", OPS + "upsert", 204, json=[lamp(1, power=2)])
    assert replaced.content == b""
    assert "colour" not in await ask.see("urn:ngsi-ld:Lamp:1")
    made = await ask("POST", OPS + "upsert", 201, json=[lamp(2, power=2), lamp(3), lamp(4)], options="update")
    assert made.json() == urn(3, 4)
    two = await ask.see("urn:ngsi-ld:Lamp:2")
    assert (two["power"]["value"], two["colour"]["value"]) == (2, "red")
    await ask("POST", OPS + "upsert", 204, json=[lamp(2, power=3)], options="replace")
    assert "colour" not in await ask.see("urn:ngsi-ld:Lamp:2")
    mixed = await ask("POST", OPS + "upsert", 207, json=[lamp(2), lamp(5), {"id": "nouri", "type": "Lamp"}])
    assert mixed.json()["success"] == urn(2, 5)


async def test_repeated_ids_are_done_in_order(ask: Any) -> None:
    answer = await ask("POST", OPS + "upsert", 201, json=[lamp(1, power=n) for n in range(5)])
    assert answer.json() == urn(1)
    assert (await ask.see("urn:ngsi-ld:Lamp:1"))["power"]["value"] == 4
    assert await values(ask, 1) == [0, 1, 2, 3, 4]
    await ask("POST", OPS + "update", 204, json=[lamp(1, power=n) for n in (7, 5, 6)])
    await ask("POST", OPS + "merge", 204, json=[lamp(1, power=n) for n in (9, 8)])
    assert await values(ask, 1) == [0, 1, 2, 3, 4, 7, 5, 6, 9, 8]
    gone = await ask("POST", OPS + "delete", 207, json=urn(1, 1))
    assert gone.json()["success"] == urn(1)
    assert errors(gone) == [("urn:ngsi-ld:Lamp:1", "ResourceNotFound")]


async def test_update(ask: Any) -> None:
    await ask.make(lamp(1, power=1, colour="red"), lamp(2))
    answer = await ask("POST", OPS + "update", 207, json=[lamp(1, power=2, size=5), lamp(9)])
    assert answer.json()["success"] == urn(1)
    assert errors(answer) == [("urn:ngsi-ld:Lamp:9", "ResourceNotFound")]
    one = await ask.see("urn:ngsi-ld:Lamp:1", format="simplified")
    assert (one["power"], one["colour"], one["size"]) == (2, "red", 5)
    await ask("POST", OPS + "update", 204, json=[lamp(1, power=3, shape="round")], options="noOverwrite")
    one = await ask.see("urn:ngsi-ld:Lamp:1", format="simplified")
    assert (one["power"], one["shape"]) == (2, "round")
    await ask("POST", OPS + "update", 204, json=[lamp(1, power=4)], options="replace")
    assert (await ask.see("urn:ngsi-ld:Lamp:1"))["colour"]["value"] == "red"
    await ask("POST", OPS + "update", 204, json=[{"id": "urn:ngsi-ld:Lamp:2", "power": 22}])
    assert (await ask.see("urn:ngsi-ld:Lamp:2"))["power"]["value"] == 22


async def test_merge(ask: Any) -> None:
    await ask.make(lamp(1, box={"value": {"a": 1, "b": 2}}, colour="red"))
    patch = {"id": "urn:ngsi-ld:Lamp:1", "box": {"value": {"a": NULL, "c": 3}}, "colour": NULL}
    await ask("POST", OPS + "merge", 204, json=[patch])
    assert (await ask.see("urn:ngsi-ld:Lamp:1", format="simplified"))["box"] == {"b": 2, "c": 3}
    assert "colour" not in await ask.see("urn:ngsi-ld:Lamp:1")
    mixed = await ask("POST", OPS + "merge", 207, json=[patch, lamp(9), lamp(1, box={"object": "urn:x:1"})])
    assert mixed.json()["success"] == urn(1)
    assert errors(mixed) == [("urn:ngsi-ld:Lamp:9", "ResourceNotFound"), ("urn:ngsi-ld:Lamp:1", "BadRequestData")]


async def test_delete(ask: Any) -> None:
    await ask.make(lamp(1), lamp(2), lamp(3))
    await ask("POST", OPS + "delete", 204, json=urn(1))
    mixed = await ask("POST", OPS + "delete", 207, json=[*urn(2), "nouri", *urn(9), 5, {"id": urn(3)[0]}])
    assert mixed.json()["success"] == urn(2)
    assert errors(mixed) == [
        ("nouri", "BadRequestData"),
        (5, "BadRequestData"),
        ({"id": "urn:ngsi-ld:Lamp:3"}, "BadRequestData"),
        ("urn:ngsi-ld:Lamp:9", "ResourceNotFound"),
    ]
    assert await ask.ids(type="Lamp") == ["3"]
    await ask("POST", OPS + "delete", 204, ld=urn(3))


async def test_what_cannot_be_stored_hurts_nobody_else(ask: Any) -> None:
    """Names beyond what an index holds and the deepest JSON fail alone, whoever shares their commit."""
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    poison = [
        lamp(2, **{"https://ex.org/" + "".join(chr(0x4E00 + n * 7 % 20_000) for n in range(6_000)): 1}),
        {"id": "urn:ngsi-ld:" + "".join(chr(0xAC00 + n * 13 % 11_000) for n in range(6_000)), "type": "Lamp"},
        lamp(4, raw={"type": "JsonProperty", "json": deep}),
    ]
    import asyncio

    batch = ask("POST", OPS + "create", None, json=[lamp(1), *poison, lamp(5)])
    others = [ask("POST", "/entities", 201, json=lamp(n)) for n in range(10, 30)]
    answer, *_ = await asyncio.gather(batch, *others)
    assert answer.status_code == 207, answer.text
    assert {"urn:ngsi-ld:Lamp:1", "urn:ngsi-ld:Lamp:5"} <= set(answer.json()["success"])
    assert {name for _, name in errors(answer)} == {"BadRequestData"}
    assert len(await ask.ids(type="Lamp", limit="100")) == 20 + len(answer.json()["success"])
    for number in (1, 5):
        assert await values(ask, number) == [number]


async def test_a_batch_may_be_large(ask: Any) -> None:
    many = [
        lamp(n, power=n, colour="red", level=[{"value": 1}, {"value": 2, "datasetId": "urn:d:1"}]) for n in range(5000)
    ]
    assert len((await ask("POST", OPS + "create", 201, json=many)).json()) == 5000
    await ask("POST", OPS + "upsert", 204, json=many)
    counted = await ask("GET", "/entities", 200, type="Lamp", count="true", limit="0")
    assert counted.headers["ngsild-results-count"] == "5000"
    assert counted.json() == []
    await ask("POST", OPS + "create", 400, json=[5] * 20_001, error="BadRequestData")
