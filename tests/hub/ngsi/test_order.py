"""In which order entities are answered."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ngsi.errors import BadRequestData, NgsiLdError, TooComplexQuery
from sejong.hub.ngsi.order import parse_order, sort_key

D = "https://city.test/"


def expand(term: str) -> str:
    return D + term


def thing(number: int, **attributes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": f"urn:x:{number}",
        "type": [D + "T"],
        "createdAt": "2026-11-22T10:00:00.000000Z",
    }
    for name, value in attributes.items():
        is_instances = isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "type" in value[0]
        document[D + name] = value if is_instances else [{"type": "Property", "value": value}]
    return document


def ordered(order_by: Any, things: list[dict[str, Any]], **more: Any) -> list[int]:
    ordering = parse_order(order_by, expand, **more)
    assert ordering is not None
    return [int(t["id"].rpartition(":")[2]) for t in sorted(things, key=sort_key(ordering))]


def point(lon: float, lat: float) -> list[dict[str, Any]]:
    return [{"type": "GeoProperty", "value": {"type": "Point", "coordinates": [lon, lat]}}]


def test_terms_decide_one_after_the_other() -> None:
    things = [
        thing(1, name="b", age=1),
        thing(2, name="a", age=1),
        thing(3, name="a", age=2),
        thing(4, name="B", age=0),
    ]
    assert ordered("name", things) == [2, 3, 1, 4]
    assert ordered("name,age;desc", things) == [3, 2, 1, 4]
    assert ordered(["name;desc", "age"], things) == [4, 1, 2, 3]
    assert ordered("nothing", things) == [1, 2, 3, 4], "equal keys keep their order"


def test_kinds_of_values_keep_their_rank_both_ways() -> None:
    kinds = [2, 10, "10", "b", {"x": 1}, [1], False, True, "10:00:00Z", "2026-11-22", "2026-11-22T10:00:00Z",
             {"@type": "DateTime", "@value": "2026-11-22T11:00:00Z"}, None]  # fmt: skip
    things = [thing(n, v=value) for n, value in enumerate(kinds)] + [thing(len(kinds))]
    shuffled = random.Random(5).sample(things, len(things))
    assert ordered("v", shuffled) == list(range(len(kinds) + 1))
    assert ordered("v;desc", shuffled) == [1, 0, 3, 2, 4, 5, 7, 6, 8, 9, 11, 10, 12, 13]


def test_paths_and_system_members() -> None:
    inner = [
        {
            "type": "Property",
            "value": 1,
            "observedAt": "2026-11-22T10:00:00Z",
            D + "q": [{"type": "Property", "value": 2}],
        }
    ]
    later = [
        {
            "type": "Property",
            "value": 0,
            "observedAt": "2026-11-22T10:00:00.5Z",
            D + "q": [{"type": "Property", "value": 1}],
        }
    ]
    things = [thing(1, a=later, address={"city": "Z"}), thing(2, a=inner, address={"city": "y"}), thing(3)]
    assert ordered("a.observedAt", things) == [2, 1, 3]
    assert ordered("a.q", things) == [1, 2, 3]
    assert ordered("address[city]", things) == [2, 1, 3]
    assert ordered("id;desc", things) == [3, 2, 1]
    assert ordered("createdAt,type,id", things) == [1, 2, 3]
    made = parse_order("id", expand)
    assert made is not None
    assert made.only_by_id


def test_every_kind_of_attribute_has_a_value() -> None:
    ko = [{"type": "LanguageProperty", "languageMap": {"en": "A", "ko": "나"}}]
    none = [{"type": "LanguageProperty", "languageMap": {"en": "Z", "ko": "가", "@none": "B"}}]
    assert ordered("n", [thing(1, n=none), thing(2, n=ko)]) == [2, 1]
    assert ordered("n[KO]", [thing(2, n=ko), thing(1, n=none)]) == [1, 2]
    link = [{"type": "Relationship", "object": "urn:a"}]
    links = [{"type": "Relationship", "object": ["urn:a", "urn:b"]}]
    listed = [{"type": "ListProperty", "valueList": [2]}]
    vocab = [{"type": "VocabProperty", "vocab": D + "x"}]
    js = [{"type": "JsonProperty", "json": 7}]
    things = [thing(1, n=links), thing(2, n=link), thing(3, n=js), thing(4, n=vocab), thing(5, n=listed)]
    assert ordered("n", things) == [3, 4, 2, 1, 5], 'number, IRI, URI, then arrays: [" before [2'
    two = [{"type": "Property", "value": 9, "datasetId": "urn:d"}, {"type": "Property", "value": 1}]
    assert ordered("n", [thing(1, n=3), thing(2, n=two)]) == [2, 1], "the default instance counts"


def test_distance() -> None:
    things = [
        thing(1, location=point(8, 41)),
        thing(2, location=point(8, 40.5)),
        thing(3, location="unknown"),
        thing(4),
    ]
    assert ordered("location;dist-asc", things, order_from="[8,40]") == [2, 1, 3, 4]
    assert ordered("location;dist-desc", things, order_from=[8, 40]) == [1, 2, 3, 4]
    line = {"order_from": "[[7,41.1],[9,41.1]]", "order_geometry": "LineString"}
    assert ordered("location;dist-asc", things, **line) == [1, 2, 3, 4]


def test_collation_strength() -> None:
    things = [thing(1, n="B"), thing(2, n="b"), thing(3, n="a")]
    assert ordered("n", things) == [3, 2, 1]
    assert ordered("n", things, collation="und-u-ks-level2") == [3, 1, 2]


@pytest.mark.parametrize(
    ("order_by", "more"),
    [
        ("", {}),
        ([], {}),
        ([5], {}),
        ("name,", {}),
        ("name;", {}),
        ("name;up", {}),
        ("name;ascending", {}),
        ("name;DESC", {}),
        ("name desc", {}),
        ("rel{name}", {}),
        ("name[", {}),
        ("name;dist-asc", {}),
        ("name", {"order_geometry": "Point"}),
        ("name;dist-asc", {"order_from": "[8]"}),
        ("name;dist-asc", {"order_from": "[8,40]", "order_geometry": "LineString"}),
        ("name", {"collation": "invalid"}),
        (None, {"order_from": "[8,40]"}),
        (None, {"collation": "und"}),
    ],
)
def test_what_is_no_ordering_is_refused(order_by: Any, more: dict[str, Any]) -> None:
    with pytest.raises(BadRequestData):
        parse_order(order_by, expand, **more)


def test_there_is_a_limit_and_nothing_is_no_ordering() -> None:
    assert parse_order(None, expand) is None
    with pytest.raises(TooComplexQuery):
        parse_order(",".join(["name"] * 11), expand)


@given(st.text(alphabet="ab,;.[]{} ascdesti-", max_size=14))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    with contextlib.suppress(NgsiLdError):
        parse_order(text, expand)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
    | st.sampled_from(["2026-11-22", "10:00:00Z", "2026-11-22T10:00:00Z"]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["type", "@value", "x"]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


@given(
    st.lists(values, max_size=6),
    st.sampled_from(["v", "v;desc", "v[x],v", "v;dist-asc", "v.observedAt", "v.w"]),
)
def test_any_values_can_be_ordered(given_values: list[Any], order_by: str) -> None:
    things = [thing(n, v=[{"type": "Property", "value": v, "observedAt": v}]) for n, v in enumerate(given_values)]
    assert sorted(ordered(order_by, things, order_from="[8,40]")) == list(range(len(things)))
