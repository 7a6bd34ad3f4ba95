"""The builders' pages over a real city: the catalogue, a data set, a key in two clicks; both languages, no scripts."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import httpx
import pytest
from test_portal_pages import HANGUL, Reader

from sejong.citypack.api import load
from sejong.hub.api import Catalogue, Hub, expand_entity
from sejong.kit.city import City
from sejong.portal.pages import CSP

pytestmark = pytest.mark.anyio
PAGES = ("/data", "/data?q=없는말", "/data/bikes", "/dev")
OWN = {"sec-fetch-site": "same-origin", "accept-language": "ko"}


@pytest.fixture
async def town(city: City, web: httpx.AsyncClient) -> httpx.AsyncClient:
    """Testville, loaded, its bikes counted once, its data sets measured."""
    await load(city, "testville")
    hub, catalogue = city.part(Hub), city.part(Catalogue)
    context, now = await hub.context(), hub.now()
    async for found in catalogue.entities(await catalogue.selection((await catalogue.one("bikes")).data_set)):
        for _, entity in found:
            counted = {"type": "Property", "value": 5, "observedAt": now}
            new = expand_entity({"id": entity["id"], "type": "BikeHireDockingStation", "availableBikeNumber": counted},
                                context, now=now)  # fmt: skip
            await hub.upsert(0, [{**entity, **{k: v for k, v in new.items() if ":" in k}}])
    await catalogue.measure((await catalogue.one("bikes")).data_set)
    return web


@pytest.mark.parametrize("language", ["ko", "en"])
async def test_pages_are_whole_in_both_languages(town: httpx.AsyncClient, language: str) -> None:
    for path in PAGES:
        answer = await town.get(path, headers={"accept-language": language, "accept": "text/html"})
        assert answer.status_code == 200, path
        assert answer.headers["content-security-policy"] == CSP
        read = Reader(answer.text)
        assert not read.open
        assert len(read.ids) == len(set(read.ids))
        if language == "en" and path == "/dev":
            assert {w for w in read.words if HANGUL.search(w)} <= {"한국어"}
        for link in read.links:
            if link.startswith("/") and "lang=" not in link:
                assert (await town.get(link, headers={"accept": "*/*"})).status_code == 200, f"{path} → {link}"


async def test_the_catalogue_finds_by_words_and_theme(town: httpx.AsyncClient) -> None:
    assert "자전거 대여소" in (await town.get("/data", params={"q": "bike 빌릴", "theme": "TRAN"})).text
    assert "맞는 데이터셋이 없습니다" in (await town.get("/data", params={"theme": "ENVI"})).text
    assert (await town.get("/data", params={"theme": "X"})).status_code == 400
    assert (await town.get("/data/nothing")).status_code == 404


async def test_a_data_set_shows_what_it_is(town: httpx.AsyncClient) -> None:
    text = unescape((await town.get("/data/bikes")).text)
    for said in ("가상 자료", "미리 보기", "data-map=", "data-chart=", "품질", "100%", "creativecommons.org", "curl '"):
        assert said in text, said
    call = re.search(r"""<pre id="curl">curl '([^']+)'""", text)
    assert call
    context = '<http://localhost:8000/context/city.jsonld>; rel="http://www.w3.org/ns/json-ld#context"'
    found = await town.get(call[1], headers={"link": context})
    assert [one["availableBikeNumber"]["value"] for one in found.json()] == [5] * 4


async def test_a_closed_data_set_shows_no_values(city: City, town: httpx.AsyncClient) -> None:
    catalogue = city.part(Catalogue)
    body: dict[str, Any] = {
        "title": {"ko": "닫힌", "en": "closed"}, "description": {"ko": "설명", "en": "words"}, "theme": "TRAN",
        "query": {"type": "BikeHireDockingStation"}, "owner": "시", "licence": "https://example.org/l",
    }  # fmt: skip
    async with city.record.act("test", "make") as act:
        for access in ("key", "consent"):
            await catalogue.create(act, {**body, "id": access, "access": access})
    for access, said in (("key", "키가 있어야"), ("consent", "동의가 있어야")):
        text = (await town.get(f"/data/{access}")).text
        assert said in text
        assert "urn:ngsi-ld:BikeHireDockingStation" not in text


async def test_a_key_in_two_clicks_and_the_first_call(town: httpx.AsyncClient) -> None:
    page = await town.get("/dev", headers=OWN)
    assert 'action="/dev/keys"' in page.text
    made = await town.post("/dev/keys", data={"name": "나의 <앱>"}, headers=OWN)
    assert made.status_code == 201
    assert "no-store" in made.headers["cache-control"]
    assert "나의 &lt;앱&gt;" in made.text
    secret = re.search(r'<pre id="secret">(sjk_[\w-]+)</pre>', made.text)
    assert secret
    first = unescape(re.search(r'<pre id="first">(.*?)</pre>', made.text, re.DOTALL)[1])  # type: ignore[index]  # it is there
    url = re.search(r"curl '([^']+)'", first)
    headers = dict(line.split(": ", 1) for line in re.findall(r"-H '([^']+)'", first))
    assert url
    assert headers["X-API-Key"] == secret[1]
    found = await town.get(url[1], headers=headers)
    assert [set(one) >= {"id", "type", "name", "location"} for one in found.json()] == [True] * 3
    use = await town.post("/dev/keys/use", data={"key": secret[1]}, headers=OWN)
    assert "1건 (하루 10,000,000건까지)" in use.text
    assert secret[1] not in use.url.query.decode()
    gone = await town.post("/dev/keys/revoke", data={"key": secret[1]}, headers=OWN)
    assert "없앴습니다" in gone.text
    assert (await town.get(url[1], headers=headers)).status_code == 401
    again = await town.post("/dev/keys/use", data={"key": secret[1]}, headers=OWN)
    assert again.status_code == 404
    assert 'role="alert"' in again.text


async def test_forms_of_strangers_are_refused(town: httpx.AsyncClient) -> None:
    for path in ("/dev/keys", "/dev/keys/use", "/dev/keys/revoke"):
        answer = await town.post(path, data={"key": "x"}, headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code == 403


async def test_an_empty_city_says_so(web: httpx.AsyncClient) -> None:
    assert "아직 데이터셋이 없습니다" in (await web.get("/data", headers=OWN)).text


async def test_pages_are_light(town: httpx.AsyncClient) -> None:
    for path in PAGES:
        answer = await town.get(path, headers={"accept-encoding": "br", "accept": "text/html"})
        sent = int(answer.headers["content-length"])
        assert sent < 20_000, f"{path}: {sent}"
