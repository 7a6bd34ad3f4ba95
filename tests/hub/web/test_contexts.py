"""Which @context a request means, and what becomes of names. Source: CIM 009 clauses 4.4, 5.5.5-5.5.7, 6.3.5."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest

from sejong.hub.contexts import ContextStore
from sejong.hub.ngsi.errors import BadRequestData, LdContextNotAvailable
from sejong.kernel.clock import ManualClock

pytestmark = pytest.mark.anyio

CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"
REL = 'rel="http://www.w3.org/ns/json-ld#context"'
EX = {"Lamp": "https://ex.org/Lamp", "power": "https://ex.org/power", "ex": "https://ex.org/"}
LAMP = {"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp", "power": 40}
URL = "/entities/urn:ngsi-ld:Lamp:1"
DEFAULT = "https://uri.etsi.org/ngsi-ld/default-context/"


class Host:
    """A web server beside the hub that hands out what it is told to, and counts."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.hits: dict[str, int] = {}
        self.url = ""
        self.slow = 0.0

    def put(self, path: str, body: Any, status: int = 200, **headers: str) -> str:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        self.pages[path] = (status, {k.replace("_", "-"): v for k, v in headers.items()}, raw)
        return self.url + path

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode()
        self.hits[path] = self.hits.get(path, 0) + 1
        await asyncio.sleep(self.slow)
        status, headers, body = self.pages.get(path, (404, {}, b""))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{lines}\r\n".encode())
        writer.write(body)
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    server = await asyncio.start_server(host.answer, "127.0.0.1", 0)
    host.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield host
    server.close()


def link(url: str) -> dict[str, str]:
    return {"Link": f'<{url}>; {REL}; type="application/ld+json"'}


async def test_where_a_context_must_stand(ask: Any, host: Host) -> None:
    url = host.put("/ex.jsonld", {"@context": EX})
    await ask("POST", "/entities", 400, json={**LAMP, "@context": url}, error="BadRequestData")
    await ask("POST", "/entities", 400, ld=LAMP, error="BadRequestData")
    await ask("POST", "/entities", 400, ld={**LAMP, "@context": url}, headers=link(url), error="BadRequestData")
    await ask("POST", "/entities", 201, json=LAMP, headers=link(url))
    await ask("POST", "/entities", 201, ld={**LAMP, "id": "urn:ngsi-ld:Lamp:2", "@context": [url]})
    for path, body in [
        (URL, {"power": 1}),
        (URL + "/attrs", {"power": 1}),
        (URL + "/attrs/power", {"value": 1}),
    ]:
        await ask("PATCH", path, 400, json={**body, "@context": url}, error="BadRequestData")
        await ask("PATCH", path, 400, ld=body, error="BadRequestData")
        await ask("PATCH", path, 204, json=body, headers=link(url))
        await ask("PATCH", path, 204, ld={**body, "@context": url})
        two = {"Link": f"<{url}>; {REL}, <{CORE}>; {REL}"}
        await ask("PATCH", path, 400, json=body, headers=two, error="BadRequestData")
    await ask("PUT", URL + "/attrs/power", 400, ld=[{"type": "Property", "value": 1}], error="BadRequestData")
    other = {"Link": '<https://ex.org/help>; rel="help"'}
    await ask("PATCH", URL + "/attrs", 204, json={"colour": "red"}, headers=other)
    seen = await ask.see("urn:ngsi-ld:Lamp:1")
    assert seen["https://ex.org/power"]["value"] == 1
    assert seen["colour"]["value"] == "red"


