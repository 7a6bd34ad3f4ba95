"""Reading entities: every representation, every kind of attribute, every rule that refuses one."""

from __future__ import annotations

from typing import Any

import pytest
from tests.hub.ngsi.one_reading import LATER, NOW, POINT, THEN, URI, D, attribute, read, refusal

from sejong.hub.ngsi.context import CORE, compile_context
from sejong.hub.ngsi.entity import Mode, expand_entity, expand_fragment
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.members import NGSILD, NULL


def test_head_of_an_entity() -> None:
    body = {
        "id": "urn:ngsi-ld:Thing:세종",
        "type": ["A", "B", "A"],
        "scope": "/Sejong/나성동",
        "expiresAt": LATER,
        "createdAt": "whatever",
        "modifiedAt": 5,
        "deletedAt": None,
        "@context": "not looked at",
    }
    assert expand_entity(body, CORE, now=NOW) == {
        "id": "urn:ngsi-ld:Thing:세종",
        "type": [D + "A", D + "B"],
        "scope": ["/Sejong/나성동"],
        "expiresAt": LATER,
    }


def test_json_ld_keywords_may_stand_for_id_and_type() -> None:
    assert expand_entity({"@id": URI, "@type": "Thing"}, CORE, now=NOW) == {"id": URI, "type": [D + "Thing"]}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ([], "an entity"),
        ("text", "an entity"),
        (None, "an entity"),
        ({}, "id"),
        ({"id": URI}, "type"),
        ({"type": "Thing"}, "id"),
        ({"id": None, "type": "Thing"}, "id"),
        ({"id": 5, "type": "Thing"}, "id"),
        ({"id": "no uri", "type": "Thing"}, "id"),
        ({"id": NULL, "type": "Thing"}, "id"),
        ({"id": URI, "type": []}, "type"),
        ({"id": URI, "type": None}, "type"),
        ({"id": URI, "type": ["A", 5]}, "type"),
        ({"id": URI, "type": NULL}, "type"),
        ({"id": URI, "type": "9Thing"}, "type: '9Thing'"),
        ({"id": URI, "type": "T", "scope": "9bad"}, "scope"),
        ({"id": URI, "type": "T", "scope": "/a//b"}, "scope"),
        ({"id": URI, "type": "T", "scope": ["/a", "a-b"]}, "scope"),
        ({"id": URI, "type": "T", "scope": []}, "scope"),
        ({"id": URI, "type": "T", "scope": NULL}, "scope"),
        ({"id": URI, "type": "T", "scope": None}, "scope"),
        ({"id": URI, "type": "T", "expiresAt": THEN}, "expiresAt"),
        ({"id": URI, "type": "T", "expiresAt": "2026-13-01T00:00:00Z"}, "expiresAt"),
        ({"id": URI, "type": "T", "a.b": 1}, "a.b: 'a.b'"),
        ({"id": URI, "type": "T", "my attr": 1}, "my attr: 'my attr'"),
        ({"id": URI, "type": "T", "datasetId": {"type": "Property", "value": 1}}, "datasetId"),
        ({"id": URI, "type": "T", "observedAt": THEN}, "observedAt"),
        ({"id": URI, "type": "T", "value": 1}, "value"),
        ({"id": URI, "type": "T", NGSILD + "hasValue": 1}, NGSILD),
        ({"id": URI, "type": "T", "a": 1, D + "a": 2}, D + "a"),
    ],
)
def test_refused_entities_name_the_place(body: Any, path: str) -> None:
    with pytest.raises(BadRequestData) as refused:
        expand_entity(body, CORE, now=NOW)
    assert refused.value.detail.startswith(path)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        # normalized
        ({"type": "Property", "value": 5}, {"type": "Property", "value": 5}),
        (
            {"type": "Property", "value": False, "unitCode": "C62"},
            {"type": "Property", "value": False, "unitCode": "C62"},
        ),
        ({"type": "GeoProperty", "value": POINT}, {"type": "GeoProperty", "value": POINT}),
        ({"type": "Relationship", "object": URI}, {"type": "Relationship", "object": URI}),
        (
            {"type": "Relationship", "object": [URI], "objectType": "T"},
            {"type": "Relationship", "object": [URI], "objectType": D + "T"},
        ),
        (
            {"type": "Relationship", "object": URI, "objectType": ["T", "U"]},
            {"type": "Relationship", "object": URI, "objectType": [D + "T", D + "U"]},
        ),
        (
            {"type": "LanguageProperty", "languageMap": {"ko": "세종", "@none": ["a", "b"]}},
            {"type": "LanguageProperty", "languageMap": {"ko": "세종", "@none": ["a", "b"]}},
        ),
        (
            {"type": "VocabProperty", "vocab": "non-commercial"},
            {"type": "VocabProperty", "vocab": D + "non-commercial"},
        ),
        (
            {"type": "VocabProperty", "vocab": ["x", "https://x.example/y"]},
            {"type": "VocabProperty", "vocab": [D + "x", "https://x.example/y"]},
        ),
        (
            {"type": "JsonProperty", "json": {"value": None, "type": NULL}},
            {"type": "JsonProperty", "json": {"value": None, "type": NULL}},
        ),
        ({"type": "ListProperty", "valueList": []}, {"type": "ListProperty", "valueList": []}),
        (
            {"type": "ListRelationship", "objectList": [URI, {"object": URI}]},
            {"type": "ListRelationship", "objectList": [{"object": URI}, {"object": URI}]},
        ),
        # concise
        ({"value": 5, "observedAt": THEN}, {"type": "Property", "value": 5, "observedAt": THEN}),
        ({"value": POINT}, {"type": "GeoProperty", "value": POINT}),
        ({"object": URI}, {"type": "Relationship", "object": URI}),
        ({"languageMap": {"ko": "세종"}}, {"type": "LanguageProperty", "languageMap": {"ko": "세종"}}),
        ({"vocab": "x"}, {"type": "VocabProperty", "vocab": D + "x"}),
        ({"json": [1]}, {"type": "JsonProperty", "json": [1]}),
        ({"json": 5}, {"type": "JsonProperty", "json": 5}),
        ({"json": "raw"}, {"type": "JsonProperty", "json": "raw"}),
        ({"valueList": [1, "a"]}, {"type": "ListProperty", "valueList": [1, "a"]}),
        ({"objectList": []}, {"type": "ListRelationship", "objectList": []}),
        ({"@type": "Property", "value": 1}, {"type": "Property", "value": 1}),
        # simplified
        (1.0, {"type": "Property", "value": 1.0}),
        (True, {"type": "Property", "value": True}),
        ("", {"type": "Property", "value": ""}),
        ([], {"type": "Property", "value": []}),
        ([1, {"x": 1}], {"type": "Property", "value": [1, {"x": 1}]}),
        (POINT, {"type": "GeoProperty", "value": POINT}),
        ({"street": "한누리대로", "no": 2130}, {"type": "Property", "value": {"street": "한누리대로", "no": 2130}}),
        # ignored and normalised members
        (
            {"type": "Property", "value": 1, "createdAt": "x", "modifiedAt": 1, "deletedAt": None, "instanceId": 5},
            {"type": "Property", "value": 1},
        ),
        ({"type": "Property", "value": 1, "datasetId": "@none"}, {"type": "Property", "value": 1}),
        (
            {"type": "Property", "value": 1, "valueType": "xsd:double"},
            {"type": "Property", "value": 1, "valueType": "xsd:double"},
        ),
        (
            {"type": "LanguageProperty", "languageMap": {"en": "x"}, "valueType": "langString"},
            {"type": "LanguageProperty", "languageMap": {"en": "x"}, "valueType": D + "langString"},
        ),
        (
            {"type": "GeoProperty", "value": '{"type":"Point","coordinates":[1,2]}'},
            {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [1, 2]}},
        ),
    ],
)
def test_every_kind_in_every_representation(given: Any, kept: Any) -> None:
    assert attribute(given) == [kept]


