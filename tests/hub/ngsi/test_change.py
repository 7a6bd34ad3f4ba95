"""What writes do: each operation's own rules, what history gets, and the laws merging obeys."""

from __future__ import annotations

from typing import Any

import pytest
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
    partial,
    replaced,
    stored,
    told,
)

from sejong.hub.ngsi.change import (
    CREATED,
    DELETED,
    UPDATED,
    append_attrs,
    create,
    delete_attr,
    delete_entity,
    merge,
    replace_entity,
    update_attrs,
)
from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.entity import expand_entity
from sejong.hub.ngsi.errors import BadRequestData, ResourceNotFound
from sejong.hub.ngsi.members import NULL, SCOPE

# --- create, replace, delete -----------------------------------------------------------------------------------------


def test_create_sets_times_everywhere_and_tells_history() -> None:
    new = expand_entity(
        {
            "id": URI,
            "type": "Thing",
            "scope": "/a",
            "a": {"value": 1, "s": 2},
            "b": [{"value": 1}, {"value": 2, "datasetId": GPS}],
        },
        CORE,
        now=T0,
    )
    change = create(new, T0)
    assert change.entity is not None
    assert (change.entity["createdAt"], change.entity["modifiedAt"]) == (T0, T0)
    a = one(change)
    assert (a["createdAt"], a["modifiedAt"], a[D + "s"][0]["createdAt"], a[D + "s"][0]["modifiedAt"]) == (T0,) * 4
    assert told(change) == [
        ("a", None, CREATED),
        ("b", None, CREATED),
        ("b", GPS, CREATED),
        ("scope", None, CREATED),
    ]
    assert change.ops[0][2] is a
    assert change.updated == [D + "a", D + "b"]
    assert "createdAt" not in new


@pytest.mark.parametrize("missing", ["id", "type"])
def test_create_needs_id_and_type(missing: str) -> None:
    new = {"id": URI, "type": [D + "T"]}
    del new[missing]
    with pytest.raises(BadRequestData, match=missing):
        create(new, T0)


def test_replace_keeps_creation_and_buries_what_is_gone() -> None:
    old = stored(scope=["/a"], a=1, b=[{"value": 1}, {"value": 2, "datasetId": GPS}], c=3)
    change = replace_entity(old, fragment("replace", type="Other", a={"object": URI}, b={"value": 9}), T1)
    assert change.entity is not None
    assert change.entity["createdAt"] == T0
    assert change.entity["modifiedAt"] == T1
    assert change.entity["type"] == [D + "Other"]
    assert "scope" not in change.entity
    assert D + "c" not in change.entity
    a = one(change)
    assert (a["type"], a["createdAt"], a["modifiedAt"]) == ("Relationship", T0, T1)
    assert told(change) == [
        ("a", None, UPDATED),
        ("b", None, UPDATED),
        ("b", GPS, DELETED),
        ("c", None, DELETED),
        ("scope", None, DELETED),
    ]


def test_replace_without_types_keeps_them_and_may_change_the_scope() -> None:
    change = replace_entity(stored(scope="/a"), fragment("replace", scope="/b"), T1)
    assert change.entity is not None
    assert change.entity["type"] == [D + "Thing"]
    assert change.entity["scope"] == ["/b"]
    assert told(change) == [("scope", None, UPDATED)]


def test_replace_drops_an_expiry_that_is_not_stated_again() -> None:
    assert "expiresAt" not in (replace_entity(stored(expiresAt=T2), fragment("replace", a=1), T1).entity or {})


def test_delete_entity_buries_every_instance() -> None:
    old = stored(scope="/a", a=1, l={"languageMap": {"ko": "가"}}, r={"object": URI, "datasetId": GPS})
    change = delete_entity(old, T1)
    assert change.entity is None
    assert told(change) == [
        ("a", None, DELETED),
        ("l", None, DELETED),
        ("r", GPS, DELETED),
        ("scope", None, DELETED),
    ]
    stones = [instance for *_, instance, _ in change.ops]
    assert stones[0] == {
        "type": "Property",
        "value": NULL,
        "createdAt": T0,
        "modifiedAt": T1,
        "deletedAt": T1,
    }
    assert stones[1]["languageMap"] == {"@none": NULL}
    assert (stones[2]["object"], stones[2]["datasetId"]) == (NULL, GPS)


# --- append and update -----------------------------------------------------------------------------------------------


