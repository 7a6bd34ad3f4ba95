"""Regular expressions from strangers, matched in linear time: POSIX extended syntax, searched in a string.

A backtracking engine can be held up for minutes by one short pattern, so patterns become a nondeterministic
automaton that is made deterministic step by step while it reads (R. Thompson 1968; lazy subset
construction). Plain literals, the usual case, never reach the automaton.

Accepted: literals, ``.`` (any character), ``^ $ | ( )``, ``* + ? {m} {m,} {m,n}``, bracket expressions with
ranges and ``[:classes:]``, and from Perl ``\\d \\w \\s`` (and capitals), ``\\t \\n \\r``, ``(?:`` and a
leading ``(?i)``. Refused: back-references, look-around, word boundaries, more than 256 characters or 512
automaton states. Source: IEEE Std 1003.1 chapter 9.4 (ERE); ETSI GS CIM 009 V1.9.1 clause 4.9 (RegExp).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, Literal

from msgspec import Struct

from sejong.hub.ngsi.errors import BadRequestData, TooComplexQuery

MAX_PATTERN: Final = 256
MAX_STATES: Final = 512
_MAX_MOVES: Final = 20_000
_MAX_DEPTH: Final = 32

_CLASSES: Final[dict[str, Callable[[str], bool]]] = {
    "alpha": str.isalpha,
    "digit": str.isdecimal,
    "alnum": str.isalnum,
    "upper": str.isupper,
    "lower": str.islower,
    "space": str.isspace,
    "blank": lambda c: c in " \t",
    "punct": lambda c: c.isprintable() and not c.isalnum() and not c.isspace(),
    "print": str.isprintable,
    "graph": lambda c: c.isprintable() and not c.isspace(),
    "cntrl": lambda c: c < " " or c == "\x7f",
    "xdigit": lambda c: c in "0123456789abcdefABCDEF",
    "word": lambda c: c.isalnum() or c == "_",
}
_PERL: Final = {"d": "digit", "w": "word", "s": "space"}
_CONTROL: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_BOUNDS: Final = re.compile(r"\{([0-9]{1,3})(,([0-9]{1,3})?)?\}")


class CharSet(Struct, frozen=True):
    """Which characters one place of a pattern takes."""

    chars: frozenset[str] = frozenset()
    ranges: tuple[tuple[str, str], ...] = ()
    classes: tuple[tuple[str, bool], ...] = ()
    negated: bool = False

    def takes(self, char: str) -> bool:
        """Whether the character fits here."""
        fits = (
            char in self.chars
            or any(low <= char <= high for low, high in self.ranges)
            or any(_CLASSES[name](char) is wanted for name, wanted in self.classes)
        )
        return fits is not self.negated


ANY: Final = CharSet(negated=True)


class Repeat(Struct, frozen=True):
    """A part taken at least ``low`` times, at most ``high`` times (None: without end)."""

    part: Node
    low: int
    high: int | None


class Branches(Struct, frozen=True):
    """Alternatives, each a sequence of parts."""

    choices: tuple[tuple[Node, ...], ...]


Node = CharSet | Repeat | Branches | Literal["^", "$"]
LiteralKind = Literal["contains", "prefix", "suffix", "equals"]


# --- reading ------------------------------------------------------------------------------------------------


class _Reader:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.fold = pattern.startswith("(?i)")
        self.pos = 4 if self.fold else 0

    def fail(self, why: str) -> BadRequestData:
        return BadRequestData(f"pattern {self.pattern!r}: {why} at column {self.pos + 1}")

    def peek(self) -> str:
        return self.pattern[self.pos : self.pos + 1]

    def whole(self) -> Branches:
        tree = self.branches(0)
        if self.peek():
            raise self.fail("unbalanced )")
        return tree

    def branches(self, depth: int) -> Branches:
        if depth > _MAX_DEPTH:
            raise TooComplexQuery(f"pattern: groups may nest {_MAX_DEPTH} deep")
        choices = [self.sequence(depth)]
        while self.peek() == "|":
            self.pos += 1
            choices.append(self.sequence(depth))
        return Branches(tuple(choices))

    def sequence(self, depth: int) -> tuple[Node, ...]:
        parts: list[Node] = []
        while (char := self.peek()) and char not in "|)":
            part = self.part(depth)
            parts.append(self.repeated(part))
        return tuple(parts)

    def part(self, depth: int) -> Node:
        char = self.peek()
        if char in "*+?{":
            raise self.fail(f"nothing to repeat before {char}")
        self.pos += 1
        if char == "(":
            return self.group(depth)
        if char == ".":
            return ANY
        if char == "^":
            return "^"
        if char == "$":
            return "$"
        if char == "[":
            return self.bracket()
        if char == "\\":
            return self.escape()
        return self.literal(char)

    def literal(self, char: str) -> CharSet:
        return CharSet(frozenset(self.cases(char)))

    def cases(self, char: str) -> Iterable[str]:
        return (c for c in {char, char.lower(), char.upper()} if len(c) == 1) if self.fold else (char,)

    def group(self, depth: int) -> Branches:
        if self.pattern.startswith("?:", self.pos):
            self.pos += 2
        elif self.peek() == "?":
            raise self.fail("this kind of (? group is not supported")
        tree = self.branches(depth + 1)
        if self.peek() != ")":
            raise self.fail("expected )")
        self.pos += 1
        return tree

    def repeated(self, part: Node) -> Node:
        char = self.peek()
        if not char or char not in "*+?{":
            return part
        low, high = self.bounds(char)
        if self.peek() == "?":  # Perl's lazy mark: the same language
            self.pos += 1
        return Repeat(part, low, high)

    def bounds(self, char: str) -> tuple[int, int | None]:
        if char != "{":
            self.pos += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        found = _BOUNDS.match(self.pattern, self.pos)
        if found is None:
            raise self.fail("expected {m}, {m,} or {m,n}; write \\{ for the character")
        low = int(found.group(1))
        high = None if found.group(2) == "," else int(found.group(3) or low)
        if high is not None and high < low:
            raise self.fail("the bounds are in the wrong order")
        self.pos = found.end()
        return low, high

    def escape(self) -> CharSet:
        char = self.peek()
        self.pos += 1
        if char.lower() in _PERL:
            return CharSet(classes=((_PERL[char.lower()], char.islower()),))
        if char in _CONTROL:
            return self.literal(_CONTROL[char])
        if not char or char.isalnum():
            self.pos -= 1
            raise self.fail("unknown escape")
        return self.literal(char)

    def bracket(self) -> CharSet:
        negated = self.peek() == "^"
        self.pos += negated
        chars: set[str] = set()
        ranges: list[tuple[str, str]] = []
        classes: list[tuple[str, bool]] = []
        first = True
        while first or self.peek() != "]":
            first = False
            item = self.bracket_item()
            if isinstance(item, tuple):
                classes.append(item)
            elif self.peek() == "-" and self.pattern[self.pos + 1 : self.pos + 2] not in ("]", ""):
                self.pos += 1
                high = self.bracket_item()
                if isinstance(high, tuple) or high < item:
                    raise self.fail("bad range in [ ]")
                ranges.extend(self.range_cases(item, high))
            else:
                chars.update(self.cases(item))
        self.pos += 1
        return CharSet(frozenset(chars), tuple(ranges), tuple(classes), negated)

    def range_cases(self, low: str, high: str) -> list[tuple[str, str]]:
        spans = [(low, high)]
        for small, large in (("a", "z"), ("A", "Z")) if self.fold else ():
            if low <= large and high >= small:
                part = max(low, small), min(high, large)
                spans.append((part[0].swapcase(), part[1].swapcase()))
        return spans

    def bracket_item(self) -> str | tuple[str, bool]:
        char = self.peek()
        if not char:
            raise self.fail("expected ]")
        if char == "[" and self.pattern[self.pos + 1 : self.pos + 2] in (":", ".", "="):
            return self.named_class()
        self.pos += 1
        if char != "\\":
            return char
        escaped = self.escape()
        if escaped.classes:
            return escaped.classes[0]
        plain = self.pattern[self.pos - 1]
        return _CONTROL.get(plain, plain)

    def named_class(self) -> tuple[str, bool]:
        end = self.pattern.find(":]", self.pos + 2)
        name = self.pattern[self.pos + 2 : end] if end > 0 and self.pattern[self.pos + 1] == ":" else ""
        if name not in _CLASSES:
            raise self.fail("unknown class in [ ]")
        self.pos = end + 2
        return ("alpha" if self.fold and name in ("upper", "lower") else name), True


# --- the automaton ------------------------------------------------------------------------------------------


class _Automaton:
    """States as parallel lists: a kind, what it takes, and up to two ways on."""

    def __init__(self, tree: Branches) -> None:
        self.takes: list[CharSet | str] = []
        self.ways: list[tuple[int, ...]] = []
        accept = self._state("accept", ())
        self.start = self._branches(tree, accept)

    def _state(self, takes: CharSet | str, ways: tuple[int, ...]) -> int:
        if len(self.takes) == MAX_STATES:
            raise TooComplexQuery(f"pattern: it needs more than {MAX_STATES} states")
        self.takes.append(takes)
        self.ways.append(ways)
        return len(self.takes) - 1

    def _branches(self, tree: Branches, after: int) -> int:
        starts = tuple(self._sequence(choice, after) for choice in tree.choices)
        return starts[0] if len(starts) == 1 else self._state("split", starts)

    def _sequence(self, parts: tuple[Node, ...], after: int) -> int:
        for part in reversed(parts):
            after = self._part(part, after)
        return after

    def _part(self, part: Node, after: int) -> int:
        if isinstance(part, Repeat):
            return self._repeat(part, after)
        if isinstance(part, Branches):
            return self._branches(part, after)
        return self._state(part, (after,))

    def _repeat(self, part: Repeat, after: int) -> int:
        if part.high is None:
            loop = self._state("split", ())
            self.ways[loop] = (self._part(part.part, loop), after)
            after = loop
        else:
            for _ in range(part.high - part.low):
                after = self._state("split", (self._part(part.part, after), after))
        for _ in range(part.low):
            before = self._part(part.part, after)
            if before == after:  # an empty part: repeating it changes nothing
                break
            after = before
        return after

    def closure(self, states: Iterable[int], *, at_start: bool = False, at_end: bool = False) -> frozenset[int]:
        """All states reachable without reading; ``^`` is passed only at the start, ``$`` only at the end."""
        found: set[int] = set()
        waiting = list(states)
        while waiting:
            state = waiting.pop()
            if state in found:
                continue
            found.add(state)
            takes = self.takes[state]
            if takes == "split" or (takes == "^" and at_start) or (takes == "$" and at_end):
                waiting.extend(self.ways[state])
        return frozenset(found)


class _Step:
    """One state of the deterministic automaton: a set of states, and the moves found so far."""

    __slots__ = ("accepts", "accepts_at_end", "moves", "states")

    def __init__(self, states: frozenset[int], accepts: bool, accepts_at_end: bool) -> None:
        self.states = states
        self.accepts = accepts
        self.accepts_at_end = accepts_at_end
        self.moves: dict[str, _Step] = {}


class _Search:
    """Finds a pattern anywhere in a text, reading each character once."""

    def __init__(self, tree: Branches) -> None:
        self.nfa = _Automaton(tree)
        self.again = self.nfa.closure([self.nfa.start])
        self.steps: dict[frozenset[int], _Step] = {}
        self.moves = 0
        first = self.nfa.closure([self.nfa.start], at_start=True)
        at_end = self.nfa.closure(first, at_start=True, at_end=True)
        self.first = _Step(first, 0 in first, 0 in at_end)

    def __call__(self, text: str) -> bool:
        step = self.first
        if step.accepts:
            return True
        for char in text:
            step = step.moves.get(char) or self._move(step, char)
            if step.accepts:
                return True
        return step.accepts_at_end

    def _move(self, step: _Step, char: str) -> _Step:
        if self.moves > _MAX_MOVES:
            self.steps.clear()
            self.first.moves.clear()
            step.moves.clear()
            self.moves = 0
        nfa = self.nfa
        reached = [
            nfa.ways[state][0]
            for state in step.states
            if isinstance(takes := nfa.takes[state], CharSet) and takes.takes(char)
        ]
        states = nfa.closure(reached) | self.again
        following = self.steps.get(states)
        if following is None:
            following = _Step(states, 0 in states, 0 in nfa.closure(states, at_end=True))
            self.steps[states] = following
        step.moves[char] = following
        self.moves += 1
        return following


# --- the result ---------------------------------------------------------------------------------------------


class Pattern:
    """A checked pattern. ``search`` says whether it occurs in a text; ``literal``: it is plain text."""

    def __init__(self, source: str) -> None:
        reader = _Reader(source)
        tree = reader.whole()
        self.source = source
        self.literal = _literal(tree)
        self.required = _required(tree)
        """Text that every match contains ('' when nothing is known): the database can look for it."""
        self.search: Callable[[str], bool] = _plain(*self.literal) if self.literal else _Search(tree)


@lru_cache(maxsize=512)
def compile_pattern(source: str) -> Pattern:
    """Checks a pattern and prepares it.

    Raises BadRequestData for what is not a (supported) regular expression, TooComplexQuery beyond the
    limits.
    """
    if len(source) > MAX_PATTERN:
        raise TooComplexQuery(f"pattern: it may have {MAX_PATTERN} characters")
    return Pattern(source)


def _plain(kind: LiteralKind, text: str) -> Callable[[str], bool]:
    match kind:
        case "contains":
            return lambda value: text in value
        case "prefix":
            return lambda value: value.startswith(text)
        case "suffix":
            return lambda value: value.endswith(text)
        case "equals":
            return lambda value: value == text


def _single(part: Node) -> str | None:
    """The one character a part takes, if it takes exactly one."""
    if isinstance(part, CharSet) and len(part.chars) == 1 and not (part.ranges or part.classes or part.negated):
        return next(iter(part.chars))
    return None


def _literal(tree: Branches) -> tuple[LiteralKind, str] | None:
    if len(tree.choices) != 1:
        return None
    parts = list(tree.choices[0])
    starts, ends = bool(parts) and parts[0] == "^", bool(parts) and parts[-1] == "$"
    parts = parts[starts : len(parts) - ends]
    anything = Repeat(ANY, 0, None)
    if parts and parts[0] == anything:
        starts, parts = False, parts[1:]
    if parts and parts[-1] == anything:
        ends, parts = False, parts[:-1]
    chars = [_single(part) for part in parts]
    if None in chars:
        return None
    text = "".join(char for char in chars if char)
    if starts and ends:
        return "equals", text
    return ("prefix", text) if starts else ("suffix", text) if ends else ("contains", text)


def _required(tree: Branches) -> str:
    if len(tree.choices) != 1:
        return ""
    best = run = ""
    for part in tree.choices[0]:
        char = _single(part)
        run = run + char if char else ""
        best = max(best, run, key=len)
    return best
