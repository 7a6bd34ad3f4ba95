"""Speaking to older readers: answers reduced to what an earlier edition of NGSI-LD knew (`Prefer: ngsi-ld=1.x`).

Source: ETSI GS CIM 009 v1.9.1 clause 4.3.6.8 and its table of fallbacks.
"""

from __future__ import annotations

import re
from typing import Any, Final

from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.fault import shown
from sejong.hub.ngsi.members import ENTITY_HEAD, KIND_OF_MEMBER, METADATA, SYSTEM_TIMES, Doc
from sejong.hub.ngsi.present import Format

_VERSION: Final = re.compile(r"1\.([0-9]{1,2})(?:\.[0-9]{1,2})?").fullmatch
_SINCE: Final = {
    "scope": 4,
    "datasetId": 3,
    "observedAt": 3,
    "unitCode": 3,
    "objectType": 8,
    "expiresAt": 9,
    "valueType": 9,
}
_SEVERAL_TYPES: Final = 3
_NEWER_VALUES: Final = {"languageMap": 4, "vocab": 8, "json": 8, "valueList": 8, "objectList": 8}
_MEMBERS: Final = frozenset({"type", "instanceId", "lang", *KIND_OF_MEMBER, *METADATA, *SYSTEM_TIMES})


def downgrade(document: Any, version: str, fmt: Format = "normalized") -> Any:
    """A presented entity, Feature, FeatureCollection or list of them as version `1.x` would have written it.

    The same object when nothing had to change, so that `is` tells 200 from 203. Raises BadRequestData for a version
    that is not `1.x`.
    """
    found = _VERSION(version)
    if found is None:
        raise BadRequestData(detail=f"{shown(version)} is not a version of NGSI-LD such as 1.6")
    changed = _document(document, int(found[1]), fmt)
    return document if changed == document else changed


def _document(document: Any, minor: int, fmt: Format) -> Any:
    if isinstance(document, list):
        return [_document(one, minor, fmt) for one in document]
    if document.get("type") == "FeatureCollection":
        return {**document, "features": [_document(one, minor, fmt) for one in document["features"]]}
    if document.get("type") == "Feature":
        return {**document, "properties": _document(document["properties"], minor, fmt)}
    out = {
        key: value if key in ENTITY_HEAD or key == "@context" else _attribute(value, minor, fmt)
        for key, value in document.items()
        if minor >= _SINCE.get(key, 0)
    }
    if minor < _SEVERAL_TYPES and isinstance(out.get("type"), list):
        out["type"] = out["type"][0]
    return out


def _attribute(value: Any, minor: int, fmt: Format) -> Any:
    if isinstance(value, list) and all(map(_has_members, value)) and value:
        instances = [_instance(one, minor, fmt) for one in value]
        return instances[0] if minor < _SINCE["datasetId"] else instances
    if not isinstance(value, dict):
        return value
    if fmt == "simplified":
        (member, inner), *others = [*value.items(), ("", None)][:2]
        alone = others == [("", None)]
        return inner if alone and minor < _NEWER_VALUES.get(member, 0) else value
    return _instance(value, minor, fmt) if _has_members(value) else value


def _has_members(value: Any) -> bool:
    return isinstance(value, dict) and not KIND_OF_MEMBER.keys().isdisjoint(value)


def _instance(instance: Doc, minor: int, fmt: Format) -> Doc:
    out: Doc = {}
    for key, value in instance.items():
        if minor < _SINCE.get(key, 0):
            continue
        if minor < _NEWER_VALUES.get(key, 0):
            is_link = key == "objectList"
            out["object" if is_link else "value"] = [one["object"] for one in value] if is_link else value
            if "type" in out:
                out["type"] = "Relationship" if is_link else "Property"
        else:
            out[key] = value if key in _MEMBERS else _attribute(value, minor, fmt)
    return out
