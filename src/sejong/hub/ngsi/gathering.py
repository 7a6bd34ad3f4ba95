"""One entity from what several hubs know of it: reading their answers, and uniting the parts.

Source: ETSI GS CIM 009 v1.9.1 clause 4.5.5.3 (merging by observedAt, then modifiedAt; auxiliary sources fill gaps).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.entity import expand_entity
from sejong.hub.ngsi.grammar import instant_key, known_instant
from sejong.hub.ngsi.members import ENTITY_HEAD, Doc


class Told(Struct, frozen=True):
    """What one hub knows of an entity (expanded); `auxiliary`: to be used only where nobody else says anything."""

    entity: Doc
    auxiliary: bool = False


def read_told(body: Any, ctx: Context, now: str) -> Doc | None:
    """A normalized entity another hub answered, as the hub keeps entities, its times kept; None if it has expired.

    Raises BadRequestData when it is no entity.
    """
    if not isinstance(body, dict):
        return expand_entity(body, ctx, now=now)
    if _expired(body, now):
        return None
    living = {key: kept for key, value in body.items() if (kept := _living(value, now)) is not None}
    entity = expand_entity(living, ctx, now=now)
    _keep_times(body, entity)
    for key, value in living.items():
        if key in ENTITY_HEAD or key == "@context" or not isinstance(value, dict | list):
            continue
        instances = entity.get(ctx.expand(key))
        if isinstance(instances, list):
            _keep_instance_times(value if isinstance(value, list) else [value], instances)
    return entity


def _living(value: Any, now: str) -> Any:
    """A member without the instances that have expired; None when none is left."""
    if isinstance(value, dict):
        return None if _expired(value, now) else value
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return [one for one in value if not _expired(one, now)] or None
    return value


def _expired(node: Doc, now: str) -> bool:
    at = node.get("expiresAt")
    return isinstance(at, str) and known_instant(at) and instant_key(at) <= now


def _keep_times(given: Doc, into: Doc) -> None:
    for name in ("createdAt", "modifiedAt"):
        at = given.get(name)
        if isinstance(at, str) and known_instant(at):
            into[name] = instant_key(at)


def _keep_instance_times(given: list[Any], instances: list[Doc]) -> None:
    by_dataset = {one.get("datasetId"): one for one in instances if isinstance(one, dict)}
    for one in given:
        if isinstance(one, dict) and one.get("datasetId") in by_dataset:
            _keep_times(one, by_dataset[one.get("datasetId")])


def unite(parts: Sequence[Told]) -> Doc:
    """The whole entity: of every attribute instance the newest, types and scopes of all. The first part is ours."""
    if len(parts) == 1:
        return parts[0].entity
    first = [part.entity for part in parts if not part.auxiliary] or [parts[0].entity]
    out: Doc = {"id": first[0]["id"], "type": _all_of([one["type"] for one in first])}
    scopes = _all_of([one["scope"] for one in first if "scope" in one])
    if scopes:
        out["scope"] = scopes
    for name, choose in (("createdAt", min), ("modifiedAt", max)):
        times = [one[name] for one in first if name in one]
        if times:
            out[name] = choose(times)
    if all("expiresAt" in one for one in first):
        out["expiresAt"] = max((one["expiresAt"] for one in first), key=instant_key)
    chosen: dict[str, dict[str | None, Doc]] = {}
    for entity in first:
        for key, instance in _instances(entity):
            known = chosen.setdefault(key, {})
            dataset = instance.get("datasetId")
            if dataset not in known or _is_newer(instance, known[dataset]):
                known[dataset] = instance
    for part in parts:
        if part.auxiliary:
            for key, instance in _instances(part.entity):
                chosen.setdefault(key, {}).setdefault(instance.get("datasetId"), instance)
    out.update((key, list(by_dataset.values())) for key, by_dataset in chosen.items())
    return out


def _instances(entity: Doc) -> list[tuple[str, Doc]]:
    return [(key, one) for key, instances in entity.items() if key not in ENTITY_HEAD for one in instances]


def _all_of(lists: Sequence[list[str]]) -> list[str]:
    return list(dict.fromkeys(one for items in lists for one in items))


def _is_newer(new: Doc, old: Doc) -> bool:
    if "observedAt" in new and "observedAt" in old:
        a, b = instant_key(new["observedAt"]), instant_key(old["observedAt"])
        if a != b:
            return a > b
    elif ("observedAt" in new) != ("observedAt" in old) and not ("modifiedAt" in new and "modifiedAt" in old):
        return "observedAt" in new
    return instant_key(new.get("modifiedAt", _NEVER)) > instant_key(old.get("modifiedAt", _NEVER))


_NEVER = "0001-01-01T00:00:00.000000Z"
