"""Reads the NGSI-LD query language (the ``q`` parameter). Source: ETSI GS CIM 009 V1.9.1 clause 4.9.

Beyond the clause, because brokers in the field do so: parentheses nest, blanks around operators are
skipped, ``&`` is ``;``, URIs may be quoted or not, and with expandValues a bare word is a value. Limits
(TooComplexQuery): 8192 characters, 100 conditions, 20 nested parentheses, 200 values in a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from math import isfinite
from typing import Final

from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.grammar import is_name, is_uri
from sejong.hub.ngsi.instants import try_date, try_instant, try_time
from sejong.hub.ngsi.names import TEMPORAL_MEMBERS, AttributePath, Cursor, Expand
from sejong.hub.ngsi.patterns import compile_pattern
from sejong.hub.ngsi.qtree import (
    And,
    Kind,
    Node,
    OneOf,
    Operand,
    Operator,
    Or,
    Query,
    Range,
    Regex,
    Term,
    Value,
)

MAX_LENGTH: Final = 8192
MAX_TERMS: Final = 100
MAX_DEPTH: Final = 20
MAX_LIST: Final = 200

_OPERATORS: Final[tuple[Operator, ...]] = (
    "!~=",
    "~=",
    "==",
    "!=",
    ">=",
    "<=",
    ">",
    "<",
)
_ORDERING: Final = frozenset({">", ">=", "<", "<="})
_COMPARABLE: Final = frozenset({"number", "string", "dateTime", "date", "time"})
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_MOMENT: Final = re.compile(
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:]{8}(?:[.,][0-9]+)?Z)?|[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?Z)"
    r"(?=\.\.|[,;|&() ]|$)"
)
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?=\.\.|[,;|&() ]|$)")
_BARE: Final = re.compile(r"[^,;|&() \"]+")
_RESERVED: Final = {"id": "id", "type": "type", "scope": "scopeQ"}


def parse_q(
    text: str,
    expand: Expand,
    *,
    expand_values: str | Iterable[str] | None = None,
    json_keys: str | Iterable[str] | None = None,
) -> Query:
    """The query a ``q`` parameter (already percent-decoded) asks.

    ``expand_values`` and ``json_keys`` are the parameters of those names: comma lists or sequences of
    attribute names. Raises BadRequestData with the column for any fault, TooComplexQuery beyond the limits.
    """
    if len(text) > MAX_LENGTH:
        Cursor(text, "q", expand).too_complex(f"it may have {MAX_LENGTH} characters")
    try:
        text.encode()
    except UnicodeEncodeError as fault:
        raise BadRequestData(f"q: this is not Unicode text at column {fault.start + 1}") from None
    expanded = attribute_list(expand_values, "expandValues", expand)
    reader = _Reader(Cursor(text, "q", expand), expanded)
    return Query(reader.whole(), attribute_list(json_keys, "jsonKeys", expand))


def attribute_list(given: str | Iterable[str] | None, parameter: str, expand: Expand) -> frozenset[str]:
    """The IRIs of a comma list of attribute names. Raises BadRequestData for an empty or malformed name."""
    if given is None:
        return frozenset()
    names = given.split(",") if isinstance(given, str) else list(given)
    for name in names:
        if not (isinstance(name, str) and is_name(name)):
            raise BadRequestData(f"{parameter}: {name!r} is not an attribute name")
    return frozenset(expand(name) for name in names)


class _Reader:
    def __init__(self, at: Cursor, expanded: frozenset[str]) -> None:
        self.at = at
        self.expanded = expanded
        self.count = 0

    def whole(self) -> Node:
        node = self.alternatives(0)
        if not self.at.at_end:
            self.at.fail("expected ; or | or the end")
        return node

    def alternatives(self, depth: int) -> Node:
        items = [self.conjunction(depth)]
        while self.at.take("|"):
            items.append(self.conjunction(depth))
        return items[0] if len(items) == 1 else Or(tuple(items))

    def conjunction(self, depth: int) -> Node:
        items = [self.item(depth)]
        while self.at.take(";") or self.at.take("&"):
            items.append(self.item(depth))
        return items[0] if len(items) == 1 else And(tuple(items))

    def item(self, depth: int) -> Node:
        self.at.skip_space()
        if self.at.take("("):
            if depth == MAX_DEPTH:
                self.at.too_complex(f"parentheses may nest {MAX_DEPTH} deep")
            node = self.alternatives(depth + 1)
            if not self.at.take(")"):
                self.at.fail("expected )")
        else:
            node = self.term()
        self.at.skip_space()
        return node

    def term(self) -> Term:
        self.count += 1
        if self.count > MAX_TERMS:
            self.at.too_complex(f"it may have {MAX_TERMS} conditions")
        start = self.at.pos
        path = self.at.path()
        if path.names[0].term in _RESERVED:
            self.at.fail(
                f"ask for {path.names[0].term} with the parameter {_RESERVED[path.names[0].term]}",
                start,
            )
        self.at.skip_space()
        op = self.operator()
        if op is None:
            return Term(path)
        self.at.skip_space()
        if op in ("~=", "!~="):
            return Term(path, op, Regex(self.regex()))
        return Term(path, op, self.operand(path, op))

    def operator(self) -> Operator | None:
        for op in _OPERATORS:
            if self.at.take(op):
                return op
        return None

    # --- operands ---

    def operand(self, path: AttributePath, op: Operator) -> Operand:
        start = self.at.pos
        first = self.value(path)
        if op in _ORDERING:
            if first.kind not in _COMPARABLE:
                self.at.fail(f"{op} needs a number, a quoted string or a moment", start)
            return first
        if self.at.take(".."):
            high = self.value(path)
            if first.kind not in _COMPARABLE or high.kind != first.kind:
                self.at.fail("a range needs two numbers, strings or moments of one kind", start)
            return Range(first, high)
        if self.at.peek() != ",":
            return first
        values = [first]
        while self.at.take(","):
            if len(values) == MAX_LIST:
                self.at.too_complex(f"a list may have {MAX_LIST} values")
            values.append(self.value(path))
        return OneOf(tuple(values))

    def value(self, path: AttributePath) -> Value:
        self.at.skip_space()
        start = self.at.pos
        quoted = self.at.peek() == '"'
        value = self.string(path) if quoted else self.moment() or self.number() or self.bare(path)
        if value is None:
            self.at.fail("expected a value", start)
        self.at.skip_space()
        return value

    def string(self, path: AttributePath) -> Value:
        start = self.at.pos
        quoted = self.at.match(_STRING)
        if quoted is None:
            self.at.fail('expected a closing "', start)
        try:
            text = json.loads(quoted)
            text.encode()
        except (ValueError, UnicodeError):
            self.at.fail("this is not a JSON string", start)
        if self.expands(path):
            return self.expanded_value(text)
        if path.target.key in TEMPORAL_MEMBERS and try_instant(text) is not None:
            return Value("dateTime", text)
        return Value("string", text)

    def moment(self) -> Value | None:
        start = self.at.pos
        text = self.at.match(_MOMENT)
        if text is None:
            return None
        kind: Kind = "dateTime" if "T" in text else "date" if "-" in text else "time"
        moment = try_instant(text) or try_date(text) if "-" in text else try_time(text)
        if moment is None:
            self.at.fail(f"this {kind} does not exist", start)
        return Value(kind, text)

    def number(self) -> Value | None:
        start = self.at.pos
        text = self.at.match(_NUMBER)
        if text is None:
            return None
        value = None if len(text) > 400 else json.loads(text)
        if value is None or (isinstance(value, float) and not isfinite(value)):
            self.at.fail("this number is too large", start)
        return Value("number", value)

    def bare(self, path: AttributePath) -> Value | None:
        start = self.at.pos
        text = self.at.match(_BARE) or ""
        if text in ("true", "false"):
            return Value("boolean", text == "true")
        if self.expands(path) and is_name(text):
            return self.expanded_value(text)
        if is_uri(text):
            return Value("uri", text)
        self.at.pos = start
        return None

    def expands(self, path: AttributePath) -> bool:
        return path.target.key in self.expanded

    def expanded_value(self, text: str) -> Value:
        iri = self.at.expand(text) if is_name(text) else text
        return Value("uri" if is_uri(iri) else "string", iri, text)

    def regex(self) -> str:
        start = self.at.pos
        pattern = self.quoted_regex() if self.at.take('"') else self.bare_regex()
        if not pattern:
            self.at.fail("expected a pattern", start)
        compile_pattern(pattern)
        return pattern

    def quoted_regex(self) -> str:
        """Up to the closing quote, backslashes kept for the pattern; only ``\\"`` stands for a quote."""
        start = self.at.pos - 1
        text, pos = self.at.text, self.at.pos
        parts: list[str] = []
        while pos < len(text) and text[pos] != '"':
            size = 2 if text[pos] == "\\" else 1
            parts.append(text[pos : pos + size])
            pos += size
        if pos >= len(text):
            self.at.fail('expected a closing "', start)
        self.at.pos = pos + 1
        return "".join('"' if part == '\\"' else part for part in parts)

    def bare_regex(self) -> str:
        """Up to ``;``, ``|``, ``&`` or an unbalanced ``)``, unless these stand in a group or in brackets."""
        text, pos, depth, in_set = self.at.text, self.at.pos, 0, False
        parts: list[str] = []
        while pos < len(text):
            char = text[pos]
            if not in_set and depth == 0 and char in ";|&)":
                break
            size = 2 if char == "\\" else 1
            depth += 0 if in_set or size == 2 else (char == "(") - (char == ")")
            in_set = char == "[" or (in_set and char != "]")
            parts.append(text[pos : pos + size])
            pos += size
        self.at.pos = pos
        return "".join('"' if part == '\\"' else part for part in parts).rstrip(" ")
