"""Summaries of history: averages, extremes and counts per period.

Source: ETSI GS CIM 009 v1.9.1 clause 4.5.19 with its tables. Booleans count as 0 and 1, arrays by their size; text has
only an order, everything else can only be counted. The standard does not say which standard deviation is meant: here it
is that of the whole population, so one value has the deviation 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from math import fsum, sqrt
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from sejong.hub.ngsi.errors import BadRequestData, InvalidRequest
from sejong.hub.ngsi.fault import shown
from sejong.hub.ngsi.instants import (
    Duration,
    TemporalFilter,
    format_instant_brief,
    parse_duration,
    parse_instant,
)
from sejong.hub.ngsi.members import VALUE_MEMBER, Doc, is_null

METHODS: Final = ("avg", "distinctCount", "max", "min", "stddev", "sum", "sumsq", "totalCount")
_COUNTS: Final = frozenset({"distinctCount", "totalCount"})
_ORDER: Final = _COUNTS | {"max", "min"}


class Aggregation(Struct, frozen=True):
    """What to summarise: the methods in the order asked for, and the length of a period (zero: the whole range)."""

    methods: tuple[str, ...]
    period: Duration = Duration()


def parse_aggregation(methods: str | None, period: str | None) -> Aggregation:
    """The aggregation a request asks for by `aggrMethods` and `aggrPeriodDuration`. Raises BadRequestData."""
    names = tuple(dict.fromkeys((methods or "").split(",")))
    for name in names:
        if name not in METHODS:
            raise BadRequestData(detail=f"aggrMethods: {shown(name)} is not one of {', '.join(METHODS)}")
    return Aggregation(names, parse_duration(period or "PT0S", "aggrPeriodDuration"))


def aggregated(
    series: dict[str, list[Doc]], aggregation: Aggregation, temporal: TemporalFilter | None, moment: str
) -> dict[str, Any]:
    """Each attribute's summary: an object with one member per method, or several of those where it has datasets.

    Methods that make no sense for an attribute are left out of its summary. Raises InvalidRequest when some attribute
    was found and no method makes sense for any.
    """
    found: dict[str, Any] = {}
    asked = applied = 0
    for attribute, instances in series.items():
        groups: dict[tuple[str, str | None], list[Doc]] = {}
        for instance in instances:
            if moment in instance and not _deleted(instance):
                groups.setdefault((instance["type"], instance.get("datasetId")), []).append(instance)
        summaries: list[Doc] = []
        for (kind, dataset), group in groups.items():
            summary = _summary(kind, dataset, group, aggregation, temporal, moment)
            asked += 1
            applied += any(method in summary for method in aggregation.methods)
            summaries.append(summary)
        found[attribute] = summaries[0] if len(summaries) == 1 else summaries
    if asked and not applied:
        names = ", ".join(aggregation.methods)
        raise InvalidRequest(detail=f"aggrMethods: {names} cannot be applied to any of the attributes asked for")
    return found


def _deleted(instance: Doc) -> bool:
    return "deletedAt" in instance or is_null(instance)


def _summary(
    kind: str,
    dataset: str | None,
    instances: list[Doc],
    aggregation: Aggregation,
    temporal: TemporalFilter | None,
    moment: str,
) -> Doc:
    out: Doc = {"type": "Relationship" if kind in ("Relationship", "ListRelationship") else "Property"}
    if dataset is not None:
        out["datasetId"] = dataset
    member = VALUE_MEMBER[kind]
    timed = sorted(((parse_instant(one[moment], moment), one[member]) for one in instances), key=lambda pair: pair[0])
    values, allowed = _comparable(kind, [value for _, value in timed])
    usable = [(when, value) for (when, _), value in zip(timed, values, strict=True) if value is not _UNFIT]
    for method in aggregation.methods:
        if method in _COUNTS:
            out[method] = _periods(timed, aggregation.period, temporal, _METHODS[method])
        elif method in allowed and usable:
            out[method] = _periods(usable, aggregation.period, temporal, _METHODS[method])
    return out


_UNFIT: Final = object()


def _comparable(kind: str, values: list[Any]) -> tuple[list[Any], frozenset[str]]:
    """The values as what can be calculated with, and the methods that make sense for them.

    Where numbers and texts are mixed, numbers win: a sensor that once reported "n/a" still has an average.
    """
    if kind not in ("Property", "ListProperty"):
        return values, _COUNTS
    numbers = [_number(value) for value in values]
    if any(number is not _UNFIT for number in numbers):
        return numbers, frozenset(METHODS)
    texts = [value if isinstance(value, str) else _UNFIT for value in values]
    return texts, _ORDER if any(text is not _UNFIT for text in texts) else _COUNTS


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    return len(cast("list[Any]", value)) if isinstance(value, list) else _UNFIT


def _periods(
    timed: Sequence[tuple[datetime, Any]],
    period: Duration,
    temporal: TemporalFilter | None,
    method: Callable[[list[Any]], Any],
) -> list[list[Any]]:
    """[value, start, end] for every period that holds a value; periods are counted from timeAt (else the oldest)."""
    if not timed:
        return []
    start = (temporal.start if temporal else None) or timed[0][0]
    if period.is_zero:
        end = (temporal.end if temporal else None) or timed[-1][0]
        return [[method([value for _, value in timed]), *_limits(start, end)]]
    buckets: dict[int, list[Any]] = {}
    for when, value in timed:
        buckets.setdefault(period.count_until(start, when), []).append(value)
    return [
        [method(values), *_limits(period.after(start, index), period.after(start, index + 1))]
        for index, values in buckets.items()
    ]


def _limits(start: datetime, end: datetime) -> tuple[str, str]:
    return format_instant_brief(start), format_instant_brief(end)


def _sum(values: Iterable[Any]) -> int | float:
    numbers = list(values)
    return sum(numbers) if all(isinstance(number, int) for number in numbers) else fsum(numbers)


def _average(values: list[Any]) -> float:
    return _sum(values) / len(values)


def _deviation(values: list[Any]) -> float:
    mean = _average(values)
    return sqrt(fsum((value - mean) ** 2 for value in values) / len(values))


def _distinct(values: list[Any]) -> int:
    return len({_identity(value) for value in values})


def _identity(value: Any) -> tuple[str, Any]:
    """What makes a JSON value itself: 1 and 1.0 are one number, 1 and true are not the same."""
    if isinstance(value, bool | int | float):
        return type(value).__name__ if isinstance(value, bool) else "number", value
    return "json", msgspec.json.encode(value, order="deterministic")


_METHODS: Final[dict[str, Callable[[list[Any]], Any]]] = {
    "avg": _average,
    "distinctCount": _distinct,
    "max": max,
    "min": min,
    "stddev": _deviation,
    "sum": _sum,
    "sumsq": lambda values: _sum(value * value for value in values),
    "totalCount": len,
}
