"""Conditions in two strengths: how they join, and when their parameters are bound."""

from __future__ import annotations

from typing import Any

from sejong.hub.ngsi.sql import EVERYTHING, NOTHING, Draft, Fragment, all_of, any_of, exact


def test_joining_leaves_out_what_decides_nothing() -> None:
    a, b = exact("a"), Fragment("b", "false")
    assert all_of([a, EVERYTHING]) == a
    assert any_of([a, NOTHING]) == a
    assert all_of([]) == EVERYTHING
    assert any_of([]) == NOTHING
    assert all_of([a, b]) == Fragment("(a and b)", "false")
    assert any_of([a, b]) == Fragment("(a or b)", "a")
    assert any_of([a, EVERYTHING, b]) == EVERYTHING
    assert not all_of([a, b]).is_exact
    assert all_of([a, a]) == a


def test_a_bound_parameter_is_never_dropped() -> None:
    """A statement must use every parameter it was given."""
    assert all_of([exact("x = $1"), NOTHING]).maybe == "(x = $1 and false)"


def test_only_the_parameters_that_remain_are_bound_and_each_once() -> None:
    draft = Draft()
    kept, dropped = draft.value("kept"), draft.value("dropped")
    fragment = any_of([exact(f"x = {kept} or y = {kept}"), all_of([exact(f"z = {dropped}"), NOTHING])])
    values: list[Any] = []

    def bind(value: Any) -> str:
        values.append(value)
        return f"${len(values) + 5}"

    bound = draft.bound(fragment, bind)
    assert bound == exact("x = $6 or y = $6")
    assert values == ["kept"]


def test_without_sure_its_parameters_are_not_bound() -> None:
    draft = Draft()
    fragment = Fragment(f"x > {draft.value(1)}", f"x > {draft.value(2)}")
    values: list[Any] = []
    bound = draft.bound(fragment, lambda value: (values.append(value), "$1")[1], with_sure=False)
    assert (bound, values) == (Fragment("x > $1", "false"), [1])
