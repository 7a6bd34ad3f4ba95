"""The shape of a query on the city: conditions joined by and/or. Source: CIM 009 V1.9.1 clause 4.9."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Literal

from msgspec import Struct

from sejong.hub.ngsi.names import AttributePath, Name, render_path

Kind = Literal["number", "string", "boolean", "dateTime", "date", "time", "uri"]
SpellName = Callable[[Name], str]
Operator = Literal["exists", "==", "!=", ">", ">=", "<", "<=", "~=", "!~="]


class Value(Struct, frozen=True):
    """One literal of a query. Moments keep their text; ``word`` is what expandValues expanded."""

    kind: Kind
    value: str | int | float | bool
    word: str | None = None

    @property
    def number(self) -> float:
        """The value of a number; anything else has none."""
        if self.kind != "number" or isinstance(self.value, str):
            raise ValueError(f"{self.kind} is no number")
        return self.value

    @property
    def text(self) -> str:
        """The value of a string, URI or moment as text."""
        return str(self.value)


class Range(Struct, frozen=True):
    """From ``low`` to ``high``, both included; both of one kind."""

    low: Value
    high: Value


class OneOf(Struct, frozen=True):
    """A list of literals, any of which will do."""

    values: tuple[Value, ...]


class Regex(Struct, frozen=True):
    """A regular expression to be found in a string (see patterns)."""

    pattern: str


Operand = Value | Range | OneOf | Regex


class Term(Struct, frozen=True):
    """One condition: the target exists and, unless the operator is "exists", compares so with the operand."""

    path: AttributePath
    op: Operator = "exists"
    operand: Operand | None = None


class And(Struct, frozen=True):
    """Every condition holds."""

    items: tuple[Node, ...]


class Or(Struct, frozen=True):
    """At least one condition holds."""

    items: tuple[Node, ...]


Node = Term | And | Or


class Query(Struct, frozen=True):
    """A whole q parameter. ``json_keys``: attributes whose JSON members are as written (here always so)."""

    root: Node
    json_keys: frozenset[str] = frozenset()


def terms(node: Node) -> Iterator[Term]:
    """All conditions of a query, from left to right."""
    if isinstance(node, Term):
        yield node
    else:
        for item in node.items:
            yield from terms(item)


def attributes(query: Query) -> set[str]:
    """IRIs of the user's attributes an entity is asked for at its top level (no createdAt and the like)."""
    return {term.path.names[0].key for term in terms(query.root) if not term.path.is_system}


def needs_join(query: Query) -> bool:
    """Whether a condition lies in a linked entity (``rel{attr}``), so that the request must join."""
    return link_depth(query) > 0


def link_depth(query: Query) -> int:
    """How many links away the farthest condition lies; joinLevel must be at least that."""

    def depth(path: AttributePath | None) -> int:
        return 0 if path is None or path.linked is None else 1 + depth(path.linked)

    return max(depth(term.path) for term in terms(query.root))


def links(query: Query) -> set[str]:
    """IRIs of the Relationships whose linked entities the query looks into (first step only)."""
    return {term.path.names[-1].key for term in terms(query.root) if term.path.linked is not None}


# --- as text again ------------------------------------------------------------------------------------------


def render(query: Query, spell: SpellName = lambda name: name.term) -> str:
    """The query as a q parameter (not percent-encoded); ``spell`` may compact names with another context."""
    return _render_node(query.root, spell)


def _render_node(node: Node, spell: SpellName) -> str:
    if isinstance(node, Term):
        operand = "" if node.operand is None else _render_operand(node.operand)
        op = "" if node.op == "exists" else node.op
        return f"{render_path(node.path, spell)}{op}{operand}"
    mark = ";" if isinstance(node, And) else "|"
    return mark.join(_render_item(item, isinstance(node, And), spell) for item in node.items)


def _render_item(item: Node, inside_and: bool, spell: SpellName) -> str:
    text = _render_node(item, spell)
    return text if isinstance(item, Term) or (isinstance(item, And) and not inside_and) else f"({text})"


def _render_operand(operand: Operand) -> str:
    match operand:
        case Range(low, high):
            return f"{_render_value(low)}..{_render_value(high)}"
        case OneOf(values):
            return ",".join(_render_value(value) for value in values)
        case Regex(pattern):
            return '"' + pattern.replace('"', '\\"') + '"'
        case Value():
            return _render_value(operand)


def _render_value(value: Value) -> str:
    if value.word is not None:
        return json.dumps(value.word, ensure_ascii=False)
    text = value.text
    if value.kind in ("dateTime", "date", "time") or (value.kind == "uri" and not _needs_quotes(text)):
        return text
    return json.dumps(value.value, ensure_ascii=False)


def _needs_quotes(uri: str) -> bool:
    return ".." in uri or any(mark in uri for mark in ",;|&()")
