"""What readings do to a thing: a pure function from the entity as it is to the entity as it will be.

Of one attribute, the newest observation stands; the same time with another value corrects it; the same time with the
same value is a repetition and changes nothing; an older one goes into the history only. Any order and any repetition
of the same readings therefore ends in the same state and the same history.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec

from sejong.hub.ingest.reading import Doc, Reading
from sejong.hub.ingest.refusals import UnknownEntity
from sejong.hub.ngsi.grammar import instant_key
from sejong.hub.ngsi.members import VALUE_MEMBER
from sejong.hub.ngsi.merging import stored
from sejong.hub.writer import Apply, Op, Outcome

NEW, DUPLICATE, LATE = 0, 1, 2
"""What became of a reading: it is the present state; it was known; it went into the history (if not yet there)."""
CREATED, UPDATED = 1, 2
_TIMES = ("createdAt", "modifiedAt", "observedAt")
_by_time = attrgetter("at")


class Fates(msgspec.Struct, frozen=True):
    """What became of the readings, in the order of `readings`, and how many changed the kind of their value."""

    readings: Sequence[Reading]
    fates: list[int]
    retyped: int


def apply_readings(readings: Sequence[Reading]) -> Apply:
    """The change all these readings of ONE thing make, for `Writer.write_all`. `Outcome.answer` is a Fates.

    Raises UnknownEntity (when applied) if the thing is not in the record and no reading brings its type.
    """
    ordered = sorted(readings, key=_by_time) if len(readings) > 1 else readings

    def apply(entity: Doc | None, now: str) -> Outcome:
        draft = _Draft(_begun(ordered, now) if entity is None else dict(entity), now)
        for reading in ordered:
            draft.take(reading)
        if draft.changed:
            draft.entity["modifiedAt"] = now
            entity = draft.entity
        return Outcome(entity, draft.ops, draft.late, Fates(ordered, draft.fates, draft.retyped))

    return apply


def _begun(readings: Sequence[Reading], now: str) -> Doc:
    for reading in readings:
        if reading.types:
            return {"id": reading.entity, "type": reading.types, "createdAt": now, "modifiedAt": now}
    raise UnknownEntity(id=readings[0].entity)


class _Draft:
    """The entity while readings are laid into it."""

    __slots__ = ("changed", "entity", "fates", "late", "now", "ops", "retyped")

    def __init__(self, entity: Doc, now: str) -> None:
        self.entity = entity
        self.now = now
        self.ops: list[Op] = []
        self.late: list[Op] = []
        self.fates: list[int] = []
        self.retyped = 0
        self.changed = False

    def take(self, reading: Reading) -> None:
        instances = self.entity.get(reading.attribute)
        new = reading.instance
        dataset = new.get("datasetId")
        if instances is None:
            self.put(reading, None, dataset, [])
            return
        current = instances[0]
        if len(instances) > 1 or dataset is not None or "datasetId" in current:
            current = next((one for one in instances if one.get("datasetId") == dataset), None)
            if current is None:
                self.put(reading, None, dataset, instances)
                return
        before = current.get("observedAt", "")
        if len(before) != 27 and before:
            before = instant_key(before)
        at = reading.at
        if at > before and not (reading.uncertain and _same(current, new)):
            self.put(reading, current, dataset, instances)
        elif at and at < before:
            self.keep_late((reading.attribute, dataset, _with_unit(new, current), UPDATED))
            self.fates.append(LATE)
        elif _same(current, new):
            self.fates.append(DUPLICATE)
        else:
            self.put(reading, current, dataset, instances, seen=bool(at))

    def put(
        self, reading: Reading, current: Doc | None, dataset: str | None, instances: list[Doc], *, seen: bool = False
    ) -> None:
        """Make the reading the present state. `seen`: its time is known, so the history may already have it."""
        new = reading.instance if current is None else _with_unit(reading.instance, current)
        if current is not None and not _same_kind(current, new):
            self.retyped += 1
        made = _written(new, current, self.now)
        if len(instances) < 2 and (current is not None or not instances):
            self.entity[reading.attribute] = [made]
        elif current is not None:
            self.entity[reading.attribute] = [made if one is current else one for one in instances]
        else:
            self.entity[reading.attribute] = [made, *instances] if dataset is None else [*instances, made]
        op = (reading.attribute, dataset, made, CREATED if current is None else UPDATED)
        if seen:
            self.keep_late(op)
        else:
            self.ops.append(op)
        self.fates.append(NEW)
        self.changed = True

    def keep_late(self, op: Op) -> None:
        """Into the history if it is not there: the writer looks for it among what is committed, we among our own."""
        if not any(_is_said(known, op) for known in self.ops):
            self.late.append(op)


def _is_said(known: Op, op: Op) -> bool:
    """Whether one line of history says what another does."""
    one, other = known[2], op[2]
    if known[:2] != op[:2] or one is None or other is None or one.get("observedAt") != other["observedAt"]:
        return False
    return _same(one, other)


def _written(new: Doc, current: Doc | None, now: str) -> Doc:
    """The instance as it is stored: its times set, createdAt kept."""
    for key, value in new.items():
        if ":" in key and not (value[0].get("value") is True and len(value[0]) == 2):  # a bare mark needs no times
            return stored(new, now, current)
    created = now if current is None else current.get("createdAt", now)
    return {**new, "createdAt": created, "modifiedAt": now}


def _with_unit(new: Doc, current: Doc) -> Doc:
    """A number without a unit keeps the unit the attribute had."""
    if "unitCode" in new or "unitCode" not in current or current["type"] != "Property" or new["type"] != "Property":
        return new
    cls = new["value"].__class__
    return {**new, "unitCode": current["unitCode"]} if cls is int or cls is float else new


def _same(current: Doc, new: Doc) -> bool:
    """Whether an instance says again what is known (times aside)."""
    if not _same_kind(current, new):
        return False
    new = _with_unit(new, current)
    if current.get(VALUE_MEMBER[new["type"]]) != new[VALUE_MEMBER[new["type"]]]:
        return False
    return _bare(current) == _bare(new)


def _bare(instance: Doc) -> Doc:
    """An instance without what writing adds, at any depth."""
    return {
        key: [_bare(sub) for sub in value] if ":" in key and value.__class__ is list else value
        for key, value in instance.items()
        if key not in _TIMES
    }


def _same_kind(current: Doc, new: Doc) -> bool:
    kind = new["type"]
    if current["type"] != kind:
        return False
    if kind != "Property":
        return True
    return _json_kind(current["value"]) is _json_kind(new["value"])


def _json_kind(value: Any) -> type:
    cls = value.__class__
    return float if cls is int else cls
