"""Writing histories. Source: ETSI GS CIM 009 v1.9.1 clauses 5.6.11-5.6.16 and 6.18, 6.20-6.22."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from sejong.hub.history import INSTANCE_ID
from sejong.hub.ngsi.errors import BadRequestData, InvalidRequest, ResourceNotFound
from sejong.hub.ngsi.evolution import expand_evolution, expand_instance
from sejong.hub.web.answers import created, entity_location, no_content
from sejong.hub.web.asked import body_object, refuse_other_id, type_filter
from sejong.hub.web.request import NgsiRequest, own_tenant

if TYPE_CHECKING:
    from sejong.hub.service import Hub

Doc = dict[str, Any]


async def create(hub: Hub, request: NgsiRequest) -> Response:
    """POST /temporal/entities"""
    new = expand_evolution(body_object(request), request.context, now=hub.now(), whole=True)
    step = hub.past.adding(new["id"], new, create=True)
    outcome = await hub.writer.write(await own_tenant(hub, request), new["id"], step)
    if not outcome.answer:
        return no_content()
    return created(entity_location(new["id"], temporal=True))


async def add(hub: Hub, request: NgsiRequest) -> Response:
    """POST /temporal/entities/{id}/attrs"""
    body, entity_id = body_object(request), request.path["id"]
    refuse_other_id(request, body)
    new = expand_evolution(body, request.context, now=hub.now(), whole=False)
    step = hub.past.adding(entity_id, new, create=False, types=type_filter(request))
    await hub.writer.write(request.tenant, entity_id, step)
    return no_content()


async def delete(hub: Hub, request: NgsiRequest) -> Response:
    """DELETE /temporal/entities/{id}"""
    entity_id = request.path["id"]
    await hub.writer.write(request.tenant, entity_id, hub.past.forgetting(entity_id, type_filter(request)))
    return no_content()


async def delete_attribute(hub: Hub, request: NgsiRequest) -> Response:
    """DELETE /temporal/entities/{id}/attrs/{attr}"""
    entity_id, iri = request.path["id"], request.context.attribute(request.path["attr"])
    every, text = request.flag("deleteAll"), request.params.get("datasetId")
    datasets = [None] if text in (None, "@none") else list(request.uris("datasetId") or ())
    if len(datasets) > 1:
        raise BadRequestData("datasetId names one instance")
    if every and text is not None:
        raise InvalidRequest("datasetId and deleteAll exclude each other")
    step = hub.past.forgetting_attribute(entity_id, iri, datasets[0], every=every, types=type_filter(request))
    await hub.writer.write(request.tenant, entity_id, step)
    return no_content()


async def replace(hub: Hub, request: NgsiRequest) -> Response:
    """PATCH /temporal/entities/{id}/attrs/{attr}/{instanceId}"""
    if not request.body:
        raise BadRequestData("the body is empty")
    entity_id = request.path["id"]
    iri, instance = expand_instance(request.body, request.path["attr"], request.context, now=hub.now())
    step = hub.past.replacing(entity_id, iri, _number(request), instance, type_filter(request))
    await hub.writer.write(request.tenant, entity_id, step)
    return no_content()


async def remove(hub: Hub, request: NgsiRequest) -> Response:
    """DELETE /temporal/entities/{id}/attrs/{attr}/{instanceId}"""
    entity_id, iri = request.path["id"], request.context.attribute(request.path["attr"])
    step = hub.past.removing(entity_id, iri, _number(request), type_filter(request))
    await hub.writer.write(request.tenant, entity_id, step)
    return no_content()


def _number(request: NgsiRequest) -> int:
    """The number of the instance a path names. Raises ResourceNotFound when no instance can be called so."""
    given = request.path["instance_id"]
    digits = given.removeprefix(INSTANCE_ID)
    if digits == given or not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise ResourceNotFound(f"no instance {given}")
    return int(digits)
