"""Reading the query options of SensorThings: $filter, $expand, $orderby, $select, $top, $skip, $count. Pure.

Source: OGC 18-088 §9.3, after OData 4 URL conventions (operators and their precedence: §5.1.1.9).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from sejong.hub.ngsi.instants import parse_instant
from sejong.hub.sta.fault import NotUnderstood
from sejong.kernel.errors import CityError

MOST = 1000
"""Entities on one page at most. Chosen."""
PAGE = 100
DEEPEST = 20
"""Levels of brackets in a filter, and of expanding, at most. Chosen."""
LONGEST = 4000
_TOKEN = re.compile(
    r"\s*(?:(?P<geo>geography'[^']*')|(?P<text>'(?:[^']|'')*')"
    r"|(?P<time>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d))"
    r"|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<name>@?[A-Za-z_][\w.@]*(?:/@?[A-Za-z_][\w.@]*)*)|(?P<sign>[(),]))"
)
_COMPARE = frozenset({"eq", "ne", "gt", "ge", "lt", "le"})
_LEVELS = (frozenset({"or"}), frozenset({"and"}))
_SUMS, _PRODUCTS = frozenset({"add", "sub"}), frozenset({"mul", "div", "mod"})


class Literal(msgspec.Struct, frozen=True):
    """A value somebody wrote; `kind`: num, text, time, bool, geo, null."""

    kind: str
    value: Any


class Path(msgspec.Struct, frozen=True):
    """A property, perhaps of a linked entity: `Datastream/Thing/name`."""

    parts: tuple[str, ...]


class Apply(msgspec.Struct, frozen=True):
    """An operator or a function on its arguments."""

    name: str
    args: tuple[Any, ...]


Node = Literal | Path | Apply


class Options(msgspec.Struct, frozen=True):
    """What is wanted of a collection or an entity."""

    filter: Node | None = None
    expand: tuple[tuple[str, Options], ...] = ()
    order: tuple[tuple[Node, bool], ...] = ()
    """What to order by, and whether the largest comes first."""
    select: tuple[str, ...] = ()
    top: int = PAGE
    skip: int = 0
    count: bool = False
    data_array: bool = False
    given: tuple[tuple[str, str], ...] = ()
    """The options as they came, for the address of the next page."""


def read_options(given: Mapping[str, str], depth: int = 0) -> Options:
    """The options of an address, or of one `$expand`. Raises NotUnderstood."""
    if depth > DEEPEST:
        raise NotUnderstood(why="$expand: too deep")
    for name, text in given.items():
        if name.startswith("$") and name not in _KNOWN:
            raise NotUnderstood(why=f"no option {name[:40]}")
        if len(text) > LONGEST or "\x00" in text:
            raise NotUnderstood(why=f"{name[:40]}: too long, or a NUL")
    shape = given.get("$resultFormat")
    if shape not in (None, "dataArray"):
        raise NotUnderstood(why="$resultFormat: dataArray")
    flag = given.get("$count", "false").lower()
    if flag not in ("true", "false"):
        raise NotUnderstood(why="$count: true or false")
    return Options(
        filter=read_filter(given["$filter"]) if "$filter" in given else None,
        expand=read_expand(given["$expand"], depth) if "$expand" in given else (),
        order=read_order(given["$orderby"]) if "$orderby" in given else (),
        select=tuple(part.strip() for part in given["$select"].split(",")) if "$select" in given else (),
        top=min(_whole(given, "$top", PAGE), MOST),
        skip=_whole(given, "$skip", 0),
        count=flag == "true",
        data_array=shape == "dataArray",
        given=tuple(given.items()),
    )


_KNOWN = frozenset({"$filter", "$expand", "$orderby", "$select", "$top", "$skip", "$count", "$resultFormat"})


def _whole(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 13):
        raise NotUnderstood(why=f"{name} is a whole number of 0 or more")
    return int(text)


def read_expand(text: str, depth: int) -> tuple[tuple[str, Options], ...]:
    """`Datastreams($top=1;$expand=Sensor),Locations` and `Datastreams/Observations`. Raises NotUnderstood."""
    found: dict[str, Options] = {}
    for item in _split(text, ","):
        head, _, inner = item.partition("(")
        if inner and not inner.endswith(")"):
            raise NotUnderstood(why=f"$expand: {item[:60]}")
        first, _, rest = head.strip().partition("/")
        options: dict[str, str] = {}
        if rest:
            options["$expand"] = rest + (f"({inner}" if inner else "")
        elif inner:
            for option in _split(inner[:-1], ";"):
                name, equals, value = option.strip().partition("=")
                if not equals or not name.startswith("$"):
                    raise NotUnderstood(why=f"$expand: {option[:60]}")
                options[name] = value
        if not re.fullmatch(r"\w+", first):
            raise NotUnderstood(why=f"$expand: {item[:60]!r}")
        read = read_options(options, depth + 1)
        before = found.get(first)
        found[first] = read if before is None else msgspec.structs.replace(read, expand=(*before.expand, *read.expand))
    return tuple(found.items())


def _split(text: str, at: str) -> list[str]:
    """The parts between separators that stand in no brackets and in no quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    for place, letter in enumerate(text):
        if letter == "'":
            quoted = not quoted
        elif not quoted:
            depth += (letter == "(") - (letter == ")")
            if depth < 0:
                raise NotUnderstood(why=f"a bracket too many at {place}")
            if letter == at and depth == 0:
                parts.append(text[start:place])
                start = place + 1
    if depth or quoted:
        raise NotUnderstood(why="a bracket or a quote is not closed")
    return [*parts, text[start:]]


