"""Context source registrations: checking what a neighbour city says it keeps, and the form the hub keeps of it.

Names are kept as IRIs; a user's own members (what `csf` asks about) lie under their IRIs too.
Source: ETSI GS CIM 009 v1.9.1 clauses 5.2.8-5.2.10 and 5.2.35 (data types), 4.3.6 (modes), 5.9.2 and 5.9.3 (rules).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.fault import Fault, shown
from sejong.hub.ngsi.geojson import check_geometry
from sejong.hub.ngsi.grammar import instant_key, is_scope
from sejong.hub.ngsi.instants import parse_duration
from sejong.hub.ngsi.member_checks import array, flag, instant, pairs, text, uri
from sejong.hub.ngsi.members import NULL, Doc
from sejong.hub.ngsi.patterns import compile_pattern
from sejong.hub.ngsi.source_operations import is_operation, is_read

KIND: Final = "ContextSourceRegistration"
MODES: Final = ("inclusive", "exclusive", "redirect", "auxiliary")
PROXIED: Final = frozenset({"exclusive", "redirect"})
"""Modes whose entities (or attributes) are not kept here at all."""
OUTPUT_ONLY: Final = frozenset(
    {"createdAt", "modifiedAt", "status", "timesSent", "timesFailed", "lastSuccess", "lastFailure"}
)
GEOMETRIES: Final = ("location", "observationSpace", "operationSpace")
INTERVALS: Final = ("observationInterval", "managementInterval")
_REQUIRED: Final = ("information", "endpoint")


def read_registration(body: Any, ctx: Context, *, now: str) -> Doc:
    """A registration as the hub keeps it (without an id if none was given). Raises BadRequestData."""
    return _checked(body, ctx, now, whole=True)


def patched_registration(old: Doc, body: Any, ctx: Context, *, now: str) -> Doc:
    """A registration with some members stated anew; null removes an optional one. Raises BadRequestData."""
    fragment = _checked(body, ctx, now, whole=False)
    if fragment.get("id", old["id"]) != old["id"]:
        raise BadRequestData("the id of a registration cannot be changed")
    new = {key: value for key, value in {**old, **fragment}.items() if value is not None}
    for name in _REQUIRED:
        if name not in new:
            raise BadRequestData(f"{name}: it cannot be removed")
    _check_mode(new)
    return new


def _checked(body: Any, ctx: Context, now: str, *, whole: bool) -> Doc:
    if not isinstance(body, dict):
        raise BadRequestData("a registration is a JSON object")
    if not body.keys() - {"@context"}:
        raise BadRequestData("the registration is empty")
    if "type" in body or whole:
        given = body.get("type")
        if given != KIND:
            raise BadRequestData(f'type must be "{KIND}", not {shown(given)}')
    out: Doc = {}
    for name, value in body.items():
        if name in OUTPUT_ONLY or name == "@context":
            continue
        if value is None or value == NULL:
            if whole:
                raise BadRequestData(f"{name}: null says nothing in a new registration")
            out[name if name in _CHECKS else ctx.attribute(name)] = None
            continue
        try:
            if name in _CHECKS:
                out[name] = _CHECKS[name](value, ctx)
            else:
                out[ctx.attribute(name)] = value
        except Fault as fault:
            raise BadRequestData(str(fault.within(name))) from None
    expires = out.get("expiresAt")
    if expires is not None and instant_key(expires) < now:
        raise BadRequestData(f"expiresAt: {expires} has already passed")
    if whole:
        for name in _REQUIRED:
            if name not in out:
                raise BadRequestData(f"{name}: required")
        _check_mode(out)
    return out


def _check_mode(doc: Doc) -> None:
    """What a mode demands. Raises BadRequestData. Source: clause 4.3.6."""
    mode = doc.get("mode", "inclusive")
    if mode == "auxiliary":
        for name in doc.get("operations", ()):
            if not is_read(name):
                raise BadRequestData(f"operations: an auxiliary source only adds to answers; {name} changes something")
    if mode != "exclusive":
        return
    for info in doc["information"]:
        if not (info.get("propertyNames") or info.get("relationshipNames")):
            raise BadRequestData("information: an exclusive registration names its attributes")
        entities = info.get("entities", ())
        if not entities or not all("id" in entity for entity in entities):
            raise BadRequestData("information: an exclusive registration names its entity by id")


# --- the members ------------------------------------------------------------------------------------------------------


def _name(value: Any, ctx: Context) -> str:
    if not isinstance(value, str):
        raise Fault(f"{shown(value)} is not a name")
    try:
        return ctx.attribute(value)
    except BadRequestData as refused:
        raise Fault(refused.detail) from None


def _names(value: Any, ctx: Context) -> list[str]:
    return list(dict.fromkeys(_name(one, ctx) for one in array(value)))


def _information(value: Any, ctx: Context) -> list[Doc]:
    return [_at(place, _one_information, item, ctx) for place, item in enumerate(array(value))]


def _at(place: int, check: Callable[[Any, Context], Doc], item: Any, ctx: Context) -> Doc:
    try:
        return check(item, ctx)
    except Fault as fault:
        raise fault.within(f"[{place}]") from None


def _one_information(item: Any, ctx: Context) -> Doc:
    if not isinstance(item, dict) or item.keys().isdisjoint(_INFORMATION):
        raise Fault("must be an object with entities, propertyNames or relationshipNames")
    return _members(item, _INFORMATION, ctx)


def _members(item: Mapping[str, Any], checks: Mapping[str, Callable[[Any, Context], Any]], ctx: Context) -> Doc:
    out: Doc = {}
    for name, value in item.items():
        if name not in checks:
            raise Fault(f"has no member {shown(name)}")
        try:
            out[name] = checks[name](value, ctx)
        except Fault as fault:
            raise fault.within(name) from None
    return out


def entity_infos(value: Any, ctx: Context) -> list[Doc]:
    """A list of EntityInfo objects, types as IRIs. Raises Fault. Source: clause 5.2.8."""
    return [_at(place, _entity_info, item, ctx) for place, item in enumerate(array(value))]


def _entity_info(item: Any, ctx: Context) -> Doc:
    if not isinstance(item, dict) or item.keys().isdisjoint(_ENTITY_INFO):
        raise Fault("must be an object with type, id or idPattern")
    return _members(item, _ENTITY_INFO, ctx)


def _type(value: Any, ctx: Context) -> str | list[str]:
    return _names(value, ctx) if isinstance(value, list) else _name(value, ctx)


def _id(value: Any, ctx: Context) -> str | list[str]:
    return [uri(one, ctx) for one in array(value)] if isinstance(value, list) else uri(value, ctx)


def _pattern(value: Any, ctx: Context) -> str:
    said = text(value, ctx)
    try:
        compile_pattern(said)
    except BadRequestData as refused:
        raise Fault(refused.detail) from None
    return said


def _mode(value: Any, _: Context) -> str:
    if value not in MODES:
        raise Fault(f"{shown(value)} is not one of {', '.join(MODES)}")
    return value


def _operations(value: Any, _: Context) -> list[str]:
    for name in array(value):
        if not is_operation(name):
            raise Fault(f"{shown(name)} is no operation of a context source")
    return value


def _interval(value: Any, ctx: Context) -> Doc:
    if not isinstance(value, dict) or "startAt" not in value:
        raise Fault("must be an object with startAt and perhaps endAt")
    out = _members(value, {"startAt": instant, "endAt": instant}, ctx)
    if "endAt" in out and instant_key(out["endAt"]) < instant_key(out["startAt"]):
        raise Fault("endAt lies before startAt")
    return out


def _geometry(value: Any, _: Context) -> Doc:
    if isinstance(value, dict) and value.get("type") == "GeoProperty":
        value = value.get("value")
    return check_geometry(value)


def _management(value: Any, ctx: Context) -> Doc:
    if not isinstance(value, dict) or not value:
        raise Fault("must be an object with localOnly, timeout, cooldown or cacheDuration")
    return _members(value, _MANAGEMENT, ctx)


def _milliseconds(value: Any, _: Context) -> float:
    if value.__class__ not in (int, float) or not 0 < value < 1e9:
        raise Fault(f"{shown(value)} is not a positive number of milliseconds")
    return value


def _duration(value: Any, ctx: Context) -> str:
    said = text(value, ctx)
    try:
        parse_duration(said)
    except BadRequestData as refused:
        raise Fault(refused.detail) from None
    return said


def _datasets(value: Any, ctx: Context) -> list[str]:
    return [one if one == "@none" else uri(one, ctx) for one in array(value)]


def _scope(value: Any, _: Context) -> str | list[str]:
    for one in array(value) if isinstance(value, list) else [value]:
        if not is_scope(one):
            raise Fault(f"{shown(one)} is not a scope such as /Sejong/Nasung")
    return value


_ENTITY_INFO: Final[dict[str, Callable[[Any, Context], Any]]] = {"type": _type, "id": _id, "idPattern": _pattern}
_INFORMATION: Final[dict[str, Callable[[Any, Context], Any]]] = {
    "entities": entity_infos,
    "propertyNames": _names,
    "relationshipNames": _names,
}
_MANAGEMENT: Final[dict[str, Callable[[Any, Context], Any]]] = {
    "localOnly": flag,
    "timeout": _milliseconds,
    "cooldown": _milliseconds,
    "cacheDuration": _duration,
}
_CHECKS: Final[dict[str, Callable[[Any, Context], Any]]] = {
    "id": uri,
    "type": text,
    "registrationName": text,
    "description": text,
    "information": _information,
    "endpoint": uri,
    "mode": _mode,
    "operations": _operations,
    "contextSourceInfo": pairs,
    "contextSourceAlias": text,
    "tenant": text,
    "datasetId": _datasets,
    "expiresAt": instant,
    "observationInterval": _interval,
    "managementInterval": _interval,
    "location": _geometry,
    "observationSpace": _geometry,
    "operationSpace": _geometry,
    "management": _management,
    "refreshRate": _duration,
    "scope": _scope,
}
MEMBERS: Final = frozenset(_CHECKS)
"""The standard's own members, which keep their names."""


# --- showing ----------------------------------------------------------------------------------------------------------


def present_registration(doc: Doc, ctx: Context, extra: Doc) -> Doc:
    """A registration with names a reader understands; `extra`: the hub's own members to be shown with it."""
    out = {name if name in MEMBERS else ctx.compact(name): value for name, value in doc.items()}
    out["information"] = [_shown_information(info, ctx) for info in doc["information"]]
    return {**out, **extra}


def _shown_information(info: Doc, ctx: Context) -> Doc:
    out = dict(info)
    if "entities" in info:
        out["entities"] = [present_entity_info(entity, ctx) for entity in info["entities"]]
    for name in ("propertyNames", "relationshipNames"):
        if name in info:
            out[name] = [ctx.compact(one) for one in info[name]]
    return out


def present_entity_info(entity: Doc, ctx: Context) -> Doc:
    """An EntityInfo with names a reader understands."""
    types = entity.get("type")
    if types is None:
        return entity
    return {**entity, "type": [ctx.compact(one) for one in types] if isinstance(types, list) else ctx.compact(types)}
