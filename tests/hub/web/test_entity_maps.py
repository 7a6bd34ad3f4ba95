"""Entity maps: a set of candidates that stands still while a client pages over it. Source: CIM 009 5.14, 6.32-6.34."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from sejong.hub.entity_maps import Candidates
from sejong.hub.jobs import remove_expired_copies
from sejong.hub.ngsi.instants import format_instant, parse_instant
from sejong.hub.service import Hub
from sejong.kit.city import City

pytestmark = pytest.mark.anyio

HEADER = "NGSILD-EntityMap"
ID = "urn:ngsi-ld:Lamp:"


def lamps(*numbers: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"{ID}{n}", "type": "Lamp", "power": n, **more} for n in numbers]


def short(entities: list[dict[str, Any]]) -> list[int]:
    return [int(entity["id"].rpartition(":")[2]) for entity in entities]


async def test_paging_over_a_map_stands_still_rechecks_and_fills(ask: Any) -> None:
    await ask.make(*lamps(*range(1, 8)))
    first = await ask("GET", "/entities?type=Lamp&limit=3&entityMap=true&q=power>0&count=true", 201)
    name = {HEADER: first.headers[HEADER]}
    assert short(first.json()) == [1, 2, 3]
    assert 'rel="next"' in first.headers["link"]
    # One comes, one goes, one no longer matches: the set never grows, and pages stay full.
    await ask.make(*lamps(8))
    await ask("DELETE", f"/entities/{ID}4", 204)
    await ask("PATCH", f"/entities/{ID}5/attrs", 204, json={"power": -1})
    page = await ask("GET", "/entities?type=Lamp&limit=2&offset=3&q=power>0&count=true", 200, headers=name)
    assert short(page.json()) == [6, 7]
    assert page.headers["NGSILD-Results-Count"] == "5"
    assert page.headers[HEADER] == name[HEADER]
    page = await ask("GET", "/entities?type=Lamp&limit=4&q=power>0&orderBy=power;desc&local=true", 200, headers=name)
    assert short(page.json()) == [7, 6, 3, 2]
    seen = (await ask("GET", f"/entityMaps/{name[HEADER]}", 200)).json()
    assert list(seen["entityMap"]) == [f"{ID}{n}" for n in range(1, 8)]
    assert set(map(tuple, seen["entityMap"].values())) == {("@none",)}
    assert seen["id"] == name[HEADER]
    assert seen["type"] == "EntityMap"
    assert seen["linkedMaps"] == {}


async def test_a_map_that_is_gone_is_made_anew(ask: Any, city: City) -> None:
    await ask.make(*lamps(1, 2))
    for gone in ("urn:ngsi-ld:EntityMap:none", "not a URI"):
        answer = await ask("GET", "/entities?type=Lamp", 201, headers={HEADER: gone})
        assert answer.headers[HEADER] != gone
        await ask("GET", "/entities?type=Lamp", 200, headers={HEADER: answer.headers[HEADER]})
    hub, now = city.part(Hub), city.clock.now()
    old = await hub.maps.make(0, Candidates([]), now - timedelta(seconds=1))
    answer = await ask("GET", "/entities?type=Lamp", 201, headers={HEADER: old.id})
    assert short(answer.json()) == [1, 2]
    await ask("GET", f"/entityMaps/{old.id}", 404, error="ResourceNotFound")
    # A map of entities is none of histories.
    url = "/temporal/entities?type=Lamp&timerel=after&timeAt=2020-01-01T00:00:00Z&timeproperty=modifiedAt"
    other = await ask("GET", url, 201, headers={HEADER: answer.headers[HEADER]})
    assert other.headers[HEADER] != answer.headers[HEADER]
    # The same name in another tenant is another map.
    await ask("POST", "/entities", 201, json=lamps(9)[0], headers={"NGSILD-Tenant": "maps"})
    there = {"NGSILD-Tenant": "maps", HEADER: answer.headers[HEADER]}
    assert short((await ask("GET", "/entities?type=Lamp", 201, headers=there)).json()) == [9]
    await ask("GET", f"/entityMaps/{answer.headers[HEADER]}", 404, headers={"NGSILD-Tenant": "maps"})


async def test_every_reading_operation_makes_and_uses_maps(ask: Any) -> None:
    reading = {"type": "Property", "value": 1, "observedAt": "2026-01-02T00:00:00Z"}
    await ask.make(*lamps(1, 2, heat=reading))
    query = {"type": "Query", "entities": [{"type": "Lamp"}]}
    temporal = {**query, "temporalQ": {"timerel": "after", "timeAt": "2026-01-01T00:00:00Z"}}
    since = "timerel=after&timeAt=2026-01-01T00:00:00Z"
    cases = [
        ("GET", "/entities?type=Lamp", None),
        ("GET", f"/entities/{ID}1?local=true", None),
        ("POST", "/entityOperations/query?limit=5", query),
        ("GET", f"/temporal/entities?type=Lamp&{since}", None),
        ("GET", f"/temporal/entities/{ID}1?{since}", None),
        ("POST", "/temporal/entityOperations/query?limit=5", temporal),
    ]
    for place, (method, path, body) in enumerate(cases, 10):
        made = await ask(method, f"{path}&entityMap=true&entityMapLifetime=PT10M", 201, json=body)
        answer = await ask(method, path, 200, json=body)
        assert HEADER not in answer.headers
        plain = answer.json()
        await ask.make(*lamps(place, heat=reading))
        used = await ask(method, path, 200, json=body, headers={HEADER: made.headers[HEADER]})
        assert used.headers[HEADER] == made.headers[HEADER]
        assert used.json() == made.json() == plain
        await ask("DELETE", f"/entityMaps/{made.headers[HEADER]}", 204)
    made = await ask("GET", f"/entities/{ID}1?entityMap=true", 201)
    named = {HEADER: made.headers[HEADER]}
    assert (await ask("GET", f"/entities/{ID}1", 200, headers=named)).headers[HEADER] == named[HEADER]
    await ask("GET", f"/entities/{ID}2", 404, headers=named, error="ResourceNotFound")
    assert (await ask("GET", "/entities/urn:a:none?entityMap=true", 404)).headers.get(HEADER) is None
    older = await ask(
        "GET", "/entities?type=Lamp&entityMap=true&options=sysAttrs", 201, headers={"Prefer": "ngsi-ld=1.3"}
    )
    assert HEADER in older.headers


async def test_maps_are_made_prolonged_and_deleted_by_themselves(ask: Any, city: City) -> None:
    heat = {"type": "Property", "value": 1, "observedAt": "2026-01-02T00:00:00Z"}
    await ask.make(*lamps(1, 2), *lamps(3, heat=heat))
    query = {"type": "Query", "entities": [{"type": "Lamp"}], "q": "power>1"}
    since = {"timerel": "after", "timeAt": "2026-01-01T00:00:00Z"}
    for method, path, body, expected in [
        ("GET", "/entityMaps?type=Lamp&q=power>1&entityMapLifetime=PT10M", None, [2, 3]),
        ("POST", "/entityMaps?entityMapLifetime=PT10M", query, [2, 3]),
        ("GET", "/temporal/entityMaps?type=Lamp&timerel=after&timeAt=2026-01-01T00:00:00Z", None, [3]),
        ("POST", "/temporal/entityMaps", {"type": "Query", "entities": [{"type": "Lamp"}], "temporalQ": since}, [3]),
        ("GET", "/entityMaps?type=Nothing", None, []),
    ]:
        answer = await ask(method, path, 201, json=body)
        seen = answer.json()
        assert list(seen["entityMap"]) == [f"{ID}{n}" for n in expected]
        assert answer.headers["location"].endswith(seen["id"])
        life = parse_instant(seen["expiresAt"]) - city.clock.now()
        assert (
            timedelta(minutes=9 if "PT10M" in path else 59) < life <= timedelta(minutes=10 if "PT10M" in path else 60)
        )
        place = f"/entityMaps/{seen['id']}"
        assert (await ask("GET", place, 200)).json() == seen
        later = format_instant(city.clock.now() + timedelta(hours=5))
        await ask("PATCH", place, 204, json={"type": "EntityMap", "expiresAt": later})
        assert (await ask("GET", place, 200)).json()["expiresAt"] == later
        await ask("DELETE", place, 204)
        await ask("GET", place, 404, error="ResourceNotFound")
        await ask("DELETE", place, 404, error="ResourceNotFound")
        await ask("PATCH", place, 404, json={"expiresAt": later}, error="ResourceNotFound")
    long = await ask("GET", "/entityMaps?type=Lamp&entityMapLifetime=P9999Y", 201)
    assert parse_instant(long.json()["expiresAt"]) <= city.clock.now() + timedelta(days=1)
    ld = await ask("GET", "/entityMaps?type=Lamp", 201, headers={"Accept": "application/ld+json"})
    assert "@context" in ld.json()


@pytest.mark.parametrize(
    ("method", "path", "body", "error"),
    [
        ("GET", "/entities?type=Lamp&entityMap=maybe", None, "BadRequestData"),
        ("GET", "/entities?type=Lamp&entityMapLifetime=PT1H", None, "BadRequestData"),
        ("GET", "/entities?type=Lamp&entityMap=true&entityMapLifetime=soon", None, "BadRequestData"),
        ("GET", "/entities?type=Lamp&entityMap=true&entityMapLifetime=PT0S", None, "BadRequestData"),
        ("GET", "/types?entityMap=true", None, "InvalidRequest"),
        ("GET", "/entityMaps", None, "BadRequestData"),
        ("GET", "/entityMaps?type=Lamp&limit=3", None, "InvalidRequest"),
        ("GET", "/temporal/entityMaps?type=Lamp", None, "BadRequestData"),
        ("POST", "/entityMaps", {"type": "Quest"}, "BadRequestData"),
        ("POST", "/entityMaps", {"type": "Query"}, "BadRequestData"),
        ("POST", "/entityMaps", {"type": "Query", "q": "a", "splitEntities": 1}, "BadRequestData"),
        ("GET", "/entityMaps/nouri", None, "BadRequestData"),
        ("PATCH", "/entityMaps/urn:a:1", {}, "BadRequestData"),
        ("PATCH", "/entityMaps/urn:a:1", {"expiresAt": "2020-01-01T00:00:00Z"}, "BadRequestData"),
        ("PATCH", "/entityMaps/urn:a:1", {"expiresAt": "2999-01-01T00:00:00Z"}, "BadRequestData"),
        ("PATCH", "/entityMaps/urn:a:1", {"entityMap": {}}, "BadRequestData"),
    ],
)
async def test_what_is_refused(ask: Any, method: str, path: str, body: Any, error: str) -> None:
    await ask(method, path, 400, json=body, error=error)


async def test_entities_are_never_split_here(ask: Any) -> None:
    await ask.make(*lamps(1))
    for value in ("true", "false"):
        assert short(await ask.find(type="Lamp", splitEntities=value)) == [1]
    query = {"type": "Query", "entities": [{"type": "Lamp"}], "splitEntities": True}
    assert short((await ask("POST", "/entityOperations/query", 200, json=query)).json()) == [1]
    await ask("GET", "/entities?type=Lamp&splitEntities=2", 400, error="BadRequestData")


async def test_limits_other_sources_and_forgetting(ask: Any, city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    await ask.make(*lamps(1, 2, 3))
    hub = city.part(Hub)
    monkeypatch.setattr(hub.maps, "_most", 2)
    await ask("GET", "/entities?type=Lamp&entityMap=true", 403, error="TooManyResults")
    await ask("GET", "/entities?type=Lamp&entityMap=true&q=power>1", 201)
    monkeypatch.undo()
    # What other sources have stands beside what is here.
    remote = {f"{ID}1": ["urn:csr:1"], f"{ID}9": ["urn:csr:1", "urn:csr:2"]}
    row = await hub.known(0, f"{ID}1")
    assert row is not None
    numbers = [row.no]
    row = await hub.maps.make(
        0, Candidates(numbers, remote, {"urn:csr:1": "urn:map:7"}), city.clock.now() + timedelta(hours=1)
    )
    seen = (await ask("GET", f"/entityMaps/{row.id}", 200)).json()
    assert seen["entityMap"] == {f"{ID}1": ["@none", "urn:csr:1"], f"{ID}9": ["urn:csr:1", "urn:csr:2"]}
    assert seen["linkedMaps"] == {"urn:csr:1": "urn:map:7"}


async def test_expired_maps_leave_nothing_behind(ask: Any, city: City, migrated: str) -> None:
    await ask.make(*lamps(1))
    hub = city.part(Hub)
    row = await hub.known(0, f"{ID}1")
    assert row is not None
    number = row.no
    await hub.maps.make(0, Candidates([number]), city.clock.now() - timedelta(seconds=1))
    kept = await hub.maps.make(0, Candidates([number]), city.clock.now() + timedelta(hours=1))
    async with city.record.act("test", "expire") as act:
        await remove_expired_copies(city, act)
    connection = await asyncpg.connect(migrated)
    try:
        assert [row[0] for row in await connection.fetch("select no from hub.entity_map")] == [kept.no]
        assert [row[0] for row in await connection.fetch("select map from hub.entity_map_member")] == [kept.no]
    finally:
        await connection.close()
