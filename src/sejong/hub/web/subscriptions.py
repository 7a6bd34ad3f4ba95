"""Subscriptions over HTTP. Source: ETSI GS CIM 009 v1.9.1 clauses 5.8.1–5.8.5, 6.10 and 6.11."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import Response

from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.subscription import Definition, patched, present_subscription, read_subscription
from sejong.hub.subscriptions import Kept
from sejong.hub.web.answers import answer, created, no_content, page_links
from sejong.hub.web.asked import page_of
from sejong.hub.web.request import NgsiRequest, context_url, own_tenant
from sejong.hub.web.router_root import ROOT
from sejong.kernel.ids import new_id, urn

if TYPE_CHECKING:
    from sejong.hub.service import Hub


async def create(hub: Hub, request: NgsiRequest) -> Response:
    """POST /subscriptions"""
    body = request.body
    if not isinstance(body, dict):
        raise BadRequestData("the body must be one JSON object")
    if not body:
        raise BadRequestData("the body is an empty object")
    named = body if "id" in body else {"id": urn("Subscription", new_id(hub.clock)), **body}
    source = request.context.source
    definition = read_subscription(
        named, request.context, context_url(source), now=hub.now(), tenant=request.tenant_name
    )
    await _check_context(hub, body)
    tenant = await own_tenant(hub, request)
    if definition.inline_context is not None and hub.subscriptions.host_context is not None:
        definition.body["jsonldContext"] = await hub.subscriptions.host_context(tenant, source)
    await hub.subscriptions.create(tenant, definition)
    return created(f"{ROOT}/subscriptions/{quote(definition.id, safe=':@!$&()*+,;=~' + chr(39))}")


async def retrieve(hub: Hub, request: NgsiRequest) -> Response:
    """GET /subscriptions/{id}"""
    return answer(request, _shown(hub, request, await hub.subscriptions.retrieve(request.tenant, request.path["id"])))


async def query(hub: Hub, request: NgsiRequest) -> Response:
    """GET /subscriptions"""
    page = page_of(request)
    found, total = await hub.subscriptions.page(request.tenant, page.limit, page.offset)
    links = page_links(request, page.limit, page.offset, more=total > page.offset + page.limit and page.limit > 0)
    headers = {"NGSILD-Results-Count": str(total)} if page.count else {}
    return answer(request, [_shown(hub, request, kept) for kept in found], links=links, **headers)


async def update(hub: Hub, request: NgsiRequest) -> Response:
    """PATCH /subscriptions/{id}"""
    fragment, context, now = request.body, request.context, hub.now()

    def step(old: Definition) -> Definition:
        return patched(old, fragment, context, now=now)

    if not isinstance(fragment, dict) or not fragment:
        raise BadRequestData("the body must be one JSON object with at least one member")
    await _check_context(hub, fragment)
    await hub.subscriptions.change(request.tenant, request.path["id"], step)
    return no_content()


async def delete(hub: Hub, request: NgsiRequest) -> Response:
    """DELETE /subscriptions/{id}"""
    await hub.subscriptions.remove(request.tenant, request.path["id"])
    return no_content()


def _shown(hub: Hub, request: NgsiRequest, kept: Kept) -> dict[str, Any]:
    times = (kept.created, kept.modified) if "sysAttrs" in request.options else None
    return present_subscription(kept.definition, request.context, kept.telling, now=hub.now(), times=times)


async def _check_context(hub: Hub, body: dict[str, Any]) -> None:
    """A context that is named must be there when it is needed. Raises LdContextNotAvailable, BadRequestData."""
    wanted = body.get("jsonldContext")
    if isinstance(wanted, str):
        await hub.contexts.get(wanted)