def test_numbers_keep_their_kind() -> None:
    assert [type(attribute(value)[0]["value"]) for value in (1, 1.0, True)] == [int, float, bool]


def test_sub_attributes_at_any_depth() -> None:
    found = attribute({"value": 1, "accuracy": {"value": 0.9, "by": {"object": URI, "since": 2020}}})
    by = {"type": "Relationship", "object": URI, D + "since": [{"type": "Property", "value": 2020}]}
    assert found == [
        {"type": "Property", "value": 1, D + "accuracy": [{"type": "Property", "value": 0.9, D + "by": [by]}]}
    ]


def test_several_instances_default_first() -> None:
    found = attribute(
        [
            {"value": 1, "datasetId": "urn:x:gps"},
            {"type": "Property", "value": 2},
            {"value": 3, "datasetId": "urn:x:b"},
        ]
    )
    assert [one.get("datasetId") for one in found] == [None, "urn:x:gps", "urn:x:b"]


def test_simplified_datasets() -> None:
    found = attribute({"dataset": {"urn:x:gps": 1, "@none": {"languageMap": {"ko": "가"}}, "urn:x:p": POINT}})
    assert found == [
        {"type": "LanguageProperty", "languageMap": {"ko": "가"}},
        {"type": "Property", "value": 1, "datasetId": "urn:x:gps"},
        {"type": "GeoProperty", "value": POINT, "datasetId": "urn:x:p"},
    ]


