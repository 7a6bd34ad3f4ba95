"""Registrations of context sources. Source: ETSI GS CIM 009 v1.9.1 clauses 5.9, 5.10, 6.8, 6.9 and 5.15 (identity)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from starlette.responses import Response

from sejong.hub.federation import registering
from sejong.hub.federation.identity import alias_of, uptime
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.geo import parse_geo
from sejong.hub.ngsi.instants import format_instant, parse_temporal
from sejong.hub.ngsi.patterns import compile_pattern
from sejong.hub.ngsi.projection import parse_dataset_ids, parse_projection
from sejong.hub.ngsi.q import attributes, parse_q
from sejong.hub.ngsi.registration import patched_registration, present_registration, read_registration
from sejong.hub.ngsi.scope import parse_scope_q
from sejong.hub.ngsi.source_query import SourceQuery
from sejong.hub.ngsi.sourcing import ANYTHING, Wanted
from sejong.hub.ngsi.typeselect import parse_types
from sejong.hub.web.answers import answer, created, no_content, page_links
from sejong.hub.web.asked import page_of
from sejong.hub.web.request import NgsiRequest, own_tenant
from sejong.hub.web.router_root import ROOT

if TYPE_CHECKING:
    from sejong.hub.service import Hub
    from sejong.hub.store.registry import RegistryRow

Doc = dict[str, Any]


async def create(hub: Hub, request: NgsiRequest) -> Response:
    """POST /csourceRegistrations"""
    doc = read_registration(request.body, request.context, now=hub.now())
    made = await registering.register(hub, await own_tenant(hub, request), doc)
    return created(f"{ROOT}/csourceRegistrations/{quote(made, safe=':')}")


async def query(hub: Hub, request: NgsiRequest) -> Response:
    """GET /csourceRegistrations"""
    asked = source_query_of(request)
    if asked.is_wide:
        raise BadRequestData("too wide: give a type, an attribute (attrs or q) or a geoquery")
    rows = await registering.found(hub, request.tenant, asked)
    return paged(request, rows, [_shown(request, row) for row in rows])


async def retrieve(hub: Hub, request: NgsiRequest) -> Response:
    """GET /csourceRegistrations/{id}"""
    return answer(request, _shown(request, await registering.one(hub, request.tenant, request.path["id"])))


async def update(hub: Hub, request: NgsiRequest) -> Response:
    """PATCH /csourceRegistrations/{id}"""
    await registering.change(
        hub,
        request.tenant,
        request.path["id"],
        lambda old: patched_registration(old, request.body, request.context, now=hub.now()),
    )
    return no_content()


async def delete(hub: Hub, request: NgsiRequest) -> Response:
    """DELETE /csourceRegistrations/{id}"""
    await registering.remove(hub, request.tenant, request.path["id"])
    return no_content()


async def identity(hub: Hub, request: NgsiRequest) -> Response:
    """GET /info/sourceIdentity"""
    alias = alias_of(hub, request.tenant_name)
    body = {
        "id": f"urn:ngsi-ld:ContextSourceIdentity:{quote(alias, safe='')}",
        "type": "ContextSourceIdentity",
        "contextSourceAlias": alias,
        "contextSourceUptime": uptime(hub),
        "contextSourceTimeAt": hub.now(),
    }
    return answer(request, body)


def source_query_of(request: NgsiRequest) -> SourceQuery:
    """Which registrations the parameters of a discovery mean. Raises BadRequestData."""
    params, expand = request.params, request.context.attribute
    ids, pattern, types = request.uris("id"), params.get("idPattern"), params.get("type")
    if pattern is not None:
        compile_pattern(pattern)
    who = ANYTHING
    if ids is not None or pattern is not None or types is not None:
        selected = None if types is None else parse_types(types, expand)
        named = None if selected is None or selected.every_type else selected.types
        who = (Wanted(None if ids is None else frozenset(ids), pattern, named),)
    names = set(parse_projection(None, None, params.get("attrs"), expand).required)
    if "q" in params:
        names |= attributes(parse_q(params["q"], expand))
    return SourceQuery(
        who=who,
        names=frozenset(names) or None,
        geo=parse_geo(
            params.get("georel"), params.get("geometry"), params.get("coordinates"), params.get("geoproperty"), expand
        ),
        csf=parse_q(params["csf"], expand) if "csf" in params else None,
        scope=parse_scope_q(params["scopeQ"]) if "scopeQ" in params else None,
        interval=parse_temporal(
            params.get("timerel"), params.get("timeAt"), params.get("endTimeAt"), params.get("timeproperty")
        ),
        datasets=parse_dataset_ids(params.get("datasetId")),
    )


def paged(request: NgsiRequest, rows: list[RegistryRow], bodies: list[Doc]) -> Response:
    """One page of a list of registrations or of subscriptions to them."""
    page = page_of(request)
    links = page_links(request, page.limit, page.offset, more=len(rows) > page.offset + page.limit)
    headers = {"NGSILD-Results-Count": str(len(rows))} if page.count else {}
    return answer(request, bodies[page.offset : page.offset + page.limit], links=links, **headers)


def counters_of(row: RegistryRow) -> Doc:
    """How the calls made for a registration or subscription went; nothing before the first."""
    if not row.sent:
        return {}
    found: Doc = {"status": "failed" if _failed_last(row) else "ok", "timesSent": row.sent}
    if row.failed:
        found["timesFailed"] = row.failed
    for name, at in (("lastSuccess", row.last_success), ("lastFailure", row.last_failure)):
        if at is not None:
            found[name] = format_instant(at)
    return found


def _failed_last(row: RegistryRow) -> bool:
    return row.last_failure is not None and (row.last_success is None or row.last_failure > row.last_success)


def _shown(request: NgsiRequest, row: RegistryRow) -> Doc:
    extra = counters_of(row)
    if "sysAttrs" in request.options:
        extra |= registering.times_of(row)
    return present_registration(msgspec.json.decode(row.doc), request.context, extra)
