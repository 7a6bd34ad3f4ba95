"""What a Query object means, wherever it comes from: a request now, or a snapshot that is prepared later.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.2.23 (Query), 5.2.21 (TemporalQuery), 5.2.33 (EntitySelector).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from sejong.hub.history import Span
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.grammar import is_uri
from sejong.hub.ngsi.instants import parse_temporal
from sejong.hub.ngsi.members import SCOPE
from sejong.hub.ngsi.projection import Projection, only_datasets, parse_dataset_ids, parse_projection
from sejong.hub.selection import Selection, Who, select, someone

Doc = dict[str, Any]
Expand = Callable[[str], str]
_KEPT = frozenset({"id", "type", "createdAt", "modifiedAt", "expiresAt"})


class Wanted(msgspec.Struct, frozen=True):
    """The entities a Query means and the part of them it wants; `span`: that it wants their histories."""

    selection: Selection
    projection: Projection
    datasets: frozenset[str] | None = None
    span: Span | None = None

    @property
    def is_whole(self) -> bool:
        """Whether entities are wanted as they are."""
        return self.projection.is_whole and self.datasets is None

    def part(self, entity: Doc) -> Doc:
        """What of an expanded entity is wanted, its head always."""
        shows = self.projection.shows
        part = {key: value for key, value in entity.items() if key in _KEPT or shows(key)}
        return part if self.datasets is None else only_datasets(part, self.datasets)


def wanted(query: Mapping[str, Any], expand: Expand, *, temporal: bool) -> Wanted:
    """What a Query object (its members' JSON types checked) asks for. Raises BadRequestData, TooComplexQuery."""
    selection = selection_of_query(query, expand)
    projection = parse_projection(query.get("pick"), query.get("omit"), query.get("attrs"), expand)
    datasets = parse_dataset_ids(query.get("datasetId"))
    if not temporal:
        return Wanted(selection, projection, datasets)
    keep = projection.required or projection.keep
    attributes = None
    if keep is not None:
        attributes = frozenset(SCOPE if name == "scope" else name for name in keep if ":" in name or name == "scope")
    times = query.get("temporalQ", {})
    for name in ("timerel", "timeAt", "endTimeAt", "timeproperty"):
        if not isinstance(times.get(name), str | None):
            raise BadRequestData(f"{name} must be a text")
    interval = parse_temporal(
        times.get("timerel"), times.get("timeAt"), times.get("endTimeAt"), times.get("timeproperty")
    )
    if interval is None:
        raise BadRequestData("temporalQ needs timerel and timeAt")
    newest = times.get("lastN")
    if newest is not None and (not isinstance(newest, int) or isinstance(newest, bool) or not 0 < newest < 1 << 31):
        raise BadRequestData("lastN must be a whole number of 1 or more")
    return Wanted(selection, projection, None, Span(interval=interval, attributes=attributes, last_n=newest))


def selection_of_query(body: Mapping[str, Any], expand: Expand, join_level: int = 0) -> Selection:
    """The entities a Query object means. Raises BadRequestData, TooComplexQuery."""
    who = tuple(_entity_info(item, expand) for item in body.get("entities", ()))
    geo = body.get("geoQ", {})
    if "geoQ" in body and not geo:
        raise BadRequestData("geoQ is empty")
    for name in ("georel", "geometry", "geoproperty"):
        if not isinstance(geo.get(name), str | None):
            raise BadRequestData(f"geoQ: {name} must be a text")
    return chosen(body, geo, who, expand, join_level)


def chosen(
    asked: Mapping[str, Any], geo: Mapping[str, Any], who: tuple[Who, ...], expand: Expand, join_level: int
) -> Selection:
    """The selection behind the parameters (or members) of a query. Raises BadRequestData, TooComplexQuery."""
    scope_q = asked.get("scopeQ")
    return select(
        expand,
        who=who,
        q=asked.get("q"),
        georel=geo.get("georel"),
        geometry=geo.get("geometry"),
        coordinates=geo.get("coordinates"),
        geoproperty=geo.get("geoproperty"),
        scope_q=None if scope_q is None else scope_q.replace(" ", "+"),
        attrs=parse_projection(None, None, asked.get("attrs"), expand).required,
        expand_values=asked.get("expandValues"),
        json_keys=asked.get("jsonKeys"),
        join_level=join_level,
    )


def _entity_info(item: Any, expand: Expand) -> Who:
    if not isinstance(item, Mapping) or item.keys().isdisjoint(("id", "idPattern", "type")):
        raise BadRequestData("entities: every item is an object with id, idPattern or type")
    ids = item.get("id")
    if isinstance(ids, str):
        ids = [ids]
    if "id" in item and not (isinstance(ids, list) and ids and all(is_uri(one) for one in ids)):
        raise BadRequestData("entities: id is a URI or a list of URIs")
    types, pattern = item.get("type"), item.get("idPattern")
    if not isinstance(types, str | None) or not isinstance(pattern, str | None):
        raise BadRequestData("entities: type and idPattern are texts")
    return someone(expand, ids, pattern, types)