async def test_answers_repeat_the_readers_context(ask: Any, host: Host) -> None:
    url = host.put("/ex.jsonld", {"@context": EX})
    await ask("POST", "/entities", 201, json=LAMP, headers=link(url))
    plain = await ask("GET", URL, 200, headers=link(url))
    assert plain.headers["link"] == f'<{url}>; {REL}; type="application/ld+json"'
    assert plain.json() == {**LAMP, "power": {"type": "Property", "value": 40}}
    ld = await ask("GET", URL, 200, headers={**link(url), "Accept": "application/ld+json"})
    assert ld.json()["@context"] == url
    bare = await ask("GET", URL, 200)
    assert bare.json()["type"] == "https://ex.org/Lamp"
    ask_by = {"type": "Query", "entities": [{"type": "Lamp"}]}
    for context in (url, [url], [EX], EX, [url, CORE]):
        posted = await ask(
            "POST",
            "/entityOperations/query",
            200,
            ld={**ask_by, "@context": context},
            headers={"Accept": "application/ld+json"},
        )
        assert [(e["type"], e["@context"]) for e in posted.json()] == [("Lamp", context)]


async def test_a_link_never_promises_names_it_does_not_explain(ask: Any, host: Host) -> None:
    url = host.put("/ex.jsonld", {"@context": EX})
    await ask("POST", "/entities", 201, json=LAMP, headers=link(url))
    body = {"type": "Query", "entities": [{"type": "Lamp"}], "@context": [EX]}
    answer = await ask("POST", "/entityOperations/query", 200, ld=body)
    assert CORE in answer.headers["link"]
    assert answer.json()[0]["type"] == "https://ex.org/Lamp"
    answer = await ask("POST", "/entityOperations/query", 200, ld={**body, "@context": [url, {"x": "https://x.org/x"}]})
    assert url in answer.headers["link"]
    assert answer.json()[0]["type"] == "Lamp"


async def test_names_mean_what_the_request_says_they_mean(ask: Any) -> None:
    await ask("POST", "/entities", 201, ld={**LAMP, "@context": EX})
    assert await ask.find(type="Lamp") == []
    assert len(await ask.find(type="https://ex.org/Lamp")) == 1
    await ask("PATCH", URL + "/attrs/power", 404, json={"value": 1})
    await ask("PATCH", URL + "/attrs/power", 204, ld={"value": 1, "@context": EX})
    await ask("PATCH", URL + "/attrs/https%3A%2F%2Fex.org%2Fpower", 204, json={"value": 2})
    await ask("PATCH", URL + "/attrs", 204, ld={"ex:power": 3, "ex:height": 9, "@context": EX})
    seen = await ask.see("urn:ngsi-ld:Lamp:1", format="simplified")
    assert seen["https://ex.org/power"] == 3
    assert seen["https://ex.org/height"] == 9


async def test_the_core_has_the_last_word(ask: Any) -> None:
    hostile = {"location": "https://ex.org/place", "observedAt": "https://ex.org/when", "Property": "https://ex.org/P"}
    place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [127.2, 36.5]}}
    for context in (hostile, [CORE, hostile], [hostile, CORE]):
        body = {"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp", "location": place, "@context": context}
        await ask("POST", "/entities", 201, ld=body)
        assert (await ask.see("urn:ngsi-ld:Lamp:1"))["location"] == place
        await ask("DELETE", URL, 204)


@pytest.mark.parametrize(
    "context",
    [
        5,
        True,
        [5],
        "nourl",
        "",
        {"a": 5},
        {"a": {"@id": "https://ex.org/a", "@context": {}}},
        {"@vocab": 5},
        {"a": "b:c", "b": "a:d"},
        {"@import": "https://ex.org/"},
    ],
)
async def test_invalid_contexts(ask: Any, context: Any) -> None:
    await ask("POST", "/entities", 400, ld={**LAMP, "@context": context}, error="BadRequestData")


async def test_contexts_below_the_top_are_refused(ask: Any) -> None:
    for inner in ({"value": 1, "@context": EX}, {"value": 1, "accuracy": {"value": 1, "@context": EX}}):
        await ask("POST", "/entities", 400, ld={**LAMP, "power": inner, "@context": EX}, error="BadRequestData")
        await ask("POST", "/entities", 400, json={**LAMP, "power": inner}, error="BadRequestData")


