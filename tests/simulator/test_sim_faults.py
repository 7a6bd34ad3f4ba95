"""Faults happen at the rate declared, and the truth tells exactly which."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

import msgspec
import pytest

from sejong.simulator import FaultRates, FaultRecord, Message, Simulation
from sejong.simulator.faults import LATE_MAX_S, LATE_MIN_S, SKEWS_S, garbage
from sejong.simulator.message import Kind
from sejong.simulator.simulation import FAMILIES

KST = timezone(timedelta(hours=9))
START = datetime(2026, 11, 23, 8, 0, tzinfo=KST)
HOURS = 1
MEASURES = {(f.row.kind, m.attribute): m for f in FAMILIES for m in f.row.measures}
RATES: dict[Kind, float] = {
    "drop_out": 8.0,
    "stuck": 8.0,
    "wrong_unit": 8.0,
    "clock_skew": 8.0,
    "spike": 0.01,
    "duplicate": 0.02,
    "out_of_order": 0.02,
    "malformed": 0.02,
}


def stream(city: list[Any], rates: FaultRates) -> tuple[list[Message], list[FaultRecord]]:
    sim = Simulation(city, 7, START, rates)
    return sim.step(START + timedelta(hours=HOURS)), sim.truth()


def by_name(messages: list[Message]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(m.payload["id"], m.payload["at"]): m.payload for m in messages if isinstance(m.payload, dict)}


@pytest.fixture(scope="module")
def sound(testville: list[Any]) -> dict[tuple[str, str], dict[str, Any]]:
    messages, truth = stream(testville, FaultRates.none())
    assert truth == []
    found = by_name(messages)
    assert len(found) == len(messages)
    return found


def inside(truth: list[FaultRecord], entity: str, at: str) -> list[FaultRecord]:
    return [r for r in truth if r.entity == entity and r.since <= at < r.until]


def test_a_silent_device_sends_nothing_and_all_others_everything(testville: list[Any], sound: Any) -> None:
    messages, truth = stream(testville, FaultRates.only("drop_out", RATES["drop_out"]))
    sent = by_name(messages)
    gone = {key for key in sound if inside(truth, *key)}
    assert gone
    assert sent == {k: v for k, v in sound.items() if k not in gone}


@pytest.mark.parametrize("kind", ["stuck", "wrong_unit", "spike"])
def test_a_wrong_value_is_in_the_truth_and_only_there(testville: list[Any], sound: Any, kind: Kind) -> None:
    messages, truth = stream(testville, FaultRates.only(kind, RATES[kind]))
    sent = by_name(messages)
    assert sent.keys() == sound.keys()
    wrong: dict[tuple[str, str], list[tuple[Any, Any]]] = defaultdict(list)
    records = Counter()
    for (entity, at), payload in sent.items():
        for name, value in payload.items():
            if sound[entity, at][name] != value:
                wrong[entity, name].append((value, sound[entity, at][name]))
                hits = [
                    r
                    for r in truth
                    if r.entity == entity
                    and r.attribute == name
                    and (r.since <= at < r.until or r.since == r.until == at)
                ]
                assert len(hits) == 1
                records[hits[0]] += 1
    assert set(records) == set(truth)
    assert truth
    assert {r.kind for r in truth} == {kind}
    for (entity, name), values in wrong.items():
        measure = MEASURES[entity.split(":")[2], name]
        for value, right in values:
            if kind == "spike":
                assert value == measure.spike
            elif kind == "wrong_unit":
                assert measure.wrong is not None
                factor, summand = measure.wrong
                assert value == pytest.approx(right * factor + summand, rel=1e-4)
        if kind == "stuck":
            spells = {r for r in truth if r.entity == entity and r.attribute == name}
            assert len({msgspec.json.encode(v) for v, _ in values}) <= len(spells)


def test_a_wrong_clock_stamps_wrong_times(testville: list[Any], sound: Any) -> None:
    messages, truth = stream(testville, FaultRates.only("clock_skew", RATES["clock_skew"]))
    assert len(messages) == len(sound)
    skewed = 0
    for message, right in zip(messages, sound.values(), strict=True):
        assert isinstance(message.payload, dict)
        off = (datetime.fromisoformat(message.payload["at"]) - datetime.fromisoformat(right["at"])).total_seconds()
        assert bool(off) == bool(inside(truth, right["id"], right["at"]))
        if off:
            assert off in SKEWS_S
            assert {**message.payload, "at": right["at"]} == right
            skewed += 1
    assert skewed


def test_doubles_are_the_same_message_again(testville: list[Any], sound: Any) -> None:
    messages, truth = stream(testville, FaultRates.only("duplicate", RATES["duplicate"]))
    seen = Counter(msgspec.json.encode(m.payload) for m in messages)
    assert set(seen) == {msgspec.json.encode(p) for p in sound.values()}
    twice = {(d["id"], d["at"]) for raw, n in seen.items() if n == 2 and (d := msgspec.json.decode(raw))}
    assert twice == {(r.entity, r.since) for r in truth}
    assert max(seen.values()) == 2
    assert len(truth) / len(sound) == pytest.approx(RATES["duplicate"], rel=0.3)


def test_late_messages_come_late_but_come(testville: list[Any], sound: Any) -> None:
    sim = Simulation(testville, 7, START, FaultRates.only("out_of_order", RATES["out_of_order"]))
    arrived: dict[tuple[str, str], datetime] = {}
    for k in range(1, HOURS * 720 + LATE_MAX_S // 5 + 2):
        now = START + timedelta(seconds=5 * k)
        for message in sim.step(now):
            assert isinstance(message.payload, dict)
            assert (message.payload["id"], message.payload["at"]) not in arrived
            arrived[message.payload["id"], message.payload["at"]] = now
    late = {(r.entity, r.since) for r in sim.truth()}
    assert len(late) > 20
    assert sound.keys() <= arrived.keys()
    for key in sound:
        wait = (arrived[key] - datetime.fromisoformat(key[1])).total_seconds()
        assert (LATE_MIN_S <= wait <= LATE_MAX_S + 5) if key in late else wait == 0


def test_garbage_takes_the_place_of_the_message(testville: list[Any], sound: Any) -> None:
    messages, truth = stream(testville, FaultRates.only("malformed", RATES["malformed"]))
    assert len(messages) == len(sound)
    bad = [m for m in messages if isinstance(m.payload, bytes)]
    assert len(bad) == len(truth) > 20
    assert all(m.alone and m.readings == 0 for m in bad)
    assert sound.keys() - by_name(messages).keys() == {(r.entity, r.since) for r in truth}


def test_no_garbage_can_be_taken_for_a_message() -> None:
    payload = {"id": "urn:ngsi-ld:Vehicle:x:1", "at": "2026-11-22T10:00:00Z", "speed": 12.5}
    for form in range(5):
        try:
            found = msgspec.json.decode(garbage(payload, form))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        assert "id" not in found, form


def test_kinds_do_not_disturb_one_another(testville: list[Any]) -> None:
    _, together = stream(testville, FaultRates(**RATES))
    assert {r.kind for r in together} == set(get_args(Kind))
    for kind in get_args(Kind):
        _, alone = stream(testville, FaultRates.only(kind, RATES[kind]))
        said = [r for r in together if r.kind == kind]
        # another fault may hide one (a silent device is not seen to be stuck), never make or move one
        assert set(said) <= set(alone), kind
        assert len(said) > 0.5 * len(alone), kind
    _, alone = stream(testville, FaultRates.only("drop_out", RATES["drop_out"]))
    assert set(alone) == {r for r in together if r.kind == "drop_out"}


def test_spells_outlive_a_restart(testville: list[Any]) -> None:
    rates = FaultRates.only("drop_out", 8.0)
    early = Simulation(testville, 7, START, rates)
    early.step(START + timedelta(hours=1))
    late = Simulation(testville, 7, START + timedelta(hours=1), rates)
    until = START + timedelta(hours=2)
    assert [m.payload for m in early.step(until)] == [m.payload for m in late.step(until)]


def test_rates_are_kept_over_a_large_city(town: Any) -> None:
    city = [town.entity("AirQualityObserved", f"a{i}", 127.2, 36.4 + 0.001 * i) for i in range(400)]
    sim = Simulation(city, 1, START.replace(hour=9), FaultRates(drop_out=0.5, malformed=0.001))
    messages = sim.step(START.replace(hour=9) + timedelta(hours=1))
    kinds = Counter(r.kind for r in sim.truth())
    assert kinds["malformed"] / len(messages) == pytest.approx(0.001, rel=0.5)
    assert 5 < kinds["drop_out"] < 80
    assert FaultRates().times(2).drop_out == 2 * FaultRates().drop_out
