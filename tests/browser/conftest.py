"""A real server of the demo city, one Chromium for the run, one fresh context per test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from sejong.citypack.api import build_basemap, open_pack

PORTAL_TESTS = Path(__file__).parents[1] / "portal"
AXE = Path(__file__).parents[2] / "frontend" / ".for-tests" / "axe.js"
CHROMIUM = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--mute-audio",
)
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
Open = Callable[..., Page]
expect.set_options(timeout=20_000)  # two busy cores: what takes long is not wrong, and nothing here measures time


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without Chromium these tests say so instead of failing."""
    here = Path(__file__).parent
    missing = None if shutil.which("chromium") else pytest.mark.skip(reason="no chromium on this machine")
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)
            if missing:
                item.add_marker(missing)


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sejong's own base map."""
    return build_basemap(open_pack("sejong"), tmp_path_factory.mktemp("ground") / "sejong.mbtiles").path


@pytest.fixture(scope="session")
def server(ground: Path) -> Iterator[str]:
    """Where the demo city is served."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--factory", "--ws", "--log-level", "warning"]
    command += ["--host", "127.0.0.1", "--port", str(port), "portal_demo_app:app"]
    env = {**os.environ, "PYTHONPATH": str(PORTAL_TESTS), "DEMO_BASEMAP": str(ground), "DEMO_ALIVE": "1"}
    with subprocess.Popen(command, env=env, cwd=PORTAL_TESTS) as process:
        try:
            wait_for(port, process)
            yield f"http://localhost:{port}"
        finally:
            process.terminate()
            process.wait(10)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AssertionError("the demo city did not start")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the demo city did not answer")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(CHROMIUM))
        yield browser
        browser.close()


class Watch:
    """What must not happen on any page: script errors, broken policies, requests to elsewhere."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.wrong: list[str] = []

    def on(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("console", lambda message: self._console(message.type, message.text))
        page.on("request", lambda request: self._request(request.url))

    def _console(self, kind: str, text: str) -> None:
        if kind == "error" or "Content Security Policy" in text:
            self.wrong.append(f"{kind}: {text}")

    def _request(self, url: str) -> None:
        if not url.startswith((self.server, "data:", f"blob:{self.server}", self.server.replace("http", "ws"))):
            self.wrong.append(f"outside: {url}")


@pytest.fixture
def watch(server: str) -> Iterator[Watch]:
    """Fails the test when something happened that must not."""
    watch = Watch(server)
    yield watch
    assert watch.wrong == []


@contextmanager
def context_for(chromium: Browser, server: str, **wanted: Any) -> Iterator[BrowserContext]:
    """A visitor: language, theme, size of the window."""
    language, theme = wanted.pop("language", "ko"), wanted.pop("theme", "light")
    options = {"viewport": DESKTOP, "reduced_motion": "reduce", "locale": {"ko": "ko-KR", "en": "en-US"}[language]}
    context = chromium.new_context(base_url=server, **{**options, **wanted})
    context.set_default_timeout(15_000)
    context.add_cookies([{"name": "sejong_view", "value": f"lang={language}&theme={theme}", "url": server}])
    try:
        yield context
    finally:
        context.close()


@pytest.fixture
def visit(chromium: Browser, server: str, watch: Watch) -> Iterator[Open]:
    """`visit("/find", language="en", viewport=PHONE)`: a page in a fresh context."""
    opened: list[Any] = []

    def open_page(path: str, before: Callable[[Page], None] | None = None, **wanted: Any) -> Page:
        manager = context_for(chromium, server, **wanted)
        context = manager.__enter__()
        opened.append(manager)
        page = context.new_page()
        watch.on(page)
        if before:
            before(page)
        page.goto(path)
        return page

    yield open_page
    for manager in reversed(opened):
        manager.__exit__(None, None, None)


def settled(page: Page) -> None:
    """Wait until every map of the page has drawn (or given up)."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-map]')].every(box => box.dataset.ready || box.dataset.failed)"
    )
