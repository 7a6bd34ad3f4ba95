"""Data operations: rate, suspects, silence, dead letters, replay."""

from __future__ import annotations

import httpx
import pytest
from portal_demo_city import DemoCity
from test_portal_pages import Reader

pytestmark = pytest.mark.anyio


async def test_operators_see_rate_silence_suspects_and_reasons(browser: httpx.AsyncClient) -> None:
    words = Reader((await browser.get("/ops/data")).text).words
    for expected in (
        "1,260",
        "가로등 1",
        "6시간 전",
        "공기 측정소 4",
        "있을 수 없는 값",
        "기대 0 – 800",
        "오래 멈춘 값",
    ):
        assert expected in words
    assert "46건이 기다립니다" in words
    assert "단위 'degF'를 알 수 없습니다." in words


async def test_letters_are_filtered_by_reason(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/ops/data?reason=NotJson")
    assert "15건이 기다립니다" in page.text
    assert "degF" not in page.text
    unknown = await browser.get("/ops/data?reason=Dragons")
    assert "46건이 기다립니다" in unknown.text


async def test_htmx_gets_only_the_letters(browser: httpx.AsyncClient) -> None:
    part = await browser.get("/ops/data?page=3", headers={"hx-request": "true", "hx-target": "section#letters"})
    assert part.text.lstrip().startswith('<section class="card" id="letters"')
    assert part.text.count('class="letter"') == 6


async def test_picked_letters_are_sent_again_without_scripts(browser: httpx.AsyncClient, demo: DemoCity) -> None:
    done = await browser.post("/ops/data/replay", data={"no": ["1", "2"]})
    assert done.status_code == 303
    assert done.headers["location"] == "/ops/data?ok=1&failed=1#letters"
    assert len(demo.letters) == 45
    page = await browser.get(done.headers["location"])
    assert "다시 보낸 결과: 1건 들어감, 1건은 아직 알아듣지 못함" in page.text


async def test_all_letters_are_sent_again(browser: httpx.AsyncClient, demo: DemoCity) -> None:
    await browser.post("/ops/data/replay", data={"all": "1"})
    assert {letter.reason for letter in demo.letters} == {"NotJson", "NoSuchThing"}


async def test_nothing_picked_sends_nothing(browser: httpx.AsyncClient, demo: DemoCity) -> None:
    done = await browser.post("/ops/data/replay", data={})
    assert done.headers["location"] == "/ops/data?ok=0&failed=0#letters"
    assert len(demo.letters) == 46


@pytest.mark.parametrize("numbers", [["x"], ["-1"], ["1" * 20], ["1.5"], ["١"]])
async def test_wrong_numbers_are_refused(browser: httpx.AsyncClient, demo: DemoCity, numbers: list[str]) -> None:
    assert (await browser.post("/ops/data/replay", data={"no": numbers})).status_code == 400
    assert len(demo.letters) == 46


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.test"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}]
)
async def test_a_foreign_page_cannot_start_a_replay(
    browser: httpx.AsyncClient, demo: DemoCity, headers: dict[str, str]
) -> None:
    answer = await browser.post("/ops/data/replay", data={"all": "1"}, headers=headers)
    assert answer.status_code == 403
    assert len(demo.letters) == 46


async def test_reading_the_replay_address_changes_nothing(browser: httpx.AsyncClient, demo: DemoCity) -> None:
    assert (await browser.get("/ops/data/replay")).status_code in {404, 405}
    assert len(demo.letters) == 46
