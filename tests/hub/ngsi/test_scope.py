"""The hierarchies entities are filed under."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ngsi.errors import BadRequestData, NgsiLdError, TooComplexQuery
from sejong.hub.ngsi.scope import check_scope, parse_scope_q, scope_predicate, to_sql

SCOPES: list[list[str] | None] = [
    None, [], ["/a"], ["a"], ["/a/b"], ["a/b"], ["/a/b/c"], ["/b"], ["/a", "/b"], ["/ab"], ["/x/a"],
    ["/a/x/c"],
    ["/세종/나성동"], ["/세종/나성동/공원"], ["/a_1"], ["/A"],
]  # fmt: skip
QUESTIONS = ["/a", "a", "/a/b", "/a/#", "/#", "/+", "/+/b", "/a/+/c", "/a/+/#", "/a,/b", "/a|/b", "(/a;/b)",
    "(/a;/b),/x/#",
             "/세종/#", "/세종/+", "(/a/#)", "/+/+/+", "/a_1", "(/+;/b)", "(/a/#;/b)"]  # fmt: skip


def finds(question: str, *scopes: str) -> bool:
    return scope_predicate(parse_scope_q(question))(list(scopes))


@pytest.mark.parametrize(
    ("question", "yes", "no"),
    [
        ("/Madrid", "/Madrid", "/Madrid/Gardens"),
        ("/Madrid", "Madrid", "/madrid"),
        ("Madrid", "/Madrid", "/Madrid2"),
        ("/Madrid/Gardens/#", "/Madrid/Gardens", "/Madrid"),
        ("/Madrid/Gardens/#", "/Madrid/Gardens/ParqueNorte/Parterre1", "/Madrid/Gardens2"),
        ("/Madrid/+/ParqueNorte", "/Madrid/Sights/ParqueNorte", "/Madrid/ParqueNorte"),
        ("/+/Gardens", "/Sejong/Gardens", "/Gardens"),
        ("/+/#", "/Sejong", None),
        ("/#", "/anything/at/all", None),
        ("/A,/B", "/B", "/C"),
        ("/A|/B", "/A", "/C"),
    ],
)
def test_one_scope(question: str, yes: str, no: str | None) -> None:
    assert finds(question, yes)
    assert no is None or not finds(question, no)


def test_several_scopes() -> None:
    assert finds("(/Madrid/Districts;/CompanyA)", "/CompanyA", "/Madrid/Districts")
    assert not finds("(/Madrid/Districts;/CompanyA)", "/CompanyA")
    assert finds("(/Madrid/Districts;/CompanyA)|CompanyB", "/CompanyB")
    assert not finds("/#")
    assert not scope_predicate(parse_scope_q("/#"))(None)


@pytest.mark.parametrize(
    "question",
    ["", None, 5, "/", "//a", "/a/", "/a//b", "#", "/a#", "/#/a", "/a/#/b", "/1a", "/a b", "/a;/b", "(/a",
    "/a)", "(/a,/b)",
     "((/a;/b))", "()", "/a,", "/a/++", "/a/*", "/a/+b", "(/a;/b)(/c)", "/a/#/#"],
)  # fmt: skip
def test_what_is_no_question_is_refused(question: object) -> None:
    with pytest.raises(BadRequestData, match="scopeQ"):
        parse_scope_q(question)


def test_scopes_themselves() -> None:
    assert check_scope("/세종/나성동_1") == "/세종/나성동_1"
    for bad in ("", "/", "/a/", "a b", "/+", "/#", 5, None):
        with pytest.raises(BadRequestData, match="scope"):
            check_scope(bad)


def test_there_is_a_limit() -> None:
    with pytest.raises(TooComplexQuery):
        parse_scope_q(",".join(["/a"] * 101))


@given(st.text(alphabet="/ab+#,;|()1_ 세", max_size=14))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    with contextlib.suppress(NgsiLdError):
        scope_predicate(parse_scope_q(text))(["/a/b"])


def test_the_database_finds_the_same(dsn: str) -> None:
    asyncio.run(_same(dsn))


async def _same(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("create temp table thing(n int, scopes text[])")
        for n, scopes in enumerate(SCOPES):
            await connection.execute("insert into thing values ($1, $2)", n, scopes)
        for question in QUESTIONS:
            values: list[Any] = []
            rows = to_sql(parse_scope_q(question), lambda value, to=values: (to.append(value), f"${len(to)}")[1])
            assert rows.is_exact
            found = await connection.fetch(f"select n from thing where {rows.maybe} order by n", *values)
            matches = scope_predicate(parse_scope_q(question))
            assert [row["n"] for row in found] == [n for n, scopes in enumerate(SCOPES) if matches(scopes)], question
    finally:
        await connection.close()
