"""Short files, short functions, names from the city, and a first line that says what a thing means."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median, quantiles

import pytest

LONGEST_FILE = 600
LONGEST_FUNCTION = 60
DOCUMENTED = 0.90
EMPTY_WORDS = re.compile(
    r"(?:Manager|Helpers?|Utils?|Utility|Misc|Common)(?![a-z])|(?:^|_)(?:manager|helpers?|utils?|misc|common)(?:_|$)"
)
Function = ast.FunctionDef | ast.AsyncFunctionDef
Named = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@pytest.fixture(scope="module")
def lengths(root: Path) -> dict[str, int]:
    """Lines of every file of the package, the tests and the benches."""
    return {
        str(file.relative_to(root)): len(file.read_text(encoding="utf-8").splitlines())
        for folder in ("src", "tests", "bench")
        for file in sorted((root / folder).rglob("*.py"))
        if "node_modules" not in file.parts
    }


def functions(trees: Mapping[Path, ast.Module]) -> Iterator[tuple[str, int]]:
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{path}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_file_is_longer_than_one_reads(lengths: dict[str, int]) -> None:
    long = {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE}
    assert not long, long


def test_most_files_are_short(lengths: dict[str, int]) -> None:
    source = [lines for name, lines in lengths.items() if name.startswith("src")]
    assert quantiles(source, n=10)[-1] <= 350


def test_no_function_is_longer_than_a_page(trees: Mapping[Path, ast.Module]) -> None:
    long = [f"{where} has {lines} lines" for where, lines in functions(trees) if lines > LONGEST_FUNCTION]
    assert not long, "\n".join(long)


def test_most_functions_are_short(trees: Mapping[Path, ast.Module]) -> None:
    lines = [lines for _, lines in functions(trees)]
    assert median(lines) <= 10
    assert quantiles(lines, n=10)[-1] <= 30


def test_names_come_from_the_city(trees: Mapping[Path, ast.Module]) -> None:
    """A name that could stand for anything says nothing."""
    empty = [str(path) for path in trees if any(EMPTY_WORDS.search(part) for part in (*path.parts[:-1], path.stem))]
    for path, tree in trees.items():
        nodes = (node for node in ast.walk(tree) if isinstance(node, Named))
        empty += [f"{path}:{node.lineno} {node.name}" for node in nodes if EMPTY_WORDS.search(node.name)]
    assert not empty, "\n".join(empty)


@pytest.mark.parametrize(
    ("name", "empty"),
    [("LotManager", True), ("url_helper", True), ("utils", True), ("HTTPUtils", True), ("manage", False)]
    + [("AsyncContextManager2", True), ("help_text", False), ("utilisation", False), ("commonwealth", False)],
)
def test_the_check_of_names_itself(name: str, empty: bool) -> None:
    assert bool(EMPTY_WORDS.search(name)) is empty


def public(node: ast.AST) -> Iterator[Named]:
    """Classes and functions others may use: no underscore, not inside a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Named):
            if not child.name.startswith("_"):
                yield child
                if isinstance(child, ast.ClassDef):
                    yield from public(child)
        elif not isinstance(child, ast.expr):
            yield from public(child)


def test_public_things_say_what_they_mean(trees: Mapping[Path, ast.Module]) -> None:
    silent, total = [], 0
    for path, tree in trees.items():
        for node in public(tree):
            total += 1
            if not ast.get_docstring(node):
                silent.append(f"{path}:{node.lineno} {node.name}")
    share = 1 - len(silent) / total
    assert share >= DOCUMENTED, f"{share:.1%} of {total} have a docstring; without:\n" + "\n".join(silent)


def test_every_file_says_what_it_is(trees: Mapping[Path, ast.Module]) -> None:
    silent = [str(path) for path, tree in trees.items() if not ast.get_docstring(tree)]
    assert not silent, silent


def test_test_files_say_what_they_prove(root: Path) -> None:
    files = sorted((root / "tests").rglob("test_*.py"))
    silent = [str(file) for file in files if not ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))]
    assert not silent, silent


def test_a_fault_that_is_let_pass_has_a_name(root: Path) -> None:
    bare = re.compile(r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!:)|#\s*pyright:\s*ignore(?!\[)")
    found = [
        f"{file.relative_to(root)}:{number}"
        for file in sorted((root / "src").rglob("*.py"))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if bare.search(line)
    ]
    assert not found, found
