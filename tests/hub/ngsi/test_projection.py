"""Which parts of an entity an answer shows."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ngsi.errors import BadRequestData, NgsiLdError, TooComplexQuery
from sejong.hub.ngsi.projection import (
    WHOLE,
    Projection,
    only_datasets,
    parse_dataset_ids,
    parse_projection,
    project,
    required_sql,
)

D = "https://city.test/"
ENTITY: dict[str, Any] = {
    "id": "urn:x:1",
    "type": [D + "T"],
    "scope": ["/a"],
    "createdAt": "2026-11-22T10:00:00.000000Z",
    D + "name": [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d:1"}],
    D + "age": [{"type": "Property", "value": 3, "datasetId": "urn:d:2"}],
    D + "isIn": [{"type": "Relationship", "object": "urn:y:1"}],
}


def expand(term: str) -> str:
    return D + term


def parsed(pick: Any = None, omit: Any = None, attrs: Any = None, join_level: int = 0) -> Projection:
    return parse_projection(pick, omit, attrs, expand, join_level=join_level)


def shown(**parameters: Any) -> set[str]:
    return {key.removeprefix(D) for key in project(ENTITY, parsed(**parameters))}


def test_the_projection_is_literal() -> None:
    assert shown(pick="name") == {"name"}
    assert shown(pick="id,type,name") == {"id", "type", "name"}
    assert shown(pick="id|age,scope") == {"id", "age", "scope"}
    assert shown(pick=["id", "name,age"]) == {"id", "name", "age"}
    assert shown(pick="createdAt") == {"createdAt"}
    assert shown(pick="nothing") == set()
    assert shown(omit="id") == {"type", "scope", "createdAt", "name", "age", "isIn"}
    assert shown(omit="id,type,scope,createdAt,name,age,isIn") == set()
    assert shown(pick="name,age,isIn", omit="id,type") == {"name", "age", "isIn"}
    assert shown() == {key.removeprefix(D) for key in ENTITY}
    assert parsed().is_whole


def test_attrs_keep_the_head_and_choose_entities() -> None:
    assert shown(attrs="name") == {"id", "type", "scope", "createdAt", "name"}
    made = parsed(attrs="nothing,age")
    assert made.admits(ENTITY)
    assert not parsed(attrs="nothing").admits(ENTITY)
    assert parsed(pick="nothing").admits(ENTITY), "pick does not choose entities"
    assert made.required == {D + "nothing", D + "age"}


def test_linked_entities_have_projections_of_their_own() -> None:
    made = parsed(pick="name,isIn{name,owner{id}}", omit="isIn{owner{age}}", join_level=2)
    assert made.keep == {D + "name", D + "isIn"}
    inner = made.of_link(D + "isIn")
    assert inner.keep == {D + "name", D + "owner"}
    assert inner.of_link(D + "owner") == Projection(keep=frozenset({"id"}), drop=frozenset({D + "age"}))
    assert made.of_link(D + "name") == WHOLE
    omitted = parsed(omit="isIn{name}", join_level=1)
    assert omitted.shows(D + "isIn")
    assert not omitted.of_link(D + "isIn").shows(D + "name")
    assert omitted.of_link(D + "isIn").shows("id")


def test_the_same_relationship_named_twice_is_united() -> None:
    for pick in ("isIn,isIn{name}", "isIn{name},isIn", "isIn{name},isIn{name}"):
        made = parsed(pick=pick, join_level=1)
        assert made.of_link(D + "isIn").keep == {D + "name"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"pick": "name", "omit": "name"},
        {"pick": "id,name", "omit": "age,id"},
        {"pick": "name", "attrs": "name"},
        {"omit": "name", "attrs": "name"},
        {"pick": "isIn{name}", "omit": "isIn", "join_level": 1},
        {"pick": "isIn{name}", "omit": "isIn{name}", "join_level": 1},
        {"pick": ""},
        {"pick": []},
        {"pick": [5]},
        {"omit": "name,"},
        {"omit": ",name"},
        {"pick": "name,,age"},
        {"pick": "name||age"},
        {"pick": "name,|age"},
        {"pick": "name;age"},
        {"pick": "name age"},
        {"pick": "isIn{name", "join_level": 1},
        {"pick": "isIn}name", "join_level": 1},
        {"pick": "isIn{name}}", "join_level": 1},
        {"pick": "isIn{{name}}", "join_level": 2},
        {"pick": "isIn{}", "join_level": 1},
        {"pick": "{name}", "join_level": 1},
        {"pick": "id{name}", "join_level": 1},
        {"pick": "isIn{name}age", "join_level": 1},
        {"pick": "isIn{name}"},
        {"pick": "isIn{owner{name}}", "join_level": 1},
        {"attrs": "isIn{name}", "join_level": 1},
        {"attrs": ""},
        {"pick": "1a"},
        {"pick": "name.sub"},
    ],
)
def test_what_is_no_projection_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(BadRequestData):
        parsed(**parameters)


def test_errors_say_why() -> None:
    with pytest.raises(BadRequestData, match="need join"):
        parsed(pick="isIn{name}")
    with pytest.raises(BadRequestData, match="only 1 levels"):
        parsed(pick="isIn{owner{name}}", join_level=1)
    with pytest.raises(BadRequestData, match="at column 6"):
        parsed(omit="name;age".replace(";", ",;"))


def test_there_is_a_limit() -> None:
    with pytest.raises(TooComplexQuery):
        parsed(pick=",".join(f"a{n}" for n in range(201)))


@given(st.text(alphabet="ab,|{};. id", max_size=14), st.integers(0, 3))
def test_any_text_is_read_or_refused_by_name(text: str, join_level: int) -> None:
    with contextlib.suppress(NgsiLdError):
        project(ENTITY, parsed(pick=text, join_level=join_level))


def test_attrs_in_the_database() -> None:
    values: list[Any] = []

    def bind(value: Any) -> str:
        values.append(value)
        return f"${len(values)}"

    rows = required_sql(parsed(attrs="age,nothing"), {D + "age": 5}.get, bind, prefix="e.")
    assert (rows.maybe, rows.sure) == ("(e.q ?| $1::text[])", "(e.q ?| $1::text[])")
    assert values == [["5"]]
    assert required_sql(parsed(attrs="nothing"), {D + "age": 5}.get, bind).maybe == "false"
    assert required_sql(parsed(pick="age"), {D + "age": 5}.get, bind).maybe == "true"


def test_datasets() -> None:
    assert parse_dataset_ids(None) is None
    assert parse_dataset_ids("urn:d:1,@none") == {"urn:d:1", "@none"}
    assert parse_dataset_ids(["urn:d:1"]) == {"urn:d:1"}
    for bad in ("", "x", "urn:d:1,", [], [5], "@default"):
        with pytest.raises(BadRequestData, match="datasetId"):
            parse_dataset_ids(bad)  # type: ignore[arg-type]
    kept = only_datasets(ENTITY, frozenset({"urn:d:1", "@none"}))
    assert [len(kept[D + name]) for name in ("name", "isIn")] == [2, 1]
    assert D + "age" not in kept
    assert kept["type"] == ENTITY["type"]
    assert [i["value"] for i in only_datasets(ENTITY, frozenset({"@none"}))[D + "name"]] == [1]
