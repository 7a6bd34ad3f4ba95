"""The NGSI-LD operations as OpenAPI paths, made from the same table the router uses."""

from __future__ import annotations

import re
from typing import Any

from sejong.hub.web.negotiate import GEO_JSON, JSON, LD_JSON
from sejong.hub.web.operations import FLAGS, OPERATIONS, Operation
from sejong.hub.web.router_root import ROOT

_NUMBERS = frozenset({"limit", "offset", "lastN", "joinLevel"})
_PROBLEM = {
    "description": "ProblemDetails (RFC 7807) in the words of CIM 009 clause 5.5.2",
    "content": {JSON: {"schema": {"type": "object", "required": ["type", "title", "status"]}}},
}
_QUERY = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"const": "Query"}, "entities": {"type": "array", "items": {"type": "object"}}},
}
_BODIES: dict[str, dict[str, Any]] = {
    "entityOperations/query": _QUERY,
    "entityMaps/{id}": {"type": "object", "properties": {"expiresAt": {"type": "string", "format": "date-time"}}},
    "entityMaps": _QUERY,
    "snapshots": {"type": "object", "properties": {"type": {"const": "Snapshot"}}},
    "temporal/entityMaps": _QUERY,
    "entityOperations/delete": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "uri"}},
}


def ngsi_ld_paths() -> dict[str, Any]:
    """OpenAPI path items of everything under `/ngsi-ld/v1`."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(ROOT + operation.path, {})[operation.method.lower()] = _operation(operation)
    return paths


def _operation(operation: Operation) -> dict[str, Any]:
    name = re.sub(r"\W+", "_", f"{operation.method}{operation.path}").strip("_").lower()
    path = [
        {"name": n, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for n in re.findall(r"{(\w+)}", operation.path)
    ]
    query = [
        {"name": n, "in": "query", "required": False, "schema": _parameter(n, operation)}
        for n in sorted(operation.params)
    ]
    described: dict[str, Any] = {
        "operationId": f"ngsi_ld_{name}",
        "summary": operation.summary,
        "tags": ["NGSI-LD"],
        "parameters": [*path, *query],
        "responses": _responses(operation),
    }
    if operation.body:
        described["requestBody"] = {
            "required": not operation.body_may_miss,
            "content": {JSON: {"schema": _body(operation)}},
        }
    return described


def _parameter(name: str, operation: Operation) -> dict[str, Any]:
    if name in _NUMBERS:
        return {"type": "integer", "minimum": 0}
    if name in FLAGS:
        return {"type": "boolean"}
    if name == "format":
        return {"type": "string", "enum": sorted(operation.formats)}
    return {"type": "string", "minLength": 1}


def _body(operation: Operation) -> dict[str, Any]:
    for part, schema in _BODIES.items():
        if operation.path.strip("/").startswith(part):
            return schema
    if operation.path.startswith("/entityOperations"):
        return {"type": "array", "minItems": 1, "items": {"type": "object"}}
    return {"type": "object", "minProperties": 1}


def _responses(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {str(operation.ok): {"description": operation.summary}}
    if operation.method == "GET" or operation.answers:
        media = [JSON, LD_JSON, *([GEO_JSON] if operation.geo else [])]
        found[str(operation.ok)]["content"] = {m: {"schema": {"type": ["object", "array"]}} for m in media}
        if "entityMap" in operation.params:
            found["201"] = {"description": "As 200, and an entity map was made; NGSILD-EntityMap names it"}
        found["203"] = {"description": "As an older version of the standard would have answered"}
        if "temporal" in operation.path:
            found["206"] = {"description": "Part of the history; Content-Range says which"}
    if (operation.method, operation.path) == ("DELETE", "/snapshots"):
        found["207"] = {"description": "Some could not be deleted; the body says which and why"}
    if "entityOperations" in operation.path or operation.path.endswith("/attrs"):
        found["207"] = {"description": "Some of it was not written; the body says what and why"}
    if operation.ok == 201 and operation.path != "/entities":
        found["204"] = {"description": "Done; nothing new was created"}
    for status in ("400", "403", "404", "409", "503", "504"):
        found[status] = _PROBLEM
    found["401"] = {"description": "An API key that nobody has"}
    found["429"] = {"description": "Too many requests; Retry-After says when to come back"}
    for status in ("405", "406", "411", "413", "415"):
        found[status] = {"description": "Refused before anything was read"}
    return found
