"""Short ways to read a thing a sender describes, for the tests of reading."""

from __future__ import annotations

from typing import Any

import pytest

from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.entity import Mode, expand_entity
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.members import DEFAULT_CONTEXT

NOW = "2026-11-22T10:00:00.000000Z"
THEN = "2026-11-22T09:59:59Z"
LATER = "2027-01-01T00:00:00Z"
POINT = {"type": "Point", "coordinates": [127.25, 36.5]}
URI = "urn:ngsi-ld:Thing:1"
D = DEFAULT_CONTEXT


def read(**attributes: Any) -> dict[str, Any]:
    return expand_entity({"id": URI, "type": "Thing", **attributes}, CORE, now=NOW)


def attribute(value: Any, name: str = "a") -> list[dict[str, Any]]:
    return read(**{name: value})[CORE.expand(name)]


def refusal(value: Any, mode: Mode = "create") -> str:
    with pytest.raises(BadRequestData) as refused:
        expand_entity({"id": URI, "type": "Thing", "a": value}, CORE, now=NOW, mode=mode)
    return refused.value.detail
