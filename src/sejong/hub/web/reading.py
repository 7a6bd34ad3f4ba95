"""Reading entities. Source: ETSI GS CIM 009 v1.9.1 clauses 5.7.1, 5.7.2, 6.4.3.2, 6.5.3.1 and 6.23."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from sejong.hub.ngsi.errors import BadRequestData, ResourceNotFound
from sejong.hub.ngsi.present import feature_collection, present
from sejong.hub.ngsi.typeselect import parse_types, type_predicate
from sejong.hub.ngsi.versions import downgrade
from sejong.hub.web.answers import answer, page_links
from sejong.hub.web.asked import Shown, page_of, refuse_later, selection_of, selection_of_body
from sejong.hub.web.negotiate import GEO_JSON
from sejong.hub.web.request import NgsiRequest

if TYPE_CHECKING:
    from sejong.hub.selection import Selection
    from sejong.hub.service import Hub


async def retrieve(hub: Hub, request: NgsiRequest) -> Response:
    """GET /entities/{id}"""
    refuse_later(request)
    if not request.params and request.media != GEO_JSON and "ngsi-ld" not in request.prefer:
        entity = await hub.retrieve(request.tenant, request.path["id"])
        return answer(request, present(entity, request.context))
    shown = Shown(request)
    wanted = request.params.get("type")
    matches = None if wanted is None else type_predicate(parse_types(wanted, request.context.attribute))
    entity = await hub.retrieve(request.tenant, request.path["id"])
    if matches is not None and not matches(entity["type"]):
        raise ResourceNotFound(f"no entity {request.path['id']} of type {wanted}")
    if shown.projection.required and shown.projection.required.isdisjoint(entity):
        raise ResourceNotFound(f"{request.path['id']} has none of these attributes")
    body = shown.show(entity)
    if not _something(body, shown):
        raise ResourceNotFound(f"nothing is left of {request.path['id']}")
    return _versioned(request, body)


async def query(hub: Hub, request: NgsiRequest) -> Response:
    """GET /entities"""
    refuse_later(request)
    return await _answer_query(hub, request, selection_of(request), Shown(request))


async def query_by_post(hub: Hub, request: NgsiRequest) -> Response:
    """POST /entityOperations/query"""
    body = request.body
    if not isinstance(body, dict):
        raise BadRequestData("the body must be one JSON object")
    if body.get("type") != "Query":
        raise BadRequestData('type must be "Query"')
    unknown = body.keys() - _QUERY_MEMBERS
    if unknown:
        raise BadRequestData(f"a Query has no member {sorted(unknown)[0]!r}")
    later = body.keys() & {"join", "joinLevel", "containedBy", "ordering", "csf", "splitEntities"}
    if later:
        raise BadRequestData(f"{sorted(later)[0]} is not supported by this version of the hub yet")
    return await _answer_query(hub, request, selection_of_body(body, request), Shown(request, body))


_QUERY_MEMBERS = frozenset(
    [  # fmt: skip
        "id", "type", "entities", "attrs", "pick", "omit", "q", "geoQ", "scopeQ", "csf", "lang", "datasetId",
        "expandValues", "jsonKeys", "join", "joinLevel", "containedBy", "ordering", "splitEntities",
    ]  # fmt: skip
)


async def _answer_query(hub: Hub, request: NgsiRequest, selection: Selection, shown: Shown) -> Response:
    page = page_of(request)
    entities, total = await hub.query(
        request.tenant, selection, page.limit + 1 if page.limit else 0, page.offset, count=page.count
    )
    more = len(entities) > page.limit
    found = [body for entity in entities[: page.limit] if _something(body := shown.show(entity), shown)]
    links = page_links(request, page.limit, page.offset, more=more)
    headers = {} if total is None else {"NGSILD-Results-Count": str(total)}
    body: Any = feature_collection(found) if shown.geo else found
    return _versioned(request, body, links=links, headers=headers)


def _something(body: dict[str, Any], shown: Shown) -> bool:
    if not shown.geo:
        return bool(body)
    return bool(body.get("properties")) or "id" in body or body.get("geometry") is not None


def _versioned(
    request: NgsiRequest, body: Any, *, links: list[str] | None = None, headers: dict[str, str] | None = None
) -> Response:
    """The answer, stepped down to an older version of the standard when the client prefers one (203)."""
    version = request.prefer.get("ngsi-ld")
    if version is None or request.media == GEO_JSON:
        return answer(request, body, links=links or (), **(headers or {}))
    older = downgrade(body, version, request.format)  # type: ignore[arg-type]  # checked against the formats
    response = answer(request, older, links=links or (), **(headers or {}))
    if older is not body:
        response.status_code = 203
        response.headers["Preference-Applied"] = f"ngsi-ld={version}"
    return response
