"""How one attribute instance takes up another: storing, partial update, deep merge, tombstones.

Pure functions on expanded instances; nothing given is changed, unchanged parts are shared. The deep merge is that of
RFC 7396 with the NGSI-LD Null in the place of JSON null. Source: ETSI GS CIM 009 v1.9.1 clauses 5.5.8, 5.5.12.
"""

from __future__ import annotations

from typing import Any

from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.fault import Fault
from sejong.hub.ngsi.geojson import check_geometry, is_geometry
from sejong.hub.ngsi.grammar import is_uri
from sejong.hub.ngsi.members import FORBIDDEN, NULL, VALUE_MEMBER, Doc, is_null

_KEPT = frozenset({"type", "datasetId", "createdAt"})


def stored(new: Doc, now: str, old: Doc | None = None) -> Doc:
    """An instance as it is written down: Nulls carried out, times set; createdAt comes from `old` if there is one."""
    out = new.copy()
    for key, value in new.items():
        cls = value.__class__
        if cls is str:
            if value == NULL:
                del out[key]
        elif cls is list and ":" in key:
            kept = [stored(sub, now, _like(sub, old, key)) for sub in value if not is_null(sub)]
            if kept:
                out[key] = kept
            else:
                del out[key]
    out["createdAt"] = now if old is None else old.get("createdAt", now)
    out["modifiedAt"] = now
    return out


def _like(sub: Doc, old: Doc | None, key: str) -> Doc | None:
    """The sub-attribute instance of `old` that `sub` takes the place of."""
    if old is None or key not in old:
        return None
    dataset = sub.get("datasetId")
    return next((other for other in old[key] if other.get("datasetId") == dataset), None)


def tombstone(instance: Doc, now: str) -> Doc:
    """The last word of an instance in history: the Null as its value, and when it was deleted."""
    kind = instance["type"]
    null: Any = {"@none": NULL} if kind == "LanguageProperty" else NULL
    out: Doc = {"type": kind, VALUE_MEMBER[kind]: null}
    for member in ("datasetId", "createdAt"):
        if member in instance:
            out[member] = instance[member]
    out["modifiedAt"] = out["deletedAt"] = now
    return out


def completed(instance: Doc, attribute: str) -> Doc:
    """A fragment that has to stand alone: kind explicit, Nulls carried out. BadRequestData if it brings no value."""
    kind = instance.get("type")
    if kind is None:
        kind = "GeoProperty" if is_geometry(instance.get("value")) else "Property"
        instance = {"type": kind, **instance}
    if VALUE_MEMBER[kind] not in instance:
        raise BadRequestData(detail=f"{attribute}: a new {kind} needs {VALUE_MEMBER[kind]}")
    if kind == "GeoProperty":
        _geometry(instance["value"], attribute)
    _check_metadata(kind, instance, attribute)
    return {key: _completed_member(key, value) for key, value in instance.items()}


def _completed_member(key: str, value: Any) -> Any:
    if ":" in key:
        return [completed(sub, key) for sub in value if not is_null(sub)]
    return without_nulls(value) if value.__class__ is dict else value


def partly_updated(current: Doc, patch: Doc, now: str, attribute: str) -> Doc:
    """`current` with the members of `patch` written over it, each as a whole."""
    kind = _same_kind(current, patch, attribute)
    out = dict(current)
    for key, value in patch.items():
        if key in _KEPT:
            continue
        if ":" in key:
            _put_subs(out, key, [_sub_replaced(sub, _like(sub, current, key), now, key) for sub in value], value)
        elif value.__class__ is str and value == NULL:
            out.pop(key, None)
        else:
            out[key] = _geometry(value, attribute) if kind == "GeoProperty" and key == "value" else value
    out["modifiedAt"] = now
    return out


def merged(current: Doc, patch: Doc, now: str, observed_at: str | None, attribute: str) -> Doc | None:
    """`current` with `patch` laid over it at every depth; None if nothing is left of its value."""
    kind = _same_kind(current, patch, attribute)
    member = VALUE_MEMBER[kind]
    out = dict(current)
    for key, value in patch.items():
        if key in _KEPT:
            continue
        if ":" in key:
            subs = [_sub_merged(sub, _like(sub, current, key), now, observed_at, key) for sub in value]
            _put_subs(out, key, subs, value)
        elif value.__class__ is str and value == NULL:
            out.pop(key, None)
        elif key == member and kind != "GeoProperty":
            out[key] = merged_json(current[key], value)
        elif key == "value":
            out[key] = _geometry(value if is_geometry(value) else merged_json(current[key], value), attribute)
        else:
            out[key] = value
    if kind == "LanguageProperty" and not out[member]:
        return None
    if observed_at is not None and "observedAt" in current and "observedAt" not in patch:
        out["observedAt"] = observed_at
    out["modifiedAt"] = now
    return out


