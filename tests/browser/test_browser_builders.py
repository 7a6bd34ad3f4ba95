"""The builders' pages in a real browser over a real city: a key in two clicks, the first call, no faults."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest
from playwright.sync_api import Browser, expect

from sejong.app import migrate_city, open_city
from sejong.citypack.api import load
from sejong.hub.api import Catalogue
from sejong.kit.embedded_postgres import Cluster
from sejong.settings import Settings

from .conftest import AXE, PHONE, Watch, context_for, settled, wait_for
from .test_browser_axe import faults


@pytest.fixture(scope="module")
def server(cluster: Cluster, worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where Testville is served, its data sets measured."""
    settings = Settings(
        database_url=cluster.ensure_database(f"builders_{worker_id}"),
        city="testville",
        state=tmp_path_factory.mktemp("builders"),
    )

    async def prepare() -> None:
        await migrate_city(settings)
        async with open_city(settings) as city:
            await load(city, "testville")
            await city.part(Catalogue).measure((await city.part(Catalogue).one("bikes")).data_set)

    with ThreadPoolExecutor(1) as own_thread:  # playwright runs a loop in this one
        own_thread.submit(anyio.run, prepare).result()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = f"http://localhost:{port}"
    given = {"DATABASE_URL": settings.database_url, "CITY": "testville", "STATE": settings.state, "PORT": port}
    env = {**os.environ, **{f"SEJONG_{k}": str(v) for k, v in given.items()}, "SEJONG_PUBLIC_URL": home}
    with subprocess.Popen([sys.executable, "-m", "sejong", "web"], env=env, cwd=Path(__file__).parents[2]) as process:
        try:
            wait_for(port, process)
            yield home
        finally:
            process.terminate()
            process.wait(10)


def test_pages_are_without_fault(chromium: Browser, server: str, watch: Watch) -> None:
    wrong: dict[str, list[str]] = {}
    with context_for(chromium, server, viewport=PHONE, theme="contrast") as context:
        context.add_init_script(path=AXE)
        page = context.new_page()
        watch.on(page)
        for path in ("/data", "/data?q=zzz", "/data/bikes", "/dev"):
            page.goto(path)
            settled(page)
            wrong[path] = faults(page)
            assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), path
        page.locator("details.call").first.locator("summary").first.click()
        page.locator("details.call button").first.click()
        expect(page.locator(".answer .code")).to_be_visible()
        wrong["console"] = faults(page)
    assert not any(wrong.values()), wrong


def test_a_key_in_two_clicks_and_the_first_call_by_following_the_page(
    chromium: Browser, server: str, watch: Watch
) -> None:
    with context_for(chromium, server, language="en") as context:
        page = context.new_page()
        watch.on(page)
        page.goto("/data")
        page.get_by_role("link", name="First call in five minutes").click()  # 1
        page.get_by_role("button", name="Make a key").click()  # 2
        secret = page.locator("#secret").inner_text()
        assert secret.startswith("sjk_")
        assert page.locator("#console-key").input_value() == secret
        call = page.locator("details.call", has_text="/ngsi-ld/v1/entities").first
        call.locator("summary").first.click()
        call.get_by_role("button", name="Send").click()
        expect(call.locator(".mark-note")).to_contain_text("200 OK")
        expect(call.locator(".answer pre")).to_contain_text("urn:ngsi-ld:BikeHireDockingStation:testville")
        page.get_by_role("button", name="View").click()
        expect(page.locator("#use")).to_contain_text("1 requests")
        page.get_by_role("button", name="Take this key away").click()
        expect(page.get_by_text("is gone")).to_be_visible()


def test_without_scripts_everything_can_be_read_and_a_key_made(chromium: Browser, server: str) -> None:
    with context_for(chromium, server, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto("/dev")
        page.locator("#make").click()
        assert page.locator("#secret").inner_text().startswith("sjk_")
        page.locator("details.call summary").first.click()
        expect(page.locator("details.call .code").first).to_be_visible()
