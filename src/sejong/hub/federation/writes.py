"""Writing together: which part of a change belongs to which hub, and what became of each part.

What an exclusive or redirecting source holds is not written here; inclusive sources that take the operation get a
copy of what concerns them. Source: ETSI GS CIM 009 v1.9.1 clauses 4.3.6, 5.6 (distributed provision), 4.20.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from sejong.hub.calls import Reply, SourceFault
from sejong.hub.federation.faults import failure_of
from sejong.hub.federation.journey import Journey
from sejong.hub.ngsi.change import Change
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.errors import Conflict, ResourceNotFound
from sejong.hub.ngsi.members import ENTITY_HEAD, Doc
from sejong.hub.ngsi.present import Writer, present
from sejong.hub.ngsi.sourcing import Names, Part, Source, Wanted
from sejong.kernel.errors import CityError

AT_ONCE = 20
"""Calls to one source at once when it takes no batches. Chosen."""


class Action(Struct, frozen=True, kw_only=True):
    """One operation on entities as other hubs know it."""

    name: str
    """What a registration calls it."""
    method: str
    below: str = ""
    """Where below the entity: ``/attrs`` or ``/attrs/`` and the attribute."""
    batch: str = ""
    """The same for many entities: the last part of its path."""
    params: Mapping[str, str] = {}

    def is_taken_by(self, source: Source) -> bool:
        """Whether a source offers it, one by one or for many."""
        return self.name in source.operations or f"{self.batch}Batch" in source.operations


CREATE = Action(name="createEntity", method="POST", batch="create")


class Share(Struct, frozen=True):
    """The part of a change that belongs to one source: these attributes of it, or all (None)."""

    source: Source
    names: Names | None


class Plan(Struct, frozen=True):
    """Who does what of one change. `local`: the attributes that are written here; None: nothing is."""

    shares: tuple[Share, ...]
    local: Names | None


class Outcome(Struct, frozen=True):
    """What became of one part (`share` None: of ours)."""

    share: Share | None
    names: Names
    error: CityError | None = None
    change: Change | None = None
    reply: Reply | None = None


def attributes_of(fragment: Doc) -> Names:
    """The attributes a change is about."""
    return frozenset(key for key in fragment if key not in ENTITY_HEAD)


def planned(journey: Journey, entity_id: str, types: Names | None, names: Names, action: Action) -> Plan:
    """Divide a change of these attributes (none: of the entity as a whole) between us and the sources."""
    who = (Wanted(ids=frozenset({entity_id}), types=types),)
    matches = journey.hub.registry.matching(journey.tenant, who, None, via=journey.origin.via)
    by_mode: dict[str, list[tuple[Source, Part]]] = {}
    for source, part in matches:
        by_mode.setdefault(source.mode, []).append((source, part))
    shares: list[Share] = []
    left, gone = names, False
    for source, part in by_mode.get("exclusive", ()):
        taken = (part.names or left) if not names else left & (part.names or left)
        if taken or not names:
            shares.append(Share(source, taken or None))
            left -= taken
    redirected: Names = frozenset()
    for source, part in by_mode.get("redirect", ()):
        taken = None if part.names is None else left & part.names
        if taken is None or taken or not names:
            shares.append(Share(source, taken))
            redirected |= left if taken is None else taken
            gone = gone or taken is None
    for source, part in by_mode.get("inclusive", ()):
        common = left if part.names is None else left & part.names
        if action.is_taken_by(source) and (common or not names):
            shares.append(Share(source, part.names if part.names is None else common))
    left -= redirected
    nothing_left = gone or (bool(names) and not left)
    return Plan(tuple(shares), None if nothing_left and any(s.source.is_proxied for s in shares) else left)


def part_of(fragment: Doc, names: Names | None) -> Doc:
    """The part of a change that concerns some attributes."""
    if names is None:
        return fragment
    return {key: value for key, value in fragment.items() if key in names or key in ("id", "type", "expiresAt")}


def remainder(fragment: Doc, plan: Plan) -> Doc:
    """The part of a change that is written here."""
    kept = plan.local or frozenset()
    return {key: value for key, value in fragment.items() if key in ENTITY_HEAD or key in kept}


async def carry_out(
    journey: Journey,
    entity_id: str,
    plan: Plan,
    action: Action,
    fragment: Doc,
    local: Callable[[Doc], Awaitable[Change]],
    attribute: str | None = None,
) -> list[Outcome]:
    """Do every part of a change at once; ours comes first. `attribute`: the only one, when the path names it."""

    async def ours() -> list[Outcome]:
        if plan.local is None:
            return []
        mine = remainder(fragment, plan)
        try:
            return [Outcome(None, attributes_of(mine), change=await local(mine))]
        except CityError as error:
            return [Outcome(None, attributes_of(mine), error)]

    async def theirs(share: Share) -> list[Outcome]:
        return [await _send(journey, entity_id, share, action, fragment, attribute)]

    parts = await asyncio.gather(ours(), *map(theirs, plan.shares))
    return [outcome for part in parts for outcome in part]


async def _send(
    journey: Journey, entity_id: str, share: Share, action: Action, fragment: Doc, attribute: str | None
) -> Outcome:
    source, part = share.source, part_of(fragment, share.names)
    names = attributes_of(part)
    if action.name not in source.operations:
        return Outcome(share, names, Conflict(f"{source.id} holds this and does not take {action.name}"))
    try:
        ctx = await journey.naming(source)
        body = _body(part, ctx, action, attribute)
        path = (
            "/entities" + ("" if action is CREATE else f"/{quote(entity_id, safe='')}") + _below(action, attribute, ctx)
        )
        reply = await journey.call(source, action.method, path, action.params, body)
    except SourceFault as fault:
        return Outcome(share, names, failure_of(fault))
    if reply.status == 404:
        return Outcome(share, names, ResourceNotFound(f"{source.id} does not know {entity_id}"), reply=reply)
    return Outcome(share, names, reply=reply)


def _below(action: Action, attribute: str | None, ctx: Context) -> str:
    return action.below if attribute is None else f"/attrs/{quote(ctx.compact(attribute), safe='')}"


def _body(part: Doc, ctx: Context, action: Action, attribute: str | None) -> Any:
    if action.method == "DELETE":
        return None
    if attribute is not None:
        return Writer(ctx, "normalized", sys_attrs=True).attribute(part[attribute])
    return present(part, ctx, sys_attrs=True)


# --- many entities ----------------------------------------------------------------------------------------------------


class Item(Struct, frozen=True):
    """One entity of a batch and who does what of it."""

    entity: Doc
    plan: Plan


async def carry_out_batch(
    journey: Journey, action: Action, items: Sequence[Item]
) -> tuple[list[list[Outcome]], list[str]]:
    """Send the parts of many entities, each source in one request; per item what became of it, and ids newly made."""
    by_source: dict[str, list[tuple[int, Share]]] = {}
    for place, item in enumerate(items):
        for share in item.plan.shares:
            by_source.setdefault(share.source.id, []).append((place, share))
    results: list[list[Outcome]] = [[] for _ in items]
    made: list[str] = []

    async def one_source(shares: list[tuple[int, Share]]) -> None:
        outcomes = await _send_batch(journey, action, [(items[place].entity, share) for place, share in shares], made)
        for (place, _), outcome in zip(shares, outcomes, strict=True):
            results[place].append(outcome)

    await asyncio.gather(*map(one_source, by_source.values()))
    return results, made


async def _send_batch(
    journey: Journey, action: Action, parts: list[tuple[Doc, Share]], made: list[str]
) -> list[Outcome]:
    source = parts[0][1].source
    if f"{action.batch}Batch" not in source.operations:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(entity: Doc, share: Share) -> Outcome:
            async with gate:
                return await _send(journey, entity["id"], share, action, entity, None)

        return await asyncio.gather(*(one(*part) for part in parts))
    try:
        ctx = await journey.naming(source)
        body: list[Any] = [entity["id"] for entity, _ in parts]
        if action.batch != "delete":
            body = [present(part_of(entity, share.names), ctx, sys_attrs=True) for entity, share in parts]
        reply = await journey.call(source, "POST", f"/entityOperations/{action.batch}", action.params, body)
        wrong = _refused(source, reply)
    except SourceFault as fault:
        return [
            Outcome(share, attributes_of(part_of(entity, share.names)), failure_of(fault)) for entity, share in parts
        ]
    if reply.status == 201 and isinstance(reply.body, list):
        made += [one for one in reply.body if isinstance(one, str)]
    return [_outcome(part, wrong.get(part[0]["id"])) for part in parts]


def _outcome(part: tuple[Doc, Share], error: CityError | None) -> Outcome:
    entity, share = part
    return Outcome(share, attributes_of(part_of(entity, share.names)), error)


def _refused(source: Source, reply: Reply) -> dict[str, CityError]:
    """The entities of a batch that a source refused, with its reasons."""
    if reply.status == 404:
        raise SourceFault(source, "status", "it does not know this operation", 404)
    if reply.status != 207:
        return {}
    found: dict[str, CityError] = {}
    errors = reply.body.get("errors") if isinstance(reply.body, dict) else None
    for error in errors or ():
        said = error.get("error") if isinstance(error, dict) else None
        if isinstance(said, dict) and isinstance(error.get("entityId"), str):
            detail = f"{source.id}: {said.get('detail') or said.get('title')}"
            missing = said.get("status") == 404
            found[error["entityId"]] = ResourceNotFound(detail) if missing else Conflict(detail)
    return found