def test_an_object_with_a_dataset_of_its_own_is_a_value() -> None:
    assert attribute({"dataset": {"rows": 3}}) == [{"type": "Property", "value": {"dataset": {"rows": 3}}}]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (None, "a: null"),
        (NULL, "a: urn:ngsi-ld:null"),
        ({}, "a: "),
        ({"type": "Property"}, "a: a Property needs value"),
        ({"type": "Relationship"}, "a: a Relationship needs object"),
        ({"type": "LanguageProperty"}, "a: "),
        ({"type": "Unknown", "value": 1}, "a.type"),
        ({"type": "PostalAddress", "street": "x"}, "a.type"),
        ({"type": None, "value": 1}, "a.type"),
        ({"type": ["Property"], "value": 1}, "a.type"),
        ({"observedAt": THEN}, "a: has neither"),
        ({"type": "Property", "value": None}, "a.value"),
        ({"type": "Property", "value": NULL}, "a.value"),
        ({"type": "Property", "value": {"x": [1, None]}}, "a.value.x[1]"),
        ({"type": "Property", "value": {"x": {"y": NULL}}}, "a.value.x.y"),
        ([1, None], "a[1]"),
        ({"type": "Property", "value": 1, "object": URI}, "a.object"),
        ({"type": "Property", "value": 1, "languageMap": {"en": "x"}}, "a.languageMap"),
        ({"type": "Property", "value": 1, "previousValue": 0}, "a.previousValue"),
        ({"type": "Property", "value": 1, "entity": {}}, "a.entity"),
        ({"type": "Property", "value": 1, "@context": {}}, "a.@context"),
        ({"type": "Property", "value": 1, "objectType": "T"}, "a.objectType"),
        ({"type": "Property", "value": 1, "observedAt": "2026-11-22"}, "a.observedAt"),
        ({"type": "Property", "value": 1, "observedAt": "2026-11-22T10:00:00+09:00"}, "a.observedAt"),
        ({"type": "Property", "value": 1, "observedAt": "2026-02-30T10:00:00Z"}, "a.observedAt"),
        ({"type": "Property", "value": 1, "observedAt": {"type": "Property", "value": THEN}}, "a.observedAt"),
        ({"type": "Property", "value": 1, "observedAt": NULL}, "a.observedAt"),
        ({"type": "Property", "value": 1, "unitCode": 5}, "a.unitCode"),
        ({"type": "Property", "value": 1, "datasetId": "x y"}, "a.datasetId"),
        ({"type": "Property", "value": 1, "datasetId": NULL}, "a.datasetId"),
        ({"type": "Property", "value": 1, "expiresAt": THEN}, "a.expiresAt"),
        ({"type": "Property", "value": 1, "sub": {"type": "Property", "value": NULL}}, "a.sub.value"),
        ({"type": "Property", "value": 1, "sub": [{"value": 1}, {"value": 2}]}, "a.sub[1]"),
        ({"type": "Relationship", "object": URI, "objectType": ["T", "9"]}, "a.objectType[1]: '9'"),
        ({"type": "Relationship", "object": URI, "objectType": "a b"}, "a.objectType: 'a b'"),
        ({"type": "Property", "value": 1, "sub": {"value": 1, "x.y": 1}}, "a.sub.x.y: 'x.y'"),
        ({"type": "Property", "value": 1, "b": 1, D + "b": 2}, f"a.{D}b"),
        ({"type": "Relationship", "object": "not a uri"}, "a.object"),
        ({"type": "Relationship", "object": []}, "a.object"),
        ({"type": "Relationship", "object": [URI, 5]}, "a.object[1]"),
        ({"type": "Relationship", "object": NULL}, "a.object"),
        ({"type": "Relationship", "object": URI, "unitCode": "MTR"}, "a.unitCode"),
        ({"type": "Relationship", "object": URI, "value": 1}, "a.value"),
        ({"type": "LanguageProperty", "languageMap": "x"}, "a.languageMap"),
        ({"type": "LanguageProperty", "languageMap": {}}, "a.languageMap"),
        ({"type": "LanguageProperty", "languageMap": {"": "x"}}, "a.languageMap"),
        ({"type": "LanguageProperty", "languageMap": {"en": 5}}, "a.languageMap.en"),
        ({"type": "LanguageProperty", "languageMap": {"en": ["a", 5]}}, "a.languageMap.en"),
        ({"type": "LanguageProperty", "languageMap": {"@none": NULL}}, "a.languageMap.@none"),
        ({"type": "LanguageProperty", "languageMap": {"en": "x"}, "valueType": "xsd:string"}, "a.valueType"),
        ({"type": "VocabProperty", "vocab": ""}, "a.vocab"),
        ({"type": "VocabProperty", "vocab": [5]}, "a.vocab[0]"),
        ({"type": "VocabProperty", "vocab": NULL}, "a.vocab"),
        ({"type": "JsonProperty", "json": None}, "a.json"),
        ({"type": "JsonProperty", "json": {}, "unitCode": "MTR"}, "a.unitCode"),
        ({"type": "ListProperty", "valueList": 5}, "a.valueList"),
        ({"type": "ListProperty", "valueList": [None]}, "a.valueList[0]"),
        ({"type": "ListProperty", "valueList": [1], "value": 1}, "a.value"),
        ({"type": "ListRelationship", "objectList": ["no uri"]}, "a.objectList[0]"),
        ({"type": "ListRelationship", "objectList": [{"object": URI, "x": 1}]}, "a.objectList[0]"),
        ([{"value": 1}, {"value": 2}], "a[1]: a second default"),
        ([{"value": 1}, {"value": 2, "datasetId": "@none"}], "a[1]: a second default"),
        ([{"value": 1, "datasetId": "urn:x:1"}, {"value": 2, "datasetId": "urn:x:1"}], "a[1]: a second instance"),
        ([{"value": 1}, 5], "a[1]"),
        ([{"value": 1, "observedAt": "x"}], "a[0].observedAt"),
        ({"dataset": {"urn:x:1": None}}, "a.urn:x:1"),
    ],
)
def test_refused_attributes_name_the_place(value: Any, path: str) -> None:
    assert refusal(value).startswith(path)


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Point", "coordinates": [1, 2, 3]},
        {"type": "MultiPoint", "coordinates": [[1, 2]]},
        {"type": "LineString", "coordinates": [[1, 2], [3, 4.5]]},
        {"type": "MultiLineString", "coordinates": [[[1, 2], [3, 4]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]], "bbox": [0, 0, 1, 1]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]},
        {"type": "MultiPolygon", "coordinates": [[[[0, 0], [1, 0], [1, 1], [0, 0]]]]},
    ],
)
def test_geometries(geometry: Any) -> None:
    assert attribute({"type": "GeoProperty", "value": geometry}, "location") == [
        {"type": "GeoProperty", "value": geometry}
    ]


