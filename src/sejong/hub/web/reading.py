"""Reading entities. Source: ETSI GS CIM 009 v1.9.1 clauses 5.7.1, 5.7.2, 6.4.3.2, 6.5.3.1 and 6.23."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from sejong.hub.ngsi.errors import ResourceNotFound
from sejong.hub.ngsi.order import Ordering
from sejong.hub.ngsi.present import feature_collection, present
from sejong.hub.ngsi.typeselect import parse_types, type_predicate
from sejong.hub.ngsi.versions import downgrade
from sejong.hub.web.answers import answer, page_links
from sejong.hub.web.asked import (
    QUERY,
    Shown,
    is_linkable,
    order_of,
    page_of,
    query_members,
    refuse_later,
    selection_of,
    selection_of_body,
)
from sejong.hub.web.joining import shown_with_links
from sejong.hub.web.maps import Mapped, mapped, mapped_one
from sejong.hub.web.negotiate import GEO_JSON
from sejong.hub.web.request import NgsiRequest, context_url

if TYPE_CHECKING:
    from sejong.hub.selection import Selection
    from sejong.hub.service import Hub

Doc = dict[str, Any]


async def retrieve(hub: Hub, request: NgsiRequest) -> Response:
    """GET /entities/{id}"""
    if not request.params and request.media != GEO_JSON and not request.prefer and not _names_map(request):
        entity = await hub.retrieve(request.tenant, request.path["id"])
        return answer(request, present(entity, request.context))
    refuse_later(request.params)
    shown = Shown(request)
    wanted = request.params.get("type")
    matches = None if wanted is None else type_predicate(parse_types(wanted, request.context.attribute))
    entity = await hub.retrieve(request.tenant, request.path["id"])
    if matches is not None and not matches(entity["type"]):
        raise ResourceNotFound(f"no entity {request.path['id']} of type {wanted}")
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


async def query(hub: Hub, request: NgsiRequest) -> Response:
    """GET /entities"""
    refuse_later(request.params)
    shown = Shown(request)
    return await _found(hub, request, selection_of(request, shown.join_level), shown, order_of(request))


async def query_by_post(hub: Hub, request: NgsiRequest) -> Response:
    """POST /entityOperations/query"""
    body = query_members(request.body, QUERY)
    refuse_later(body)
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
    wanted = page.limit + 1 if page.limit else 0
    entities, total = await hub.query(request.tenant, selection, wanted, page.offset, count=page.count, order=order)
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
