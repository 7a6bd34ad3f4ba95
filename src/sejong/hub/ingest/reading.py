"""What devices say, understood: the default payload and NGSI-LD entities become readings; the rest says why not.

A payload is one object or an array of objects. `id`, `type`, `at`, `units` and `simulated` have a meaning, every other
member is an attribute: a number, text, truth value or array is a Property, a GeoJSON geometry a GeoProperty,
`{"object": "urn:…"}` a Relationship, and anything NGSI-LD writes for an attribute (normalized or concise) is taken as
it stands. One bad attribute sets only itself aside. No I/O; the moment is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import isfinite
from typing import Any

import msgspec

from sejong.hub.ingest import refusals as no
from sejong.hub.ingest.refusals import Refusal, shown
from sejong.hub.ngsi.context import RESERVED_IRIS, Context
from sejong.hub.ngsi.entity import expand_attribute
from sejong.hub.ngsi.errors import NgsiLdError
from sejong.hub.ngsi.grammar import is_uri
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.ngsi.members import GEO_ONLY, SCOPE, VALUE_MEMBER

Doc = dict[str, Any]

LONGEST_ID = 1000
"""Bytes of an id at most. Source: a PostgreSQL B-tree entry holds 2,704 bytes; the rest is margin."""
LONGEST_UNIT = 16
"""Characters of a unit code at most. Source: UN/CEFACT Recommendation 20 codes have 2 or 3; the rest is usage."""
MOST_ATTRIBUTES = 200
"""Attributes of one object at most. Chosen: the largest Smart Data Model has about 100."""
MOST_DEPTH = 16
"""Levels of a compound value at most. Chosen."""
MOST_NAMES = 20_000
MOST_OBJECTS_KNOWN = 100_000

_HEAD = frozenset({"id", "type", "at", "units", "simulated", "@context", "createdAt", "modifiedAt", "deletedAt"})
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII).fullmatch


class Moment(msgspec.Struct, frozen=True):
    """When a message arrived, and which observation times it may therefore name (canonical texts)."""

    now: str
    earliest: str
    latest: str
    again: bool = False
    """Whether the broker delivered it before, so that we may have taken it already."""


def moment(arrived: datetime, *, ahead_h: float = 24.0, earliest: str = "", again: bool = False) -> Moment:
    """The limits for a message that arrived then: up to `ahead_h` hours ahead of the city, not before `earliest`."""
    return Moment(format_instant(arrived), earliest, format_instant(arrived + timedelta(hours=ahead_h)), again)


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One attribute of one thing at one time.

    `types` (IRIs) creates the thing where it is unknown. `instance` is expanded, without createdAt and modifiedAt; its
    observedAt is `at` (27 characters, so that text order is time order), or absent with `at` empty. `uncertain`: the
    sender gave no time, and the message may have been taken before. `source` is whatever the door wants back.
    """

    entity: str
    types: list[str] | None
    attribute: str
    instance: Doc
    at: str
    uncertain: bool
    source: Any


class Refused(msgspec.Struct, frozen=True):
    """A part of a message that was set aside: why, and the part as it can be read again (None: all of the message)."""

    error: Refusal
    part: bytes | None = None


class Understood(msgspec.Struct):
    """What became of one message."""

    readings: list[Reading] = []
    refused: list[Refused] = []


class _Name(msgspec.Struct, frozen=True):
    iri: str
    plain: bool
    """Whether a bare scalar may stand for it."""


