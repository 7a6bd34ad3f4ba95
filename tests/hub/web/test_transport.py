"""Media types, headers, paths and parameters: what is decided before anything is read. Source: CIM 009 clause 6.3."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio

CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"
CORE_LINK = f'<{CORE}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
LAMP = {"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp", "power": {"type": "Property", "value": 40}}
URL = "/entities/urn:ngsi-ld:Lamp:1"


@pytest.mark.parametrize(
    ("method", "path", "media", "status"),
    [
        ("POST", "/entities", "application/json", 400),
        ("POST", "/entities", "application/json; charset=utf-8", 400),
        ("POST", "/entities", "Application/JSON", 400),
        ("POST", "/entities", "application/merge-patch+json", 415),
        ("POST", "/entities", "application/geo+json", 415),
        ("POST", "/entities", "", 415),
        ("PUT", URL, "application/merge-patch+json", 415),
        ("PATCH", URL, "application/merge-patch+json", 400),
        ("PATCH", URL, "application/xml", 415),
        ("PATCH", URL + "/attrs", "application/merge-patch+json", 400),
        ("POST", "/entityOperations/query", "text/plain", 415),
        ("POST", "/entityOperations/delete", "text/plain", 415),
    ],
)
async def test_content_types(ask: Any, method: str, path: str, media: str, status: int) -> None:
    answer = await ask(method, path, status, content=b"{}", headers={"Content-Type": media})
    assert (answer.content == b"") == (status == 415)


async def test_body_must_be_json(ask: Any) -> None:
    json = {"Content-Type": "application/json"}
    for broken in (b"", b"{", b"nonsense", b'{"a":1}x', b'{"a":"\xff"}', b'{"a":NaN}', b'"\\ud800"', b"[" * 100_000):
        await ask("POST", "/entities", 400, content=broken, headers=json, error="InvalidRequest")
    for wrong in (b"[]", b'"text"', b"5", b"null", b"true", b"{}"):
        await ask("POST", "/entities", 400, content=wrong, headers=json)
        await ask("PATCH", URL + "/attrs", 400, content=wrong, headers=json)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/ld+json", "application/ld+json"),
        ("application/ld+json, */*;q=0.1", "application/ld+json"),
        ("application/json;q=0.5, application/ld+json;q=0.9", "application/ld+json"),
        ("application/json;q=0, */*", "application/ld+json"),
        ("application/geo+json, application/json;q=0.9", "application/geo+json"),
        ("text/html, application/json;q=0.1", "application/json"),
        ("text/html", None),
        ("application/json;q=0", None),
    ],
)
async def test_accept_of_entities(ask: Any, accept: str | None, media: str | None) -> None:
    await ask.make(LAMP)
    headers = {"Accept": accept} if accept else {}
    for path in (URL, "/entities?type=Lamp"):
        answer = await ask("GET", path, 200 if media else 406, headers=headers)
        if media:
            assert answer.headers["content-type"] == media
        else:
            assert "application/geo+json" in answer.text


async def test_geojson_is_only_for_entities(ask: Any) -> None:
    await ask.make(LAMP)
    geo = {"Accept": "application/geo+json"}
    for path in ("/types", "/attributes", "/types/Lamp", "/temporal" + URL):
        answer = await ask("GET", path, 406, headers=geo)
        assert "application/ld+json" in answer.text
        assert "geo+json" not in answer.text
        either = {"Accept": "application/geo+json, application/json;q=0.1"}
        assert (await ask("GET", path, 200, headers=either)).headers["content-type"] == "application/json"


async def test_where_the_context_of_an_answer_is(ask: Any) -> None:
    await ask.make(LAMP)
    for path in (URL, "/entities?type=Lamp", "/types", "/temporal" + URL):
        plain = await ask("GET", path, 200)
        assert plain.headers["link"] == CORE_LINK
        assert "@context" not in plain.text
        linked = await ask("GET", path, 200, headers={"Accept": "application/ld+json"})
        assert "link" not in linked.headers
        bodies = linked.json() if isinstance(linked.json(), list) else [linked.json()]
        assert [body["@context"] for body in bodies] == [CORE]
    quiet = [
        await ask("POST", "/entities", 409, json=LAMP),
        await ask("GET", "/entities/urn:ngsi-ld:Lamp:9", 404, headers={"Accept": "application/ld+json"}),
        await ask("PATCH", URL + "/attrs", 204, json={"power": 50}),
        await ask("DELETE", URL, 204),
    ]
    for answer in quiet:
        assert "link" not in answer.headers
        assert answer.headers.get("content-type", "application/json") == "application/json"
    assert all("content-length" not in answer.headers and not answer.content for answer in quiet[2:])


async def test_errors_are_plain_json_whatever_is_accepted(ask: Any) -> None:
    for accept in ("application/ld+json", "application/geo+json"):
        await ask("GET", "/entities/nouri", 400, headers={"Accept": accept}, error="BadRequestData")
        await ask("GET", URL, 404, headers={"Accept": accept}, error="ResourceNotFound")


async def test_methods_and_paths(ask: Any) -> None:
    for path, verbs in {
        "/entities": {"GET", "POST", "DELETE"},
        URL: {"GET", "PUT", "PATCH", "DELETE"},
        URL + "/attrs": {"POST", "PATCH"},
        URL + "/attrs/power": {"PATCH", "PUT", "DELETE"},
        "/entityOperations/upsert": {"POST"},
        "/types": {"GET"},
        "/temporal/entities": {"GET"},
    }.items():
        for slash in ("", "/"):
            allow = (await ask("OPTIONS", path + slash, 204)).headers["allow"]
            assert verbs <= set(allow.split(", "))
            for verb in {"GET", "POST", "PUT", "PATCH", "DELETE"} - set(allow.split(", ")):
                assert (await ask(verb, path + slash, 405)).headers["allow"] == allow
    for path in ("", "/", "/nothing", URL + "/nothing", "/entityOperations", "/entities/a/b/c/d"):
        await ask("GET", path, 404)


async def test_empty_segments(ask: Any) -> None:
    for method, path in [
        ("GET", "/entities//"),
        ("POST", "/entities//attrs"),
        ("PATCH", "/entities//attrs/power"),
        ("DELETE", "/entities//attrs/power"),
        ("GET", "/types//"),
    ]:
        await ask(method, path, 400, json={"power": 1} if method in ("POST", "PATCH") else None, error="BadRequestData")


@pytest.mark.parametrize(
    "entity_id",
    [
        "urn:ngsi-ld:Lamp:a/b",
        "urn:ngsi-ld:Lamp:a%2Fb",
        "urn:ngsi-ld:Lamp:a%252Fb",
        "urn:ngsi-ld:Lamp:나성동",
        "urn:ngsi-ld:Lamp:a+b",
        "urn:ngsi-ld:Lamp:a?b#c",
        "https://example.org/lamps/1?x=y",
        "urn:ngsi-ld:Lamp:a;b=c,d",
    ],
)
async def test_ids_are_decoded_exactly_once(ask: Any, entity_id: str) -> None:
    from urllib.parse import quote

    made = await ask("POST", "/entities", 201, json={"id": entity_id, "type": "Lamp", "power": 1})
    place = made.headers["location"]
    assert place == "/ngsi-ld/v1/entities/" + quote(entity_id, safe=":+;=,@!$&'()*~")
    assert (await ask("GET", place.removeprefix("/ngsi-ld/v1"), 200)).json()["id"] == entity_id
    whole = "/entities/" + quote(entity_id, safe="")
    assert (await ask("GET", whole, 200)).json()["id"] == entity_id
    await ask("PATCH", whole + "/attrs/power", 204, json={"value": 2})
    await ask("GET", "/temporal" + whole, 200)
    await ask("DELETE", whole, 204)


async def test_invalid_ids_come_before_missing_ones(ask: Any) -> None:
    for path in ("/entities/nouri", "/entities/urn%20x", "/entities/%00:x", "/temporal/entities/nouri"):
        await ask("GET", path, 400, error="BadRequestData")
    await ask("GET", "/entities/%ff:x", 400, error="BadRequestData")
    await ask("DELETE", "/entities/nouri", 400, error="BadRequestData")
    await ask("PATCH", "/entities/nouri/attrs/power", 400, json={"value": 1}, error="BadRequestData")


UNKNOWN = [
    ("GET", "/entities?type=Lamp&nonsense=1"),
    ("GET", "/entities?type=Lamp&options=nonsense"),
    ("GET", "/entities?type=Lamp&options="),
    ("GET", "/entities?type=Lamp&options=sysAttrs,nonsense"),
    ("GET", "/entities?type=Lamp&format=nonsense"),
    ("GET", "/entities?type=Lamp&options=temporalValues"),
    ("GET", "/entities?type=Lamp&q=power&q=colour"),
    ("GET", "/entities?type=Lamp&timerel=before"),
    ("GET", URL + "?limit=5"),
    ("GET", URL + "?id=urn:x:1"),
    ("GET", "/temporal" + URL + "?join=inline"),
    ("GET", "/types?nonsense=1"),
    ("GET", "/attributes?type=Lamp"),
    ("DELETE", URL + "?options=sysAttrs"),
    ("DELETE", "/entities?type=Lamp&limit=5"),
    ("DELETE", "/entities?type=Lamp&orderBy=id"),
    ("DELETE", URL + "/attrs/power?nonsense=1"),
    ("POST", "/entities?options=noOverwrite"),
    ("POST", URL + "/attrs?options=replace"),
    ("POST", "/entityOperations/create?options=update"),
    ("POST", "/entityOperations/upsert?options=noOverwrite"),
    ("POST", "/entityOperations/query?type=Lamp"),
    ("PATCH", URL + "?format=temporalValues"),
    ("PATCH", URL + "/attrs?options=noOverwrite"),
    ("GET", "/entities?type=%ff"),
    ("GET", "/entities?" + "&".join("type=A" for _ in range(101))),
]


async def test_unknown_parameters_and_options(ask: Any) -> None:
    for method, path in UNKNOWN:
        body = {"power": 1} if method in ("POST", "PATCH") else None
        await ask(method, path, 400, json=body, error="InvalidRequest")


async def test_parameters_that_repeat_make_one_list(ask: Any) -> None:
    await ask.make(LAMP)
    assert await ask.ids(**{"type": "Lamp", "id": "urn:ngsi-ld:Lamp:1"}) == ["1"]
    answer = await ask("GET", "/entities?type=Lamp&type=Tree&options=keyValues&options=sysAttrs", 200)
    assert answer.json()[0]["power"] == 40
    assert "createdAt" in answer.json()[0]


SENSELESS = [
    "/entities?type=Lamp&local=perhaps",
    "/entities?type=Lamp&count=1",
    "/types?details=yes",
    "/entities?type=Lamp&limit=1.5",
    "/entities?type=Lamp&limit=",
    "/entities?type=Lamp&limit=٣",
    "/entities?type=Lamp&offset=-1",
    "/entities?type=Lamp&offset=abc",
    "/entities?type=Lamp&q=",
    "/entities?type=",
    "/entities?type=Lamp&lang=",
    "/entities?type=Lamp&lang=5",
    URL + "?lang=*;q=2",
    URL + "?geometryProperty=location",
    "/entities?type=Lamp%00",
]


async def test_values_that_make_no_sense(ask: Any) -> None:
    for path in SENSELESS:
        await ask("GET", path, 400, error="BadRequestData")


async def test_booleans_are_read_kindly(ask: Any) -> None:
    await ask.make(LAMP)
    for text in ("true", "True", "TRUE"):
        assert (await ask("GET", "/entities", 200, local=text, count=text)).headers["ngsild-results-count"] == "1"
    assert "ngsild-results-count" not in (await ask("GET", "/entities", 200, type="Lamp", count="False")).headers


async def test_head_answers_like_get(ask: Any) -> None:
    await ask.make(LAMP)
    head, get = await ask("HEAD", URL, 200), await ask("GET", URL, 200)
    assert head.headers == get.headers
    await ask("HEAD", "/entities/urn:ngsi-ld:Lamp:9", 404)
    await ask("HEAD", "/entityOperations/query", 405)


async def test_tenant_and_snapshot_headers_are_echoed(ask: Any) -> None:
    await ask.make(LAMP, headers={"NGSILD-Tenant": "osong"})
    for status, path in [(200, URL), (404, "/entities/urn:x:9"), (400, "/entities/nouri"), (400, "/types?x=1")]:
        answer = await ask("GET", path, status, headers={"NGSILD-Tenant": "osong"})
        assert answer.headers["ngsild-tenant"] == "osong"
    assert "ngsild-tenant" not in (await ask("GET", "/types", 200)).headers
    snapshot = {"NGSILD-Snapshot": "urn:ngsi-ld:Snapshot:1"}
    answer = await ask("GET", "/types", 404, headers=snapshot, error="ResourceNotFound")
    assert answer.headers["ngsild-snapshot"] == "urn:ngsi-ld:Snapshot:1"


async def test_too_large_a_body(ask: Any, settings: Any) -> None:
    async def endless() -> Any:
        for _ in range((settings.max_body_mb << 20) // 65536 + 2):
            yield b" " * 65536

    answer = await ask.web.post("/ngsi-ld/v1/entities", content=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
