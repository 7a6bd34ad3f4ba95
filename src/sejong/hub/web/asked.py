"""What a query request asks for: the selection, the projection, the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from sejong.hub.ngsi.errors import BadRequestData, InvalidRequest, TooManyResults
from sejong.hub.ngsi.grammar import is_uri
from sejong.hub.ngsi.members import LOCATION
from sejong.hub.ngsi.present import feature, present
from sejong.hub.ngsi.projection import Projection, parse_dataset_ids, parse_projection
from sejong.hub.selection import Selection, select, someone
from sejong.hub.web.negotiate import GEO_JSON
from sejong.hub.web.request import NgsiRequest

if TYPE_CHECKING:
    from sejong.hub.service import Hub

MOST_ON_PAGE = 1000
"""Entities on one page at most. Chosen; published in docs/hub.md."""
DEFAULT_PAGE = 20
LATER = ("join", "joinLevel", "containedBy", "entityMap", "entityMapLifetime", "csf", "orderBy", "orderFrom",
         "orderGeometry", "collation", "splitEntities")  # fmt: skip
"""Parameters of the standard that this first half of the hub does not carry out yet: said, never ignored."""


def refuse_later(request: NgsiRequest) -> None:
    """Say that a parameter is not carried out yet. Raises InvalidRequest."""
    for name in LATER:
        if name in request.params:
            raise InvalidRequest(f"{name} is not supported by this version of the hub yet")


def selection_of(request: NgsiRequest) -> Selection:
    """The entities a GET query means. Raises BadRequestData, also when it is too wide."""
    params, context = request.params, request.context
    ids = request.uris("id")
    who = ()
    if ids is not None or "idPattern" in params or "type" in params:
        who = (someone(context.attribute, ids, params.get("idPattern"), params.get("type")),)
    selection = select(
        context.attribute,
        who=who,
        q=params.get("q"),
        georel=params.get("georel"),
        geometry=params.get("geometry"),
        coordinates=params.get("coordinates"),
        geoproperty=params.get("geoproperty"),
        scope_q=params.get("scopeQ"),
        attrs=request.words("attrs"),
        expand_values=params.get("expandValues"),
        json_keys=params.get("jsonKeys"),
    )
    if selection.is_wide and not request.flag("local"):
        raise BadRequestData("too wide: give a type, an attribute (attrs or q), a georel, or local=true")
    return selection


def purge_selection(request: NgsiRequest) -> Selection:
    """The entities a purge means: as a query, but `attrs` does not exist there. Raises BadRequestData."""
    refuse_later(request)
    return selection_of(request)


def selection_of_body(body: Mapping[str, Any], request: NgsiRequest) -> Selection:
    """The entities a POST query means. Raises BadRequestData."""
    expand = request.context.attribute
    who = tuple(_entity_info(item, request) for item in _list(body, "entities") or ())
    geo = body.get("geoQ") or {}
    if not isinstance(geo, Mapping):
        raise BadRequestData("geoQ must be an object")
    selection = select(
        expand,
        who=who,
        q=_text(body, "q"),
        georel=geo.get("georel"),
        geometry=geo.get("geometry"),
        coordinates=geo.get("coordinates"),
        geoproperty=geo.get("geoproperty"),
        scope_q=_text(body, "scopeQ"),
        attrs=_list(body, "attrs"),
        expand_values=_list(body, "expandValues"),
        json_keys=_list(body, "jsonKeys"),
    )
    if selection.is_wide and not request.flag("local"):
        raise BadRequestData("too wide: give entities with a type, attrs, q, geoQ, or local=true")
    return selection


def _entity_info(item: Any, request: NgsiRequest) -> Any:
    if not isinstance(item, Mapping):
        raise BadRequestData("entities: every item is an object")
    ids = item.get("id")
    if isinstance(ids, str):
        ids = [ids]
    if ids is not None and (
        not isinstance(ids, list) or not ids or not all(isinstance(i, str) and is_uri(i) for i in ids)
    ):
        raise BadRequestData("entities: id is a URI or a list of URIs")
    types, pattern = item.get("type"), item.get("idPattern")
    if not isinstance(types, str | None) or not isinstance(pattern, str | None):
        raise BadRequestData("entities: type and idPattern are texts")
    return someone(request.context.attribute, ids, pattern, types)


def _list(body: Mapping[str, Any], name: str) -> list[Any] | None:
    value = body.get(name)
    if name not in body:
        return None
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not value:
        raise BadRequestData(f"{name} must be a list with at least one item")
    if name != "entities" and not all(isinstance(item, str) and item for item in value):
        raise BadRequestData(f"{name} must be a list of names")
    return value


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if name in body and (not isinstance(value, str) or not value):
        raise BadRequestData(f"{name} must be a text")
    return value


class Page(msgspec.Struct, frozen=True):
    """Which part of the answer is wanted."""

    limit: int
    offset: int
    count: bool


def page_of(request: NgsiRequest) -> Page:
    """The page parameters. Raises BadRequestData, TooManyResults."""
    limit = request.number("limit", DEFAULT_PAGE)
    count = request.flag("count")
    if limit == 0 and not count:
        raise BadRequestData("limit=0 makes sense only with count=true")
    if limit > MOST_ON_PAGE:
        raise TooManyResults(f"at most {MOST_ON_PAGE} entities fit on a page")
    return Page(limit, request.number("offset", 0), count)


class Shown:
    """How entities are to be shown, for one request."""

    def __init__(self, request: NgsiRequest, asked: Mapping[str, Any] | None = None) -> None:
        given: Mapping[str, Any] = request.params if asked is None else asked
        self.request = request
        self.projection: Projection = parse_projection(
            given.get("pick"), given.get("omit"), given.get("attrs"), request.context.attribute
        )
        self.datasets = parse_dataset_ids(given.get("datasetId"))
        self.lang = given.get("lang")
        self.geo = request.media == GEO_JSON
        name = request.params.get("geometryProperty")
        if name is not None and not self.geo:
            raise BadRequestData("geometryProperty makes sense only for application/geo+json")
        self.geometry = LOCATION if name is None else request.context.attribute(name)

    def show(self, entity: dict[str, Any]) -> dict[str, Any]:
        """One entity as the client wants it; empty when the projection leaves nothing of it."""
        options: dict[str, Any] = {
            "fmt": self.request.format,
            "sys_attrs": "sysAttrs" in self.request.options,
            "keep": self.projection.keep,
            "drop": self.projection.drop,
            "dataset_ids": self.datasets,
            "lang": self.lang,
        }
        if self.geo:
            return feature(entity, self.request.context, geometry_property=self.geometry, **options)
        return present(entity, self.request.context, **options)


def living(hub: Hub, docs: Sequence[bytes]) -> list[dict[str, Any]]:
    """Decoded documents without what has expired."""
    now = hub.now()
    return [entity for doc in docs if (entity := hub.living(doc, now)) is not None]
