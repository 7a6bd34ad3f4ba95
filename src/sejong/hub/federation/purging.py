"""Purging what other hubs keep. Source: ETSI GS CIM 009 v1.9.1 clauses 5.6.21, 4.3.6 and 4.20 (purgeEntity)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from sejong.hub.calls import SourceFault
from sejong.hub.federation.faults import failure_of
from sejong.hub.federation.journey import Journey
from sejong.hub.federation.reads import filters_of, joined, parameters, spelled, wanted_of_selection
from sejong.hub.ngsi.errors import OperationNotSupported
from sejong.hub.ngsi.q import Query
from sejong.hub.ngsi.sourcing import Names
from sejong.hub.registry import Match
from sejong.hub.selection import Selection


async def purge_elsewhere(
    journey: Journey, selection: Selection, parts: Mapping[str, Names | None], csf: Query | None = None
) -> None:
    """Have the sources that offer it purge what a query means (`parts`: attributes to `keep` or to `drop`).

    Raises what the first source that failed makes of it; the others have done their part.
    """
    matches = journey.sources(wanted_of_selection(selection), None, ("purgeEntity",), csf)
    if not matches:
        return
    push = filters_of(selection)
    if push is None:
        raise OperationNotSupported("this query cannot be passed on to the hubs that keep part of what it means")

    async def purge(match: Match) -> SourceFault | None:
        source, part = match
        try:
            ctx = await journey.naming(source)
            named = {name: ",".join(sorted(map(ctx.compact, some))) for name, some in parts.items() if some}
            for wanted in joined(part.who):
                params = {**parameters(wanted, None, ctx), **spelled(push, ctx), **named}
                params.pop("options")
                await journey.call(source, "DELETE", "/entities", params)
        except SourceFault as fault:
            return fault
        return None

    for fault in await asyncio.gather(*map(purge, matches)):
        if fault is not None:
            raise failure_of(fault)
