"""Aggregates from rollups are those of the instances, whatever was written, edited or removed in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sejong.hub.history import Span
from sejong.hub.jobs import roll_up
from sejong.hub.ngsi.aggregation import METHODS, Aggregation
from sejong.hub.ngsi.evolution import expand_evolution
from sejong.hub.ngsi.instants import Duration, TemporalFilter, format_instant
from sejong.hub.ngsi.temporal import chosen, present_temporal
from sejong.hub.service import Hub
from sejong.kit.city import City

pytestmark = pytest.mark.anyio

METER = "urn:ngsi-ld:Meter:1"
START = datetime(2024, 3, 1, tzinfo=UTC)
NUMBERS = st.one_of(
    st.integers(-1000, 1000),
    st.floats(-1000, 1000).map(lambda x: round(x, 3)),
    st.sampled_from([0.1, -0.0, 1e15, 1e-9, True, False, 2**53]),
)
MOMENTS = st.one_of(st.integers(0, 300), st.integers(0, 60 * 24 * 40)).map(
    lambda minutes: START + timedelta(minutes=minutes)
)
WRITES = st.lists(st.tuples(MOMENTS, NUMBERS, st.sampled_from([None, "urn:d:1"])), min_size=1, max_size=12)
PERIODS = st.sampled_from(
    [Duration(), Duration(0, 3_600_000_000), Duration(0, 86_400_000_000), Duration(0, 900_000_000), Duration(1, 0)]
    + [Duration(0, 5_400_000_000), Duration(1, 3_600_000_000)]
)
FILTERS = st.one_of(
    st.none(),
    st.builds(lambda at: TemporalFilter("after", at), MOMENTS),
    st.builds(lambda at: TemporalFilter("before", at), MOMENTS),
    st.builds(lambda at, h: TemporalFilter("between", at, at + timedelta(hours=h)), MOMENTS, st.integers(0, 900)),
    st.builds(
        lambda d, h: TemporalFilter("between", START + timedelta(days=d), START + timedelta(days=d, hours=h)),
        st.integers(0, 30),
        st.integers(0, 900),
    ),
)  # fmt: skip
QUESTIONS = st.lists(
    st.tuples(FILTERS, PERIODS, st.lists(st.sampled_from(METHODS), min_size=1, unique=True)), max_size=4
)


async def told(hub: Hub, writes: Any) -> None:
    instances = [
        {"type": "Property", "value": value, "observedAt": format_instant(at)} | ({"datasetId": ds} if ds else {})
        for at, value, ds in writes
    ]
    context = await hub.contexts.get(None)
    new = expand_evolution({"id": METER, "type": "Meter", "flow": instances}, context, now=hub.now(), whole=True)
    await hub.writer.write(0, METER, hub.past.adding(METER, new, create=True))


async def number_of(hub: Hub) -> int:
    known = await hub.known(0, METER)
    assert known is not None
    return known.no


async def both_ways(hub: Hub, interval: TemporalFilter | None, aggregation: Aggregation) -> tuple[Any, Any, Any]:
    """The aggregate of every instance read, the one of figures, and the latter's figures."""
    context = await hub.contexts.get(None)
    number = await number_of(hub)
    (evolution,) = await hub.histories.of([number], Span(interval=interval))
    rows = chosen(evolution.rows, interval)
    given_ = {"fmt": "aggregatedValues", "temporal": interval, "aggregation": aggregation}
    read = present_temporal(evolution.entity, rows, context, **given_)  # type: ignore[arg-type]  # one format of several
    summary = await hub.rollups.summary([number], interval, None, aggregation)
    if summary is None:
        return read, None, None
    if summary.unfit:  # whether 1 or true was said is not in the figures
        assert "distinctCount" in aggregation.methods
        return read, None, None
    known = summary.figures.get(number, {})
    return read, present_temporal(evolution.entity, [], context, summaries=known, **given_), known  # type: ignore[arg-type]


def in_order(found: Any) -> Any:
    """Series of several datasets by their names: which one came first says nothing."""
    flow = found.get("flow")
    if isinstance(flow, list):
        found = {**found, "flow": sorted(flow, key=lambda one: one.get("datasetId", ""))}
    return found


