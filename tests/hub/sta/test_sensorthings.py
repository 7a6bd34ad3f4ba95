"""The SensorThings facade: entity = Thing, measured number = Datastream. Source: OGC 18-088 §8, §9.2, §9.3, §12."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as pace
from hypothesis import strategies as st

from sejong.hub.ngsi.entity import expand_entity
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.service import Hub
from sejong.hub.sta.fault import NotUnderstood
from sejong.hub.sta.options import Apply, Literal, Path, read_expand, read_filter
from sejong.kit.city import City

pytestmark = pytest.mark.anyio
ROOT = "/sta/v1.1"
HOURS = 5


async def fill(city: City) -> None:
    """Three air stations, two of them measured for five hours, and a school that measures nothing."""
    hub = city.part(Hub)
    context = await hub.context()
    start = city.clock.now() - timedelta(hours=HOURS)
    for hour in range(HOURS):
        at = format_instant(start + timedelta(hours=hour))
        for n in (1, 2):
            await tell(hub, context, station(n, at, 10.5 * n + hour, 20 * n + hour))
    await tell(
        hub, context, station(3), {"id": "urn:ngsi-ld:School:1", "type": "School", "name": "학교", "capacity": 300}
    )


async def tell(hub: Hub, context: Any, *entities: dict[str, Any]) -> None:
    for result in await hub.upsert(0, [expand_entity(one, context, now=hub.now()) for one in entities]):
        assert not isinstance(result, Exception), result


def station(n: int, at: str | None = None, pm25: float = 0, pm10: float = 0) -> dict[str, Any]:
    measured = {}
    if at:
        measured = {
            "pm25": {"type": "Property", "value": pm25, "unitCode": "GQ", "observedAt": at},
            "pm10": {"type": "Property", "value": pm10, "unitCode": "GQ", "observedAt": at},
        }
    return {
        "id": f"urn:ngsi-ld:AirQualityObserved:test:{n}",
        "type": "AirQualityObserved",
        "name": {"type": "LanguageProperty", "languageMap": {"ko": f"측정소 {n}", "en": f"Station {n}"}},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [127 + n / 10, 36.5]}},
        "source": "it's",
        **measured,
    }


class Sta:
    """A client of the facade."""

    def __init__(self, web: httpx.AsyncClient) -> None:
        self.web = web

    async def __call__(self, path: str, expect: int = 200, **options: str) -> Any:
        answer = await self.web.get(f"{ROOT}/{path}", params={f"${name}": text for name, text in options.items()})
        assert answer.status_code == expect, answer.text
        if expect >= 400:
            assert answer.json()["error"]["code"] == str(expect)
            assert answer.json()["error"]["message"]
        return answer.json()

    async def follow(self, link: str) -> Any:
        parts = urlsplit(link)
        answer = await self.web.get(f"{parts.path}?{parts.query}" if parts.query else parts.path)
        assert answer.status_code == 200, f"{link}: {answer.text}"
        return answer.json()

    async def names(self, path: str, **options: str) -> list[str]:
        return [one["name"] for one in (await self(path, **options))["value"]]


@pytest.fixture
async def sta(city: City, web: httpx.AsyncClient) -> Sta:
    await fill(city)
    return Sta(web)


async def test_the_root_names_every_set_and_every_link_leads_somewhere(sta: Sta) -> None:
    root = await sta("")
    assert {one["name"] for one in root["value"]} == {
        "Things", "Locations", "HistoricalLocations", "Datastreams", "Sensors", "ObservedProperties", "Observations",
        "FeaturesOfInterest"}  # fmt: skip
    assert root["serverSettings"]["conformance"]
    for one in root["value"]:
        found = await sta.follow(one["url"])
        for entity in found["value"][:3]:
            assert await sta.follow(entity["@iot.selfLink"]) == entity
            for key, link in entity.items():
                if key.endswith("@iot.navigationLink"):
                    linked = await sta.follow(link)
                    assert linked.get("value") is not None or "@iot.id" in linked


async def test_what_entities_say(sta: Sta) -> None:
    things = (await sta("Things", count="true", orderby="name"))["value"]
    assert len(things) == 4
    thing = next(one for one in things if one["name"] == "측정소 1")
    assert thing["properties"] == {
        "id": "urn:ngsi-ld:AirQualityObserved:test:1", "type": "AirQualityObserved", "source": "it's"}  # fmt: skip
    (location,) = (await sta.follow(thing["Locations@iot.navigationLink"]))["value"]
    assert (location["encodingType"], location["location"]["coordinates"]) == ("application/geo+json", [127.1, 36.5])
    streams = (await sta.follow(thing["Datastreams@iot.navigationLink"]))["value"]
    assert [one["name"] for one in streams] in (
        ["측정소 1: pm10", "측정소 1: pm25"],
        ["측정소 1: pm25", "측정소 1: pm10"],
    )
    stream = next(one for one in streams if one["name"].endswith("pm25"))
    assert stream["unitOfMeasurement"]["symbol"] == "µg/m³"
    assert stream["observationType"].endswith("OM_Measurement")
    assert (await sta.follow(stream["ObservedProperty@iot.navigationLink"]))["definition"].endswith("/pm25")
    observations = (await sta.follow(stream["Observations@iot.navigationLink"]))["value"]
    assert [one["result"] for one in observations] == [10.5, 11.5, 12.5, 13.5, 14.5]
    assert observations[0]["phenomenonTime"] == observations[0]["resultTime"]
    whole = next(one for one in streams if one["name"].endswith("pm10"))
    results = [one["result"] for one in (await sta.follow(whole["Observations@iot.navigationLink"]))["value"]]
    assert [(type(value), value) for value in results] == [(int, 20 + hour) for hour in range(HOURS)]


FILTERS: list[tuple[str, str, list[str]]] = [
    ("Things", "name eq '측정소 1'", ["측정소 1"]),
    ("Things", "startswith(name,'측정소') and not endswith(name,'3')", ["측정소 1", "측정소 2"]),
    ("Things", "substringof('소 2',name) or name eq '학교'", ["측정소 2", "학교"]),
    ("Things", "properties/id eq 'urn:ngsi-ld:School:1'", ["학교"]),
    ("Things", "Datastreams/ObservedProperty/name eq 'pm25'", ["측정소 1", "측정소 2"]),
    ("Things", "Datastreams/Observations/result gt 40", ["측정소 2"]),
    ("Things", "not (Datastreams/Observations/result gt 40)", ["측정소 1", "측정소 3", "학교"]),
    ("Things", "length(name) eq 2", ["학교"]),
    ("Things", "concat(tolower('A'),'b') eq 'ab' and name ne '학교'", ["측정소 1", "측정소 2", "측정소 3"]),
    ("Things", "name eq 'it''s' or 1 add 2 mul 3 eq 7 and name eq '학교'", ["학교"]),
    ("Things", "(1 add 2) mul 3 eq 9 and 7 mod 4 eq 3 and 8 div 2 eq 4 and name eq '학교'", ["학교"]),
    ("Things", "Locations/location ne null and name eq '측정소 3'", ["측정소 3"]),
    ("Things", "geo.distance(Locations/location,geography'POINT(127.1 36.5)') lt 100", ["측정소 1"]),
    ("Locations", "geo.distance(location,geography'POINT(127.1 36.5)') lt 10000", ["측정소 1", "측정소 2"]),
    ("Locations", "st_within(location,geography'POLYGON((127.15 36,127.35 36,127.35 37,127.15 37,127.15 36))')",
     ["측정소 2", "측정소 3"]),
    ("Datastreams", "Thing/name eq '측정소 2' and unitOfMeasurement/name eq 'GQ'",
     ["측정소 2: pm10", "측정소 2: pm25"]),
    ("ObservedProperties", "substringof('25',name)", ["pm25"]),
]  # fmt: skip


async def test_filters(city: City, sta: Sta) -> None:
    for path, text, expected in FILTERS:
        assert sorted(await sta.names(path, filter=text)) == expected, text
        assert (await sta(path, filter=text, count="true", top="0"))["@iot.count"] == len(expected)
    await sta("Observations", 400, filter="result mul 1e308 mul 10 gt 1")
    late = format_instant(city.clock.now() - timedelta(hours=2, minutes=30))
    for text, n in (
        (f"phenomenonTime ge {late}", 8),
        ("result gt 10 and result lt 12", 2),
        ("Datastream/Thing/name eq '측정소 2' and result mul 2 ge 50", 6),
        ("Datastream/ObservedProperty/name eq 'pm25'", 10),
        ("year(phenomenonTime) ge 2020 and resultTime le now()", 20),
        ("FeatureOfInterest/name eq '측정소 1'", 10),
    ):
        assert (await sta("Observations", filter=text, count="true"))["@iot.count"] == n, text


async def test_expanding_ordering_choosing_and_paging(sta: Sta) -> None:
    inner = "Datastreams($select=name;$orderby=name;$expand=Observations($top=2;$orderby=phenomenonTime desc),Sensor)"
    (thing,) = (await sta("Things", filter="name eq '측정소 1'", expand=f"{inner},Locations", select="name"))["value"]
    assert set(thing) == {"name", "Datastreams", "Locations"}
    first = thing["Datastreams"][0]
    assert set(first) == {"name", "Observations", "Observations@iot.nextLink", "Sensor"}
    assert [one["result"] for one in first["Observations"]] == [24, 23]
    more = await sta.follow(first["Observations@iot.nextLink"])
    assert [one["result"] for one in more["value"]] == [22, 21]
    (again,) = (await sta("Things", filter="name eq '측정소 1'", expand="Datastreams/ObservedProperty"))["value"]
    assert {one["ObservedProperty"]["name"] for one in again["Datastreams"]} == {"pm10", "pm25"}
    seen: list[str] = []
    page = await sta("Things", top="2", orderby="name desc")
    while True:
        seen += [one["name"] for one in page["value"]]
        if "@iot.nextLink" not in page:
            break
        page = await sta.follow(page["@iot.nextLink"])
    assert seen == ["학교", "측정소 3", "측정소 2", "측정소 1"]
    (observation,) = (await sta("Observations", top="1", orderby="result desc", expand="Datastream/Thing"))["value"]
    assert (observation["result"], observation["Datastream"]["Thing"]["name"]) == (44, "측정소 2")
    assert await sta.follow(observation["@iot.selfLink"])
    feature = await sta.follow(observation["FeatureOfInterest@iot.navigationLink"])
    assert feature["feature"]["coordinates"] == [127.2, 36.5]


async def test_properties_values_references_and_counts(sta: Sta) -> None:
    thing = (await sta("Things", filter="name eq '측정소 1'"))["value"][0]["@iot.id"]
    assert await sta(f"Things({thing})/name") == {"name": "측정소 1"}
    assert (await sta.web.get(f"{ROOT}/Things({thing})/name/$value")).text == "측정소 1"
    assert (await sta.web.get(f"{ROOT}/Things/$count")).text == "4"
    references = (await sta(f"Things({thing})/Datastreams/$ref"))["value"]
    assert [set(one) for one in references] == [{"@iot.selfLink"}] * 2
    assert (await sta(f"Things({thing})/HistoricalLocations"))["value"] == []


async def test_observations_as_a_table(sta: Sta) -> None:
    found = (await sta("Observations", resultFormat="dataArray", select="phenomenonTime,result"))["value"]
    assert sorted(group["dataArray@iot.count"] for group in found) == [5, 5, 5, 5]
    assert {tuple(group["components"]) for group in found} == {("phenomenonTime", "result")}
    assert sorted(row[1] for group in found for row in group["dataArray"])[:2] == [10.5, 11.5]


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        ("Nothings", {}, 404), ("Things(999999999)", {}, 404), ("Things(x)", {}, 404), ("Things(1)(2)", {}, 404),
        ("Things(99999999999999999999)", {}, 404), ("Observations('1-2')", {}, 404), ("Things/name", {}, 404),
        ("Observations('1-2-999999999999999999-4')", {}, 404), ("Observations('1-2-3-4')", {}, 404),
        ("Datastreams(9007199254740991)", {}, 404), ("Things", {"filter": "name eq"}, 400),
        ("Things", {"filter": "name eq 5"}, 400), ("Things", {"filter": "nonsense eq 5"}, 400),
        ("Things", {"filter": "name"}, 400), ("Things", {"filter": "((name eq 'a')"}, 400),
        ("Things", {"filter": "nofunction(name)"}, 400), ("Things", {"filter": "length(name,name) eq 1"}, 400),
        ("Things", {"filter": "name eq 'a' ; drop table hub.entity"}, 400), ("Things", {"filter": "\x00"}, 400),
        ("Things", {"filter": "(" * 50 + "true" + ")" * 50}, 400), ("Things", {"orderby": "Datastreams/name"}, 400),
        ("Things", {"expand": "Nothing"}, 400), ("Things", {"expand": "Datastreams("}, 400),
        ("Things", {"top": "-1"}, 400),
        ("Things", {"select": "nothing"}, 400), ("Things", {"search": "x"}, 400), ("Things", {"count": "maybe"}, 400),
        ("Things", {"resultFormat": "CSV"}, 400), ("Things", {"resultFormat": "dataArray"}, 400),
        ("Locations", {"filter": "geo.distance(location,geography'LINE(1 2)') lt 1"}, 400),
        ("Locations", {"filter": "st_within(location,geography'POLYGON((1 2,3))')"}, 400),
        ("Observations", {"filter": "phenomenonTime gt 2026-99-99T00:00:00Z"}, 400),
    ],
)  # fmt: skip
async def test_what_is_not_understood(web: httpx.AsyncClient, path: str, options: dict[str, str], status: int) -> None:
    await Sta(web)(path, status, **options)


async def test_it_is_for_reading(web: httpx.AsyncClient) -> None:
    for method in ("POST", "PATCH", "DELETE", "PUT"):
        answer = await web.request(method, f"{ROOT}/Things", content=b"{}")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@given(st.text(alphabet="()'$,;/ abeqgtnor019.:-_", max_size=40))
@pace(max_examples=100)
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_filter, lambda it: read_expand(it, 0)):
        try:
            read(text)
        except NotUnderstood:
            pass


def test_precedence() -> None:
    assert read_filter("a eq 1 or b eq 2 and not c eq 3") == Apply(
        "or",
        (
            Apply("eq", (Path(("a",)), Literal("num", 1.0))),
            Apply(
                "and",
                (
                    Apply("eq", (Path(("b",)), Literal("num", 2.0))),
                    Apply("not", (Apply("eq", (Path(("c",)), Literal("num", 3.0))),)),
                ),
            ),
        ),
    )
