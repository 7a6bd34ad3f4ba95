"""What is written is true: nothing is stale or missing, links lead somewhere, and both languages say it."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
import typer
from prometheus_client.metrics import MetricWrapperBase

from sejong.app import openapi_document, services
from sejong.cli import app
from sejong.kit import telemetry
from sejong.settings import settings_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
HANGUL = re.compile("[가-힣]")
LATIN = re.compile("[A-Za-z]{2}")

LEAD = ["README.md", "README.en.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "docs/architecture.md"]
LEAD += ["docs/settings.md", "docs/operations.md", "docs/decisions/README.md"]


def pages() -> list[Path]:
    """Every Markdown page of the repository."""
    found = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in found.stdout.splitlines() if (ROOT / name).exists()]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", LEAD)
def test_the_pages_a_stranger_looks_for_are_there(name: str) -> None:
    assert (ROOT / name).is_file()
    assert len(read(name)) > 200


# --- made from code ---------------------------------------------------------------------------------------------


def test_the_settings_page_is_current() -> None:
    assert read("docs/settings.md") == settings_page(), "run `make docs` (.venv/bin/sejong settings > docs/settings.md)"


def test_the_openapi_page_is_current_if_it_is_kept() -> None:
    """The snapshot in tests/contract is the one that counts; a copy in docs must not say something else."""
    copy = DOCS / "openapi.json"
    if copy.exists():
        assert msgspec.json.decode(copy.read_bytes()) == msgspec.json.decode(msgspec.json.encode(openapi_document()))


# --- nothing undocumented ---------------------------------------------------------------------------------------


def commands(found: Any, name: str = "sejong") -> Iterator[tuple[str, Any]]:
    """Every command that can be typed."""
    below = getattr(found, "commands", None)
    if below is None:
        yield name, found
    else:
        for part, command in below.items():
            yield from commands(command, f"{name} {part}")


COMMANDS = dict(commands(typer.main.get_command(app)))
METRICS = {metric._name: metric for metric in vars(telemetry).values() if isinstance(metric, MetricWrapperBase)}
EVENTS = {event for service in services() for event in service.on}
JOBS = {job: service.periodic.get(job) for service in services() for job in service.jobs}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_explained_in_both_languages(name: str) -> None:
    said = COMMANDS[name].help or ""
    assert HANGUL.search(said)
    assert LATIN.search(said)
    *group, last = name.split()
    lines = [line for line in read("docs/operations.md").splitlines() if line.startswith("| `sejong")]
    assert any(" ".join(group) in line and re.search(rf"[ `]{last}`", line) for line in lines), name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_in_both_languages(name: str) -> None:
    for parameter in COMMANDS[name].params:
        said = getattr(parameter, "help", None) or ""
        assert HANGUL.search(said), f"{name} {parameter.name}: {said!r}"
        assert LATIN.search(said), f"{name} {parameter.name}: {said!r}"


def test_no_command_is_explained_that_is_not_there() -> None:
    named = re.findall(r"`(sejong [a-z][a-z ]*)`", "\n".join(page.read_text(encoding="utf-8") for page in pages()))
    gone = {name for name in named if name not in COMMANDS and " ".join(name.split()[:2]) not in COMMANDS}
    assert not {name for name in gone if not any(command.startswith(f"{name} ") for command in COMMANDS)}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_explained(name: str) -> None:
    metric = METRICS[name]
    shown = f"{name}_total" if metric._type == "counter" else name
    (line,) = [line for line in read("docs/operations.md").splitlines() if f"`{shown}`" in line]
    assert all(f"`{label}`" in line for label in metric._labelnames)
    assert HANGUL.search(line)


def told() -> set[str]:
    """Names of events written anywhere in the code."""
    names: set[str] = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Happened" and node.args:
                first = node.args[0]
                names |= {first.value} if isinstance(first, ast.Constant) else set()
    return names


def test_every_event_is_explained() -> None:
    page = read("docs/operations.md")
    assert {event for event in EVENTS | told() if f"`{event}`" not in page} == set()


def test_every_event_somebody_listens_to_is_told_by_somebody() -> None:
    assert told() >= EVENTS


@pytest.mark.parametrize("name", JOBS)
def test_every_job_is_explained(name: str) -> None:
    assert re.search(rf"^\| `{name}` \|.*[가-힣]", read("docs/operations.md"), re.M)


@pytest.mark.parametrize("service", services(), ids=lambda service: service.name)
def test_every_service_has_half_a_page(service: object) -> None:
    page = Path(str(service.folder())) / "README.md"  # type: ignore[attr-defined]
    assert page.is_file()
    assert 300 < len(page.read_text(encoding="utf-8")) < 6000


# --- the README -------------------------------------------------------------------------------------------------

TARGETS = dict(re.findall(r"^([a-z]+):.*?## (.+)$", read("Makefile"), re.M))


@pytest.mark.parametrize("name", ["README.md", "README.en.md"])
def test_the_readme_is_short_and_its_two_commands_work(name: str) -> None:
    text = read(name)
    assert len(text.splitlines()) <= 120
    typed = set(re.findall(r"\bmake ([a-z]+)", text))
    assert {"up", "test"} <= typed
    assert typed <= TARGETS.keys()


def test_every_target_says_what_it_does_in_both_languages() -> None:
    assert {"up", "test", "check", "bench", "docs", "clean", "help"} <= TARGETS.keys()
    silent = {target for target, said in TARGETS.items() if not (HANGUL.search(said) and LATIN.search(said))}
    assert not silent


def test_make_help_lists_every_target() -> None:
    done = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in done.stdout.splitlines() if line.startswith("  make ")} == TARGETS.keys()


def test_ci_runs_what_anyone_types() -> None:
    assert re.search(r"^exec make test$", read(".ci/run"), re.M)


@pytest.mark.parametrize("name", ["README.md", "README.en.md"])
def test_folders_the_readme_names_are_there(name: str) -> None:
    rows = [line for line in read(name).splitlines() if line.startswith("| `")]
    assert len(rows) >= 5
    for row in rows:
        base = Path()
        for part in re.findall(r"`([\w./-]+)`", row.split("|")[1]):
            here = ROOT / part
            beside = ROOT / base / part
            assert here.exists() or beside.exists(), f"{part} is not there"
            base = Path(part).parent


# --- links ------------------------------------------------------------------------------------------------------

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")


def anchors(text: str) -> set[str]:
    """The names headings can be linked by, as Git hosts make them."""
    headings = re.findall(r"^#{1,6}\s+(.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    broken = []
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        file = page if not name else (page.parent / name).resolve()
        there = file.exists() and file.is_relative_to(ROOT)
        if not there or (anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    assert not broken


def test_files_named_in_pages_are_there() -> None:
    """A path in backquotes that begins like one of ours must exist."""
    named = re.compile(r"`((?:src|tests|docs|bench|cities|frontend)/[\w./-]*\w)`")
    gone = {
        f"{page.relative_to(ROOT)}: {name}"
        for page in pages()
        for name in named.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / name).exists()
    }
    assert not gone


# --- two languages ----------------------------------------------------------------------------------------------

PAIRED = [ROOT / "README.md", *sorted((DOCS / "guides").glob("*.md"))]


@pytest.mark.parametrize(
    "page", [page for page in PAIRED if not page.name.endswith(".en.md")], ids=lambda page: page.name
)
def test_a_korean_page_has_its_english_twin(page: Path) -> None:
    twin = page.with_suffix(".en.md")
    assert twin.is_file()
    korean, english = page.read_text(encoding="utf-8"), twin.read_text(encoding="utf-8")
    assert twin.name in korean, "the Korean page leads to the English one"
    assert page.name in english, "and back"
    assert len(HANGUL.findall(korean)) > 200
    assert len(HANGUL.findall(english)) < len(english) / 10
    assert len(re.findall(r"^#", korean, re.M)) == len(re.findall(r"^#", english, re.M)), "the same chapters"
    assert korean.count("```") == english.count("```"), "the same examples"


def test_no_english_page_stands_alone() -> None:
    alone = [
        page for page in pages() if page.name.endswith(".en.md") and not page.with_name(page.name[:-6] + ".md").exists()
    ]
    assert not alone


def test_decisions_are_numbered_listed_and_short() -> None:
    listed = read("docs/decisions/README.md")
    files = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [file.name[:4] for file in files] == [f"{n:04d}" for n in range(1, len(files) + 1)]
    for file in files:
        assert file.name in listed
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 80
