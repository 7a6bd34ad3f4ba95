"""Regular expressions from strangers: the same language as a backtracking engine, in linear time."""

from __future__ import annotations

import contextlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ngsi.errors import BadRequestData, NgsiLdError, TooComplexQuery
from sejong.hub.ngsi.patterns import MAX_PATTERN, compile_pattern


def found(pattern: str, text: str) -> bool:
    return compile_pattern(pattern).search(text)


atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "[a-c]", "c", "^", "$", r"\.", "세"])
trees = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}"])).map(lambda p: f"({p[0]}){p[1]}"),
    ),
    max_leaves=8,
)


@given(trees, st.text(alphabet="abc.세\n", max_size=8))
def test_it_finds_what_a_backtracking_engine_finds(pattern: str, text: str) -> None:
    expected = re.compile(pattern.replace("$", r"\Z"), re.DOTALL)
    assert found(pattern, text) == bool(expected.search(text))


@given(st.text(max_size=30), st.text(max_size=20))
def test_a_stranger_can_only_cause_a_named_error(pattern: str, text: str) -> None:
    with contextlib.suppress(NgsiLdError):
        compile_pattern(pattern).search(text)


@given(st.text(alphabet=r"ab()[]{}*+?|^$\.,:-19d", max_size=14), st.text(alphabet="ab19", max_size=5))
def test_a_stranger_who_knows_the_syntax_too(pattern: str, text: str) -> None:
    with contextlib.suppress(NgsiLdError):
        compile_pattern(pattern).search(text)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("Lab", "My Lab 1", "lab"),
        ("(?i)lab", "LAB", "la b"),
        ("(?i)[a-c]x", "Bx", "dx"),
        (r"^\d+$", "2026", "20x6"),
        (r"^\w+$", "세종_1", "세종 1"),
        (r"\s", "a b", "ab"),
        (r"^\S+\D$", "a1b", "a b1"),
        ("^[[:upper:]][[:alpha:]]*$", "Sejong", "sejong"),
        ("[]]", "]", "["),
        ("[^]a]", "b", "]a"),
        ("[a-]", "-", "b"),
        (r"[\]x]", "]", "y"),
        (r"a\{2\}", "a{2}", "aa"),
        ("^a{2,3}$", "aaa", "aaaa"),
        ("colou?r", "color", "colr"),
        ("a+?b", "aab", "b"),
        ("(?:ab)+c", "ababc", "abac"),
        ("x|", "anything", None),
        ("^$", "", "a"),
        ("^.$", "\n", ""),
        ("a$", "ba", "a\n"),
    ],
)
def test_the_syntax(pattern: str, yes: str, no: str | None) -> None:
    assert found(pattern, yes)
    assert no is None or not found(pattern, no)


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "a)", "[", "[a", "*", "+a", "a**", "{1}", "a{2,1}", "a{x}", r"\1", r"(a)\1", "(?=a)", r"\b",
    "\\",
     "[[:nope:]]", "[[.a.]]", "[b-a]", "a|*", r"[a-\d]"],
)  # fmt: skip
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BadRequestData, match="pattern"):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["a" * (MAX_PATTERN + 1), "((a{20}){20}){20}", "(" * 40 + "a" + ")" * 40])
def test_what_would_need_too_much_is_refused(pattern: str) -> None:
    with pytest.raises(TooComplexQuery):
        compile_pattern(pattern)


def test_an_empty_group_repeated_costs_nothing() -> None:
    assert found("((((){999}){999}){999}){999}", "x")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*$", "(a*)*b", "(.*)*x", "a*a*a*a*a*a*b", "(a|aa)+$"])
def test_no_pattern_holds_the_city_up(pattern: str) -> None:
    """A backtracking engine needs longer than the universe for some of these."""
    started = time.process_time()
    found(pattern, "a" * 5_000 + "!")
    assert time.process_time() - started < 2.0


def test_plain_text_is_recognised() -> None:
    kinds = {source: compile_pattern(source).literal for source in ("Lab", "^Lab", "Lab$", "^Lab$", ".*Lab.*", "L.b")}
    assert kinds == {
        "Lab": ("contains", "Lab"),
        "^Lab": ("prefix", "Lab"),
        "Lab$": ("suffix", "Lab"),
        "^Lab$": ("equals", "Lab"),
        ".*Lab.*": ("contains", "Lab"),
        "L.b": None,
    }
    assert compile_pattern("fo+bar.*x").required == "bar"
    assert compile_pattern("ab|cd").required == ""
