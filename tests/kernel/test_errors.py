"""Every way the city says no: complete in Korean and English, with the same facts in both."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

import sejong
from sejong.kernel.errors import CityError, Invalid, NotFound, TooManyRequests

ROOT = Path(sejong.__file__).parent
HANGUL = re.compile("[가-힣]")


def every_error() -> list[type[CityError]]:
    """All error classes of the house, found after every module is imported."""
    for module in pkgutil.walk_packages(sejong.__path__, "sejong."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    def below(kind: type[CityError]) -> Iterator[type[CityError]]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    return sorted(
        {kind for kind in below(CityError) if kind.__module__.startswith("sejong.")}, key=lambda kind: kind.__qualname__
    )


ERRORS = every_error()


def facts(template: str) -> set[str]:
    """The values a template names; one said in two languages (`why_ko`, `why_en`) counts as one."""
    return {re.sub("_(ko|en)$", "", name) for _, name, _, _ in Formatter().parse(template) if name is not None}


def test_there_are_errors_to_check() -> None:
    assert len(ERRORS) > 50
    assert {"KeyUsedForAnother", "DatabaseAway", "MigrationChanged", "ResourceNotFound"} <= {e.__name__ for e in ERRORS}


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_both_languages_say_the_same(kind: type[CityError]) -> None:
    assert HANGUL.search(kind.ko), f"{kind.__name__}.ko is not Korean: {kind.ko!r}"
    assert kind.en.strip()
    assert not HANGUL.search(kind.en), f"{kind.__name__}.en is not English: {kind.en!r}"
    assert facts(kind.ko) == facts(kind.en)
    assert all(name.isidentifier() for name in facts(kind.en)), "templates name their values"
    assert 400 <= kind.status < 600
    assert (inspect.getdoc(kind) or "").strip(), "an error says in its docstring what it means"


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_with_its_own_facts_has_its_own_words(kind: type[CityError]) -> None:
    """A subclass that sets one language and inherits the other would say two different things."""
    assert ("ko" in vars(kind)) is ("en" in vars(kind))


def test_names_are_stable_codes_and_used_once() -> None:
    names = [kind.__name__ for kind in ERRORS]
    doubled = {name for name in names if names.count(name) > 1}
    assert not doubled, f"two errors would answer with the same code: {doubled}"


def raised() -> Iterator[tuple[Path, ast.Call, type[CityError]]]:
    """Every place that makes one of the plain errors (those that take their facts by name)."""
    by_name = {kind.__name__: kind for kind in ERRORS if kind.__init__ is CityError.__init__}
    for file in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in by_name:
                    yield file, node, by_name[name]


def test_every_error_is_raised_with_the_facts_it_names() -> None:
    """Otherwise a person reads `?` where the reason should stand."""
    checked, silent = 0, []
    for file, call, kind in raised():
        if call.args or any(keyword.arg is None for keyword in call.keywords):
            continue
        needed = {name for _, name, _, _ in Formatter().parse(kind.ko + kind.en) if name}
        missing = needed - {keyword.arg for keyword in call.keywords}
        checked += 1
        if missing:
            silent.append(f"{file.relative_to(ROOT)}:{call.lineno} {kind.__name__} without {sorted(missing)}")
    assert checked > 50
    assert not silent, "\n".join(silent)


def test_values_are_filled_in_and_a_missing_one_hides_nothing() -> None:
    error = NotFound(what="대여소 7")
    assert error.message("ko") == "대여소 7을(를) 찾을 수 없습니다."
    assert str(error) == error.message("en") == error.message("fr") == "대여소 7 was not found."
    assert NotFound().message("en") == "? was not found."


def test_braces_in_a_value_are_only_text() -> None:
    assert Invalid(why="{0} {x!r:>{y}} }{").message("en") == "What was sent is not valid: {0} {x!r:>{y}} }{"


def test_problem_document() -> None:
    """Source: RFC 9457 section 3.1."""
    assert TooManyRequests(seconds=3).problem() == {
        "type": "urn:sejong:error:TooManyRequests",
        "title": "TooManyRequests",
        "status": 429,
        "detail": "Too many requests. Please send again in 3 seconds.",
        "detail_ko": "요청이 너무 많습니다. 3초 뒤에 다시 보내 주세요.",
    }
