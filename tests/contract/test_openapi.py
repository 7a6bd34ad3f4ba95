"""The API keeps the word its OpenAPI document gives: even an odd request gets an answer that the document names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import requests
import schemathesis
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as pace
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS

from sejong.app import WebCity, migrate_city, open_city, openapi_document
from sejong.kernel.chance import Chance
from sejong.kit.embedded_postgres import Cluster
from sejong.settings import Settings

EXAMPLES, LIKELY = 6, 3
"""Requests of each kind (what the document calls valid, and what it does not) for each operation, and how many
variations of each that a builder might send: 96 requests for each operation."""
SNAPSHOT = Path(__file__).with_name("openapi.json")
DOCUMENT = json.loads(json.dumps(openapi_document()))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}
ASKED_HERE = [label for label in OPERATIONS if not label.endswith(".parquet")]
"""A Parquet file takes a process of its own each time: tests/hub/opendata asks for some."""
PROMISES = [
    CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "response_headers_conformance",
    )
]


def test_the_document_is_the_one_that_was_agreed() -> None:
    """A change of the API is a decision: it shows in the diff of this file."""
    agreed = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    changed = sorted(
        f"{method.upper()} {path}"
        for path in agreed["paths"].keys() | DOCUMENT["paths"].keys()
        for method in agreed["paths"].get(path, {}).keys() | DOCUMENT["paths"].get(path, {}).keys()
        if agreed["paths"].get(path, {}).get(method) != DOCUMENT["paths"].get(path, {}).get(method)
    )
    assert agreed == DOCUMENT, (
        f"The API changed ({', '.join(changed) or 'outside its paths'}). If that is meant, agree to it:\n"
        f"  .venv/bin/sejong openapi {SNAPSHOT.relative_to(Path.cwd())}\n"
        "and say in the changelog what builders must do."
    )


def test_every_operation_has_a_name_and_says_what_it_does() -> None:
    names = [operation.definition.raw["operationId"] for operation in OPERATIONS.values()]
    assert len(names) == len(set(names))
    assert all(operation.definition.raw["summary"].strip() for operation in OPERATIONS.values())


# --- a city to ask ----------------------------------------------------------------------------------------------

THINGS = [f"urn:ngsi-ld:{kind}:{n}" for kind in ("Vehicle", "OffStreetParking") for n in (1, 2)]
HERE = "http://localhost:8000"


Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def ask(anyio_backend: str, cluster: Cluster, settings: Settings, worker_id: str) -> Iterator[Ask]:
    """Sends a request to a city of its own that asks nobody outside, without a network in between."""
    dsn = cluster.ensure_database(f"contract_{worker_id}")
    own = settings.model_copy(update={"database_url": dsn, "context_egress": "deny"})
    application = WebCity(own)
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    with start_blocking_portal(anyio_backend) as portal:
        portal.call(migrate_city, own)
        with portal.wrap_async_context_manager(open_city(own)) as city:
            application.mount(city)
            client = httpx.AsyncClient(transport=transport, base_url=HERE)

            def send(method: str, url: str, **more: Any) -> httpx.Response:
                return portal.call(partial(client.request, method, url, **more))

            yield send


def entity_like(thing: str) -> dict[str, Any]:
    return {
        "id": thing,
        "type": thing.split(":")[2],
        "speed": {"type": "Property", "value": 50, "unitCode": "KMH", "observedAt": AT},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [127.28, 36.48]}},
        "name": {"type": "LanguageProperty", "languageMap": {"ko": "나성동", "en": "Naseong"}},
        "isParked": {"type": "Relationship", "object": THINGS[-1]},
    }


# --- requests a builder might send ------------------------------------------------------------------------------

AT = "2026-11-22T08:00:00Z"
GEOMETRIES: list[Any] = [
    {"type": "Point", "coordinates": [127.28, 36.48]},
    {"type": "Point", "coordinates": [400, "x"]},
    {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]},
    {"type": "LineString", "coordinates": []},
    {"type": "GeometryCollection", "geometries": []},
]
ODD: list[Any] = [
    None, True, 0, -1.5, 2**63, 1e300, "", "세종 🚲", "\x00", "a\nb", "\ud800", AT,
    "2026-11-22T17:00:00.123456789+09:00",
    "9999-12-31T23:59:60Z", "urn:a:1", ["urn:a:1", "nobody"], [], [[]], {}, [None, {"a": [1]}], {"@value": 1},
    {"type": "Property", "value": 7, "observedAt": AT}, {"ko": "나성동", "en": "Naseong"}, {"@none": 1}, *GEOMETRIES,
]  # fmt: skip
NAMES = [
    "speed",
    "name",
    "location",
    "isParked",
    "https://example.org/a",
    "세종",
    "a b",
    "@value",
    "type",
    "scope",
    "\x00",
    "",
]
KINDS = ["Property", "Relationship", "GeoProperty", "LanguageProperty", "VocabProperty", "JsonProperty", "ListProperty"]
MEMBERS = ["value", "object", "languageMap", "vocab", "json", "valueList", "objectList"]
EXTRAS: list[dict[str, Any]] = [
    {"observedAt": AT}, {"observedAt": "gestern"}, {"observedAt": 5}, {"unitCode": "KMH"}, {"unitCode": ""},
    {"datasetId": "urn:dataset:1"}, {"datasetId": "@none"}, {"datasetId": None}, {"createdAt": AT}, {"expiresAt": AT},
    {"speed": {"type": "Property", "value": 1}}, {"speed": 1}, {"type": "X"}, {"value": "urn:ngsi-ld:null"}, {}, {},
]  # fmt: skip


def attribute(chance: Random) -> Any:
    """An attribute as somebody might write it: mostly right, or odd in one place, or altogether odd."""
    right = chance.choice(list(entity_like(THINGS[0]).values())[2:])
    kind = chance.randrange(len(KINDS))
    odd = {"type": KINDS[kind], MEMBERS[kind]: chance.choice(ODD), **chance.choice(EXTRAS)}
    return chance.choice([right, right, right | chance.choice(EXTRAS), odd, [right, odd], chance.choice(ODD)])


def fragment(chance: Random) -> dict[str, Any]:
    """Some attributes of an entity."""
    names = NAMES if chance.random() < 0.3 else NAMES[:6]
    return {chance.choice(names): attribute(chance) for _ in range(chance.randint(1, 2))}


def entity(chance: Random) -> dict[str, Any]:
    """An entity as somebody might send it."""
    return {"id": chance.choice(IDS), "type": chance.choice(TYPES), **fragment(chance)}


IDS = [*THINGS, "urn:ngsi-ld:New:1", "urn:ngsi-ld:\x00", "not a uri"]
TYPES: list[Any] = ["Vehicle", "Vehicle", ["Vehicle", "Bus"], "https://example.org/T", "", 3]
QUERIES: dict[str, list[Any]] = {
    "id": [*THINGS, ",".join(THINGS), "nouri"],
    "type": ["Vehicle", "Vehicle,Bus", "(Vehicle;Bus)|OffStreetParking", "((", "https://example.org/T"],
    "q": ["speed>40", "speed==40..60;name[ko]~=나", 'name!="x"|speed', "speed>>", "a.b[c.d]==1,2", "~=["],
    "attrs": ["speed", "speed,name", "nothing", ","],
    "pick": ["speed", "id,type", "isParked{speed}", "{"],
    "omit": ["speed", "id", "}"],
    "georel": ["near;maxDistance==1000", "within", "intersects", "near", "near;maxDistance==x"],
    "geometry": ["Point", "Polygon", "Square"],
    "coordinates": ["[127.28,36.48]", "[[[127,36],[128,36],[128,37],[127,36]]]", "[", "127,36"],
    "timerel": ["before", "after", "between", "sometime"],
    "timeAt": ["2026-11-22T08:00:00Z", "2026-11-22", "x"],
    "endTimeAt": ["2026-11-23T08:00:00Z", "x"],
    "aggrMethods": ["max,avg", "stddev", "nonsense"],
    "aggrPeriodDuration": ["PT1H", "P1D", "PT0S", "x"],
    "lang": ["ko", "en;q=0.5,*", "?"],
    "limit": [0, 1, 1000, 10**9, -1],
    "offset": [0, 3, 10**12],
    "scopeQ": ["/a/#", "/a;/b", "a//b", "/+"],
    "orderBy": ["speed", "dist-asc", "createdAt;desc", ";;"],
    "idPattern": ["urn:.*", "[", "(a+)+$"],
    "format": ["simplified", "concise", "temporalValues", "aggregatedValues", "x"],
    "options": ["keyValues", "sysAttrs", "update", "noOverwrite", "count,x"],
}


WHOLE: list[dict[str, Any]] = [
    {},
    {"type": "Vehicle", "timerel": "after", "timeAt": "2026-01-01T00:00:00Z"},
    {"type": "Vehicle", "georel": "near;maxDistance==5000", "geometry": "Point", "coordinates": "[127.28,36.48]"},
    {"type": "Vehicle,OffStreetParking", "q": "speed>40", "count": "true", "timerel": "before", "timeAt": AT},
    {
        "id": ",".join(THINGS),
        "options": "sysAttrs",
        "timerel": "between",
        "timeAt": AT,
        "endTimeAt": "2027-01-01T00:00:00Z",
    },
    {"type": "Vehicle", "format": "simplified", "limit": 1, "offset": 1, "timerel": "after", "timeAt": AT, "lastN": 1},
    {"type": "Vehicle", "pick": "speed,location", "orderBy": "speed", "timerel": "after", "timeAt": AT},
    {
        "type": "Vehicle",
        "format": "aggregatedValues",
        "aggrMethods": "max,avg",
        "aggrPeriodDuration": "PT1H",
        "timerel": "after",
        "timeAt": "2026-11-22T00:00:00Z",
    },
]
"""Sets of parameters that make sense together."""


def likely(case: Case, chance: Random) -> Case:
    """The same operation as a builder would ask for it, something wrong here and there."""
    path, named = case.operation.path, {p["name"] for p in case.operation.definition.raw["parameters"]}
    places = dict(case.path_parameters or {})
    if "{id}" in path and chance.random() < 0.8:
        places["id"] = chance.choice(THINGS)
    for place in ("attr", "type"):
        if place in places and chance.random() < 0.8:
            places[place] = quote(chance.choice([*NAMES[:-1], "Vehicle"]), safe="")
    case.path_parameters = places
    known = sorted(named & QUERIES.keys() - places.keys())
    whole = {name: value for name, value in chance.choice(WHOLE).items() if name in named}
    chosen = chance.sample(known, min(len(known), chance.choice([0, 0, 1, 2])))
    case.query = whole | {name: chance.choice([QUERIES[name][0], chance.choice(QUERIES[name])]) for name in chosen}
    if case.operation.body and chance.random() < 0.9:
        made = fragment if "/attrs" in path else entity
        case.body = [made(chance) for _ in range(chance.randint(0, 3))] if "Operations" in path else made(chance)
        if path.endswith("/query"):
            case.body = {"type": "Query", **chance.choice(ASKED)}
        elif path.endswith("/delete"):
            case.body = chance.choices(IDS, k=2)
    return case


ASKED: list[dict[str, Any]] = [
    {"entities": [{"type": "Vehicle"}]},
    {"entities": [{"id": THINGS[0], "type": "Vehicle"}, {"idPattern": ".*", "type": "OffStreetParking"}]},
    {"entities": [{"type": "Vehicle"}], "q": "speed>40", "attrs": ["speed"]},
    {"geoQ": {"georel": "near;maxDistance==1000", "geometry": "Point", "coordinates": [127.28, 36.48]}},
    {"entities": [{"type": "Vehicle"}], "temporalQ": {"timerel": "before", "timeAt": AT}},
    {"entities": "all"},
    {"q": 5},
    {},
]


def as_sent(case: Case) -> requests.PreparedRequest:
    """The request as bytes on the wire."""
    return requests.Request(**case.as_transport_kwargs(base_url=HERE)).prepare()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("label", ASKED_HERE)
def test_no_request_gets_an_answer_that_was_not_promised(ask: Ask, label: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[label]
    if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
        pytest.skip("there is nothing in such a request that could break the description")
    there = ask("POST", "/ngsi-ld/v1/entityOperations/upsert", json=[entity_like(thing) for thing in THINGS])
    assert there.status_code in (201, 204), there.text

    def promised(case: Case) -> None:
        sent = as_sent(case)
        response = ask(sent.method, sent.url, headers=dict(sent.headers), content=sent.body)
        case.validate_response(response, checks=PROMISES)

    @given(operation.as_strategy(generation_mode=mode), st.integers(0, 2**32))
    @pace(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def asked(case: Case, seed: int) -> None:
        promised(case)
        chance = Chance(seed).stream("builder")
        for _ in range(LIKELY):
            promised(likely(case, chance))

    asked()
