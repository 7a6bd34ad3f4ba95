"""The hierarchies entities are filed under, and questions such as ``/Sejong/+/Park`` or ``/Sejong/#``.

Source: ETSI GS CIM 009 V1.9.1 clauses 4.18 (scopes) and 4.19 (scopeQ). A leading slash may be
missing in a scope and in a question; with or without it, it is the same scope.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from sejong.hub.ngsi.errors import BadRequestData, TooComplexQuery
from sejong.hub.ngsi.grammar import is_scope
from sejong.hub.ngsi.sql import Bind, Draft, Fragment, all_of, any_of, exact

MAX_SCOPES: Final = 100
_LEVEL: Final = re.compile(r"[^\W\d_]\w*|\+")


class ScopePattern(Struct, frozen=True):
    """One scope asked for: its levels (``+`` for any one), and whether everything below it belongs."""

    levels: tuple[str, ...]
    below: bool = False

    def matches(self, levels: tuple[str, ...]) -> bool:
        """Whether a scope, given by its levels, is asked for."""
        if len(levels) < len(self.levels) or (len(levels) > len(self.levels) and not self.below):
            return False
        return all(wanted in ("+", level) for wanted, level in zip(self.levels, levels, strict=False))

    @property
    def literal(self) -> str | None:
        """The scope itself when exactly one is asked for."""
        return None if self.below or "+" in self.levels else "/" + "/".join(self.levels)

    @property
    def regex(self) -> str:
        """The same as a regular expression for PostgreSQL; levels hold only letters, digits and ``_``."""
        levels = "/".join("[^/]+" if level == "+" else level for level in self.levels)
        return f"^/?{levels}{'(/|$)' if self.below else '$'}" if levels else "."


class ScopeQuery(Struct, frozen=True):
    """Any of the groups; of a group every pattern must find a scope of the entity."""

    any_of: tuple[tuple[ScopePattern, ...], ...]


def check_scope(scope: object, parameter: str = "scope") -> str:
    """The scope, if it is well formed: ``[/]level(/level)*``. Raises BadRequestData."""
    if not is_scope(scope):
        raise BadRequestData(f"{parameter}: {scope!r} is not a scope such as /Sejong/Nasung")
    return str(scope)


def scope_levels(scope: str) -> tuple[str, ...]:
    """The levels of a scope, from the top: ``/a/b`` and ``a/b`` are both ("a", "b")."""
    return tuple(scope.removeprefix("/").split("/"))


def parse_scope_q(text: object, parameter: str = "scopeQ") -> ScopeQuery:
    """The scopes a ``scopeQ`` parameter asks for.

    Raises BadRequestData for malformed scopes, ``#`` that is not the last level, ``;`` outside parentheses
    and empty items; TooComplexQuery above 100 scopes.
    """
    if not isinstance(text, str) or not text:
        raise BadRequestData(f"{parameter}: a scope is needed")
    groups = tuple(_group(item, parameter) for item in _items(text, parameter))
    if sum(map(len, groups)) > MAX_SCOPES:
        raise TooComplexQuery(f"{parameter}: more than {MAX_SCOPES} scopes")
    return ScopeQuery(groups)


def _items(text: str, parameter: str) -> list[str]:
    items = re.split(r"[,|](?![^(]*\))", text)
    if any(item.count("(") > 1 or item.count("(") != item.count(")") for item in items):
        raise BadRequestData(f"{parameter}: unbalanced or nested parentheses in {text!r}")
    return items


def _group(item: str, parameter: str) -> tuple[ScopePattern, ...]:
    scopes = item[1:-1].split(";") if item.startswith("(") and item.endswith(")") else [item]
    return tuple(_pattern(scope, parameter) for scope in scopes)


def _pattern(scope: str, parameter: str) -> ScopePattern:
    if scope == "/#":
        return ScopePattern((), below=True)
    path = scope.removesuffix("/#")
    levels = scope_levels(path)
    if not all(_LEVEL.fullmatch(level) for level in levels):
        raise BadRequestData(f"{parameter}: {scope!r} is not a scope such as /Sejong/Nasung, /Sejong/+ or /Sejong/#")
    return ScopePattern(levels, below=path != scope)


def render_scope_q(query: ScopeQuery) -> str:
    """The same question as a ``scopeQ`` parameter again."""
    groups = [[_spelled(pattern) for pattern in group] for group in query.any_of]
    return ",".join(group[0] if len(group) == 1 else f"({';'.join(group)})" for group in groups)


def _spelled(pattern: ScopePattern) -> str:
    return "".join(f"/{level}" for level in pattern.levels) + ("/#" if pattern.below else "")


def scope_predicate(query: ScopeQuery) -> Callable[[Iterable[str] | None], bool]:
    """A test of the scopes of one entity (None or empty: it has none and never matches)."""

    def matches(scopes: Iterable[str] | None) -> bool:
        have = [scope_levels(scope) for scope in scopes or ()]
        return any(all(any(map(pattern.matches, have)) for pattern in group) for group in query.any_of)

    return matches


def to_sql(query: ScopeQuery, bind: Bind, *, prefix: str = "", with_sure: bool = True) -> Fragment:
    """The query as an exact condition on column ``scopes`` (text[], as stored, or NULL)."""
    draft, column = Draft(), f"{prefix}scopes"

    def condition(pattern: ScopePattern) -> Fragment:
        scope = pattern.literal
        if scope is not None:
            return exact(f"({column} && {draft.value([scope, scope[1:]])}::text[])")
        if not pattern.levels:
            return exact(f"(cardinality({column}) > 0)")
        regex = f"{draft.value(pattern.regex)}::text"
        return exact(f"exists(select from unnest({column}) as s(scope) where s.scope ~ {regex})")

    groups = [all_of([condition(pattern) for pattern in group]) for group in query.any_of]
    return draft.bound(any_of(groups), bind, with_sure=with_sure)
