"""Writing single entities (`reading.py` reads them).

Source: ETSI GS CIM 009 v1.9.1 clauses 5.6.1–5.6.6, 5.6.17–5.6.21 and 6.4–6.7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from sejong.hub.federation.purging import purge_elsewhere
from sejong.hub.federation.writes import CREATE, Action
from sejong.hub.ngsi import change as rules
from sejong.hub.ngsi.change import Change
from sejong.hub.ngsi.entity import expand_attribute, expand_entity, expand_fragment
from sejong.hub.ngsi.errors import BadRequestData, InvalidRequest
from sejong.hub.ngsi.instants import parse_instant
from sejong.hub.ngsi.languages import parse_lang
from sejong.hub.ngsi.q import parse_q
from sejong.hub.service import creating, existing
from sejong.hub.web.answers import created, entity_location, no_content, update_result
from sejong.hub.web.asked import body_object, check_source_filters, refuse_other_id, selection_of, type_filter
from sejong.hub.web.distributed import is_distributed, journey_of
from sejong.hub.web.distributed_writes import changed_together
from sejong.hub.web.request import NgsiRequest, own_tenant
from sejong.kernel.errors import CityError

if TYPE_CHECKING:
    from sejong.hub.service import Hub

Doc = dict[str, Any]
DELETE = Action(name="deleteEntity", method="DELETE")
REPLACE = Action(name="replaceEntity", method="PUT")
MERGE = Action(name="mergeEntity", method="PATCH")
APPEND = Action(name="appendAttrs", method="POST", below="/attrs")
UPDATE = Action(name="updateEntity", method="PATCH", below="/attrs")
PARTIAL = Action(name="updateAttrs", method="PATCH")
REPLACE_ATTRIBUTE = Action(name="replaceAttrs", method="PUT")
DELETE_ATTRIBUTE = Action(name="deleteAttrs", method="DELETE")
"""The operations on one entity as registrations call them (clause 4.20)."""


async def _on_existing(hub: Hub, request: NgsiRequest, step: Callable[[Doc, str], Change]) -> Change:
    entity_id = request.path["id"]
    return await hub.change(request.tenant, entity_id, existing(entity_id, type_filter(request), step))


async def _changed(
    hub: Hub,
    request: NgsiRequest,
    action: Action,
    fragment: Doc,
    how: Callable[[Doc], Callable[[Doc, str], Change]],
    attribute: str | None = None,
) -> Response:
    """Change an entity, here and wherever else parts of it are kept (`how`: the rule for a part of the fragment)."""

    async def here(part: Doc) -> Change:
        return await _on_existing(hub, request, how(part))

    together = await changed_together(
        hub,
        request,
        action,
        request.path["id"],
        fragment,
        here,
        attribute=attribute,
        by_attribute=action.below == "/attrs",
    )
    if together is not None:
        return together
    change = await here(fragment)
    return update_result(request, change) if action.below == "/attrs" else no_content()


def _attribute_name(request: NgsiRequest) -> str:
    return request.path["attr"]


async def create(hub: Hub, request: NgsiRequest) -> Response:
    """POST /entities"""
    new = expand_entity(body_object(request), request.context, now=hub.now())
    tenant, place = await own_tenant(hub, request), entity_location(new["id"])

    async def here(part: Doc) -> Change:
        return await hub.change(tenant, part["id"], creating(part))

    together = await changed_together(
        hub, request, CREATE, new["id"], new, here, tenant=tenant, success=lambda: created(place)
    )
    if together is not None:
        return together
    await here(new)
    return created(place)


async def delete(hub: Hub, request: NgsiRequest) -> Response:
    """DELETE /entities/{id}"""
    return await _changed(hub, request, DELETE, {}, lambda _: rules.delete_entity)


async def replace(hub: Hub, request: NgsiRequest) -> Response:
    """PUT /entities/{id}"""
    body = body_object(request)
    refuse_other_id(request, body)
    new = expand_fragment(body, request.context, now=hub.now(), mode="replace")
    return await _changed(
        hub, request, REPLACE, new, lambda part: lambda old, now: rules.replace_entity(old, part, now)
    )


async def merge(hub: Hub, request: NgsiRequest) -> Response:
    """PATCH /entities/{id}"""
    body = body_object(request)
    refuse_other_id(request, body)
    lang = request.params.get("lang")
    if lang is not None:
        parse_lang(lang)
    observed_at = request.params.get("observedAt")
    if observed_at is not None:
        parse_instant(observed_at, "observedAt")
    fragment = expand_fragment(body, request.context, now=hub.now(), mode="merge")
    simplified = request.format == "simplified"
    passed = {name: request.params[name] for name in ("lang", "observedAt") if name in request.params}
    return await _changed(
        hub,
        request,
        msgspec.structs.replace(MERGE, params=passed),
        fragment,
        lambda part: (
            lambda old, now: rules.merge(old, part, now, simplified=simplified, lang=lang, observed_at=observed_at)
        ),
    )


async def append(hub: Hub, request: NgsiRequest) -> Response:
    """POST /entities/{id}/attrs"""
    body = body_object(request)
    refuse_other_id(request, body)
    fragment = expand_fragment(body, request.context, now=hub.now(), mode="append")
    keep = "noOverwrite" in request.options
    return await _changed(
        hub,
        request,
        msgspec.structs.replace(APPEND, params={"options": "noOverwrite"} if keep else {}),
        fragment,
        lambda part: lambda old, now: rules.append_attrs(old, part, now, no_overwrite=keep),
    )


async def update(hub: Hub, request: NgsiRequest) -> Response:
    """PATCH /entities/{id}/attrs"""
    body = body_object(request)
    refuse_other_id(request, body)
    fragment = expand_fragment(body, request.context, now=hub.now(), mode="update")
    return await _changed(
        hub, request, UPDATE, fragment, lambda part: lambda old, now: rules.update_attrs(old, part, now)
    )


async def partial_update(hub: Hub, request: NgsiRequest) -> Response:
    """PATCH /entities/{id}/attrs/{attr}"""
    iri, instances = expand_attribute(
        request.body, _attribute_name(request), request.context, now=hub.now(), mode="partial"
    )
    return await _changed(
        hub,
        request,
        PARTIAL,
        {iri: instances},
        lambda _: lambda old, now: rules.partial_update_attr(old, iri, instances, now),
        attribute=iri,
    )


async def replace_attribute(hub: Hub, request: NgsiRequest) -> Response:
    """PUT /entities/{id}/attrs/{attr}"""
    iri, instances = expand_attribute(
        request.body, _attribute_name(request), request.context, now=hub.now(), mode="replace"
    )
    return await _changed(
        hub,
        request,
        REPLACE_ATTRIBUTE,
        {iri: instances},
        lambda _: lambda old, now: rules.replace_attr(old, iri, instances, now),
        attribute=iri,
    )


async def delete_attribute(hub: Hub, request: NgsiRequest) -> Response:
    """DELETE /entities/{id}/attrs/{attr}"""
    iri = request.context.attribute(_attribute_name(request))
    datasets = request.uris("datasetId") if request.params.get("datasetId") != "@none" else ["@none"]
    if datasets and len(datasets) > 1:
        raise BadRequestData("datasetId names one instance")
    every = request.flag("deleteAll")
    if every and datasets:
        raise InvalidRequest("datasetId and deleteAll exclude each other")
    dataset = datasets[0] if datasets else None
    passed = {"deleteAll": "true"} if every else {"datasetId": dataset} if dataset else {}
    return await _changed(
        hub,
        request,
        msgspec.structs.replace(DELETE_ATTRIBUTE, params=passed),
        {iri: []},
        lambda _: lambda old, now: rules.delete_attr(old, iri, now, dataset_id=dataset, delete_all=every),
        attribute=iri,
    )


async def purge(hub: Hub, request: NgsiRequest) -> Response:
    """DELETE /entities: remove the entities (or only some of their attributes) that a query means."""
    keep, drop = request.words("keep"), request.words("drop")
    if keep is not None and drop is not None:
        raise BadRequestData("keep and drop exclude each other")
    check_source_filters(request.params)
    selection = selection_of(request)
    kept = None if keep is None else frozenset(map(request.context.attribute, keep))
    dropped = None if drop is None else frozenset(map(request.context.attribute, drop))
    meant = selection.test()

    def step(old: Doc | None, now: str) -> Change:
        if old is None or not meant(old):
            return Change(old)
        if kept is None and dropped is None:
            return rules.delete_entity(old, now)
        return rules.purge_attrs(old, now, keep=kept, drop=dropped)

    for ids in await hub.ids_of(request.tenant, selection):
        for result in await hub.change_all(request.tenant, [(entity_id, step) for entity_id in ids]):
            if isinstance(result, CityError):
                raise result
    if is_distributed(hub, request):
        journey = journey_of(hub, request)
        csf = request.params.get("csf")
        sources = None if csf is None else parse_q(csf, request.context.attribute)
        await purge_elsewhere(journey, selection, {"keep": kept, "drop": dropped}, sources)
    return no_content()
