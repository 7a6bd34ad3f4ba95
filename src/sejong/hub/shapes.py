"""How one attribute instance is kept in the history: a number and a shape, or the whole as JSON.

Most readings of a city are "the same kind of number again": all that differs is the number and its time.
Such an instance is stored as its number and the dictionary number of everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

_encode = msgspec.json.encode
_decode = msgspec.json.decode
_PLAIN = frozenset({"type", "value", "unitCode", "observedAt", "createdAt", "modifiedAt", "datasetId"})
_MARK = frozenset({"type", "value", "createdAt", "modifiedAt"})
_TIMES = ("createdAt", "modifiedAt", "observedAt", "datasetId", "instanceId")
_EXACT = 1 << 53
"""Integers up to here survive being a float8. Source: IEEE 754-2019 binary64, 53-bit significand."""


def split(instance: Mapping[str, Any]) -> tuple[float | None, str | None, bytes | None]:
    """(number, shape, rest): number and shape say it all, or `rest` is the whole instance as JSON.

    The number is given in both cases when the value is one, so that charts and aggregates can use it.
    Times and the dataset id are columns of their own and never part of shape or rest.
    """
    value = instance.get("value")
    kind = value.__class__
    number = value if kind is float else _number(value)
    if number is not None and kind is not bool and instance.get("type") == "Property":
        marks = _marks(instance)
        if marks is not None:
            return number, _shape(kind, instance.get("unitCode"), marks), None
    return number, None, _encode({k: v for k, v in instance.items() if k not in _TIMES})


@lru_cache(maxsize=4096)
def _shape(kind: type, unit: str | None, marks: tuple[tuple[str, bool], ...]) -> str:
    shape: dict[str, Any] = {"type": "Property", "value": kind(0)}
    if unit is not None:
        shape["unitCode"] = unit
    for name, yes in marks:
        shape[name] = [{"type": "Property", "value": yes}]
    return _encode(shape).decode()


def join(number: float | None, shape: Mapping[str, Any] | None, rest: bytes | None) -> dict[str, Any]:
    """The instance again (without its times), the inverse of `split`."""
    if rest is not None:
        return _decode(rest)
    if shape is None or number is None:
        raise ValueError("a history row needs a shape and a number, or its JSON")
    value = int(number) if type(shape["value"]) is int else number
    return {key: (value if key == "value" else part) for key, part in shape.items()}


def _number(value: Any) -> float | None:
    if type(value) is bool:
        return 1.0 if value else 0.0
    if type(value) is int:
        return float(value) if abs(value) <= _EXACT else None
    return value if type(value) is float else None


def _marks(instance: Mapping[str, Any]) -> tuple[tuple[str, bool], ...] | None:
    """The yes/no marks of an instance that has nothing else beside number, unit and times; None if it has."""
    if _PLAIN.issuperset(instance):
        return ()
    extra = instance.keys() - _PLAIN
    marks: list[tuple[str, bool]] = []
    for key in sorted(extra):
        part = instance[key]
        if ":" not in key or len(part) != 1:
            return None
        mark = part[0]
        if mark.get("type") != "Property" or type(mark.get("value")) is not bool or not mark.keys() <= _MARK:
            return None
        marks.append((key, mark["value"]))
    return tuple(marks)
