"""The API keeps the word its OpenAPI document gives: even an odd request gets an answer that the document names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
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
from sejong.kit.embedded_postgres import Cluster
from sejong.settings import Settings

EXAMPLES = 30
"""Requests of each kind (what the document calls valid, and what it does not) for each operation."""
SNAPSHOT = Path(__file__).with_name("openapi.json")
DOCUMENT = json.loads(json.dumps(openapi_document()))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}
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

            for thing in THINGS:
                made = send("POST", "/ngsi-ld/v1/entities", json=entity_like(thing))
                assert made.status_code in (201, 409), made.text
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
attributes = st.builds(
    lambda kind, value, extra: {"type": KINDS[kind], MEMBERS[kind]: value, **extra},
    st.integers(0, len(KINDS) - 1),
    st.sampled_from(ODD),
    st.sampled_from(EXTRAS),
)
fragments = st.dictionaries(
    st.sampled_from(NAMES),
    st.one_of(attributes, st.lists(attributes, max_size=2), st.sampled_from(ODD)),
    min_size=1,
    max_size=2,
)
entities = st.builds(
    lambda rest, thing, kind: {"id": thing, "type": kind, **rest},
    fragments,
    st.sampled_from([*THINGS, "urn:ngsi-ld:New:1", "urn:ngsi-ld:\x00", "not a uri"]),
    st.sampled_from(["Vehicle", "Vehicle", ["Vehicle", "Bus"], "https://example.org/T", "", 3]),
)
QUERIES = {
    "id": st.sampled_from([*THINGS, ",".join(THINGS), "nouri"]),
    "type": st.sampled_from(
        ["Vehicle", "Vehicle,Bus", "(Vehicle;Bus)|OffStreetParking", "((", "https://example.org/T"]
    ),
    "q": st.sampled_from(
        ["speed>40", "speed==40..60;name[ko]~=나", 'name!="x"|speed', "speed>>", "a.b[c.d]==1,2", "~=["]
    ),
    "attrs": st.sampled_from(["speed", "speed,name", "nothing", ","]),
    "pick": st.sampled_from(["speed", "id,type", "isParked{speed}", "{"]),
    "omit": st.sampled_from(["speed", "id", "}"]),
    "georel": st.sampled_from(["near;maxDistance==1000", "within", "intersects", "near", "near;maxDistance==x"]),
    "geometry": st.sampled_from(["Point", "Polygon", "Square"]),
    "coordinates": st.sampled_from(["[127.28,36.48]", "[[[127,36],[128,36],[128,37],[127,36]]]", "[", "127,36"]),
    "timerel": st.sampled_from(["before", "after", "between", "sometime"]),
    "timeAt": st.sampled_from(["2026-11-22T08:00:00Z", "2026-11-22", "x"]),
    "endTimeAt": st.sampled_from(["2026-11-23T08:00:00Z", "x"]),
    "aggrMethods": st.sampled_from(["max,avg", "stddev", "nonsense"]),
    "aggrPeriodDuration": st.sampled_from(["PT1H", "P1D", "PT0S", "x"]),
    "lang": st.sampled_from(["ko", "en;q=0.5,*", "?"]),
    "limit": st.sampled_from([0, 1, 1000, 10**9, -1]),
    "offset": st.sampled_from([0, 3, 10**12]),
    "scopeQ": st.sampled_from(["/a/#", "/a;/b", "a//b", "/+"]),
    "orderBy": st.sampled_from(["speed", "dist-asc", "createdAt;desc", ";;"]),
    "idPattern": st.sampled_from(["urn:.*", "[", "(a+)+$"]),
    "format": st.sampled_from(["simplified", "concise", "temporalValues", "aggregatedValues", "x"]),
    "options": st.sampled_from(["keyValues", "sysAttrs", "update", "noOverwrite", "count,x"]),
}


@st.composite
def likely(draw: st.DrawFn, case: Case) -> Case:
    """The request with some of its random parts replaced by what a builder would send."""
    path = case.operation.path
    if "{id}" in path and draw(st.booleans()):
        case.path_parameters = {**(case.path_parameters or {}), "id": draw(st.sampled_from(THINGS))}
    if "{attr}" in path and draw(st.booleans()):
        case.path_parameters = {
            **(case.path_parameters or {}),
            "attr": quote(draw(st.sampled_from(NAMES[:-1])), safe=""),
        }
    if draw(st.booleans()):
        known = [
            name for name in QUERIES if any(name == p["name"] for p in case.operation.definition.raw["parameters"])
        ]
        chosen = draw(st.lists(st.sampled_from(known), max_size=4, unique=True)) if known else []
        case.query = {name: draw(QUERIES[name]) for name in chosen}
    if case.operation.body and draw(st.integers(0, 3)):
        body: Any = entities if path.endswith("/entities") else fragments if "/attrs" in path else entities | fragments
        case.body = draw(st.lists(body, max_size=3) if "Operations" in path else body)
    return case


def as_sent(case: Case) -> requests.PreparedRequest:
    """The request as bytes on the wire."""
    return requests.Request(**case.as_transport_kwargs(base_url=HERE)).prepare()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("label", OPERATIONS)
def test_no_request_gets_an_answer_that_was_not_promised(ask: Ask, label: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[label]

    @given(operation.as_strategy(generation_mode=mode).flatmap(likely))
    @pace(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def promised(case: Case) -> None:
        sent = as_sent(case)
        response = ask(sent.method, sent.url, headers=dict(sent.headers), content=sent.body)
        case.validate_response(response, checks=PROMISES)

    promised()
