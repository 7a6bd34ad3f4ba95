"""Which types and attributes the record has. Source: ETSI GS CIM 009 v1.9.1 clauses 5.7.5–5.7.10 and 6.25–6.28."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from sejong.hub.federation import discovery as elsewhere
from sejong.hub.federation.discovery import Elsewhere
from sejong.hub.federation.journey import Journey
from sejong.hub.ngsi.errors import ResourceNotFound
from sejong.hub.web.answers import answer, page_links
from sejong.hub.web.asked import MOST_ON_PAGE, page_of
from sejong.hub.web.distributed import is_distributed, journey_of, with_warnings
from sejong.hub.web.request import NgsiRequest

if TYPE_CHECKING:
    from sejong.hub.service import Hub, Use


async def types(hub: Hub, request: NgsiRequest) -> Response:
    """GET /types"""
    more, said = await _elsewhere(hub, request, partial(elsewhere.types, details=request.flag("details")))
    uses = await hub.uses(request.tenant) + more.uses
    names = sorted({use.type for use in uses})
    compact = request.context.compact
    if request.flag("details"):
        items = [
            {
                "id": name,
                "type": "EntityType",
                "typeName": compact(name),
                "attributeNames": sorted(
                    {compact(use.attribute) for use in uses if use.type == name and use.attribute}
                ),
            }
            for name in names
        ]
        return said(_page(request, items))
    return said(_list(request, "EntityTypeList", "typeList", [compact(name) for name in names]))


async def one_type(hub: Hub, request: NgsiRequest) -> Response:
    """GET /types/{type}"""
    name = request.context.attribute(request.path["type"])
    more, said = await _elsewhere(hub, request, partial(elsewhere.one_type, iri=name))
    uses = [use for use in await hub.uses(request.tenant) if use.type == name]
    if not uses and not more.uses:
        raise ResourceNotFound(f"no entity has the type {name}")
    kinds = await hub.kinds_of(request.tenant, name, {use.attribute for use in uses if use.attribute})
    for attribute, found in more.kinds.items():
        kinds.setdefault(attribute, set()).update(found)
    details = [
        {
            "id": attribute,
            "type": "Attribute",
            "attributeName": request.context.compact(attribute),
            "attributeTypes": sorted(kinds[attribute]),
        }
        for attribute in sorted(kinds)
    ]
    body = {
        "id": name,
        "type": "EntityTypeInfo",
        "typeName": request.context.compact(name),
        "entityCount": max((use.entities for use in uses), default=0) + more.count,
        "attributeDetails": details,
    }
    return said(answer(request, body))


async def attributes(hub: Hub, request: NgsiRequest) -> Response:
    """GET /attributes"""
    more, said = await _elsewhere(hub, request, partial(elsewhere.attributes, details=request.flag("details")))
    uses = [use for use in (*await hub.uses(request.tenant), *more.uses) if use.attribute]
    names = sorted({use.attribute for use in uses})
    compact = request.context.compact
    if request.flag("details"):
        items = [
            {
                "id": name,
                "type": "Attribute",
                "attributeName": compact(name),
                "typeNames": sorted({compact(use.type) for use in uses if use.attribute == name}),
            }
            for name in names
        ]
        return said(_page(request, items))
    return said(_list(request, "AttributeList", "attributeList", [compact(name) for name in names]))


async def one_attribute(hub: Hub, request: NgsiRequest) -> Response:
    """GET /attributes/{attr}"""
    name = request.context.attribute(request.path["attr"])
    more, said = await _elsewhere(hub, request, partial(elsewhere.one_attribute, iri=name))
    uses = [use for use in await hub.uses(request.tenant) if use.attribute == name]
    if not uses and not more.uses:
        raise ResourceNotFound(f"no entity has the attribute {name}")
    compact = request.context.compact
    kinds = more.kinds.get(name, set())
    for kind in {use.type for use in uses}:
        kinds |= (await hub.kinds_of(request.tenant, kind, {name}))[name]
    body = {
        "id": name,
        "type": "Attribute",
        "attributeName": compact(name),
        "attributeCount": sum(_first_types(uses)) + more.count,
        "attributeTypes": sorted(kinds),
        "typeNames": sorted({compact(use.type) for use in (*uses, *more.uses)}),
    }
    return said(answer(request, body))


async def _elsewhere(
    hub: Hub, request: NgsiRequest, ask: Callable[[Journey], Awaitable[Elsewhere]]
) -> tuple[Elsewhere, Callable[[Response], Response]]:
    """What other hubs have, and how the answer says which of them failed."""
    if not is_distributed(hub, request):
        return Elsewhere(), lambda response: response
    journey = journey_of(hub, request)
    return await ask(journey), lambda response: with_warnings(response, journey)


def _first_types(uses: list[Use]) -> list[int]:
    return [use.with_attribute for use in uses if not use.second]


def _list(request: NgsiRequest, kind: str, member: str, names: list[str]) -> Response:
    page = page_of(request, MOST_ON_PAGE)
    shown = names[page.offset : page.offset + page.limit]
    body: dict[str, Any] = {"id": f"urn:ngsi-ld:{kind}:{len(names)}", "type": kind, member: shown}
    return _finish(request, body, len(names))


def _page(request: NgsiRequest, items: list[dict[str, Any]]) -> Response:
    page = page_of(request, MOST_ON_PAGE)
    return _finish(request, items[page.offset : page.offset + page.limit], len(items))


def _finish(request: NgsiRequest, body: Any, total: int) -> Response:
    page = page_of(request, MOST_ON_PAGE)
    links = page_links(request, page.limit, page.offset, more=total > page.offset + page.limit)
    headers = {"NGSILD-Results-Count": str(total)} if page.count else {}
    return answer(request, body, links=links, **headers)
