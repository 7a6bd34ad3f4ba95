"""What a query request asks for: the selection, the projection, the order, the page.

A query comes as parameters of a URL or as the members of a Query object; both are read here alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from sejong.hub.joining import Joining
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.errors import BadRequestData, TooManyResults
from sejong.hub.ngsi.grammar import is_uri
from sejong.hub.ngsi.languages import parse_lang
from sejong.hub.ngsi.members import LOCATION
from sejong.hub.ngsi.order import Ordering, parse_order
from sejong.hub.ngsi.present import feature, present
from sejong.hub.ngsi.projection import Projection, parse_dataset_ids, parse_projection
from sejong.hub.ngsi.q import parse_q
from sejong.hub.ngsi.typeselect import parse_types, type_predicate
from sejong.hub.query_object import chosen, selection_of_query
from sejong.hub.selection import Selection, Who, someone
from sejong.hub.web.negotiate import GEO_JSON, JSON
from sejong.hub.web.request import NgsiRequest

Doc = dict[str, Any]
MOST_ON_PAGE = 1000
"""Entities on one page at most. Chosen; published in docs/hub.md."""
DEFAULT_PAGE = 20
DEEPEST_JOIN = 5
"""Links that are followed one after the other at most. Chosen."""


def check_source_filters(asked: Mapping[str, Any]) -> None:
    """Whether the parameters about context sources (or such members of a Query) are well formed.

    Raises BadRequestData.
    """
    if isinstance(asked.get("csf"), str):
        parse_q(asked["csf"], str)
    if not isinstance(asked.get("splitEntities", False), bool | str):
        raise BadRequestData("splitEntities must be true or false")


def body_object(request: NgsiRequest) -> Doc:
    """The body, which must be an object with something in it. Raises BadRequestData."""
    body = request.body
    if not isinstance(body, dict):
        raise BadRequestData("the body must be one JSON object")
    if not body:
        raise BadRequestData("the body is an empty object")
    return body


def type_filter(request: NgsiRequest) -> Callable[[Doc], bool] | None:
    """Whether an entity is of the `type` a request names; None when it names none. Raises BadRequestData."""
    text = request.params.get("type")
    if text is None:
        return None
    matches = type_predicate(parse_types(text, request.context.attribute))
    return lambda entity: matches(entity["type"])


def refuse_other_id(request: NgsiRequest, body: Doc) -> None:
    """A body may repeat the id of the path, never name another. Raises BadRequestData."""
    given = body.get("id", body.get("@id"))
    if given is not None and given != request.path["id"]:
        raise BadRequestData(f"the body's id {given!r} is not the id of the path")


# --- reading parameters and members ---------------------------------------------------------------------------------


def query_members(body: Any, allowed: frozenset[str]) -> Doc:
    """The members of a Query object, their JSON types checked. Raises BadRequestData."""
    if not isinstance(body, dict):
        raise BadRequestData("the body must be one JSON object")
    if body.get("type") != "Query":
        raise BadRequestData('type must be "Query"')
    unknown = body.keys() - allowed
    if unknown:
        raise BadRequestData(f"a Query has no member {sorted(unknown)[0]!r}")
    for name, value in body.items():
        if name in _LISTS:
            _check_list(name, value)
        elif name in _OBJECTS and not isinstance(value, dict):
            raise BadRequestData(f"{name} must be an object")
        elif name == "splitEntities" and not isinstance(value, bool):
            raise BadRequestData("splitEntities must be true or false")
        elif name in _TEXTS and not (isinstance(value, str) and value):
            raise BadRequestData(f"{name} must be a text")
    return body


_LISTS = frozenset({"entities", "attrs", "pick", "omit", "datasetId", "expandValues", "jsonKeys", "containedBy"})
_OBJECTS = frozenset({"geoQ", "temporalQ", "ordering"})
_TEXTS = frozenset({"q", "scopeQ", "lang", "join", "csf"})
QUERY = frozenset({"id", "type", "joinLevel", "splitEntities", *_LISTS, *_OBJECTS, *_TEXTS}) - {"temporalQ"}
"""The members of a Query. Source: CIM 009 v1.9.1 clause 5.2.23."""
TEMPORAL_QUERY = QUERY - {"join", "joinLevel", "containedBy"} | {"temporalQ"}


def _check_list(name: str, value: Any) -> None:
    if isinstance(value, str) and value and name != "entities":
        return
    if not isinstance(value, list) or not value:
        raise BadRequestData(f"{name} must be a list with at least one item")
    if name != "entities" and not all(isinstance(item, str) and item for item in value):
        raise BadRequestData(f"{name} must be a list of texts")


# --- which entities ---------------------------------------------------------------------------------------------------


def selection_of(request: NgsiRequest, join_level: int = 0) -> Selection:
    """The entities a GET query means. Raises BadRequestData, also when it is too wide."""
    params = request.params
    ids = request.uris("id")
    who: tuple[Who, ...] = ()
    if ids is not None or "idPattern" in params or "type" in params:
        pattern = params.get("idPattern")
        # A plus sign that was not percent-encoded arrives as a blank, which no URI contains.
        pattern = None if pattern is None else pattern.replace(" ", "+")
        who = (someone(request.context.attribute, ids, pattern, params.get("type")),)
    return not_too_wide(request, chosen(params, params, who, request.context.attribute, join_level))


def selection_of_body(body: Doc, request: NgsiRequest, join_level: int = 0) -> Selection:
    """The entities a Query object means. Raises BadRequestData, also when it is too wide."""
    return not_too_wide(request, selection_of_query(body, request.context.attribute, join_level))


def not_too_wide(request: NgsiRequest, selection: Selection) -> Selection:
    """The selection, if something narrows it. Raises BadRequestData."""
    if selection.is_wide and not request.flag("local"):
        raise BadRequestData("too wide: give a type, an attribute (attrs or q), a geoquery, or local=true")
    return selection


# --- which part, in which order ---------------------------------------------------------------------------------------


class Page(msgspec.Struct, frozen=True):
    """Which part of the answer is wanted."""

    limit: int
    offset: int
    count: bool


def page_of(request: NgsiRequest, default: int = DEFAULT_PAGE) -> Page:
    """The page parameters. Raises BadRequestData, TooManyResults."""
    limit = request.number("limit", default)
    count = request.flag("count")
    if limit == 0 and not count:
        raise BadRequestData("limit=0 makes sense only with count=true")
    if limit > MOST_ON_PAGE:
        raise TooManyResults(f"at most {MOST_ON_PAGE} entities fit on a page")
    return Page(limit, request.number("offset", 0), count)


def order_of(request: NgsiRequest, asked: Mapping[str, Any] | None = None) -> Ordering | None:
    """The order the answer is wanted in (`asked`: a Query object). Raises BadRequestData, also without local=true."""
    expand, params = request.context.attribute, request.params
    if asked is None:
        order = parse_order(
            params.get("orderBy"),
            expand,
            order_from=params.get("orderFrom"),
            order_geometry=params.get("orderGeometry"),
            collation=params.get("collation"),
        )
    else:
        order = _order_of_body(asked.get("ordering"), request)
    if order is not None and not request.flag("local"):
        raise BadRequestData("orderBy is possible only in the local scope: add local=true")
    return order


def _order_of_body(ordering: Doc | None, request: NgsiRequest) -> Ordering | None:
    if ordering is None:
        return None
    by, collation, geometry = ordering.get("orderBy"), ordering.get("collation"), ordering.get("geometry")
    if not isinstance(collation, str | None) or not isinstance(geometry, str | None):
        raise BadRequestData("ordering: collation and geometry are texts")
    if not (isinstance(by, str) or (isinstance(by, list) and by)):
        raise BadRequestData("ordering: orderBy must be a list with at least one item")
    return parse_order(
        by,
        request.context.attribute,
        order_from=ordering.get("coordinates"),
        order_geometry=geometry,
        collation=collation,
    )


def joining_of(asked: Mapping[str, Any]) -> Joining | None:
    """How linked entities are wanted, None if not at all. Raises BadRequestData."""
    how, level, contained = asked.get("join"), asked.get("joinLevel"), asked.get("containedBy")
    if how not in (None, "@none", "inline", "flat"):
        raise BadRequestData(f"join is inline, flat or @none, not {how!r}")
    if how in (None, "@none"):
        for name in ("joinLevel", "containedBy"):
            if name in asked:
                raise BadRequestData(f"{name} makes sense only with join=inline or join=flat")
        return None
    ids = contained.split(",") if isinstance(contained, str) else contained or ()
    for one in ids:
        if not is_uri(one):
            raise BadRequestData(f"containedBy: {one!r} is not a URI")
    return Joining(how == "flat", _level(level), frozenset(ids))


def _level(given: Any) -> int:
    if given is None:
        return 1
    text = str(given)
    if isinstance(given, bool) or not (text.isascii() and text.isdigit()) or not int(text[:9]):
        raise BadRequestData(f"joinLevel must be a whole number of 1 or more, not {given!r}")
    if int(text[:9]) > DEEPEST_JOIN:
        raise TooManyResults(f"at most {DEEPEST_JOIN} links are followed one after the other (joinLevel)")
    return int(text)


# --- how it is shown --------------------------------------------------------------------------------------------------


class Shown:
    """How entities are to be shown, for one request."""

    def __init__(self, request: NgsiRequest, asked: Mapping[str, Any] | None = None) -> None:
        given: Mapping[str, Any] = request.params if asked is None else asked
        self.context: Context = request.context
        self.joining = joining_of(given)
        self.projection: Projection = parse_projection(
            given.get("pick"),
            given.get("omit"),
            given.get("attrs"),
            request.context.attribute,
            join_level=0 if self.joining is None else self.joining.level,
        )
        self.datasets = parse_dataset_ids(given.get("datasetId"))
        self.lang: str | None = given.get("lang")
        if self.lang is not None:
            parse_lang(self.lang)
        self.geo = request.media == GEO_JSON
        self.format = request.format
        name = request.params.get("geometryProperty")
        if name is not None and not self.geo:
            raise BadRequestData("geometryProperty makes sense only for application/geo+json")
        self.geometry = LOCATION if name is None else request.context.attribute(name)
        self._options: dict[str, Any] = {
            "fmt": request.format,
            "sys_attrs": "sysAttrs" in request.options,
            "dataset_ids": self.datasets,
            "lang": self.lang,
        }

    @property
    def join_level(self) -> int:
        """How many links away something may be asked for."""
        return 0 if self.joining is None else self.joining.level

    def show(self, entity: Doc, projection: Projection | None = None) -> Doc:
        """One entity as the client wants it; empty when the projection leaves nothing of it."""
        if not self.geo:
            return self.plain(entity, projection)
        part = projection or self.projection
        return feature(
            entity, self.context, geometry_property=self.geometry, keep=part.keep, drop=part.drop, **self._options
        )

    def plain(self, entity: Doc, projection: Projection | None = None) -> Doc:
        """The same, not as a Feature of a map."""
        part = projection or self.projection
        return present(entity, self.context, keep=part.keep, drop=part.drop, **self._options)

    def something(self, body: Doc) -> bool:
        """Whether the projection left anything of an entity."""
        if not self.geo:
            return bool(body)
        return bool(body.get("properties")) or "id" in body or body.get("geometry") is not None


def is_linkable(request: NgsiRequest) -> bool:
    """Whether the answer names its context by a `Link`, which can only lead to one address."""
    return request.media == JSON or (request.media == GEO_JSON and request.prefer.get("body") == "json")
