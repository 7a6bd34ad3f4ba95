"""Which types of things are asked for."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import combinations
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ngsi.errors import BadRequestData, NgsiLdError, TooComplexQuery
from sejong.hub.ngsi.typeselect import TypeSelection, parse_types, to_sql, type_predicate

D = "https://city.test/"
NUMBERS = {D + name: number for number, name in enumerate("ABCD", 3)}


def expand(term: str) -> str:
    return term if "://" in term else D + term


def parsed(text: str) -> TypeSelection:
    return parse_types(text, expand)


def selects(text: str, *types: str) -> bool:
    return type_predicate(parsed(text))([D + name for name in types])


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("A", [["A"]]),
        ("A,B", [["A"], ["B"]]),
        ("A|B", [["A"], ["B"]]),
        ("A,B|C", [["A"], ["B"], ["C"]]),
        ("(B;A)", [["A", "B"]]),
        ("(A)", [["A"]]),
        ("(A;B),C", [["A", "B"], ["C"]]),
        ("A,A", [["A"]]),
        ("(A;A)", [["A"]]),
        ("건물", [["건물"]]),
        ("https://city.test/A", [["A"]]),
    ],
)
def test_reading(text: str, groups: list[list[str]]) -> None:
    assert parsed(text).any_of == tuple(tuple(D + name for name in group) for group in groups)


def test_a_prefix_is_left_to_the_context() -> None:
    assert parse_types("ex:A", lambda term: f"<{term}>").any_of == (("<ex:A>",),)


@pytest.mark.parametrize(
    "text",
    ["", None, 5, ["A"], "A;B", "A,", ",A", "A||B", "()", "(A;)", "(A,B)", "(A|B)", "((A;B))", "(A;B", "A)",
    "*,A",
     "A B", "1A", "(A)(B)", "(A;B)C", "(*)", "A,(B"],
)  # fmt: skip
def test_what_is_no_selection_is_refused(text: object) -> None:
    with pytest.raises(BadRequestData, match="type"):
        parse_types(text, expand)


def test_there_is_a_limit() -> None:
    with pytest.raises(TooComplexQuery):
        parsed(",".join(f"T{n}" for n in range(101)))


@given(st.text(alphabet="AB,;|()* :/1", max_size=12))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    with contextlib.suppress(NgsiLdError):
        type_predicate(parsed(text))([D + "A"])


def test_simple_selections_name_their_types() -> None:
    assert parsed("A,B").simple_types == (D + "A", D + "B")
    assert parsed("(A)").simple_types == (D + "A",)
    assert parsed("(A;B)").simple_types is None
    assert parsed("*").simple_types is None
    assert parsed("*").every_type
    assert parsed("(A;B),C").types == {D + "A", D + "B", D + "C"}


def test_selecting() -> None:
    assert selects("A,B", "B")
    assert not selects("A,B", "C")
    assert selects("(A;B)", "B", "C", "A")
    assert not selects("(A;B)", "A")
    assert selects("(A;B)|C", "C")
    assert selects("*", "anything")


def test_the_database_selects_the_same(dsn: str) -> None:
    worlds = [types for size in (1, 2, 3) for types in combinations("ABCD", size)]
    texts = ["A", "A,B", "(A;B)", "(A;B),C", "(A;B;C)|D", "X", "A,X", "(A;X)", "*", "(A;B),(C;D)"]
    asyncio.run(_same(dsn, worlds, texts))


async def _same(dsn: str, worlds: list[tuple[str, ...]], texts: list[str]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("create temp table thing(n int, types int[])")
        for n, types in enumerate(worlds):
            numbers = [NUMBERS[D + name] for name in types]
            await connection.execute("insert into thing values ($1, $2)", n, numbers)
        for text in texts:
            values: list[Any] = []
            rows = to_sql(parsed(text), NUMBERS.get, lambda value, to=values: (to.append(value), f"${len(to)}")[1])
            assert rows.is_exact
            found = await connection.fetch(f"select n from thing where {rows.maybe} order by n", *values)
            assert [row["n"] for row in found] == [n for n, types in enumerate(worlds) if selects(text, *types)]
    finally:
        await connection.close()
