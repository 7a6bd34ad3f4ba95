"""Reading histories. Source: ETSI GS CIM 009 v1.9.1 clauses 5.7.3, 5.7.4, 6.18, 6.19, 6.24 and 6.3.10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from sejong.hub.history import MOST_ROWS, Evolution, Span
from sejong.hub.ngsi.aggregation import Aggregation, Summaries, check_applied, parse_aggregation
from sejong.hub.ngsi.errors import BadRequestData, ResourceNotFound
from sejong.hub.ngsi.instants import (
    TemporalFilter,
    format_instant_brief,
    parse_instant,
    parse_temporal,
    parse_timeproperty,
)
from sejong.hub.ngsi.members import SCOPE
from sejong.hub.ngsi.order import Ordering
from sejong.hub.ngsi.temporal import Page, Row, chosen, cut, present_temporal, time_of
from sejong.hub.ngsi.typeselect import parse_types, type_predicate
from sejong.hub.selection import Selection
from sejong.hub.web.answers import answer, page_links
from sejong.hub.web.asked import (
    TEMPORAL_QUERY,
    Shown,
    check_source_filters,
    is_linkable,
    order_of,
    page_of,
    query_members,
    selection_of,
    selection_of_body,
)
from sejong.hub.web.maps import Mapped, made, mapped, mapped_one
from sejong.hub.web.request import NgsiRequest, context_url

if TYPE_CHECKING:
    from sejong.hub.service import Hub
    from sejong.hub.store.entities import Stored


class _Asked(msgspec.Struct, frozen=True):
    """The temporal part of a request."""

    interval: TemporalFilter | None
    timeproperty: str
    last_n: int | None
    aggregation: Aggregation | None
    format: str

    @property
    def moment(self) -> str:
        """The member that says when an instance happened."""
        return "observedAt" if self.interval is None else self.interval.timeproperty


def _asked(request: NgsiRequest, members: Mapping[str, Any] | None = None) -> _Asked:
    params = request.params if members is None else members
    for name in ("timerel", "timeAt", "endTimeAt", "timeproperty"):
        if not isinstance(params.get(name), str | None):
            raise BadRequestData(f"{name} must be a text")
    interval = parse_temporal(
        params.get("timerel"), params.get("timeAt"), params.get("endTimeAt"), params.get("timeproperty")
    )
    last_n = _last_n(request, params)
    shape = {"simplified": "temporalValues"}.get(request.format, request.format)
    aggregation = None
    if shape == "aggregatedValues":
        asked = {name: request.params.get(name, params.get(name)) for name in ("aggrMethods", "aggrPeriodDuration")}
        for name, value in asked.items():
            if isinstance(value, list):
                asked[name] = ",".join(map(str, value))
            elif not isinstance(value, str | None):
                raise BadRequestData(f"{name} must be a text")
        aggregation = parse_aggregation(asked["aggrMethods"], asked["aggrPeriodDuration"])
    return _Asked(interval, parse_timeproperty(params.get("timeproperty")), last_n, aggregation, shape)


def _last_n(request: NgsiRequest, members: Mapping[str, Any]) -> int | None:
    """How many of the newest instances are wanted: a parameter, or a member of temporalQ."""
    if "lastN" in request.params:
        last_n = request.number("lastN", 0)
    else:
        last_n = members.get("lastN")
        if last_n is None:
            return None
    if not isinstance(last_n, int) or isinstance(last_n, bool) or not 0 < last_n < 1 << 62:
        raise BadRequestData("lastN must be a whole number of 1 or more")
    return last_n


async def retrieve(hub: Hub, request: NgsiRequest) -> Response:
    """GET /temporal/entities/{id}"""
    check_source_filters(request.params)
    asked, shown = _asked(request), Shown(request)
    wanted = request.params.get("type")
    matches = None if wanted is None else type_predicate(parse_types(wanted, request.context.attribute))
    known = await hub.known(request.tenant, request.path["id"])
    found = [] if known is None else await _read(hub, [known.no], _span(shown, asked), asked, known)
    if not found or (matches is not None and not matches(found[0].entity["type"])):
        raise ResourceNotFound(f"no entity {request.path['id']}")
    named = shown.projection.required
    if named and not found[0].rows and not await hub.histories.has_any(found[0].number, named):
        raise ResourceNotFound(f"{request.path['id']} has never had one of these attributes")
    used = await mapped_one(hub, request, Span())
    return _answer(hub, request, asked, shown, found, single=True, used=used)


async def query(hub: Hub, request: NgsiRequest) -> Response:
    """GET /temporal/entities"""
    check_source_filters(request.params)
    asked, shown = _asked(request), Shown(request)
    return await _found(hub, request, asked, shown, selection_of(request), order_of(request))


async def query_by_post(hub: Hub, request: NgsiRequest) -> Response:
    """POST /temporal/entityOperations/query"""
    body = query_members(request.body, TEMPORAL_QUERY)
    check_source_filters(body)
    asked, shown = _asked(request, body.get("temporalQ", {})), Shown(request, body)
    selection, order = selection_of_body(body, request), order_of(request, body)
    if not isinstance(request.context.source, str | None) and is_linkable(request):
        request.context = await hub.contexts.get(context_url(request.context.source))
    return await _found(hub, request, asked, shown, selection, order)


async def _found(
    hub: Hub, request: NgsiRequest, asked: _Asked, shown: Shown, selection: Selection, order: Ordering | None
) -> Response:
    page, span = page_of(request), _timed(_span(shown, asked))
    if order is not None and not order.only_by_id:
        raise BadRequestData("histories can be ordered by id only")
    selection, used = await mapped(hub, request, selection, span)
    enough = None if page.count or order is not None else page.offset + page.limit + 1
    numbers = await hub.histories.meant(request.tenant, selection, span, enough)
    if order is not None:
        numbers = await hub.by_id(numbers, descending=order.terms[0].descending)
    some = numbers[page.offset : page.offset + page.limit]
    found = await _read(hub, some, span, asked)
    links = page_links(request, page.limit, page.offset, more=len(numbers) > page.offset + page.limit)
    headers = {"NGSILD-Results-Count": str(len(numbers))} if page.count else {}
    return _answer(hub, request, asked, shown, found, links=links, headers=headers, used=used)


async def make_map(hub: Hub, request: NgsiRequest) -> Response:
    """GET /temporal/entityMaps"""
    check_source_filters(request.params)
    return await made(hub, request, selection_of(request), _span_of(request))


async def make_map_by_post(hub: Hub, request: NgsiRequest) -> Response:
    """POST /temporal/entityMaps"""
    body = query_members(request.body, TEMPORAL_QUERY)
    check_source_filters(body)
    return await made(hub, request, selection_of_body(body, request), _span_of(request, body))


def _span_of(request: NgsiRequest, body: Mapping[str, Any] | None = None) -> Span:
    asked = _asked(request, None if body is None else body.get("temporalQ", {}))
    return _timed(_span(Shown(request, body), asked))


def _timed(span: Span) -> Span:
    if span.interval is None:
        raise BadRequestData("timerel and timeAt are needed")
    return span


async def _read(
    hub: Hub, numbers: list[int], span: Span, asked: _Asked, known: Stored | None = None
) -> list[Evolution]:
    """The histories of these entities; for an aggregation, of what figures say it all the figures only."""
    if asked.aggregation is None or asked.last_n is not None or not numbers:
        return await hub.histories.of(numbers, span, _most(hub, asked), known)
    summary = await hub.rollups.summary(numbers, span.interval, span.attributes, asked.aggregation)
    if summary is None:
        return await hub.histories.of(numbers, span, MOST_ROWS, known)
    rest = msgspec.structs.replace(span, attributes=summary.unfit)
    found = await hub.histories.of(numbers, rest, MOST_ROWS, known)
    return [msgspec.structs.replace(one, figures=summary.figures.get(one.number, {})) for one in found]


def _figures(evolution: Evolution, shown: Shown) -> Summaries:
    """The figures of one entity that the client wants to see."""
    wanted = {
        attribute: {one: figures for one, figures in datasets.items() if (one or "@none") in shown.datasets}
        if shown.datasets is not None
        else datasets
        for attribute, datasets in evolution.figures.items()
        if shown.projection.shows("scope" if attribute == SCOPE else attribute)
    }
    return {attribute: datasets for attribute, datasets in wanted.items() if datasets}


def _most(hub: Hub, asked: _Asked) -> int:
    return MOST_ROWS if asked.aggregation is not None else hub.settings.temporal_max_instances


def _span(shown: Shown, asked: _Asked) -> Span:
    keep = shown.projection.required or shown.projection.keep
    attributes = None
    if keep is not None:
        attributes = frozenset(SCOPE if name == "scope" else name for name in keep if ":" in name or name == "scope")
    return Span(interval=asked.interval, attributes=attributes, last_n=asked.last_n, datasets=shown.datasets)


def _answer(
    hub: Hub,
    request: NgsiRequest,
    asked: _Asked,
    shown: Shown,
    found: Sequence[Evolution],
    *,
    links: list[str] | None = None,
    headers: dict[str, str] | None = None,
    single: bool = False,
    used: Mapped | None = None,
) -> Response:
    rows = [_wanted(evolution.rows, asked, shown) for evolution in found]
    figures = [_figures(evolution, shown) for evolution in found]
    parts, page = _cut(rows, asked, _most(hub, asked))
    bodies = [
        present_temporal(
            evolution.entity,
            part,
            request.context,
            fmt=asked.format,  # type: ignore[arg-type]  # checked against the operation's formats
            temporal=asked.interval,
            timeproperty=asked.timeproperty,
            aggregation=asked.aggregation,
            summaries=known,
            attributes=dict.fromkeys([*(row.attribute for row in whole), *sorted(evolution.attributes)]),
            sys_attrs="sysAttrs" in request.options,
            keep=shown.projection.keep,
            drop=shown.projection.drop,
            dataset_ids=shown.datasets,
            lang=shown.lang,
        )
        for evolution, whole, part, known in zip(found, rows, parts, figures, strict=True)
        if single or whole or known or evolution.attributes
    ]
    if asked.aggregation is not None:
        check_applied(bodies, asked.aggregation)
    if single and not bodies[0]:
        raise ResourceNotFound(f"nothing is left of {request.path['id']}")
    response = answer(
        request, bodies[0] if single else [body for body in bodies if body], links=links or (), **(headers or {})
    )
    if page.start is not None and page.end is not None:
        start, end = (format_instant_brief(parse_instant(moment)) for moment in (page.start, page.end))
        size = "*" if asked.last_n is None else str(asked.last_n)
        response.status_code = 206
        response.headers["Content-Range"] = f"date-time {start}-{end}/{size}"
    return response if used is None else used.mark(response)


def _wanted(rows: Sequence[Row], asked: _Asked, shown: Shown) -> list[Row]:
    """The rows of one entity that the client wants to see."""
    projection, datasets = shown.projection, shown.datasets
    return [
        row
        for row in chosen(rows, asked.interval, asked.last_n)
        if projection.shows("scope" if row.attribute == SCOPE else row.attribute)
        and (datasets is None or row.instance.get("datasetId", "@none") in datasets)
    ]


def _cut(rows: list[list[Row]], asked: _Asked, most: int) -> tuple[list[list[Row]], Page]:
    """What of the entities' rows fits into one answer: all up to one moment, so that none is ahead of another."""
    everything = [row for part in rows for row in part]
    if len(everything) <= most:
        return rows, Page([])
    everything.sort(key=lambda row: time_of(row.instance, asked.moment))
    page = cut(everything, most, asked.interval, last_n=asked.last_n)
    fitting = {row.instance_id for row in page.rows}
    return [[row for row in part if row.instance_id in fitting] for part in rows], page
