"""Reading entities. Source: ETSI GS CIM 009 v1.9.1 clauses 5.7.1, 5.7.2, 6.4.3.2, 6.5.3.1 and 6.23."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from sejong.hub.joining import shown_with_links
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.errors import ResourceNotFound
from sejong.hub.ngsi.order import Ordering
from sejong.hub.ngsi.present import feature_collection, present
from sejong.hub.ngsi.typeselect import parse_types, type_predicate
from sejong.hub.ngsi.versions import downgrade
from sejong.hub.web.answers import Answer, answer, page_links
from sejong.hub.web.asked import (
    QUERY,
    Page,
    Shown,
    check_source_filters,
    is_linkable,
    order_of,
    page_of,
    query_members,
    selection_of,
    selection_of_body,
)
from sejong.hub.web.distributed import (
    entities_together,
    entity_together,
    is_distributed,
    journey_of,
    with_warnings,
)
from sejong.hub.web.maps import Mapped, mapped, mapped_one
from sejong.hub.web.negotiate import GEO_JSON
from sejong.hub.web.request import NgsiRequest, context_url

if TYPE_CHECKING:
    from sejong.hub.selection import Selection
    from sejong.hub.service import Hub

Doc = dict[str, Any]


async def retrieve(hub: Hub, request: NgsiRequest) -> Response:
    """GET /entities/{id}"""
    if is_distributed(hub, request):
        return await _retrieve_together(hub, request)
    if not request.params and request.media != GEO_JSON and not request.prefer and not _names_map(request):
        return await _plain(hub, request)
    check_source_filters(request.params)
    shown = Shown(request)
    wanted = request.params.get("type")
    matches = None if wanted is None else type_predicate(parse_types(wanted, request.context.attribute))
    entity = await hub.retrieve(request.tenant, request.path["id"])
    if matches is not None and not matches(entity["type"]):
        raise ResourceNotFound(f"no entity {request.path['id']} of type {wanted}")
    return await _retrieved(hub, request, shown, entity)


async def _retrieve_together(hub: Hub, request: NgsiRequest) -> Response:
    """The entity as this hub and others know it."""
    check_source_filters(request.params)
    shown = Shown(request)
    journey = journey_of(hub, request)
    entity = await entity_together(journey, request, shown)
    return with_warnings(await _retrieved(hub, request, shown, entity), journey)


async def _retrieved(hub: Hub, request: NgsiRequest, shown: Shown, entity: Doc) -> Response:
    if not shown.projection.admits(entity):
        raise ResourceNotFound(f"{request.path['id']} has none of these attributes")
    used = await mapped_one(hub, request)
    bodies = await _bodies(hub, request, shown, [entity])
    if not shown.something(bodies[0]):
        raise ResourceNotFound(f"nothing is left of {request.path['id']}")
    if shown.joining is not None and shown.joining.flat:
        return _versioned(request, feature_collection(bodies) if shown.geo else bodies, used=used)
    return _versioned(request, bodies[0], used=used)


def _names_map(request: NgsiRequest) -> bool:
    return "ngsild-entitymap" in request.headers


async def _plain(hub: Hub, request: NgsiRequest) -> Response:
    """The whole entity as it is: ready made if it was asked for since its last change."""
    tenant, entity_id, source = request.tenant, request.path["id"], request.context.source
    if source is not None and source.__class__ is not str:
        return answer(request, present(await hub.retrieve(tenant, entity_id), request.context))
    # What stands behind a context's address may change: then it is another Context object.
    variant = (request.media, source)
    ready: tuple[Context, Answer] | None = hub.rendered.get(tenant, entity_id, variant)
    if ready is not None and ready[0] is request.context:
        return ready[1].again()
    began = hub.rendered.begin(tenant, entity_id)
    try:
        number, entity = await hub.stored(tenant, entity_id)
    except BaseException:
        hub.rendered.give_up(tenant, entity_id)
        raise
    made = answer(request, present(entity, request.context))
    if number is None:
        hub.rendered.give_up(tenant, entity_id)
    else:
        hub.rendered.put(tenant, entity_id, number, began, variant, (request.context, made.again()))
    return made


async def query(hub: Hub, request: NgsiRequest) -> Response:
    """GET /entities"""
    check_source_filters(request.params)
    shown = Shown(request)
    return await _found(hub, request, selection_of(request, shown.join_level), shown, order_of(request))


async def query_by_post(hub: Hub, request: NgsiRequest) -> Response:
    """POST /entityOperations/query"""
    body = query_members(request.body, QUERY)
    check_source_filters(body)
    shown = Shown(request, body)
    selection = selection_of_body(body, request, shown.join_level)
    order = order_of(request, body)
    if not isinstance(request.context.source, str | None) and is_linkable(request):
        # The names of the answer must be those of the one context that a Link can lead to.
        request.context = shown.context = await hub.contexts.get(context_url(request.context.source))
    return await _found(hub, request, selection, shown, order)


async def _found(
    hub: Hub, request: NgsiRequest, selection: Selection, shown: Shown, order: Ordering | None
) -> Response:
    page = page_of(request)
    selection, used = await mapped(hub, request, selection)
    # A map stands still on what this hub had when it was made.
    if used is None and is_distributed(hub, request) and order is None:
        journey = journey_of(hub, request)
        together = await entities_together(journey, request, shown, selection, page)
        if together is not None:
            response = await _shown_page(hub, request, shown, page, together.entities, together.total)
            return with_warnings(response, journey)
    wanted = page.limit + 1 if page.limit else 0
    entities, total = await hub.query(request.tenant, selection, wanted, page.offset, count=page.count, order=order)
    return await _shown_page(hub, request, shown, page, entities, total, used)


async def _shown_page(
    hub: Hub,
    request: NgsiRequest,
    shown: Shown,
    page: Page,
    entities: list[Doc],
    total: int | None,
    used: Mapped | None = None,
) -> Response:
    links = page_links(request, page.limit, page.offset, more=len(entities) > page.limit)
    found = [body for body in await _bodies(hub, request, shown, entities[: page.limit]) if shown.something(body)]
    headers = {} if total is None else {"NGSILD-Results-Count": str(total)}
    body: Any = feature_collection(found) if shown.geo else found
    return _versioned(request, body, links=links, headers=headers, used=used)


async def _bodies(hub: Hub, request: NgsiRequest, shown: Shown, entities: list[Doc]) -> list[Doc]:
    if shown.joining is None:
        return [shown.show(entity) for entity in entities]
    return await shown_with_links(hub, request.tenant, shown, shown.joining, entities)


def _versioned(
    request: NgsiRequest,
    body: Any,
    *,
    links: list[str] | None = None,
    headers: dict[str, str] | None = None,
    used: Mapped | None = None,
) -> Response:
    """The answer, stepped down to an older version of the standard when the client prefers one (203)."""
    version = request.prefer.get("ngsi-ld")
    if version is None:
        response = answer(request, body, links=links or (), **(headers or {}))
        return response if used is None else used.mark(response)
    older = downgrade(body, version, request.format)  # type: ignore[arg-type]  # checked against the formats
    response = answer(request, older, links=links or (), **(headers or {}))
    if older is not body:
        response.status_code = 203
        response.headers["Preference-Applied"] = f"ngsi-ld={version}"
    return response if used is None else used.mark(response)
