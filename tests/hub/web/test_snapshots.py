"""Snapshots: a frozen part of the record that answers, and may be changed, as the record itself. CIM 009 5.16."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from sejong.hub.jobs import remove_expired_copies
from sejong.hub.ngsi.instants import parse_instant
from sejong.hub.service import Hub
from sejong.hub.view import RecordView
from sejong.kit.city import City

pytestmark = pytest.mark.anyio

HEADER = "NGSILD-Snapshot"
ID = "urn:ngsi-ld:Lamp:"
OLD = {"timerel": "after", "timeAt": "2026-01-01T00:00:00Z"}
QUERY = {"type": "Query", "entities": [{"type": "Lamp"}]}


def lamp(n: int, **more: Any) -> dict[str, Any]:
    return {"id": f"{ID}{n}", "type": "Lamp", "power": n, **more}


def heat(value: float, day: int) -> dict[str, Any]:
    return {"type": "Property", "value": value, "observedAt": f"2026-01-{day:02}T00:00:00Z"}


def short(entities: list[dict[str, Any]]) -> list[int]:
    return [int(entity["id"].rpartition(":")[2]) for entity in entities]


async def ready(ask: Any, name: str, tenant: str = "") -> dict[str, Any]:
    """The snapshot once it is no longer being prepared."""
    headers = {"NGSILD-Tenant": tenant} if tenant else None
    for _ in range(400):
        seen = (await ask("GET", f"/snapshots/{name}", 200, headers=headers)).json()
        if seen["snapshotStatus"] != "preparing":
            return seen
        await asyncio.sleep(0.025)
    raise AssertionError("the snapshot was not prepared")


async def made(ask: Any, *queries: dict[str, Any], tenant: str = "", **more: Any) -> dict[str, str]:
    """The header that means a new snapshot of what these queries mean."""
    body = {"type": "Snapshot", "snapshotQueries": list(queries), **more}
    if not queries:
        del body["snapshotQueries"]
    headers = {"NGSILD-Tenant": tenant} if tenant else {}
    answer = await ask("POST", "/snapshots", 201, json=body, headers=headers)
    name = answer.headers["location"].removeprefix("/ngsi-ld/v1/snapshots/")
    await ready(ask, name, tenant)
    return {HEADER: name, **headers}


async def test_the_copy_stands_still_and_answers_everything(ask: Any) -> None:
    place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [127.0, 36.5]}}
    await ask.make(
        lamp(1, location=place, scope="/a/b"),
        lamp(2, type=["Lamp", "Sensor"]),
        lamp(3),
        {"id": "urn:a:tree", "type": "Tree"},
    )
    within = await made(ask, QUERY, snapshotPriority=7)
    await ask("PATCH", f"/entities/{ID}1/attrs", 204, json={"power": 100})
    await ask("DELETE", f"/entities/{ID}2", 204)
    await ask.make(lamp(4))
    near = "georel=near;maxDistance==10&geometry=Point&coordinates=[127.0,36.5]"
    for path, expected in {
        "/entities?type=Lamp": [1, 2, 3],
        "/entities?type=Sensor": [2],
        "/entities?q=power<3": [1, 2],
        "/entities?type=Lamp&limit=2&offset=1": [2, 3],
        "/entities?type=Lamp&idPattern=:3$": [3],
        f"/entities?{near}": [1],
        "/entities?local=true&scopeQ=/a/%23": [1],
        "/entities?local=true&orderBy=power;desc": [3, 2, 1],
    }.items():
        answer = await ask("GET", path, 200, headers=within)
        assert short(answer.json()) == expected, path
        assert answer.headers[HEADER] == within[HEADER]
    counted = await ask("GET", "/entities?type=Lamp&count=true&limit=0", 200, headers=within)
    assert counted.headers["NGSILD-Results-Count"] == "3"
    one = (await ask("GET", f"/entities/{ID}1", 200, headers=within)).json()
    assert one["power"]["value"] == 1
    assert (await ask("POST", "/entityOperations/query", 200, json=QUERY, headers=within)).json()[0] == one
    assert (await ask("GET", "/types", 200, headers=within)).json()["typeList"] == ["Lamp", "Sensor"]
    await ask("GET", "/entities/urn:a:tree", 404, headers=within)
    # Pages over an entity map inside it.
    mapped = await ask("GET", "/entities?type=Lamp&entityMap=true&limit=1", 201, headers=within)
    named = {"NGSILD-EntityMap": mapped.headers["NGSILD-EntityMap"]}
    assert short((await ask("GET", "/entities?type=Lamp&offset=1", 200, headers={**within, **named})).json()) == [2, 3]
    await ask("GET", f"/entityMaps/{named['NGSILD-EntityMap']}", 404)
    # And the record itself knows nothing of it.
    assert await ask.ids(type="Lamp") == ["1", "3", "4"]
    assert (await ask.see(f"{ID}1"))["power"]["value"] == 100
    seen = (await ask("GET", f"/snapshots/{within[HEADER]}", 200)).json()
    assert seen["snapshotStatus"] == "success"
    assert seen["snapshotPriority"] == 7
    assert seen["snapshotQueriesDetails"] == [{"resultStatus": "success"}]
    assert seen["snapshotQueries"] == [QUERY]
    assert parse_instant(seen["lastUsedAt"]) >= parse_instant(seen["createdAt"])


async def test_writing_on_the_copy_leaves_the_record_alone(ask: Any) -> None:
    await ask.make(lamp(1, heat=heat(20, 1)), lamp(2), lamp(3))
    within = await made(ask, QUERY)
    await ask("PATCH", f"/entities/{ID}1/attrs", 204, json={"heat": heat(99, 2)}, headers=within)
    await ask("DELETE", f"/entities/{ID}2", 204, headers=within)
    await ask("POST", "/entities", 201, json=lamp(5), headers=within)
    await ask("POST", "/entities", 409, json=lamp(1), headers=within, error="AlreadyExists")
    await ask("POST", "/entityOperations/upsert", 201, json=[lamp(6), lamp(3, colour="red")], headers=within)
    await ask("DELETE", "/entities?q=power==6", 204, headers=within)
    found = (await ask("GET", "/entities?type=Lamp", 200, headers=within)).json()
    assert short(found) == [1, 3, 5]
    assert found[0]["heat"]["value"] == 99
    assert found[1]["colour"]["value"] == "red"
    past = (await ask("GET", f"/temporal/entities/{ID}1", 200, headers=within)).json()
    assert [one["value"] for one in past["heat"]] == [99]
    assert await ask.ids(type="Lamp") == ["1", "2", "3"]
    assert (await ask.see(f"{ID}1"))["heat"]["value"] == 20
    past = (await ask("GET", f"/temporal/entities/{ID}1", 200)).json()
    assert [one["value"] for one in past["heat"]] == [20]


async def test_histories_are_frozen_too(ask: Any) -> None:
    await ask.make(lamp(1, heat=heat(1, 1)), lamp(2, heat=heat(5, 1)), lamp(3))
    for day in (2, 3, 4):
        await ask("PATCH", f"/entities/{ID}1/attrs", 204, json={"heat": heat(day, day), "power": day})
    await ask("DELETE", f"/entities/{ID}2", 204)
    since = {"timerel": "after", "timeAt": "2026-01-02T00:00:00Z"}
    first = {"type": "Query", "entities": [{"type": "Lamp"}], "temporalQ": since, "attrs": ["heat"]}
    again = {"type": "Query", "q": "heat==3", "temporalQ": {**OLD, "lastN": 2}}
    gone = {"type": "Query", "entities": [{"id": f"{ID}2"}], "q": "heat", "temporalQ": OLD}
    within = await made(ask, snapshotTemporalQueries=[first, again, gone])
    await ask("PATCH", f"/entities/{ID}1/attrs", 204, json={"heat": heat(50, 5)})
    past = (await ask("GET", f"/temporal/entities/{ID}1", 200, headers=within)).json()
    assert [one["value"] for one in past["heat"]] == [2, 3, 4]
    assert "power" not in past
    there = (await ask("GET", f"/temporal/entities/{ID}1", 200)).json()
    assert {one["instanceId"] for one in past["heat"]} < {one["instanceId"] for one in there["heat"]}
    past = (await ask("GET", f"/temporal/entities/{ID}2", 200, headers=within)).json()
    assert [one["value"] for one in past["heat"]] == [5]
    await ask("GET", f"/temporal/entities/{ID}3", 404, headers=within)
    # Only histories were asked for: nothing of it is there now.
    assert (await ask("GET", "/entities?type=Lamp", 200, headers=within)).json() == []
    query = "/temporal/entities?type=Lamp&timerel=before&timeAt=2026-01-04T00:00:00Z"
    assert short((await ask("GET", query, 200, headers=within)).json()) == [1, 2]
    both = await made(ask, {"type": "Query", "q": "power"}, snapshotTemporalQueries=[{**QUERY, "temporalQ": OLD}])
    assert short((await ask("GET", "/entities?type=Lamp", 200, headers=both)).json()) == [1, 3]
    past = await ask("GET", f"/temporal/entities/{ID}1?timerel=after&timeAt=2026-01-01T00:00:00Z", 200, headers=both)
    assert [one["value"] for one in past.json()["heat"]] == [1, 2, 3, 4, 50]


async def test_only_the_part_the_queries_want(ask: Any) -> None:
    two = [{"value": "w", "datasetId": "urn:d:1", "type": "Property"}, {"value": "x", "type": "Property"}]
    await ask.make(lamp(1, heat=3, colour=two, scope="/a"), lamp(2, heat=4), lamp(3, heat=5, colour="blue"))
    within = await made(
        ask,
        {"type": "Query", "entities": [{"id": f"{ID}1", "type": "Lamp"}], "pick": ["colour"], "datasetId": ["urn:d:1"]},
        {"type": "Query", "entities": [{"id": [f"{ID}1", f"{ID}2"], "type": "Lamp"}], "pick": ["power"]},
        {"type": "Query", "entities": [{"id": f"{ID}3", "type": "Lamp"}]},
        {"type": "Query", "q": "heat>4", "omit": ["power"]},
        {"type": "Query", "q": "heat>40"},
    )
    found = {one["id"][-1]: one for one in (await ask("GET", "/entities?type=Lamp", 200, headers=within)).json()}
    assert found["1"].keys() == {"id", "type", "colour", "power"}
    assert found["1"]["colour"]["value"] == "w"
    assert found["2"].keys() == {"id", "type", "power"}
    assert found["3"].keys() == {"id", "type", "power", "heat", "colour"}
    assert (await ask("GET", "/entities?q=heat", 200, headers=within)).json() == [found["3"]]
    seen = await ready(ask, within[HEADER])
    assert [one["resultStatus"] for one in seen["snapshotQueriesDetails"]] == [*["success"] * 4, "empty"]
    assert seen["snapshotStatus"] == "success"


async def test_what_becomes_of_the_queries(ask: Any, city: City) -> None:
    await ask.make(lamp(1))
    nothing = await made(ask, {"type": "Query", "q": "nothing"})
    assert (await ready(ask, nothing[HEADER]))["snapshotStatus"] == "empty"
    assert (await ask("GET", "/entities?type=Lamp", 200, headers=nothing)).json() == []
    # A query that can be read when it is sent but not when it is carried out.
    hub = city.part(Hub)
    broken = {"type": "Query", "q": "((("}
    for queries, status, details in [
        ([QUERY, broken], "partial", ["success", "failure"]),
        ([broken], "failure", ["failure"]),
    ]:
        name = await hub.snapshots.create(0, {"snapshotQueries": queries}, None)
        seen = await ready(ask, name)
        assert seen["snapshotStatus"] == status
        assert [one["resultStatus"] for one in seen["snapshotQueriesDetails"]] == details
        assert seen["snapshotQueriesDetails"][-1]["problemDetails"]["status"] == 400
        within = {HEADER: name}
        if status == "partial":
            assert short((await ask("GET", "/entities?type=Lamp", 200, headers=within)).json()) == [1]
        else:
            await ask("GET", "/entities?type=Lamp", 404, headers=within, error="ResourceNotFound")
            await ask("POST", f"/snapshots/{name}/clone", 409, error="Conflict")


async def test_clones_listing_changing_deleting(ask: Any, city: City) -> None:
    await ask.make(lamp(1, heat=heat(1, 1)), lamp(2))
    first = await made(
        ask,
        QUERY,
        snapshotTemporalQueries=[{**QUERY, "temporalQ": OLD}],
        id="urn:ngsi-ld:Snapshot:a1",
        snapshotLifetime="PT1H",
    )
    await ask(
        "POST",
        "/snapshots",
        409,
        json={"type": "Snapshot", "id": "urn:ngsi-ld:Snapshot:a1", "snapshotQueries": [QUERY]},
    )
    await ask("DELETE", f"/entities/{ID}2", 204, headers=first)
    answer = await ask("POST", f"/snapshots/{first[HEADER]}/clone", 201)
    other = {HEADER: answer.headers["location"].rpartition("/")[2]}
    named = await ask("POST", f"/snapshots/{first[HEADER]}/clone", 201, json={"id": "urn:s:2", "snapshotPriority": 9})
    assert named.headers["location"] == "/ngsi-ld/v1/snapshots/urn:s:2"
    assert (await ready(ask, other[HEADER]))["snapshotStatus"] == "success"
    await ready(ask, "urn:s:2")
    await ask("PATCH", f"/entities/{ID}1/attrs", 204, json={"power": 77}, headers=other)
    for within, power in ((first, 1), (other, 77)):
        found = (await ask("GET", "/entities?type=Lamp", 200, headers=within)).json()
        assert [one["power"]["value"] for one in found] == [power]
        past = (await ask("GET", f"/temporal/entities/{ID}1", 200, headers=within)).json()
        assert [one["value"] for one in past["heat"]] == [1]
    listed = await ask("GET", "/snapshots?limit=2&count=true", 200)
    assert listed.headers["NGSILD-Results-Count"] == "3"
    assert 'rel="next"' in listed.headers["link"]
    assert len(listed.json()) == 2
    assert (await ask("GET", "/snapshots?offset=2", 200)).json()[0]["id"] == "urn:s:2"
    change = {"type": "Snapshot", "snapshotLifetime": "PT2H", "snapshotPriority": 2, "snapshotStatus": "failure"}
    seen = (await ask("PATCH", "/snapshots/urn:s:2", 200, json=change)).json()
    assert (seen["snapshotPriority"], seen["snapshotStatus"]) == (2, "success")
    left = parse_instant(seen["expiresAt"]) - city.clock.now()
    assert timedelta(minutes=119) < left <= timedelta(hours=2)
    assert (await ask("PATCH", "/snapshots/urn:s:2", 200, json={"snapshotPriority": None})).json()[
        "snapshotPriority"
    ] == 5
    await ask(
        "DELETE", "/snapshots?q=snapshotPriority==5;snapshotStatus==%22success%22;createdAt<2999-01-01T00:00:00Z", 204
    )
    assert (await ask("GET", "/snapshots", 200)).json() == []
    for within in (first, other):
        await ask("GET", "/entities?type=Lamp", 404, headers=within, error="ResourceNotFound")
    await ask("GET", "/snapshots/urn:s:2", 404, error="ResourceNotFound")


async def test_nothing_of_a_deleted_snapshot_remains_and_tenants_are_apart(ask: Any, city: City, migrated: str) -> None:
    await ask("POST", "/entities", 201, json=lamp(1, heat=heat(1, 1)), headers={"NGSILD-Tenant": "frost"})
    within = await made(ask, QUERY, tenant="frost", snapshotTemporalQueries=[{**QUERY, "temporalQ": OLD}])
    await ask("PATCH", f"/entities/{ID}1/attrs", 204, json={"power": 2}, headers=within)
    assert short((await ask("GET", "/entities?type=Lamp", 200, headers=within)).json()) == [1]
    await ask("GET", "/entities?type=Lamp", 404, headers={HEADER: within[HEADER]}, error="ResourceNotFound")
    await ask("GET", "/entities?type=Lamp", 404, headers={HEADER: within[HEADER], "NGSILD-Tenant": "none"})
    connection = await asyncpg.connect(migrated)
    try:
        hidden = await connection.fetchrow("select no, name from hub.tenant where no < 0 order by no limit 1")
        numbers = [row[0] for row in await connection.fetch("select no from hub.entity where tenant < 0")]
        assert numbers
        assert all(number < 0 for number in numbers)
        assert await city.part(RecordView).cards(numbers) == []
        assert not {hidden["name"], hidden["name"].strip()} & set(city.part(Hub)._tenants)
        for name in (hidden["name"], hidden["name"].strip()):
            await ask("GET", "/entities?type=Lamp", 404, headers={"NGSILD-Tenant": name}, error="NonexistentTenant")
        await ask("GET", "/entities?type=Lamp&entityMap=true", 201, headers=within)
        await ask("DELETE", f"/snapshots/{within[HEADER]}", 204, headers={"NGSILD-Tenant": "frost"})
        for _ in range(200):
            if not await connection.fetchval("select count(*) from hub.tenant where no < 0"):
                break
            await asyncio.sleep(0.025)
        for table, column in {"entity": "no", "hist": "eno", "entity_map_member": "eno", "tenant": "no"}.items():
            assert not await connection.fetchval(f"select count(*) from hub.{table} where {column} < 0"), table
    finally:
        await connection.close()
    # Expired ones are invisible at once, and forgotten by the job.
    hub = city.part(Hub)
    name = await hub.snapshots.create(0, {"snapshotQueries": [QUERY], "snapshotLifetime": "PT0.3S"}, None)
    await asyncio.sleep(0.35)
    await ask("GET", f"/snapshots/{name}", 404, error="ResourceNotFound")
    await ask("POST", "/snapshots", 201, json={"type": "Snapshot", "id": name, "snapshotQueries": [QUERY]})
    short_lived = await hub.snapshots.create(0, {"snapshotQueries": [QUERY], "snapshotLifetime": "PT0.1S"}, None)
    await asyncio.sleep(0.15)
    async with city.record.act("test", "expire") as act:
        await remove_expired_copies(city, act)
        left = [row[0] for row in await act.connection.fetch("select id from hub.snapshot")]
    assert name in left
    assert short_lived not in left


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "", {"type": "Snapshot"}),
        ("POST", "", {"type": "Snap", "snapshotQueries": [QUERY]}),
        ("POST", "", {"type": "Snapshot", "snapshotQueries": []}),
        ("POST", "", {"type": "Snapshot", "snapshotQueries": [{"type": "Query"}]}),
        ("POST", "", {"type": "Snapshot", "snapshotQueries": [{**QUERY, "q": "a=="}]}),
        ("POST", "", {"type": "Snapshot", "snapshotQueries": [{**QUERY, "join": "flat"}]}),
        ("POST", "", {"type": "Snapshot", "snapshotQueries": [{**QUERY, "temporalQ": OLD}]}),
        ("POST", "", {"type": "Snapshot", "snapshotTemporalQueries": [QUERY]}),
        ("POST", "", {"type": "Snapshot", "snapshotTemporalQueries": [{**QUERY, "temporalQ": {"timerel": "after"}}]}),
        ("POST", "", {"type": "Snapshot", "snapshotQueries": [QUERY], "id": "nouri"}),
        ("POST", "", {"type": "Snapshot", "snapshotQueries": [QUERY], "snapshotLifetime": "1h"}),
        ("POST", "", {"type": "Snapshot", "snapshotQueries": [QUERY], "snapshotLifetime": "PT0S"}),
        ("POST", "", {"type": "Snapshot", "snapshotQueries": [QUERY], "snapshotPriority": 11}),
        ("POST", "", {"type": "Snapshot", "snapshotQueries": [QUERY], "endpoint": {"uri": "ftp://a/b"}}),
        ("POST", "", {"type": "Snapshot", "snapshotQueries": [QUERY], "receiverInfo": [{"key": "a b", "value": "c"}]}),
        (
            "POST",
            "",
            {"type": "Snapshot", "snapshotQueries": [QUERY], "receiverInfo": [{"key": "a", "value": "c\r\nd"}]},
        ),
        ("POST", "", {"type": "Snapshot", "snapshotQueries": [QUERY], "colour": 1}),
        ("PATCH", "/urn:a:1", {"snapshotQueries": [QUERY]}),
        ("PATCH", "/urn:a:1", {"id": "urn:a:2"}),
        ("PATCH", "/urn:a:1", {"snapshotStatus": "empty"}),
        ("POST", "/urn:a:1/clone", {"snapshotQueries": [QUERY]}),
        ("GET", "/nouri", None),
        ("DELETE", "", None),
        ("DELETE", "?q=power>3", None),
        ("DELETE", "?q=snapshotPriority>", None),
    ],
)
async def test_what_is_refused(ask: Any, method: str, path: str, body: Any) -> None:
    await ask(method, f"/snapshots{path}", 400, json=body, error="BadRequestData")


async def test_unknown_ones_and_limits(ask: Any, city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    for method, path, body in [
        ("GET", "/snapshots/urn:a:1", None),
        ("DELETE", "/snapshots/urn:a:1", None),
        ("PATCH", "/snapshots/urn:a:1", {"snapshotPriority": 1}),
        ("POST", "/snapshots/urn:a:1/clone", None),
    ]:
        await ask(method, path, 404, json=body, error="ResourceNotFound")
    await ask("POST", "/entities", 404, json=lamp(1), headers={HEADER: "urn:a:1"}, error="ResourceNotFound")
    await ask("GET", "/snapshots", 400, headers={HEADER: "urn:a:1"}, error="BadRequestData")
    await ask("GET", "/snapshots?q=a", 400, error="InvalidRequest")
    body = {"type": "Snapshot", "snapshotQueries": [QUERY]}
    await ask("POST", "/snapshots", 404, json=body, headers={"NGSILD-Tenant": "none"}, error="NonexistentTenant")
    await ask("POST", "/snapshots", 415, content=b"{}", headers={"Content-Type": "text/plain"})
    monkeypatch.setattr(city.part(Hub).snapshots, "_most", 0)
    await ask("POST", "/snapshots", 403, json=body, error="TooManyResults")
