"""One thing of the city and short ways to change it, for the tests of writes."""

from __future__ import annotations

from typing import Any

from sejong.hub.ngsi.change import (
    Change,
    create,
    partial_update_attr,
    replace_attr,
)
from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.entity import Mode, expand_attribute, expand_entity, expand_fragment
from sejong.hub.ngsi.members import DEFAULT_CONTEXT

T0 = "2026-11-22T10:00:00.000000Z"
T1 = "2026-11-22T11:00:00.000000Z"
T2 = "2026-11-22T12:00:00.000000Z"
OBSERVED = "2026-11-22T09:00:00Z"
URI = "urn:ngsi-ld:Thing:1"
GPS = "urn:ngsi-ld:Dataset:gps"
D = DEFAULT_CONTEXT
POINT = {"type": "Point", "coordinates": [127.25, 36.5]}


def stored(**members: Any) -> dict[str, Any]:
    entity = create(expand_entity({"id": URI, "type": "Thing", **members}, CORE, now=T0), T0).entity
    assert entity is not None
    return entity


def fragment(mode: Mode, /, **members: Any) -> dict[str, Any]:
    return expand_fragment(members, CORE, now=T1, mode=mode)


def one(change: Change, name: str = "a") -> dict[str, Any]:
    assert change.entity is not None
    (instance,) = change.entity[CORE.expand(name)]
    return instance


def told(change: Change) -> list[tuple[str, str | None, int]]:
    return [(CORE.compact(attribute), dataset, op) for attribute, dataset, _, op in change.ops]


def partial(old: dict[str, Any], body: Any, name: str = "a") -> Change:
    return partial_update_attr(old, *expand_attribute(body, name, CORE, now=T1, mode="partial"), T1)


def replaced(old: dict[str, Any], body: Any, name: str = "a") -> Change:
    return replace_attr(old, *expand_attribute(body, name, CORE, now=T1, mode="replace"), T1)
