"""axe over every page: two languages, phone and desktop, light, dark and high contrast."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser

from .conftest import AXE, DESKTOP, PHONE, Watch, context_for, settled

BIKE = "/e/urn:ngsi-ld:BikeHireDockingStation:demo:SJ_00001"
PAGES = ("/", "/find?q=나성", "/find?q=없는말", BIKE, "/ops/data", "/about", "/nope")
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
# Every pair of language, width and theme is among them.
LOOKS = [
    ("ko", PHONE, "light"),
    ("en", DESKTOP, "light"),
    ("en", PHONE, "dark"),
    ("ko", DESKTOP, "dark"),
    ("ko", PHONE, "contrast"),
    ("en", DESKTOP, "contrast"),
]


def faults(page: Any) -> list[str]:
    """What axe finds, one line a node."""
    found = page.evaluate("(tags) => axe.run({ runOnly: tags })", list(TAGS))["violations"]
    return [
        f"{fault['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for fault in found
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize(
    ("language", "viewport", "theme"), LOOKS, ids=lambda v: v if isinstance(v, str) else str(v["width"])
)
def test_axe_finds_nothing(
    chromium: Browser, server: str, watch: Watch, language: str, viewport: dict[str, int], theme: str
) -> None:
    assert AXE.is_file(), "run `python hatch_build.py`"
    with context_for(chromium, server, language=language, viewport=viewport, theme=theme) as context:
        context.add_init_script(path=AXE)
        context.route("**/tiles/**", lambda route: route.fulfill(status=204))  # the ground is only pixels to axe
        page = context.new_page()
        watch.on(page)
        wrong: dict[str, list[str]] = {}
        for path in PAGES:
            page.goto(path)
            settled(page)
            if found := faults(page):
                wrong[path] = found
        page.goto("/about")
        page.locator("#view-open").click()
        if found := faults(page):
            wrong["display settings"] = found
    watch.wrong = [line for line in watch.wrong if "404" not in line]
    assert wrong == {}
