"""The stream as a whole: the same for the same seed, whatever the steps; right in form; quick."""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sejong.kernel.units import UNITS
from sejong.simulator import GATEWAYS, FaultRates, Message, Simulation, backfill
from sejong.simulator.message import NOT_READINGS
from sejong.simulator.simulation import FAMILIES, TICK_S, short_type

KST = timezone(timedelta(hours=9))
START = datetime(2026, 11, 23, 8, 0, tzinfo=KST)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def raw(messages: Iterable[Message]) -> bytes:
    """The stream as bytes: gateway and payload of each message, in order."""
    return b"\n".join(
        m.gateway.encode() + b" " + (m.payload if isinstance(m.payload, bytes) else msgspec.json.encode(m.payload))
        for m in messages
    )


def sound(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [m.payload for m in messages if isinstance(m.payload, dict)]


def test_the_first_hour_has_the_same_sha_256_twice(testville: list[Any]) -> None:
    first, second, other = (
        hashlib.sha256(raw(Simulation(testville, seed, START, FaultRates().times(50)).step(START + HOUR))).hexdigest()
        for seed in (7, 7, 8)
    )
    assert first == second
    assert first != other


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, 600), min_size=1, max_size=6))
def test_how_time_is_cut_into_steps_changes_nothing(testville: list[Any], cuts: list[int]) -> None:
    faults = FaultRates().times(40)
    sim = Simulation(testville, 3, START, faults)
    out: list[Message] = []
    now = START
    for cut in cuts:
        now += timedelta(seconds=cut, milliseconds=cut)
        out += sim.step(now)
    whole = Simulation(testville, 3, START, faults)
    assert raw(whole.step(now)) == raw(out)
    assert whole.truth() == sim.truth()


def test_a_simulation_begun_later_says_what_one_begun_earlier_says(testville: list[Any]) -> None:
    early = Simulation(testville, 7, START, FaultRates.none())
    early.step(START + 3 * HOUR)
    late = Simulation(testville, 7, START + 3 * HOUR + timedelta(seconds=2), FaultRates.none())
    until = START + 4 * HOUR
    assert raw(early.step(until)) == raw(late.step(until))


def test_one_thing_less_leaves_the_luck_of_the_others(testville: list[Any]) -> None:
    kept = [
        e for e in testville if e["type"] not in ("Vehicle", "Streetlight", "WeatherObserved", "AirQualityObserved")
    ]
    everything, less = (Simulation(e, 7, START, FaultRates.none()).step(START + HOUR / 2) for e in (testville, kept))
    gone = {e["id"] for e in testville} - {e["id"] for e in kept}
    assert raw(m for m in everything if m.payload["id"] not in gone) == raw(less)  # type: ignore[index]


def test_time_that_stands_still_or_runs_back_says_nothing(testville: list[Any]) -> None:
    sim = Simulation(testville, 7, START)
    assert sim.step(START) == []
    assert sim.step(START - HOUR) == []
    assert sim.step(START + timedelta(seconds=TICK_S - 1)) == []
    assert sim.now == START
    with pytest.raises(ValueError, match="aware"):
        Simulation(testville, 7, START.replace(tzinfo=None))


def test_seek_jumps_without_a_word_of_what_lies_between(testville: list[Any]) -> None:
    sim = Simulation(testville, 7, START, FaultRates.none())
    sim.step(START + MINUTE)
    sim.seek(START + 30 * HOUR)
    there = Simulation(testville, 7, START + 30 * HOUR, FaultRates.none())
    assert raw(sim.step(START + 31 * HOUR)) == raw(there.step(START + 31 * HOUR))


def test_every_payload_is_as_agreed(testville: list[Any]) -> None:
    known = {e["id"]: e["type"] for e in testville}
    sim = Simulation(testville, 7, START, FaultRates.none())
    messages = sim.step(START + HOUR)
    of_type = {f.row.kind: {m.attribute for m in f.row.measures} for f in FAMILIES if f.row.name != "link"}
    for message in messages:
        assert message.gateway in GATEWAYS
        o = msgspec.json.decode(msgspec.json.encode(message.payload))
        assert known[o["id"]] == o["type"]
        assert o["simulated"] is True
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", o["at"])
        assert "2026-11-22T23:00:00Z" < o["at"] <= "2026-11-23T00:00:00Z"
        values = o.keys() - NOT_READINGS
        assert values
        assert values <= of_type[o["type"]]
        assert message.readings == len(values)
        assert o["units"].keys() <= values
        assert set(o["units"].values()) <= UNITS.keys()
        for name in values:
            assert o[name] is not None
            if isinstance(o[name], dict):
                assert name in ("location", "nextStop")
    assert {o["type"] for o in sound(messages)} == of_type.keys() & set(known.values())


def test_every_device_speaks_at_least_once_a_period(testville: list[Any]) -> None:
    sim = Simulation(testville, 7, START, FaultRates.none())
    heard: dict[str, list[str]] = defaultdict(list)
    for o in sound(sim.step(START + HOUR)):
        heard[o["id"]].append(o["at"])
    for name in sim.devices():
        family = sim.family(name)
        for entity in family.ids:
            times = [datetime.fromisoformat(t) for t in heard[entity]]
            gaps = [(b - a).total_seconds() for a, b in zip([START, *times], [*times, START + HOUR], strict=True)]
            assert max(gaps) <= family.row.period_s, (name, entity)