@pytest.mark.parametrize(
    ("geometry", "path"),
    [
        (5, "a.value"),
        ({"type": "Point"}, "a.value.coordinates"),
        ({"type": "Point", "coordinates": ["1", 2]}, "a.value.coordinates"),
        ({"type": "Point", "coordinates": [True, 2]}, "a.value.coordinates"),
        ({"type": "Point", "coordinates": [1]}, "a.value.coordinates"),
        ({"type": "LineString", "coordinates": [[1, 2]]}, "a.value.coordinates"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}, "a.value.coordinates[0]"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 0]]]}, "a.value.coordinates[0]"),
        ({"type": "MultiPoint", "coordinates": []}, "a.value.coordinates"),
        ({"type": "MultiLineString", "coordinates": [[[1, 2], [3]]]}, "a.value.coordinates[0][1]"),
        ({"type": "GeometryCollection", "geometries": []}, "a.value.type"),
        ({"type": "Feature", "coordinates": [1, 2]}, "a.value.type"),
        ({"type": "Point", "coordinates": [1, 2], "bbox": "x"}, "a.value.bbox"),
        ("not a geometry", "a.value"),
        ('"Point"', "a.value"),
        ('{"type":"Point","coordinates":[1]}', "a.value.coordinates"),
    ],
)
def test_broken_geometries(geometry: Any, path: str) -> None:
    assert refusal({"type": "GeoProperty", "value": geometry}).startswith(path)


