"""Hosting @contexts: what is served, what is counted, what is forgotten. Source: CIM 009 v1.9.1 clause 5.13."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from sejong.app import open_city
from sejong.hub.ngsi.errors import LdContextNotAvailable
from sejong.hub.service import Hub
from sejong.kit.city import City
from sejong.settings import Settings

pytestmark = pytest.mark.anyio

CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.8.jsonld"
REL = 'rel="http://www.w3.org/ns/json-ld#context"'
EX = {"Lamp": "https://ex.org/Lamp", "power": "https://ex.org/power"}
LAMP = {"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp", "power": 40}
HERE = "/jsonldContexts"


def link(url: str) -> dict[str, str]:
    return {"Link": f'<{url}>; {REL}; type="application/ld+json"'}


class Host:
    """A web server that hands out one context, or fails."""

    def __init__(self) -> None:
        self.context: Any = EX
        self.status, self.hits, self.url = 200, 0, ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.hits += 1
        body = msgspec.json.encode({"@context": self.context})
        head = f"HTTP/1.1 {self.status} x\r\ncontent-length: {len(body)}\r\ncache-control: max-age=300\r\n"
        writer.write(f"{head}connection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    server = await asyncio.start_server(host.answer, "127.0.0.1", 0)
    host.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/ex.jsonld"
    yield host
    server.close()


async def made(ask: Any, context: Any, **more: Any) -> str:
    answer = await ask("POST", HERE, 201, json={"@context": context}, **more)
    assert answer.content == b""
    path, _, local = answer.headers["location"].rpartition("/")
    assert path == "/ngsi-ld/v1/jsonldContexts"
    return local


async def test_a_hosted_context_is_served_used_counted_and_deleted(ask: Any, city: City) -> None:
    local = await made(ask, EX)
    url = f"{city.settings.public_url}/ngsi-ld/v1/jsonldContexts/{local}"
    shown = await ask("GET", f"{HERE}/{local}", 200)
    assert shown.json() == {"@context": EX}
    assert "link" not in shown.headers
    ld = await ask("GET", f"{HERE}/{local}", 200, headers={"Accept": "application/ld+json"})
    assert ld.headers["content-type"] == "application/ld+json"
    # Used without fetching, whatever name the hub is called by; nothing listens at these addresses.
    await ask("POST", "/entities", 201, json=LAMP, headers=link(url))
    await ask("POST", "/entities", 201, ld={**LAMP, "id": "urn:ngsi-ld:Lamp:2", "@context": [url, CORE]})
    other = f"http://hub.example/ngsi-ld/v1/jsonldContexts/{local}"
    assert (await ask("GET", "/entities/urn:ngsi-ld:Lamp:1", 200, headers=link(other))).json()["type"] == "Lamp"
    assert (await ask.see("urn:ngsi-ld:Lamp:1"))["type"] == "https://ex.org/Lamp"
    assert (await ask("GET", HERE, 200, kind="Hosted")).json() == [url]
    (known,) = (await ask("GET", HERE, 200, kind="Hosted", details="true")).json()
    assert known == (await ask("GET", f"{HERE}/{local}", 200, details="true")).json()
    assert known.keys() == {"URL", "localId", "kind", "createdAt", "lastUsage", "numberOfHits"}
    assert (known["URL"], known["localId"], known["kind"], known["numberOfHits"]) == (url, local, "Hosted", 3)
    await ask("DELETE", f"{HERE}/{local}", 400, reload="true", error="BadRequestData")
    assert (await ask("DELETE", f"{HERE}/{quote(url, safe='')}", 204)).content == b""
    await ask("GET", f"{HERE}/{local}", 404, error="ResourceNotFound")
    await ask("DELETE", f"{HERE}/{local}", 404, error="ResourceNotFound")
    await ask("GET", "/entities/urn:ngsi-ld:Lamp:1", 504, headers=link(url), error="LdContextNotAvailable")


@pytest.mark.parametrize("body", [{}, {"context": {}}, [], 5, {"@context": 5}, {"@context": None}, {"@context": [1]}])
async def test_what_is_no_context_is_refused(ask: Any, body: Any) -> None:
    raw = msgspec.json.encode(body)
    headers = {"Content-Type": "application/json"}
    await ask("POST", HERE, 400, content=raw, headers=headers, error="BadRequestData")
    assert (await ask("GET", HERE, 200)).json() == []


async def test_bad_parameters_are_refused(ask: Any) -> None:
    local = await made(ask, [{"a": "https://ex.org/a"}, {"b": "https://ex.org/b"}])
    await ask("GET", HERE, 400, kind="Borrowed", error="BadRequestData")
    await ask("GET", HERE, 400, details="perhaps", error="BadRequestData")
    await ask("GET", f"{HERE}/{local}", 400, details="7", error="BadRequestData")
    await ask("GET", f"{HERE}/{local}", 400, kind="Hosted", error="InvalidRequest")
    await ask("DELETE", f"{HERE}/{local}", 400, reload="x", error="BadRequestData")
    await ask("POST", HERE, 400, content=b"{", headers={"Content-Type": "application/json"}, error="InvalidRequest")
    await ask("POST", HERE, 415, content=b"{}", headers={"Content-Type": "text/plain"})


async def test_a_cached_context_is_known_but_not_served(ask: Any, host: Host, city: City) -> None:
    await ask("POST", "/entities", 201, json=LAMP, headers=link(host.url))
    assert (await ask("GET", HERE, 200, kind="Cached")).json() == [host.url]
    (known,) = (await ask("GET", HERE, 200, details="true")).json()
    assert (known["kind"], known["numberOfHits"]) == ("Cached", 1)
    assert known["expiresAt"] > known["createdAt"]
    for name in (known["localId"], quote(host.url, safe="")):
        await ask("GET", f"{HERE}/{name}", 422, error="OperationNotSupported")
        assert (await ask("GET", f"{HERE}/{name}", 200, details="true")).json()["URL"] == host.url
    # A process that starts later reads the copy, not the host.
    city.part(Hub).contexts.forget()
    await ask("GET", "/entities/urn:ngsi-ld:Lamp:1", 200, headers=link(host.url))
    assert host.hits == 1
    host.status = 500
    await ask("DELETE", f"{HERE}/{known['localId']}", 504, reload="true", error="LdContextNotAvailable")
    assert (await ask("GET", "/entities/urn:ngsi-ld:Lamp:1", 200, headers=link(host.url))).json()["type"] == "Lamp"
    host.status, host.context = 200, {**EX, "Leuchte": "https://ex.org/Lamp", "Lamp": "https://ex.org/Other"}
    await ask("DELETE", f"{HERE}/{known['localId']}", 204, reload="true")
    assert (await ask("GET", "/entities/urn:ngsi-ld:Lamp:1", 200, headers=link(host.url))).json()["type"] == "Leuchte"
    hits = host.hits
    await ask("DELETE", f"{HERE}/{quote(host.url, safe='')}", 204)
    assert (await ask("GET", HERE, 200)).json() == []
    await ask("GET", "/entities/urn:ngsi-ld:Lamp:1", 200, headers=link(host.url))
    assert host.hits == hits + 1


async def test_the_core_context_stays(ask: Any) -> None:
    core = f"{HERE}/{quote(CORE, safe='')}"
    assert (await ask("GET", core, 200, details="true")).json()["kind"] == "Cached"
    await ask("GET", core, 422, error="OperationNotSupported")
    await ask("DELETE", core, 400, error="BadRequestData")
    await ask("DELETE", core, 204, reload="true")


async def test_tenants_do_not_see_each_others_contexts(ask: Any) -> None:
    mine = {"NGSILD-Tenant": "contexts-a"}
    local = await made(ask, EX, headers=mine)
    await ask("GET", f"{HERE}/{local}", 404, error="ResourceNotFound")
    assert (await ask("GET", HERE, 200)).json() == []
    assert len((await ask("GET", HERE, 200, headers=mine)).json()) == 1
    await ask("DELETE", f"{HERE}/{local}", 404)
    await ask("GET", f"{HERE}/{local}", 200, headers=mine)


async def test_an_implicit_context_is_made_once(ask: Any, city: City) -> None:
    library = city.part(Hub).library
    first = await library.host(0, [EX], kind="ImplicitlyCreated")
    assert first == await library.host(0, [EX], kind="ImplicitlyCreated")
    assert first != await library.host(0, EX, kind="ImplicitlyCreated")
    assert len((await ask("GET", HERE, 200, kind="ImplicitlyCreated")).json()) == 2
    assert (await ask("GET", f"{HERE}/{first.rpartition('/')[2]}", 200)).json() == {"@context": [EX]}


async def test_another_process_sees_what_is_hosted_and_what_is_deleted(
    ask: Any, city: City, settings: Settings
) -> None:
    async with open_city(settings) as other:
        hub = other.part(Hub)
        await asyncio.wait_for(hub.bell.listening.wait(), 5)
        local = await made(ask, EX)
        url = f"{settings.public_url}/ngsi-ld/v1/jsonldContexts/{local}"
        assert (await hub.contexts.get(url)).expand("Lamp") == "https://ex.org/Lamp"
        await ask("DELETE", f"{HERE}/{local}", 204)
        with pytest.raises(LdContextNotAvailable):
            async with asyncio.timeout(5):
                while await hub.contexts.get(url):
                    await asyncio.sleep(0.02)
