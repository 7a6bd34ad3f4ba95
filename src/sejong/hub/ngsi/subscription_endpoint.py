"""Where and how a subscriber wants to be told: the endpoint of a subscription.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.2.15 (Endpoint), 5.2.22 (KeyValuePair), 7.2 (MQTT); RFC 9110 §5 (fields).
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.fault import shown
from sejong.hub.ngsi.grammar import is_uri
from sejong.hub.ngsi.members import Doc

JSON: Final = "application/json"
LD_JSON: Final = "application/ld+json"
GEO_JSON: Final = "application/geo+json"
PORTS: Final = {"http": 80, "https": 443, "mqtt": 1883, "mqtts": 8883}
MQTT_VERSIONS: Final = ("mqtt3.1.1", "mqtt5.0")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_FIELD_TEXT: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch
_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te"})
"""Header fields that belong to the transport and are never a subscriber's to set."""
_ENDPOINT: Final = frozenset({"uri", "accept", "timeout", "cooldown", "receiverInfo", "notifierInfo"})
LONGEST: Final = 3_600_000
"""Milliseconds a timeout or cooldown may last. Chosen."""


def check_endpoint(endpoint: Any) -> None:
    """Raises BadRequestData unless it is an endpoint that notifications can be sent to."""
    if not isinstance(endpoint, dict):
        raise BadRequestData("endpoint: it must be an object with a uri")
    unknown = endpoint.keys() - _ENDPOINT
    if unknown:
        raise BadRequestData(f"endpoint has no member {sorted(unknown)[0]!r}")
    parts = place(endpoint.get("uri"))
    accept = endpoint.get("accept", JSON)
    if accept not in (JSON, LD_JSON, GEO_JSON):
        raise BadRequestData(f"endpoint: accept is {JSON}, {LD_JSON} or {GEO_JSON}, not {shown(accept)}")
    for name in ("timeout", "cooldown"):
        value = endpoint.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST:
            raise BadRequestData(f"endpoint: {name} is a number of milliseconds above 0, at most {LONGEST}")
    for name, value in _pairs(endpoint, "receiverInfo"):
        if not _TOKEN(name) or not _FIELD_TEXT(value) or name.lower() in _OURS:
            raise BadRequestData(f"endpoint: receiverInfo {shown(name)} cannot be a header field")
    for name, value in _pairs(endpoint, "notifierInfo"):
        if name == "MQTT-Version" and value not in MQTT_VERSIONS:
            raise BadRequestData(f"endpoint: MQTT-Version is {' or '.join(MQTT_VERSIONS)}, not {shown(value)}")
        if name == "MQTT-QoS" and value not in ("0", "1", "2"):
            raise BadRequestData(f"endpoint: MQTT-QoS is 0, 1 or 2, not {shown(value)}")
    if parts.scheme.startswith("mqtt"):
        topic = topic_of(parts)
        if not topic or "#" in endpoint["uri"] or any(mark in topic for mark in "+#\x00"):
            raise BadRequestData("endpoint: an MQTT uri needs a topic without wildcards: mqtt://host/topic")


def place(uri: Any) -> SplitResult:
    """The parts of an endpoint's address. Raises BadRequestData."""
    if not is_uri(uri):
        raise BadRequestData(f"endpoint: uri: {shown(uri)} is not a URI")
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise BadRequestData(f"endpoint: uri: {error}") from None
    if parts.scheme not in PORTS or not parts.hostname or port == 0:
        raise BadRequestData(f"endpoint: uri: {shown(uri)} is no http, https, mqtt or mqtts address")
    return parts


def topic_of(parts: SplitResult) -> str:
    """The MQTT topic an address names (clause 7.2): its path, percent-decoded."""
    return unquote(parts.path).removeprefix("/")


def _pairs(endpoint: Doc, member: str) -> list[tuple[str, str]]:
    given = endpoint.get(member, [])
    if not isinstance(given, list) or (member in endpoint and not given):
        raise BadRequestData(f"endpoint: {member} is a list with at least one pair of key and value")
    for pair in given:
        if not isinstance(pair, dict) or pair.keys() != {"key", "value"}:
            raise BadRequestData(f"endpoint: {member}: every item has a key and a value")
        if not isinstance(pair["key"], str) or not pair["key"] or not isinstance(pair["value"], str):
            raise BadRequestData(f"endpoint: {member}: key and value are texts")
    return pairs(endpoint, member)


def pairs(endpoint: Doc, member: str) -> list[tuple[str, str]]:
    """The key-value pairs of `receiverInfo` or `notifierInfo`, in order."""
    return [(pair["key"], pair["value"]) for pair in endpoint.get(member, ())]
