"""The portal over a city in memory, on a clock that stands still."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from sejong.kernel.clock import ManualClock
from sejong.portal.pages import Pages

sys.path.insert(0, str(Path(__file__).parent))

from portal_demo_app import demo_app, demo_pages
from portal_demo_city import DemoCity

START = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
BROWSER = {"accept": "text/html,*/*;q=0.8", "accept-encoding": "br, gzip", "accept-language": "ko"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def demo(clock: ManualClock) -> DemoCity:
    return DemoCity(clock)


@pytest.fixture(scope="session")
def pages() -> Pages:
    """Reading, compressing and compiling once is enough for tests that change none of it."""
    return demo_pages(ManualClock(START))


@pytest.fixture
def app(clock: ManualClock, demo: DemoCity, pages: Pages) -> Starlette:
    pages.clock = clock
    return demo_app(pages, demo)


@pytest.fixture
async def browser(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """A browser without scripts, speaking Korean."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://sejong.test", headers=BROWSER) as client:
        yield client
