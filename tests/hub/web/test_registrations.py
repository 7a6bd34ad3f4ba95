"""Registrations of context sources: what is accepted, found, refused. Source: CIM 009 v1.9.1 clauses 5.9, 5.10."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from sejong.app import open_city
from sejong.hub.federation import registering
from sejong.hub.ngsi.sourcing import Wanted
from sejong.hub.service import Hub
from sejong.kit.city import City
from sejong.settings import Settings

pytestmark = pytest.mark.anyio

HERE = "/csourceRegistrations"
ONE = "urn:ngsi-ld:ContextSourceRegistration:1"
LAMPS = [{"entities": [{"type": "Lamp"}]}]


def source(tail: str = "1", **more: Any) -> dict[str, Any]:
    """A registration of a source that knows lamps, changed by `more` (None: without that member)."""
    doc = {
        "id": f"urn:ngsi-ld:ContextSourceRegistration:{tail}",
        "type": "ContextSourceRegistration",
        "information": LAMPS,
        "endpoint": "http://osong.example:9090",
        **more,
    }
    return {name: value for name, value in doc.items() if value is not None}


async def ids(ask: Any, **params: str) -> list[str]:
    return [one["id"].rpartition(":")[2] for one in (await ask("GET", HERE, 200, **params)).json()]


async def test_a_registration_comes_back_as_it_was_given(ask: Any) -> None:
    given = source(
        information=[
            {
                "entities": [
                    {"type": "Lamp", "idPattern": "^urn:.*"},
                    {"id": "urn:ngsi-ld:Lamp:7", "type": ["A", "B"]},
                ],
                "propertyNames": ["power"],
                "relationshipNames": ["standsIn"],
            }
        ],
        mode="inclusive",
        operations=["federationOps", "updateEntity"],
        contextSourceInfo=[{"key": "Authorization", "value": "urn:ngsi-ld:request"}],
        contextSourceAlias="osong",
        tenant="streets",
        datasetId=["urn:ngsi-ld:Dataset:1"],
        expiresAt="2100-01-01T00:00:00Z",
        location={"type": "Point", "coordinates": [127.3, 36.5]},
        observationInterval={"startAt": "2020-01-01T00:00:00Z", "endAt": "2021-01-01T00:00:00Z"},
        management={"localOnly": True, "timeout": 500, "cooldown": 2000, "cacheDuration": "PT5S"},
        registrationName="오송 가로등",
        description="lamps",
        refreshRate="PT1M",
        scope="/Osong",
        owner="Osong city",
    )
    made = await ask("POST", HERE, 201, json=given)
    assert made.headers["location"] == f"/ngsi-ld/v1/csourceRegistrations/{ONE}"
    assert (await ask("GET", f"{HERE}/{ONE}", 200)).json() == given
    shown = (await ask("GET", f"{HERE}/{ONE}", 200, options="sysAttrs")).json()
    assert shown["createdAt"] == shown["modifiedAt"]
    await ask("POST", HERE, 409, json=given, error="AlreadyExists")
    await ask("PATCH", f"{HERE}/{ONE}", 204, json={"scope": None, "owner": None, "description": "more lamps"})
    now = (await ask("GET", f"{HERE}/{ONE}", 200)).json()
    assert now == {k: v for k, v in {**given, "description": "more lamps"}.items() if k not in ("scope", "owner")}
    await ask("DELETE", f"{HERE}/{ONE}", 204)
    for method in ("GET", "DELETE"):
        await ask(method, f"{HERE}/{ONE}", 404, error="ResourceNotFound")
    await ask("PATCH", f"{HERE}/{ONE}", 404, json={"scope": "/a"}, error="ResourceNotFound")
    await ask("GET", f"{HERE}/no-uri", 400, error="BadRequestData")
    unnamed = await ask("POST", HERE, 201, json=source(id=None))
    assert (await ask("GET", unnamed.headers["location"].removeprefix("/ngsi-ld/v1"), 200)).json()["id"]


FAULTS: list[dict[str, Any]] = [
    {"id": "7"},
    {"type": "Registration"},
    {"type": None},
    {"information": None},
    {"endpoint": None},
    {"endpoint": "osong"},
    {"information": []},
    {"information": {}},
    {"information": [{}]},
    {"information": [{"entities": []}]},
    {"information": [{"entities": [{}]}]},
    {"information": [{"entities": [{"type": ""}]}]},
    {"information": [{"entities": [{"id": "x"}]}]},
    {"information": [{"entities": [{"idPattern": "("}]}]},
    {"information": [{"entities": [{"type": []}]}]},
    {"information": [{"propertyNames": []}]},
    {"information": [{"relationshipNames": []}]},
    {"information": [{"propertyNames": [1]}]},
    {"information": [{"entities": [{"type": "Lamp"}], "names": ["x"]}]},
    {"mode": "sharing"},
    {"operations": []},
    {"operations": ["fetchEntity"]},
    {"operations": "queryEntity"},
    {"mode": "auxiliary", "operations": ["updateEntity"]},
    {"mode": "auxiliary", "operations": ["redirectionOps"]},
    {"mode": "exclusive"},
    {"mode": "exclusive", "information": [{"entities": [{"id": "urn:a:b", "type": "Lamp"}]}]},
    {"mode": "exclusive", "information": [{"entities": [{"type": "Lamp"}], "propertyNames": ["a"]}]},
    {"mode": "exclusive", "information": [{"entities": [{"idPattern": "a"}], "propertyNames": ["a"]}]},
    {"contextSourceInfo": []},
    {"contextSourceInfo": [{"key": "a"}]},
    {"contextSourceInfo": [{"key": "a", "value": "b\r\nX: y"}]},
    {"datasetId": []},
    {"datasetId": ["x"]},
    {"expiresAt": "2020-01-01T00:00:00Z"},
    {"expiresAt": "soon"},
    {"location": {"type": "Point", "coordinates": "x"}},
    {"location": 5},
    {"observationInterval": {}},
    {"managementInterval": {"startAt": "yesterday"}},
    {"managementInterval": {"startAt": "2020-01-01T00:00:00Z", "endAt": "2019-01-01T00:00:00Z"}},
    {"management": {}},
    {"management": {"timeout": 0}},
    {"management": {"timeout": "5"}},
    {"management": {"cacheDuration": "5s"}},
    {"management": {"localOnly": 1}},
    {"management": {"patience": 1}},
    {"refreshRate": "often"},
    {"scope": "//"},
    {"scope": []},
    {"tenant": ""},
    {"registrationName": 5},
    {"a b": 5},
]


async def test_what_breaks_a_rule_is_refused_and_keeps_nothing(ask: Any) -> None:
    for fault in FAULTS:
        answer = await ask("POST", HERE, 400, json=source(**fault), error="BadRequestData")
        assert answer.json()["detail"], fault
    assert await ids(ask, type="Lamp") == []
    await ask("POST", HERE, 400, content=b"[]", headers={"Content-Type": "application/json"}, error="BadRequestData")
    await ask("POST", HERE, 400, content=b"{}", headers={"Content-Type": "application/json"}, error="BadRequestData")
    await ask("POST", HERE, 201, json=source())
    for fault in (*FAULTS[3:5], {"endpoint": None}):
        name = next(iter(fault))
        await ask("PATCH", f"{HERE}/{ONE}", 400, json={name: None}, error="BadRequestData")
    await ask("PATCH", f"{HERE}/{ONE}", 400, json={"id": "urn:ngsi-ld:other:1"}, error="BadRequestData")
    await ask("PATCH", f"{HERE}/{ONE}", 400, json={"mode": "exclusive"}, error="BadRequestData")
    await ask("PATCH", f"{HERE}/{ONE}", 400, content=b"{}", headers={"Content-Type": "application/json"})
    assert (await ask("GET", f"{HERE}/{ONE}", 200)).json() == source()
    for tail, fine in enumerate([[{"entities": [{"id": "urn:a:b"}]}], [{"propertyNames": ["a"]}]]):
        await ask("POST", HERE, 201, json=source(f"fine{tail}", information=fine))


async def test_discovery(ask: Any) -> None:
    place = {"type": "Point", "coordinates": [127.0, 36.0]}
    old = {"startAt": "2020-01-01T00:00:00Z", "endAt": "2021-01-01T00:00:00Z"}
    for one in (
        source("lamps", location=place, owner="Osong", scope="/Osong/A"),
        source("cars", information=[{"entities": [{"type": "Car", "id": "urn:ngsi-ld:Car:1"}]}]),
        source("pattern", information=[{"entities": [{"type": "Bus", "idPattern": "urn:ngsi-ld:Bus:[0-9]+$"}]}]),
        source("power", information=[{"entities": [{"type": ["Lamp", "Pole"]}], "propertyNames": ["power"]}]),
        source(
            "colour", information=[{"propertyNames": ["colour"], "relationshipNames": ["in"]}], datasetId=["urn:d:1"]
        ),
        source("past", observationInterval=old),
        source("managed", managementInterval={"startAt": "2022-01-01T00:00:00Z"}),
    ):
        await ask("POST", HERE, 201, json=one)
    near = {"georel": "near;maxDistance==1000", "geometry": "Point", "coordinates": "[127.0,36.001]"}
    far = {**near, "coordinates": "[128,36]"}
    after = {"timerel": "after", "timeAt": "2020-06-01T00:00:00Z"}
    before = {"timerel": "before", "timeAt": "2020-01-01T00:00:00Z"}
    for params, expected in [
        ({"type": "Lamp"}, ["lamps", "power", "colour"]),
        ({"type": "Pole|Car"}, ["cars", "power", "colour"]),
        ({"type": "Car", "id": "urn:ngsi-ld:Car:1"}, ["cars", "colour"]),
        ({"type": "Car", "id": "urn:ngsi-ld:Car:2"}, ["colour"]),
        ({"type": "Car", "idPattern": "Car:2"}, ["colour"]),
        ({"type": "Bus", "id": "urn:ngsi-ld:Bus:5"}, ["pattern", "colour"]),
        ({"type": "Bus", "id": "urn:ngsi-ld:Bus:x"}, ["colour"]),
        ({"type": "Lamp", "attrs": "power"}, ["lamps", "power"]),
        ({"attrs": "colour"}, ["lamps", "cars", "pattern", "colour"]),
        ({"q": "in=='urn:a:b'"}, None),
        ({"q": "colour==1"}, ["lamps", "cars", "pattern", "colour"]),
        (near, ["lamps"]),
        (far, []),
        ({"type": "Lamp", "csf": 'owner=="Osong"'}, ["lamps"]),
        ({"type": "Lamp", "csf": "owner!=1"}, ["lamps"]),
        ({"type": "Car", "csf": 'endpoint~="osong"'}, ["cars", "colour"]),
        ({"type": "Lamp", "scopeQ": "/Sejong"}, ["power", "colour"]),
        ({"type": "Lamp", "scopeQ": "/Osong/#"}, ["lamps", "power", "colour"]),
        ({"type": "Lamp", "datasetId": "urn:d:2"}, ["lamps", "power"]),
        ({"type": "Lamp", **after}, ["past"]),
        ({"type": "Lamp", **before}, []),
        ({"type": "Lamp", **after, "timeproperty": "modifiedAt"}, ["managed"]),
    ]:
        if expected is None:
            await ask("GET", HERE, 400, **params)
        else:
            assert await ids(ask, **params) == expected, params
    for params in ({}, {"id": "urn:ngsi-ld:Car:1"}, {"csf": "owner"}, {"type": ""}, {"attrs": "a,,b"}, {"timeAt": "x"}):
        await ask("GET", HERE, 400, error="BadRequestData", **params)
    await ask("GET", HERE, 400, error="InvalidRequest", type="Lamp", colour="red")
    page = await ask("GET", HERE, 200, type="Lamp", limit="1", offset="1", count="true")
    assert page.headers["ngsild-results-count"] == "3"
    assert [one["id"] for one in page.json()] == [source("power")["id"]]
    assert 'rel="next"' in page.headers["link"]
    assert 'rel="prev"' in page.headers["link"]


async def test_names_follow_the_contexts_of_writer_and_reader(ask: Any) -> None:
    context = {"Leuchte": "https://ex.org/Lamp", "leistung": "https://ex.org/power"}
    information = [{"entities": [{"type": "Leuchte"}], "propertyNames": ["leistung"]}]
    await ask("POST", HERE, 201, ld={**source(information=information), "@context": context})
    await ask("POST", HERE, 400, json={**source("2"), "@context": context}, error="BadRequestData")
    (seen,) = (await ask("GET", HERE, 200, type="https://ex.org/Lamp")).json()
    assert seen["information"] == [
        {"entities": [{"type": "https://ex.org/Lamp"}], "propertyNames": ["https://ex.org/power"]}
    ]
    assert await ids(ask, type="Leuchte") == []


async def test_what_is_claimed_alone_is_claimed_once(ask: Any) -> None:
    lamp = "urn:ngsi-ld:Lamp:1"

    def alone(tail: str, name: str, **more: Any) -> dict[str, Any]:
        info = [{"entities": [{"id": lamp, "type": "Lamp"}], "propertyNames": [name]}]
        return source(tail, mode="exclusive", information=info, **more)

    await ask.make({"id": lamp, "type": "Lamp", "power": 5})
    await ask("POST", HERE, 409, json=alone("1", "power"), error="Conflict")
    await ask("POST", HERE, 409, json=source("2", mode="redirect"), error="Conflict")
    await ask("POST", HERE, 201, json=alone("1", "colour"))
    await ask("POST", HERE, 409, json=alone("2", "colour"), error="Conflict")
    await ask("POST", HERE, 201, json=alone("2", "height"))
    await ask("PATCH", f"{HERE}/{source('2')['id']}", 409, json={"information": alone("1", "colour")["information"]})
    cars = [{"entities": [{"type": "Car"}]}]
    await ask("POST", HERE, 201, json=source("3", mode="redirect", information=cars))
    await ask("POST", HERE, 201, json=source("4", mode="redirect", information=cars))
    await ask("POST", HERE, 201, json=source("5", mode="inclusive"))
    await ask("POST", HERE, 201, json=source("6", mode="auxiliary"))


async def test_tenants_and_ends(ask: Any, city: City) -> None:
    mine = {"NGSILD-Tenant": "registry-a"}
    await ask("GET", HERE, 404, headers={"NGSILD-Tenant": "registry-none"}, type="Lamp", error="NonexistentTenant")
    await ask("POST", HERE, 201, json=source(), headers=mine)
    await ask("GET", f"{HERE}/{ONE}", 404)
    await ask("GET", f"{HERE}/{ONE}", 200, headers=mine)
    hub = city.part(Hub)
    assert not hub.registry.has(0)
    await ask("POST", HERE, 201, json=source("brief", expiresAt="2100-01-01T00:00:00Z"))
    assert hub.registry.has(0)
    await city.pool.execute("update hub.registration set expires = now() - interval '1 second' where tenant = 0")
    await ask("GET", f"{HERE}/{source('brief')['id']}", 404)
    assert await ids(ask, type="Lamp") == []
    await ask("POST", HERE, 201, json=source("brief"))
    await city.pool.execute("update hub.registration set expires = now() - interval '1 second' where tenant = 0")
    async with city.pool.acquire() as connection:
        await registering.remove_expired(hub, connection)
    async with asyncio.timeout(5):
        while hub.registry.has(0):
            await asyncio.sleep(0.02)


@asynccontextmanager
async def asyncpg_of(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """A connection of nobody's pool."""
    connection = await asyncpg.connect(settings.database_url)
    try:
        yield connection
    finally:
        await connection.close()


