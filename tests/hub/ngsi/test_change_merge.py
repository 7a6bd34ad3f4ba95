"""What writes do: each operation's own rules, what history gets, and the laws merging obeys."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hub.ngsi.one_thing import (
    GPS,
    OBSERVED,
    POINT,
    T0,
    T1,
    T2,
    URI,
    D,
    fragment,
    one,
    stored,
    told,
)

from sejong.hub.ngsi.change import (
    CREATED,
    DELETED,
    UPDATED,
    append_attrs,
    earliest_expiry,
    live,
    merge,
    partial_update_attr,
    purge_attrs,
    replace_entity,
    update_attrs,
    upsert_replace,
    upsert_update,
)
from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.entity import expand_entity
from sejong.hub.ngsi.errors import BadRequestData, ResourceNotFound
from sejong.hub.ngsi.members import NULL

# --- merge -----------------------------------------------------------------------------------------------------------


def test_merge_goes_into_members_sub_attributes_and_values() -> None:
    old = stored(a={"value": {"x": 1, "y": {"z": 1, "w": 2}}, "unitCode": "C62", "s": {"value": 1, "unitCode": "C62"}})
    change = merge(old, fragment("merge", a={"value": {"y": {"z": NULL, "v": [1]}}, "s": {"value": 3}, "n": 1}), T1)
    assert one(change) == {
        "type": "Property",
        "value": {"x": 1, "y": {"w": 2, "v": [1]}},
        "unitCode": "C62",
        "createdAt": T0,
        "modifiedAt": T1,
        D + "s": [{"type": "Property", "value": 3, "unitCode": "C62", "createdAt": T0, "modifiedAt": T1}],
        D + "n": [{"type": "Property", "value": 1, "createdAt": T1, "modifiedAt": T1}],
    }
    assert old[D + "a"][0]["value"] == {"x": 1, "y": {"z": 1, "w": 2}}


def test_merge_removes_by_null_at_every_level() -> None:
    old = stored(
        a={"value": 1, "unitCode": "C62", "s": 1},
        b=1,
        c=[{"value": 1}, {"value": 2, "datasetId": GPS}],
        scope="/a",
    )
    change = merge(
        old,
        fragment(
            "merge",
            a={"unitCode": NULL, "s": NULL},
            b=NULL,
            c={"value": NULL, "datasetId": GPS},
            scope=NULL,
            never=NULL,
        ),
        T1,
    )
    assert change.entity is not None
    assert change.entity[D + "a"] == [{"type": "Property", "value": 1, "createdAt": T0, "modifiedAt": T1}]
    assert D + "b" not in change.entity
    assert [instance["value"] for instance in change.entity[D + "c"]] == [1]
    assert told(change) == [
        ("a", None, UPDATED),
        ("b", None, DELETED),
        ("c", GPS, DELETED),
        ("scope", None, DELETED),
    ]
    assert change.not_updated == []


def test_merge_appends_what_is_absent_without_leaving_nulls() -> None:
    change = merge(
        stored(),
        fragment(
            "merge",
            a={"value": {"x": NULL, "y": {"z": NULL}}, "unitCode": NULL, "s": {"value": 1, "t": NULL}},
            type="Extra",
        ),
        T1,
    )
    assert one(change) == {
        "type": "Property",
        "value": {"y": {}},
        "createdAt": T1,
        "modifiedAt": T1,
        D + "s": [{"type": "Property", "value": 1, "createdAt": T1, "modifiedAt": T1}],
    }
    assert (change.entity or {})["type"] == [D + "Thing", D + "Extra"]
    assert merge(stored(), fragment("merge", a={"languageMap": {"ko": NULL}}), T1).ops == []
    with pytest.raises(BadRequestData):
        merge(stored(), fragment("merge", a={"unitCode": "C62"}), T1)


def test_merge_by_dataset() -> None:
    old = stored(a={"value": 1, "datasetId": GPS, "unitCode": "C62"})
    change = merge(old, fragment("merge", a=[{"value": 5}, {"value": 2, "datasetId": GPS}]), T1)
    assert change.entity is not None
    default, gps = change.entity[D + "a"]
    assert "unitCode" not in default
    assert (gps["value"], gps["unitCode"], gps["datasetId"]) == (2, "C62", GPS)


@pytest.mark.parametrize(
    ("old", "patch"),
    [
        (1, {"object": URI}),
        (1, {"type": "GeoProperty", "value": POINT}),
        ({"object": URI}, {"value": 1}),
        ({"object": URI}, "text"),
        ({"object": URI}, {"unitCode": "C62"}),
        ({"languageMap": {"ko": "가"}}, "text"),
        ({"languageMap": {"ko": "가"}}, {"type": "Property", "value": "x"}),
        ({"vocab": "x"}, {"json": {}}),
    ],
)
def test_merge_cannot_change_the_kind(old: Any, patch: Any) -> None:
    with pytest.raises(BadRequestData, match=D + "a"):
        merge(stored(a=old), fragment("merge", a=patch), T1)


def test_merge_language_maps() -> None:
    old = stored(a={"languageMap": {"ko": "세종", "en": "Sejong"}})
    assert one(merge(old, fragment("merge", a={"languageMap": {"en": NULL, "fr": "Séjong"}}), T1))["languageMap"] == {
        "ko": "세종",
        "fr": "Séjong",
    }
    assert one(merge(old, fragment("merge", a="Sejong City"), T1, lang="en"))["languageMap"] == {
        "ko": "세종",
        "en": "Sejong City",
    }
    typed = {"type": "Property", "value": "Sejong City"}
    assert one(merge(old, fragment("merge", a=typed), T1, lang="en"))["languageMap"]["en"] == "Sejong City"
    emptied = merge(old, fragment("merge", a={"languageMap": {"en": NULL, "ko": NULL}}), T1)
    assert told(emptied) == [("a", None, DELETED)]


def test_merge_simplified_keeps_the_stored_kind() -> None:
    old = stored(
        r={"object": URI},
        l={"valueList": [1]},
        rl={"objectList": [URI]},
        g=POINT,
        p="x",
        lm={"languageMap": {"ko": "가"}},
        v={"vocab": "x"},
    )
    body = {
        "r": ["urn:x:1", "urn:x:2"],
        "l": [3],
        "rl": ["urn:x:3"],
        "g": {"type": "Point", "coordinates": [1, 2]},
        "p": "urn:x:1",
        "lm": {"languageMap": {"en": "a"}},
        "v": {"vocab": "y"},
        "new": "urn:x:9",
    }
    change = merge(old, fragment("merge", **body), T1, simplified=True)
    assert one(change, "r")["object"] == ["urn:x:1", "urn:x:2"]
    assert one(change, "l")["valueList"] == [3]
    assert one(change, "rl")["objectList"] == [{"object": "urn:x:3"}]
    assert one(change, "g")["value"]["coordinates"] == [1, 2]
    assert one(change, "p")["value"] == "urn:x:1"
    assert one(change, "lm")["languageMap"] == {"ko": "가", "en": "a"}
    assert one(change, "v")["vocab"] == D + "y"
    assert one(change, "new")["type"] == "Property"
    with pytest.raises(BadRequestData):
        merge(old, fragment("merge", r="not a uri"), T1, simplified=True)


def test_merge_with_a_common_observation_time() -> None:
    old = stored(
        a={"value": 1, "observedAt": OBSERVED, "s": {"value": 1, "observedAt": OBSERVED}},
        b=1,
        c={"value": 1, "observedAt": OBSERVED},
        d={"value": 1, "observedAt": OBSERVED},
    )
    change = merge(
        old,
        fragment("merge", a={"value": 2, "s": 2}, b=2, c={"value": 2, "observedAt": T1}, n=1),
        T2,
        observed_at=T2,
    )
    assert one(change)["observedAt"] == T2
    assert one(change)[D + "s"][0]["observedAt"] == T2
    assert "observedAt" not in one(change, "b")
    assert one(change, "c")["observedAt"] == T1
    assert one(change, "d")["observedAt"] == OBSERVED
    assert "observedAt" not in one(change, "n")


def test_merge_into_geometries() -> None:
    old = stored(location={"value": {**POINT, "bbox": [127, 36, 128, 37]}})
    moved = merge(old, fragment("merge", location={"value": {"coordinates": [1, 2]}}), T1)
    assert one(moved, "location")["value"] == {
        "type": "Point",
        "coordinates": [1, 2],
        "bbox": [127, 36, 128, 37],
    }
    line = {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}
    assert one(merge(old, fragment("merge", location=line), T1), "location")["value"] == line
    with pytest.raises(BadRequestData, match="coordinates"):
        merge(old, fragment("merge", location={"value": {"coordinates": ["x"]}}), T1)
    for value in (7, {"unitCode": "C62"}):
        with pytest.raises(BadRequestData):
            merge(stored(), fragment("merge", location=value), T1)


def test_merging_a_scope_overwrites_it_and_the_same_scope_is_no_change() -> None:
    old = stored(scope="/a")
    assert (merge(old, fragment("merge", scope=["/b", "/c"]), T1).entity or {})["scope"] == ["/b", "/c"]
    assert merge(old, fragment("merge", scope="/a"), T1).entity is old


# --- batch, purge, expiry --------------------------------------------------------------------------------------------


def test_upserts() -> None:
    new = expand_entity({"id": URI, "type": "Extra", "b": 2}, CORE, now=T1)
    assert told(upsert_replace(None, new, T1)) == told(upsert_update(None, new, T1)) == [("b", None, CREATED)]
    old = stored(a=1)
    assert told(upsert_replace(old, new, T1)) == [("b", None, CREATED), ("a", None, DELETED)]
    updated = upsert_update(old, new, T1)
    assert (updated.entity or {})["type"] == [D + "Thing", D + "Extra"]
    assert told(updated) == [("b", None, CREATED)]
    expired = stored(a=1, expiresAt=T1)
    assert (upsert_update(expired, new, T2).entity or {})["createdAt"] == T2


def test_purge() -> None:
    old = stored(a=[{"value": 1}, {"value": 2, "datasetId": GPS}], b=1, scope="/a")
    assert told(purge_attrs(old, T1, drop=frozenset({D + "a"}))) == [
        ("a", None, DELETED),
        ("a", GPS, DELETED),
    ]
    kept = purge_attrs(old, T1, keep=frozenset({D + "b"})).entity or {}
    assert D + "b" in kept
    assert D + "a" not in kept
    assert "scope" not in kept
    assert "scope" not in (purge_attrs(old, T1, drop=frozenset({"scope"})).entity or {})
    assert purge_attrs(old, T1, drop=frozenset({D + "zzz"})).entity is old


def test_expired_things_are_absent() -> None:
    old = stored(
        a={"value": 1, "expiresAt": T1},
        b=[{"value": 1, "expiresAt": T1}, {"value": 2, "datasetId": GPS}],
        c={"value": 1, "s": {"value": 1, "expiresAt": T1}},
    )
    assert live(old, T1) is old
    left = live(old, T2)
    assert left is not None
    assert D + "a" not in left
    assert [instance["value"] for instance in left[D + "b"]] == [2]
    assert D + "s" not in left[D + "c"][0]
    assert D + "a" in old
    with pytest.raises(ResourceNotFound):
        partial_update_attr(old, D + "a", [{"value": 2}], T2)
    again = append_attrs(old, fragment("append", a=5), T2)
    assert one(again)["createdAt"] == T2
    assert live(stored(expiresAt=T1), T2) is None
    with pytest.raises(ResourceNotFound):
        update_attrs(stored(expiresAt=T1), fragment("update", a=1), T2)


def test_earliest_expiry() -> None:
    assert earliest_expiry(stored(a=1)) is None
    old = stored(
        expiresAt="2026-12-01T00:00:00Z",
        a={"value": 1, "s": {"value": 1, "expiresAt": "2026-11-30T00:00:00Z"}},
    )
    assert earliest_expiry(old) == "2026-11-30T00:00:00.000000Z"


# --- laws ------------------------------------------------------------------------------------------------------------

LAW = settings(max_examples=40, deadline=None)
PLAIN = st.booleans() | st.integers(-3, 3) | st.sampled_from(["x", "urn:x:1", "가"])
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)
PATCHES = st.recursive(
    PLAIN | st.just(NULL),
    lambda inner: st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)
META = st.fixed_dictionaries({}, optional={"observedAt": st.sampled_from([T0, OBSERVED]), "unitCode": st.just("C62")})
NULLABLE = st.fixed_dictionaries(
    {}, optional={"observedAt": st.sampled_from([T0, NULL]), "unitCode": st.sampled_from(["GQ", NULL])}
)


def _instances(values: st.SearchStrategy[Any], meta: st.SearchStrategy[Any], depth: int = 1) -> st.SearchStrategy[Any]:
    single = st.builds(lambda value, rest: {"type": "Property", "value": value, **rest}, values, meta)
    if depth:
        subs = st.fixed_dictionaries({}, optional={"s": _instances(values, meta, 0), "t": _instances(values, meta, 0)})
        single = st.builds(lambda one, sub: {**one, **sub}, single, subs)
    pair = st.builds(lambda one, two: [one, {**two, "datasetId": GPS}], single, single)
    return single | pair


def _bodies(
    values: st.SearchStrategy[Any], meta: st.SearchStrategy[Any], least: int = 0
) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from("abc"), _instances(values, meta), min_size=least, max_size=3)


@LAW
@given(_bodies(VALUES, META))
def test_merging_nothing_is_the_identity(body: dict[str, Any]) -> None:
    old = stored(**body)
    change = merge(old, {}, T1)
    assert change.entity is old
    assert change.ops == []


@LAW
@given(_bodies(VALUES, META), _bodies(PATCHES, NULLABLE, 1))
def test_merging_twice_is_merging_once(body: dict[str, Any], patch: dict[str, Any]) -> None:
    old = stored(**body)
    before = copy.deepcopy(old)
    first = merge(old, fragment("merge", **patch), T1).entity or {}
    assert merge(first, fragment("merge", **patch), T1).entity == first
    assert old == before
    assert NULL not in str(first)


@LAW
@given(_bodies(VALUES, META), _bodies(VALUES, META, 1))
def test_merge_agrees_with_rfc_7396_on_values(body: dict[str, Any], patch: dict[str, Any]) -> None:
    def laid_over(target: Any, over: Any) -> Any:
        if not isinstance(over, dict):
            return over
        base = target if isinstance(target, dict) else {}
        return {**base, **{key: laid_over(base.get(key), value) for key, value in over.items()}}

    old = stored(**body)
    result = merge(old, fragment("merge", **patch), T1).entity or {}
    given_fragment = fragment("append", **patch)
    for name, instances in given_fragment.items():
        for instance in instances:
            key = instance.get("datasetId")
            was = next((one for one in old.get(name, []) if one.get("datasetId") == key), {})
            now = next(one for one in result[name] if one.get("datasetId") == key)
            assert now["value"] == laid_over(was.get("value"), instance["value"])


@LAW
@given(_bodies(VALUES, META), _bodies(VALUES, META, 1))
def test_append_without_overwriting_never_touches_what_is_there(body: dict[str, Any], more: dict[str, Any]) -> None:
    old = stored(**body)
    change = append_attrs(old, fragment("append", **more), T1, no_overwrite=True)
    result = change.entity or {}
    for name in set(old) - {"modifiedAt"}:
        if ":" in name:
            assert all(any(kept is instance for kept in result[name]) for instance in old[name])
        else:
            assert result[name] == old[name]
    assert all(op == CREATED for *_, op in change.ops)
    refused = {name for name, _ in change.not_updated}
    assert refused == {
        name
        for name, parts in fragment("append", **more).items()
        for part in parts
        if any(part.get("datasetId") == one.get("datasetId") for one in old.get(name, []))
    }


@LAW
@given(
    _bodies(VALUES, META),
    _bodies(VALUES, META, 1),
    st.sampled_from([append_attrs, update_attrs, replace_entity]),
)
def test_history_tells_exactly_the_difference(body: dict[str, Any], more: dict[str, Any], operation: Any) -> None:
    old = stored(**body)
    before = copy.deepcopy(old)
    change = operation(old, fragment("append", **more), T1)
    assert old == before
    state = {(name, one.get("datasetId")): one for name, parts in old.items() if ":" in name for one in parts}
    for name, dataset, instance, op in change.ops:
        assert ((name, dataset) in state) == (op != CREATED)
        if op == DELETED:
            del state[name, dataset]
        else:
            state[name, dataset] = instance
    result = {
        (name, one.get("datasetId")): one
        for name, parts in (change.entity or {}).items()
        if ":" in name
        for one in parts
    }
    assert state == result
    for name, parts in (change.entity or {}).items():
        if ":" in name:
            assert [one.get("datasetId") for one in parts] in ([None], [GPS], [None, GPS])
