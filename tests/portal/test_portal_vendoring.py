"""The build hook: what it takes out of KRDS, what it refuses, and when it has nothing to do."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

TOKENS = """
:root {
  --krds-color-light-gray-0: #fff; --krds-color-high-contrast-gray-100: #000; --krds-number-5: 0.8rem;
  --krds-light-color-text-basic: var(--krds-color-light-gray-0);
  --krds-high-contrast-color-text-basic: var(--krds-color-high-contrast-gray-100);
  --krds-gap-2: var(--krds-number-5);
}
"""
OUTPUT = """
@charset "utf-8";
@import "../../css/token/krds_tokens.css";
/* a comment { with braces } */
:root { --krds-font-weight-bold: 700; }
[data-krds-mode=high-contrast] .krds-btn { color: red; }
.krds-btn, .krds-modal .krds-btn {
  color: var(--krds-light-color-text-basic); -webkit-mask: none; width: 1px !important;
}
.krds-btn:focus { outline: none; }
.krds-btn.xxl { width: 99rem; }
.krds-form-select { background-image: url(../../img/component/icon/ico_angle.svg); }
.krds-modal { display: block; }
@media (max-width: 767px) { .krds-btn { width: 2px; } .krds-modal { width: 3px; } }
@media (prefers-color-scheme: dark) { .krds-btn { color: blue; } }
"""


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["hatch_build"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def krds(tmp_path: Path) -> Path:
    source = tmp_path / "resources"
    for name, text in (
        ("css/token/krds_tokens.css", TOKENS),
        ("css/component/output.css", OUTPUT),
        ("img/component/icon/ico_angle.svg", "<svg/>"),
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text, "utf-8")
    return source


def test_one_sheet_holds_both_modes_under_the_same_names(hook: ModuleType, krds: Path, tmp_path: Path) -> None:
    target = tmp_path / "made"
    target.mkdir()
    hook.write_krds(krds, target)
    sheet = (target / "krds.css").read_text()
    assert ":root{--krds-color-text-basic:#fff;" in sheet
    assert "[data-theme=contrast],[data-theme=dark]{--krds-color-text-basic:#000;}" in sheet
    assert "--krds-gap-2:0.8rem;" in sheet
    assert ".krds-btn{color:var(--krds-color-text-basic);width:1px;}" in sheet
    assert "@media (max-width: 767px){.krds-btn{width:2px;}}" in sheet
    assert "url(ico_angle.svg)" in sheet
    assert (target / "ico_angle.svg").is_file()
    for gone in ("@import", "modal", "xxl", ":focus", "-webkit-", "!important", "light-", "blue", "red"):
        assert gone not in sheet, gone


@pytest.mark.parametrize(
    "css",
    [
        "a{background:url(https://x.test/a.png)}",
        'a{background:url("//x.test/a.png")}',
        "@import 'b.css';",
        "a{src: url( http://x )}",
    ],
)
def test_a_sheet_that_would_call_outside_is_refused(hook: ModuleType, tmp_path: Path, css: str) -> None:
    (tmp_path / "a.css").write_text(css)
    with pytest.raises(SystemExit, match=r"a\.css"):
        hook.refuse_outside_hosts(tmp_path)


def test_pictures_inside_a_sheet_are_fine(hook: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text(
        "a{background:url(data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg'/>)}b{background:url(b.png)}"
    )
    hook.refuse_outside_hosts(tmp_path)


def test_nothing_is_brought_twice_but_harm_is_mended(hook: ModuleType, tmp_path: Path) -> None:
    for name in hook.LOCK:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    vendor = tmp_path / hook.VENDOR
    vendor.mkdir(parents=True)
    (vendor / "a.js").write_text("1")
    assert not hook.is_fresh(tmp_path)
    manifest = {"stamp": hook.stamp(tmp_path), "files": {"a.js": hook.digest(vendor / "a.js")}}
    (vendor / "manifest.json").write_text(json.dumps(manifest))
    assert hook.is_fresh(tmp_path)
    assert not hook.bring(tmp_path)
    (vendor / "a.js").write_text("2")
    assert not hook.is_fresh(tmp_path)
    (vendor / "a.js").write_text("1")
    (tmp_path / "frontend/package-lock.json").write_text('{"other": 1}')
    assert not hook.is_fresh(tmp_path)


def test_line_endings_do_not_change_the_stamp(hook: ModuleType, tmp_path: Path) -> None:
    for name in hook.LOCK:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"a\nb\n")
    unix = hook.stamp(tmp_path)
    (tmp_path / hook.LOCK[0]).write_bytes(b"a\r\nb\r\n")
    assert hook.stamp(tmp_path) == unix


def test_the_lock_holds_exactly_what_is_shipped_and_its_integrity() -> None:
    lock = json.loads((ROOT / "frontend/package-lock.json").read_text())["packages"]
    assert lock["node_modules/maplibre-gl"]["version"] == "6.17.0"
    assert lock["node_modules/axe-core"]["dev"] is True
    assert all(entry.get("integrity", "").startswith("sha512-") for name, entry in lock.items() if name)
    assert not {"node_modules/echarts", "node_modules/pretendard-gov"} & set(lock)
