"""Any sequence of operations through HTTP leaves what the pure rules say it leaves, in state and in history."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sejong.hub.ngsi import change as rules
from sejong.hub.ngsi.change import Change
from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.entity import expand_attribute, expand_entity, expand_fragment
from sejong.hub.ngsi.instants import parse_instant
from sejong.hub.ngsi.present import present
from sejong.kernel.errors import CityError

pytestmark = pytest.mark.anyio

NULL = "urn:ngsi-ld:null"
NOW = "2026-11-22T09:00:00.000000Z"
Doc = dict[str, Any]
_runs = itertools.count()

names = st.sampled_from(["a", "b"])
datasets = st.sampled_from([None, None, "urn:d:1", "urn:d:2"])
scalars = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3), st.booleans()
)
compound = st.dictionaries(st.sampled_from(["x", "y"]), st.one_of(scalars, st.lists(scalars, max_size=2)), min_size=1)


@st.composite
def instances(draw: st.DrawFn) -> Doc:
    """One attribute instance of some kind."""
    kind = draw(st.sampled_from(["value", "value", "value", "object", "languageMap", "json"]))
    values: dict[str, st.SearchStrategy[Any]] = {
        "value": st.one_of(scalars.filter(lambda v: v != NULL), compound, st.lists(scalars, max_size=2)),
        "object": st.sampled_from(["urn:x:1", ["urn:x:1", "urn:x:2"]]),
        "languageMap": st.dictionaries(st.sampled_from(["ko", "en"]), st.text(max_size=3), min_size=1),
        "json": st.one_of(compound, st.just({"n": None})),
    }
    found: Doc = {kind: draw(values[kind])}
    if kind == "value":
        found["type"] = "Property"
    dataset = draw(datasets)
    if dataset is not None:
        found["datasetId"] = dataset
    if draw(st.booleans()):
        found["observedAt"] = draw(st.sampled_from(["2026-11-22T08:00:00Z", "2026-11-22T08:30:00.5Z"]))
    if kind == "value" and draw(st.booleans()):
        found["unitCode"] = "MTR"
    if draw(st.integers(0, 3)) == 0:
        found["note"] = {"type": "Property", "value": draw(scalars)}
    return found


@st.composite
def bodies(draw: st.DrawFn) -> Doc:
    """Some attributes, perhaps a further type and a scope."""
    found: Doc = {}
    for name in draw(st.sets(names, min_size=1)):
        several = draw(st.lists(instances(), min_size=1, max_size=2, unique_by=lambda one: one.get("datasetId")))
        found[name] = several[0] if len(several) == 1 else several
    if draw(st.integers(0, 3)) == 0:
        found["scope"] = draw(st.sampled_from(["/a", ["/a", "/b"]]))
    if draw(st.integers(0, 3)) == 0:
        found["type"] = draw(st.sampled_from(["Thing", ["Lamp", "Thing"]]))
    return found


@st.composite
def operations(draw: st.DrawFn) -> tuple[str, int, Any]:
    """What to do to which of two entities."""
    kind = draw(st.sampled_from(KINDS))
    which = draw(st.integers(0, 1))
    if kind in ("partial", "replace_attr"):
        return kind, which, (draw(names), draw(instances()))
    if kind == "delete_attr":
        return kind, which, (draw(names), draw(datasets), draw(st.booleans()))
    return kind, which, None if kind in ("delete", "batch_delete") else draw(bodies())


KINDS = ["create", "create", "upsert", "upsert_update", "replace", "merge", "append", "keep", "update", "nulls"]
KINDS += ["partial", "replace_attr", "delete_attr", "delete", "batch_delete", "batch_update", "batch_merge"]


def _nulls(body: Doc) -> Doc:
    """The same body with every first instance turned into a Null."""
    return {
        name: {"value": NULL, **({"datasetId": one["datasetId"]} if "datasetId" in one else {})}
        for name, part in body.items()
        if name in "ab" and (one := part[0] if isinstance(part, list) else part)
    }


class Model:
    """The naive record: entities in a dictionary, changed by the pure rules."""

    def __init__(self) -> None:
        self.entities: dict[str, Doc] = {}

    def do(self, kind: str, entity_id: str, given: Any) -> bool:
        """Carry it out; whether it could be."""
        old = self.entities.get(entity_id)
        try:
            change = self._change(kind, entity_id, old, given)
        except CityError:
            return False
        if change.entity is None:
            self.entities.pop(entity_id, None)
        else:
            self.entities[entity_id] = change.entity
        return not change.not_updated

    def _change(self, kind: str, entity_id: str, old: Doc | None, given: Any) -> Change:
        whole = {"id": entity_id, "type": "Lamp", **given} if isinstance(given, dict) else given
        if kind in ("create", "upsert", "upsert_update"):
            new = expand_entity(whole, CORE, now=NOW)
            if kind == "create" and old is not None:
                raise CityError
            how = {"upsert": rules.upsert_replace, "upsert_update": rules.upsert_update}.get(kind)
            return rules.create(new, NOW) if how is None else how(old, new, NOW)
        if old is None:
            raise CityError
        if kind in ("delete", "batch_delete"):
            return rules.delete_entity(old, NOW)
        if kind == "delete_attr":
            name, dataset, everything = given
            one = None if everything else dataset
            return rules.delete_attr(old, CORE.attribute(name), NOW, dataset_id=one, delete_all=everything)
        if kind in ("partial", "replace_attr"):
            mode = "partial" if kind == "partial" else "replace"
            iri, parts = expand_attribute(given[1], given[0], CORE, now=NOW, mode=mode)
            how = rules.partial_update_attr if kind == "partial" else rules.replace_attr
            return how(old, iri, parts, NOW)
        mode: Any = {"keep": "append", "nulls": "update", "batch_update": "update", "batch_merge": "merge"}.get(
            kind, kind
        )
        body = _nulls(given) if kind == "nulls" else given
        fragment = expand_fragment(whole if kind.startswith("batch") else body, CORE, now=NOW, mode=mode)
        if kind == "replace":
            return rules.replace_entity(old, fragment, NOW)
        if kind in ("merge", "batch_merge"):
            return rules.merge(old, fragment, NOW)
        if kind in ("update", "nulls"):
            return rules.update_attrs(old, fragment, NOW)
        return rules.append_attrs(old, fragment, NOW, no_overwrite=kind == "keep")


async def _send(ask: Any, kind: str, entity_id: str, given: Any) -> bool:
    """The same through HTTP; whether it was done wholly."""
    url = f"/entities/{entity_id}"
    whole = {"id": entity_id, "type": "Lamp", **given} if isinstance(given, dict) else given
    method, path, body, params = {
        "create": ("POST", "/entities", whole, {}),
        "upsert": ("POST", "/entityOperations/upsert", [whole], {}),
        "upsert_update": ("POST", "/entityOperations/upsert", [whole], {"options": "update"}),
        "replace": ("PUT", url, given, {}),
        "merge": ("PATCH", url, given, {}),
        "append": ("POST", url + "/attrs", given, {}),
        "keep": ("POST", url + "/attrs", given, {"options": "noOverwrite"}),
        "update": ("PATCH", url + "/attrs", given, {}),
        "nulls": ("PATCH", url + "/attrs", _nulls(given) if kind == "nulls" else None, {}),
        "delete": ("DELETE", url, None, {}),
        "batch_delete": ("POST", "/entityOperations/delete", [entity_id], {}),
        "batch_update": ("POST", "/entityOperations/update", [whole], {}),
        "batch_merge": ("POST", "/entityOperations/merge", [whole], {}),
        "partial": ("PATCH", f"{url}/attrs/{given[0] if isinstance(given, tuple) else ''}", None, {}),
        "replace_attr": ("PUT", f"{url}/attrs/{given[0] if isinstance(given, tuple) else ''}", None, {}),
        "delete_attr": ("DELETE", f"{url}/attrs/{given[0] if isinstance(given, tuple) else ''}", None, {}),
    }[kind]
    if kind in ("partial", "replace_attr"):
        body = given[1]
    if kind == "delete_attr":
        params = {"deleteAll": "true"} if given[2] else {"datasetId": given[1]} if given[1] else {}
    answer = await ask(method, path, None, json=body, **params)
    assert answer.status_code < 500, answer.text
    return answer.status_code in (201, 204)


def _timeless(instance: Doc) -> Doc:
    """An instance without the hub's own members; the history may write observedAt with other digits."""
    found = {k: v for k, v in instance.items() if k not in ("createdAt", "modifiedAt", "instanceId")}
    if "observedAt" in found:
        found["observedAt"] = parse_instant(found["observedAt"])
    if "note" in found:
        found["note"] = _timeless(found["note"])
    return found


