"""Writing many entities in one request. Source: ETSI GS CIM 009 v1.9.1 clauses 5.6.7–5.6.10, 5.6.20 and 6.14–6.17.

One bad entity is an entry in the answer, never the end of the others. Items naming the same id are done in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from sejong.hub.federation.writes import CREATE, Action
from sejong.hub.ngsi import change as rules
from sejong.hub.ngsi.change import Change
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.entity import Mode, expand_entity, expand_fragment
from sejong.hub.ngsi.errors import BadRequestData, InvalidRequest
from sejong.hub.ngsi.grammar import is_uri
from sejong.hub.service import Step, creating, existing, upserting
from sejong.hub.web.answers import batch_result, no_content
from sejong.hub.web.distributed_writes import Divided, divided, failures
from sejong.hub.web.negotiate import JSON
from sejong.hub.web.request import NgsiRequest, own_tenant
from sejong.kernel.errors import CityError

if TYPE_CHECKING:
    from sejong.hub.service import Hub

Doc = dict[str, Any]
UPSERT = Action(name="upsertBatch", method="POST", batch="upsert")
UPDATE = Action(name="appendAttrs", method="POST", below="/attrs", batch="update")
MERGE = Action(name="mergeEntity", method="PATCH", batch="merge")
DELETE = Action(name="deleteEntity", method="DELETE", batch="delete")
"""The operations as registrations call them, for sources that take entities only one by one (clause 4.20)."""
LARGEST = 20_000
"""Entities in one batch at most. Chosen: what fits the default body limit."""


async def create(hub: Hub, request: NgsiRequest) -> Response:
    """POST /entityOperations/create"""
    batch = await _Batch.read(hub, request, "create")
    done = await batch.carry_out(CREATE, lambda new: creating(new))
    if batch.errors:
        return batch_result(done, batch.errors)
    return Response(msgspec.json.encode(done), 201, media_type=JSON)


async def upsert(hub: Hub, request: NgsiRequest) -> Response:
    """POST /entityOperations/upsert"""
    batch = await _Batch.read(hub, request, "create")
    update = "update" in request.options
    action = msgspec.structs.replace(UPSERT, params={"options": "update"} if update else {})
    done = await batch.carry_out(action, lambda new: upserting(new, update=update))
    if batch.errors:
        return batch_result(done, batch.errors)
    if batch.made:
        return Response(msgspec.json.encode(batch.made), 201, media_type=JSON)
    return no_content()


async def update(hub: Hub, request: NgsiRequest) -> Response:
    """POST /entityOperations/update"""
    batch = await _Batch.read(hub, request, "update")
    keep = "noOverwrite" in request.options

    def step(new: Doc) -> Step:
        return existing(new["id"], None, lambda old, now: rules.append_attrs(old, new, now, no_overwrite=keep))

    # What was there already stays by the sender's own wish: that is no failure of the entity.
    action = msgspec.structs.replace(UPDATE, params={"options": "noOverwrite"} if keep else {})
    return batch.result(await batch.carry_out(action, step, partly=keep))


async def merge(hub: Hub, request: NgsiRequest) -> Response:
    """POST /entityOperations/merge"""
    batch = await _Batch.read(hub, request, "merge")
    done = await batch.carry_out(
        MERGE, lambda new: existing(new["id"], None, lambda old, now: rules.merge(old, new, now))
    )
    return batch.result(done)


async def delete(hub: Hub, request: NgsiRequest) -> Response:
    """POST /entityOperations/delete"""
    batch = _Batch(hub, request)
    for item in _items(request):
        if isinstance(item, str) and is_uri(item):
            batch.accepted.append({"id": item})
        else:
            batch.errors.append((item, BadRequestData(f"{item!r} is not a URI")))
    done = await batch.carry_out(DELETE, lambda new: existing(new["id"], None, rules.delete_entity))
    return batch.result(done)


def _items(request: NgsiRequest) -> list[Any]:
    body = request.body
    if not isinstance(body, list):
        raise InvalidRequest("the body must be a JSON array")
    if not body:
        raise BadRequestData("the array is empty")
    if any(item is None for item in body):
        raise BadRequestData("the array contains null")
    if len(body) > LARGEST:
        raise BadRequestData(f"at most {LARGEST} entities fit in one batch")
    return body


_Failed = dict[int, list[CityError]]
"""The places of items that failed in part or whole, and why."""


class _Batch:
    """The items of one batch request and what became of them."""

    def __init__(self, hub: Hub, request: NgsiRequest) -> None:
        self.hub, self.request = hub, request
        self.accepted: list[Doc] = []
        self.errors: list[tuple[Any, CityError]] = []
        self.made: list[str] = []

    @classmethod
    async def read(cls, hub: Hub, request: NgsiRequest, mode: Mode) -> _Batch:
        """Expand every item; those that are malformed become errors."""
        batch = cls(hub, request)
        now = hub.now()
        whole = mode == "create"
        contexts = _Contexts(hub, request.tenant_name)
        for item in _items(request):
            try:
                context, body = await _context_of(contexts, request, item)
                if whole:
                    entity = expand_entity(body, context, now=now)
                else:
                    entity = expand_fragment(body, context, now=now, mode=mode)
                    if "id" not in entity:
                        raise BadRequestData("id: required")
                batch.accepted.append(entity)
            except CityError as error:
                given = item.get("id", item.get("@id")) if isinstance(item, dict) else item
                batch.errors.append((given, error))
        request.body = None  # a thousand entities as they came are megabytes, and writing them takes a while
        return batch

    async def carry_out(self, action: Action, step: Callable[[Doc], Step], *, partly: bool = False) -> list[str]:
        """Write the accepted items; ids of those that succeeded (`partly`: if only in part), each once, in order."""
        if not self.accepted:
            return []
        makes = self.request.operation.makes_tenant
        tenant = await own_tenant(self.hub, self.request) if makes else self.request.tenant
        division = await divided(self.hub, self.request, tenant, action, self.accepted)
        if division is None:
            failed = await self._write(tenant, list(enumerate(self.accepted)), step, partly)
        else:
            failed = await self._write_together(tenant, division, step, partly)
        for place, errors in sorted(failed.items()):
            self.errors.extend((self.accepted[place]["id"], error) for error in errors)
        done = dict.fromkeys(one["id"] for place, one in enumerate(self.accepted) if place not in failed)
        self.made = [one for one in self.made if one in done]
        return list(done)

    async def _write(
        self, tenant: int, parts: Sequence[tuple[int, Doc]], step: Callable[[Doc], Step], partly: bool
    ) -> _Failed:
        """Write what belongs here of the items at these places."""
        made: set[int] = set()
        steps = [(new["id"], _noting_new(place, step(new), made)) for place, new in parts]
        results = await self.hub.change_all(tenant, steps)
        failed: _Failed = {}
        for (place, _), result in zip(parts, results, strict=True):
            if isinstance(result, CityError):
                failed[place] = [result]
            elif result.not_updated and not partly:
                names = ", ".join(f"{name} ({reason})" for name, reason in result.not_updated)
                failed[place] = [BadRequestData(f"not written: {names}")]
        self.made += [self.accepted[place]["id"] for place in sorted(made)]
        return failed

    async def _write_together(
        self, tenant: int, division: Divided, step: Callable[[Doc], Step], partly: bool
    ) -> _Failed:
        """Write what belongs here, have the rest written where it belongs."""
        failed, (outcomes, made) = await asyncio.gather(
            self._write(tenant, division.local, step, partly), division.elsewhere()
        )
        self.made = list(dict.fromkeys([*self.made, *made]))
        for place, theirs in enumerate(outcomes):
            errors = failures(division.items[place], failed.pop(place, []), theirs)
            if errors:
                failed[place] = errors
        return failed

    def result(self, done: list[str]) -> Response:
        """204, or 207 when something was refused."""
        return batch_result(done, self.errors) if self.errors else no_content()


def _noting_new(place: int, step: Step, made: set[int]) -> Step:
    """The same step, noting whether it found nothing (the step may run again if another writer was faster)."""

    def noted(old: Doc | None, now: str) -> Change:
        made.discard(place)
        change = step(old, now)
        if old is None:
            made.add(place)
        return change

    return noted


class _Contexts:
    """The contexts of one batch: each asked for once, also where it cannot be had."""

    def __init__(self, hub: Hub, tenant_name: str) -> None:
        self._hub, self._tenant_name = hub, tenant_name
        self._known: dict[bytes, Context | CityError] = {}

    async def get(self, value: Any) -> Context:
        key = msgspec.json.encode(value)
        known = self._known.get(key)
        if known is None:
            try:
                known = await self._hub.contexts.get(value)
                self._hub.library.used(self._tenant_name, value)
            except CityError as error:
                known = error
            self._known[key] = known
        if isinstance(known, CityError):
            raise known
        return known


async def _context_of(contexts: _Contexts, request: NgsiRequest, item: Any) -> tuple[Context, Any]:
    if not isinstance(item, dict):
        raise BadRequestData("an entity is a JSON object")
    if not request.body_is_ld:
        if "@context" in item:
            raise BadRequestData("an application/json item must not carry an @context; use a Link header")
        return request.context, item
    if "@context" not in item:
        raise BadRequestData("an application/ld+json item needs an @context")
    return await contexts.get(item["@context"]), {k: v for k, v in item.items() if k != "@context"}