def suited(patch: Doc, current: Doc, *, simplified: bool, lang: str | None) -> Doc:
    """A bare or simplified value in the shape of what is stored, so that the two can be merged."""
    kind = current["type"]
    if "value" not in patch or patch.get("type", "Property") != "Property":
        return patch
    value = patch["value"]
    if kind == "LanguageProperty" and lang is not None and _is_text(value):
        member, value = "languageMap", {lang: value}
    elif simplified and "type" not in patch and (shape := _simplified(kind, value)) is not None:
        member, value = VALUE_MEMBER[kind], shape
    else:
        return patch
    rest = {key: part for key, part in patch.items() if key not in ("type", "value")}
    return {member: value, **rest}


def _simplified(kind: str, value: Any) -> Any:
    uris = value if isinstance(value, list) else [value]
    if kind == "Relationship" and uris and all(map(is_uri, uris)):
        return value
    if kind == "ListRelationship" and isinstance(value, list) and all(map(is_uri, value)):
        return [{"object": uri} for uri in value]
    if kind == "ListProperty" and isinstance(value, list):
        return value
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def merged_json(target: Any, patch: Any) -> Any:
    """RFC 7396 with the NGSI-LD Null: objects are merged, everything else replaces, Null removes a member."""
    if patch.__class__ is not dict:
        return patch
    if target.__class__ is not dict:
        return without_nulls(patch)
    out = dict(target)
    for key, value in patch.items():
        if value.__class__ is str and value == NULL:
            out.pop(key, None)
        else:
            out[key] = merged_json(out.get(key), value)
    return out


def without_nulls(value: Doc) -> Doc:
    """A compound value with its Null markers carried out (the same object if it has none)."""
    if not _has_null(value):
        return value
    return {
        key: without_nulls(part) if part.__class__ is dict else part
        for key, part in value.items()
        if part.__class__ is not str or part != NULL
    }


def _has_null(value: Doc) -> bool:
    for part in value.values():
        if part.__class__ is dict:
            if _has_null(part):
                return True
        elif part.__class__ is str and part == NULL:
            return True
    return False


def _same_kind(current: Doc, patch: Doc, attribute: str) -> str:
    kind: str = current["type"]
    given = patch.get("type", kind)
    if given != kind:
        raise BadRequestData(detail=f"{attribute}: is a {kind} and cannot become a {given}")
    if "value" in patch and VALUE_MEMBER[kind] != "value":
        raise BadRequestData(detail=f"{attribute}: is a {kind} and takes {VALUE_MEMBER[kind]}, not value")
    _check_metadata(kind, patch, attribute)
    return kind


def _check_metadata(kind: str, instance: Doc, attribute: str) -> None:
    if not FORBIDDEN[kind].isdisjoint(instance):
        wrong = ", ".join(sorted(FORBIDDEN[kind] & instance.keys()))
        raise BadRequestData(detail=f"{attribute}: {wrong} does not belong into a {kind}")


def _geometry(value: Any, attribute: str) -> Doc:
    try:
        return check_geometry(value)
    except Fault as fault:
        raise BadRequestData(detail=str(fault.within("value").within(attribute))) from None


def _sub_replaced(sub: Doc, current: Doc | None, now: str, attribute: str) -> Doc | None:
    return None if is_null(sub) else stored(completed(sub, attribute), now, current)


def _sub_merged(sub: Doc, current: Doc | None, now: str, observed_at: str | None, attribute: str) -> Doc | None:
    if is_null(sub):
        return None
    if current is None:
        return stored(completed(sub, attribute), now)
    return merged(current, sub, now, observed_at, attribute)


def _put_subs(out: Doc, key: str, results: list[Doc | None], patches: list[Doc]) -> None:
    """Set the given sub-attribute instances among those that are there, each by its datasetId; None takes one away."""
    by_dataset = {sub.get("datasetId"): sub for sub in out.get(key, ())}
    for result, patch in zip(results, patches, strict=True):
        dataset = patch.get("datasetId")
        if result is None:
            by_dataset.pop(dataset, None)
        else:
            by_dataset[dataset] = result
    if by_dataset:
        out[key] = sorted(by_dataset.values(), key=lambda sub: "datasetId" in sub)
    else:
        out.pop(key, None)