def test_changes_are_told_at_once(testville: list[Any]) -> None:
    sim = Simulation(testville, 7, START, FaultRates.none())
    seen: dict[str, int] = {
        o["id"]: o["availableBikeNumber"] for o in sound(sim.step(START + 2 * MINUTE)) if "Bike" in o["type"]
    }
    bikes: Any = sim.family("bike")
    for second in range(125, 3600 * 2, 5):
        for o in sound(sim.step(START + timedelta(seconds=second))):
            if "availableBikeNumber" in o:
                seen[o["id"]] = o["availableBikeNumber"]
        assert [seen[i] for i in bikes.ids] == bikes.docked


def test_thinned_out_is_a_part_of_the_whole(testville: list[Any]) -> None:
    whole = Simulation(testville, 7, START, FaultRates.none())
    thin = Simulation(testville, 7, START, FaultRates.none(), thin=dict.fromkeys(GATEWAYS, 4))
    said = [raw([m]) for m in whole.step(START + 3 * HOUR)]
    kept = [raw([m]) for m in thin.step(START + 3 * HOUR)]
    assert set(kept) <= set(said)
    assert len(said) / 6 < len(kept) < len(said) / 2.5
    assert {msgspec.json.decode(k.split(b" ", 1)[1])["id"] for k in kept} == {
        msgspec.json.decode(k.split(b" ", 1)[1])["id"] for k in said
    }


def test_types_may_be_names_lists_or_iris() -> None:
    iri = "https://smartdatamodels.org/dataModel.Transportation/Vehicle"
    assert [short_type({"type": t}) for t in ("Vehicle", ["Vehicle", "X"], [iri], iri, "urn:x#Vehicle", [])] == [
        *["Vehicle"] * 5,
        "",
    ]


def test_an_empty_city_is_silent() -> None:
    sim = Simulation([], 7, START)
    assert sim.step(START + HOUR) == []
    assert list(backfill(sim, START - HOUR, START)) == []
    assert sim.devices() == {}


def test_broken_entities_do_not_stop_the_city(testville: list[Any]) -> None:
    odd: list[Any] = [
        {
            "id": "urn:ngsi-ld:RoadSegment:x:1",
            "type": "RoadSegment",
            "taxiMeanSpeed": {"type": "Property", "value": "fast"},
        },
        {"id": "urn:ngsi-ld:BikeHireDockingStation:x:1", "type": "BikeHireDockingStation", "location": None},
        {"id": "urn:ngsi-ld:Streetlight:x:1", "type": "Streetlight", "powerRating": {"type": "Property", "value": -3}},
        {"id": "urn:ngsi-ld:Vehicle:x:1", "type": "Vehicle", "refPublicTransportRoute": {"object": "urn:none"}},
        {"id": "urn:ngsi-ld:Thing:x:1"},
    ]
    assert Simulation([*testville, *odd], 7, START).step(START + HOUR)


def test_history_joins_the_present(testville: list[Any]) -> None:
    sim = Simulation(testville, 7, START)
    days: dict[str, set[str]] = defaultdict(set)
    for messages in backfill(sim, START - 24 * HOUR, START):
        for o in sound(messages):
            assert "2026-11-21T23:00:00Z" <= o["at"] < "2026-11-22T23:00:00Z"
            days[o["id"]].add(o["at"])
    assert days.keys() == {i for name in sim.devices() for i in sim.family(name).ids}
    for name in sim.devices():
        family = sim.family(name)
        assert {len(days[i]) for i in family.ids} == {-(-24 // family.row.history)}
    assert sim.now == START
    untouched = Simulation(testville, 7, START)
    assert raw(sim.step(START + HOUR)) == raw(untouched.step(START + HOUR))


def test_history_is_what_was_said(testville: list[Any]) -> None:
    earlier = Simulation(testville, 7, START - HOUR, FaultRates.none())
    said = {(o["id"], o["at"]): o for o in sound(earlier.step(START))}
    sim = Simulation(testville, 7, START, FaultRates.none())
    both = 0
    for messages in backfill(sim, START - 10 * MINUTE, START, timedelta(seconds=TICK_S)):
        for o in sound(messages):
            if (o["id"], o["at"]) in said:
                assert said[o["id"], o["at"]] == o
                both += 1
    assert both > 100


@pytest.mark.slow
def test_the_whole_of_sejong(whole_sejong: list[Any]) -> None:
    """Size of the stream and of the history; generous limits of time, the numbers are in the bench."""
    began = time.process_time()
    sim = Simulation(whole_sejong, 7, START)
    assert time.process_time() - began < 8
    assert 10_000 < sum(sim.devices().values()) < 20_000
    sim.step(START + MINUTE)
    began, readings = time.process_time(), Counter[str]()
    for k in range(2, 12):
        for m in sim.step(START + k * MINUTE):
            readings[m.gateway] += m.readings
    assert (time.process_time() - began) / 10 < 0.25
    assert 4_000 <= readings.total() / 10 <= 8_000
    assert readings.keys() == set(GATEWAYS)
    history = sum(m.readings for messages in backfill(sim, START - 24 * HOUR, START) for m in messages)
    assert 50_000 < history <= 150_000
