"""What a subscriber is told of one change: the difference between two states of a thing, and how it is worded.

Source: ETSI GS CIM 009 v1.9.1 clauses 4.5.x (previous values, NGSI-LD Null), 5.2.12 (triggers), 5.8.6 (content).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sejong.hub.ngsi.members import ENTITY_HEAD, SCOPE, VALUE_MEMBER, Doc
from sejong.hub.ngsi.merging import tombstone

CREATED: Final = 1
UPDATED: Final = 2
DELETED: Final = 4

Changed = tuple[int, Doc | None, Doc | None]
"""CREATED, UPDATED or DELETED; the instance before; the instance after."""
Changes = dict[str, list[Changed]]
"""Attribute IRI (or that of scope) → what became of its instances. Attributes that say the same are absent."""
_TIMES: Final = frozenset({"createdAt", "modifiedAt"})


def touched(before: Doc | None, after: Doc | None) -> list[str]:
    """The attributes that may have changed: a quick answer, for states share what a write has not touched."""
    if before is None or after is None:
        return [key for key in before or after or {} if key not in ENTITY_HEAD]
    find = before.get
    keys = [key for key, value in after.items() if find(key) is not value and key not in ENTITY_HEAD]
    if len(before) != len(after) or before.keys() != after.keys():
        keys.extend([key for key in before if key not in after and key not in ENTITY_HEAD])
    return keys


def changes(before: Doc | None, after: Doc | None, keys: Iterable[str] | None = None) -> Changes:
    """What really changed between two states of an entity (only in `keys`, those `touched`, if they are known).

    Instances that only got new system times did not change.
    """
    found: Changes = {}
    old, new = before or {}, after or {}
    for key in touched(before, after) if keys is None else keys:
        if key == SCOPE:
            continue
        were, are = old.get(key), new.get(key)
        if were is None:
            found[key] = [(CREATED, None, one) for one in are or ()]
        elif are is None:
            found[key] = [(DELETED, one, None) for one in were]
        else:
            _compare(key, were, are, found)
    if old.get("scope") != new.get("scope"):
        kind = CREATED if "scope" not in old else DELETED if "scope" not in new else UPDATED
        found[SCOPE] = [(kind, None, None)]
    return found


def _compare(key: str, were: list[Doc], are: list[Doc], found: Changes) -> None:
    if len(were) == 1 == len(are) and were[0].get("datasetId") == are[0].get("datasetId"):
        if were[0] is not are[0] and not says_the_same(were[0], are[0]):
            found[key] = [(UPDATED, were[0], are[0])]
        return
    parts: list[Changed] = []
    left = {one.get("datasetId"): one for one in were}
    for one in are:
        was = left.pop(one.get("datasetId"), None)
        if was is None:
            parts.append((CREATED, None, one))
        elif was is not one and not says_the_same(was, one):
            parts.append((UPDATED, was, one))
    parts.extend([(DELETED, gone, None) for gone in left.values()])
    if parts:
        found[key] = parts


def says_the_same(one: Any, other: Any) -> bool:
    """Whether two attribute instances differ at most in the hub's own times, at any depth."""
    if one.__class__ is not other.__class__:
        return False
    if one.__class__ is dict:
        value, was = one.get("value"), other.get("value")
        if value.__class__ is was.__class__ and value != was:
            return False  # the usual case, settled at once
        if one.keys() - _TIMES != other.keys() - _TIMES:
            return False
        return all(
            _same_parts(value, other[key]) if ":" in key else _same_value(value, other[key])
            for key, value in one.items()
            if key not in _TIMES
        )
    return one == other


def _same_parts(one: Any, other: Any) -> bool:
    if not isinstance(one, list) or not isinstance(other, list):
        return _same_value(one, other)
    return len(one) == len(other) and all(map(says_the_same, one, other))


def _same_value(one: Any, other: Any) -> bool:
    """JSON equality: 1 is 1.0, but true is not 1, at any depth."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same_value, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same_value(value, other[key]) for key, value in one.items())
    return one == other


def flags(parts: list[Changed], datasets: frozenset[str] | None = None) -> int:
    """CREATED, UPDATED and DELETED as they occur in an attribute, or only in these datasets of it."""
    found = 0
    for kind, old, new in parts:
        if datasets is None or (new or old or {}).get("datasetId", "@none") in datasets:
            found |= kind
    return found


# --- how it is worded ---------------------------------------------------------------------------------------------


def previous(instance: Doc, old: Doc) -> Doc:
    """An instance that also says what its value was before."""
    member = VALUE_MEMBER[old["type"]]
    return {**instance, f"previous{member[0].upper()}{member[1:]}": old[member]}


def entity_gone(before: Doc, now: str, *, with_previous: bool) -> Doc:
    """A thing that has left the record: its head, and with previous values every attribute as Null."""
    told = _departed(before, now)
    if with_previous:
        for key, instances in before.items():
            if key not in ENTITY_HEAD:
                told[key] = [previous(tombstone(one, now), one) for one in instances]
    return told


def attributes_gone(before: Doc, changed: Changes, now: str, *, with_previous: bool) -> Doc:
    """A thing that has left the record, told to those who watch its attributes: these as Null."""
    told = _departed(before, now)
    for key, parts in changed.items():
        if key != SCOPE:
            told[key] = _buried(parts, now, with_previous)
    return told


def _departed(before: Doc, now: str) -> Doc:
    head = {key: before[key] for key in ("id", "type", "createdAt", "modifiedAt") if key in before}
    return head | {"deletedAt": now}


def _buried(parts: list[Changed], now: str, with_previous: bool) -> list[Doc]:
    gone = [old for kind, old, _ in parts if kind == DELETED and old is not None]
    return [previous(tombstone(old, now), old) if with_previous else tombstone(old, now) for old in gone]


def entity_now(after: Doc, changed: Changes, now: str, *, with_deleted: bool, with_previous: bool) -> Doc:
    """A thing as it is now; deleted attributes as Null and previous values only if wanted.

    The very same object as `after` when there is nothing to add.
    """
    told: Doc | None = None
    for key, parts in changed.items():
        if key == SCOPE:
            continue
        instances: list[Doc] = after.get(key, [])
        if with_previous:
            was = {id(new): old for kind, old, new in parts if kind == UPDATED and old is not None}
            instances = [previous(one, was[id(one)]) if id(one) in was else one for one in instances]
        if with_deleted:
            instances = [*instances, *_buried(parts, now, with_previous)]
        if instances and instances != after.get(key):
            told = dict(after) if told is None else told
            told[key] = instances
    return after if told is None else told