class Decoder:
    """Understands messages in the names of one @context.

    `knows_type` tells whether the city has things of a type (IRI); unknown ones are refused rather than created.
    """

    def __init__(self, context: Context, knows_type: Callable[[str], bool]) -> None:
        self._context = context
        self._knows_type = knows_type
        self._simulated = context.expand("simulated")
        self._mark = [{"type": "Property", "value": True}]
        self._names: dict[str, _Name] = {}
        self._types: dict[str, str] = {}
        self._ids: set[str] = set()

    def message(self, raw: bytes, when: Moment, source: Any = None, allowed: Allowed | None = None) -> Understood:
        """The readings of one payload, and what had to be set aside. Never raises for anything a sender can do."""
        try:
            body = decode_json(raw)
        except Refusal as error:
            return Understood([], [Refused(error)])
        return self.document(body, when, source, allowed)

    def document(self, body: Any, when: Moment, source: Any = None, allowed: Allowed | None = None) -> Understood:
        """As `message`, for a payload that is already decoded."""
        out = Understood([], [])
        for thing in body if body.__class__ is list else (body,):
            self.thing(thing, when, source, allowed, out)
        return out

    def thing(self, thing: Any, when: Moment, source: Any, allowed: Allowed | None, out: Understood) -> None:
        """The readings of one object, added to `out`."""
        try:
            if thing.__class__ is not dict:
                raise no.NotAReading(what=_json_kind(thing))
            head = self._head(thing, when, allowed)
        except Refusal as error:
            out.refused.append(Refused(error, _part(thing)))
            return
        before = len(out.readings)
        bad = self._attributes(thing, head, when, source, out.readings)
        if bad:
            out.refused.extend(_set_aside(thing, bad))
        elif len(out.readings) == before:
            out.refused.append(Refused(no.NoReadings(id=head.entity), _part(thing)))

    # -- inside ------------------------------------------------------------------------------------------------

    def _head(self, thing: Doc, when: Moment, allowed: Allowed | None) -> _Head:
        entity: Any = thing.get("id")
        if entity.__class__ is not str or entity not in self._ids:
            self._check_id(entity)
        if allowed is not None and not allowed(entity):
            raise no.NotThisKey(id=entity, key=allowed.key, allowed=", ".join(allowed.patterns) or "-")
        if "@context" in thing:
            raise no.OwnContext()
        at = thing.get("at")
        stated = when.now if at is None else instant(at)
        if at is not None:
            check_time(stated, when)
        kind = thing.get("type")
        types = None if kind is None else self._kinds(kind)
        units = thing.get("units")
        if units is not None and units.__class__ is not dict:
            raise no.BadUnit(attribute="units", unit=shown(units))
        mark = thing.get("simulated", False)
        if mark.__class__ is not bool:
            raise no.BadValue(attribute="simulated", why=f"{shown(mark)} is neither true nor false")
        return _Head(entity, types, stated, at is None, units, mark)

    def _check_id(self, entity: Any) -> None:
        if entity is None:
            raise no.NoId()
        if not is_uri(entity) or len(entity.encode()) > LONGEST_ID:
            raise no.BadId(id=shown(entity), most=LONGEST_ID)
        if len(self._ids) > MOST_OBJECTS_KNOWN:
            self._ids.clear()
        self._ids.add(entity)

    def _kinds(self, kind: Any) -> list[str]:
        if kind.__class__ is str:
            return [self._types.get(kind) or self._type(kind)]
        if kind.__class__ is not list or not kind:
            raise no.UnknownType(type=shown(kind))
        return list(dict.fromkeys(self._types.get(one) or self._type(one) for one in kind if one.__class__ is str))

    def _type(self, name: str) -> str:
        try:
            iri = self._context.attribute(name)
        except NgsiLdError:
            raise no.UnknownType(type=shown(name)) from None
        if not self._knows_type(iri):
            raise no.UnknownType(type=shown(name))
        if len(self._types) < MOST_NAMES:
            self._types[name] = iri
        return iri

    def _attributes(
        self, thing: Doc, head: _Head, when: Moment, source: Any, out: list[Reading]
    ) -> list[tuple[str, Refusal]]:
        bad: list[tuple[str, Refusal]] = []
        units, mark, at = head.units, head.mark, head.at
        entity, types, uncertain = head.entity, head.types, head.guessed and when.again
        names = self._names
        if len(thing) > MOST_ATTRIBUTES:
            return [("", no.TooLarge(what="attributes", size=len(thing), most=MOST_ATTRIBUTES))]
        for key, value in thing.items():
            if key in _HEAD:
                continue
            try:
                name = names.get(key) or self._name(key)
                cls = value.__class__
                if name.plain and (cls is int or cls is str or cls is bool or (cls is float and isfinite(value))):
                    instance: Doc = {"type": "Property", "value": value, "observedAt": at}
                    if units is not None and key in units:
                        instance["unitCode"] = _unit(key, units[key])
                    if mark:
                        instance[self._simulated] = self._mark
                    out.append(Reading(entity, types, name.iri, instance, at, uncertain, source))
                else:
                    self._structured(key, name, value, head, when, source, out)
            except Refusal as error:
                bad.append((key, error))
        return bad

    def _name(self, key: str) -> _Name:
        try:
            iri = self._context.attribute(key)
        except NgsiLdError as error:
            raise no.BadName(name=shown(key), why=error.detail) from None
        if iri in RESERVED_IRIS or iri == SCOPE:
            raise no.BadName(name=shown(key), why="a word of NGSI-LD")
        if len(iri.encode()) > LONGEST_ID:
            raise no.BadName(name=shown(key), why=f"more than {LONGEST_ID} bytes")
        name = _Name(iri, iri not in GEO_ONLY)
        if len(self._names) < MOST_NAMES:
            self._names[key] = name
        return name

    def _structured(
        self, key: str, name: _Name, value: Any, head: _Head, when: Moment, source: Any, out: list[Reading]
    ) -> None:
        """Anything but a bare scalar: arrays, geometries, relationships, NGSI-LD attributes, and what is broken."""
        _check_numbers(key, value, 0)
        try:
            _, instances = expand_attribute(value, key, self._context, now=when.now, mode="create")
        except NgsiLdError as error:
            raise no.BadValue(attribute=key, why=error.detail) from None
        found: list[Reading] = []
        for instance in instances:
            at, guessed = head.at, head.guessed
            if "observedAt" in instance:
                at, guessed = instant(instance["observedAt"]), False
                check_time(at, when)
                instance["observedAt"] = at
            elif guessed and _is_ngsi(value):
                at = ""  # an NGSI-LD attribute without observedAt was not observed: it is a fact without a time
            else:
                instance["observedAt"] = at
            unit = instance.get("unitCode")
            if unit is None and head.units is not None and key in head.units and instance["type"] == "Property":
                unit = instance["unitCode"] = head.units[key]
            if unit is not None:
                _unit(key, unit)
            if head.mark:
                instance[self._simulated] = self._mark
            found.append(Reading(head.entity, head.types, name.iri, instance, at, guessed and when.again, source))
        out.extend(found)


