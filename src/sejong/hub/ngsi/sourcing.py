"""Which context sources a question concerns, and which part of it each.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.12 (matching registrations), 4.3.6 (distributed operations).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from sejong.hub.ngsi.grammar import instant_key
from sejong.hub.ngsi.instants import TemporalFilter, parse_duration, parse_instant
from sejong.hub.ngsi.members import Doc
from sejong.hub.ngsi.patterns import compile_pattern
from sejong.hub.ngsi.source_operations import DEFAULT, offered

Names = frozenset[str]


class Wanted(Struct, frozen=True):
    """Some entities: all given conditions hold. `types`: any of these; None says nothing about that."""

    ids: Names | None = None
    pattern: str | None = None
    types: Names | None = None


ANYTHING: Final = (Wanted(),)


class Information(Struct, frozen=True):
    """One thing a source says it has: attributes (`names`, None: any) of entities."""

    entities: tuple[Wanted, ...]
    names: Names | None


class Part(Struct, frozen=True):
    """The part of a question that concerns one source: these entities, these attributes (None: all of them)."""

    who: tuple[Wanted, ...]
    names: Names | None


class Source(Struct, frozen=True):
    """A registration in the form that is quick to match and to call. Times in seconds."""

    id: str
    doc: Doc
    endpoint: str
    mode: str
    operations: Names
    information: tuple[Information, ...]
    alias: str | None
    tenant: str | None
    headers: tuple[tuple[str, str], ...]
    datasets: Names | None
    expires: str | None
    local_only: bool
    timeout: float | None
    cooldown: float
    cache: float

    @property
    def is_proxied(self) -> bool:
        """Whether what it has is not kept here."""
        return self.mode in ("exclusive", "redirect")

    def alive(self, now: str) -> bool:
        """Whether the registration still holds at a moment."""
        return self.expires is None or self.expires > now

    def part(self, who: Sequence[Wanted], names: Names | None) -> Part | None:
        """What of a question about `who` and the attributes `names` (None: all) concerns this source, if anything."""
        met: dict[Wanted, None] = {}
        attributes: set[str] | None = set()
        for info in self.information:
            found = [one for wanted in who for entity in info.entities if (one := narrowed(entity, wanted))]
            common = _shared(info.names, names)
            if not found or common == frozenset():
                continue
            met.update(dict.fromkeys(found))
            attributes = None if common is None or attributes is None else attributes | common
        if not met:
            return None
        return Part(tuple(met), None if attributes is None else frozenset(attributes))


def _shared(registered: Names | None, asked: Names | None) -> Names | None:
    if registered is None:
        return asked
    return registered if asked is None else registered & asked


def narrowed(entity: Wanted, wanted: Wanted) -> Wanted | None:
    """What two descriptions of entities have in common; None when nothing."""
    types = _shared(entity.types, wanted.types)
    if types == frozenset():
        return None
    ids, pattern = _shared(entity.ids, wanted.ids), None
    for one in (entity.pattern, wanted.pattern):
        if one is None:
            continue
        if ids is None:
            pattern = pattern or one
        else:
            search = compile_pattern(one).search
            ids = frozenset(each for each in ids if search(each))
    if ids == frozenset():
        return None
    return Wanted(ids, pattern, types)


def source_of(doc: Doc) -> Source:
    """A checked registration in the form that is quick to match."""
    management = doc.get("management", {})
    cache = management.get("cacheDuration")
    return Source(
        id=doc["id"],
        doc=doc,
        endpoint=doc["endpoint"].rstrip("/").removesuffix("/ngsi-ld/v1"),
        mode=doc.get("mode", "inclusive"),
        operations=offered(doc.get("operations", DEFAULT)),
        information=tuple(_information_of(info) for info in doc["information"]),
        alias=doc.get("contextSourceAlias"),
        tenant=doc.get("tenant"),
        headers=tuple((pair["key"], pair["value"]) for pair in doc.get("contextSourceInfo", ())),
        datasets=frozenset(doc["datasetId"]) if "datasetId" in doc else None,
        expires=instant_key(doc["expiresAt"]) if "expiresAt" in doc else None,
        local_only=management.get("localOnly", False),
        timeout=management["timeout"] / 1000 if "timeout" in management else None,
        cooldown=management.get("cooldown", 0) / 1000,
        cache=_seconds(cache) if cache else 0.0,
    )


def _seconds(duration: str) -> float:
    span = parse_duration(duration)
    return span.months * 2_629_746 + span.microseconds / 1e6


def _information_of(info: Doc) -> Information:
    names = [*info.get("propertyNames", ()), *info.get("relationshipNames", ())]
    entities = tuple(wanted_of(entity) for entity in info.get("entities", ())) or ANYTHING
    return Information(entities, frozenset(names) if names else None)


def wanted_of(entity: Doc) -> Wanted:
    """An EntityInfo (types as IRIs) in the form that is quick to match; an id makes a pattern beside it pointless."""
    ids, pattern = _set(entity.get("id")), entity.get("idPattern")
    return Wanted(ids, None if ids is not None else pattern, _set(entity.get("type")))


def _set(value: str | Iterable[str] | None) -> Names | None:
    if value is None:
        return None
    return frozenset([value] if isinstance(value, str) else value)


def reduced(doc: Doc, who: Sequence[Wanted], names: Names | None) -> Doc:
    """A registration with only the information that concerns a question (for notifications, clause 5.11.7)."""
    kept = [info for info in doc["information"] if _concerns(info, who, names)]
    return {**doc, "information": kept}


def _concerns(info: Doc, who: Sequence[Wanted], names: Names | None) -> bool:
    parsed = _information_of(info)
    if _shared(parsed.names, names) == frozenset():
        return False
    return any(narrowed(entity, wanted) for wanted in who for entity in parsed.entities)


def covers_time(doc: Doc, asked: TemporalFilter | None) -> bool:
    """Whether a registration speaks of the time asked for: the present if none is, else an interval that overlaps."""
    if asked is None:
        return "observationInterval" not in doc and "managementInterval" not in doc
    member = "observationInterval" if asked.timeproperty == "observedAt" else "managementInterval"
    interval = doc.get(member)
    if interval is None:
        return False
    start = parse_instant(interval["startAt"])
    end = parse_instant(interval["endAt"]) if "endAt" in interval else None
    if asked.end is not None and start >= asked.end:
        return False
    return asked.start is None or end is None or end >= asked.start