@pytest.mark.parametrize("name", ["location", "observationSpace", "operationSpace"])
@pytest.mark.parametrize("value", [7, {"type": "Property", "value": 7}, {"object": URI}])
def test_spatial_attributes_must_be_geoproperties(name: str, value: Any) -> None:
    with pytest.raises(BadRequestData, match=f" {name}: must be a GeoProperty"):
        read(**{name: value})


def test_too_deep_values_and_sub_attributes() -> None:
    value: Any = 1
    for _ in range(80):
        value = [value]
    assert "levels deep" in refusal({"type": "Property", "value": value})
    nested: Any = {"value": 1}
    for _ in range(80):
        nested = {"value": 1, "sub": nested}
    assert "levels deep" in refusal(nested)


def test_names_expand_with_the_senders_context_only() -> None:
    ctx = compile_context(
        {
            "Thing": "https://x.example/Thing",
            "speed": "https://x.example/speed",
            "red": "https://x.example/red",
        },
        {},
    )
    body = {"id": URI, "type": "Thing", "speed": {"vocab": "red", "speed": 3}, "other": 1}
    assert expand_entity(body, ctx, now=NOW) == {
        "id": URI,
        "type": ["https://x.example/Thing"],
        "https://x.example/speed": [
            {
                "type": "VocabProperty",
                "vocab": "https://x.example/red",
                "https://x.example/speed": [{"type": "Property", "value": 3}],
            }
        ],
        D + "other": [{"type": "Property", "value": 1}],
    }


def test_scope_under_its_full_name_is_the_scope() -> None:
    assert read(**{NGSILD + "scope": "/a"})["scope"] == ["/a"]


# --- NGSI-LD Null ----------------------------------------------------------------------------------------------------

NULLS = [
    NULL,
    {"type": "Property", "value": NULL},
    {"value": NULL, "datasetId": "urn:x:1"},
    {"type": "Relationship", "object": NULL},
    {"type": "LanguageProperty", "languageMap": {"@none": NULL}},
    {"type": "LanguageProperty", "languageMap": NULL},
    {"type": "VocabProperty", "vocab": NULL},
    {"type": "JsonProperty", "json": NULL},
    {"type": "GeoProperty", "value": NULL},
    {"type": "ListProperty", "valueList": [NULL]},
    {"type": "ListRelationship", "objectList": [NULL]},
    {"type": "Property", "value": 1, "unitCode": NULL},
    {"type": "Property", "value": 1, "observedAt": NULL},
    {"type": "Property", "value": 1, "sub": NULL},
]


@pytest.mark.parametrize("value", NULLS)
@pytest.mark.parametrize("mode", ["create", "replace", "append", "temporal"])
def test_null_is_refused_where_nothing_can_be_removed(value: Any, mode: Mode) -> None:
    assert refusal(value, mode).startswith("a")


@pytest.mark.parametrize("value", NULLS)
@pytest.mark.parametrize("mode", ["update", "merge", "partial"])
def test_null_is_a_marker_in_fragments(value: Any, mode: Mode) -> None:
    found = expand_fragment({"a": value}, CORE, now=NOW, mode=mode)[D + "a"]
    assert NULL in str(found)


def test_null_inside_compound_values_only_when_merging() -> None:
    value = {"type": "Property", "value": {"x": NULL}}
    assert expand_fragment({"a": value}, CORE, now=NOW, mode="merge")
    for mode in ("update", "partial"):
        with pytest.raises(BadRequestData):
            expand_fragment({"a": value}, CORE, now=NOW, mode=mode)
    with pytest.raises(BadRequestData, match=r" a\.value\[0\]"):
        expand_fragment({"a": {"value": [NULL]}}, CORE, now=NOW, mode="merge")


@pytest.mark.parametrize("mode", ["update", "merge", "partial"])
def test_a_dataset_id_cannot_be_nulled(mode: Mode) -> None:
    with pytest.raises(BadRequestData, match="datasetId"):
        expand_fragment({"a": {"value": 1, "datasetId": NULL}}, CORE, now=NOW, mode=mode)
