"""Entity maps: made by themselves or on the way of a query, and used to page over a set that stands still.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.14, 6.3.21 and 6.32–6.34.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from sejong.hub.entity_maps import Candidates
from sejong.hub.history import Span
from sejong.hub.ngsi.errors import BadRequestData, ResourceNotFound
from sejong.hub.ngsi.instants import parse_instant
from sejong.hub.selection import Selection, Who
from sejong.hub.web.answers import answer, no_content
from sejong.hub.web.asked import (
    QUERY,
    Shown,
    check_source_filters,
    query_members,
    selection_of,
    selection_of_body,
)
from sejong.hub.web.request import NgsiRequest
from sejong.hub.web.router_root import ROOT

if TYPE_CHECKING:
    from sejong.hub.service import Hub
    from sejong.hub.store.maps import MapRow

HEADER = "NGSILD-EntityMap"


class Mapped(msgspec.Struct, frozen=True):
    """The entity map a query was answered from."""

    row: MapRow
    made: bool

    def mark(self, response: Response) -> Response:
        """Name the map in the answer; one made for it turns 200 into 201."""
        response.headers[HEADER] = self.row.id
        if self.made and response.status_code == 200:
            response.status_code = 201
        return response


# --- on the way of a query --------------------------------------------------------------------------------------------


def wants_map(request: NgsiRequest) -> bool:
    """Whether the request makes or uses an entity map. Raises BadRequestData."""
    wanted = request.flag("entityMap") or HEADER.lower() in request.headers
    if not wanted and "entityMapLifetime" in request.params:
        raise BadRequestData("entityMapLifetime makes sense only with entityMap=true")
    return wanted


async def mapped(
    hub: Hub, request: NgsiRequest, selection: Selection, span: Span | None = None
) -> tuple[Selection, Mapped | None]:
    """The selection within the entity map the request uses (or makes), and that map; unchanged where it wants none.

    `span` makes it a map of histories. Raises BadRequestData, TooManyResults.
    """
    if not wants_map(request):
        return selection, None
    expires = hub.maps.expiry(request.params.get("entityMapLifetime"))
    found = await _given(hub, request, temporal=span is not None)
    used = Mapped(found, made=False) if found is not None else None
    if used is None:
        meant = await candidates(hub, request.tenant, selection, span)
        used = Mapped(await hub.maps.make(request.tenant, meant, expires, temporal=span is not None), made=True)
    return msgspec.structs.replace(selection, map=used.row.no), used


async def mapped_one(hub: Hub, request: NgsiRequest, span: Span | None = None) -> Mapped | None:
    """The entity map a retrieval uses or makes. Raises ResourceNotFound if the entity is not in the one given."""
    entity_id = request.path["id"]
    one = Selection(who=(Who(ids=(entity_id,)),))
    _, used = await mapped(hub, request, one, None if span is None else Span())
    if used is not None and not used.made and not await hub.maps.has(request.tenant, used.row, entity_id):
        raise ResourceNotFound(f"{entity_id} is not in the entity map {used.row.id}")
    return used


async def candidates(hub: Hub, tenant: int, selection: Selection, span: Span | None) -> Candidates:
    """Which entities a new map holds. Other context sources add theirs here (`remote`, `linked`)."""
    if span is None:
        return Candidates(await hub.numbers_of(tenant, selection, hub.maps.most))
    return Candidates(await hub.histories.meant(tenant, selection, span, hub.maps.most + 1))


async def _given(hub: Hub, request: NgsiRequest, *, temporal: bool) -> MapRow | None:
    name = request.headers.get(HEADER.lower())
    found = None if name is None else await hub.maps.find(request.tenant, name)
    return found if found is not None and found.temporal == temporal else None


# --- by themselves ----------------------------------------------------------------------------------------------------


async def create(hub: Hub, request: NgsiRequest) -> Response:
    """GET /entityMaps"""
    check_source_filters(request.params)
    return await made(hub, request, selection_of(request, Shown(request).join_level))


async def create_by_post(hub: Hub, request: NgsiRequest) -> Response:
    """POST /entityMaps"""
    body = query_members(request.body, QUERY)
    check_source_filters(body)
    return await made(hub, request, selection_of_body(body, request, Shown(request, body).join_level))


async def made(hub: Hub, request: NgsiRequest, selection: Selection, span: Span | None = None) -> Response:
    """201 with a new map of what a query means."""
    expires = hub.maps.expiry(request.params.get("entityMapLifetime"))
    meant = await candidates(hub, request.tenant, selection, span)
    row = await hub.maps.make(request.tenant, meant, expires, temporal=span is not None)
    place = {"Location": f"{ROOT}/entityMaps/{row.id}", HEADER: row.id}
    response = answer(request, await hub.maps.body(row), **place)
    response.status_code = 201
    return response


async def retrieve(hub: Hub, request: NgsiRequest) -> Response:
    """GET /entityMaps/{id}"""
    return answer(request, await hub.maps.retrieve(request.tenant, request.path["id"]))


async def update(hub: Hub, request: NgsiRequest) -> Response:
    """PATCH /entityMaps/{id}: only its end may be changed."""
    body = request.body
    if not isinstance(body, dict):
        raise BadRequestData("the body must be one JSON object")
    for name, value in body.items():
        expected = {"id": request.path["id"], "type": "EntityMap"}.get(name, value)
        if name not in ("id", "type", "expiresAt") or value != expected:
            raise BadRequestData(f"{name} of an entity map cannot be changed")
    expires = body.get("expiresAt")
    if not isinstance(expires, str):
        raise BadRequestData("expiresAt must be given, as a DateTime")
    await hub.maps.prolong(request.tenant, request.path["id"], parse_instant(expires, "expiresAt"))
    return no_content()


async def delete(hub: Hub, request: NgsiRequest) -> Response:
    """DELETE /entityMaps/{id}"""
    await hub.maps.delete(request.tenant, request.path["id"])
    return no_content()
