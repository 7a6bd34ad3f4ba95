"""Hosting @contexts for others. Source: ETSI GS CIM 009 v1.9.1 clauses 5.13, 6.29 and 6.30."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from sejong.hub.library import HOSTED_PATH, KINDS
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.web.answers import created, no_content
from sejong.hub.web.request import NgsiRequest, own_tenant

if TYPE_CHECKING:
    from sejong.hub.service import Hub
    from sejong.hub.store.contexts import ContextRow


async def host(hub: Hub, request: NgsiRequest) -> Response:
    """POST /jsonldContexts"""
    body = request.body
    if not isinstance(body, dict) or "@context" not in body:
        raise BadRequestData("the body must be an object with an @context")
    url = await hub.library.host(await own_tenant(hub, request), body["@context"])
    return created(HOSTED_PATH + url.rpartition("/")[2])


async def contexts(hub: Hub, request: NgsiRequest) -> Response:
    """GET /jsonldContexts"""
    kind = request.params.get("kind")
    if kind is not None and kind not in KINDS:
        raise BadRequestData(f"kind is one of {', '.join(KINDS)}, not {kind!r}")
    rows = await hub.library.list(request.tenant, kind)
    details = request.flag("details")
    return _json(request, [_described(row) if details else row.url for row in rows])


async def one_context(hub: Hub, request: NgsiRequest) -> Response:
    """GET /jsonldContexts/{contextName}"""
    row = await hub.library.get(request.tenant, request.path["contextName"])
    if request.flag("details"):
        return _json(request, _described(row))
    return Response(hub.library.content(row), 200, media_type=request.media)


async def remove(hub: Hub, request: NgsiRequest) -> Response:
    """DELETE /jsonldContexts/{contextName}"""
    name = request.path["contextName"]
    if request.flag("reload"):
        await hub.library.reload(request.tenant, name)
    else:
        await hub.library.remove(request.tenant, name)
    return no_content()


def _described(row: ContextRow) -> dict[str, Any]:
    times = {"createdAt": row.created, "expiresAt": row.expires, "lastUsage": row.used}
    return {
        "URL": row.url,
        "localId": row.id,
        "kind": row.kind,
        **{name: format_instant(at) for name, at in times.items() if at is not None},
        "numberOfHits": row.hits,
    }


def _json(request: NgsiRequest, body: Any) -> Response:
    return Response(msgspec.json.encode(body), 200, media_type=request.media)
