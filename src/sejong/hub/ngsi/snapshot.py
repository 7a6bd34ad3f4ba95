"""The Snapshot data type: what clients may say about one, and what they see of it.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.2.41 (Snapshot), 5.2.42 (ExecutionResult), 5.3.4 (SnapshotNotification).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.grammar import is_uri
from sejong.hub.ngsi.instants import parse_duration
from sejong.hub.ngsi.q import compile_predicate, parse_q

Doc = dict[str, Any]
Mode = Literal["create", "clone", "update"]
QUERIES: Final = ("snapshotQueries", "snapshotTemporalQueries")
DETAILS: Final = ("snapshotQueriesDetails", "snapshotTemporalQueriesDetails")
USUAL_PRIORITY: Final = 5
MOST_QUERIES: Final = 50
"""Queries of one snapshot at most. Chosen."""
_SAID: Final = frozenset({"id", "type", *QUERIES, "snapshotLifetime", "snapshotPriority", "endpoint", "receiverInfo"})
_MADE: Final = frozenset({"createdAt", "modifiedAt", "expiresAt", "lastUsedAt", "snapshotStatus", *DETAILS})
"""Members only the hub writes; sent by a client they mean nothing."""
_NULL: Final = "urn:ngsi-ld:null"
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch


def read_snapshot(body: Any, mode: Mode) -> Doc:
    """What a client says about a snapshot, without what only the hub may say; None where it takes something back.

    Raises BadRequestData.
    """
    if not isinstance(body, dict):
        raise BadRequestData("the body must be one JSON object")
    said = {name: value for name, value in body.items() if name not in _MADE}
    unknown = said.keys() - _SAID
    if unknown:
        raise BadRequestData(f"a Snapshot has no member {sorted(unknown)[0]!r}")
    if said.get("type", None if mode == "create" else "Snapshot") != "Snapshot":
        raise BadRequestData('type must be "Snapshot"')
    if "id" in said and not is_uri(said["id"]):
        raise BadRequestData("id must be a URI")
    _check_queries(said, mode)
    if mode == "update":
        said = {name: None if value in (None, _NULL) else value for name, value in said.items()}
    for name, check in _CHECKS.items():
        if said.get(name) is not None or (name in said and mode != "update"):
            check(said[name])
    said.pop("type", None)
    return said


def _check_queries(said: Doc, mode: Mode) -> None:
    given = [name for name in QUERIES if name in said]
    if mode != "create":
        if given:
            raise BadRequestData(f"{given[0]} can be given only when a snapshot is made")
        return
    if not given:
        raise BadRequestData("a Snapshot needs snapshotQueries or snapshotTemporalQueries")
    for name in given:
        queries = said[name]
        if not isinstance(queries, list) or not queries or not all(isinstance(one, dict) for one in queries):
            raise BadRequestData(f"{name} must be a list with at least one Query")
    if sum(len(said[name]) for name in given) > MOST_QUERIES:
        raise BadRequestData(f"a snapshot has at most {MOST_QUERIES} queries")


def _check_lifetime(value: Any) -> None:
    if not isinstance(value, str) or parse_duration(value, "snapshotLifetime").is_zero:
        raise BadRequestData("snapshotLifetime must be a duration longer than nothing")


def _check_priority(value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10:
        raise BadRequestData("snapshotPriority must be a whole number from 1 to 10")


def _check_endpoint(value: Any) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("uri"), str):
        raise BadRequestData("endpoint must be an object with a uri")
    try:
        parts = urlsplit(value["uri"])
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and is_uri(value["uri"])
    except ValueError:
        good = False
    if not good:
        raise BadRequestData("endpoint: uri must be an http or https address")
    if value.get("accept", "application/json") not in ("application/json", "application/ld+json"):
        raise BadRequestData("endpoint: accept must be application/json or application/ld+json")
    timeout = value.get("timeout", 1)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= 600_000:
        raise BadRequestData("endpoint: timeout must be a number of milliseconds up to 600000")
    if "receiverInfo" in value:
        _check_receiver(value["receiverInfo"])


def _check_receiver(value: Any) -> None:
    pairs = value if isinstance(value, list) else [None]
    for pair in pairs:
        key, text = (pair.get("key"), pair.get("value")) if isinstance(pair, dict) else (None, None)
        if not (isinstance(key, str) and _TOKEN(key) and isinstance(text, str) and _VALUE(text)):
            raise BadRequestData("receiverInfo must be a list of objects with key and value, fit for a header")


_CHECKS: Final[Mapping[str, Callable[[Any], None]]] = {
    "snapshotLifetime": _check_lifetime,
    "snapshotPriority": _check_priority,
    "endpoint": _check_endpoint,
    "receiverInfo": _check_receiver,
}


def status_of(results: Sequence[Mapping[str, Any]]) -> str:
    """What became of a snapshot whose queries ended so: success, partial, empty or failure."""
    ended = {result["resultStatus"] for result in results}
    if "failure" in ended:
        return "failure" if ended == {"failure"} else "partial"
    return "success" if "success" in ended else "empty"


def snapshot_test(q: str) -> Callable[[Doc], bool]:
    """The test a `q` about snapshots means, on a snapshot as clients see it. Raises BadRequestData."""

    def known(name: str) -> str:
        if name not in _SAID | _MADE:
            raise BadRequestData(f"q: a Snapshot has no member {name!r}")
        return name

    matches = compile_predicate(parse_q(q, known))
    system = ("createdAt", "modifiedAt", "expiresAt")

    def test(shown: Doc) -> bool:
        return matches(
            {
                name: value if name in system else [{"type": "Property", "value": value}]
                for name, value in shown.items()
                if name not in ("id", "type")
            }
        )

    return test
