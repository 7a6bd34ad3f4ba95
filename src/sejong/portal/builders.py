"""What the builders' pages are given: the catalogue, keys, the API's own description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from sejong.hub.api import Catalogue, Keys
from sejong.kit.act import Record


class Builders(msgspec.Struct, frozen=True):
    """The parts of a running city that builders' pages speak to."""

    catalogue: Catalogue
    keys: Keys
    record: Record
    paths: Mapping[str, Any]
    """The paths of the OpenAPI document."""


class Call(msgspec.Struct, frozen=True):
    """One operation of the API as the console shows it."""

    id: str
    method: str
    path: str
    summary: str
    params: Sequence[tuple[str, str, bool]]
    """Name, where (`path` or `query`), whether it must be given."""
    has_body: bool
    example: Mapping[str, str]
    """Values that make a first call succeed."""


FIRST: Mapping[str, Mapping[str, str]] = {
    "GET /ngsi-ld/v1/entities": {"type": "BikeHireDockingStation", "limit": "3", "format": "simplified"},
    "GET /ngsi-ld/v1/types": {"details": "false"},
    "GET /data/v1/sets": {"q": ""},
    "GET /sta/v1.1/{set}": {"set": "Datastreams", "$top": "3", "$expand": "Thing"},
    "GET /data/v1/export.csv": {"type": "BikeHireDockingStation"},
}
"""What is filled in before anybody types. The type is one every city pack of ours has."""
GROUPS: Sequence[tuple[str, str]] = (("data", "/data/"), ("ngsi", "/ngsi-ld/"), ("sta", "/sta/"))


def calls(paths: Mapping[str, Any]) -> dict[str, list[Call]]:
    """The operations of the API by group, reading before writing."""
    found: dict[str, list[Call]] = {name: [] for name, _ in GROUPS}
    for path, methods in paths.items():
        group = next((name for name, start in GROUPS if path.startswith(start)), None)
        if group is None:
            continue
        for method, said in methods.items():
            params = [(p["name"], p["in"], bool(p.get("required"))) for p in said["parameters"]]
            label = f"{method.upper()} {path}"
            call = Call(
                id=said["operationId"],
                method=method.upper(),
                path=path,
                summary=said["summary"],
                params=params,
                has_body="requestBody" in said,
                example=FIRST.get(label, {}),
            )
            found[group].append(call)
    for some in found.values():
        some.sort(key=lambda call: (call.method != "GET", not call.example))
    return found
