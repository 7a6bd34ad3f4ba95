"""What can be asked of histories. Source: CIM 009 clauses 4.5.6-4.5.9, 4.5.19, 4.11, 5.7.3, 5.7.4, 6.3.10."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from sejong.hub.service import Hub

pytestmark = pytest.mark.anyio

NULL = "urn:ngsi-ld:null"
DAY = "2024-05-20T"
TEMPORAL = "/temporal/entities"
EVER = {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z"}


def meter(number: int) -> str:
    return f"urn:ngsi-ld:Meter:{number}"


def at(clock: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, "observedAt": f"{DAY}{clock}:00Z", **more}


def between(start: str, end: str, **more: str) -> dict[str, str]:
    return {"timerel": "between", "timeAt": f"{DAY}{start}:00Z", "endTimeAt": f"{DAY}{end}:00Z", **more}


async def tell(ask: Any, number: int = 1, /, **series: Any) -> None:
    await ask("POST", TEMPORAL, None, json={"id": meter(number), "type": "Meter", **series})


async def history(ask: Any, number: int = 1, /, **params: str) -> Any:
    return (await ask("GET", f"{TEMPORAL}/{meter(number)}", 200, **params)).json()


async def found(ask: Any, **params: str) -> list[str]:
    answer = await ask("GET", TEMPORAL, 200, **params)
    return [one["id"][-1] for one in answer.json()]


def values(one: Any, name: str = "flow") -> list[Any]:
    return [instance["value"] for instance in one.get(name, [])]


async def test_every_time_property_with_every_relation(ask: Any, city: Any) -> None:
    """Three instances written one after the other, the last one a deletion; the moments between them are asked for."""
    hub = city.part(Hub)
    moments = [hub.now()]
    url = f"/entities/{meter(1)}"
    for method, path, body in (
        ("POST", "/entities", {"id": meter(1), "type": "Meter", "flow": at("09:00", 1)}),
        ("PATCH", f"{url}/attrs", {"flow": at("10:00", 2)}),
        ("DELETE", f"{url}/attrs/flow", None),
    ):
        await asyncio.sleep(0.002)
        await ask(method, path, None, json=body)
        await asyncio.sleep(0.002)
        moments.append(hub.now())
    written = {"createdAt": [1, 2, None], "modifiedAt": [1, 2, NULL], "deletedAt": [None, None, NULL]}
    for timeproperty, expected in written.items():
        for n in range(4):
            for timerel, part in (("before", expected[:n]), ("after", expected[n:]), ("between", expected[n : n + 1])):
                asked = {"timerel": timerel, "timeAt": moments[n], "timeproperty": timeproperty}
                if timerel == "between":
                    asked["endTimeAt"] = moments[min(n + 1, 3)]
                wanted = [value for value in part if value is not None]
                assert values(await history(ask, **asked)) == wanted, asked
                assert await found(ask, type="Meter", **asked) == ["1"] * bool(wanted), asked
                assert values(await history(ask, lastN="1", **asked)) == wanted[-1:], asked
                pairs = (await history(ask, format="temporalValues", options="sysAttrs", **asked)).get("flow", {})
                assert [value for value, _ in (pairs or {}).get("values", [])] == wanted
    for timerel, clock, wanted in (("before", "10:00", [1]), ("after", "10:00", [2]), ("between", "09:00", [1])):
        asked = {"timerel": timerel, "timeAt": f"{DAY}{clock}:00Z"}
        if timerel == "between":
            asked["endTimeAt"] = f"{DAY}10:00:00Z"
        assert values(await history(ask, **asked)) == wanted


async def test_a_deleted_entity(ask: Any) -> None:
    body = {"id": meter(1), "type": "Meter", "flow": at("09:00", 1), "isIn": {"object": "urn:x:1"}, "scope": "/a",
            "name": {"languageMap": {"ko": "가"}}, "bare": {"vocab": "on"}, "raw": {"json": {"a": 1}}}  # fmt: skip
    await ask.make(body)
    await ask("DELETE", f"/entities/{meter(1)}", 204)
    gone = await history(ask, timeproperty="deletedAt", options="sysAttrs", **EVER)
    assert gone["deletedAt"]
    null = {"isIn": ("object", NULL), "flow": ("value", NULL), "name": ("languageMap", {"@none": NULL}),
            "bare": ("vocab", NULL), "raw": ("json", NULL), "scope": ("value", NULL)}  # fmt: skip
    for name, (member, value) in null.items():
        (instance,) = gone[name]
        assert instance[member] == value
        assert instance["deletedAt"] == gone["deletedAt"]
    assert "deletedAt" not in await history(ask)
    assert await found(ask, type="Meter", **EVER) == ["1"]
    assert await found(ask, type="Meter", timeproperty="deletedAt", **EVER) == ["1"]
    assert await found(ask, type="Meter", timerel="before", timeAt="2020-01-01T00:00:00Z") == []
    # Known, but nothing in that time: a skeleton by id, nothing in a query.
    past = {"timerel": "before", "timeAt": "2020-01-01T00:00:00Z"}
    assert await history(ask, **past) == {"id": meter(1), "type": "Meter"}


async def test_datasets_are_chosen_before_the_newest_are(ask: Any) -> None:
    flow = [at(f"{h:02}:00", h) for h in range(9, 15)] + [at(f"{h:02}:30", -h, datasetId="urn:d:1") for h in (1, 2, 3)]
    await tell(ask, 1, flow=flow)
    await tell(ask, 2, flow=[at("09:00", 1)])
    assert values(await history(ask, datasetId="urn:d:1", lastN="2")) == [-2, -3]
    assert values(await history(ask, datasetId="@none,urn:d:1", lastN="2")) == [13, 14]
    assert await found(ask, type="Meter", datasetId="urn:d:1", **EVER) == ["1"]
    answer = await ask("GET", TEMPORAL, 200, type="Meter", datasetId="urn:d:1", count="true", **EVER)
    assert answer.headers["ngsild-results-count"] == "1"
    assert await found(ask, type="Meter", datasetId="urn:d:none", **EVER) == []
    both = await history(ask, format="temporalValues")
    assert [(one.get("datasetId"), len(one["values"])) for one in sorted(both["flow"], key=len)] == [
        (None, 6),
        ("urn:d:1", 3),
    ]
    sums = await history(ask, format="aggregatedValues", aggrMethods="sum,totalCount", datasetId="urn:d:1", **EVER)
    assert (sums["flow"]["datasetId"], sums["flow"]["sum"][0][0]) == ("urn:d:1", -6)


async def test_the_newest_of_what_has_no_time(ask: Any) -> None:
    await ask.make({"id": meter(1), "type": "Meter", "flow": 1})
    await ask("PATCH", f"/entities/{meter(1)}/attrs", 204, json={"flow": 2})
    assert values(await history(ask, lastN="1")) == [2]
    assert values(await history(ask, lastN="5")) == [1, 2]
    assert "flow" not in await history(ask, lastN="5", **EVER)


async def test_languages(ask: Any) -> None:
    names = [{"languageMap": {"ko": text, "en": text + "!"}, "observedAt": f"{DAY}0{n}:00:00Z"}
             for n, text in enumerate(("a", "b"))]  # fmt: skip
    await tell(ask, name=names)
    shown = await history(ask, lang="en")
    assert [(one["type"], one["value"], one["lang"]) for one in shown["name"]] == [
        ("Property", "a!", "en"),
        ("Property", "b!", "en"),
    ]
    assert (await history(ask, lang="ko", format="temporalValues"))["name"]["values"][0][0] == "a"


KINDS = {
    "Property": ("value", 1.5, "values", 1.5),
    "GeoProperty": ("value", {"type": "Point", "coordinates": [127.0, 36.5]}, "values", None),
    "Relationship": ("object", "urn:x:1", "objects", "urn:x:1"),
    "LanguageProperty": ("languageMap", {"ko": "가"}, "languageMaps", {"languageMap": {"ko": "가"}}),
    "VocabProperty": ("vocab", "on", "vocabs", {"vocab": "on"}),
    "JsonProperty": ("json", {"a": 1}, "jsons", {"json": {"a": 1}}),
    "ListProperty": ("valueList", [1, 2], "valueLists", [1, 2]),
    "ListRelationship": ("objectList", [{"object": "urn:x:1"}], "objectLists", ["urn:x:1"]),
}


async def test_all_eight_kinds_as_pairs_and_as_summaries(ask: Any) -> None:
    series = {
        f"a{kind}": [{"type": kind, member: value, "observedAt": f"{DAY}0{n}:00:00Z"} for n in (1, 2)]
        for kind, (member, value, *_) in KINDS.items()
    }
    await tell(ask, **series)
    pairs = await history(ask, format="temporalValues")
    for kind, (_, value, member, shown) in KINDS.items():
        assert pairs[f"a{kind}"] == {
            "type": kind,
            member: [[value if shown is None else shown, f"{DAY}0{n}:00:00Z"] for n in (1, 2)],
        }
    counted = await history(ask, format="aggregatedValues", aggrMethods="totalCount,distinctCount,sum", **EVER)
    for kind in KINDS:
        one = counted[f"a{kind}"]
        assert (one["totalCount"][0][0], one["distinctCount"][0][0]) == (2, 1), kind
        assert ("sum" in one) is (kind in ("Property", "ListProperty")), kind
        assert one["type"] == ("Relationship" if "Relationship" in kind else "Property")
    refused = {"format": "aggregatedValues", "aggrMethods": "avg,min", **EVER}
    await ask("GET", f"{TEMPORAL}/{meter(1)}", 400, attrs="aVocabProperty", error="InvalidRequest", **refused)


async def test_summaries_of_each_type_of_value(ask: Any) -> None:
    cases: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "whole": ([1, 2, 3, 6], {"avg": 3.0, "min": 1, "max": 6, "sum": 12, "sumsq": 50, "stddev": 3.5**0.5}),
        "tenths": ([0.1] * 10, {"sum": 1, "avg": 0.1, "sumsq": 0.1, "stddev": 0.0, "distinctCount": 1}),
        "flags": ([True, False, True, True], {"avg": 0.75, "sum": 3, "max": 1, "min": 0, "distinctCount": 2}),
        "texts": (["b", "a", "c"], {"min": "a", "max": "c", "totalCount": 3, "avg": None}),
        "lists": ([[1], [1, 2, 3]], {"avg": 2.0, "max": 3, "sum": 4, "totalCount": 2}),
        "objects": ([{"a": 1}, {"a": 1}], {"distinctCount": 1, "totalCount": 2, "max": None}),
        "mixed": ([1, "n/a", 3], {"avg": 2.0, "totalCount": 3, "distinctCount": 3}),
        "huge": ([2**60, 2**60], {"sum": 2**61, "max": 2**60}),
        "beyond": ([1e308, 1e308], {"sum": 1.7976931348623157e308, "avg": 1e308}),
    }  # fmt: skip
    await tell(ask, **{name: [at(f"0{n // 60}:{n % 60:02}", value) for n, value in enumerate(given)]
                       for name, (given, _) in cases.items()})  # fmt: skip
    for name, (_, expected) in cases.items():
        for methods in (",".join(expected), *expected):
            if expected.get(methods, 1) is None:
                continue
            asked = {"format": "aggregatedValues", "aggrMethods": methods, "attrs": name, **between("00:00", "10:00")}
            one = (await history(ask, **asked))[name]
            for method in methods.split(","):
                if expected[method] is None:
                    assert method not in one
                    continue
                ((value, start, end),) = one[method]
                wanted = expected[method]
                assert value == (wanted if isinstance(wanted, str) else pytest.approx(wanted, rel=1e-15)), (
                    name,
                    method,
                )
                assert (start, end) == (f"{DAY}00:00:00Z", f"{DAY}10:00:00Z")


async def test_scopes_at_the_time(ask: Any) -> None:
    """An entity is found by the scopes it had in the interval, not by those it has now."""
    scopes = [{"type": "Property", "value": value, "observedAt": f"{DAY}{clock}:00Z"}
              for clock, value in (("08:00", "/old"), ("10:00", "/new"))]  # fmt: skip
    flow = [at(f"{hour:02}:30", hour) for hour in range(7, 13)]
    await tell(ask, 1, scope=scopes, flow=flow)
    await tell(ask, 2, scope="/old", flow=flow)  # from now on
    await tell(ask, 3, flow=flow)
    for scope, asked, wanted in (
        ("/old", between("07:00", "09:00"), ["1"]),
        ("/old", between("09:00", "09:59"), ["1"]),
        ("/old", between("10:00", "12:00"), []),
        ("/new", between("07:00", "10:00"), []),
        ("/new", between("09:00", "12:00"), ["1"]),
        ("/new,/old", EVER, ["1", "2"]),
        ("/#", EVER, ["1", "2"]),
        ("/none", EVER, []),
    ):
        assert await found(ask, type="Meter", scopeQ=scope, **asked) == wanted, (scope, asked)
    await ask("DELETE", f"/entities/{meter(1)}", 204)
    assert await found(ask, type="Meter", scopeQ="/new", **between("09:00", "12:00")) == ["1"]


async def test_asking_by_post(ask: Any) -> None:
    await tell(ask, flow=[at(f"{hour:02}:00", hour) for hour in range(9, 15)])
    query = {"type": "Query", "entities": [{"type": "Meter"}], "temporalQ": between("10:00", "14:00")}
    url = "/temporal/entityOperations/query"
    (one,) = (await ask("POST", url, 200, json=query)).json()
    assert values(one) == [10, 11, 12, 13]
    (one,) = (await ask("POST", url, 200, json=query, lastN="2")).json()
    assert values(one) == [12, 13]
    (one,) = (await ask("POST", url, 200, json={**query, "temporalQ": {**query["temporalQ"], "lastN": 1}})).json()
    assert values(one) == [13]
    sums = {"format": "aggregatedValues", "aggrMethods": "sum", "aggrPeriodDuration": "PT2H"}
    (one,) = (await ask("POST", url, 200, json=query, **sums)).json()
    assert [value for value, *_ in one["flow"]["sum"]] == [21, 25]
    del query["temporalQ"]
    for temporal in ({}, {"temporalQ": {}}, {"temporalQ": {"timerel": "after"}}, {"temporalQ": {"timerel": 1}},
                     {"temporalQ": {**EVER, "lastN": 0}}, {"temporalQ": {**EVER, "lastN": "1"}}):  # fmt: skip
        await ask("POST", url, 400, json={**query, **temporal}, error="BadRequestData")


@pytest.fixture
def at_most(city: Any, monkeypatch: Any) -> Any:
    hub = city.part(Hub)
    return lambda n: monkeypatch.setattr(hub, "settings", hub.settings.model_copy(update={"temporal_max_instances": n}))


def moments(entity: Any) -> list[tuple[str, str]]:
    """Which instances of an entity an answer holds."""
    return [(name, each["observedAt"]) for name in ("flow", "level") for each in entity.get(name, [])]


async def test_following_the_ranges_sees_everything_once(ask: Any, at_most: Any) -> None:
    """From page to page by Content-Range, forward and backward: every instance is seen, none out of order."""
    for number in (1, 2):
        await tell(ask, number, flow=[at(f"{h:02}:{m:02}", 60 * h + m) for h in range(4) for m in range(0, 60, 7)],
                   level=[at(f"{h:02}:{m:02}", h) for h in range(2, 6) for m in (0, 14)])  # fmt: skip
    at_most(13)
    seen: list[list[Any]] = []
    asked = {"type": "Meter", "timerel": "after", "timeAt": f"{DAY}00:00:00Z"}
    for _ in range(50):
        answer = await ask("GET", TEMPORAL, None, **asked)
        bodies = answer.json()
        page = [(one["id"], name, when) for one in bodies for name, when in moments(one)]
        seen.append(page)
        if answer.status_code == 200:
            break
        assert answer.status_code == 206
        assert len(page) <= 13
        unit, _, span = answer.headers["content-range"].partition(" ")
        assert unit == "date-time"
        span, _, size = span.rpartition("/")
        assert size == "*"
        start, _, end = span.replace("Z-", "Z ").partition(" ")
        assert start == asked["timeAt"]
        assert end == max(moment for *_, moment in page)
        asked["timeAt"] = end[:-1] + ".000001Z"
    every = [one for page in seen for one in page]
    assert len(every) == len(set(every)) == 2 * (4 * 9 + 8)
    for earlier, later in pairwise(seen):
        assert max(moment for *_, moment in earlier) < min(moment for *_, moment in later)
    # Backward from the newest.
    answer = await ask("GET", TEMPORAL, 206, type="Meter", lastN="30", timerel="before", timeAt=f"{DAY}23:00:00Z")
    page = [when for one in answer.json() for _, when in moments(one)]
    assert 0 < len(page) <= 13
    assert answer.headers["content-range"] == f"date-time {DAY}23:00:00Z-{min(page)}/30"
    assert min(page) == f"{DAY}03:49:00Z"
    # Pages of entities and pages of time go together.
    answer = await ask("GET", TEMPORAL, 206, type="Meter", limit="1", offset="1", count="true", **EVER)
    assert [one["id"] for one in answer.json()] == [meter(2)]
    assert answer.headers["ngsild-results-count"] == "2"
    assert 'rel="prev"' in answer.headers["link"]


async def test_attributes_that_never_were(ask: Any) -> None:
    """Unknown attributes are no history; known ones without an instance in the time leave the entity's head."""
    await tell(ask, flow=[at("09:00", 1)])
    url = f"{TEMPORAL}/{meter(1)}"
    past = {"timerel": "before", "timeAt": "2020-01-01T00:00:00Z"}
    await ask("GET", url, 404, attrs="level", error="ResourceNotFound")
    await ask("GET", url, 404, pick="level", error="ResourceNotFound")
    await ask("GET", url, 404, pick="flow", error="ResourceNotFound", **past)
    assert await history(ask, attrs="level,flow", **past) == {"id": meter(1), "type": "Meter"}
    assert await history(ask, pick="id,level") == {"id": meter(1)}
    sums = {"format": "aggregatedValues", "aggrMethods": "avg", **EVER}
    await ask("GET", url, 404, attrs="level", error="ResourceNotFound", **sums)
    assert (await history(ask, attrs="flow", **sums))["flow"]["avg"][0][0] == 1
    assert await found(ask, type="Meter", attrs="level", **EVER) == []


