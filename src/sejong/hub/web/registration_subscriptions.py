"""Subscriptions to registrations. Source: ETSI GS CIM 009 v1.9.1 clauses 5.11, 6.12 and 6.13."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from starlette.responses import Response

from sejong.hub.federation import subscribing
from sejong.hub.federation.registering import times_of
from sejong.hub.ngsi.grammar import instant_key
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.ngsi.source_subscription import patched_subscription, present_subscription, read_subscription
from sejong.hub.web.answers import answer, created, no_content
from sejong.hub.web.registrations import counters_of, paged
from sejong.hub.web.request import NgsiRequest, own_tenant
from sejong.hub.web.router_root import ROOT

if TYPE_CHECKING:
    from sejong.hub.service import Hub
    from sejong.hub.store.registry import RegistryRow

Doc = dict[str, Any]


async def create(hub: Hub, request: NgsiRequest) -> Response:
    """POST /csourceSubscriptions"""
    doc = read_subscription(request.body, request.context, now=hub.now())
    tenant = await own_tenant(hub, request)
    doc["@context"] = await _context_to_keep(hub, request, tenant, doc)
    made = await subscribing.subscribe(hub, tenant, doc)
    return created(f"{ROOT}/csourceSubscriptions/{quote(made, safe=':')}")


async def _context_to_keep(hub: Hub, request: NgsiRequest, tenant: int, doc: Doc) -> str | None:
    """The address of the context notifications are written in; one given inline is hosted here."""
    given = doc.get("jsonldContext", request.context.source)
    if given is None or isinstance(given, str):
        await hub.contexts.get(given)
        return given
    return await hub.library.host(tenant, given, kind="ImplicitlyCreated")


async def query(hub: Hub, request: NgsiRequest) -> Response:
    """GET /csourceSubscriptions"""
    rows = await subscribing.every(hub, request.tenant)
    return paged(request, rows, [_shown(hub, request, row) for row in rows])


async def retrieve(hub: Hub, request: NgsiRequest) -> Response:
    """GET /csourceSubscriptions/{id}"""
    return answer(request, _shown(hub, request, await subscribing.one(hub, request.tenant, request.path["id"])))


async def update(hub: Hub, request: NgsiRequest) -> Response:
    """PATCH /csourceSubscriptions/{id}"""
    await subscribing.change(
        hub,
        request.tenant,
        request.path["id"],
        lambda old: patched_subscription(old, request.body, request.context, now=hub.now()),
    )
    return no_content()


async def delete(hub: Hub, request: NgsiRequest) -> Response:
    """DELETE /csourceSubscriptions/{id}"""
    await subscribing.remove(hub, request.tenant, request.path["id"])
    return no_content()


def _shown(hub: Hub, request: NgsiRequest, row: RegistryRow) -> Doc:
    doc = msgspec.json.decode(row.doc)
    expired = "expiresAt" in doc and instant_key(doc["expiresAt"]) <= hub.now()
    status = "expired" if expired else "active" if doc.get("isActive", True) else "paused"
    extra: Doc = {"status": status, "isActive": doc.get("isActive", True)}
    if "sysAttrs" in request.options:
        extra |= times_of(row)
    counters = counters_of(row)
    last = max((at for at in (row.last_success, row.last_failure) if at is not None), default=None)
    if last is not None:
        counters["lastNotification"] = format_instant(last)
    return present_subscription(doc, request.context, extra, counters)
