"""Who is told of a change, and what: triggers, filters, previous values, deletions; and the index finds them all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ngsi import change as rules
from sejong.hub.ngsi.context import CORE, CORE_URL
from sejong.hub.ngsi.entity import expand_entity, expand_fragment
from sejong.hub.ngsi.notification import Style, envelope, headers
from sejong.hub.ngsi.subscription import Definition, read_subscription
from sejong.hub.ngsi.told import changes
from sejong.hub.watching import Watch, WatchIndex, selection_of

T0 = "2026-11-22T09:00:00.000000Z"
T1 = "2026-11-22T10:00:00.000000Z"
ENDPOINT = {"uri": "http://127.0.0.1:9/told"}
LAMP = {"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp", "power": 5, "maker": "A"}


def asked(notification: dict[str, Any] | None = None, **members: Any) -> Definition:
    members.setdefault("entities", [{"type": "Lamp"}])
    told = {"endpoint": ENDPOINT, **(notification or {})}
    body = {"id": "urn:s:1", "type": "Subscription", **members, "notification": told}
    return read_subscription({k: v for k, v in body.items() if v is not None}, CORE, CORE_URL, now=T0)


def entity(**members: Any) -> dict[str, Any]:
    new = expand_entity({**LAMP, **members}, CORE, now=T0)
    made = rules.create(new, T0).entity
    assert made is not None
    return made


def updated(old: dict[str, Any], **members: Any) -> dict[str, Any] | None:
    return rules.update_attrs(old, expand_fragment(members, CORE, now=T1, mode="update"), T1).entity


def told(definition: Definition, before: Any, after: Any) -> Any:
    """The entity as the subscriber sees it, or None."""
    index = WatchIndex(on_fault=lambda no, fault: pytest.fail(repr(fault)))
    index.put(Watch(1, 0, definition))
    found = index.match(0, before, after, T1)
    if not found:
        return None
    ((_, said),) = found
    return Style(definition, CORE).show(said)


OLD = entity()
NEW = updated(OLD, power=6)
SAME = updated(OLD, power=5)
MORE = updated(OLD, more=1)
LESS = rules.delete_attr(OLD, CORE.attribute("power"), T1).entity
PATHS: dict[str, tuple[Any, Any]] = {
    "created": (None, OLD),
    "updated": (OLD, NEW),
    "same": (OLD, SAME),
    "more": (OLD, MORE),
    "less": (OLD, LESS),
    "deleted": (OLD, None),
}


@pytest.mark.parametrize(
    ("triggers", "heard"),
    [
        (None, {"created", "updated", "more"}),
        (["entityCreated"], {"created"}),
        (["entityDeleted"], {"deleted"}),
        (["entityUpdated"], {"created", "updated", "more", "less", "deleted"}),
        (["attributeCreated"], {"created", "more"}),
        (["attributeUpdated"], {"updated"}),
        (["attributeDeleted"], {"less", "deleted"}),
        (["entityCreated", "attributeDeleted"], {"created", "less", "deleted"}),
    ],
)
def test_triggers(triggers: list[str] | None, heard: set[str]) -> None:
    definition = asked(notificationTrigger=triggers)
    assert {name for name, path in PATHS.items() if told(definition, *path) is not None} == heard


@pytest.mark.parametrize(
    ("watched", "heard"),
    [
        (["power"], {"created", "updated", "less", "deleted"}),
        (["more"], {"more"}),
        (["maker"], {"created", "deleted"}),
        (["other"], set()),
        (["other", "power"], {"created", "updated", "less", "deleted"}),
    ],
)
def test_only_watched_attributes_count(watched: list[str], heard: set[str]) -> None:
    definition = asked(watchedAttributes=watched, notificationTrigger=["entityUpdated"])
    assert {name for name, path in PATHS.items() if told(definition, *path) is not None} == heard
    anybody = asked(entities=None, watchedAttributes=watched, notificationTrigger=["entityUpdated"])
    assert {name for name, path in PATHS.items() if told(anybody, *path) is not None} == heard


@pytest.mark.parametrize(
    ("members", "hears"),
    [
        ({"q": "power==6"}, True),
        ({"q": "power==5"}, False),
        ({"entities": [{"type": "Pole"}]}, False),
        ({"entities": [{"type": "Pole|Lamp"}]}, True),
        ({"entities": [{"type": "(Pole;Lamp)"}]}, False),
        ({"entities": [{"type": "*"}]}, True),
        ({"entities": [{"type": "Lamp", "id": LAMP["id"]}]}, True),
        ({"entities": [{"type": "Pole", "id": LAMP["id"]}]}, False),
        ({"entities": [{"type": "Lamp", "id": ["urn:x:1", LAMP["id"]]}]}, True),
        ({"entities": [{"type": "Lamp", "id": "urn:x:1"}]}, False),
        ({"entities": [{"type": "Lamp", "id": "urn:x:1"}, {"type": "Lamp", "idPattern": "Lamp:1$"}]}, True),
        ({"entities": [{"type": "Lamp", "idPattern": "Lamp:2$"}]}, False),
        ({"scopeQ": "/Sejong"}, False),
        ({"datasetId": ["urn:d:1"]}, False),
        ({"datasetId": ["@none"]}, True),
        ({"isActive": False}, False),
        ({"timeInterval": 5}, False),
        ({"expiresAt": "2026-11-22T09:30:00Z"}, False),
        ({"expiresAt": "2026-11-22T10:30:00Z"}, True),
    ],
)
def test_filters_look_at_the_state_after_the_change(members: dict[str, Any], hears: bool) -> None:
    assert (told(asked(**members), OLD, NEW) is not None) is hears


def test_filters_of_a_deletion_look_at_the_state_before() -> None:
    for after in (LESS, None):
        assert told(asked(q="power==5", notificationTrigger=["attributeDeleted"]), OLD, after)
        assert told(asked(q="power==6", notificationTrigger=["attributeDeleted"]), OLD, after) is None
    assert told(asked(q="power==5", notificationTrigger=["entityDeleted"]), OLD, None)
    assert told(asked(q="power==6", notificationTrigger=["entityDeleted"]), OLD, None) is None


def test_places_and_scopes() -> None:
    there = {"type": "Point", "coordinates": [127.2, 36.4]}
    lamp = entity(location={"type": "GeoProperty", "value": there}, scope="/Sejong/Nasung")
    near = {"georel": "near;maxDistance==10", "geometry": "Point", "coordinates": [127.2, 36.4]}
    far = {**near, "coordinates": [127.3, 36.4]}
    assert told(asked(geoQ=near, scopeQ="/Sejong/#"), None, lamp)
    assert told(asked(geoQ=far), None, lamp) is None
    assert told(asked(scopeQ="/Osong"), None, lamp) is None


DELETED_FORMS: list[tuple[dict[str, Any], Any]] = [
    ({}, {"type": "Property", "value": "urn:ngsi-ld:null"}),
    ({"format": "concise"}, "urn:ngsi-ld:null"),
    ({"format": "keyValues"}, "urn:ngsi-ld:null"),
    ({"showChanges": True}, {"type": "Property", "value": "urn:ngsi-ld:null", "previousValue": 5}),
    ({"sysAttrs": True}, {"type": "Property", "value": "urn:ngsi-ld:null", "deletedAt": T1, "modifiedAt": T1,
                          "createdAt": T0}),
]  # fmt: skip


@pytest.mark.parametrize(("notification", "power"), DELETED_FORMS)
def test_a_deleted_attribute_is_said_as_null(notification: dict[str, Any], power: Any) -> None:
    said = told(asked(notification, notificationTrigger=["attributeDeleted"]), OLD, LESS)
    assert said["power"] == power
    assert "maker" in said
    assert "power" not in told(asked(notification), OLD, updated(LESS, maker="B") if LESS else None)


KINDS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"type": "Relationship", "object": "urn:x:1"}, {"object": "urn:ngsi-ld:null"}, "previousObject"),
    ({"type": "LanguageProperty", "languageMap": {"ko": "등"}}, {"languageMap": {"@none": "urn:ngsi-ld:null"}},
     "previousLanguageMap"),
    ({"type": "VocabProperty", "vocab": "dim"}, {"vocab": "urn:ngsi-ld:null"}, "previousVocab"),
    ({"type": "JsonProperty", "json": {"a": 1}}, {"json": "urn:ngsi-ld:null"}, "previousJson"),
    ({"type": "ListProperty", "valueList": [1]}, {"valueList": "urn:ngsi-ld:null"}, "previousValueList"),
    ({"type": "Property", "value": 1, "datasetId": "urn:d:1"},
     {"value": "urn:ngsi-ld:null", "datasetId": "urn:d:1"}, "previousValue"),
]  # fmt: skip


@pytest.mark.parametrize(("instance", "gone", "member"), KINDS)
def test_every_kind_of_attribute_goes_in_its_own_words(
    instance: dict[str, Any], gone: dict[str, Any], member: str
) -> None:
    lamp = entity(a=instance)
    left = rules.delete_attr(lamp, CORE.attribute("a"), T1, delete_all=True).entity
    said = told(asked({"showChanges": True}, notificationTrigger=["attributeDeleted"]), lamp, left)
    value = next(value for key, value in instance.items() if key not in ("type", "datasetId"))
    assert said["a"] == {"type": instance["type"], **gone, member: value}
    simple = told(asked({"format": "simplified"}, notificationTrigger=["attributeDeleted"]), lamp, left)
    assert simple["a"] == "urn:ngsi-ld:null"


def test_a_deleted_entity_is_said_in_three_members() -> None:
    gone = {"id": LAMP["id"], "type": "Lamp", "deletedAt": T1}
    only = ["entityDeleted"]
    null = {"type": "Property", "value": "urn:ngsi-ld:null"}
    assert told(asked(notificationTrigger=only), OLD, None) == gone
    assert told(asked({"pick": ["power"]}, notificationTrigger=only), OLD, None) == gone
    assert told(asked({"sysAttrs": True}, notificationTrigger=only), OLD, None) == {
        **gone, "createdAt": T0, "modifiedAt": T0}  # fmt: skip
    assert told(asked({"showChanges": True}, notificationTrigger=only), OLD, None) == {
        **gone, "power": {**null, "previousValue": 5}, "maker": {**null, "previousValue": "A"}}  # fmt: skip
    assert told(asked(watchedAttributes=["power"], notificationTrigger=["attributeDeleted"]), OLD, None) == {
        **gone, "power": null}  # fmt: skip


def test_previous_values_of_what_changed_only() -> None:
    said = told(asked({"showChanges": True}), OLD, NEW)
    assert said["power"] == {"type": "Property", "value": 6, "previousValue": 5}
    assert said["maker"] == {"type": "Property", "value": "A"}
    concise = told(asked({"showChanges": True, "format": "concise"}), OLD, NEW)
    assert concise["power"] == {"value": 6, "previousValue": 5}
    assert concise["maker"] == "A"
    made = told(asked({"showChanges": True}), None, OLD)
    assert made["power"] == {"type": "Property", "value": 5}


def test_dataset_instances() -> None:
    two = [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d:1"}]
    lamp = entity(power=two)
    after = updated(lamp, power={"type": "Property", "value": 3, "datasetId": "urn:d:1"})
    said = told(asked(datasetId=["urn:d:1"]), lamp, after)
    assert said == {
        "id": LAMP["id"], "type": "Lamp", "power": {"type": "Property", "value": 3, "datasetId": "urn:d:1"}
    }  # fmt: skip
    assert told(asked(datasetId=["@none"]), lamp, after) is None


def test_only_a_real_change_counts() -> None:
    lamp = entity(power={"type": "Property", "value": 1, "observedAt": T0, "by": {"type": "Property", "value": "x"}})
    kept = lamp[CORE.attribute("power")][0]
    again = {"type": "Property", "value": 1.0, "observedAt": T0, "by": {"type": "Property", "value": "x"}}
    assert not changes(lamp, updated(lamp, power=again))
    assert kept["modifiedAt"] == T0
    for different in (
        {**again, "value": True},
        {**again, "observedAt": T1},
        {**again, "by": {"type": "Property", "value": "y"}},
        {**again, "unitCode": "WTT"},
    ):
        assert list(changes(lamp, updated(lamp, power=different))) == [CORE.attribute("power")]


def test_a_fault_in_one_subscription_is_nobody_elses() -> None:
    index, faults = WatchIndex(), []
    index._on_fault = lambda no, fault: faults.append(no)
    for no in (1, 2, 3):
        index.put(Watch(no, 0, asked()))

    def broken(_: Any) -> bool:
        raise ZeroDivisionError

    index.watches[2].tested = broken
    assert [watch.no for watch, _ in index.match(0, OLD, NEW, T1)] == [1, 3]
    assert faults == [2]


def test_what_is_dropped_or_replaced_is_found_no_more() -> None:
    index = WatchIndex()
    index.put(Watch(1, 0, asked()))
    index.put(Watch(1, 0, asked(entities=[{"type": "Pole"}])))
    assert not index.match(0, OLD, NEW, T1)
    index.put(Watch(2, 7, asked()))
    assert not index.match(0, OLD, NEW, T1)
    assert index.match(7, OLD, NEW, T1)
    index.drop(2)
    assert not index.watches_over(7)
    assert not index.match(7, OLD, NEW, T1)


def test_the_envelope_and_the_headers() -> None:
    info = [{"key": "X-Key", "value": "s"}, {"key": "content-type", "value": "text/evil"}]
    for accept, has_link in (("application/json", True), ("application/ld+json", False)):
        definition = asked({"endpoint": {**ENDPOINT, "accept": accept, "receiverInfo": info}})
        style = Style(definition, CORE)
        body = envelope(style, "urn:n:1", T1, [style.show(OLD)])
        assert ("@context" in body) is not has_link
        assert body["type"] == "Notification"
        assert body["subscriptionId"] == "urn:s:1"
        assert ("Link" in headers(style)) is has_link
        assert headers(style)["Content-Type"] == accept
        assert headers(style)["X-Key"] == "s"
    style = Style(asked({"endpoint": {**ENDPOINT, "accept": "application/geo+json"}}), CORE)
    data = envelope(style, "urn:n:1", T1, [style.show(OLD)])["data"]
    assert data["type"] == "FeatureCollection"
    assert data["features"][0]["properties"]["power"]["value"] == 5
    assert data["@context"] == CORE_URL


NAMES = st.sampled_from(["power", "maker", "more"])
TYPES = st.sampled_from(["Lamp", "Pole", "Lamp|Pole", "(Lamp;Pole)", "*"])
IDS = st.sampled_from([LAMP["id"], "urn:x:1", ["urn:x:1", LAMP["id"]]])
SELECTORS = st.fixed_dictionaries(
    {"type": TYPES}, optional={"id": IDS, "idPattern": st.sampled_from(["Lamp:1$", "Pole"])}
)
SUBSCRIPTIONS = st.fixed_dictionaries(
    {"entities": st.lists(SELECTORS, min_size=1, max_size=3)},
    optional={
        "watchedAttributes": st.lists(NAMES, min_size=1, unique=True),
        "q": st.sampled_from(["power>4", "power>6|maker", "more"]),
        "notificationTrigger": st.lists(st.sampled_from(["entityDeleted", "entityUpdated", "attributeCreated"]),
                                        min_size=1),
    },
)  # fmt: skip
VALUES = st.dictionaries(NAMES, st.integers(4, 7), max_size=3)
STATES = st.none() | st.tuples(VALUES, st.sampled_from([["Lamp"], ["Pole"], ["Lamp", "Pole"]]))


@given(st.lists(SUBSCRIPTIONS, max_size=6), STATES, STATES)
def test_the_index_finds_exactly_those_who_would_be_told_one_by_one(subscriptions: Any, old: Any, new: Any) -> None:
    before, after = (
        None if state is None else entity_of(state[0], state[1]) for state in (old, new)
    )  # fmt: skip
    index = WatchIndex(on_fault=lambda no, fault: pytest.fail(repr(fault)))
    alone: list[int] = []
    for no, members in enumerate(subscriptions):
        definition = asked(**members)
        index.put(Watch(no, 0, definition))
        watch = Watch(no, 0, definition)
        watch.tested = selection_of(definition).test()
        if (before or after) and watch.told(before, after, changes(before, after), T1) is not None:
            alone.append(no)
    found = [watch.no for watch, _ in index.match(0, before, after, T1)]
    assert sorted(found) == alone


def entity_of(values: dict[str, int], types: list[str]) -> dict[str, Any]:
    body = {"id": LAMP["id"], "type": types, **values}
    made = rules.create(expand_entity(body, CORE, now=T0), T0).entity
    assert made is not None
    return made
