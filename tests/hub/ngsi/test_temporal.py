"""History as answers: which rows, in which form, summarised how."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sejong.hub.ngsi.aggregation import METHODS, check_applied, parse_aggregation
from sejong.hub.ngsi.change import create, delete_entity
from sejong.hub.ngsi.context import CORE, compile_context
from sejong.hub.ngsi.entity import expand_entity
from sejong.hub.ngsi.errors import BadRequestData, InvalidRequest
from sejong.hub.ngsi.instants import format_instant_brief, parse_temporal
from sejong.hub.ngsi.members import DEFAULT_CONTEXT, NULL, SCOPE
from sejong.hub.ngsi.temporal import Page, Row, chosen, cut, present_temporal, time_of

D = DEFAULT_CONTEXT
URI = "urn:ngsi-ld:Vehicle:1"
GPS = "urn:ngsi-ld:Dataset:gps"
HEAD = {"id": URI, "type": [D + "Vehicle"], "createdAt": "2026-01-01T00:00:00.000000Z"}
BASE = datetime(2020, 8, 1, 12, 3, tzinfo=UTC)


def at(minutes: float) -> str:
    return format_instant_brief(BASE + timedelta(minutes=minutes))


def row(
    name: str,
    value: Any,
    minutes: float | None,
    number: int = 0,
    kind: str = "Property",
    member: str = "value",
    **rest: Any,
) -> Row:
    instance: dict[str, Any] = {
        "type": kind,
        member: value,
        **rest,
        "createdAt": at(0),
        "modifiedAt": at(minutes or 0),
    }
    if minutes is not None:
        instance["observedAt"] = at(minutes)
    return Row(D + name, instance, f"urn:ngsi-ld:Instance:{number}")


SPEED = [row("speed", 120, 0, 1), row("speed", 80, 2, 2), row("speed", 100, 4, 3)]
FUEL = [row("fuelLevel", 67, 0, 4), row("fuelLevel", 53, 70, 5), row("fuelLevel", 40, 125, 6)]


def shown(rows: list[Row], **options: Any) -> dict[str, Any]:
    return present_temporal(HEAD, rows, CORE, **options)


def aggregate(rows: list[Row], methods: str, period: str | None = None, temporal: Any = None) -> dict[str, Any]:
    return shown(rows, fmt="aggregatedValues", aggregation=parse_aggregation(methods, period), temporal=temporal)


# --- representations -------------------------------------------------------------------------------------------------


def test_instances() -> None:
    rows = [row("speed", 120, 0, 1, unitCode="KMH"), row("speed", 80, 2, 2, datasetId=GPS)]
    assert shown(rows) == {
        "id": URI,
        "type": "Vehicle",
        "speed": [
            {
                "type": "Property",
                "value": 120,
                "unitCode": "KMH",
                "observedAt": at(0),
                "instanceId": "urn:ngsi-ld:Instance:1",
            },
            {
                "type": "Property",
                "value": 80,
                "datasetId": GPS,
                "observedAt": at(2),
                "instanceId": "urn:ngsi-ld:Instance:2",
            },
        ],
    }
    assert shown(rows, sys_attrs=True)["speed"][0]["modifiedAt"] == at(0)
    assert shown(rows, sys_attrs=True)["createdAt"] == HEAD["createdAt"]
    assert shown(rows, fmt="concise")["speed"][0] == {
        "value": 120,
        "unitCode": "KMH",
        "observedAt": at(0),
        "instanceId": "urn:ngsi-ld:Instance:1",
    }
    assert "instanceId" not in rows[0].instance


def test_empty_attributes_and_projection() -> None:
    assert shown([], attributes=[D + "speed"]) == {"id": URI, "type": "Vehicle", "speed": []}
    assert shown(SPEED + FUEL, keep=frozenset({D + "speed"})).keys() == {"speed"}
    assert shown(SPEED + FUEL, drop=frozenset({"id", D + "speed"})).keys() == {"type", "fuelLevel"}
    both = [row("speed", 1, 0), row("speed", 2, 0, datasetId=GPS)]
    assert [one["value"] for one in shown(both, dataset_ids=frozenset({"@none"}))["speed"]] == [1]


def test_scope_history_is_shown_as_a_property() -> None:
    head = {**HEAD, "scope": ["/b"]}
    rows = [Row(SCOPE, {"type": "Property", "value": ["/a"], "modifiedAt": at(0)}, "urn:x:1")]
    assert present_temporal(head, rows, CORE)["scope"] == [
        {"type": "Property", "value": ["/a"], "instanceId": "urn:x:1"}
    ]
    assert "scope" not in present_temporal(head, rows, CORE, drop=frozenset({"scope"}))
    assert "scope" in present_temporal(head, rows, CORE, keep=frozenset({"scope"}))


def test_value_time_pairs_of_every_kind() -> None:
    ctx = compile_context({"red": "https://x.example/red"}, {})
    point = {"type": "Point", "coordinates": [1, 2]}
    rows = [
        *SPEED,
        row("g", point, 0, kind="GeoProperty"),
        row("r", "urn:x:1", 0, kind="Relationship", member="object"),
        row("l", {"ko": "가"}, 0, kind="LanguageProperty", member="languageMap"),
        row("v", "https://x.example/red", 0, kind="VocabProperty", member="vocab"),
        row("j", {"a": 1}, 0, kind="JsonProperty", member="json"),
        row("vl", [1, 2], 0, kind="ListProperty", member="valueList"),
        row("ol", [{"object": "urn:x:1"}], 0, kind="ListRelationship", member="objectList"),
        row("never", 1, None),
    ]
    assert present_temporal(HEAD, rows, ctx, fmt="temporalValues") == {
        "id": URI,
        "type": "Vehicle",
        "speed": {"type": "Property", "values": [[120, at(0)], [80, at(2)], [100, at(4)]]},
        "g": {"type": "GeoProperty", "values": [[point, at(0)]]},
        "r": {"type": "Relationship", "objects": [["urn:x:1", at(0)]]},
        "l": {"type": "LanguageProperty", "languageMaps": [[{"languageMap": {"ko": "가"}}, at(0)]]},
        "v": {"type": "VocabProperty", "vocabs": [[{"vocab": "red"}, at(0)]]},
        "j": {"type": "JsonProperty", "jsons": [[{"json": {"a": 1}}, at(0)]]},
        "vl": {"type": "ListProperty", "valueLists": [[[1, 2], at(0)]]},
        "ol": {"type": "ListRelationship", "objectLists": [[["urn:x:1"], at(0)]]},
        "never": [],
    }


def test_value_time_pairs_by_dataset_time_property_and_language() -> None:
    rows = [row("speed", 1, 0), row("speed", 2, 5, datasetId=GPS), row("speed", 3, None)]
    assert shown(rows, fmt="temporalValues")["speed"] == [
        {"type": "Property", "values": [[1, at(0)]]},
        {"type": "Property", "datasetId": GPS, "values": [[2, at(5)]]},
    ]
    assert shown(rows, fmt="temporalValues", timeproperty="modifiedAt")["speed"][0]["values"] == [
        [1, at(0)],
        [3, at(0)],
    ]
    said = [row("says", {"ko": "응", "en": "yes"}, 0, kind="LanguageProperty", member="languageMap")]
    assert shown(said, fmt="temporalValues", lang="en")["says"] == {
        "type": "Property",
        "values": [["yes", at(0)]],
    }


def test_deleted_attributes_appear_with_null() -> None:
    entity = create(
        expand_entity(
            {"id": URI, "type": "T", "p": 1, "l": {"languageMap": {"ko": "가"}}},
            CORE,
            now="2020-01-01T00:00:00Z",
        ),
        at(0),
    ).entity
    assert entity is not None
    rows = [
        Row(attribute, instance, f"urn:x:{number}")
        for number, (attribute, _, instance, _) in enumerate(delete_entity(entity, at(1)).ops)
    ]
    found = present_temporal(entity, rows, CORE, sys_attrs=True)
    assert found["p"] == [
        {
            "type": "Property",
            "value": NULL,
            "createdAt": at(0),
            "modifiedAt": at(1),
            "deletedAt": at(1),
            "instanceId": "urn:x:0",
        }
    ]
    pairs = present_temporal(entity, rows, CORE, fmt="temporalValues", timeproperty="deletedAt")
    assert pairs["l"]["languageMaps"] == [[{"languageMap": {"@none": NULL}}, at(1)]]
    kept = chosen(rows, parse_temporal("after", at(0), None, "deletedAt"))
    assert len(kept) == 2
    assert chosen(rows, parse_temporal("after", at(0), None, "observedAt")) == []


# --- choosing and cutting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timerel", "start", "end", "values"),
    [
        ("before", 2, None, [120]),
        ("after", 2, None, [80, 100]),
        ("between", 0, 4, [120, 80]),
        ("between", 4, 4, []),
    ],
)
def test_intervals(timerel: str, start: float, end: float | None, values: list[int]) -> None:
    temporal = parse_temporal(timerel, at(start), None if end is None else at(end))
    assert [one.instance["value"] for one in chosen([*reversed(SPEED), row("speed", 0, None)], temporal)] == values


def test_fractions_of_a_second_are_ordered_by_time_not_by_text() -> None:
    late, early = row("a", 2, 0), row("a", 1, 0)
    late.instance["observedAt"] = "2020-08-01T12:03:00.5Z"
    early.instance["observedAt"] = "2020-08-01T12:03:00Z"
    assert [one.instance["value"] for one in chosen([late, early], None)] == [1, 2]
    temporal = parse_temporal("after", "2020-08-01T12:03:00.1Z")
    assert [one.instance["value"] for one in chosen([late, early], temporal)] == [2]


def test_last_n_is_per_attribute() -> None:
    kept = chosen(SPEED + FUEL, None, last_n=2)
    assert [one.instance["value"] for one in kept if one.attribute == D + "speed"] == [80, 100]
    assert [one.instance["value"] for one in kept if one.attribute == D + "fuelLevel"] == [53, 40]


def test_cutting_goes_by_moments_across_attributes() -> None:
    rows = chosen(SPEED + FUEL, None)
    page = cut(rows, 4)
    assert [one.instance["value"] for one in page.rows] == [120, 67, 80, 100]
    assert (page.start, page.end) == ("2020-08-01T12:03:00.000000Z", "2020-08-01T12:07:00.000000Z")
    assert cut(rows, 1).rows == [SPEED[0], FUEL[0]], "one moment is never split"
    assert cut(rows, 6) == Page(rows)
    after = cut(rows, 3, parse_temporal("after", "2020-08-01T12:00:00Z"))
    assert (after.start, after.end) == ("2020-08-01T12:00:00.000000Z", "2020-08-01T12:05:00.000000Z")
    backward = cut(rows, 3, last_n=10)
    assert [one.instance["value"] for one in backward.rows] == [100, 53, 40]
    assert (backward.start, backward.end) == ("2020-08-01T14:08:00.000000Z", "2020-08-01T12:07:00.000000Z")


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 6)), max_size=12),
    st.integers(1, 8),
    st.sampled_from([None, 5]),
)
def test_a_cut_never_leaves_one_attribute_ahead(
    points: list[tuple[str, int]], maximum: int, last_n: int | None
) -> None:
    rows = chosen([row(name, 0, minutes, number) for number, (name, minutes) in enumerate(points)], None)
    page = cut(rows, maximum, last_n=last_n)
    times = {time_of(one.instance, "observedAt") for one in page.rows}
    assert [one for one in rows if time_of(one.instance, "observedAt") in times] == page.rows
    left = [time_of(one.instance, "observedAt") for one in rows if one not in page.rows]
    assert (page.end is None) == (not left)
    if left:
        assert min(left) > max(times) if last_n is None else max(left) < min(times)
    assert len(page.rows) <= maximum or len(times) == 1


# --- aggregation -----------------------------------------------------------------------------------------------------


def test_averages_per_hour() -> None:
    found = aggregate(SPEED + FUEL, "avg,max", "PT1H", parse_temporal("after", at(0)))
    assert found["speed"] == {
        "type": "Property",
        "avg": [[100.0, at(0), at(60)]],
        "max": [[120, at(0), at(60)]],
    }
    assert found["fuelLevel"]["avg"] == [
        [67.0, at(0), at(60)],
        [53.0, at(60), at(120)],
        [40.0, at(120), at(180)],
    ]
    assert (found["id"], found["type"]) == (URI, "Vehicle")


def test_all_methods_over_the_whole_range() -> None:
    found = aggregate(SPEED, ",".join(METHODS), None, parse_temporal("between", at(-60), at(60)))["speed"]
    limits = (at(-60), at(60))
    assert {method: found[method][0][0] for method in METHODS} == {
        "avg": 100.0,
        "distinctCount": 3,
        "max": 120,
        "min": 80,
        "stddev": pytest.approx(16.329931618554522),
        "sum": 300,
        "sumsq": 120**2 + 80**2 + 100**2,
        "totalCount": 3,
    }
    assert all(tuple(found[method][0][1:]) == limits for method in METHODS)


def test_the_range_without_an_interval_is_that_of_the_data() -> None:
    assert aggregate(SPEED, "sum")["speed"]["sum"] == [[300, at(0), at(4)]]
    assert aggregate(SPEED, "sum", "PT2M")["speed"]["sum"] == [
        [120, at(0), at(2)],
        [80, at(2), at(4)],
        [100, at(4), at(6)],
    ]
    before = aggregate(SPEED, "sum", "PT2M", parse_temporal("before", at(60)))
    assert before["speed"]["sum"][0] == [120, at(0), at(2)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            [True, False, True],
            {"avg": 2 / 3, "sum": 2, "min": 0, "max": 1, "totalCount": 3, "distinctCount": 2},
        ),
        ([[1, 2], [], [3]], {"avg": 1.0, "sum": 3, "max": 2, "totalCount": 3}),
        (
            ["b", "a", "b"],
            {"min": "a", "max": "b", "distinctCount": 2, "totalCount": 3, "avg": None, "sum": None},
        ),
        (
            [{"x": 1, "y": 2}, {"y": 2, "x": 1}, {}],
            {"distinctCount": 2, "totalCount": 3, "min": None, "avg": None},
        ),
        ([1, "n/a", 3], {"avg": 2.0, "sum": 4, "totalCount": 3, "distinctCount": 3}),
        ([1, 1.0, True], {"distinctCount": 2, "sum": 3}),
        ([0.1] * 10, {"sum": 1.0, "stddev": 0.0}),
    ],
)
def test_what_can_be_calculated_with(values: list[Any], expected: dict[str, Any]) -> None:
    rows = [row("a", value, number, number) for number, value in enumerate(values)]
    found = aggregate(rows, ",".join(METHODS))["a"]
    for method, value in expected.items():
        if value is None:
            assert method not in found
        else:
            assert found[method][0][0] == pytest.approx(value)


def test_relationships_are_only_counted() -> None:
    rows = [
        row("r", uri, number, kind="Relationship", member="object")
        for number, uri in enumerate(["urn:x:1", "urn:x:2", "urn:x:1"])
    ]
    found = aggregate(rows, "avg,distinctCount,totalCount")
    assert found["r"] == {
        "type": "Relationship",
        "distinctCount": [[2, at(0), at(2)]],
        "totalCount": [[3, at(0), at(2)]],
    }
    only, both, asked = aggregate(rows, "avg"), aggregate(rows + SPEED, "avg"), parse_aggregation("avg", None)
    with pytest.raises(InvalidRequest):
        check_applied([only], asked)
    assert "avg" in both["speed"]
    for answers in ([both], [only, both], [{"id": URI, "type": "Vehicle"}], []):
        check_applied(answers, asked)


def test_deletions_and_other_datasets_do_not_blur_the_numbers() -> None:
    rows = [*SPEED, row("speed", NULL, 5, deletedAt=at(5)), row("speed", 7, 1, datasetId=GPS)]
    found = aggregate(rows, "avg,totalCount")["speed"]
    assert found[0]["avg"][0][0] == 100.0
    assert found[0]["totalCount"][0][0] == 3
    assert (found[1]["datasetId"], found[1]["avg"][0][0]) == (GPS, 7.0)
    assert aggregate([], "avg") == {"id": URI, "type": "Vehicle"}


def test_calendar_months() -> None:
    rows = [row("a", number, 0, number) for number in range(2)]
    rows[0].instance["observedAt"] = "2026-02-27T00:00:00Z"
    rows[1].instance["observedAt"] = "2026-02-28T00:00:00Z"
    temporal = parse_temporal("after", "2026-01-31T00:00:00Z")
    assert aggregate(rows, "totalCount", "P1M", temporal)["a"]["totalCount"] == [
        [1, "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"],
        [1, "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"],
    ]


@pytest.mark.parametrize(
    ("methods", "period"),
    [
        ("median", None),
        ("", None),
        (None, None),
        ("avg,", None),
        ("avg", "1 hour"),
        ("avg", "PT"),
        ("avg", "P"),
    ],
)
def test_bad_aggregations(methods: str | None, period: str | None) -> None:
    with pytest.raises(BadRequestData):
        parse_aggregation(methods, period)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(-100, 100)), min_size=1, max_size=20),
    st.integers(1, 90),
)
def test_periods_partition_the_values(points: list[tuple[int, int]], minutes: int) -> None:
    rows = [row("a", value, moment, number) for number, (moment, value) in enumerate(points)]
    temporal = parse_temporal("after", at(0))
    found = aggregate(rows, "sum,totalCount,min,max", f"PT{minutes}M", temporal)["a"]
    assert sum(part[0] for part in found["sum"]) == sum(value for _, value in points)
    assert sum(part[0] for part in found["totalCount"]) == len(points)
    assert max(part[0] for part in found["max"]) == max(value for _, value in points)
    for count, start, end in found["totalCount"]:
        assert count == sum(start <= at(moment) < end for moment, _ in points)