async def test_another_process_hears_of_registrations(ask: Any, settings: Settings) -> None:
    async with open_city(settings) as other:
        registry = other.part(Hub).registry
        await asyncio.wait_for(other.part(Hub).bell.listening.wait(), 5)
        assert not registry.has(0)
        await ask("POST", HERE, 201, json=source())
        async with asyncio.timeout(5):
            while not registry.has(0):
                await asyncio.sleep(0.01)
        lamp = Wanted(types=frozenset({"https://uri.etsi.org/ngsi-ld/default-context/Lamp"}))
        ((found, part),) = registry.matching(0, [lamp], None)
        assert (found.id, part.who, part.names) == (ONE, (lamp,), None)
        await ask("PATCH", f"{HERE}/{ONE}", 204, json={"contextSourceAlias": "osong"})
        async with asyncio.timeout(5):
            while registry.matching(0, [lamp], None, via=["osong"]):
                await asyncio.sleep(0.01)
        # Also after every connection to the database was lost.
        async with asyncpg_of(settings) as connection:
            await connection.execute("delete from hub.registration")  # said to nobody
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
        async with asyncio.timeout(10):
            while registry.has(0):
                await asyncio.sleep(0.02)


async def test_identity(ask: Any, city: City) -> None:
    known = (await ask("GET", "/info/sourceIdentity", 200)).json()
    assert known["type"] == "ContextSourceIdentity"
    assert known["contextSourceAlias"] == "localhost:8000"
    assert known["contextSourceUptime"].startswith("PT")
    assert known["contextSourceTimeAt"].endswith("Z")
    mine = {"NGSILD-Tenant": "registry-b"}
    await city.part(Hub).tenant("registry-b", create=True)
    assert (await ask("GET", "/info/sourceIdentity", 200, headers=mine)).json()[
        "contextSourceAlias"
    ] != "localhost:8000"
