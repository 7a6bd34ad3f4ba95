"""Decides whether an expanded entity meets a query: the reference meaning that the SQL forms must respect.

Rules (CIM 009 V1.9.1 clause 4.9): the target must exist for every operator; any instance (datasetId) may
match; a value of another type never equals, and is unequal; ``==`` finds a value in an array, ``!=``
demands that none equals; a LanguageProperty offers the values of all languages (``!=`` and ``!~=``: of
none); Relationships know only ``==`` and ``!=``; patterns, ranges and orderings look at single values, not
into arrays. Strings are ordered by code point, moments by time; numbers compare by the decimal value they
are written with, as PostgreSQL's numeric does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from operator import eq, ge, gt, le, lt
from typing import Any, Final

from sejong.hub.ngsi.instants import try_date, try_instant, try_time
from sejong.hub.ngsi.members import VALUE_MEMBER
from sejong.hub.ngsi.names import (
    ENTITY_MEMBERS,
    INSTANCE_MEMBERS,
    TEMPORAL_MEMBERS,
    AttributePath,
)
from sejong.hub.ngsi.patterns import compile_pattern
from sejong.hub.ngsi.qtree import (
    And,
    Node,
    OneOf,
    Operand,
    Operator,
    Query,
    Range,
    Regex,
    Term,
    Value,
)

Entity = dict[str, Any]
Predicate = Callable[[Entity], bool]
Linked = Callable[[str], Entity | None]
"""Finds the expanded entity with an id, for conditions in linked entities; None when it is not known."""

_Test = Callable[[Any], bool]
_MISSING: Final = object()
_EXACT_INT: Final = 2**53
_MOMENT_OF: Final[dict[str, Callable[[str], Any]]] = {
    "dateTime": try_instant,
    "date": try_date,
    "time": try_time,
}


def compile_predicate(query: Query, linked: Linked | None = None) -> Predicate:
    """An exact test of one expanded entity, made once per query.

    ``linked`` finds linked entities; without it a condition in a linked entity (``rel{attr}``) never holds.
    """
    return _node(query.root, linked)


def _node(node: Node, linked: Linked | None) -> Predicate:
    if isinstance(node, Term):
        return _term(node, linked)
    tests = tuple(_node(item, linked) for item in node.items)
    if isinstance(node, And):
        return lambda entity: all(test(entity) for test in tests)
    return lambda entity: any(test(entity) for test in tests)


# --- comparing one value ------------------------------------------------------------------------------------


def is_number(value: object) -> bool:
    """Whether a JSON value is a number (Python's booleans are not)."""
    return type(value) is int or type(value) is float


def compare_numbers(a: float, b: float) -> int:
    """-1, 0 or 1. Large integers and floats compare by their decimal notation, so 1e23 equals 10**23."""
    if type(a) is not type(b) and abs(a) > _EXACT_INT:
        exact_a, exact_b = decimal_of(a), decimal_of(b)
        return (exact_a > exact_b) - (exact_a < exact_b)
    return (a > b) - (a < b)


def decimal_of(number: float) -> Decimal:
    """The decimal value a JSON number is written with (the shortest notation of a float)."""
    return Decimal(number) if type(number) is int else Decimal(repr(number))


def _equals(value: Value) -> _Test:
    if value.kind == "number":
        number = value.number
        return _number_test(eq, number)
    if value.kind == "boolean":
        wanted = value.value
        return lambda given: given is wanted
    text = value.text
    if value.kind in _MOMENT_OF:
        read = _MOMENT_OF[value.kind]
        moment = read(text)
        return lambda given: isinstance(given, str) and read(given) == moment
    return lambda given: isinstance(given, str) and given == text


_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {">": gt, ">=": ge, "<": lt, "<=": le}


def _number_test(holds: Callable[[Any, Any], bool], number: float) -> _Test:
    if abs(number) < _EXACT_INT:
        return lambda given: (type(given) is float or type(given) is int) and holds(given, number)
    return lambda given: is_number(given) and holds(compare_numbers(given, number), 0)


def _ordered(op: str, value: Value) -> _Test:
    holds = _ORDER[op]
    if value.kind == "number":
        number = value.number
        return _number_test(holds, number)
    text = value.text
    if value.kind in _MOMENT_OF:
        read = _MOMENT_OF[value.kind]
        moment = read(text)

        def test(given: Any) -> bool:
            at = read(given) if isinstance(given, str) else None
            return at is not None and holds(at, moment)

        return test
    return lambda given: isinstance(given, str) and holds(given, text)


def _scalar_test(op: Operator, operand: Operand) -> _Test:
    """The positive test of one value: for ``!=`` and ``!~=`` that of their opposite."""
    match operand:
        case Regex(pattern):
            search = compile_pattern(pattern).search
            return lambda given: isinstance(given, str) and search(given)
        case Range(low, high):
            above, below = _ordered(">=", low), _ordered("<=", high)
            return lambda given: above(given) and below(given)
        case OneOf(values):
            tests = tuple(_equals(value) for value in values)
            return lambda given: any(test(given) for test in tests)
        case Value():
            return _equals(operand) if op in ("==", "!=") else _ordered(op, operand)


# --- comparing one target -----------------------------------------------------------------------------------


def _plain_test(op: Operator, operand: Operand) -> _Test:
    """Tests a JSON value: a single one, or an array where the operator looks into arrays."""
    holds = _scalar_test(op, operand)
    into_arrays = op in ("==", "!=") and not isinstance(operand, Range)

    def equal(given: Any) -> bool:
        given = _untyped(given)
        if isinstance(given, list):
            return into_arrays and any(holds(_untyped(item)) for item in given)
        return holds(given)

    if op == "!=":
        return lambda given: not equal(given)
    if op == "!~=":
        return lambda given: isinstance(given := _untyped(given), str) and not holds(given)
    return equal


def _many_test(op: Operator, operand: Operand) -> Callable[[Iterable[Any]], bool]:
    """Tests a set of values at once: any must match; for the negative operators none."""
    holds = _scalar_test(op, operand)
    if op == "!=":
        return lambda given: not any(holds(item) for item in given)
    if op == "!~=":
        return lambda given: bool(texts := [t for t in given if isinstance(t, str)]) and not any(map(holds, texts))
    return lambda given: any(holds(item) for item in given)


def _untyped(given: Any) -> Any:
    """The bare value of a JSON-LD typed value such as {"@type": "DateTime", "@value": "..."}."""
    if isinstance(given, dict) and "@value" in given:
        return given["@value"]
    return given


def _instance_test(term: Term) -> Callable[[dict[str, Any]], bool]:
    """Tests one attribute instance for a path without further names."""
    members, op, operand = term.path.members, term.op, term.operand
    if operand is None:
        if not members:
            return lambda instance: True
        return lambda instance: _member(instance, members) is not _MISSING
    plain, many = _plain_test(op, operand), _many_test(op, operand)
    refuses_links = op not in ("==", "!=")

    def test(instance: dict[str, Any]) -> bool:
        kind = instance.get("type")
        if kind == "LanguageProperty":
            texts = _languages(instance.get("languageMap"), members)
            return texts is not None and many(texts)
        if kind in ("Relationship", "ListRelationship"):
            return not (refuses_links or members) and many(targets(instance))
        value = _member(instance, members)
        return value is not _MISSING and plain(value)

    return test


def targets(instance: dict[str, Any]) -> list[Any]:
    """The URIs a Relationship or ListRelationship instance points at, in order."""
    given = instance.get("objectList") if instance.get("type") == "ListRelationship" else instance.get("object")
    items = given if isinstance(given, list) else [given]
    return [item.get("object") if isinstance(item, dict) else item for item in items]


def _languages(language_map: Any, members: tuple[str, ...]) -> list[Any] | None:
    """The values a LanguageProperty offers for ``[tag]``, ``[*]`` or no tag; None when it has no such tag."""
    if not isinstance(language_map, dict):
        return None
    tag = ".".join(members).lower()
    found = [
        text for key, text in language_map.items() if tag in ("", "*") or (isinstance(key, str) and key.lower() == tag)
    ]
    if not found and tag not in ("", "*"):
        return None
    return [text for item in found for text in (item if isinstance(item, list) else [item])]


def _member(instance: dict[str, Any], members: tuple[str, ...]) -> Any:
    """The value of an instance, or the member of its compound value that the trailing path names."""
    kind = instance.get("type")
    if members and kind == "LanguageProperty":
        return _MISSING if _languages(instance.get("languageMap"), members) is None else members
    return member_value(instance, members, _MISSING)


def member_value(instance: dict[str, Any], members: tuple[str, ...], missing: object) -> Any:
    """The value of an attribute instance, or the member of it that ``members`` lead to; else ``missing``."""
    kind = instance.get("type")
    value = instance.get(VALUE_MEMBER.get(kind, "value") if isinstance(kind, str) else "value", missing)
    if members and kind in ("VocabProperty", "Relationship", "ListRelationship"):
        return missing
    for name in members:
        if not isinstance(value, dict) or name not in value:
            return missing
        value = value[name]
    return value


# --- walking the path ---------------------------------------------------------------------------------------


def instances(node: Any, key: str) -> list[dict[str, Any]]:
    """The instances of one attribute of an entity or of an attribute instance; empty when there are none."""
    found = node.get(key) if isinstance(node, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _term(term: Term, linked: Linked | None) -> Predicate:
    path = term.path
    if path.linked is not None:
        return _linked_term(term, path.linked, linked)
    keys = tuple(name.key for name in path.names)
    last = path.names[-1].key
    if last in (INSTANCE_MEMBERS if len(path.names) > 1 else ENTITY_MEMBERS):
        return _walk(keys[:-1], _system_test(term, last))
    return _walk(keys, _instance_test(term))


def _system_test(term: Term, member: str) -> _Test:
    """Tests createdAt, observedAt, unitCode and the like, which are members and no attributes."""
    operand, op = term.operand, term.op
    if operand is not None and member in TEMPORAL_MEMBERS:
        operand = _moments(operand)
        if operand is None and op != "!=":
            return lambda node: False
    if operand is None:
        return lambda node: node.get(member) is not None
    compare = _plain_test(op, operand)
    return lambda node: (given := node.get(member)) is not None and compare(given)


def _moments(operand: Operand) -> Operand | None:
    """What of an operand a DateTime can be compared with: another data type never equals it."""
    match operand:
        case OneOf(values):
            kept = tuple(value for value in values if value.kind == "dateTime")
            return OneOf(kept) if kept else None
        case Range(low, _):
            return operand if low.kind == "dateTime" else None
        case Value(kind):
            return operand if kind == "dateTime" else None
        case Regex():
            return None


def _walk(keys: tuple[str, ...], test: _Test) -> Predicate:
    """Applies the test to every node the keys lead to; any may pass."""
    for key in reversed(keys):
        test = _any_instance(key, test)
    return test


def _any_instance(key: str, test: _Test) -> _Test:
    def any_passes(node: Any) -> bool:
        found = node.get(key) if isinstance(node, dict) else None
        if isinstance(found, list):
            for instance in found:
                if isinstance(instance, dict) and test(instance):
                    return True
        return False

    return any_passes


def _linked_term(term: Term, path: AttributePath, linked: Linked | None) -> Predicate:
    if linked is None:
        return lambda entity: False
    within = _term(Term(path, term.op, term.operand), linked)
    hinted = frozenset(name.key for name in term.path.hint)
    find = linked

    def follow(instance: dict[str, Any]) -> bool:
        if instance.get("type") not in ("Relationship", "ListRelationship"):
            return False
        for target in targets(instance):
            entity = find(target) if isinstance(target, str) else None
            if entity is not None and not (hinted and hinted.isdisjoint(entity.get("type") or ())) and within(entity):
                return True
        return False

    return _walk(tuple(name.key for name in term.path.names), follow)
