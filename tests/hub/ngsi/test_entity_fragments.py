"""Reading entities: every representation, every kind of attribute, every rule that refuses one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hub.ngsi.one_reading import NOW, THEN, URI, D

from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.entity import Mode, expand_attribute, expand_entity, expand_fragment
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.grammar import instant_key, is_scope, is_uri
from sejong.hub.ngsi.members import LOCATION, NULL

# --- fragments -------------------------------------------------------------------------------------------------------


def test_fragments_need_neither_id_nor_type() -> None:
    assert expand_fragment({"a": 1}, CORE, now=NOW, mode="append") == {D + "a": [{"type": "Property", "value": 1}]}
    assert expand_fragment({"type": "T", "id": URI}, CORE, now=NOW, mode="append") == {
        "id": URI,
        "type": [D + "T"],
    }
    assert expand_fragment({"scope": NULL, "expiresAt": NULL}, CORE, now=NOW, mode="merge") == {
        "scope": NULL,
        "expiresAt": NULL,
    }


@pytest.mark.parametrize(
    "body",
    [{}, {"@context": "x"}, [], 5, {"id": "no uri", "a": 1}, {"id": None, "a": 1}, {"type": [], "a": 1}],
)
def test_refused_fragments(body: Any) -> None:
    with pytest.raises(BadRequestData):
        expand_fragment(body, CORE, now=NOW, mode="merge")


def test_merge_fragments_leave_the_kind_open_where_the_sender_did() -> None:
    body = {
        "a": 1,
        "b": {"value": 2},
        "c": {"unitCode": "C62"},
        "d": {"sub": {"value": 1}},
        "e": {"x": 1},
        "f": {"object": URI},
        "g": {},
    }
    assert expand_fragment(body, CORE, now=NOW, mode="merge") == {
        D + "a": [{"value": 1}],
        D + "b": [{"value": 2}],
        D + "c": [{"unitCode": "C62"}],
        D + "d": [{D + "sub": [{"value": 1}]}],
        D + "e": [{"value": {"x": 1}}],
        D + "f": [{"type": "Relationship", "object": URI}],
        D + "g": [{}],
    }


def test_a_single_attribute() -> None:
    assert expand_attribute({"value": 5}, "speed", CORE, now=NOW, mode="replace") == (
        D + "speed",
        [{"type": "Property", "value": 5}],
    )
    assert expand_attribute({"unitCode": "KMH"}, "speed", CORE, now=NOW, mode="partial") == (
        D + "speed",
        [{"unitCode": "KMH"}],
    )
    assert expand_attribute(5, D + "speed", CORE, now=NOW, mode="replace") == (
        D + "speed",
        [{"type": "Property", "value": 5}],
    )
    body = {"x": {"value": 1}, "@context": "https://x.example/"}
    assert expand_attribute(body, "speed", CORE, now=NOW, mode="partial")[1] == [{D + "x": [{"value": 1}]}]


@pytest.mark.parametrize(
    ("body", "name", "mode"),
    [
        ({}, "speed", "partial"),
        ({"@context": "x"}, "speed", "partial"),
        ({"value": "/a"}, "scope", "partial"),
        ({"value": 1}, "a.b", "partial"),
        ({"value": 1}, "observedAt", "replace"),
        ({"unitCode": "KMH"}, "speed", "replace"),
        ({"type": "Property", "value": 1}, "location", "partial"),
        (None, "speed", "replace"),
        ({"datasetId": NULL}, "speed", "partial"),
    ],
)
def test_refused_single_attributes(body: Any, name: str, mode: Mode) -> None:
    with pytest.raises(BadRequestData):
        expand_attribute(body, name, CORE, now=NOW, mode=mode)


def test_history_may_repeat_a_dataset() -> None:
    body = {"id": URI, "type": "T", "a": [{"value": 1, "observedAt": THEN}, {"value": 2, "observedAt": NOW}]}
    assert len(expand_entity(body, CORE, now=NOW, mode="temporal")[D + "a"]) == 2


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["urn:ngsi-ld:A:1", "https://x.example/a?b#c", "a:b", "urn:도시:세종", "x:%20"])
def test_uris(text: str) -> None:
    assert is_uri(text)


@pytest.mark.parametrize(
    "text",
    ["", "abc", ":a", "1a:b", "a b:c", "urn:a b", "urn:<x>", "urn:", "도시:a", None, 5, "urn:x\n"]
    + [
        f"urn:a{chr(code)}b"
        for code in (
            0x202E,
            0x200B,
            0xFEFF,
            0x2028,
            0xA0,
            0xFE0F,
            0xE0100,
            0xFDD0,
            0xFFFE,
            0x115F,
            0x3164,
            0xFFA0,
            0x2800,
        )
    ],
)
def test_not_uris(text: Any) -> None:
    assert not is_uri(text)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("/a/b_1", True),
        ("a", True),
        ("/세종/나성", True),
        ("/", False),
        ("", False),
        ("/a/", False),
        ("/a b", False),
        ("/1", False),
        (5, False),
    ],
)
def test_scopes(text: Any, valid: bool) -> None:
    assert is_scope(text) is valid


def test_instants_in_sortable_form() -> None:
    texts = [
        "2026-11-22T10:00:00Z",
        "2026-11-22T10:00:00.5Z",
        "2026-11-22T10:00:00,123456789Z",
        "2026-11-22T10:00:01Z",
    ]
    keys = [instant_key(text) for text in texts]
    assert keys[0] == "2026-11-22T10:00:00.000000Z"
    assert keys[2] == "2026-11-22T10:00:00.123456Z"
    assert sorted(keys) == [keys[0], keys[2], keys[1], keys[3]]


# --- laws ------------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "x", NULL, "@none", URI, THEN]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "value",
                    "object",
                    "languageMap",
                    "vocab",
                    "json",
                    "valueList",
                    "objectList",
                    "observedAt",
                    "unitCode",
                    "datasetId",
                    "expiresAt",
                    "objectType",
                    "valueType",
                    "dataset",
                    "coordinates",
                    "sub",
                    "a.b",
                    "@context",
                    "@type",
                    "id",
                    "previousValue",
                ]
            ),
            inner
            | st.sampled_from(
                [
                    "Property",
                    "GeoProperty",
                    "Relationship",
                    "LanguageProperty",
                    "VocabProperty",
                    "JsonProperty",
                    "ListProperty",
                    "ListRelationship",
                    "Point",
                ]
            ),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["create", "append", "update", "merge", "partial", "temporal"]))
def test_any_json_is_read_or_refused_and_never_changed(value: Any, mode: Mode) -> None:
    body = {"id": URI, "type": "T", "a": value}
    before = copy.deepcopy(body)
    try:
        entity = expand_entity(body, CORE, now=NOW, mode=mode)
    except BadRequestData as error:
        refused = error.detail
    else:
        refused = "a"
        assert all(":" in key or key in ("id", "type") for key in entity)
        for instance in entity[D + "a"]:
            assert mode in ("merge", "partial") or instance["type"]
            assert all(":" not in key or isinstance(part, list) for key, part in instance.items())
    assert refused.startswith("a")
    assert body == before


@given(JSON)
def test_location_is_always_a_geoproperty(value: Any) -> None:
    try:
        entity = expand_entity({"id": URI, "type": "T", "location": value}, CORE, now=NOW)
    except BadRequestData:
        return
    assert {one["type"] for one in entity[LOCATION]} == {"GeoProperty"}