def read_order(text: str) -> tuple[tuple[Node, bool], ...]:
    """`phenomenonTime desc,result`. Raises NotUnderstood."""
    found: list[tuple[Node, bool]] = []
    for item in _split(text, ","):
        words = item.strip()
        down = words.endswith(" desc")
        words = words.removesuffix(" desc").removesuffix(" asc")
        found.append((read_filter(words), down))
    return tuple(found)


def read_filter(text: str) -> Node:
    """A filter or another expression. Raises NotUnderstood with the place of the fault."""
    return _Reader(text).whole()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0
        self.kind = self.token = ""
        self._next()

    def whole(self) -> Node:
        node = self._level(0)
        if self.kind:
            self._stop()
        return node

    def _stop(self) -> None:
        raise NotUnderstood(why=f"at {self._at}: {self.token!r} is not expected in {self._text[:200]!r}")

    def _next(self) -> None:
        rest = self._text[self._at :]
        if not rest.strip():
            self.kind = self.token = ""
            return
        match = _TOKEN.match(rest)
        if match is None or match.lastgroup is None:
            raise NotUnderstood(why=f"at {self._at}: {rest[:20]!r}")
        self.kind, self.token = match.lastgroup, match[match.lastgroup]
        self._at += match.end()

    def _take(self) -> str:
        token = self.token
        self._next()
        return token

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._negation()
        node = self._level(level + 1)
        while self.kind == "name" and self.token in _LEVELS[level]:
            node = Apply(self._take(), (node, self._level(level + 1)))
        return node

    def _negation(self) -> Node:
        if self.kind == "name" and self.token == "not":
            self._take()
            self._deeper()
            node = Apply("not", (self._negation(),))
            self._depth -= 1
            return node
        node = self._sum()
        if self.kind == "name" and self.token in _COMPARE:
            node = Apply(self._take(), (node, self._sum()))
        return node

    def _sum(self) -> Node:
        node = self._product()
        while self.kind == "name" and self.token in _SUMS:
            node = Apply(self._take(), (node, self._product()))
        return node

    def _product(self) -> Node:
        node = self._one()
        while self.kind == "name" and self.token in _PRODUCTS:
            node = Apply(self._take(), (node, self._one()))
        return node

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise NotUnderstood(why="too many brackets")

    def _one(self) -> Node:
        if self.token == "(" and self.kind == "sign":
            self._deeper()
            self._take()
            node = self._level(0)
            self._close()
            self._depth -= 1
            return node
        if self.kind == "name":
            return self._named()
        if self.kind in ("", "sign"):
            self._stop()
        kind, token = self.kind, self._take()
        return literal(kind, token)

    def _named(self) -> Node:
        name = self._take()
        if self.token == "(" and self.kind == "sign":
            self._deeper()
            self._take()
            args: list[Node] = []
            while not (self.kind == "sign" and self.token == ")"):
                args.append(self._level(0))
                if self.kind == "sign" and self.token == ",":
                    self._take()
                elif self.token != ")":
                    self._stop()
            self._close()
            self._depth -= 1
            return Apply(f"{name}()", tuple(args))
        if name in ("true", "false"):
            return Literal("bool", name == "true")
        return Literal("null", None) if name == "null" else Path(tuple(name.split("/")))

    def _close(self) -> None:
        if not (self.kind == "sign" and self.token == ")"):
            self._stop()
        self._take()


def literal(kind: str, token: str) -> Literal:
    """A token as a value. Raises NotUnderstood."""
    if kind == "number":
        return Literal("num", float(token))
    if kind == "text":
        return Literal("text", token[1:-1].replace("''", "'"))
    if kind == "time":
        return Literal("time", instant(token))
    return Literal("geo", token[len("geography'") : -1])


def instant(text: str) -> datetime:
    """An ISO 8601 instant with a zone. Raises NotUnderstood."""
    try:
        return parse_instant(text) if text.endswith("Z") else datetime.fromisoformat(text)
    except (ValueError, OverflowError, CityError) as error:
        raise NotUnderstood(why=f"{text} is no instant") from error
