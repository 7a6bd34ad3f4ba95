"""The grammar every NGSI-LD language shares: names, attribute paths, a cursor that points at errors.

Source: ETSI GS CIM 009 V1.9.1 clauses 4.6.2 (names) and 4.9 (attribute paths). Beyond the clause, a name
may also be ``prefix:name`` or a full ``http(s)://`` / ``urn:`` IRI, because brokers forward queries in that
form.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NoReturn

from msgspec import Struct

from sejong.hub.ngsi.errors import BadRequestData, TooComplexQuery

Expand = Callable[[str], str]
"""Turns a short name into an IRI with the context of the request."""

TEMPORAL_MEMBERS: Final = frozenset({"createdAt", "modifiedAt", "deletedAt", "expiresAt", "observedAt"})
ENTITY_MEMBERS: Final = frozenset({"createdAt", "modifiedAt", "deletedAt", "expiresAt"})
INSTANCE_MEMBERS: Final = TEMPORAL_MEMBERS | {
    "unitCode",
    "datasetId",
    "instanceId",
    "objectType",
    "valueType",
}
MAX_PATH_NAMES: Final = 10
MAX_LINK_DEPTH: Final = 5

_WORD = r"[^\W\d_]\w*"
_NAME: Final = re.compile(rf"{_WORD}(?::{_WORD})?")
_SIMPLE_NAME: Final = re.compile(_WORD)
_IRI_NAME: Final = re.compile(r"(?:https?://|urn:)[^\s=!<>~;|&(),\[\]{}\"]+")
_HINT: Final = re.compile(rf"({_WORD}(?:,{_WORD})*):(?!//)")
_MEMBERS: Final = re.compile(r"[^\[\]{}\"\x00-\x1f]*")


class Name(Struct, frozen=True):
    """One name of a path: as the user wrote it, and the IRI (or system member) it stands for."""

    term: str
    key: str


class AttributePath(Struct, frozen=True):
    """Where in an entity a condition or an ordering looks: ``a.b[c.d]`` or ``rel{Type:attr}``.

    ``names`` walk attributes and sub-attributes, ``members`` a compound value or a language tag, ``linked``
    the entity a Relationship points at (of a type in ``hint`` when given).
    """

    names: tuple[Name, ...]
    members: tuple[str, ...] = ()
    linked: AttributePath | None = None
    hint: tuple[Name, ...] = ()

    @property
    def is_system(self) -> bool:
        """Whether it targets the entity's own createdAt, modifiedAt, ...: no attribute of the user's."""
        return self.names[0].key in ENTITY_MEMBERS

    @property
    def target(self) -> Name:
        """The last name: what is compared, in the linked entity if there is one."""
        return self.linked.target if self.linked else self.names[-1]


def render_path(path: AttributePath, spell: Callable[[Name], str] = lambda name: name.term) -> str:
    """The path as text again; ``spell`` may compact the IRIs with another context."""
    text = ".".join(spell(name) for name in path.names)
    if path.members:
        text += "[" + ".".join(path.members) + "]"
    if path.linked is not None:
        hint = ",".join(spell(name) for name in path.hint)
        text += "{" + (f"{hint}:" if hint else "") + render_path(path.linked, spell) + "}"
    return text


class Cursor:
    """Reads one parameter from left to right and knows the column for error messages."""

    def __init__(self, text: str, parameter: str, expand: Expand) -> None:
        self.text = text
        self.parameter = parameter
        self.expand = expand
        self.pos = 0

    @property
    def at_end(self) -> bool:
        """Whether everything was read."""
        return self.pos >= len(self.text)

    def peek(self) -> str:
        """The next character, or an empty string at the end."""
        return self.text[self.pos : self.pos + 1]

    def take(self, symbol: str) -> bool:
        """Steps over ``symbol`` if it comes next."""
        if self.text.startswith(symbol, self.pos):
            self.pos += len(symbol)
            return True
        return False

    def skip_space(self) -> None:
        """Steps over blanks, which people leave around operators."""
        while self.peek() == " ":
            self.pos += 1

    def match(self, pattern: re.Pattern[str]) -> str | None:
        """Steps over what the pattern matches here, if it does."""
        found = pattern.match(self.text, self.pos)
        if found is None:
            return None
        self.pos = found.end()
        return found.group()

    def fault(self, expected: str, at: int | None = None) -> BadRequestData:
        """The error that names the column (from 1) and what stands there."""
        column = self.pos if at is None else at
        found = repr(self.text[column : column + 12]) if column < len(self.text) else "the end"
        return BadRequestData(f"{self.parameter}: {expected} at column {column + 1}, found {found}")

    def fail(self, expected: str, at: int | None = None) -> NoReturn:
        """Raises that error."""
        raise self.fault(expected, at)

    def too_complex(self, what: str) -> NoReturn:
        """Raises TooComplexQuery for a limit of this parameter."""
        raise TooComplexQuery(f"{self.parameter}: {what}")

    def name(self, system: frozenset[str], *, simple: bool = False) -> Name:
        """Reads one attribute name and expands it, unless it is a member name of the system."""
        term = None if simple else self.match(_IRI_NAME)
        if term is None:
            start = self.pos
            term = self.match(_SIMPLE_NAME if simple else _NAME)
            if term is None or not term[0].isalpha():
                self.fail("expected an attribute name", start)
        return Name(term, term if term in system else self.expand(term))

    def path(self, system: frozenset[str] = ENTITY_MEMBERS, *, links: bool = True) -> AttributePath:
        """Reads an attribute path; ``system`` lists the entity members it may start with."""
        return self._path(system, MAX_LINK_DEPTH if links else 0)

    def _path(self, system: frozenset[str], links: int) -> AttributePath:
        names = [self.name(system)]
        members_of = system
        while self.peek() == "." and not self.text.startswith("..", self.pos):
            if names[-1].key in members_of:
                self.fail(f"{names[-1].term} has no parts; expected an operator")
            if len(names) == MAX_PATH_NAMES:
                self.too_complex(f"a path may have {MAX_PATH_NAMES} names")
            self.pos += 1
            members_of = INSTANCE_MEMBERS
            names.append(self.name(members_of))
        opener = self.peek()
        if opener in ("[", "{") and names[-1].key in members_of:
            self.fail(f"{names[-1].term} has no parts; expected an operator")
        if opener == "[":
            return AttributePath(tuple(names), members=self._members())
        if opener == "{":
            return self._linked(tuple(names), links)
        return AttributePath(tuple(names))

    def _members(self) -> tuple[str, ...]:
        self.pos += 1
        start = self.pos
        members = tuple((self.match(_MEMBERS) or "").split("."))
        if not all(members):
            self.fail("expected the name of a value member or a language tag", start)
        if not self.take("]"):
            self.fail("expected ]")
        if len(members) > MAX_PATH_NAMES:
            self.too_complex(f"a path may have {MAX_PATH_NAMES} members")
        return members

    def _linked(self, names: tuple[Name, ...], links: int) -> AttributePath:
        if not links:
            self.fail("a linked entity path is not possible here")
        if links == 1:
            self.too_complex(f"linked entity paths may be {MAX_LINK_DEPTH - 1} deep")
        self.pos += 1
        hinted = None if _IRI_NAME.match(self.text, self.pos) else _HINT.match(self.text, self.pos)
        hint: tuple[Name, ...] = ()
        if hinted is not None:
            hint = tuple(Name(term, self.expand(term)) for term in hinted.group(1).split(","))
            self.pos = hinted.end()
        linked = self._path(ENTITY_MEMBERS, links - 1)
        if not self.take("}"):
            self.fail("expected }")
        return AttributePath(names, linked=linked, hint=hint)