def test_append_overwrites_and_adds_by_dataset() -> None:
    old = stored(a={"value": 1, "unitCode": "C62"})
    change = append_attrs(
        old,
        fragment("append", a=[{"value": 2}, {"value": 3, "datasetId": GPS}], b=1, type="Extra", scope="/x"),
        T1,
    )
    assert change.entity is not None
    default, gps = change.entity[D + "a"]
    assert default == {"type": "Property", "value": 2, "createdAt": T0, "modifiedAt": T1}
    assert gps == {"type": "Property", "value": 3, "datasetId": GPS, "createdAt": T1, "modifiedAt": T1}
    assert change.entity["type"] == [D + "Thing", D + "Extra"]
    assert change.entity["scope"] == ["/x"]
    assert told(change) == [
        ("a", None, UPDATED),
        ("a", GPS, CREATED),
        ("b", None, CREATED),
        ("scope", None, CREATED),
    ]


def test_append_without_overwriting() -> None:
    old = stored(a={"value": 1, "datasetId": GPS}, scope="/a")
    change = append_attrs(
        old,
        fragment("append", a=[{"value": 2}, {"value": 3, "datasetId": GPS}], scope=["/a", "/b"]),
        T1,
        no_overwrite=True,
    )
    assert change.entity is not None
    assert [instance["value"] for instance in change.entity[D + "a"]] == [2, 1]
    assert [name for name, _ in change.not_updated] == [D + "a"]
    assert change.updated == [D + "a", SCOPE]
    assert change.entity["scope"] == ["/a", "/b"]


def test_append_nothing_new_without_overwriting_changes_nothing() -> None:
    old = stored(a=1)
    change = append_attrs(old, fragment("append", a=2), T1, no_overwrite=True)
    assert change.entity is old
    assert (change.ops, change.updated) == ([], [])
    assert change.not_updated


def test_update_states_whole_instances_anew() -> None:
    old = stored(a={"value": 1, "unitCode": "C62", "observedAt": OBSERVED, "s": 1})
    assert one(update_attrs(old, fragment("update", a={"value": 5, "s": {"value": 2}}), T1)) == {
        "type": "Property",
        "value": 5,
        "createdAt": T0,
        "modifiedAt": T1,
        D + "s": [{"type": "Property", "value": 2, "createdAt": T0, "modifiedAt": T1}],
    }


def test_update_strips_nulled_members_and_may_change_the_kind() -> None:
    old = stored(a={"value": 1, "unitCode": "C62"})
    change = update_attrs(old, fragment("update", a={"object": URI, "observedAt": NULL, "s": NULL}), T1)
    assert one(change) == {"type": "Relationship", "object": URI, "createdAt": T0, "modifiedAt": T1}


@pytest.mark.parametrize(
    "null",
    [NULL, {"type": "Property", "value": NULL}, {"type": "LanguageProperty", "languageMap": {"@none": NULL}}],
)
def test_update_with_null_removes_that_instance_only(null: Any) -> None:
    old = stored(a=[{"value": 1}, {"value": 2, "datasetId": GPS}])
    change = update_attrs(old, fragment("update", a=null), T1)
    assert one(change)["datasetId"] == GPS
    assert told(change) == [("a", None, DELETED)]
    last = update_attrs(change.entity or {}, fragment("update", a={"value": NULL, "datasetId": GPS}), T2)
    assert D + "a" not in (last.entity or {})


def test_update_reports_what_was_not_there_to_remove() -> None:
    change = update_attrs(stored(a=1), fragment("update", b=NULL, a={"value": NULL, "datasetId": GPS}), T1)
    assert [name for name, _ in change.not_updated] == [D + "b", D + "a"]
    assert change.ops == []


def test_update_changes_a_scope_only_where_there_is_one() -> None:
    change = update_attrs(stored(a=1), fragment("update", scope="/b"), T1)
    assert change.not_updated == [(SCOPE, "the entity has no scope")]
    changed = update_attrs(stored(scope="/a"), fragment("update", scope="/b"), T1)
    assert (changed.entity or {})["scope"] == ["/b"]
    removed = update_attrs(stored(scope="/a"), fragment("update", scope=NULL), T1)
    assert "scope" not in (removed.entity or {})
    assert told(removed) == [("scope", None, DELETED)]


def test_expiry_of_the_entity_is_set_and_lifted() -> None:
    old = stored(a=1)
    kept = append_attrs(old, fragment("append", expiresAt=T2), T1).entity
    assert (kept or {})["expiresAt"] == T2
    lifted = merge(kept or {}, fragment("merge", expiresAt=NULL), T1).entity
    assert "expiresAt" not in (lifted or {})


# --- partial update, replace and delete of one attribute -------------------------------------------------------------


