"""The addresses of the data API as one table, from which routes and the OpenAPI document are made."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from sejong.hub.opendata.dataset import DataSet
from sejong.hub.opendata.export import FORMATS

PROBLEM = "application/problem+json"
_TEXT = {"type": "string", "minLength": 1}
_QUERY = ("type", "q", "scopeQ", "idPattern", "georel", "geometry", "coordinates", "geoproperty", "attrs")


class DataOperation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of the data API."""

    method: str
    path: str
    handler: str
    """Name of a method of `DataApi`."""
    summary: str
    params: tuple[str, ...] = ()
    body: str = ""
    """Which body it reads: `set` or `key`."""
    ok: int = 200
    media: str = "application/json"
    key: str = ""
    """`operator`: needs an operator's key; `own`: is about the key it shows."""


SETS = "/data/v1/sets"
DATA_OPERATIONS: tuple[DataOperation, ...] = (
    DataOperation(method="GET", path=SETS, handler="list", summary="Data sets of the city", params=("q", "theme")),
    DataOperation(method="POST", path=SETS, handler="create", summary="Declare a data set", body="set", ok=201,
                  key="operator"),
    DataOperation(method="GET", path=SETS + "/{id}/history.{format}", handler="history", media="file",
                  summary="The history of a data set as a file", params=("since", "until")),
    DataOperation(method="GET", path=SETS + "/{id}/quality", handler="quality", summary="How good a data set is"),
    DataOperation(method="POST", path=SETS + "/{id}/quality", handler="measure", summary="Measure a data set now",
                  key="operator"),
    DataOperation(method="GET", path=SETS + "/{id}/provenance", handler="provenance",
                  summary="Who wrote the attributes of a data set: device key, mapping and its version"),
    DataOperation(method="GET", path=SETS + "/{id}/model", handler="model", media="application/schema+json",
                  summary="The declared model of a data set, else an inferred one"),
    DataOperation(method="GET", path=SETS + "/{id}.{format}", handler="file", summary="A data set as a file",
                  media="file", params=("format",)),
    DataOperation(method="GET", path=SETS + "/{id}", handler="one", summary="One data set"),
    DataOperation(method="PUT", path=SETS + "/{id}", handler="change", summary="Declare a data set anew", body="set",
                  ok=204, key="operator"),
    DataOperation(method="DELETE", path=SETS + "/{id}", handler="withdraw", summary="Withdraw a data set", ok=204,
                  key="operator"),
    DataOperation(method="GET", path="/data/v1/export.{format}", handler="export", media="file",
                  summary="Any query as a file", params=("format", *_QUERY)),
    DataOperation(method="GET", path="/data/catalog.jsonld", handler="catalog", media="application/ld+json",
                  summary="The catalogue as DCAT-AP 3", params=("theme",)),
    DataOperation(method="POST", path="/data/v1/keys", handler="make_key", summary="A key for a program", body="key",
                  ok=201),
    DataOperation(method="GET", path="/data/v1/keys/mine", handler="my_key", summary="What my key may do and has done",
                  key="own"),
    DataOperation(method="DELETE", path="/data/v1/keys/mine", handler="drop_key", summary="Take my key away", ok=204,
                  key="own"),
)  # fmt: skip


def data_paths() -> dict[str, Any]:
    """OpenAPI path items of the data API. An address with a file ending is described once for each format."""
    paths: dict[str, Any] = {}
    for row in DATA_OPERATIONS:
        if row.media != "file":
            paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, row.path, row.media)
            continue
        for ending, media in FORMATS.items():
            path = row.path.replace("{format}", ending)
            paths.setdefault(path, {})[row.method.lower()] = _operation(row, path, media)
    return paths


def _operation(row: DataOperation, path: str, media: str) -> dict[str, Any]:
    name = re.sub(r"\W+", "_", f"{row.method}{path}").strip("_").lower()
    places = [
        {"name": n, "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[a-z][a-z0-9-]*$"}}
        for n in re.findall(r"{(\w+)}", path)
    ]
    asked = [{"name": n, "in": "query", "required": False, "schema": _schema(n)} for n in row.params]
    described: dict[str, Any] = {
        "operationId": f"data_{name}",
        "summary": row.summary,
        "tags": ["Data"],
        "parameters": [*places, *asked],
        "responses": _responses(row, media),
    }
    if row.key:
        described["security"] = [{"apiKey": []}]
    if row.body:
        schema = {"$ref": "#/components/schemas/DataSet"} if row.body == "set" else _NEW_KEY
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described


_NEW_KEY = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 80}},
}


def _schema(name: str) -> dict[str, Any]:
    if name == "format":
        return {"type": "string", "enum": ["normalized", "concise", "simplified"]}
    return {"type": "string", "format": "date-time"} if name in ("since", "until") else _TEXT


def _responses(row: DataOperation, media: str) -> dict[str, Any]:
    found: dict[str, Any] = {str(row.ok): {"description": row.summary}}
    if row.ok != 204:
        media = media.partition(";")[0]
        found[str(row.ok)]["content"] = {media: {"schema": {} if row.media == "file" else {"type": "object"}}}
    problem = {"content": {PROBLEM: {"schema": {"type": "object", "required": ["type", "title", "status", "detail"]}}}}
    reasons = {
        "400": "Something about the request is wrong; detail and detail_ko say what",
        "401": "An unknown key, or none where one is needed",
        "403": "Not for this key",
        "404": "There is no such thing",
        "409": "It is there already",
        "413": "Too large",
        "429": "Too many requests; Retry-After says when to come back",
        "503": "The database is away",
    }
    return found | {status: {"description": said, **problem} for status, said in reasons.items()}


def components() -> dict[str, Any]:
    """The schemas and the key that the paths refer to."""
    _, schemas = msgspec.json.schema_components([DataSet], ref_template="#/components/schemas/{name}")
    key = {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "From /dev"}
    return {"schemas": schemas, "securitySchemes": {"apiKey": key}}
