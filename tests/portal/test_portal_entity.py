"""The page of one thing, its history, and what is read out of an entity."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from portal_demo_city import DemoCity
from test_portal_pages import BIKE, Reader

from sejong.kit.i18n import Translator
from sejong.portal.entity_view import read_entity

pytestmark = pytest.mark.anyio
_ = Translator({"en": {}})("ko")


async def test_a_bike_station_shows_its_values_with_unit_age_and_mark(browser: httpx.AsyncClient) -> None:
    words = Reader((await browser.get(BIKE)).text).words
    for expected in ("어울링 2번 나성동", "Eoulling 2 Naseong", "빌릴 수 있는 자전거", "3", "25초 전", "시뮬레이션 값"):
        assert expected in words
    assert any("curl" in text and BIKE.removeprefix("/e/") in text for text in words)


async def test_units_stand_behind_numbers(browser: httpx.AsyncClient) -> None:
    words = Reader((await browser.get("/e/urn:ngsi-ld:AirQualityObserved:demo:A1")).text).words
    assert "µg/m³" in words
    assert "0.031" in words
    assert "가상 시설" in words


async def test_relations_lead_both_ways(browser: httpx.AsyncClient) -> None:
    bus = Reader((await browser.get("/e/urn:ngsi-ld:Vehicle:demo:brt-B1-0")).text)
    assert "/e/urn:ngsi-ld:BusLine:demo:B1" in bus.links
    assert "간선급행버스 B1" in bus.words
    line = Reader((await browser.get("/e/urn:ngsi-ld:BusLine:demo:B1")).text)
    assert "/e/urn:ngsi-ld:Vehicle:demo:brt-B1-0" in line.links
    assert "이곳을 가리키는 것" in line.words


async def test_history_has_a_table_twin_and_ranges(browser: httpx.AsyncClient) -> None:
    day = Reader((await browser.get(BIKE)).text)
    assert "점 289개" in " ".join(day.words)
    hour = Reader((await browser.get(f"{BIKE}?range=1h")).text)
    assert "점 13개" in " ".join(hour.words)
    other = Reader((await browser.get(f"{BIKE}?attr=freeSlotNumber")).text)
    assert "지난 값: 빈 거치대" in other.words


async def test_htmx_gets_only_the_chart(browser: httpx.AsyncClient) -> None:
    part = await browser.get(f"{BIKE}?range=7d", headers={"hx-request": "true", "hx-target": "section#chart"})
    assert part.text.lstrip().startswith('<section class="card" id="chart"')


async def test_history_downloads_exactly_what_the_chart_shows(browser: httpx.AsyncClient) -> None:
    answer = await browser.get(f"{BIKE}/history.csv?attr=availableBikeNumber&range=1h")
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert rows[0] == ["observedAt", "availableBikeNumber"]
    assert len(rows) == 14
    assert rows[-1] == ["2026-11-22T09:00:00+00:00", "3"]
    body = (await browser.get(f"{BIKE}/history.json?attr=availableBikeNumber&range=1h")).json()
    assert body["id"] == BIKE.removeprefix("/e/")
    assert len(body["values"]) == 13


async def test_a_thing_nobody_measures_offers_no_values_and_no_chart(browser: httpx.AsyncClient) -> None:
    stop = "/e/urn:ngsi-ld:TransportStation:demo:S1"
    words = Reader((await browser.get(stop)).text).words
    assert "지금 값" not in words
    assert "지난 값" not in words
    assert (await browser.get(f"{stop}/history.csv")).status_code == 400


async def test_a_device_that_has_not_spoken_yet_says_so(browser: httpx.AsyncClient, demo: DemoCity) -> None:
    demo.add({"id": "urn:ngsi-ld:WeatherObserved:demo:new", "type": "WeatherObserved"})
    words = Reader((await browser.get("/e/urn:ngsi-ld:WeatherObserved:demo:new")).text).words
    assert "아직 들어온 측정값이 없습니다" in words
    assert "숫자로 측정되는 값이 없어 그래프가 없습니다." in words


async def test_a_made_up_value_of_a_real_thing_is_marked(browser: httpx.AsyncClient, demo: DemoCity) -> None:
    lot = demo.entities["urn:ngsi-ld:OffStreetParking:demo:P2"]
    assert "가상 값" not in (await browser.get("/e/urn:ngsi-ld:OffStreetParking:demo:P2")).text
    lot["totalSpotNumber"]["synthetic"] = {"type": "Property", "value": True}
    assert "가상 값" in (await browser.get("/e/urn:ngsi-ld:OffStreetParking:demo:P2")).text


async def test_ids_with_slashes_and_spaces_have_pages(browser: httpx.AsyncClient, demo: DemoCity) -> None:
    entity_id = "urn:ngsi-ld:PointOfInterest:demo:a/b c%?#d"
    demo.add({"id": entity_id, "type": "PointOfInterest"})
    found = Reader((await browser.get("/find?q=a/b c")).text)
    link = next(link for link in found.links if link.startswith("/e/"))
    page = await browser.get(link)
    assert page.status_code == 200
    assert entity_id in Reader(page.text).words


def entity(**attributes: Any) -> dict[str, Any]:
    return {"id": "urn:x", "type": ["Odd", "Other"], "createdAt": "2026-01-02T03:04:05.5Z", **attributes}


def test_an_entity_is_read_whatever_it_holds() -> None:
    thing = read_entity(
        entity(
            name={"type": "Property", "value": "이름"},
            many=[
                {"type": "Property", "value": 1, "observedAt": "2026-01-01T00:00:00Z"},
                {"type": "Property", "value": 2, "observedAt": "2026-01-01T00:00:00Z", "datasetId": "urn:d:2"},
            ],
            vocab={"type": "VocabProperty", "vocab": ["a", "b"]},
            json={"type": "JsonProperty", "json": {"k": [1, {"deep": True}]}},
            listed={"type": "ListProperty", "valueList": [1, 2.5, None]},
            when={"type": "Property", "value": {"@type": "DateTime", "@value": "2026-05-05T00:00:00Z"}},
            flag={"type": "Property", "value": True},
            nothing={"type": "Property", "value": None},
            to={"type": "Relationship", "object": ["urn:a", "urn:b"]},
            tos={"type": "ListRelationship", "objectList": [{"object": "urn:c"}, "urn:d"]},
            odd="not an attribute at all",
            bad_time={"type": "Property", "value": 3, "observedAt": "yesterday"},
        ),
        _,
    )
    assert (thing.type, thing.name) == ("Odd", "이름")
    assert [(v.name, v.raw, v.dataset) for v in thing.live] == [("many", 1, ""), ("many", 2, "urn:d:2")]
    assert [v.raw for v in thing.charted] == [1]
    texts = {value.name: value.text for value in thing.facts}
    assert texts["listed"] == "1, 2.5, –"
    assert texts["when"] == "2026-05-05T00:00:00Z"
    assert texts["flag"] == "예"
    assert texts["nothing"] == "–"
    assert texts["vocab"] == "a, b"
    assert [link.targets for link in thing.links] == [("urn:a", "urn:b"), ("urn:c", "urn:d")]
    assert thing.created_at == datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)


def test_a_name_falls_back_to_another_language_and_then_to_the_id() -> None:
    names = {"type": "LanguageProperty", "languageMap": {"en": "Only English"}}
    assert read_entity(entity(name=names), _).name == "Only English"
    assert read_entity(entity(), _).name == "urn:x"


def test_a_share_is_shown_in_percent_and_charted_so() -> None:
    humidity = {"type": "Property", "value": 0.534, "observedAt": "2026-01-01T00:00:00Z"}
    value = read_entity(entity(relativeHumidity=humidity), _).live[0]
    assert (value.text, value.unit, value.raw) == ("53", "%", 0.534)
    assert value.shown == pytest.approx(53.4)


def test_marks_are_read_only_where_they_are_true() -> None:
    mark = {"type": "Property", "value": True}
    told = {"type": "Property", "value": 1, "observedAt": "2026-01-01T00:00:00Z", "simulated": mark}
    plain = {"type": "Property", "value": 1, "observedAt": "2026-01-01T00:00:00Z", "simulated": {"value": "true"}}
    assert read_entity(entity(synthetic=mark, a=told), _).simulated
    assert read_entity(entity(synthetic=mark), _).synthetic
    assert not read_entity(entity(a=plain), _).simulated