class _Head(msgspec.Struct, frozen=True, gc=False):
    """What one object says of all its readings."""

    entity: str
    types: list[str] | None
    at: str
    guessed: bool
    units: Doc | None
    mark: bool


class Allowed:
    """Which things a key may speak for: patterns with `*` for any text; none at all means every thing."""

    __slots__ = ("_known", "_match", "key", "patterns")

    def __init__(self, key: str, patterns: Collection[str]) -> None:
        self.key = key
        self.patterns = tuple(patterns)
        self._known: dict[str, bool] = {}
        texts = [".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns]
        self._match = re.compile("|".join(f"(?:{text})" for text in texts), re.DOTALL).fullmatch if texts else None

    def __call__(self, entity: str) -> bool:
        if self._match is None:
            return True
        known = self._known.get(entity)
        if known is None:
            if len(self._known) > MOST_OBJECTS_KNOWN:
                self._known.clear()
            known = self._known[entity] = self._match(entity) is not None
        return known


def decode_json(raw: bytes) -> Any:
    """The JSON value; `NaN` and `Infinity` are let through so that they can be refused one by one.

    Raises NotJson, TooDeep.
    """
    try:
        return msgspec.json.decode(raw)
    except RecursionError:
        raise no.TooDeep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        why = str(error)
        if b"NaN" in raw or b"Infinity" in raw or "out of range" in why:
            return _with_infinities(raw, why)
        raise no.NotJson(why=why) from None


def _with_infinities(raw: bytes, why: str) -> Any:
    try:
        body = json.loads(raw)
        msgspec.json.encode(body)  # half characters pass the one and not the other
    except (ValueError, RecursionError):
        raise no.NotJson(why=why) from None
    return body


@lru_cache(maxsize=8192)
def _instant(text: str) -> str:
    found = _INSTANT(text)
    if found is None:
        raise no.BadTime(at=shown(text), why_ko="ISO 8601 형식이 아닙니다", why_en="it is not ISO 8601")
    day, clock, fraction, zone = found.groups()
    if zone is None:
        raise no.BadTime(at=shown(text), why_ko="Z 또는 +09:00이 없습니다", why_en="Z or +09:00 is missing")
    if zone == "Z" or zone[1:] in ("00:00", "0000"):
        zone = "+00:00"
    try:
        at = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6]:0<6}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise no.BadTime(at=shown(text), why_ko="없는 시각입니다", why_en="there is no such time") from None
    return format_instant(at)


