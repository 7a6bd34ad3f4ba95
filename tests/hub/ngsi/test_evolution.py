"""What instances make of the present. Source: CIM 009 clauses 5.6.11, 5.6.12; 4.18 (scopes)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.evolution import Which, add_instances, expand_evolution, expand_instance, present_of, unsettled
from sejong.hub.ngsi.grammar import instant_key
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.ngsi.members import SCOPE

FLOW = "https://uri.etsi.org/ngsi-ld/default-context/flow"
START = datetime(2026, 11, 1, tzinfo=UTC)
NOW = format_instant(START + timedelta(days=1))
METER = {"id": "urn:ngsi-ld:Meter:1", "type": "Meter"}
INSTANCES = st.lists(
    st.builds(
        lambda minute, value, dataset: (
            {"type": "Property", "value": value, "observedAt": format_instant(START + timedelta(minutes=minute))}
            | ({"datasetId": dataset} if dataset else {})
        ),
        st.integers(0, 30),
        st.integers(0, 99),
        st.sampled_from([None, "urn:d:1"]),
    ),
    min_size=1,
    max_size=6,
)


@given(st.lists(INSTANCES, min_size=1, max_size=4))
def test_the_newest_instance_is_the_present_whatever_the_order(parts: list[list[dict[str, Any]]]) -> None:
    entity: dict[str, Any] | None = None
    said: dict[tuple[str | None, str], Any] = {}
    for part in parts:
        new = expand_evolution({**METER, "flow": part}, CORE, now=NOW, whole=True)
        before = repr(entity)
        was = entity
        evolved = add_instances(entity, new, NOW, {}, None)
        assert repr(was) == before, "what was given stays as it was"
        entity = evolved.entity
        said |= {(one.get("datasetId"), one["observedAt"]): one["value"] for one in part}
        kept = {(dataset, one["observedAt"]): one["value"] for _, dataset, one, _ in (*evolved.ops, *evolved.past)}
        assert kept == {which: said[which] for which in ((one.get("datasetId"), one["observedAt"]) for one in part)}
    assert entity is not None
    for dataset in {dataset for dataset, _ in said}:
        newest = max(moment for other, moment in said if other == dataset)
        current = present_of(entity, (FLOW, dataset))
        assert current is not None
        assert (current["observedAt"], current["value"]) == (newest, said[dataset, newest])
    assert [one.get("datasetId") for one in entity[FLOW]] == sorted({d for d, _ in said}, key=lambda d: d or "")


@pytest.mark.parametrize(
    ("newest", "ended", "lives"),
    [("2026-11-01T08:00:00Z", None, True), ("2026-11-01T12:00:00Z", None, False), ("", "2026-11-01T12:00:00Z", False),
     ("", "2026-11-01T08:00:00Z", True)],
)  # fmt: skip
def test_what_was_deleted_later_stays_deleted(newest: str, ended: str | None, lives: bool) -> None:
    flow = [{"value": 1, "observedAt": "2026-11-01T10:00:00Z"}]
    new = expand_evolution({**METER, "flow": flow}, CORE, now=NOW, whole=True)
    old = None if ended else {"id": METER["id"], "type": new["type"], "createdAt": NOW, "modifiedAt": NOW}
    assert unsettled(old, new) == [(FLOW, None)]
    known: dict[Which, str] = {(FLOW, None): instant_key(newest)} if newest else {}
    evolved = add_instances(old, new, NOW, known, instant_key(ended) if ended else None)
    assert (evolved.entity is not old) is lives
    assert (len(evolved.ops), len(evolved.past)) == ((1, 0) if lives else (0, 1))


def test_scopes_are_read_in_every_shape() -> None:
    def scopes(given_: Any) -> Any:
        return expand_evolution({**METER, "scope": given_}, CORE, now=NOW, whole=True)[SCOPE]

    assert scopes("/a") == [{"type": "Property", "value": ["/a"]}]
    assert scopes(["/a", "/b"]) == [{"type": "Property", "value": ["/a", "/b"]}]
    at = {"observedAt": "2026-11-01T10:00:00Z"}
    assert scopes({"type": "Property", "value": "/a", **at, "instanceId": "urn:x:1"}) == [
        {"type": "Property", "value": ["/a"], **at}
    ]
    assert [one["value"] for one in scopes([{"value": "/b"}, {"value": ["/a"], **at}])] == [["/a"], ["/b"]]
    for wrong in ([], "", "no scope", [1], [{"value": []}], [{"type": "Relationship", "object": "urn:x:1"}],
                  {"value": "/a", "observedAt": "now"}, [{"value": "/a"}, "/b", {"x": 1}]):  # fmt: skip
        with pytest.raises(BadRequestData):
            scopes(wrong)


def test_an_instance_comes_bare_or_as_a_fragment() -> None:
    bare = {"type": "Property", "value": 1, "observedAt": "2026-11-01T10:00:00Z"}
    for body in (bare, [bare], {"flow": bare}, {"flow": [bare]}, {"id": "urn:x:1", "type": "Meter", "flow": [bare]}):
        assert expand_instance(body, "flow", CORE, now=NOW) == (FLOW, bare)
    for wrong in ({}, [bare, bare], {"flow": [bare, bare]}, {"flow": bare, "level": bare}, {"type": "Property"},
                  {"level": [bare]}, {"a": 1}):  # fmt: skip
        with pytest.raises(BadRequestData):
            expand_instance(wrong, "flow", CORE, now=NOW)