async def test_remote_contexts_that_fail(ask: Any, host: Host) -> None:
    gone = host.url + "/gone.jsonld"
    for url in (gone, "http://127.0.0.1:1/x.jsonld", "ftp://ex.org/x", "http://[bad", "urn:x:y"):
        answer = await ask("POST", "/entities", 504, ld={**LAMP, "@context": url}, error="LdContextNotAvailable")
        assert "link" not in answer.headers
    for body in (
        b"<html>",
        {"no": "context"},
        [],
        5,
        {"@context": 5},
        {"@context": {"a": 5}},
        b"\xff\xfe",
        b"[" * 9999,
    ):
        url = host.put("/bad.jsonld", body, cache_control="no-store")
        await ask("POST", "/entities", 400, ld={**LAMP, "@context": url}, error="BadRequestData")
    for name in ("a", "b"):
        host.put(f"/{name}.jsonld", {"@context": f"{host.url}/{'b' if name == 'a' else 'a'}.jsonld"})
    await ask("GET", URL, 400, headers=link(host.url + "/a.jsonld"), error="BadRequestData")


async def test_remote_contexts_may_lead_on(ask: Any, host: Host) -> None:
    host.put("/deep/terms.jsonld", {"@context": EX})
    host.put("/deep/all.jsonld", {"@context": ["terms.jsonld", {"height": "https://ex.org/height"}]})
    moved = host.put("/moved.jsonld", b"", 302, location="/deep/all.jsonld")
    await ask("POST", "/entities", 400, ld={**LAMP, "@context": "terms.jsonld"}, error="BadRequestData")
    await ask("POST", "/entities", 201, json={**LAMP, "height": 5}, headers=link(host.url + "/deep/all.jsonld"))
    assert (await ask.see("urn:ngsi-ld:Lamp:1"))["https://ex.org/height"]["value"] == 5
    assert (await ask("GET", URL, 200, headers=link(moved))).json()["type"] == "Lamp"


async def test_batches_have_a_context_in_every_item(ask: Any, host: Host) -> None:
    one, two, three = ({**LAMP, "id": f"urn:ngsi-ld:Lamp:{n}"} for n in (1, 2, 3))
    gone = host.url + "/gone.jsonld"
    host.slow = 0.2
    items = [{**one, "@context": EX}, two, *({**three, "@context": gone} for _ in range(30))]
    answer = await ask("POST", "/entityOperations/create", 207, ld=items)
    assert answer.json()["success"] == ["urn:ngsi-ld:Lamp:1"]
    names = [entry["error"]["type"].rpartition("/")[2] for entry in answer.json()["errors"]]
    assert names == ["BadRequestData"] + ["LdContextNotAvailable"] * 30
    assert host.hits["/gone.jsonld"] == 1
    mixed = await ask("POST", "/entityOperations/create", 207, json=[two, {**three, "@context": EX}])
    assert mixed.json()["success"] == ["urn:ngsi-ld:Lamp:2"]
    await ask("POST", "/entityOperations/create", 400, ld=items, headers=link(CORE), error="BadRequestData")
    assert (await ask.see("urn:ngsi-ld:Lamp:1"))["type"] == "https://ex.org/Lamp"