SUMS = tuple(method for method in METHODS if method != "distinctCount")
ALWAYS = [
    (None, Duration(), METHODS),
    (None, Duration(), SUMS),
    (TemporalFilter("after", START), Duration(0, 3_600_000_000), METHODS),
    (TemporalFilter("after", START), Duration(0, 3_600_000_000), SUMS),
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(WRITES, st.integers(0, 3)), min_size=1, max_size=3), questions=QUESTIONS)
async def test_rollups_say_what_the_instances_say(city: City, steps: Any, questions: Any) -> None:
    hub = city.part(Hub)
    await city.pool.execute("delete from hub.hist; delete from hub.rollup; delete from hub.entity")
    for writes, removed in steps:
        await told(hub, writes)
        number = await number_of(hub)
        await agree(hub, ALWAYS)
        (evolution,) = await hub.histories.of([number], Span())
        for row in evolution.rows[:removed]:
            instance = int(row.instance_id.rpartition(":")[2])
            await hub.writer.write(0, METER, hub.past.removing(METER, row.attribute, instance))
        await agree(hub, [*ALWAYS, *questions])
        await hub.rollups.roll_up(number)
    await agree(hub, [*ALWAYS, *questions])
    assert await raw_rows(hub, None) == 0


async def agree(hub: Hub, questions: Any) -> None:
    """Each question has one answer, however it is found."""
    for interval, period, methods in questions:
        read, figured, _ = await both_ways(hub, interval, Aggregation(tuple(methods), period))
        if figured is not None:
            assert in_order(figured) == in_order(read), (interval, period, methods)
        elif "distinctCount" not in methods:
            assert not period.is_zero
            assert interval is None or interval.start is None


async def raw_rows(hub: Hub, interval: TemporalFilter | None) -> int:
    rows: list[Any] = []
    wanted, hub.rollups._want = hub.rollups._want, rows.extend
    try:
        number = await number_of(hub)
        await hub.rollups.summary([number], interval, None, Aggregation(("avg",)))
    finally:
        hub.rollups._want = wanted
    return sum(row.raw for row in rows)


async def test_only_what_changed_is_read_again(city: City) -> None:
    hub = city.part(Hub)
    await told(hub, [(START + timedelta(minutes=10 * n), n, None) for n in range(600)])
    assert await raw_rows(hub, None) == 600
    number = await number_of(hub)
    await hub.rollups.roll_up(number)
    assert await raw_rows(hub, None) == 0
    # One more in an hour that was summarised, one replaced in another, one in an hour that had none.
    await told(hub, [(START + timedelta(minutes=5), 1, None), (START + timedelta(minutes=120), 5, None)])
    await told(hub, [(START - timedelta(days=9), 1, None)])
    assert await raw_rows(hub, None) == 7 + 6 + 1
    assert list(await hub.rollups.behind()) == [number]
    async with city.record.act("test", "test.roll_up") as act:
        await roll_up(city, act)
    assert await raw_rows(hub, None) == 0
    assert list(await hub.rollups.behind()) == []
    # Edges that are no whole hours are read, and what is newer than the summaries.
    assert await raw_rows(hub, TemporalFilter("after", START + timedelta(minutes=1230))) == 3
    await told(hub, [(datetime.fromisoformat(hub.now()), 1, None)])
    assert await raw_rows(hub, None) == 1


async def test_what_was_read_much_is_rolled_up(city: City) -> None:
    hub = city.part(Hub)
    await told(hub, [(START + timedelta(minutes=n), n % 7, None) for n in range(2500)])
    assert await raw_rows(hub, None) == 2500
    _, figured, known = await both_ways(hub, None, Aggregation(("totalCount",)))
    await hub.rollups.idle()
    assert await raw_rows(hub, None) == 0
    assert (await both_ways(hub, None, Aggregation(("totalCount",))))[1:] == (figured, known)


async def test_a_rollup_holds_off_writers_and_loses_none(city: City) -> None:
    """A reading that is on its way while its hour is summarised is in the summary or marks it."""
    import asyncio

    hub = city.part(Hub)
    await told(hub, [(START, 0, None)])
    number = await number_of(hub)
    for n in range(1, 16):
        await asyncio.gather(
            told(hub, [(START + timedelta(minutes=n), n, None)]),
            hub.rollups.roll_up(number),
            told(hub, [(START + timedelta(minutes=n + 30), n, None)]),
        )
    read, figured, _ = await both_ways(hub, None, Aggregation(METHODS))
    assert figured == read
    assert read["flow"]["totalCount"][0][0] == 31


async def test_texts_and_mixed_values_are_read(city: City) -> None:
    hub = city.part(Hub)
    await told(hub, [(START, 1, None), (START + timedelta(hours=1), "n/a", None)])
    number = await number_of(hub)
    summary = await hub.rollups.summary([number], None, None, Aggregation(("avg",)))
    assert summary is not None
    assert (len(summary.unfit), summary.figures) == (1, {})
    assert msgspec.json.encode(sorted(summary.unfit)) == b'["https://uri.etsi.org/ngsi-ld/default-context/flow"]'
