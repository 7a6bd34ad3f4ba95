"""The query language over the entity table: what PostgreSQL decides from the scalar index ``q``, how surely.

``entity.q`` maps an attribute's number to its value when the attribute has exactly one instance with a
string, number, boolean or single Relationship object, and to JSON null when the document must be asked.
From it each condition gets a superset (maybe) and a subset (sure) of its rows. Values are compared as jsonb
of a known type, so 5 and "5" never meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sejong.hub.ngsi.instants import try_instant
from sejong.hub.ngsi.patterns import Pattern, compile_pattern
from sejong.hub.ngsi.qmatch import decimal_of
from sejong.hub.ngsi.qtree import (
    And,
    Node,
    OneOf,
    Operand,
    Query,
    Range,
    Regex,
    Term,
    Value,
)
from sejong.hub.ngsi.sql import (
    FALSE,
    NOTHING,
    TRUE,
    Bind,
    Draft,
    Fragment,
    TermNo,
    all_of,
    any_of,
    exact,
)

_COLUMNS: Final = {
    "createdAt": "created",
    "modifiedAt": "modified",
    "expiresAt": "expires",
}

# Days 1 to 28 of the years 1000 to 2999 exist in every calendar month: such text is surely a moment.
_DAY: Final = "[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
_CLOCK: Final = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.,][0-9]{1,6})?Z"
_SURE_MOMENT: Final = {"dateTime": f"^{_DAY}T{_CLOCK}$", "date": f"^{_DAY}$", "time": f"^{_CLOCK}$"}
_TO_THE_SECOND: Final = {"dateTime": 19, "date": 10, "time": 8}
_NOT_A_LINK: Final = "!~ '^[A-Za-z][A-Za-z0-9+.-]*:'"


def to_sql(
    query: Query,
    term_no: TermNo,
    bind: Bind,
    *,
    prefix: str = "",
    with_sure: bool = True,
) -> Fragment:
    """The query as conditions on the entity table (columns q, created, modified, expires, after ``prefix``).

    An attribute the store has no number for occurs nowhere: false. ``with_sure=False`` leaves ``sure`` out,
    so that a statement that uses only ``maybe`` has no unused parameter.
    """
    draft = Draft()
    fragment = _Writer(draft, term_no, prefix).node(query.root)
    return draft.bound(fragment, bind, with_sure=with_sure)


def by_value(query: Query, term_no: TermNo, *, val: str = "val") -> dict[int, tuple[str, list[Any]]]:
    """What an index of values can narrow: attribute number → a condition on ``val`` (jsonb) and its parameters.

    Every match of the query meets it, or has JSON null for ``val`` (then the document decides). Only of conditions
    that all must hold and that compare an attribute's own value, numbers by order or any scalar by equality.
    """
    found: dict[int, list[Term]] = {}
    for term in _conjuncts(query.root):
        number = None if term.path.is_system else term_no(term.path.names[0].key)
        if number is not None and _is_narrowing(term):
            found.setdefault(number, []).append(term)
    return {number: _value_condition(terms, val) for number, terms in found.items()}


def _value_condition(terms: Sequence[Term], val: str) -> tuple[str, list[Any]]:
    draft, values = Draft(), []
    writer = _Writer(draft, lambda _: None, "")

    def bind(value: Any) -> str:
        values.append(value)
        return f"${len(values)}"

    parts = [writer.positive(term.op, term.operand, _Bare(val)) for term in terms if term.operand is not None]
    return draft.bound(all_of(exact(part.maybe) for part in parts), bind, with_sure=False).maybe, values


def _conjuncts(node: Node) -> Iterator[Term]:
    if isinstance(node, Term):
        yield node
    elif isinstance(node, And):
        for item in node.items:
            yield from _conjuncts(item)


def _is_narrowing(term: Term) -> bool:
    path = term.path
    if len(path.names) > 1 or path.linked is not None or path.members:
        return False
    match term.op, term.operand:
        case "==", Range(low, _):
            return low.kind == "number"
        case "==", OneOf(values):
            return all(value.kind not in _SURE_MOMENT for value in values)
        case "==", Value():
            return term.operand.kind not in _SURE_MOMENT
        case ((">" | ">=" | "<" | "<="), Value()):
            return term.operand.kind == "number"
    return False


class _Writer:
    def __init__(self, draft: Draft, term_no: TermNo, prefix: str) -> None:
        self.value = draft.value
        self.term_no = term_no
        self.prefix = prefix

    def node(self, node: Node) -> Fragment:
        if isinstance(node, Term):
            return self.term(node)
        parts = (self.node(item) for item in node.items)
        return all_of(parts) if isinstance(node, And) else any_of(parts)

    def term(self, term: Term) -> Fragment:
        path = term.path
        if path.is_system:
            return self.system(term)
        number = self.term_no(path.names[0].key)
        if number is None:
            return NOTHING
        column = _Scalar(f"{self.prefix}q", f"{number:d}")
        if len(path.names) > 1 or path.linked is not None:
            return Fragment(column.exists, FALSE)
        if path.members:
            return Fragment(column.asks_document, FALSE)
        if term.operand is None:
            return exact(column.exists)
        return self.compared(term, column)

    def compared(self, term: Term, column: _Scalar) -> Fragment:
        operand = term.operand
        assert operand is not None
        found = self.positive(term.op, operand, column)
        if term.op == "!=":
            return Fragment(
                f"({column.exists} and not {found.sure})",
                f"({column.is_scalar} and not {found.maybe})",
            )
        if term.op == "!~=":
            texts = f"{column.is_text} and not "
            return Fragment(
                f"({column.asks_document} or ({texts}{found.sure}))",
                f"({texts}{found.maybe} and {column.text} {_NOT_A_LINK})",
            )
        return Fragment(f"({found.maybe} or {column.asks_document})", found.sure)

    def positive(self, op: str, operand: Operand, column: _Scalar) -> Fragment:
        """Where a single stored scalar passes; for ``!=`` and ``!~=`` the opposite condition."""
        match operand:
            case Regex(pattern):
                return self.pattern(compile_pattern(pattern), column)
            case Range(low, high):
                return all_of((self.ordered(">=", low, column), self.ordered("<=", high, column)))
            case OneOf(values):
                return any_of([self.equals(value, column) for value in values])
            case Value():
                return self.equals(operand, column) if op in ("==", "!=") else self.ordered(op, operand, column)

    def equals(self, value: Value, column: _Scalar) -> Fragment:
        if value.kind in _SURE_MOMENT:
            return self.moment("=", value, column)
        literal = self.literal(value)
        return NOTHING if literal is None else exact(f"{column.json} = {literal}")

    def literal(self, value: Value) -> str | None:
        """The value as jsonb, or None when no stored text can equal it (jsonb holds no NUL character)."""
        if value.kind == "number":
            return f"to_jsonb({self.value(decimal_of(value.number))}::numeric)"
        if value.kind == "boolean":
            return "'true'::jsonb" if value.value else "'false'::jsonb"
        if "\x00" in value.text:
            return None
        return f"to_jsonb({self.value(value.text)}::text)"

    def ordered(self, op: str, value: Value, column: _Scalar) -> Fragment:
        if value.kind == "number":
            return exact(f"({column.json} {op} {self.literal(value)} and {column.is_number})")
        if value.kind in _SURE_MOMENT:
            return self.moment(op, value, column)
        if "\x00" in value.text:
            return Fragment(column.is_text, FALSE)
        passes = f'{column.is_text} and {column.text} collate "C" {op} {self.value(value.text)}::text'
        return self.texts(passes, column)

    def texts(self, passes: str, column: _Scalar) -> Fragment:
        """A condition on strings. A URI may be a Relationship's, which knows only == and !=: never sure."""
        return Fragment(f"({passes})", f"({passes} and {column.text} {_NOT_A_LINK})")

    def moment(self, op: str, value: Value, column: _Scalar) -> Fragment:
        """Moments to the second as text: equal text decides nothing yet, a later second surely is later."""
        size = _TO_THE_SECOND[value.kind]
        start = f'left({column.text}, {size}) collate "C"'
        second = f"{self.value(value.text[:size])}::text"
        loose = {">": ">=", "<": "<="}.get(op, op)
        maybe = f"({column.is_text} and {start} {loose} {second})"
        shape = f"{column.text} ~ '{_SURE_MOMENT[value.kind]}'"
        strict = {">=": ">", "<=": "<"}.get(op, op)
        if value.kind == "date":
            strict = op
        elif op == "=":
            return Fragment(
                maybe,
                f"({column.is_text} and {shape} and {column.json} = {self.literal(value)})",
            )
        return Fragment(maybe, f"({column.is_text} and {shape} and {start} {strict} {second})")

    def pattern(self, pattern: Pattern, column: _Scalar) -> Fragment:
        if pattern.literal is None:
            needed = pattern.required
            if not needed or "\x00" in needed:
                return Fragment(column.is_text, FALSE)
            return Fragment(
                f"({column.is_text} and strpos({column.text}, {self.value(needed)}::text) > 0)",
                FALSE,
            )
        kind, text = pattern.literal
        if "\x00" in text:
            return NOTHING
        bound = f"{self.value(text)}::text"
        passes = {
            "contains": f"strpos({column.text}, {bound}) > 0",
            "prefix": f"starts_with({column.text}, {bound})",
            "suffix": f"right({column.text}, {len(text)}) = {bound}",
            "equals": f"{column.text} = {bound}",
        }[kind]
        return self.texts(f"{column.is_text} and {passes}", column)

    # --- the entity's own moments ---

    def system(self, term: Term) -> Fragment:
        member, operand = term.path.names[0].key, term.operand
        if member not in _COLUMNS:
            return Fragment(TRUE, FALSE)
        column = f"{self.prefix}{_COLUMNS[member]}"
        there = exact(f"({column} is not null)")
        if operand is None:
            return there
        if isinstance(operand, Regex):
            return NOTHING
        found = self.system_found(term.op, operand, column)
        if term.op != "!=":
            return found
        return all_of((there, exact(TRUE if found == NOTHING else f"(not {found.maybe})")))

    def system_found(self, op: str, operand: Value | Range | OneOf, column: str) -> Fragment:
        if isinstance(operand, OneOf):
            return any_of([self.system_value("=", value, column) for value in operand.values])
        if isinstance(operand, Range):
            low, high = operand.low, operand.high
            return all_of(
                (
                    self.system_value(">=", low, column),
                    self.system_value("<=", high, column),
                )
            )
        return self.system_value("=" if op in ("==", "!=") else op, operand, column)

    def system_value(self, op: str, value: Value, column: str) -> Fragment:
        moment = try_instant(value.text) if value.kind == "dateTime" else None
        if moment is None:
            return NOTHING
        return exact(f"({column} {op} {self.value(moment)}::timestamptz)")


class _Scalar:
    """SQL texts about one attribute's entry in ``q``; the key is a number of ours, not user text."""

    def __init__(self, q: str, key: str) -> None:
        self.exists = f"({q} ? '{key}')"
        self.json = f"({q}->'{key}')"
        self.text = f"({q}->>'{key}')"
        self.asks_document = f"({self.json} = 'null'::jsonb)"
        self.is_scalar = f"({self.json} <> 'null'::jsonb)"
        self.is_text = f"(jsonb_typeof({self.json}) = 'string')"
        self.is_number = f"(jsonb_typeof({self.json}) = 'number')"


class _Bare(_Scalar):
    """SQL texts about a column that holds the one value itself."""

    def __init__(self, column: str) -> None:
        super().__init__(column, "")
        self.json = column
        self.text = f"({column} #>> '{{}}')"
        self.is_text = f"(jsonb_typeof({column}) = 'string')"
        self.is_number = f"(jsonb_typeof({column}) = 'number')"
