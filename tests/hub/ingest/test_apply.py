"""Order and repetition of readings do not matter: the newest observation stands, every one is in the history once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ingest.apply import DUPLICATE, LATE, NEW, apply_readings
from sejong.hub.ingest.reading import Decoder, Moment, Reading
from sejong.hub.ingest.refusals import UnknownEntity
from sejong.hub.ngsi.context import CORE
from sejong.hub.writer import Outcome

T = "https://uri.etsi.org/ngsi-ld/default-context/"
A, B, SIMULATED = T + "a", T + "b", T + "simulated"
ID = "urn:x:1"
NOW = "2026-11-22T09:00:00.000000Z"
LATER = "2026-11-22T09:00:01.000000Z"


def at(minute: int) -> str:
    return f"2026-11-22T08:{minute:02}:00.000000Z"


def readings(*things: dict[str, Any], again: bool = False) -> list[Reading]:
    found = Decoder(CORE, lambda _: True).message(
        json.dumps([{"id": ID, **thing} for thing in things]).encode(),
        Moment(NOW, "", "2027-01-01T00:00:00.000000Z", again),
    )
    assert found.refused == []
    return found.readings


def done(entity: dict[str, Any] | None, *things: dict[str, Any], now: str = NOW, again: bool = False) -> Outcome:
    return apply_readings(readings(*things, again=again))(entity, now)


def begun(**thing: Any) -> dict[str, Any]:
    outcome = done(None, {"type": "Bike", "at": at(10), **thing})
    assert outcome.entity is not None
    return outcome.entity


def test_thing_is_created_when_its_type_is_given() -> None:
    outcome = done(None, {"at": at(1), "a": 7}, {"at": at(2), "type": "Bike", "a": 8, "simulated": True})
    assert outcome.entity == {
        "id": ID,
        "type": [T + "Bike"],
        "createdAt": NOW,
        "modifiedAt": NOW,
        A: [
            {
                "type": "Property",
                "value": 8,
                "observedAt": at(2),
                SIMULATED: [{"type": "Property", "value": True}],
                "createdAt": NOW,
                "modifiedAt": NOW,
            }
        ],
    }
    assert [(op[0], op[2]["value"] if op[2] else None, op[3]) for op in outcome.ops] == [(A, 7, 1), (A, 8, 2)]


def test_thing_nobody_knows_is_refused() -> None:
    with pytest.raises(UnknownEntity):
        done(None, {"a": 7})


def test_newer_reading_stands_and_keeps_creation_time_and_unit() -> None:
    before = begun(a=7, units={"a": "KMH"}, b="x")
    outcome = done(before, {"at": at(11), "a": 8.5}, now=LATER)
    assert outcome.entity is not None
    assert outcome.entity[A] == [
        {
            "type": "Property",
            "value": 8.5,
            "observedAt": at(11),
            "unitCode": "KMH",
            "createdAt": NOW,
            "modifiedAt": LATER,
        }
    ]
    assert outcome.entity[B] is before[B]
    assert (outcome.entity["createdAt"], outcome.entity["modifiedAt"]) == (NOW, LATER)
    assert before[A][0]["value"] == 7  # the entity given is not touched
    assert outcome.answer.fates == [NEW]


def test_newer_reading_of_the_same_value_is_history_too() -> None:
    outcome = done(begun(a=7), {"at": at(11), "a": 7})
    assert len(outcome.ops) == 1
    assert outcome.answer.fates == [NEW]


def test_same_time_and_value_is_a_repetition() -> None:
    before = begun(a=7, units={"a": "KMH"}, simulated=True)
    for repeated in ({"a": 7, "units": {"a": "KMH"}}, {"a": 7}, {"a": 7.0}):
        outcome = done(before, {"at": at(10), "simulated": True, **repeated}, now=LATER)
        assert outcome.entity is before
        assert (outcome.ops, outcome.late, outcome.answer.fates) == ([], [], [DUPLICATE])


@pytest.mark.parametrize(
    "other", [{"a": 8}, {"a": "7"}, {"a": True}, {"a": 7, "units": {"a": "MTS"}}, {"a": 7, "simulated": True}]
)
def test_same_time_and_another_value_is_a_correction(other: dict[str, Any]) -> None:
    outcome = done(begun(a=7), {"at": at(10), **other}, now=LATER)
    assert outcome.entity is not None
    assert outcome.entity[A][0]["value"] == other["a"]
    # the history is asked first: the same correction may come twice
    assert outcome.ops == []
    assert len(outcome.late) == 1
    assert outcome.answer.fates == [NEW]


def test_older_reading_is_history_only() -> None:
    before = begun(a=7, units={"a": "KMH"})
    outcome = done(before, {"at": at(9), "a": 5}, now=LATER)
    assert outcome.entity is before
    assert outcome.ops == []
    assert [op[2] and (op[2]["value"], op[2]["unitCode"]) for op in outcome.late] == [(5, "KMH")]
    assert outcome.answer.fates == [LATE]


def test_value_that_changes_its_kind_is_counted() -> None:
    outcome = done(begun(a=7, b=1), {"at": at(11), "a": "seven", "b": 1.5}, {"at": at(12), "b": {"object": "urn:x:2"}})
    assert outcome.answer.retyped == 2
    assert outcome.entity is not None
    assert outcome.entity[B][0]["type"] == "Relationship"


def test_datasets_are_kept_apart() -> None:
    before = begun(a=7)
    outcome = done(before, {"at": at(11), "a": [{"value": 1, "datasetId": "urn:d:1", "observedAt": at(5)}]})
    assert outcome.entity is not None
    assert [one.get("datasetId") for one in outcome.entity[A]] == [None, "urn:d:1"]
    outcome = done(outcome.entity, {"a": {"value": 2, "datasetId": "urn:d:1", "observedAt": at(6)}})
    assert outcome.entity is not None
    assert [one["value"] for one in outcome.entity[A]] == [7, 2]
    outcome = done(outcome.entity, {"a": {"value": 2, "datasetId": "urn:d:1", "observedAt": at(6)}})
    assert outcome.answer.fates == [DUPLICATE]


def test_sub_attributes_get_times_of_their_own() -> None:
    before = begun(a={"value": 1, "accuracy": {"value": 0.5}})
    sub = before[A][0][T + "accuracy"][0]
    assert (sub["createdAt"], sub["modifiedAt"]) == (NOW, NOW)
    outcome = done(before, {"at": at(10), "a": {"value": 1, "accuracy": {"value": 0.5}}})
    assert outcome.answer.fates == [DUPLICATE]


def test_facts_without_a_time() -> None:
    before = begun(a={"value": "x", "type": "Property"}, at=None)
    assert "observedAt" not in before[A][0]
    assert done(before, {"a": {"value": "x", "type": "Property"}}).answer.fates == [DUPLICATE]
    changed = done(before, {"a": {"value": "y", "type": "Property"}}, now=LATER)
    assert changed.entity is not None
    assert changed.entity[A][0]["value"] == "y"
    assert [op[3] for op in changed.ops] == [2]
    # an observation replaces a fact
    assert done(before, {"a": "y"}).answer.fates == [NEW]


def test_message_delivered_again_without_a_time_is_not_a_new_observation() -> None:
    before = begun(a=7)
    assert done(before, {"a": 7}, again=True).answer.fates == [DUPLICATE]
    assert done(before, {"a": 8}, again=True).answer.fates == [NEW]
    assert done(before, {"a": 7}).answer.fates == [NEW]


def test_stored_time_of_another_form_is_compared_as_time() -> None:
    before = begun(a=7)
    before[A][0]["observedAt"] = "2026-11-22T08:10:00Z"
    assert done(before, {"at": at(10), "a": 7}).answer.fates == [DUPLICATE]
    before[A][0]["observedAt"] = "2026-11-22T08:10:00.5Z"
    assert done(before, {"at": at(10), "a": 8}).answer.fates == [LATE]


# --- any order, any repetition ---------------------------------------------------------------------------------------


class Record:
    """A record of one thing in memory that treats `ops` and `late` as the writer does."""

    def __init__(self) -> None:
        self.entity: dict[str, Any] | None = None
        self.history: list[tuple[str, str, str]] = []

    def take(self, batch: Sequence[Reading], now: str) -> list[int]:
        outcome = apply_readings(batch)(self.entity, now)
        self.entity = outcome.entity
        before = set(self.history)
        for op in outcome.ops:
            self.history.append(self.line(op))
        for op in outcome.late:
            line = self.line(op)
            if line not in before:
                before.add(line)
                self.history.append(line)
        return outcome.answer.fates

    @staticmethod
    def line(op: Any) -> tuple[str, str, str]:
        return op[0], op[2]["observedAt"], json.dumps(op[2]["value"])

    def state(self) -> dict[str, Any]:
        assert self.entity is not None
        return {
            key: (self.entity[key][0]["observedAt"], self.entity[key][0]["value"])
            for key in (A, B)
            if key in self.entity
        }


samples = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.integers(0, 40)), st.integers(0, 5) | st.sampled_from(["x", True]), min_size=1
)


@given(samples, st.randoms(use_true_random=False))
def test_any_order_and_repetition_ends_in_the_same_record(values: dict[tuple[str, int], Any], chance: Any) -> None:
    things = [{"type": "Bike", "at": at(minute), name: value} for (name, minute), value in values.items()]
    straight, mixed = Record(), Record()
    straight.take(readings(*things), NOW)
    shuffled = [*things, *chance.choices(things, k=len(things))]
    chance.shuffle(shuffled)
    moment = datetime(2026, 11, 22, 9, tzinfo=UTC)
    while shuffled:
        n = chance.randint(1, 5)
        batch, shuffled = shuffled[:n], shuffled[n:]
        moment += timedelta(seconds=1)
        fates = mixed.take(readings(*batch), moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        assert len(fates) == len(batch)
    assert mixed.state() == straight.state()
    assert sorted(mixed.history) == sorted(straight.history)
    assert len(mixed.history) == len(set(mixed.history)) == len(values)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1), st.randoms(use_true_random=False))
def test_contradicting_readings_are_all_in_the_history_once(values: list[tuple[int, int]], chance: Any) -> None:
    things = [{"type": "Bike", "at": at(minute), "a": value} for minute, value in values]
    record = Record()
    for thing in things:
        record.take(readings(thing), NOW)
    again = list(things)
    chance.shuffle(again)
    record.take(readings(*again), LATER)
    assert sorted(record.history) == sorted({(A, at(minute), json.dumps(value)) for minute, value in values})