def test_partial_update_overwrites_members_only() -> None:
    old = stored(a={"value": {"x": 1, "y": 2}, "unitCode": "C62", "s": 1, "t": 1})
    change = partial(old, {"value": {"x": 5}, "observedAt": OBSERVED, "s": {"value": 2}, "t": NULL})
    assert one(change) == {
        "type": "Property",
        "value": {"x": 5},
        "unitCode": "C62",
        "observedAt": OBSERVED,
        "createdAt": T0,
        "modifiedAt": T1,
        D + "s": [{"type": "Property", "value": 2, "createdAt": T0, "modifiedAt": T1}],
    }
    assert told(change) == [("a", None, UPDATED)]
    assert D + "t" in old[D + "a"][0]


def test_partial_update_removes_members_and_instances_by_null() -> None:
    old = stored(a=[{"value": 1, "unitCode": "C62"}, {"value": 2, "datasetId": GPS}])
    change = partial(old, {"unitCode": NULL})
    assert "unitCode" not in (change.entity or {})[D + "a"][0]
    assert told(partial(old, {"type": "Property", "value": NULL, "datasetId": GPS})) == [("a", GPS, DELETED)]


@pytest.mark.parametrize(
    ("kind", "value", "patch"),
    [
        ("Relationship", {"object": URI}, {"object": ["urn:x:2"]}),
        ("GeoProperty", {"value": POINT}, {"value": {"type": "Point", "coordinates": [1, 2]}}),
        ("LanguageProperty", {"languageMap": {"ko": "가"}}, {"languageMap": {"en": "a"}}),
        ("ListProperty", {"valueList": [1]}, {"valueList": [2]}),
        ("JsonProperty", {"json": {"a": 1}}, {"type": "JsonProperty", "json": {"b": None}}),
    ],
)
def test_partial_update_of_other_kinds(kind: str, value: Any, patch: dict[str, Any]) -> None:
    found = one(partial(stored(a=value), patch))
    assert found["type"] == kind
    assert patch.items() <= found.items()


@pytest.mark.parametrize(
    "patch",
    [
        {"object": URI},
        {"type": "Relationship", "object": URI},
        {"type": "GeoProperty", "value": POINT},
        {"objectType": "T"},
        {"type": "LanguageProperty"},
    ],
)
def test_partial_update_cannot_change_the_kind(patch: Any) -> None:
    with pytest.raises(BadRequestData, match="a:"):
        partial(stored(a=1), patch)
    with pytest.raises(BadRequestData):
        partial(stored(a={"object": URI}), {"value": 1})
    with pytest.raises(BadRequestData):
        partial(stored(location=POINT), {"value": 1}, "location")
    with pytest.raises(BadRequestData):
        partial(stored(a={"object": URI}), {"unitCode": "C62"})


@pytest.mark.parametrize("body", [{"value": 2, "datasetId": GPS}, {"value": NULL, "datasetId": GPS}])
def test_partial_update_of_what_is_not_there(body: Any) -> None:
    with pytest.raises(ResourceNotFound):
        partial(stored(a=1), body)
    with pytest.raises(ResourceNotFound):
        partial(stored(b=1), {"value": 2})


def test_replace_attribute() -> None:
    old = stored(a={"value": 1, "unitCode": "C62", "s": 1})
    assert one(replaced(old, {"object": URI})) == {
        "type": "Relationship",
        "object": URI,
        "createdAt": T0,
        "modifiedAt": T1,
    }
    json = {"json": {"x": NULL, "y": None}}
    assert one(replaced(old, json))["json"] == json["json"]
    for body in ({"value": 1, "datasetId": GPS},):
        with pytest.raises(ResourceNotFound):
            replaced(old, body)


def test_delete_attribute() -> None:
    old = stored(a=[{"value": 1}, {"value": 2, "datasetId": GPS}], scope="/a")
    assert told(delete_attr(old, D + "a", T1)) == [("a", None, DELETED)]
    assert told(delete_attr(old, D + "a", T1, dataset_id="@none")) == [("a", None, DELETED)]
    assert one(delete_attr(old, D + "a", T1, dataset_id=GPS))["value"] == 1
    assert D + "a" not in (delete_attr(old, D + "a", T1, delete_all=True).entity or {})
    assert "scope" not in (delete_attr(old, SCOPE, T1).entity or {})
    for missing in ("urn:x:other", None):
        with pytest.raises(ResourceNotFound):
            delete_attr(stored(a={"value": 1, "datasetId": GPS}), D + "a", T1, dataset_id=missing)
    for name in (D + "b", SCOPE):
        with pytest.raises(ResourceNotFound):
            delete_attr(stored(a=1), name, T1, delete_all=True)
