"""Linked entities in the answer: inside the Relationships that lead to them, or after the entities themselves.

Source: ETSI GS CIM 009 v1.9.1 clauses 4.5.23 (linked entity retrieval), 5.7.1, 5.7.2. Every Relationship at the top
level of an entity that leads to an entity of this record is followed, in the order the answer shows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec

from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.errors import TooManyResults
from sejong.hub.ngsi.projection import Projection
from sejong.hub.ngsi.qmatch import targets
from sejong.hub.service import Hub

Doc = dict[str, Any]


class Joining(msgspec.Struct, frozen=True):
    """That linked entities are wanted too: inside the Relationships, or after the entities (`flat`)."""

    flat: bool
    level: int
    contained: frozenset[str]
    """Ids that are shown already and must not be shown again."""


class Shown(Protocol):
    """How somebody wants to see entities: whoever sent a query, or a subscriber."""

    context: Context
    projection: Projection
    datasets: frozenset[str] | None
    format: str
    geo: bool

    def show(self, entity: Doc, projection: Projection | None = None) -> Doc:
        """One entity as it is wanted."""
        ...

    def plain(self, entity: Doc, projection: Projection | None = None) -> Doc:
        """The same, not as a Feature of a map."""
        ...

    def something(self, body: Doc) -> bool:
        """Whether anything of an entity is left."""
        ...


MOST_LINKED = 10_000
"""Linked entities in one answer at most. Chosen."""
_LINKS = ("Relationship", "ListRelationship")


async def shown_with_links(hub: Hub, tenant: int, shown: Shown, joining: Joining, entities: Sequence[Doc]) -> list[Doc]:
    """The entities as the client wants them, with those they link to. Raises TooManyResults."""
    reached = await _reach(hub, tenant, shown, joining, entities)
    if not joining.flat:
        return [_inlined(shown, reached, entity, joining) for entity in entities]
    first = {entity["id"] for entity in entities}
    others = [shown.show(*found) for one, found in reached.items() if one not in first]
    return [shown.show(entity) for entity in entities] + [body for body in others if shown.something(body)]


async def _reach(
    hub: Hub, tenant: int, shown: Shown, joining: Joining, entities: Sequence[Doc]
) -> dict[str, tuple[Doc, Projection]]:
    """Every entity that is to be shown, by id, with the projection of the link that led to it first."""
    reached = {entity["id"]: (entity, shown.projection) for entity in entities}
    frontier = list(reached.values())
    for _ in range(joining.level):
        wanted: dict[str, Projection] = {}
        for entity, projection in frontier:
            for key, instance in _links(entity, projection, shown):
                for target in targets(instance):
                    if target not in reached and target not in joining.contained:
                        wanted.setdefault(target, projection.of_link(key))
        if len(reached) + len(wanted) > MOST_LINKED + len(entities):
            raise TooManyResults(f"the answer would hold more than {MOST_LINKED} linked entities")
        found = await hub.found(tenant, list(wanted))
        fresh = {one: (found[one], projection) for one, projection in wanted.items() if one in found}
        reached.update(fresh)
        frontier = list(fresh.values())
    return reached


def _links(entity: Doc, projection: Projection, shown: Shown) -> Iterator[tuple[str, Doc]]:
    for key, instances in entity.items():
        if ":" in key and projection.shows(key):
            for instance in instances:
                if instance["type"] in _LINKS and _wanted(instance, shown):
                    yield key, instance


def _wanted(instance: Doc, shown: Shown) -> bool:
    return shown.datasets is None or instance.get("datasetId", "@none") in shown.datasets


def _inlined(shown: Shown, reached: dict[str, tuple[Doc, Projection]], entity: Doc, joining: Joining) -> Doc:
    body = shown.show(entity)
    inside = _Inside(shown, {one: found for one, (found, _) in reached.items()})
    trail = joining.contained | {entity["id"]}
    inside.fill(entity, body["properties"] if shown.geo else body, shown.projection, joining.level, trail)
    return body


class _Inside:
    """Puts linked entities into the Relationships of shown ones."""

    def __init__(self, shown: Shown, known: dict[str, Doc]) -> None:
        self.shown, self.known = shown, known

    def fill(self, entity: Doc, body: Doc, projection: Projection, level: int, trail: frozenset[str]) -> None:
        """Fill the shown `body` of an entity as many links deep as `level` says, never back along the `trail`."""
        if not level:
            return
        for key in dict.fromkeys(key for key, _ in _links(entity, projection, self.shown)):
            name = self.shown.context.compact(key)
            instances = [one for one in entity[key] if _wanted(one, self.shown)]
            below = projection.of_link(key)
            if self.shown.format == "simplified":
                body[name] = self._simplified(instances, body[name], below, level, trail)
                continue
            bodies = body[name] if isinstance(body[name], list) else [body[name]]
            for instance, written in zip(instances, bodies, strict=True):
                self._into(instance, written, below, level, trail)

    def _into(self, instance: Doc, written: Doc, below: Projection, level: int, trail: frozenset[str]) -> None:
        found = [entity for one in self._targets(instance) if (entity := self._linked(one, below, level, trail))]
        if not found:
            return
        if isinstance(instance.get("object"), str):
            written["entity"] = found[0]
        else:
            written["entityList"] = found

    def _simplified(
        self, instances: list[Doc], written: Any, below: Projection, level: int, trail: frozenset[str]
    ) -> Any:
        if len(instances) > 1:
            parts = written["dataset"]
            for instance in instances:
                name = instance.get("datasetId", "@none")
                parts[name] = self._simplified([instance], parts[name], below, level, trail)
            return written
        (instance,) = instances
        if instance["type"] not in _LINKS:
            return written
        found = [self._linked(one, below, level, trail) or one for one in self._targets(instance)]
        return found[0] if isinstance(instance.get("object"), str) else found

    def _targets(self, instance: Doc) -> list[str]:
        return targets(instance) if instance["type"] in _LINKS else []

    def _linked(self, one: str, below: Projection, level: int, trail: frozenset[str]) -> Doc | None:
        entity = None if one in trail else self.known.get(one)
        if entity is None:
            return None
        body = self.shown.plain(entity, below)
        self.fill(entity, body, below, level - 1, trail | {one})
        return body
