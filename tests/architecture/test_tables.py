"""SQL lives in stores, and a store touches its own service's tables only: services never meet through tables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sejong.app import services
from sejong.kit.city import migrations_of

NAME = r"(?P<table>[a-z_][\w.]*+)"
TABLES = (
    re.compile(rf"\b(?:from|join)\s+(?:only\s+)?{NAME}(?!\s*\()", re.I),
    re.compile(rf"\binsert\s+into\s+{NAME}", re.I),
    re.compile(rf"\bupdate\s+{NAME}(?:\s+(?:as\s+)?\w+)?\s+set\b", re.I),
    re.compile(rf"\b(?:truncate|copy|lock\s+table)\s+{NAME}", re.I),
)
NOT_A_TABLE = re.compile(r"(?:extract\s*\(\s*\w+|distinct)\s+from", re.I)
VERBS = "select|insert|update|delete|with|truncate|copy|lock|create|alter|drop|explain"
IS_SQL = re.compile(rf"^\s*(?:{VERBS}|{VERBS.upper()})\b")
CATALOGUE = re.compile(r"^(?:pg_\w+|information_schema\.\w+|unnest|lateral|generate_series)$", re.I)
HIDDEN = re.compile(
    r"(?<!\w)(?:now\(\)|current_(?:date|time|timestamp)|localtime\w*|random\(\)|gen_random_uuid\(\))", re.I
)


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string literal but docstrings, with its line; values filled into f-strings are `x`."""
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "x" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | inside:
            yield node.lineno, node.value


def statements(trees: Mapping[Path, ast.Module]) -> Iterator[tuple[Path, int, str]]:
    """Every string of the package that is an SQL statement on tables."""
    for path, tree in trees.items():
        for line, text in texts(tree):
            if IS_SQL.match(text) and tables(text):
                yield path, line, text


def tables(text: str) -> set[str]:
    """The tables a statement names; what the system's own catalogue holds is no table of the city."""
    plain = NOT_A_TABLE.sub(" ", text)
    named = {match["table"].lower() for pattern in TABLES for match in pattern.finditer(plain)}
    made = {name.lower() for name in re.findall(r"\b(\w+)(?:\([^)]*\))?\s+as\s+(?:materialized\s+)?\(", text, re.I)}
    return {name for name in named - made if not CATALOGUE.match(name) and name != "x"}


def is_store(path: Path) -> bool:
    """`store.py` or a file in a `store/` folder of a service."""
    return "store" in (*path.parts[:-1], path.stem)


def speaks_to_a_file(tree: ast.Module) -> bool:
    """Whether a module reads or writes an SQLite file: a file format, not the city's database."""
    return any(isinstance(node, ast.Import) and node.names[0].name == "sqlite3" for node in ast.walk(tree))


def test_sql_lives_in_stores_and_in_the_kit(trees: Mapping[Path, ast.Module]) -> None:
    found = list(statements(trees))
    assert len(found) > 50
    outside = [
        f"{path}:{line} {text.split(None, 6)[:6]}"
        for path, line, text in found
        if not is_store(path) and path.parts[0] != "kit" and not speaks_to_a_file(trees[path])
    ]
    assert not outside, "\n".join(outside)


def test_a_store_touches_the_tables_of_its_own_service_only(trees: Mapping[Path, ast.Module]) -> None:
    strangers = []
    for path, line, text in statements(trees):
        if is_store(path):
            own = path.parts[0]
            strangers += [
                f"{path}:{line} {name}" for name in tables(text) if "." in name and not name.startswith(f"{own}.")
            ]
    assert not strangers, "\n".join(strangers)


def test_tables_are_named_with_their_schema(trees: Mapping[Path, ast.Module]) -> None:
    """So that no search_path and no other service's table of the same name can come between."""
    made = set().union(
        *(
            re.findall(r"create table \w+\.(\w+)", step.sql)
            for step in migrations_of(services())
            if step.service != "kit"
        )
    )
    bare = [
        f"{path}:{line} {name}"
        for path, line, text in statements(trees)
        if is_store(path)
        for name in tables(text)
        if name in made
    ]
    assert not bare, "\n".join(bare)


def test_no_statement_hides_time_or_chance(trees: Mapping[Path, ast.Module]) -> None:
    """City time comes in as a parameter. (`clock_timestamp()` says plainly that it is the computer's.)"""
    hidden = [f"{path}:{line}" for path, line, text in statements(trees) if is_store(path) and HIDDEN.search(text)]
    for step in migrations_of(services()):
        if step.service != "procrastinate" and HIDDEN.search(re.sub(r"--.*", "", step.sql)):
            hidden.append(f"{step.service}/{step.name}")
    assert not hidden, hidden


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("select a, b\nfrom hub.entity e join hub.term t on true", {"hub.entity", "hub.term"}),
        ("insert into hub.term(iri) values ($1)", {"hub.term"}),
        ("update hub.entity e set a = 1 from x", {"hub.entity"}),
        ("delete from citypack.loaded", {"citypack.loaded"}),
        ("with up as (select 1 from hub.run) select * from up", {"hub.run"}),
        ("select * from unnest($1::int[]) as e(n)", set()),
        ("select count(*) from pg_stat_activity", set()),
        ("select extract(epoch from t) from hub.hist where a is distinct from b", {"hub.hist"}),
        ("select * from (select no from hub.term) x", {"hub.term"}),
        ("select 1", set()),
    ],
)
def test_the_check_itself_reads_sql(text: str, named: set[str]) -> None:
    assert tables(text) == named
