"""Search: lists, pages, files."""

from __future__ import annotations

import csv
import io

import httpx
import pytest
from portal_demo_city import NASTY, DemoCity
from test_portal_pages import Reader

from sejong.portal.find_page import safe_cell, window

pytestmark = pytest.mark.anyio


async def test_a_name_is_found_and_counted(browser: httpx.AsyncClient) -> None:
    words = Reader((await browser.get("/find?q=호수공원")).text).words
    assert "세종호수공원" in words
    assert "1곳을 찾았습니다" in words


async def test_english_names_are_found_too(browser: httpx.AsyncClient) -> None:
    words = Reader((await browser.get("/find?q=lake park", headers={"accept-language": "en"})).text).words
    assert "Sejong Lake Park" in words
    assert "1 found" in words


async def test_kinds_narrow_the_search(browser: httpx.AsyncClient) -> None:
    read = Reader((await browser.get("/find?type=Vehicle,OffStreetParking")).text)
    assert "11곳을 찾았습니다" in read.words
    assert sum(link.startswith("/e/") for link in read.links) == 11


async def test_the_nearest_comes_first_with_its_distance(browser: httpx.AsyncClient) -> None:
    read = Reader((await browser.get("/find?type=OffStreetParking&near=127.278,36.489")).text)
    assert read.words.index("나성동 공영주차장 5") < read.words.index("나성동 공영주차장 4")
    assert "0 m" in read.words
    assert "270 m" in read.words


async def test_pages_lead_on_and_keep_the_question(browser: httpx.AsyncClient) -> None:
    first = Reader((await browser.get("/find?q=어울링")).text)
    assert sum(link.startswith("/e/") for link in first.links) == 20
    following = next(link for link in first.links if "page=2" in link)
    second = Reader((await browser.get(following)).text)
    assert sum(link.startswith("/e/") for link in second.links) == 20
    assert {*first.links} & {*second.links} & {x for x in first.links if x.startswith("/e/")} == set()
    last = Reader((await browser.get("/find?q=어울링&page=3")).text)
    assert sum(link.startswith("/e/") for link in last.links) == 8


async def test_nothing_found_says_what_to_try(browser: httpx.AsyncClient) -> None:
    words = Reader((await browser.get("/find?q=없는말")).text).words
    assert "찾은 것이 없습니다" in words


async def test_htmx_gets_only_the_results(browser: httpx.AsyncClient) -> None:
    part = await browser.get("/find?q=호수", headers={"hx-request": "true", "hx-target": "section#results"})
    assert part.text.lstrip().startswith('<section id="results"')
    assert "<html" not in part.text


async def test_the_page_downloads_as_a_table(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/find.csv?type=OffStreetParking")
    assert answer.headers["content-disposition"] == 'attachment; filename="find.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["availableSpotNumber"] for row in rows] == ["0", "4", "22", "61", "90"]
    assert rows[0]["name_ko"] == "나성동 공영주차장 1"
    assert rows[0]["simulated"] == "True"


async def test_the_page_downloads_as_json(browser: httpx.AsyncClient) -> None:
    body = (await browser.get("/find.json?q=호수")).json()
    assert body["total"] == 1
    assert body["items"][0]["id"] == "urn:ngsi-ld:PointOfInterest:demo:lake"


async def test_a_formula_in_a_name_stays_text(browser: httpx.AsyncClient, demo: DemoCity) -> None:
    park = demo.entities["urn:ngsi-ld:PointOfInterest:demo:lake"]
    park["name"]["languageMap"]["ko"] = "=HYPERLINK(1)"
    answer = await browser.get("/find.csv?type=PointOfInterest")
    assert "'=HYPERLINK(1)" in answer.text
    assert NASTY.replace('"', '""') in answer.text


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\tx", "\rx"])
def test_cells_that_could_compute_are_quoted(cell: str) -> None:
    assert safe_cell(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["a=1", 7, -3.5, None, "나성동"])
def test_other_cells_are_left_alone(cell: object) -> None:
    assert safe_cell(cell) == cell


@pytest.mark.parametrize(
    ("page", "pages", "offered"),
    [
        (1, 1, [1]),
        (1, 2, [1, 2]),
        (1, 20, [1, 2, 0, 20]),
        (3, 20, [1, 2, 3, 4, 0, 20]),
        (4, 20, [1, 2, 3, 4, 5, 0, 20]),
        (20, 20, [1, 0, 19, 20]),
    ],
)
def test_offered_pages(page: int, pages: int, offered: list[int]) -> None:
    assert window(page, pages) == offered
