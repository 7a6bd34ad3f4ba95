"""Where a request leaves this hub: whether it may, what it asks of other hubs, and what its answer warns of.

Source: ETSI GS CIM 009 v1.9.1 clauses 4.3.6, 5.7.1, 5.7.2, 6.3.17, 6.3.18.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from sejong.hub.federation import reads
from sejong.hub.federation.journey import Journey
from sejong.hub.ngsi.errors import ResourceNotFound
from sejong.hub.ngsi.q import parse_q
from sejong.hub.ngsi.typeselect import parse_types, type_predicate

if TYPE_CHECKING:
    from sejong.hub.federation.reads import Gathered
    from sejong.hub.selection import Selection
    from sejong.hub.service import Hub
    from sejong.hub.web.asked import Page, Shown
    from sejong.hub.web.request import NgsiRequest

Doc = dict[str, Any]


def is_distributed(hub: Hub, request: NgsiRequest) -> bool:
    """Whether other hubs may have a part in it: some registration of its tenant, and not only the local scope."""
    if not hub.registry.has(request.tenant):
        return False
    return not request.flag("local") and request.params.get("type") != "*"


def journey_of(hub: Hub, request: NgsiRequest) -> Journey:
    """The way of a request through other hubs. Raises LoopDetected."""
    return Journey(hub, request.tenant, request.tenant_name, request.headers)


def with_warnings(response: Response, journey: Journey) -> Response:
    """The answer, saying which sources failed."""
    for name, value in journey.headers().items():
        response.headers[name] = value
    return response


async def entity_together(journey: Journey, request: NgsiRequest, shown: Shown) -> Doc:
    """One entity as all hubs know it. Raises ResourceNotFound."""
    entity_id, wanted = request.path["id"], request.params.get("type")
    selected = None if wanted is None else parse_types(wanted, request.context.attribute)
    types = None if selected is None else selected.types
    entity = await reads.retrieve(journey, entity_id, types, _names(shown, frozenset()))
    if selected is not None and not type_predicate(selected)(entity["type"]):
        raise ResourceNotFound(f"no entity {entity_id} of type {wanted}")
    return entity


async def entities_together(
    journey: Journey, request: NgsiRequest, shown: Shown, selection: Selection, page: Page
) -> Gathered | None:
    """A page of entities as all hubs know them; None when no other hub is concerned."""
    given = request.body if isinstance(request.body, dict) else request.params
    csf, split = given.get("csf"), given.get("splitEntities", False)
    asked = reads.Asked(
        selection=selection,
        names=_names(shown, selection.asked() | (selection.attributes or frozenset())),
        limit=page.limit,
        offset=page.offset,
        count=page.count,
        split=split is True or str(split).lower() == "true",
        csf=None if csf is None else parse_q(csf, request.context.attribute),
    )
    return await reads.query(journey, asked)


def _names(shown: Shown, asked: frozenset[str]) -> frozenset[str] | None:
    """The attributes that will be looked at: those shown and those asked about; None: any."""
    keep = shown.projection.keep
    if keep is None:
        return None
    names = {name for name in keep if ":" in name} | asked
    if shown.geo:
        names.add(shown.geometry)
    return frozenset(names) or None
