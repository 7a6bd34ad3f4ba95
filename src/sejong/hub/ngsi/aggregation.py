"""Summaries of history: averages, extremes and counts per period.

Source: ETSI GS CIM 009 v1.9.1 clause 4.5.19 with its tables. Booleans count as 0 and 1, arrays by their size; text has
only an order, everything else can only be counted. The standard does not say which standard deviation is meant: here it
is that of the whole population, so one value has the deviation 0.

Sums are those of the decimal numbers people write (0.1 ten times is 1), exact whatever the order: a sum put together
from summaries of hours is the same as one over all instances. A result beyond the largest float stands at that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
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


class Figures(Struct, frozen=True):
    """What is known of the numbers one attribute (of one dataset) had in one period."""

    start: datetime | None
    """Start of the period; None: the whole range."""
    n: int
    total: Decimal | None
    """The exact sum, and that of the squares; None where no method needs them."""
    square: Decimal | None
    low: float
    high: float
    distinct: int | None = None
    """How many different numbers there were, where it was asked for."""
    oldest: datetime | None = None
    newest: datetime | None = None
    """When the first and the last of them was observed; told of the whole range only."""


Summaries = Mapping[str, Mapping[str | None, Sequence[Figures]]]
"""Attribute → dataset id → the figures of its periods in order of time."""


def powers(aggregation: Aggregation) -> int:
    """Which sums the methods need: none (0), that of the values (1), that of their squares too (2)."""
    return max(_POWERS.get(method, 0) for method in aggregation.methods)


def aggregated(
    series: dict[str, list[Doc]],
    aggregation: Aggregation,
    temporal: TemporalFilter | None,
    moment: str,
    summaries: Summaries | None = None,
) -> dict[str, Any]:
    """Each attribute's summary: an object with one member per method, or several of those where it has datasets.

    `summaries` are attributes whose figures are known already. Methods that make no sense for an attribute are left
    out of its summary; `check_applied` says whether any made sense.
    """
    found: dict[str, list[Doc]] = {}
    for attribute, datasets in (summaries or {}).items():
        found[attribute] = [_of_figures(one, figures, aggregation, temporal) for one, figures in datasets.items()]
    for attribute, instances in series.items():
        groups: dict[tuple[str, str | None], list[Doc]] = {}
        for instance in instances:
            if moment in instance and not _deleted(instance):
                groups.setdefault((instance["type"], instance.get("datasetId")), []).append(instance)
        found[attribute] = [
            _summary(kind, dataset, group, aggregation, temporal, moment) for (kind, dataset), group in groups.items()
        ]
    return {attribute: several[0] if len(several) == 1 else several for attribute, several in found.items()}


def check_applied(entities: Iterable[Doc], aggregation: Aggregation) -> None:
    """Raises InvalidRequest when an answer summarises some attribute and no method made sense for any of them."""
    parts = [value for entity in entities for value in entity.values()]
    every = [one for value in parts for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]
    if every and not any(method in summary for summary in every for method in aggregation.methods):
        names = ", ".join(aggregation.methods)
        raise InvalidRequest(detail=f"aggrMethods: {names} cannot be applied to any of the attributes asked for")


def _of_figures(
    dataset: str | None, figures: Sequence[Figures], aggregation: Aggregation, temporal: TemporalFilter | None
) -> Doc:
    out: Doc = {"type": "Property"} if dataset is None else {"type": "Property", "datasetId": dataset}
    limits = [_whole(one, temporal) for one in figures if one.start is None] or _periods_of(
        [one.start for one in figures if one.start is not None], aggregation.period, temporal
    )
    for method in aggregation.methods:
        compute = _FIGURED[method]
        out[method] = [[compute(one), *limit] for one, limit in zip(figures, limits, strict=True)]
    return out


def _whole(one: Figures, temporal: TemporalFilter | None) -> tuple[str, str]:
    start = (temporal.start if temporal else None) or one.oldest
    end = (temporal.end if temporal else None) or one.newest
    assert start is not None
    assert end is not None
    return _limits(start, end)


def _periods_of(starts: Sequence[datetime], period: Duration, temporal: TemporalFilter | None) -> list[tuple[str, str]]:
    origin = temporal.start if temporal else None
    if period.months and origin is not None:
        return [_period(period, origin, period.count_until(origin, start)) for start in starts]
    return [_one_period(start, period) for start in starts]


@lru_cache(maxsize=16_384)
def _one_period(start: datetime, period: Duration) -> tuple[str, str]:
    """The limits of a period; they repeat from question to question."""
    return _limits(start, period.after(start))


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
    return [[method(values), *_period(period, start, index)] for index, values in buckets.items()]


def _period(period: Duration, start: datetime, index: int) -> tuple[str, str]:
    return _limits(period.after(start, index), period.after(start, index + 1))


def _limits(start: datetime, end: datetime) -> tuple[str, str]:
    return format_instant_brief(start), format_instant_brief(end)


# --- exact arithmetic ------------------------------------------------------------------------------------------------

_EXACT: Final = Context(prec=4000, Emin=-9999, Emax=9999)
"""Enough digits for any sum of squares of floats: 2 × (308 + 324 + 17) and those of the count."""
_FINE: Final = Context(prec=40, rounding=ROUND_HALF_EVEN, Emin=-9999, Emax=9999)
_LARGEST: Final = 1.7976931348623157e308
_POWERS: Final = {"avg": 1, "sum": 1, "stddev": 2, "sumsq": 2}


def _decimal(value: Any) -> Decimal:
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(int(value))


def _total(values: list[Any]) -> Decimal:
    total = Decimal(0)
    for value in values:
        total = _EXACT.add(total, _decimal(value))
    return total


def _square(values: list[Any]) -> Decimal:
    total = Decimal(0)
    for value in values:
        exact = _decimal(value)
        total = _EXACT.add(total, _EXACT.multiply(exact, exact))
    return total


def _float(value: Decimal) -> float:
    found = float(value)
    return found if -_LARGEST <= found <= _LARGEST else (_LARGEST if found > 0 else -_LARGEST)


def _plain(value: Any) -> int | float:
    """A result without a fraction as a whole number, so that 4 and 4.0 are told alike."""
    if isinstance(value, Decimal):
        if abs(value) < _WHOLE and value == value.to_integral_value():
            return int(value)
        return _float(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1 << 53 else value
    return int(value) if abs(value) < _WHOLE else float(value)


_WHOLE: Final = 1 << 63


def _average(n: int, total: Decimal) -> float:
    return _float(_FINE.divide(total, Decimal(n)))


def _deviation(n: int, total: Decimal, square: Decimal) -> float:
    spread = _EXACT.subtract(_EXACT.multiply(square, Decimal(n)), _EXACT.multiply(total, total))
    return _float(_FINE.sqrt(_FINE.divide(spread, Decimal(n * n))))


def _distinct(values: list[Any]) -> int:
    return len({_identity(value) for value in values})


def _identity(value: Any) -> tuple[str, Any]:
    """What makes a JSON value itself: 1 and 1.0 are one number, 1 and true are not the same."""
    if isinstance(value, bool | int | float):
        return type(value).__name__ if isinstance(value, bool) else "number", value
    return "json", msgspec.json.encode(value, order="deterministic")


def _ordered(choose: Callable[[list[Any]], Any], values: list[Any]) -> Any:
    found = choose(values)
    return found if isinstance(found, str) else _plain(found)


_METHODS: Final[dict[str, Callable[[list[Any]], Any]]] = {
    "avg": lambda values: _average(len(values), _total(values)),
    "distinctCount": _distinct,
    "max": lambda values: _ordered(max, values),
    "min": lambda values: _ordered(min, values),
    "stddev": lambda values: _deviation(len(values), _total(values), _square(values)),
    "sum": lambda values: _plain(_total(values)),
    "sumsq": lambda values: _plain(_square(values)),
    "totalCount": len,
}
_FIGURED: Final[dict[str, Callable[[Figures], Any]]] = {
    "distinctCount": lambda one: one.distinct,
    "avg": lambda one: _average(one.n, cast("Decimal", one.total)),
    "max": lambda one: _plain(one.high),
    "min": lambda one: _plain(one.low),
    "stddev": lambda one: _deviation(one.n, cast("Decimal", one.total), cast("Decimal", one.square)),
    "sum": lambda one: _plain(cast("Decimal", one.total)),
    "sumsq": lambda one: _plain(cast("Decimal", one.square)),
    "totalCount": lambda one: one.n,
}
