"""Reading histories. Source: ETSI GS CIM 009 v1.9.1 clauses 5.7.3, 5.7.4, 6.18, 6.19 and 6.3.10.

Writing histories directly (6.18.3.1 and the instance operations) comes with the second half of the hub.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from sejong.hub.history import Evolution
from sejong.hub.ngsi.aggregation import Aggregation, parse_aggregation
from sejong.hub.ngsi.errors import BadRequestData, ResourceNotFound
from sejong.hub.ngsi.instants import TemporalFilter, parse_temporal, parse_timeproperty
from sejong.hub.ngsi.temporal import Page, chosen, cut, present_temporal
from sejong.hub.ngsi.typeselect import parse_types, type_predicate
from sejong.hub.web.answers import answer, page_links
from sejong.hub.web.asked import Shown, page_of, refuse_later, selection_of
from sejong.hub.web.request import NgsiRequest

if TYPE_CHECKING:
    from sejong.hub.service import Hub


class _Asked(msgspec.Struct, frozen=True):
    """The temporal part of a request."""

    interval: TemporalFilter | None
    timeproperty: str
    last_n: int | None
    aggregation: Aggregation | None


def _asked(request: NgsiRequest) -> _Asked:
    params = request.params
    interval = parse_temporal(
        params.get("timerel"), params.get("timeAt"), params.get("endTimeAt"), params.get("timeproperty")
    )
    last_n = request.number("lastN", 0) if "lastN" in params else None
    if last_n == 0:
        raise BadRequestData("lastN must be 1 or more")
    aggregation = None
    if request.format == "aggregatedValues":
        aggregation = parse_aggregation(params.get("aggrMethods"), params.get("aggrPeriodDuration"))
    return _Asked(interval, parse_timeproperty(params.get("timeproperty")), last_n, aggregation)


async def retrieve(hub: Hub, request: NgsiRequest) -> Response:
    """GET /temporal/entities/{id}"""
    refuse_later(request)
    asked, shown = _asked(request), Shown(request)
    wanted = request.params.get("type")
    matches = None if wanted is None else type_predicate(parse_types(wanted, request.context.attribute))
    numbers = await hub.numbers_of_id(request.tenant, request.path["id"])
    found = await hub.histories(request.tenant, numbers, asked.interval, _attributes(shown), asked.last_n)
    if not found or (matches is not None and not matches(found[0].entity["type"])):
        raise ResourceNotFound(f"no entity {request.path['id']}")
    return _answer(hub, request, asked, shown, found, single=True)


async def query(hub: Hub, request: NgsiRequest) -> Response:
    """GET /temporal/entities"""
    refuse_later(request)
    asked, shown = _asked(request), Shown(request)
    if asked.interval is None:
        raise BadRequestData("timerel and timeAt are needed")
    page = page_of(request)
    selection = selection_of(request)
    numbers = await hub.numbers_of(request.tenant, selection)
    numbers = await hub.with_history(numbers, asked.interval, _attributes(shown))
    chosen_numbers = numbers[page.offset : page.offset + page.limit]
    found = await hub.histories(request.tenant, chosen_numbers, asked.interval, _attributes(shown), asked.last_n)
    links = page_links(request, page.limit, page.offset, more=len(numbers) > page.offset + page.limit)
    headers = {"NGSILD-Results-Count": str(len(numbers))} if page.count else {}
    return _answer(hub, request, asked, shown, found, links=links, headers=headers)


def _attributes(shown: Shown) -> frozenset[str] | None:
    keep = shown.projection.keep
    return None if keep is None else frozenset(name for name in keep if ":" in name)


def _answer(
    hub: Hub,
    request: NgsiRequest,
    asked: _Asked,
    shown: Shown,
    found: list[Evolution],
    *,
    links: list[str] | None = None,
    headers: dict[str, str] | None = None,
    single: bool = False,
) -> Response:
    most = hub.settings.temporal_max_instances
    bodies: list[dict[str, Any]] = []
    partial: Page | None = None
    for evolution in found:
        rows = chosen(evolution.rows, asked.interval, asked.last_n)
        page = Page(rows) if asked.aggregation else cut(rows, most, asked.interval, last_n=asked.last_n)
        if page.start is not None:
            partial = page
        bodies.append(
            present_temporal(
                evolution.entity,
                page.rows,
                request.context,
                fmt=request.format,  # type: ignore[arg-type]  # checked against the operation's formats
                temporal=asked.interval,
                timeproperty=asked.timeproperty,
                aggregation=asked.aggregation,
                attributes=dict.fromkeys(row.attribute for row in rows),
                sys_attrs="sysAttrs" in request.options,
                keep=shown.projection.keep,
                drop=shown.projection.drop,
                dataset_ids=shown.datasets,
                lang=shown.lang,
            )
        )
    response = answer(request, bodies[0] if single else bodies, links=links or (), **(headers or {}))
    if partial is not None:
        size = "*" if asked.last_n is None else str(asked.last_n)
        response.status_code = 206
        response.headers["Content-Range"] = f"date-time {partial.start}-{partial.end}/{size}"
    return response
