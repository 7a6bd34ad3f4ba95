"""Moments, durations and temporal intervals as NGSI-LD writes them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.instants import (
    Duration,
    TemporalFilter,
    format_duration,
    format_instant,
    format_instant_brief,
    is_instant,
    parse_duration,
    parse_instant,
    parse_temporal,
    parse_timeproperty,
    try_date,
    try_instant,
    try_time,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22T12:00:00Z", NOON),
        ("2026-11-22T12:00:00.5Z", NOON.replace(microsecond=500_000)),
        ("2026-11-22T12:00:00,123456Z", NOON.replace(microsecond=123_456)),
        ("2024-02-29T23:59:59.000001Z", datetime(2024, 2, 29, 23, 59, 59, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_datetime_names_its_moment(text: str, moment: datetime) -> None:
    assert is_instant(text)
    assert parse_instant(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-22",
        "2026-11-22T12:00:00",  # no zone
        "2026-11-22T12:00:00+09:00",  # an offset
        "2026-11-22T12:00Z",  # reduced
        "2026-11-22 12:00:00Z",
        "20261122T120000Z",
        "2026-W47-7T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2025-02-29T12:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T23:59:60Z",
        "2026-11-22T12:00:00.Z",
        "2026-11-22T12:00:00.1234567Z",
        "2026-11-22T12:00:00Z\n",
        "２０２６-11-22T12:00:00Z",  # full-width digits
        "0000-01-01T00:00:00Z",
        "2026-11-22T12:00:00z",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    assert not is_instant(text)
    assert try_instant(text) is None
    with pytest.raises(BadRequestData, match="observedAt"):
        parse_instant(text, "observedAt")


@pytest.mark.parametrize("value", [None, 5, 1.5, True, ["2026-11-22T12:00:00Z"], b"2026-11-22T12:00:00Z"])
def test_only_text_is_a_datetime(value: object) -> None:
    assert not is_instant(value)


@given(st.text())
def test_reading_text_never_fails_otherwise(text: str) -> None:
    assert is_instant(text) == (try_instant(text) is not None)
    assert try_date(text) is None or try_time(text) is None


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=9))]), min_value=datetime(2, 1, 1)))
def test_what_is_written_is_read_back(moment: datetime) -> None:
    assert parse_instant(format_instant(moment)) == moment
    assert parse_instant(format_instant_brief(moment)) == moment


@given(st.lists(st.datetimes(timezones=st.just(UTC)), max_size=10))
def test_stored_moments_sort_as_text(moments: list[datetime]) -> None:
    assert sorted(map(format_instant, moments)) == [format_instant(moment) for moment in sorted(moments)]


def test_formats() -> None:
    assert format_instant(NOON) == "2026-11-22T12:00:00.000000Z"
    assert format_instant_brief(NOON) == "2026-11-22T12:00:00Z"
    assert format_instant_brief(NOON.replace(microsecond=250_000)) == "2026-11-22T12:00:00.250000Z"
    with pytest.raises(ValueError, match="time zone"):
        format_instant(datetime(2026, 1, 1))


def test_dates_and_times() -> None:
    assert try_date("2026-11-22") == date(2026, 11, 22)
    assert try_date("2026-11-31") is None
    assert try_time("12:30:00Z") == time(12, 30)
    assert try_time("12:30:00,25Z") == time(12, 30, 0, 250_000)
    assert try_time("12:30:00") is None
    assert try_time("24:00:00Z") is None


# --- durations ---


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("PT0S", Duration()),
        ("PT15M", Duration(microseconds=900_000_000)),
        ("P1D", Duration(microseconds=86_400_000_000)),
        ("P2W", Duration(microseconds=14 * 86_400_000_000)),
        ("P1Y2M", Duration(months=14)),
        ("P1M1DT1H1M1.5S", Duration(months=1, microseconds=90_061_500_000)),
        ("PT0,5H", Duration(microseconds=1_800_000_000)),
    ],
)
def test_a_duration_is_months_and_an_exact_part(text: str, span: Duration) -> None:
    assert parse_duration(text) == span


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "P1DT",
        "1D",
        "-P1D",
        "P1H",
        "PT1D",
        "P0.5M",
        "P1.5DT1H",
        "P1W1D",
        "p1d",
        "P1S",
        "PT1M1H",
    ],
)
def test_malformed_durations_are_refused(text: str) -> None:
    with pytest.raises(BadRequestData, match="aggrPeriodDuration"):
        parse_duration(text, "aggrPeriodDuration")


spans = st.builds(Duration, months=st.integers(0, 200), microseconds=st.integers(0, 10**13))


@given(spans)
def test_durations_survive_being_written(span: Duration) -> None:
    assert parse_duration(format_duration(span)) == span


def test_months_keep_to_the_calendar() -> None:
    start = datetime(2026, 1, 31, tzinfo=UTC)
    month = parse_duration("P1M")
    assert [month.after(start, n).day for n in range(4)] == [31, 28, 31, 30]
    with pytest.raises(BadRequestData, match="calendar"):
        month.after(start, 12 * 9000)


@given(spans.filter(lambda span: not span.is_zero), st.integers(-50, 50), st.integers(0, 10**9))
def test_every_moment_lies_in_the_period_it_is_counted_to(span: Duration, periods: int, more: int) -> None:
    moment = NOON + periods * timedelta(days=7) + timedelta(microseconds=more)
    number = span.count_until(NOON, moment)
    assert span.after(NOON, number) <= moment < span.after(NOON, number + 1)


def test_a_zero_duration_has_no_periods() -> None:
    with pytest.raises(BadRequestData, match="zero"):
        Duration().count_until(NOON, NOON)


# --- temporal filters ---


def holds(filter: TemporalFilter | None, moment: datetime) -> bool:
    assert filter is not None
    return filter.predicate()(moment)


def test_before_excludes_and_after_includes_its_moment() -> None:
    at = "2026-11-22T12:00:00Z"
    second = timedelta(seconds=1)
    before = parse_temporal("before", at)
    assert (holds(before, NOON - second), holds(before, NOON)) == (True, False)
    after = parse_temporal("after", at)
    assert (holds(after, NOON - second), holds(after, NOON)) == (False, True)
    between = parse_temporal("between", at, "2026-11-22T12:00:01Z", "modifiedAt")
    assert between is not None
    assert between.timeproperty == "modifiedAt"
    assert [holds(between, NOON + n * second) for n in (-1, 0, 1)] == [False, True, False]


def test_no_timerel_is_no_filter() -> None:
    assert parse_temporal(None, None) is None
    assert parse_temporal(None, None, None, "createdAt") is None
    assert parse_timeproperty(None) == "observedAt"


@pytest.mark.parametrize(
    "parts",
    [
        ("during", "2026-11-22T12:00:00Z", None, None),
        ("before", None, None, None),
        (None, "2026-11-22T12:00:00Z", None, None),
        ("between", "2026-11-22T12:00:00Z", None, None),
        ("after", "yesterday", None, None),
        ("between", "2026-11-22T12:00:00Z", "2026-11-22", None),
        ("after", "2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z", None),
        ("after", "2026-11-22T12:00:00Z", None, "seenAt"),
    ],
)
def test_incomplete_temporal_queries_are_refused(parts: tuple[str | None, ...]) -> None:
    with pytest.raises(BadRequestData):
        parse_temporal(*parts)
