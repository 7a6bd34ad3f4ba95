"""What devices send becomes readings, or a reason; a bad part never takes good ones with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ingest.reading import LONGEST_ID, Allowed, Decoder, Moment, Understood, instant
from sejong.hub.ingest.refusals import BadTime
from sejong.hub.ngsi.context import CORE, Context

BIKE = "urn:ngsi-ld:BikeHireDockingStation:sejong:SJ_00001"
BIKES = "https://smartdatamodels.org/dataModel.Transportation/availableBikeNumber"
LOCATION = "https://uri.etsi.org/ngsi-ld/location"


def read(decoder: Decoder, now: Moment, thing: Any, allowed: Allowed | None = None) -> Understood:
    raw = thing if isinstance(thing, bytes) else json.dumps(thing).encode()
    return decoder.message(raw, now, None, allowed)


def reasons(understood: Understood) -> list[str]:
    return [refused.error.code for refused in understood.refused]


def test_default_payload(decoder: Decoder, now: Moment, context: Context) -> None:
    said = {
        "id": BIKE,
        "type": "BikeHireDockingStation",
        "at": "2026-11-22T08:59:00Z",
        "simulated": True,
        "units": {"speed": "KMH"},
        "availableBikeNumber": 7,
        "speed": 30.5,
        "status": "working",
        "refPointOfInterest": {"object": "urn:ngsi-ld:PointOfInterest:sejong:1"},
        "location": {"type": "Point", "coordinates": [127.2, 36.5]},
        "category": ["a", "b"],
    }
    found = read(decoder, now, said)
    assert found.refused == []
    by_name = {reading.attribute: reading for reading in found.readings}
    assert len(by_name) == 6
    bikes = by_name[BIKES]
    mark = context.expand("simulated")
    assert (bikes.entity, bikes.types) == (BIKE, [context.expand("BikeHireDockingStation")])
    assert bikes.at == "2026-11-22T08:59:00.000000Z"
    assert bikes.instance == {
        "type": "Property",
        "value": 7,
        "observedAt": bikes.at,
        mark: [{"type": "Property", "value": True}],
    }
    assert by_name[context.expand("speed")].instance["unitCode"] == "KMH"
    assert by_name[LOCATION].instance["type"] == "GeoProperty"
    assert by_name[context.expand("refPointOfInterest")].instance["object"] == "urn:ngsi-ld:PointOfInterest:sejong:1"
    assert by_name[context.expand("category")].instance["value"] == ["a", "b"]
    assert all(reading.instance["observedAt"] == bikes.at for reading in found.readings)


def test_time_of_arrival_stands_in_where_none_is_given(decoder: Decoder, now: Moment) -> None:
    (reading,) = read(decoder, now, {"id": BIKE, "availableBikeNumber": 7}).readings
    assert (reading.at, reading.uncertain) == (now.now, False)


def test_one_bad_attribute_sets_only_itself_aside(decoder: Decoder, now: Moment) -> None:
    found = read(
        decoder, now, {"id": BIKE, "at": "2026-11-22T08:00:00Z", "availableBikeNumber": 7, "status": None, "0x": 1}
    )
    assert [reading.attribute for reading in found.readings] == [BIKES]
    assert sorted(reasons(found)) == ["BadName", "BadValue"]
    for refused in found.refused:  # what is set aside can be read again by itself
        part = json.loads(refused.part or b"")
        assert part["id"] == BIKE
        assert part["at"] == "2026-11-22T08:00:00Z"
        assert "availableBikeNumber" not in part


def test_one_bad_object_sets_only_itself_aside(decoder: Decoder, now: Moment) -> None:
    found = read(decoder, now, [{"availableBikeNumber": 1}, {"id": BIKE, "availableBikeNumber": 7}, 5, []])
    assert len(found.readings) == 1
    assert reasons(found) == ["NoId", "NotAReading", "NotAReading"]


@pytest.mark.parametrize(
    ("thing", "reason"),
    [
        (b"{", "NotJson"),
        (b"", "NotJson"),
        (b"\xff\xfe", "NotJson"),
        (b'{"id":"' + b"\xed\xa0\x80" + b'"}', "NotJson"),
        (b"[" * 100_000 + b"]" * 100_000, "TooDeep"),
        (b"7", "NotAReading"),
        (b'"x"', "NotAReading"),
        (b"null", "NotAReading"),
        ({"availableBikeNumber": 7}, "NoId"),
        ({"id": "bike 7", "n": 7}, "BadId"),
        ({"id": {"a": 1}, "n": 7}, "BadId"),
        ({"id": ["urn:a:b"], "n": 7}, "BadId"),
        ({"id": "urn:" + "x" * LONGEST_ID, "n": 7}, "BadId"),
        ({"id": BIKE, "at": "yesterday", "n": 7}, "BadTime"),
        ({"id": BIKE, "at": 1763800000, "n": 7}, "BadTime"),
        ({"id": BIKE, "at": "2026-11-22T09:00:00", "n": 7}, "BadTime"),
        ({"id": BIKE, "at": "2026-02-30T09:00:00Z", "n": 7}, "BadTime"),
        ({"id": BIKE, "at": "2026-11-22T25:00:00Z", "n": 7}, "BadTime"),
        ({"id": BIKE, "at": "2026-11-23T09:00:01Z", "n": 7}, "TimeInFuture"),
        ({"id": BIKE, "at": "1970-01-01T00:00:00Z", "n": 7}, "ClockNotSet"),
        ({"id": BIKE, "type": "Spaceship", "n": 7}, "UnknownType"),
        ({"id": BIKE, "type": 7, "n": 7}, "UnknownType"),
        ({"id": BIKE, "type": [], "n": 7}, "UnknownType"),
        ({"id": BIKE, "simulated": "yes", "n": 7}, "BadValue"),
        ({"id": BIKE, "units": 7, "n": 7}, "BadUnit"),
        ({"id": BIKE, "units": {"n": ""}, "n": 7}, "BadUnit"),
        ({"id": BIKE, "units": {"n": "km/h"}, "n": 7}, "BadUnit"),
        ({"id": BIKE, "units": {"n": "K" * 3000}, "n": 7}, "BadUnit"),
        ({"id": BIKE, "n": None}, "BadValue"),
        ({"id": BIKE, "location": 7}, "BadValue"),
        ({"id": BIKE, "location": {"type": "Point", "coordinates": ["a", "b"]}}, "BadValue"),
        ({"id": BIKE, "owner": {"object": "not a urn"}}, "BadValue"),
        ({"id": BIKE, "value": 7}, "BadName"),
        ({"id": BIKE, "scope": "/a"}, "BadName"),
        ({"id": BIKE, "x" * 3000: 7}, "BadName"),
        ({"id": BIKE}, "NoReadings"),
        ({"id": BIKE, "@context": [], "n": 7}, "OwnContext"),
        ({"id": BIKE, **{f"a{n}": n for n in range(300)}}, "TooLarge"),
        (b'{"id":"%s","n":NaN}' % BIKE.encode(), "NaN"),
        (b'{"id":"%s","n":-Infinity}' % BIKE.encode(), "NaN"),
        (b'{"id":"%s","n":1e999}' % BIKE.encode(), "NaN"),
        (b'{"id":"%s","n":[1,[NaN]]}' % BIKE.encode(), "NaN"),
        (b'{"id":"%s","n":NaN,"m":"\\ud800"}' % BIKE.encode(), "NotJson"),
        ({"id": BIKE, "n": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}, "TooDeep"),
    ],
)
def test_reasons(decoder: Decoder, now: Moment, thing: Any, reason: str) -> None:
    found = read(decoder, now, thing)
    assert found.readings == []
    assert reasons(found) == [reason]
    error = found.refused[0].error
    assert error.message("ko") != error.message("en")
    assert "?" not in error.message("ko") + error.message("en")


def test_nan_sets_only_itself_aside(decoder: Decoder, now: Moment) -> None:
    found = read(decoder, now, b'{"id":"%s","n":NaN,"availableBikeNumber":7}' % BIKE.encode())
    assert [reading.attribute for reading in found.readings] == [BIKES]
    assert reasons(found) == ["NaN"]


def test_normalized_and_concise_entities(decoder: Decoder, now: Moment, context: Context) -> None:
    entity = {
        "id": BIKE,
        "type": "BikeHireDockingStation",
        "name": {"type": "LanguageProperty", "languageMap": {"ko": "호수공원", "en": "Lake Park"}},
        "availableBikeNumber": {
            "type": "Property",
            "value": 7,
            "observedAt": "2026-11-22T08:00:00Z",
            "unitCode": "C62",
        },
        "freeSlotNumber": {"value": 3, "observedAt": "2026-11-22T08:30:00.5Z"},
        "owner": {"type": "Relationship", "object": "urn:ngsi-ld:Company:1"},
        "speed": [{"value": 1, "datasetId": "urn:x:a"}, {"value": 2}],
    }
    found = read(decoder, now, entity)
    assert found.refused == []
    at = {(reading.attribute, reading.instance.get("datasetId")): reading.at for reading in found.readings}
    speed = context.expand("speed")
    assert at == {
        (context.expand("name"), None): "",  # a fact, not an observation
        (BIKES, None): "2026-11-22T08:00:00.000000Z",
        (context.expand("freeSlotNumber"), None): "2026-11-22T08:30:00.500000Z",
        (context.expand("owner"), None): "",
        (speed, None): "",
        (speed, "urn:x:a"): "",
    }
    for reading in found.readings:
        assert reading.instance.get("observedAt", "") == reading.at


def test_time_of_an_attribute_is_checked_as_well(decoder: Decoder, now: Moment) -> None:
    assert reasons(read(decoder, now, {"id": BIKE, "n": {"value": 1, "observedAt": "2031-01-01T00:00:00Z"}})) == [
        "TimeInFuture"
    ]


def test_key_speaks_only_for_its_own(decoder: Decoder, now: Moment) -> None:
    allowed = Allowed("gw", ["urn:ngsi-ld:BikeHireDockingStation:*", "urn:ngsi-ld:Device:x.y"])
    assert len(read(decoder, now, {"id": BIKE, "n": 1}, allowed).readings) == 1
    for other in ("urn:ngsi-ld:Device:xzy", "urn:ngsi-ld:Vehicle:1", "xurn:ngsi-ld:BikeHireDockingStation:1"):
        assert reasons(read(decoder, now, {"id": other, "n": 1}, allowed)) == ["NotThisKey"]
    assert Allowed("gw", [])("urn:anything")


def test_expanded_form_of_a_reading_is_read_back_the_same(decoder: Decoder, now: Moment) -> None:
    thing = {"id": BIKE, "type": "BikeHireDockingStation", "simulated": True, "availableBikeNumber": 7, "status": "ok"}
    first = read(decoder, now, thing).readings
    again = {"id": BIKE, "type": first[0].types, **{r.attribute: r.instance for r in first}}
    assert read(decoder, now, again).readings == first


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00.000000Z"),
        ("2026-11-22T19:00:00+09:00", "2026-11-22T10:00:00.000000Z"),
        ("2026-11-22T19:00:00+0900", "2026-11-22T10:00:00.000000Z"),
        ("2026-11-22 10:00:00.1234567Z", "2026-11-22T10:00:00.123456Z"),
        ("2026-11-22T10:00:00,5Z", "2026-11-22T10:00:00.500000Z"),
        ("2026-11-22T10:00:00-00:00", "2026-11-22T10:00:00.000000Z"),
        ("2027-01-01T00:00:00+09:00", "2026-12-31T15:00:00.000000Z"),
    ],
)
def test_times_become_utc_microseconds(text: str, utc: str) -> None:
    assert instant(text) == utc


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+09:00", "2026-11-22T10:00:60Z", "２０２６-11-22T10:00:00Z", "", 0, None]
)
def test_times_that_are_none(text: Any) -> None:
    with pytest.raises(BadTime):
        instant(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
words = st.sampled_from(["id", "type", "at", "units", "simulated", "location", "n", "value", "observedAt", "@context"])


@given(st.lists(st.dictionaries(words | st.text(max_size=8), json_values, max_size=6), max_size=3))
def test_no_json_ever_raises_and_nothing_vanishes(body: list[dict[str, Any]]) -> None:
    decoder = Decoder(CORE, lambda _: True)
    now = Moment("2026-11-22T09:00:00.000000Z", "", "2026-11-23T09:00:00.000000Z")
    found = decoder.message(json.dumps(body).encode(), now)
    assert bool(found.readings or found.refused) == bool(body)


@given(st.binary(max_size=200))
def test_no_bytes_ever_raise(raw: bytes) -> None:
    found = Decoder(CORE, lambda _: True).message(raw, Moment("2026-11-22T09:00:00.000000Z", "", "2027"))
    assert found.readings or found.refused or raw.strip() == b"[]"