async def test_documents_are_kept_as_long_as_their_host_says(host: Host) -> None:
    clock = ManualClock(datetime(2026, 11, 22, 9, tzinfo=UTC))
    store = ContextStore(clock)
    later = format_datetime(clock.now() + timedelta(seconds=100), usegmt=True)
    lives = {
        "/no-store": ({"cache_control": "no-store"}, 0),
        "/max-age": ({"cache_control": "public, max-age=50"}, 50),
        "/shared": ({"cache_control": "max-age=5, s-maxage=70"}, 70),
        "/expires": ({"expires": later}, 100),
        "/past": ({"expires": "0"}, 0),
        "/silent": ({}, 3600),
    }
    for path, (headers, _) in lives.items():
        host.put(path, {"@context": EX}, **headers)
        await store.get(host.url + path)
    for path, (_, life) in lives.items():
        clock.advance(0)
        await store.get(host.url + path)
        assert host.hits[path] == (1 if life else 2), path
    clock.advance(49)
    await store.get(host.url + "/max-age")
    clock.advance(2)
    await store.get([host.url + "/max-age"])
    assert host.hits["/max-age"] == 2
    clock.advance(18)
    await store.get(host.url + "/shared")
    assert host.hits["/shared"] == 1
    clock.advance(2)
    await store.get(host.url + "/shared")
    assert host.hits["/shared"] == 2
    await store.close()


async def test_one_download_serves_all_who_wait(host: Host) -> None:
    from sejong.kernel.clock import SystemClock

    store = ContextStore(SystemClock(), timeout=0.4)
    host.slow = 0.1
    url = host.put("/ex.jsonld", {"@context": EX})
    found = await asyncio.gather(*(store.get([url, {f"t{n}": "https://ex.org/t"}]) for n in range(20)))
    assert {context.attribute("Lamp") for context in found} == {"https://ex.org/Lamp"}
    assert host.hits["/ex.jsonld"] == 1
    host.slow = 1.0
    with pytest.raises(LdContextNotAvailable, match="no answer within"):
        await store.get(host.put("/slow.jsonld", {"@context": EX}))
    host.slow = 0.0
    with pytest.raises(LdContextNotAvailable, match="larger than"):
        await store.get(host.put("/huge.jsonld", b" " * ((2 << 20) + 1)))
    with pytest.raises(LdContextNotAvailable, match="redirected"):
        await store.get(host.put("/round.jsonld", b"", 302, location="/round.jsonld"))
    await store.close()


async def test_an_installation_may_forbid_fetching(host: Host) -> None:
    from sejong.kernel.clock import SystemClock

    url = host.put("/ex.jsonld", {"@context": EX})
    for egress in ("deny", "public"):
        store = ContextStore(SystemClock(), egress=egress)
        with pytest.raises(LdContextNotAvailable):
            await store.get(url)
        store.preload(url, {"@context": EX})
        assert (await store.get(url)).attribute("Lamp") == "https://ex.org/Lamp"
        with pytest.raises(BadRequestData):
            await store.get({"a": 5})
        await store.close()
    assert host.hits == {}


async def test_compaction(ask: Any) -> None:
    await ask("POST", "/entities", 201, json={**LAMP, "near": 1})
    body = {"type": "Query", "entities": [{"type": DEFAULT + "Lamp"}]}
    contexts: dict[str, Any] = {
        "power": {"power": "https://elsewhere.org/power"},
        "p": {"p": DEFAULT + "power", "po": DEFAULT + "power"},
    }
    ld = {"Accept": "application/ld+json"}
    moved = await ask("POST", "/entityOperations/query", 200, ld={**body, "@context": contexts["power"]}, headers=ld)
    assert moved.json()[0]["ngsi-ld:default-context/power"]["value"] == 40
    short = await ask("POST", "/entityOperations/query", 200, ld={**body, "@context": contexts["p"]}, headers=ld)
    assert short.json()[0]["p"]["value"] == 40
    assert short.json()[0]["near"]["value"] == 1


async def test_words_inside_json_stay_as_they_are(ask: Any) -> None:
    opaque = {"type": "JsonProperty", "json": {"power": {"@context": 1, "urn": None, "type": "Lamp"}}}
    vocab = {"type": "VocabProperty", "vocab": ["power", "Other"]}
    await ask("POST", "/entities", 201, ld={**LAMP, "raw": opaque, "kind": vocab, "@context": EX})
    seen = await ask.see("urn:ngsi-ld:Lamp:1")
    assert seen["raw"] == opaque
    assert seen["kind"]["vocab"] == ["https://ex.org/power", "Other"]
