"""Moments and spans of time as NGSI-LD writes them: DateTime, Date, Time, durations and temporal intervals.

Source: ETSI GS CIM 009 V1.9.1 clauses 4.6.3 (DateTime, Date, Time: ISO 8601 extended format, UTC, trailing
``Z``, at most six digits of fraction after ``.`` or ``,``), 4.11 (temporal queries) and 4.5.19 (aggregation
periods).
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal, cast

from msgspec import Struct

from sejong.hub.ngsi.errors import BadRequestData

TimeRel = Literal["before", "after", "between"]
TimeProperty = Literal["observedAt", "createdAt", "modifiedAt", "deletedAt"]
TIME_PROPERTIES: Final[frozenset[str]] = frozenset({"observedAt", "createdAt", "modifiedAt", "deletedAt"})

_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:[.,][0-9]{1,6})?"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_INSTANT: Final = re.compile(rf"{_DATE}T{_CLOCK}Z").fullmatch
_DATE_ONLY: Final = re.compile(_DATE).fullmatch
_TIME_ONLY: Final = re.compile(rf"{_CLOCK}Z").fullmatch
_fromiso: Final = datetime.fromisoformat


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")


# --- moments ------------------------------------------------------------------------------------------------


def is_instant(value: object) -> bool:
    """True if the value is a UTC DateTime string such as ``2026-11-22T10:00:00.5Z``, on a real day."""
    if not isinstance(value, str) or _INSTANT(value) is None:
        return False
    try:
        _fromiso(value)
    except ValueError:
        return False
    return True


def try_instant(text: str) -> datetime | None:
    """The moment a DateTime string names, or None: for comparing stored text."""
    if len(text) < 20 or text[4] != "-" or _INSTANT(text) is None:
        return None
    try:
        return _fromiso(text)
    except ValueError:
        return None


def parse_instant(text: str, member: str = "DateTime") -> datetime:
    """The moment a DateTime string names, to the microsecond, in UTC.

    ``member`` names the parameter in the error. Raises BadRequestData for anything but
    ``YYYY-MM-DDThh:mm:ss[.f]Z``: offsets, missing ``Z``, week dates, ``24:00:00``, leap seconds and days
    that do not exist are refused.
    """
    moment = try_instant(text)
    if moment is None:
        raise BadRequestData(f"{member}: {_shown(text)} is not a UTC DateTime (YYYY-MM-DDThh:mm:ss[.ffffff]Z)")
    return moment


def format_instant(moment: datetime) -> str:
    """The canonical stored form: UTC, six digits of fraction, ``Z``; as text it sorts in time order."""
    if moment.tzinfo is not UTC:
        moment = _utc(moment)
    m = moment
    return "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ" % (  # noqa: UP031 - twice as fast as isoformat, on the hot path
        m.year, m.month, m.day, m.hour, m.minute, m.second, m.microsecond,
    )  # fmt: skip


def format_instant_brief(moment: datetime) -> str:
    """As format_instant without a zero fraction: the form of aggregation period limits (clause 4.5.19)."""
    text = (moment if moment.tzinfo is UTC else _utc(moment)).isoformat()
    return text[:-6] + "Z"


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a moment of the city must carry its time zone")
    return moment.astimezone(UTC)


def try_date(text: str) -> date | None:
    """The day a Date string (``YYYY-MM-DD``) names, or None."""
    if len(text) != 10 or _DATE_ONLY(text) is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def try_time(text: str) -> time | None:
    """The time of day a Time string (``hh:mm:ss[.f]Z``, UTC) names, or None."""
    if len(text) < 9 or text[2] != ":" or _TIME_ONLY(text) is None:
        return None
    return time.fromisoformat(text[:-1])


# --- spans --------------------------------------------------------------------------------------------------


class Duration(Struct, frozen=True):
    """A span of city time: calendar months (their length varies) plus an exact part in microseconds."""

    months: int = 0
    microseconds: int = 0

    @property
    def is_zero(self) -> bool:
        """PT0S: as an aggregation period it means the whole range."""
        return not self.months and not self.microseconds

    def after(self, start: datetime, times: int = 1) -> datetime:
        """``start`` plus ``times`` spans. Months count from ``start``: 31 January + 2 months is 31 March.

        Raises BadRequestData when the result leaves the calendar (years 1 to 9999).
        """
        try:
            moved = _add_months(start, self.months * times) if self.months else start
            return moved + timedelta(microseconds=self.microseconds * times)
        except (OverflowError, ValueError):
            raise BadRequestData("the duration leads outside the calendar (years 1 to 9999)") from None

    def count_until(self, start: datetime, moment: datetime) -> int:
        """How many whole spans fit from ``start`` to ``moment``: the index of the period holding the moment.

        Negative before ``start``. Raises BadRequestData for a zero span.
        """
        if self.is_zero:
            raise BadRequestData("a zero duration has no periods")
        if not self.months:
            return (moment - start) // timedelta(microseconds=self.microseconds)
        nearly_months = self.months + self.microseconds / _MEAN_MONTH
        guess = int((moment - start) / timedelta(microseconds=_MEAN_MONTH) / nearly_months)
        while self.after(start, guess) > moment:
            guess -= 1
        while self.after(start, guess + 1) <= moment:
            guess += 1
        return guess


_MEAN_MONTH: Final = 2_629_746_000_000  # microseconds; 400 Gregorian years / 4800
_SECOND: Final = 1_000_000
_UNIT: Final = {"W": 604_800, "D": 86_400, "H": 3_600, "M": 60, "S": 1}
_NUMBER = r"([0-9]{1,9}(?:[.,][0-9]{1,9})?)"
_DURATION: Final = re.compile(
    rf"P(?:{_NUMBER}W|(?:{_NUMBER}Y)?(?:{_NUMBER}M)?(?:{_NUMBER}D)?"
    rf"(T(?=[0-9])(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?)"
).fullmatch


def parse_duration(text: str, member: str = "duration") -> Duration:
    """The span an ISO 8601 duration names: ``PT15M``, ``P1D``, ``P1M``, ``P2W``, ``PT0.5S``.

    Only the smallest unit given may carry a fraction, and years and months may not (their length varies).
    Raises BadRequestData for anything else, ``P`` and ``P1DT`` included.
    """
    found = _DURATION(text)
    if found is None or text == "P":
        raise BadRequestData(f"{member}: {_shown(text)} is not an ISO 8601 duration (as PT15M, P1D, P1M)")
    weeks, years, months, days, _, hours, minutes, seconds = found.groups()
    given = [part for part in (weeks, years, months, days, hours, minutes, seconds) if part is not None]
    fractional = [part for part in given if not part.isdigit()]
    if fractional and (fractional[0] is not given[-1] or given[-1] in (years, months)):
        raise BadRequestData(
            f"{member}: in {_shown(text)} only the smallest unit may have a fraction (no years, months)"
        )
    exact = ((weeks, "W"), (days, "D"), (hours, "H"), (minutes, "M"), (seconds, "S"))
    return Duration(
        months=12 * int(years or 0) + int(months or 0),
        microseconds=sum(_microseconds(part, _UNIT[unit]) for part, unit in exact if part is not None),
    )


def format_duration(span: Duration) -> str:
    """The shortest ISO 8601 form of a span, ``PT0S`` when empty; parse_duration reads it back unchanged."""
    years, months = divmod(span.months, 12)
    seconds, fraction = divmod(span.microseconds, _SECOND)
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3_600)
    minutes, seconds = divmod(seconds, 60)
    last = f"{seconds}.{fraction:06d}".rstrip("0") if fraction else str(seconds)
    day_part = "".join(f"{n}{unit}" for n, unit in ((years, "Y"), (months, "M"), (days, "D")) if n)
    clock = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M")) if n)
    clock += f"{last}S" if last != "0" else ""
    return f"P{day_part}T{clock}" if clock else f"P{day_part}" if day_part else "PT0S"


def _microseconds(part: str, unit_seconds: int) -> int:
    whole, _, fraction = part.replace(",", ".").partition(".")
    exact = int(whole) * unit_seconds * _SECOND
    return exact + int(fraction) * unit_seconds * _SECOND // 10 ** len(fraction) if fraction else exact


def _add_months(start: datetime, months: int) -> datetime:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return start.replace(year=year, month=month + 1, day=min(start.day, monthrange(year, month + 1)[1]))


# --- temporal queries ---------------------------------------------------------------------------------------


class TemporalFilter(Struct, frozen=True):
    """Which moments a temporal query asks for: ``start`` (included) to ``end`` (excluded) of a time property.

    An open side is None. Source: clause 4.11 (before exclusive, after inclusive, between [timeAt,
    endTimeAt)).
    """

    timerel: TimeRel
    time_at: datetime
    end_time_at: datetime | None = None
    timeproperty: TimeProperty = "observedAt"

    @property
    def start(self) -> datetime | None:
        """First moment asked for, or None for "since ever"."""
        return None if self.timerel == "before" else self.time_at

    @property
    def end(self) -> datetime | None:
        """First moment no longer asked for, or None for "until now and on"."""
        return self.time_at if self.timerel == "before" else self.end_time_at

    def predicate(self) -> Callable[[datetime], bool]:
        """A fast test of one moment."""
        start, end = self.start, self.end
        if start is None:
            assert end is not None
            return end.__gt__
        if end is None:
            return start.__le__
        return lambda moment: start <= moment < end


def parse_timeproperty(text: str | None) -> TimeProperty:
    """The time property a temporal query looks at (default observedAt). Raises BadRequestData for another."""
    if text is None:
        return "observedAt"
    if text not in TIME_PROPERTIES:
        raise BadRequestData(f"timeproperty: {_shown(text)} is not one of observedAt, createdAt, modifiedAt, deletedAt")
    return cast(TimeProperty, text)


def parse_temporal(
    timerel: str | None,
    time_at: str | None,
    end_time_at: str | None = None,
    timeproperty: str | None = None,
) -> TemporalFilter | None:
    """The temporal part of a request, or None when it has none (``timeproperty`` alone selects no interval).

    Raises BadRequestData: unknown timerel, timerel without timeAt or the reverse, between without
    endTimeAt, endTimeAt with another timerel, malformed DateTimes, unknown timeproperty.
    """
    named = parse_timeproperty(timeproperty)
    if timerel is None:
        if time_at is not None or end_time_at is not None:
            raise BadRequestData("timeAt and endTimeAt need timerel (before, after or between)")
        return None
    if timerel not in ("before", "after", "between"):
        raise BadRequestData(f"timerel: {_shown(timerel)} is not one of before, after, between")
    if time_at is None:
        raise BadRequestData(f"timerel={timerel} needs timeAt")
    if timerel == "between" and end_time_at is None:
        raise BadRequestData("timerel=between needs endTimeAt")
    end = None if end_time_at is None else parse_instant(end_time_at, "endTimeAt")
    if end is not None and timerel != "between":
        raise BadRequestData(f"endTimeAt belongs to timerel=between, not to {timerel}")
    return TemporalFilter(timerel, parse_instant(time_at, "timeAt"), end, named)
