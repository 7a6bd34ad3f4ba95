"""Answers to changes that several hubs carried out together.

Source: ETSI GS CIM 009 v1.9.1 clauses 4.3.6, 5.2.16 (BatchOperationResult), 5.2.18 (UpdateResult), 6.3.2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from starlette.responses import Response

from sejong.hub.federation.journey import Journey
from sejong.hub.federation.writes import (
    Action,
    Item,
    Outcome,
    Share,
    attributes_of,
    carry_out,
    carry_out_batch,
    planned,
    remainder,
)
from sejong.hub.ngsi.change import Change
from sejong.hub.ngsi.errors import ResourceNotFound
from sejong.hub.web.answers import batch_result, no_content
from sejong.hub.web.distributed import with_warnings
from sejong.hub.web.negotiate import JSON
from sejong.kernel.errors import CityError

if TYPE_CHECKING:
    from sejong.hub.service import Hub
    from sejong.hub.web.request import NgsiRequest

Doc = dict[str, Any]
Local = Callable[[Doc], Awaitable[Change]]


async def changed_together(
    hub: Hub,
    request: NgsiRequest,
    action: Action,
    entity_id: str,
    fragment: Doc,
    local: Local,
    *,
    tenant: int | None = None,
    attribute: str | None = None,
    by_attribute: bool = False,
    success: Callable[[], Response] = no_content,
) -> Response | None:
    """Carry out a change here and elsewhere; None when no other hub has part in it (nothing was done then).

    `by_attribute`: a partial failure is told attribute by attribute (UpdateResult). Raises what the only part raised.
    """
    tenant = request.tenant if tenant is None else tenant
    if not hub.registry.has(tenant) or request.flag("local"):
        return None
    journey = Journey(hub, tenant, request.tenant_name, request.headers)
    types = frozenset(fragment["type"]) if "type" in fragment else None
    if types is None and (known := await hub.found(tenant, [entity_id])):
        types = frozenset(known[entity_id]["type"])
    plan = planned(journey, entity_id, types, attributes_of(fragment), action)
    if not plan.shares:
        return None
    outcomes = await carry_out(journey, entity_id, plan, action, fragment, local, attribute)
    return with_warnings(_settled(entity_id, outcomes, by_attribute, success), journey)


def _settled(
    entity_id: str, outcomes: Sequence[Outcome], by_attribute: bool, success: Callable[[], Response]
) -> Response:
    done = [one for one in outcomes if one.error is None]
    failed = [one for one in outcomes if one.error is not None and not _is_harmless(one, bool(done))]
    if not failed and not (by_attribute and any(map(_part_refused, done))):
        return success()
    if not done:
        _raise_one(failed)
    if by_attribute:
        return _update_result(done, failed)
    for one in failed:
        assert one.error is not None
        mark(one.error, one.share)
    return batch_result([entity_id] if done else [], [(entity_id, one.error) for one in failed if one.error])


def _is_harmless(outcome: Outcome, others: bool) -> bool:
    """Whether a part failed only because there was nothing, while it was done elsewhere."""
    alone = outcome.share is not None and outcome.share.source.mode == "exclusive"
    return others and not alone and isinstance(outcome.error, ResourceNotFound)


def _raise_one(failed: Sequence[Outcome]) -> None:
    """Raise the failure of a change of which nothing was done, if all parts failed alike."""
    errors = [one.error for one in failed if one.error is not None]
    if len({error.status for error in errors}) == 1:
        raise errors[0]
    told = [one for one in failed if not isinstance(one.error, ResourceNotFound)]
    if len(told) == 1 and told[0].error is not None:
        raise told[0].error


def _part_refused(outcome: Outcome) -> bool:
    if outcome.change is not None:
        return bool(outcome.change.not_updated)
    return outcome.reply is not None and outcome.reply.status == 207


def _update_result(done: Sequence[Outcome], failed: Sequence[Outcome]) -> Response:
    refused: list[Doc] = []
    updated: dict[str, None] = {}
    for one in done:
        wrong: set[str] = set()
        if one.change is not None:
            refused += [{"attributeName": name, "reason": reason} for name, reason in one.change.not_updated]
            wrong = {name for name, _ in one.change.not_updated}
        elif one.reply is not None and one.reply.status == 207 and isinstance(one.reply.body, dict):
            for entry in one.reply.body.get("notUpdated") or ():
                assert one.share is not None
                refused.append({**entry, "registrationId": one.share.source.id})
                wrong.add(entry.get("attributeName"))
        updated.update(dict.fromkeys(sorted(one.names - wrong)))
    for one in failed:
        where = {} if one.share is None else {"registrationId": one.share.source.id}
        refused += [{"attributeName": name, "reason": str(one.error), **where} for name in sorted(one.names)]
    names = {entry["attributeName"] for entry in refused}
    body = {"updated": [name for name in updated if name not in names], "notUpdated": refused}
    return Response(msgspec.json.encode(body), 207, media_type=JSON)


class Divided(Struct):
    """A batch divided between us and other hubs. `local`: the place of each entity written here, and its part."""

    journey: Journey
    action: Action
    items: list[Item]
    local: list[tuple[int, Doc]]

    async def elsewhere(self) -> tuple[list[list[Outcome]], list[str]]:
        """Carry out what belongs to other hubs; per entity what became of it, and ids newly made."""
        return await carry_out_batch(self.journey, self.action, self.items)


async def divided(
    hub: Hub, request: NgsiRequest, tenant: int, action: Action, entities: Sequence[Doc]
) -> Divided | None:
    """A batch divided by who keeps what; None when no other hub has part in it."""
    if not hub.registry.has(tenant) or request.flag("local"):
        return None
    journey = Journey(hub, tenant, request.tenant_name, request.headers)
    untyped = [entity["id"] for entity in entities if "type" not in entity]
    known = await hub.found(tenant, untyped)
    items: list[Item] = []
    for entity in entities:
        types = entity.get("type") or known.get(entity["id"], {}).get("type")
        named = None if types is None else frozenset(types)
        items.append(Item(entity, planned(journey, entity["id"], named, attributes_of(entity), action)))
    if not any(item.plan.shares for item in items):
        return None
    local = [(n, remainder(item.entity, item.plan)) for n, item in enumerate(items) if item.plan.local is not None]
    return Divided(journey, action, items, local)


def failures(item: Item, ours: Sequence[CityError], theirs: Sequence[Outcome]) -> list[CityError]:
    """What failed of one entity of a batch; not that one of several places knows nothing of it."""
    done = any(one.error is None for one in theirs)
    found = [error for error in ours if not (done and isinstance(error, ResourceNotFound))]
    others = done or (item.plan.local is not None and not ours)
    for one in theirs:
        if one.error is not None and not _is_harmless(one, others):
            mark(one.error, one.share)
            found.append(one.error)
    return found[:1] if all(isinstance(error, ResourceNotFound) for error in found) else found


def mark(error: CityError, share: Share | None) -> None:
    """Note on an error which registration it comes from, so that the answer can say so."""
    if share is not None:
        error.values["registration_id"] = share.source.id
