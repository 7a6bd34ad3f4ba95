"""Writing a history directly: what senders say about a thing's past, and what that makes of its present.

Current state and history are one entity: of each attribute (and dataset) the newest instance is the present, whether it
came as a present or as a past. An instance happens at its observedAt, without one at the moment it is written.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.6.11-5.6.16 (temporal provision), 5.2.20 (EntityTemporal), 4.18 (scopes).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from sejong.hub.ngsi.change import CREATED, UPDATED, Op
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.entity import expand_attribute, expand_entity, expand_fragment
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.fault import shown
from sejong.hub.ngsi.grammar import instant_key, is_scope, known_instant
from sejong.hub.ngsi.members import ENTITY_HEAD, GEO_ONLY, NULL, SCOPE, VALUE_MEMBER, Doc
from sejong.hub.ngsi.merging import stored

Which = tuple[str, str | None]
"""An attribute (IRI, or that of scope) and the dataset of one of its series."""
_SCOPE_MEMBERS: Final = frozenset(
    {"type", "value", "observedAt", "createdAt", "modifiedAt", "deletedAt", "instanceId", "@context"}
)


class Evolved(Struct, frozen=True):
    """The present after instances were added: the very same object when it did not change.

    `ops` are the instances that became the present, `past` those that only the history gets.
    """

    entity: Doc | None
    ops: list[Op]
    past: list[Op]


# --- reading what was sent -------------------------------------------------------------------------------------------


def expand_evolution(body: Any, ctx: Context, *, now: str, whole: bool) -> Doc:
    """An EntityTemporal (or a fragment of one: not `whole`) with full IRIs, every attribute a list of its instances.

    A scope, plain or with a history of its own, comes as the attribute of its IRI. Raises BadRequestData.
    """
    scopes: list[Doc] = []
    if isinstance(body, dict):
        named = next((key for key in ("scope", SCOPE) if key in body), None)
        if named is not None:
            scopes = _scopes(body[named])
            body = {**body, named: scopes[-1]["value"]}
    if whole:
        new = expand_entity(body, ctx, now=now, mode="temporal")
    else:
        new = expand_fragment(body, ctx, now=now, mode="temporal")
    if scopes:
        del new["scope"]
        new[SCOPE] = scopes
    return new


def expand_instance(body: Any, name: str, ctx: Context, *, now: str) -> tuple[str, Doc]:
    """The one instance a request to replace an instance brings: bare, or as the attribute `name` of a fragment.

    Raises BadRequestData.
    """
    iri = ctx.attribute(name)
    if isinstance(body, dict):
        body = {key: value for key, value in body.items() if key != "@context"}
        named = [key for key in body if key not in ("id", "type", *VALUE_MEMBER.values()) and ctx.attribute(key) == iri]
        if named and body.keys().isdisjoint(VALUE_MEMBER.values()):
            if body.keys() - {*named[:1], "id", "type"}:
                raise BadRequestData(detail=f"{name}: the fragment must hold this attribute and nothing else")
            body = body[named[0]]
        elif body.keys().isdisjoint(VALUE_MEMBER.values()):
            raise BadRequestData(detail=f"{name}: the body has no value and does not name the attribute")
    if iri == SCOPE:
        instances = _scopes(body)
    else:
        _, instances = expand_attribute(body, name, ctx, now=now, mode="temporal")
    if len(instances) != 1:
        raise BadRequestData(detail=f"{name}: one instance is replaced by one instance, not {len(instances)}")
    return iri, instances[0]


def _scopes(given: Any) -> list[Doc]:
    """The instances of a scope's history, oldest first."""
    parts = given if isinstance(given, list) and any(isinstance(one, dict) for one in given) else [given]
    if given == []:
        raise BadRequestData(detail="scope: an array of scopes must not be empty")
    found = [_scope(one) for one in parts]
    found.sort(key=lambda one: instant_key(one["observedAt"]) if "observedAt" in one else "~")
    return found


def _scope(given: Any) -> Doc:
    instance: Doc = {"type": "Property"}
    value = given
    if isinstance(given, dict):
        unknown = given.keys() - _SCOPE_MEMBERS
        if unknown or given.get("type", "Property") != "Property" or "value" not in given:
            raise BadRequestData(detail="scope: must be scopes, or Properties with a value and an observedAt")
        value = given["value"]
        if "observedAt" in given:
            if not (isinstance(given["observedAt"], str) and known_instant(given["observedAt"])):
                raise BadRequestData(detail=f"scope: observedAt: {shown(given['observedAt'])} is not a UTC DateTime")
            instance["observedAt"] = given["observedAt"]
    names = value if isinstance(value, list) else [value]
    if not names or not all(map(is_scope, names)):
        raise BadRequestData(detail=f"scope: {shown(value)} is not a scope such as /Sejong/Nasung")
    return {**instance, "value": list(dict.fromkeys(names))}


