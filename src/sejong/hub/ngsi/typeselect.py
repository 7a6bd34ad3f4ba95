"""Which types of things are asked for: ``Building|House``, ``(Home;Vehicle),Motorhome``, ``*``.

Source: ETSI GS CIM 009 V1.9.1 clause 4.17; ``*`` (any type, local only): clause 5.7.2.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from msgspec import Struct

from sejong.hub.ngsi.errors import BadRequestData, TooComplexQuery
from sejong.hub.ngsi.grammar import is_name
from sejong.hub.ngsi.names import Expand
from sejong.hub.ngsi.sql import EVERYTHING, Bind, Draft, Fragment, TermNo, any_of, exact

MAX_TYPES: Final = 100


class TypeSelection(Struct, frozen=True):
    """The selected types: any of the groups, each with all its types (IRIs). No groups: every type."""

    any_of: tuple[tuple[str, ...], ...]

    @property
    def every_type(self) -> bool:
        """Whether it was ``*``, which selects everything but only of the local record."""
        return not self.any_of

    @property
    def simple_types(self) -> tuple[str, ...] | None:
        """The types if only single types are asked for (the store can walk its index by type), else None."""
        if self.every_type or any(len(group) != 1 for group in self.any_of):
            return None
        return tuple(group[0] for group in self.any_of)

    @property
    def types(self) -> frozenset[str]:
        """Every type that is named."""
        return frozenset(iri for group in self.any_of for iri in group)


def parse_types(text: object, expand: Expand, parameter: str = "type") -> TypeSelection:
    """The types a ``type`` parameter (or member) selects, expanded to IRIs.

    Raises BadRequestData for malformed names, empty items, and ``;`` or ``|`` where the grammar has none;
    TooComplexQuery above 100 types.
    """
    if not isinstance(text, str) or not text:
        raise BadRequestData(f"{parameter}: a type or a selection of types is needed")
    if text == "*":
        return TypeSelection(())
    groups = tuple(dict.fromkeys(_group(item, expand, parameter) for item in _items(text, parameter)))
    if sum(map(len, groups)) > MAX_TYPES:
        raise TooComplexQuery(f"{parameter}: more than {MAX_TYPES} types")
    return TypeSelection(groups)


def _items(text: str, parameter: str) -> list[str]:
    """The parts between ``,`` and ``|``, which may not stand inside parentheses."""
    items, start, inside = [], 0, False
    for pos, char in enumerate(text):
        if char == "(":
            inside = True
        elif char == ")":
            inside = False
        elif char in ",|":
            if inside:
                raise BadRequestData(f"{parameter}: only ; may stand inside parentheses, at column {pos + 1}")
            items.append(text[start:pos])
            start = pos + 1
    return [*items, text[start:]]


def _group(item: str, expand: Expand, parameter: str) -> tuple[str, ...]:
    names = item[1:-1].split(";") if item.startswith("(") and item.endswith(")") else [item]
    for name in names:
        if not is_name(name) or any(mark in name for mark in "();"):
            raise BadRequestData(f"{parameter}: {name!r} is not a type name or URI (and is written (A;B))")
    return tuple(sorted({expand(name) for name in names}))


def type_predicate(selection: TypeSelection) -> Callable[[Collection[str]], bool]:
    """A test of the types (IRIs) of one entity."""
    if selection.every_type:
        return lambda types: True
    simple = selection.simple_types
    if simple is not None:
        wanted = frozenset(simple)
        return lambda types: not wanted.isdisjoint(types)
    groups = tuple(frozenset(group) for group in selection.any_of)
    return lambda types: any(group.issubset(types) for group in groups)


def to_sql(
    selection: TypeSelection, term_no: TermNo, bind: Bind, *, prefix: str = "", with_sure: bool = True
) -> Fragment:
    """The selection as an exact condition on column ``types`` (numbers of all types of an entity).

    For ``simple_types`` the store does better with its index on the first type and its table of others.
    """
    if selection.every_type:
        return EVERYTHING
    draft, column = Draft(), f"{prefix}types"
    singles: list[int] = []
    conditions: list[Fragment] = []
    for group in selection.any_of:
        numbers = [number for iri in group if (number := term_no(iri)) is not None]
        if len(numbers) < len(group):
            continue
        if len(numbers) == 1:
            singles += numbers
        else:
            conditions.append(exact(f"({column} @> {draft.value(numbers)}::int[])"))
    if singles:
        conditions.append(exact(f"({column} && {draft.value(singles)}::int[])"))
    return draft.bound(any_of(conditions), bind, with_sure=with_sure)
