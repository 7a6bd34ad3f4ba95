"""Static files: found, compressed, kept for ever; nothing from outside, nothing forgotten."""

from __future__ import annotations

import gzip
import json
import re
from hashlib import sha256
from pathlib import Path

import brotli
import httpx
import pytest

import sejong.portal
from sejong.portal.assets import Assets, BrowserPartsMissing, portal_folders
from sejong.portal.pages import Pages

STATIC = Path(sejong.portal.__file__).parent / "static"
pytestmark = pytest.mark.anyio


async def raw(browser: httpx.AsyncClient, url: str, **headers: str) -> tuple[httpx.Response, bytes]:
    async with browser.stream("GET", url, headers={k.replace("_", "-"): v for k, v in headers.items()}) as answer:
        return answer, b"".join([chunk async for chunk in answer.aiter_raw()])


async def test_a_file_is_kept_for_ever_under_its_hash(browser: httpx.AsyncClient, pages: Pages) -> None:
    url = pages.assets.url("portal/portal.css")
    answer, body = await raw(browser, url)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "br"
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert brotli.decompress(body) == (STATIC / "portal.css").read_bytes()
    stale, _ = await raw(browser, re.sub("/static/[^/]+/", "/static/old/", url))
    assert stale.headers["cache-control"] == "no-cache"


async def test_every_browser_gets_a_form_it_reads(browser: httpx.AsyncClient, pages: Pages) -> None:
    url = pages.assets.url("portal/page.js")
    zipped, body = await raw(browser, url, accept_encoding="gzip")
    assert zipped.headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == (STATIC / "page.js").read_bytes()
    plain, body = await raw(browser, url, accept_encoding="identity")
    assert "content-encoding" not in plain.headers
    assert body == (STATIC / "page.js").read_bytes()


async def test_an_unchanged_file_is_not_sent_again(browser: httpx.AsyncClient, pages: Pages) -> None:
    url = pages.assets.url("portal/page.js")
    first, _ = await raw(browser, url)
    again, body = await raw(browser, url, if_none_match=first.headers["etag"])
    assert (again.status_code, body) == (304, b"")


@pytest.mark.parametrize(
    "path",
    ["../face.py", "portal/../face.py", "portal/.gitignore", "vendor/krds/LICENSE", "portal/vendor/htmx/htmx.js"],
)
async def test_only_browser_files_are_served(browser: httpx.AsyncClient, path: str) -> None:
    answer, _ = await raw(browser, f"/static/x/{path}")
    assert answer.status_code == 404


def test_a_template_cannot_name_a_file_that_is_not_there(pages: Pages) -> None:
    with pytest.raises(KeyError):
        pages.assets.url("portal/portl.css")


def test_a_folder_changes_its_hash_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("a{}")
    before = Assets({"x": tmp_path}).url("x/a.css")
    (tmp_path / "b.css").write_text("b{}")
    assert Assets({"x": tmp_path}).url("x/a.css") != before


def test_missing_browser_parts_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    with pytest.raises(BrowserPartsMissing, match=r"hatch_build\.py"):
        portal_folders(tmp_path)


def test_vendored_files_are_those_of_the_manifest_and_have_licences() -> None:
    vendor = STATIC / "vendor"
    manifest = json.loads((vendor / "manifest.json").read_text())
    found = {f.relative_to(vendor).as_posix(): sha256(f.read_bytes()).hexdigest() for f in vendor.rglob("*.*")}
    found.pop("manifest.json")
    listed = manifest["files"]
    assert found == {name: digest for name, digest in listed.items() if "." in name}
    assert {name for name in listed if name.endswith("LICENSE")} == {
        f"{part}/LICENSE" for part in ("htmx", "krds", "maplibre", "uplot")
    }
    assert sum((vendor / name).stat().st_size for name in listed) < 2_600_000


def test_our_styles_use_only_meanings_never_raw_krds_colours() -> None:
    for sheet in STATIC.glob("*.css"):
        text = sheet.read_text()
        assert not re.search(r"--krds-(color-)?(light|high-contrast)-", text), sheet
        assert "http" not in text
        if sheet.name != "tokens.css":
            assert not re.search(r":[^;{}]*#[0-9a-f]{3,8}\b", text), f"{sheet.name} sets a colour of its own"


def test_every_token_used_is_defined() -> None:
    defined: set[str] = set()
    used: dict[str, str] = {}
    for sheet in (*STATIC.glob("*.css"), STATIC / "vendor/krds/krds.css"):
        text = sheet.read_text()
        defined |= set(re.findall(r"(--[\w-]+)\s*:", text))
        if sheet.parent == STATIC:
            used |= dict.fromkeys(re.findall(r"var\((--[\w-]+)", text), sheet.name)
    for module in STATIC.glob("*.js"):
        used |= dict.fromkeys(re.findall(r"\"(--[\w-]+)\"", module.read_text()), module.name)
    assert {name: place for name, place in used.items() if name not in defined} == {}


def test_dark_by_choice_and_dark_by_device_are_the_same() -> None:
    text = (STATIC / "tokens.css").read_text()
    chosen = re.search(r'\[data-theme="dark"\] \{(.*?)\n\}', text, re.DOTALL)
    device = re.search(r'\[data-theme="system"\] \{(.*?)\n  \}', text, re.DOTALL)
    assert chosen
    assert device
    assert chosen.group(1).split() == device.group(1).split()


def test_every_icon_named_in_a_template_exists() -> None:
    symbols = set(re.findall(r'<symbol id="([\w-]+)"', (STATIC / "icons.svg").read_text()))
    named: set[str] = set()
    for template in (STATIC.parent / "templates").glob("*.html"):
        text = template.read_text()
        named |= set(re.findall(r'ico\("(\w+)"', text)) | set(re.findall(r"#([a-z][a-z-]*[a-z])\"/>", text))
        named |= set(re.findall(r'empty\("(\w+)"', text)) | set(re.findall(r'badge\("\w+", [^)]*\), "(\w+)"', text))
    assert named - symbols == set()