async def test_who_comes_later_than_the_cut_is_named_without_instances(ask: Any, at_most: Any) -> None:
    await tell(ask, 1, flow=[at(f"{h:02}:00", h) for h in range(6)], level=[at("05:30", 1)])
    await tell(ask, 2, flow=[at(f"{h:02}:00", h) for h in range(8, 12)])
    at_most(4)
    one, two = (await ask("GET", TEMPORAL, 206, type="Meter", **EVER)).json()
    assert (values(one), one["level"]) == ([0, 1, 2, 3], [])
    assert two == {"id": meter(2), "type": "Meter", "flow": []}


async def test_summaries_of_several_entities(ask: Any, city: Any) -> None:
    """Each with its own attributes; where one of them has a text, that attribute is read and the others are not."""
    await tell(ask, 1, flow=[at("09:00", 1), at("10:00", 3)], level=[at("09:00", 5)])
    await tell(ask, 2, flow=[at("09:00", 10), at("09:30", 20, datasetId="urn:d:1")], level=[at("09:00", "low")])
    await tell(ask, 3, note=[at("09:00", "x")])
    asked = {"type": "Meter", "format": "aggregatedValues", "aggrMethods": "sum,totalCount", "count": "true", **EVER}
    for rolled in (False, True):
        answer = await ask("GET", TEMPORAL, 200, **asked)
        one, two, three = answer.json()
        assert [one["flow"]["sum"][0][0], one["level"]["sum"][0][0]] == [4, 5]
        assert {part.get("datasetId"): part["sum"][0][0] for part in two["flow"]} == {None: 10, "urn:d:1": 20}
        assert (two["level"]["totalCount"][0][0], "sum" in two["level"]) == (1, False)
        assert three["note"]["totalCount"][0][0] == 1
        assert answer.headers["ngsild-results-count"] == "3"
        flows = (await ask("GET", TEMPORAL, 200, **asked, pick="id,flow", limit="1", offset="1")).json()
        assert [set(body) for body in flows] == [{"id", "flow"}]
        omitted = (await ask("GET", TEMPORAL, 200, **asked, omit="flow,type")).json()
        assert [set(body) for body in omitted] == [{"id", "level"}, {"id", "level"}, {"id", "note"}]
        if not rolled:
            hub = city.part(Hub)
            for number in (1, 2, 3):
                known = await hub.known(0, meter(number))
                assert known is not None
                await hub.rollups.roll_up(known.no)
    await ask("GET", TEMPORAL, 400, error="InvalidRequest", **{**asked, "attrs": "note", "aggrMethods": "avg"})
    # A method that makes sense for one of them is right.
    one, _, three = (await ask("GET", TEMPORAL, 200, **{**asked, "aggrMethods": "avg"})).json()
    assert (one["flow"]["avg"][0][0], three["note"]) == (2.0, {"type": "Property"})
    rows = await city.pool.fetchval("select count(*) from hub.rollup")
    assert rows == 7
