"""Conditions on the city's stored entities as SQL text, in two strengths.

A query language cannot always be decided by the database. ``maybe`` selects every row that can match (a
superset), ``sure`` only rows that certainly match (a subset); the hub re-checks the document of rows that
are maybe but not sure. User text never becomes SQL: it is bound as a parameter. Either condition may be
NULL for a row; read NULL as false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import Struct

Bind = Callable[[Any], str]
"""Registers one parameter value of the statement and returns its placeholder, ``$n``."""
TermNo = Callable[[str], int | None]
"""The small number the store gave an IRI, or None when no stored entity uses it."""

TRUE: Final = "true"
FALSE: Final = "false"
_MARK: Final = re.compile("\x00([0-9]+)\x00")


class Fragment(Struct, frozen=True):
    """One condition in both strengths; each is complete, and safe next to AND and OR."""

    maybe: str
    sure: str

    @property
    def is_exact(self) -> bool:
        """Whether the database decides alone: no row needs a second look."""
        return self.maybe == self.sure


EVERYTHING: Final = Fragment(TRUE, TRUE)
NOTHING: Final = Fragment(FALSE, FALSE)


def exact(condition: str) -> Fragment:
    """A condition the database decides alone."""
    return Fragment(condition, condition)


def all_of(fragments: Iterable[Fragment]) -> Fragment:
    """Rows that meet every condition. For bound fragments too: no text with a parameter is dropped."""
    given = list(fragments)
    return Fragment(
        _joined("and", [f.maybe for f in given]),
        _joined("and", [f.sure for f in given]),
    )


def any_of(fragments: Iterable[Fragment]) -> Fragment:
    """Rows that meet at least one condition."""
    given = list(fragments)
    return Fragment(_joined("or", [f.maybe for f in given]), _joined("or", [f.sure for f in given]))


def _joined(word: str, conditions: list[str]) -> str:
    neutral, absorbing = (TRUE, FALSE) if word == "and" else (FALSE, TRUE)
    kept = list(dict.fromkeys(c for c in conditions if c != neutral))
    if absorbing in kept and not any("$" in c for c in kept):
        return absorbing
    if not kept:
        return neutral
    return kept[0] if len(kept) == 1 else "(" + f" {word} ".join(kept) + ")"


class Draft:
    """Collects parameter values while a fragment is composed, and binds only those that remain in the end."""

    def __init__(self) -> None:
        self._values: list[Any] = []

    def value(self, value: Any) -> str:
        """Notes a parameter value; the mark stands for its placeholder until bound."""
        self._values.append(value)
        return f"\x00{len(self._values) - 1}\x00"

    def bound(self, fragment: Fragment, bind: Bind, *, with_sure: bool = True) -> Fragment:
        """The fragment with real placeholders. Without ``with_sure`` only ``maybe`` is kept."""
        places: dict[str, str] = {}

        def place(mark: re.Match[str]) -> str:
            number = mark.group(1)
            if number not in places:
                places[number] = bind(self._values[int(number)])
            return places[number]

        maybe = _MARK.sub(place, fragment.maybe)
        return Fragment(maybe, _MARK.sub(place, fragment.sure) if with_sure else FALSE)
