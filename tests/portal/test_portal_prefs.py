"""Language and looks: chosen once, kept in one cookie."""

from __future__ import annotations

import httpx
import pytest

from sejong.portal.asked import own_path
from sejong.portal.prefs import Prefs

pytestmark = pytest.mark.anyio


async def test_the_browser_language_is_honoured(browser: httpx.AsyncClient) -> None:
    for accepted, spoken in (("en-US,en;q=0.9", "en"), ("ko-KR", "ko"), ("fr,de;q=0.5", "ko"), ("", "ko")):
        answer = await browser.get("/about", headers={"accept-language": accepted})
        assert f'<html lang="{spoken}"' in answer.text


async def test_asking_for_a_language_keeps_it(browser: httpx.AsyncClient) -> None:
    switched = await browser.get("/find?q=나성&lang=en")
    assert '<html lang="en"' in switched.text
    assert "sejong_view=lang%3Den" in switched.headers["set-cookie"].replace("=en", "%3Den", 1) or "lang" in str(
        browser.cookies.get("sejong_view")
    )
    later = await browser.get("/about")
    assert '<html lang="en"' in later.text


async def test_the_switch_keeps_the_question(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/find?q=나성&page=2")
    assert 'href="/find?q=%EB%82%98%EC%84%B1&amp;page=2&amp;lang=en"' in page.text


async def test_an_unknown_language_is_ignored(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/about?lang=xx")
    assert '<html lang="ko"' in answer.text
    assert "set-cookie" not in answer.headers


async def test_looks_are_kept_and_lead_back(browser: httpx.AsyncClient) -> None:
    chosen = {"theme": "contrast", "size": "4", "motion": "reduce", "back": "/find?q=a&lang=en"}
    answer = await browser.post("/prefs", data=chosen)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/find?q=a"
    page = await browser.get("/about")
    assert 'data-theme="contrast" data-size="4" data-motion="reduce"' in page.text


async def test_nonsense_looks_change_nothing(browser: httpx.AsyncClient) -> None:
    await browser.post("/prefs", data={"theme": '"><script>', "size": "999", "lang": "../.."})
    page = await browser.get("/about")
    assert 'data-theme="system" data-size="2" data-motion="system"' in page.text


async def test_a_broken_cookie_is_as_none(browser: httpx.AsyncClient) -> None:
    for value in ("%%%", "lang=xx&theme=y", "lang", "=" * 2000):
        answer = await browser.get("/about", headers={"cookie": f"sejong_view={value}"})
        assert answer.status_code == 200
        assert 'data-theme="system"' in answer.text


async def test_a_foreign_page_cannot_change_looks(browser: httpx.AsyncClient) -> None:
    answer = await browser.post("/prefs", data={"theme": "dark"}, headers={"origin": "http://evil.test"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "led"),
    [
        ("/find?q=1", "/find?q=1"),
        ("//evil.test", "/"),
        ("/\\evil.test", "/"),
        ("https://evil.test", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nset-cookie: x", "/"),
        ("", "/"),
    ],
)
def test_one_is_led_only_to_our_own_pages(asked: str, led: str) -> None:
    assert own_path(asked) == led


def test_only_offered_choices_are_taken() -> None:
    assert Prefs().changed({"theme": "dark", "size": "9", "other": 1}) == Prefs(theme="dark")
