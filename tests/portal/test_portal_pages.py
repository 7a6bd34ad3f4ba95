"""Every page, without scripts: what it says, in both languages, and the headers it carries."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import brotli
import httpx
import pytest
from portal_demo_city import NASTY, DemoCity

from sejong.portal.pages import Pages

pytestmark = pytest.mark.anyio

BIKE = "/e/urn:ngsi-ld:BikeHireDockingStation:demo:SJ_00001"
PAGES = ("/", "/find", "/find?q=나성", "/find?view=map", BIKE, "/ops/data", "/about")
HANGUL = re.compile("[가-힣]")


class Reader(HTMLParser):
    """The visible text, the ids and the links of a page; open elements must close."""

    VOID = frozenset({"meta", "link", "input", "br", "img", "hr", "use"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if known.get("id"):
            self.ids.append(known["id"] or "")
        if tag == "a":
            self.links.append(known.get("href") or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("language", ["ko", "en"])
async def test_every_page_answers_well_formed_in_both_languages(
    browser: httpx.AsyncClient, path: str, language: str
) -> None:
    answer = await browser.get(path, headers={"accept-language": language})
    assert answer.status_code == 200
    assert f'<html lang="{language}"' in answer.text
    assert answer.headers["content-language"] == language
    read = Reader(answer.text)
    assert not read.open
    assert len(read.ids) == len(set(read.ids))


@pytest.mark.parametrize("path", PAGES)
async def test_english_pages_hold_no_korean_but_names_and_the_language_switch(
    browser: httpx.AsyncClient, demo: DemoCity, path: str
) -> None:
    names = {e["name"]["languageMap"]["ko"] for e in demo.entities.values() if "name" in e}
    allowed = {"한국어", "세종특별자치시 공공데이터 (시험용)", "보통", "Find: 나성 · Sejong", *names}
    answer = await browser.get(path, headers={"accept-language": "en"})
    korean = {words for words in Reader(answer.text).words if HANGUL.search(words)}
    assert {words for words in korean if words not in allowed and not any(w in words for w in allowed)} == set()


async def test_no_sentence_was_missing_its_english(browser: httpx.AsyncClient, pages: Pages) -> None:
    for path in (*PAGES, "/nope", "/find?page=x", "/find?q=zzzz"):
        await browser.get(path, headers={"accept-language": "en"})
    assert pages.translator.missing == set()


@pytest.mark.parametrize("path", [*PAGES, "/nope", "/find?near=x", "/now/nearby", "/now/tiles"])
async def test_every_page_is_fenced_in(browser: httpx.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert not re.search(r"\sstyle=|<style|\son\w+=", answer.text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", answer.text))
    assert not re.search(r"(src|href|action)=\"(https?:)?//(?!sejong\.test)", answer.text)


async def test_the_present_is_readable_without_scripts(browser: httpx.AsyncClient) -> None:
    words = Reader((await browser.get("/")).text).words
    for expected in ("지금 세종", "34", "도로 평균 속도", "빌릴 수 있는 자전거 304대", "좋음", "가장 나쁜 곳 41 µg/m³"):
        assert expected in words
    assert "어울링 13번 나성동" in words
    assert "8 / 20" in words
    assert "시뮬레이션" in words


async def test_layers_choose_what_the_list_shows_without_scripts(browser: httpx.AsyncClient) -> None:
    only = Reader((await browser.get("/?layer=parking&layer=none")).text)
    assert "나성동 공영주차장 1" in only.words
    assert "어울링 13번 나성동" not in only.words
    nothing = Reader((await browser.get("/?layer=none")).text)
    assert "여기에는 보일 것이 없습니다" in nothing.words


async def test_the_list_follows_the_map(browser: httpx.AsyncClient) -> None:
    inside = await browser.get("/now/nearby?bbox=127.2,36.4,127.4,36.7&layer=water")
    assert "금강 수질 측정소" in inside.text
    assert "지도에 보이는 곳" in inside.text
    outside = await browser.get("/now/nearby?bbox=120,30,121,31&layer=water")
    assert "금강 수질 측정소" not in outside.text


async def test_a_map_point_has_a_small_card(browser: httpx.AsyncClient, demo: DemoCity) -> None:
    number = demo.numbers["urn:ngsi-ld:OffStreetParking:demo:P2"]
    card = await browser.get(f"/now/card/{number}")
    assert "나성동 공영주차장 3" in card.text
    assert "22 / 100" in card.text
    assert (await browser.get("/now/card/999999")).status_code == 404


async def test_names_and_queries_are_never_markup(browser: httpx.AsyncClient, demo: DemoCity) -> None:
    number = demo.numbers["urn:ngsi-ld:PointOfInterest:demo:X"]
    for path in (
        "/e/urn:ngsi-ld:PointOfInterest:demo:X",
        f"/find?q={NASTY}",
        "/find?view=map&type=PointOfInterest",
        f"/now/card/{number}",
        "/ops/data",
        f"/ops/data?reason={NASTY}",
        f"/e/{NASTY}",
        f"/{NASTY}",
        f"/find?near={NASTY}",
        f"/?layer={NASTY}",
    ):
        answer = await browser.get(path)
        assert "<script>" not in answer.text, path
        assert not re.search(r'href="\s*javascript:', answer.text), path


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nope", 404),
        ("/e/urn:ngsi-ld:Nothing:here", 404),
        ("/static/abc/portal/nope.css", 404),
        ("/find?near=1", 400),
        ("/find?near=181,0", 400),
        ("/find?near=nan,0", 400),
        ("/find?bbox=2,2,1,3", 400),
        ("/find?page=0", 400),
        ("/find?page=x", 400),
        ("/find?page=99999999999999999999", 400),
        ("/find?type=Dragon", 400),
        ("/find?view=globe", 400),
        ("/?layer=dragons", 400),
        (f"{BIKE}?range=99y", 400),
        (f"{BIKE}?attr=dragons", 400),
        ("/now/nearby?bbox=a,b,c,d", 400),
        ("/find.exe", 404),
        (f"{BIKE}/history.exe", 404),
    ],
)
@pytest.mark.parametrize("language", ["ko", "en"])
async def test_what_cannot_be_shown_is_said_kindly(
    browser: httpx.AsyncClient, path: str, status: int, language: str
) -> None:
    answer = await browser.get(path, headers={"accept-language": language})
    assert answer.status_code == status
    assert answer.headers["cache-control"] == "no-store"
    words = Reader(answer.text).words
    assert any(str(status) in text for text in words)
    assert ("찾기" if language == "ko" else "Find") in words


async def test_programs_get_problems_not_pages(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/nope", headers={"accept": "application/json"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_fault_of_ours_is_a_page_too(browser: httpx.AsyncClient, demo: DemoCity) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    demo.tiles = broken  # type: ignore[method-assign,assignment] - the record fails
    answer = await browser.get("/")
    assert answer.status_code == 500
    assert "도시 시스템에 문제가 생겼습니다" in answer.text
    assert "ZeroDivision" not in answer.text


async def test_a_text_page_weighs_at_most_75_kilobytes(browser: httpx.AsyncClient, pages: Pages) -> None:
    for path in ("/find?q=나성", "/about", "/ops/data", BIKE):
        assert await weight(browser, pages, path) <= (75_000 if path != BIKE else 560_000), path


async def test_the_map_page_weighs_at_most_560_kilobytes(browser: httpx.AsyncClient, pages: Pages) -> None:
    assert await weight(browser, pages, "/") <= 560_000


async def weight(browser: httpx.AsyncClient, pages: Pages, path: str) -> int:
    """Bytes of a first visit on the wire without fonts: page, styles, scripts and what these import."""
    async with browser.stream("GET", path) as answer:
        body = b"".join([chunk async for chunk in answer.aiter_raw()])
    html = brotli.decompress(body).decode()
    files = set(re.findall(r"/static/[0-9a-f]+/([\w./-]+)", html))
    if "portal/map.js" in files:
        files |= {"portal/names.js", "portal/fleet.js", "portal/live.js", "portal/frames.js", "portal/basemap.js"}
        files |= {"vendor/maplibre/maplibre-gl-worker.mjs"}
    return len(body) + sum(pages.assets.sizes(*files).values())
