"""Snapshots: frozen copies of a part of the record. Source: ETSI GS CIM 009 v1.9.1 clauses 5.16 and 6.35–6.37."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import Response

from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.snapshot import QUERIES, read_snapshot
from sejong.hub.query_object import wanted
from sejong.hub.web.answers import answer, batch_result, created, no_content, page_links
from sejong.hub.web.asked import QUERY, TEMPORAL_QUERY, check_source_filters, not_too_wide, page_of, query_members
from sejong.hub.web.request import NgsiRequest
from sejong.hub.web.router_root import ROOT

if TYPE_CHECKING:
    from sejong.hub.service import Hub

_ONLY_SHOWN = frozenset({"join", "joinLevel", "containedBy", "lang", "ordering"})
"""Members of a Query that say how an answer looks: a snapshot keeps entities as they are."""


async def create(hub: Hub, request: NgsiRequest) -> Response:
    """POST /snapshots"""
    said = read_snapshot(request.body, "create")
    for name, allowed in zip(QUERIES, (QUERY, TEMPORAL_QUERY), strict=True):
        if name in said:
            said[name] = [_query(request, query, allowed, name) for query in said[name]]
    return created(_place(await hub.snapshots.create(request.tenant, said, request.context.source)))


def _query(request: NgsiRequest, query: dict[str, Any], allowed: frozenset[str], name: str) -> dict[str, Any]:
    """One of the queries, everything about it checked that can be wrong with it."""
    body = query_members({"type": "Query", **query}, allowed - _ONLY_SHOWN)
    check_source_filters(body)
    temporal = name == QUERIES[1]
    if temporal and "temporalQ" not in body:
        raise BadRequestData(f"every query of {name} needs temporalQ")
    not_too_wide(request, wanted(body, request.context.attribute, temporal=temporal).selection)
    return body


async def clone(hub: Hub, request: NgsiRequest) -> Response:
    """POST /snapshots/{id}/clone"""
    said = {} if request.body is None else read_snapshot(request.body, "clone")
    return created(_place(await hub.snapshots.clone(request.tenant, request.path["id"], said)))


async def query(hub: Hub, request: NgsiRequest) -> Response:
    """GET /snapshots"""
    page = page_of(request)
    found, total = await hub.snapshots.page(request.tenant, page.limit, page.offset)
    links = page_links(request, page.limit, page.offset, more=bool(page.limit) and page.offset + page.limit < total)
    headers = {"NGSILD-Results-Count": str(total)} if page.count else {}
    return answer(request, found, links=links, **headers)


async def retrieve(hub: Hub, request: NgsiRequest) -> Response:
    """GET /snapshots/{id}"""
    return answer(request, await hub.snapshots.retrieve(request.tenant, request.path["id"]))


async def update(hub: Hub, request: NgsiRequest) -> Response:
    """PATCH /snapshots/{id}"""
    said = read_snapshot(request.body, "update")
    if not said:
        raise BadRequestData("there is nothing to change")
    if said.get("id", request.path["id"]) != request.path["id"]:
        raise BadRequestData("the id of a snapshot cannot be changed")
    return answer(request, await hub.snapshots.change(request.tenant, request.path["id"], said))


async def delete(hub: Hub, request: NgsiRequest) -> Response:
    """DELETE /snapshots/{id}"""
    await hub.snapshots.delete(request.tenant, request.path["id"])
    return no_content()


async def purge(hub: Hub, request: NgsiRequest) -> Response:
    """DELETE /snapshots?q="""
    q = request.params.get("q")
    if q is None:
        raise BadRequestData("q is needed: which snapshots are to be deleted")
    done, errors = await hub.snapshots.purge(request.tenant, q)
    return batch_result(done, errors) if errors else no_content()


def _place(name: str) -> str:
    return f"{ROOT}/snapshots/{quote(name, safe=':@!$&()*+,;=~')}"