def instant(value: Any) -> str:
    """An observation time as the record keeps it: UTC, microseconds, `Z` (27 characters). Raises BadTime.

    >>> instant("2026-11-22T19:00:00+09:00")
    '2026-11-22T10:00:00.000000Z'
    """
    if value.__class__ is not str:
        raise no.BadTime(at=shown(value), why_ko="ISO 8601 글자가 아닙니다", why_en="it is not ISO 8601 text")
    return _instant(value)


def check_time(at: str, when: Moment) -> None:
    """Raises TimeInFuture or ClockNotSet where no sound device could have observed at that time."""
    if at > when.latest:
        ahead = datetime.fromisoformat(when.latest) - datetime.fromisoformat(when.now)
        raise no.TimeInFuture(at=at, hours=ahead.total_seconds() / 3600)
    if at < when.earliest:
        raise no.ClockNotSet(at=at, earliest=when.earliest[:10])


def _unit(attribute: str, unit: Any) -> str:
    if unit.__class__ is not str or not 0 < len(unit) <= LONGEST_UNIT or not unit.isascii() or not unit.isalnum():
        raise no.BadUnit(attribute=attribute, unit=shown(unit))
    return unit


def _check_numbers(attribute: str, value: Any, depth: int) -> None:
    """Raises NaN or TooDeep for what hides anywhere in a value."""
    cls = value.__class__
    if cls is float:
        if not isfinite(value):
            raise no.NaN(attribute=attribute)
    elif cls is dict or cls is list:
        if depth > MOST_DEPTH:
            raise no.TooDeep()
        for part in value.values() if cls is dict else value:
            _check_numbers(attribute, part, depth + 1)


_TELLING = frozenset({"value", "languageMap", "vocab", "json", "valueList", "objectList"})


def _is_ngsi(value: Any) -> bool:
    """Whether a value was written as an NGSI-LD attribute, not as the bare value of the default payload."""
    if value.__class__ is list:
        return any(map(_is_ngsi, value))
    return value.__class__ is dict and (not _TELLING.isdisjoint(value) or value.get("type") in VALUE_MEMBER)


def _json_kind(value: Any) -> str:
    return {str: "string", bool: "boolean", int: "number", float: "number", list: "array"}.get(value.__class__, "null")


def _part(thing: Any) -> bytes:
    return json.dumps(thing, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _set_aside(thing: Doc, bad: list[tuple[str, Refusal]]) -> list[Refused]:
    """One part per reason: the head of the object and the attributes refused for that reason."""
    by_reason: dict[str, tuple[Refusal, list[str]]] = {}
    for key, error in bad:
        by_reason.setdefault(error.code, (error, []))[1].append(key)
    head = {key: thing[key] for key in thing if key in _HEAD}
    return [
        Refused(error, _part({**head, **{key: thing[key] for key in keys if key}} if keys != [""] else thing))
        for error, keys in by_reason.values()
    ]