# --- what it makes of the present ------------------------------------------------------------------------------------


def series(new: Doc) -> Iterator[tuple[Which, list[Doc]]]:
    """The instances of an expanded evolution by attribute and dataset, each series oldest first.

    Of several with one observedAt the last one said counts; one without observedAt is the newest.
    """
    for attribute, instances in new.items():
        if attribute in ENTITY_HEAD:
            continue
        groups: dict[str | None, list[Doc]] = {}
        for instance in instances:
            groups.setdefault(instance.get("datasetId"), []).append(instance)
        for dataset, group in groups.items():
            timed = {instant_key(one["observedAt"]): one for one in group if "observedAt" in one}
            untimed = [one for one in group if "observedAt" not in one]
            yield (attribute, dataset), [*(timed[key] for key in sorted(timed)), *untimed]


def unsettled(old: Doc | None, new: Doc) -> list[Which]:
    """Which series of `new` the present says nothing about: their newest instance in the history must be asked."""
    return [which for which, _ in series(new) if which[0] == SCOPE or present_of(old, which) is None]


def add_instances(old: Doc | None, new: Doc, now: str, newest: Mapping[Which, str], ended: str | None) -> Evolved:
    """Instances enter the history; where they are the newest of their series they become the present.

    `old` is the entity as it lives now, None if it does not; `ended` (27-character text) when it was deleted, None if
    it never was. `newest` says of the series in `unsettled` when their newest known instance happened. An entity that
    was deleted lives again only through an instance from after its deletion.
    """
    entity: Doc = {"id": new["id"], "type": list(new.get("type", ())), "createdAt": now, "modifiedAt": now}
    if old is not None:
        entity = dict(old)
        entity["type"] = list(dict.fromkeys([*old["type"], *new.get("type", ())]))
    changed = (old is None and ended is None) or (old is not None and entity["type"] != old["type"])
    if "expiresAt" in new and new["expiresAt"] != NULL and (old is None or old.get("expiresAt") != new["expiresAt"]):
        entity["expiresAt"] = new["expiresAt"]
        changed = changed or old is not None
    ops: list[Op] = []
    past: list[Op] = []
    for which, instances in series(new):
        current = present_of(old, which)
        since = newest.get(which, "") if current is None or which[0] == SCOPE else _moment(current)
        if old is None:
            since = max(since, ended or "")
        becomes = _happened(instances[-1], now) >= since
        past.extend((*which, stored(instance, now), UPDATED) for instance in instances[: -1 if becomes else None])
        if becomes:
            made = stored(instances[-1], now, current)
            set_present(entity, which, made)
            ops.append((*which, made, CREATED if current is None else UPDATED))
            changed = True
    if not changed:
        return Evolved(old, ops, past)
    entity["modifiedAt"] = now
    return Evolved(entity, ops, past)


def present_of(entity: Doc | None, which: Which) -> Doc | None:
    """The present instance of a series, None if there is none (a scope as the Property histories show it as)."""
    attribute, dataset = which
    if entity is None:
        return None
    if attribute == SCOPE:
        return {"type": "Property", "value": entity["scope"]} if "scope" in entity else None
    return next((one for one in entity.get(attribute, ()) if one.get("datasetId") == dataset), None)


def set_present(entity: Doc, which: Which, instance: Doc | None) -> None:
    """Make an instance the present of its series, or leave the series without one; changes `entity` (a copy)."""
    attribute, dataset = which
    if attribute == SCOPE:
        entity.pop("scope", None)
        if instance is not None:
            entity["scope"] = instance["value"]
        return
    if attribute in GEO_ONLY and instance is not None and instance["type"] != "GeoProperty":
        raise BadRequestData(detail=f"{attribute}: must be a GeoProperty")
    others = [one for one in entity.get(attribute, ()) if one.get("datasetId") != dataset]
    added = [] if instance is None else [instance]
    if left := [*added, *others] if dataset is None else [*others, *added]:
        entity[attribute] = left
    else:
        entity.pop(attribute, None)


def _happened(instance: Doc, now: str) -> str:
    return instant_key(instance["observedAt"]) if "observedAt" in instance else now


def _moment(current: Doc) -> str:
    return instant_key(current["observedAt"]) if "observedAt" in current else current.get("modifiedAt", "")