async def _check(ask: Any, model: Model, entity_id: str) -> None:
    entity = model.entities.get(entity_id)
    answer = await ask("GET", f"/entities/{entity_id}", 404 if entity is None else 200)
    if entity is not None:
        assert answer.json() == present(entity, CORE)
    evolution = await ask("GET", f"/temporal/entities/{entity_id}", None, options="sysAttrs")
    if evolution.status_code == 404:
        assert entity is None
        return
    now = {} if entity is None else (await ask.see(entity_id, options="sysAttrs"))
    history = evolution.json()
    for name in {"a", "b"} & (history.keys() | now.keys()):
        last = {one.get("datasetId"): one for one in sorted(history[name], key=lambda one: one["modifiedAt"])}
        parts = now.get(name, [])
        current = {one.get("datasetId"): one for one in (parts if isinstance(parts, list) else [parts])}
        for dataset, instance in last.items():
            if dataset not in current:
                assert instance["deletedAt"], (name, dataset)
                continue
            assert "deletedAt" not in instance
            assert _timeless(instance) == _timeless(current[dataset])
        assert current.keys() <= last.keys()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=st.lists(operations(), min_size=1, max_size=10))
async def test_http_does_what_the_rules_say(ask: Any, steps: list[tuple[str, int, Any]]) -> None:
    run = next(_runs)
    model = Model()
    for kind, which, body in steps:
        entity_id = f"urn:ngsi-ld:Lamp:{run}:{which}"
        assert await _send(ask, kind, entity_id, body) == model.do(kind, entity_id, body), (kind, body)
    for which in (0, 1):
        await _check(ask, model, f"urn:ngsi-ld:Lamp:{run}:{which}")
    found = await ask.find(local="true", idPattern=f"^urn:ngsi-ld:Lamp:{run}:")
    assert {one["id"]: one for one in found} == {key: present(one, CORE) for key, one in model.entities.items()}
