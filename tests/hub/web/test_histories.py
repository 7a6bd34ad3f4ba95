"""Retrieving and querying histories. Source: CIM 009 clauses 4.5.6-4.5.9, 4.5.19, 4.11, 5.7.3, 5.7.4, 6.3.10."""

from __future__ import annotations

from typing import Any

import pytest

from sejong.hub.service import Hub

pytestmark = pytest.mark.anyio

NULL = "urn:ngsi-ld:null"
DAY = "2026-11-22T"


def meter(number: int) -> str:
    return f"urn:ngsi-ld:Meter:{number}"


async def measured(ask: Any, number: int, attribute: str, values: dict[str, Any], **more: Any) -> None:
    """One reading after the other; keys are clock times."""
    for clock, value in values.items():
        instance = {"type": "Property", "value": value, "observedAt": f"{DAY}{clock}:00Z", **more}
        body = {"id": meter(number), "type": "Meter", attribute: instance}
        await ask("POST", "/entityOperations/upsert", None, json=[body], options="update")


def between(start: str, end: str, **more: str) -> dict[str, str]:
    return {"timerel": "between", "timeAt": f"{DAY}{start}:00Z", "endTimeAt": f"{DAY}{end}:00Z", **more}


EVER = {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z"}


@pytest.fixture
async def meters(ask: Any) -> Any:
    await measured(ask, 1, "flow", {"08:00": 1, "09:00": 2, "10:00": 3, "11:00": 4}, unitCode="MQH")
    await measured(ask, 1, "level", {"09:30": "low", "10:30": "high"})
    await measured(ask, 2, "flow", {"08:00": 10.5})
    await ask("POST", f"/entities/{meter(2)}/attrs", 204, json={"note": "no time"})
    return ask


async def history(ask: Any, number: int = 1, **params: str) -> Any:
    return (await ask("GET", f"/temporal/entities/{meter(number)}", 200, **params)).json()


def values(found: Any, name: str = "flow") -> list[Any]:
    return [one["value"] for one in found[name]]


async def test_the_whole_history(meters: Any) -> None:
    whole = await history(meters)
    assert whole.keys() == {"id", "type", "flow", "level"}
    first = whole["flow"][0]
    assert first.keys() == {"type", "value", "unitCode", "observedAt", "instanceId"}
    assert first["observedAt"] == f"{DAY}08:00:00Z"
    ids = [one["instanceId"] for name in ("flow", "level") for one in whole[name]]
    assert len(set(ids)) == 6
    assert all(one.startswith("urn:ngsi-ld:") for one in ids)
    timed = await history(meters, options="sysAttrs")
    assert timed["createdAt"]
    assert timed["flow"][0]["createdAt"]
    await meters("GET", f"/temporal/entities/{meter(9)}", 404, error="ResourceNotFound")
    await meters("GET", "/temporal/entities/nouri", 400, error="BadRequestData")
    await meters("GET", f"/temporal/entities/{meter(1)}", 404, type="Tree", error="ResourceNotFound")
    concise = await history(meters, format="concise")
    assert concise["level"][0].keys() == {"value", "observedAt", "instanceId"}


async def test_intervals(meters: Any) -> None:
    for params, flow in [
        ({"timerel": "before", "timeAt": f"{DAY}10:00:00Z"}, [1, 2]),
        ({"timerel": "after", "timeAt": f"{DAY}10:00:00Z"}, [3, 4]),
        (between("09:00", "11:00"), [2, 3]),
        (between("09:00", "09:00"), []),
        ({"timerel": "after", "timeAt": f"{DAY}10:00:00.000001Z"}, [4]),
    ]:
        found = await history(meters, **params)
        assert values({"flow": [], **found}) == flow, params
    nothing = await history(meters, **between("01:00", "02:00"))
    assert nothing == {"id": meter(1), "type": "Meter"}
    for params in (
        {"timerel": "before"},
        {"timeAt": f"{DAY}10:00:00Z"},
        {"timerel": "between", "timeAt": f"{DAY}10:00:00Z"},
        {"timerel": "around", "timeAt": f"{DAY}10:00:00Z"},
        {"timerel": "before", "timeAt": "yesterday"},
        {"timerel": "before", "timeAt": f"{DAY}10:00:00Z", "endTimeAt": f"{DAY}11:00:00Z"},
        {**EVER, "timeproperty": "birthday"},
        {**EVER, "lastN": "0"},
        {**EVER, "lastN": "-1"},
        {**EVER, "lastN": "x"},
    ):
        await meters("GET", f"/temporal/entities/{meter(1)}", 400, error="BadRequestData", **params)
        await meters("GET", "/temporal/entities", 400, error="BadRequestData", type="Meter", **params)


async def test_time_properties(meters: Any) -> None:
    await meters("DELETE", f"/entities/{meter(1)}/attrs/level", 204)
    assert values(await history(meters, 2, **EVER, timeproperty="modifiedAt"), "note") == ["no time"]
    assert "note" not in await history(meters, 2, **EVER)
    assert values(await history(meters, **EVER, timeproperty="createdAt")) == [1, 2, 3, 4]
    gone = await history(meters, **EVER, timeproperty="deletedAt", options="sysAttrs")
    assert gone.keys() == {"id", "type", "createdAt", "modifiedAt", "level"}
    assert [(one["value"], "deletedAt" in one) for one in gone["level"]] == [(NULL, True)]
    assert values(await history(meters, **EVER), "level") == ["low", "high"]
    assert values(await history(meters), "level") == ["low", "high", NULL]
    past = {"timerel": "before", "timeAt": "2020-01-01T00:00:00Z", "timeproperty": "modifiedAt"}
    assert await history(meters, **past) == {"id": meter(1), "type": "Meter"}


async def test_the_newest(meters: Any) -> None:
    found = await history(meters, lastN="2")
    assert (values(found), values(found, "level")) == ([3, 4], ["low", "high"])
    assert values(await history(meters, lastN="1", **between("08:00", "10:30"))) == [3]
    assert values(await history(meters, lastN="2", **EVER, timeproperty="modifiedAt")) == [3, 4]
    assert values(await history(meters, lastN="999999999999")) == [1, 2, 3, 4]


async def test_projection(meters: Any) -> None:
    assert (await history(meters, attrs="level")).keys() == {"id", "type", "level"}
    assert (await history(meters, pick="id,flow")).keys() == {"id", "flow"}
    assert (await history(meters, omit="flow,type")).keys() == {"id", "level"}
    await measured(meters, 1, "flow", {"12:00": 9}, datasetId="urn:d:1")
    assert values(await history(meters, datasetId="urn:d:1")) == [9]
    assert values(await history(meters, datasetId="@none")) == [1, 2, 3, 4]
    await meters("POST", f"/entities/{meter(1)}/attrs", 204, json={"scope": "/a"})
    await meters("POST", f"/entities/{meter(1)}/attrs", 204, json={"scope": ["/b", "/c"]})
    scoped = await history(meters, pick="scope")
    assert scoped.keys() == {"scope"}
    assert [one["value"] for one in scoped["scope"]] == [["/a"], ["/b", "/c"]]


async def test_values_over_time(meters: Any) -> None:
    for params in ({"format": "temporalValues"}, {"options": "temporalValues"}):
        found = await history(meters, **params)
        assert found["flow"] == {
            "type": "Property",
            "values": [[n, f"{DAY}{7 + n:02}:00:00Z"] for n in (1, 2, 3, 4)],
        }
    kinds = {
        "isIn": ({"object": "urn:x:1"}, "objects", "urn:x:1"),
        "name": ({"languageMap": {"ko": "가"}}, "languageMaps", {"languageMap": {"ko": "가"}}),
        "state": ({"vocab": "on"}, "vocabs", {"vocab": "on"}),
        "raw": ({"json": {"a": 1}}, "jsons", {"json": {"a": 1}}),
        "list": ({"valueList": [1, 2]}, "valueLists", [1, 2]),
        "wires": ({"objectList": ["urn:x:1"]}, "objectLists", ["urn:x:1"]),
    }
    body = {name: {**value, "observedAt": f"{DAY}08:00:00Z"} for name, (value, *_) in kinds.items()}
    await meters("POST", f"/entities/{meter(1)}/attrs", 204, json=body)
    found = await history(meters, format="temporalValues")
    for name, (_, member, value) in kinds.items():
        assert found[name][member] == [[value, f"{DAY}08:00:00Z"]]


async def test_aggregates(meters: Any) -> None:
    asked = {"format": "aggregatedValues", "pick": "flow", **between("08:00", "12:00")}
    methods = "avg,min,max,sum,sumsq,stddev,totalCount,distinctCount"
    whole = (await history(meters, **asked, aggrMethods=methods))["flow"]
    limits = [f"{DAY}08:00:00Z", f"{DAY}12:00:00Z"]
    assert {name: whole[name][0][0] for name in methods.split(",") if name != "stddev"} == {
        "avg": 2.5,
        "min": 1,
        "max": 4,
        "sum": 10,
        "sumsq": 30,
        "totalCount": 4,
        "distinctCount": 4,
    }
    assert whole["avg"][0][1:] == limits
    hourly = (await history(meters, **asked, aggrMethods="sum", aggrPeriodDuration="PT2H"))["flow"]
    assert hourly["sum"] == [[3, limits[0], f"{DAY}10:00:00Z"], [7, f"{DAY}10:00:00Z", limits[1]]]
    texts = await history(meters, format="aggregatedValues", aggrMethods="max,totalCount", attrs="level")
    assert (texts["level"]["max"][0][0], texts["level"]["totalCount"][0][0]) == ("low", 2)
    url = f"/temporal/entities/{meter(1)}"
    await meters("GET", url, 400, format="aggregatedValues", aggrMethods="avg", attrs="level", error="InvalidRequest")
    for wrong in ({}, {"aggrMethods": "mean"}, {"aggrMethods": "avg", "aggrPeriodDuration": "1h"}, {"aggrMethods": ""}):
        await meters("GET", url, 400, format="aggregatedValues", error="BadRequestData", **wrong)


async def test_which_histories_a_query_means(meters: Any) -> None:
    async def found(**params: str) -> list[str]:
        answer = await meters("GET", "/temporal/entities", 200, **params)
        return [one["id"][-1] for one in answer.json()]

    assert await found(type="Meter", **EVER) == ["1", "2"]
    assert await found(type="Meter", **between("09:00", "10:00")) == ["1"]
    assert await found(type="Meter", attrs="level", **EVER) == ["1"]
    assert await found(type="Meter", pick="id,level", **EVER) == ["1"]
    assert await found(type="Meter", id=meter(2), **EVER) == ["2"]
    assert await found(type="Tree", **EVER) == []
    assert await found(attrs="note", **EVER) == []
    assert await found(attrs="note", **EVER, timeproperty="modifiedAt") == ["2"]
    # Conditions must hold for what was measured in the interval, not for what is true now.
    assert await found(q="flow==2", **EVER) == ["1"]
    assert await found(q="flow==2", **between("10:00", "12:00")) == []
    assert await found(q="flow==4", **between("08:00", "10:00")) == []
    assert await found(q='flow>1;level=="low"', **between("08:00", "10:00")) == ["1"]
    assert await found(q="flow==10.5|flow==3", **EVER) == ["1", "2"]
    assert await found(type="Meter", local="true", orderBy="id;desc", **EVER) == ["2", "1"]
    await meters("DELETE", f"/entities/{meter(1)}", 204)
    assert await found(type="Meter", **EVER) == ["1", "2"]
    assert await found(q="flow==2", **EVER) == ["1"]
    for params in (
        {"type": "Meter"},
        {**EVER},
        {**EVER, "id": meter(1)},
        {**EVER, "type": "Meter", "orderBy": "flow", "local": "true"},
        {**EVER, "type": "Meter", "orderBy": "id"},
        {**EVER, "q": "isIn{name}==5"},
    ):
        await meters("GET", "/temporal/entities", 400, error="BadRequestData", **params)


async def test_places_in_the_past(ask: Any) -> None:
    for clock, lon in {"08:00": 127.0, "09:00": 128.0}.items():
        place = {"type": "Point", "coordinates": [lon, 36.5]}
        body = {"id": meter(1), "type": "Meter", "location": {"value": place, "observedAt": f"{DAY}{clock}:00Z"}}
        await ask("POST", "/entityOperations/upsert", None, json=[body])
    near = {"georel": "near;maxDistance==50", "geometry": "Point", "coordinates": "[127.0,36.5]"}
    assert len((await ask("GET", "/temporal/entities", 200, **near, **EVER)).json()) == 1
    assert (await ask("GET", "/temporal/entities", 200, **near, **between("08:30", "10:00"))).json() == []


async def test_pages_of_histories(meters: Any) -> None:
    answer = await meters("GET", "/temporal/entities", 200, type="Meter", limit="1", count="true", **EVER)
    assert answer.headers["ngsild-results-count"] == "2"
    assert 'rel="next"' in answer.headers["link"]
    assert [one["id"] for one in answer.json()] == [meter(1)]
    plain = await meters("GET", "/temporal/entities", 200, type="Meter", limit="1", **EVER)
    assert 'rel="next"' in plain.headers["link"]
    last = await meters("GET", "/temporal/entities", 200, type="Meter", limit="1", offset="1", **EVER)
    assert [one["id"] for one in last.json()] == [meter(2)]
    assert 'rel="next"' not in last.headers["link"]


async def test_what_does_not_fit_is_cut_between_two_moments(meters: Any, city: Any, monkeypatch: Any) -> None:
    hub = city.part(Hub)

    def at_most(instances: int) -> None:
        monkeypatch.setattr(hub, "settings", hub.settings.model_copy(update={"temporal_max_instances": instances}))

    url = f"/temporal/entities/{meter(1)}"
    at_most(4)
    cut = await meters("GET", url, 206, **EVER)
    assert cut.headers["content-range"] == f"date-time 2020-01-01T00:00:00Z-{DAY}10:00:00Z/*"
    assert (values(cut.json()), values(cut.json(), "level")) == ([1, 2, 3], ["low"])
    back = await meters("GET", url, 206, lastN="4", **EVER)
    assert back.headers["content-range"] == f"date-time {DAY}11:00:00Z-{DAY}09:30:00Z/4"
    assert (values(back.json()), values(back.json(), "level")) == ([3, 4], ["low", "high"])
    at_most(1)
    first = await meters("GET", url, 206, **EVER)
    assert (values(first.json()), first.json()["level"]) == ([1], [])
    at_most(6)
    await meters("GET", url, 200, lastN="4", **EVER)
    await meters("GET", url, 200, **EVER)
    at_most(5)
    both = await meters("GET", "/temporal/entities", 206, type="Meter", **EVER)
    assert [values(one) for one in both.json()] == [[1, 2, 3], [10.5]]
    at_most(2)
    both = await meters("GET", "/temporal/entities", 206, type="Meter", **EVER)
    assert [values(one) for one in both.json()] == [[1], [10.5]]


async def test_every_way_of_writing_leaves_its_trace(ask: Any) -> None:
    url = f"/entities/{meter(1)}"
    await ask.make({"id": meter(1), "type": "Meter", "flow": 1, "level": 1})
    await ask("POST", f"{url}/attrs", 204, json={"flow": 2})
    await ask("PATCH", f"{url}/attrs", 204, json={"flow": 3})
    await ask("PATCH", f"{url}/attrs/flow", 204, json={"value": 4})
    await ask("PUT", f"{url}/attrs/flow", 204, json={"value": 5})
    await ask("PATCH", url, 204, json={"flow": {"value": 6}})
    await ask("PUT", url, 204, json={"type": "Meter", "flow": 7})
    for number, operation in enumerate(("upsert", "update", "merge"), 8):
        await ask(
            "POST", f"/entityOperations/{operation}", 204, json=[{"id": meter(1), "type": "Meter", "flow": number}]
        )
    await ask("DELETE", f"{url}/attrs/flow", 204)
    await ask("POST", f"{url}/attrs", 204, json={"flow": 11})
    await ask("DELETE", "/entities", 204, type="Meter", drop="flow")
    found = await history(ask)
    assert values(found) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, NULL, 11, NULL]
    assert values(found, "level") == [1, NULL]


async def test_history_rows_far_in_time(ask: Any) -> None:
    for year in ("0001", "1969", "2038", "9999"):
        value = {"value": int(year), "observedAt": f"{year}-01-01T00:00:00Z"}
        await ask("POST", "/entityOperations/upsert", None, json=[{"id": meter(1), "type": "Meter", "flow": value}])
    assert values(await history(ask)) == [1, 1969, 2038, 9999]
    assert values(await history(ask, timerel="before", timeAt="1970-01-01T00:00:00Z")) == [1, 1969]
