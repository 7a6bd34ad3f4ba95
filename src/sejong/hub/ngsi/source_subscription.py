"""Subscriptions to registrations: who wants to hear when a neighbour begins or ends to keep something.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.2.12, 5.2.14, 5.2.15 (data types), 5.11.2-5.11.6 (rules).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.fault import Fault, shown
from sejong.hub.ngsi.geo import parse_geo
from sejong.hub.ngsi.grammar import instant_key, is_uri
from sejong.hub.ngsi.instants import parse_temporal
from sejong.hub.ngsi.member_checks import flag, instant, pairs, text, uri
from sejong.hub.ngsi.members import NULL, Doc
from sejong.hub.ngsi.q import attributes, parse_q, render
from sejong.hub.ngsi.registration import entity_infos, present_entity_info
from sejong.hub.ngsi.scope import parse_scope_q
from sejong.hub.ngsi.source_query import SourceQuery
from sejong.hub.ngsi.sourcing import ANYTHING, wanted_of

KIND: Final = "Subscription"
_UNCHECKED: Final = frozenset(
    {"notificationTrigger", "datasetId", "localOnly", "splitEntities", "expandValues", "jsonKeys", "ngsildConformance"}
)
"""Members every subscription may have and that mean nothing for one to registrations: kept as they are."""
_IGNORED: Final = frozenset({"createdAt", "modifiedAt", "status", "@context"})
_OUTPUT_ONLY: Final = frozenset(
    {"status", "timesSent", "timesFailed", "lastNotification", "lastSuccess", "lastFailure"}
)
_REQUIRED: Final = ("notification",)


def read_subscription(body: Any, ctx: Context, *, now: str) -> Doc:
    """A subscription as the hub keeps it: types and attributes as IRIs, `csf` too. Raises BadRequestData."""
    return _complete(_checked(body, ctx, now, whole=True))


def patched_subscription(old: Doc, body: Any, ctx: Context, *, now: str) -> Doc:
    """A subscription with some members stated anew; null removes an optional one. Raises BadRequestData."""
    fragment = _checked(body, ctx, now, whole=False)
    if fragment.get("id", old["id"]) != old["id"]:
        raise BadRequestData("the id of a subscription cannot be changed")
    return _complete({key: value for key, value in {**old, **fragment}.items() if value is not None})


def query_of(doc: Doc) -> SourceQuery:
    """Which registrations a checked subscription is about."""
    names = {*doc.get("watchedAttributes", ())}
    if "q" in doc:
        names |= attributes(parse_q(doc["q"], str))
    geo, interval = doc.get("geoQ"), doc.get("temporalQ", {})
    return SourceQuery(
        who=tuple(wanted_of(entity) for entity in doc.get("entities", ())) or ANYTHING,
        names=frozenset(names) or None,
        geo=None if geo is None else parse_geo(geo["georel"], geo["geometry"], geo["coordinates"], geo["place"], str),
        csf=parse_q(doc["csf"], str) if "csf" in doc else None,
        scope=parse_scope_q(doc["scopeQ"]) if "scopeQ" in doc else None,
        interval=parse_temporal(
            interval.get("timerel"), interval.get("timeAt"), interval.get("endTimeAt"), interval.get("timeproperty")
        ),
    )


def is_active(doc: Doc, now: str) -> bool:
    """Whether its subscriber wants to hear at a moment."""
    return doc.get("isActive", True) and ("expiresAt" not in doc or instant_key(doc["expiresAt"]) > now)


def present_subscription(doc: Doc, ctx: Context, extra: Doc, counters: Doc) -> Doc:
    """A subscription with names a reader understands."""
    out = {**doc, **extra}
    out.pop("@context", None)
    if "entities" in doc:
        out["entities"] = [present_entity_info(entity, ctx) for entity in doc["entities"]]
    if "watchedAttributes" in doc:
        out["watchedAttributes"] = [ctx.compact(name) for name in doc["watchedAttributes"]]
    for name in ("q", "csf"):
        if name in doc:
            out[name] = render(parse_q(doc[name], str), lambda part: ctx.compact(part.key))
    if "geoQ" in doc:
        geo = {name: value for name, value in doc["geoQ"].items() if name != "place"}
        place = doc["geoQ"]["place"]
        out["geoQ"] = {**geo, "geoproperty": ctx.compact(place)} if place else geo
    out["notification"] = {**doc["notification"], **counters}
    return out


def _complete(doc: Doc) -> Doc:
    for name in _REQUIRED:
        if name not in doc:
            raise BadRequestData(f"{name}: required")
    if "entities" not in doc and "watchedAttributes" not in doc:
        raise BadRequestData("entities or watchedAttributes: one of them is required")
    if "timeInterval" in doc and ("watchedAttributes" in doc or "throttling" in doc):
        raise BadRequestData("timeInterval excludes watchedAttributes and throttling")
    return doc


def _checked(body: Any, ctx: Context, now: str, *, whole: bool) -> Doc:
    if not isinstance(body, dict):
        raise BadRequestData("a subscription is a JSON object")
    if not body.keys() - {"@context"}:
        raise BadRequestData("the subscription is empty")
    if ("type" in body or whole) and body.get("type") != KIND:
        raise BadRequestData(f'type must be "{KIND}", not {shown(body.get("type"))}')
    out: Doc = {}
    for name, value in body.items():
        if name in _IGNORED:
            continue
        if name in _UNCHECKED:
            out[name] = value
            continue
        if name not in _CHECKS:
            raise BadRequestData(f"a subscription to registrations has no member {shown(name)}")
        if value is None or value == NULL:
            if whole or name in ("notification", "type", "id"):
                raise BadRequestData(f"{name}: it cannot be null")
            out[name] = None
            continue
        try:
            out[name] = _CHECKS[name](value, ctx)
        except Fault as fault:
            raise BadRequestData(str(fault.within(name))) from None
    if out.get("expiresAt") is not None and instant_key(out["expiresAt"]) < now:
        raise BadRequestData(f"expiresAt: {out['expiresAt']} has already passed")
    return out


def _names(value: Any, ctx: Context) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise Fault("must be a list of names with at least one item")
    return [ctx.attribute(one) for one in value]


def _query(value: Any, ctx: Context) -> str:
    return render(parse_q(text(value, ctx), ctx.attribute), lambda name: name.key)


def _scope_query(value: Any, ctx: Context) -> str:
    parse_scope_q(value)
    return value


def _geo_query(value: Any, ctx: Context) -> Doc:
    if not isinstance(value, dict):
        raise Fault("must be an object with georel, geometry and coordinates")
    parts = [value.get(name) for name in ("georel", "geometry", "geoproperty")]
    if not all(isinstance(part, str | None) for part in parts):
        raise Fault("georel, geometry and geoproperty are texts")
    parsed = parse_geo(parts[0], parts[1], value.get("coordinates"), parts[2], ctx.attribute)
    if parsed is None:
        raise Fault("georel, geometry and coordinates are needed")
    place = None if parts[2] is None else parsed.geoproperty
    kept = {name: value[name] for name in ("georel", "geometry", "coordinates")}
    return {**kept, "place": place}


def _temporal_query(value: Any, _: Context) -> Doc:
    if not isinstance(value, dict) or not all(isinstance(part, str) for part in value.values()):
        raise Fault("must be an object of texts")
    if value.keys() - {"timerel", "timeAt", "endTimeAt", "timeproperty"} or "timerel" not in value:
        raise Fault("consists of timerel, timeAt, endTimeAt and timeproperty")
    parse_temporal(value["timerel"], value.get("timeAt"), value.get("endTimeAt"), value.get("timeproperty"))
    return value


def _positive(value: Any, _: Context) -> float:
    if value.__class__ not in (int, float) or not 0 < value < 1e12:
        raise Fault(f"{shown(value)} is not a positive number")
    return value


def _notification(value: Any, ctx: Context) -> Doc:
    if not isinstance(value, dict) or not isinstance(value.get("endpoint"), dict):
        raise Fault("must be an object with an endpoint")
    endpoint = value["endpoint"]
    try:
        scheme = urlsplit(str(endpoint.get("uri"))).scheme
    except ValueError:
        scheme = ""
    if not is_uri(endpoint.get("uri")) or scheme not in ("http", "https"):
        raise Fault(f"{shown(endpoint.get('uri'))} is not an http address", "endpoint.uri")
    if endpoint.get("accept") not in (None, "application/json", "application/ld+json"):
        raise Fault("must be application/json or application/ld+json", "endpoint.accept")
    for name in ("timeout", "cooldown"):
        if name in endpoint:
            _positive(endpoint[name], ctx)
    for name in ("attributes", "pick", "omit"):
        if name in value and not (isinstance(value[name], list) and value[name]):
            raise Fault("must be a list with at least one item", name)
    try:
        pairs(endpoint.get("receiverInfo", [{"key": "a", "value": "b"}]), ctx)
    except Fault as fault:
        raise fault.within("endpoint.receiverInfo") from None
    return {key: part for key, part in value.items() if key not in _OUTPUT_ONLY}


_CHECKS: Final[dict[str, Callable[[Any, Context], Any]]] = {
    "id": uri,
    "type": text,
    "subscriptionName": text,
    "description": text,
    "entities": entity_infos,
    "watchedAttributes": _names,
    "q": _query,
    "csf": _query,
    "scopeQ": _scope_query,
    "geoQ": _geo_query,
    "temporalQ": _temporal_query,
    "timeInterval": _positive,
    "throttling": _positive,
    "isActive": flag,
    "expiresAt": instant,
    "lang": text,
    "jsonldContext": uri,
    "notification": _notification,
}
