"""Words: every sentence has its English, numbers and ages read as people write them, states follow their rules."""

from __future__ import annotations

import re
import string
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from babel.messages.pofile import read_po
from portal_sentences import HOME, sentences

from sejong.kit.i18n import Translator, read_catalogue
from sejong.portal import say
from sejong.portal.states import state_of
from sejong.portal.words import KINDS, LAYERS, SHAPES

PO = HOME / "locale" / "en.po"
_ko = Translator({"en": {}})("ko")
_en = Translator({"en": read_catalogue(PO.read_bytes())})("en")
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def test_every_sentence_has_its_english_and_none_is_stale() -> None:
    said, translated = set(sentences()), set(read_catalogue(PO.read_bytes()))
    assert said - translated == set(), "missing"
    assert translated - said == set(), "stale"


def test_nothing_is_fuzzy_and_places_agree() -> None:
    with PO.open("rb") as file:
        for message in read_po(file):
            if message.id:
                assert not message.fuzzy
                names = [
                    {name for _, name, _, _ in string.Formatter().parse(str(t)) if name}
                    for t in (message.id, message.string)
                ]
                assert names[0] == names[1], message.id
                assert not re.search("[가-힣]", str(message.string)), message.id


def test_the_sentence_finder_sees_templates_and_python() -> None:
    found = sentences()
    assert found["본문 바로가기"].startswith("templates/shell.html")
    assert found["자전거 대여소"].startswith("words.py")


def test_script_modules_say_nothing_of_their_own() -> None:
    for module in Path(HOME / "static").glob("*.js"):
        assert not re.search("[가-힣]", module.read_text()), f"{module.name} holds a Korean sentence"


@pytest.mark.parametrize(
    ("seconds", "ko", "en"),
    [
        (-5, "방금", "just now"),
        (9, "방금", "just now"),
        (10, "10초 전", "10 s ago"),
        (59, "59초 전", "59 s ago"),
        (60, "1분 전", "1 min ago"),
        (3599, "59분 전", "59 min ago"),
        (3600, "1시간 전", "1 h ago"),
        (86_400, "1일 전", "1 days ago"),
    ],
)
def test_ages(seconds: int, ko: str, en: str) -> None:
    then = NOW - timedelta(seconds=seconds)
    assert say.age_text(then, NOW, _ko) == ko
    assert say.age_text(then, NOW, _en) == en


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (1234567, None, "1,234,567"),
        (0.000123, None, "0.0001"),
        (99.95, None, "100"),
        (12.0, None, "12"),
        (3.14159, 2, "3.14"),
        (-0.5, None, "-0.5"),
        (1e20, None, "100,000,000,000,000,000,000"),
    ],
)
def test_numbers(value: float, decimals: int | None, text: str) -> None:
    assert say.plain_number(value, decimals) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("pm25", 12.6, "13"),
        ("pm25", float("nan"), "–"),
        ("powerState", "on", "켜짐"),
        ("powerState", "dancing", "dancing"),
        ("anything", None, "–"),
        ("anything", False, "아니요"),
        ("anything", ["free", 2, True], "비어 있음, 2, 예"),
        ("address", {"addressLocality": "세종", "postalCode": 30103, "geo": [1]}, "세종, 30103"),
        ("occupancy", 0.5, "50"),
    ],
)
def test_values(name: str, value: Any, text: str) -> None:
    assert say.value_text(name, value, _ko) == text


def test_units_come_from_the_reading_first() -> None:
    assert say.unit_text("speed", "MTS") == "m/s"
    assert say.unit_text("speed", None) == "km/h"
    assert say.unit_text("unheard-of", "XYZ") == "XYZ"
    assert say.unit_text("unheard-of", None) == ""


def test_the_day_is_said_when_it_is_not_today() -> None:
    seoul = timezone(timedelta(hours=9))
    assert say.clock_text(NOW, seoul, NOW) == "18:00:00"
    assert say.clock_text(NOW - timedelta(days=1), seoul, NOW) == "2026-11-21 18:00"


def test_distances() -> None:
    assert [say.distance_text(m) for m in (3, 994, 996, 1000, 15_240)] == [
        "0 m",
        "990 m",
        "1,000 m",
        "1.0 km",
        "15.2 km",
    ]


@pytest.mark.parametrize(
    ("type_", "facts", "state"),
    [
        ("BikeHireDockingStation", {"availableBikeNumber": 0}, 3),
        ("BikeHireDockingStation", {"availableBikeNumber": 3}, 2),
        ("BikeHireDockingStation", {"availableBikeNumber": 4}, 1),
        ("BikeHireDockingStation", {"availableBikeNumber": "4"}, 0),
        ("BikeHireDockingStation", {"availableBikeNumber": True}, 0),
        ("BikeHireDockingStation", {}, 0),
        ("OffStreetParking", {"availableSpotNumber": 0, "totalSpotNumber": 50}, 3),
        ("OffStreetParking", {"availableSpotNumber": 4, "totalSpotNumber": 50}, 2),
        ("OffStreetParking", {"availableSpotNumber": 5, "totalSpotNumber": 50}, 1),
        ("OffStreetParking", {"availableSpotNumber": 5, "totalSpotNumber": 0}, 1),
        ("ParkingSpot", {"status": "free"}, 1),
        ("ParkingSpot", {"status": "occupied"}, 3),
        ("AirQualityObserved", {"pm25": 15, "pm10": 30}, 1),
        ("AirQualityObserved", {"pm25": 15, "pm10": 81}, 3),
        ("AirQualityObserved", {"pm25": 76}, 4),
        ("AirQualityObserved", {"o3": 1}, 0),
        ("RoadSegment", {"averageVehicleSpeed": 14.9}, 3),
        ("RoadSegment", {"averageVehicleSpeed": 15}, 2),
        ("RoadSegment", {"averageVehicleSpeed": 25}, 1),
        ("Streetlight", {"powerState": "on"}, 1),
        ("Streetlight", {"powerState": "off"}, 5),
        ("Streetlight", {"powerState": "on", "status": "defectiveLamp"}, 3),
        ("WaterQualityObserved", {"pH": 6.4}, 3),
        ("WaterQualityObserved", {"pH": 8.5}, 1),
        ("NoiseLevelObserved", {"LAeq": 66}, 3),
        ("Vehicle", {"delay": 301}, 2),
        ("Vehicle", {}, 1),
        ("Vehicle", {"serviceStatus": "outOfService"}, 5),
        ("Dragon", {"wings": 2}, 0),
    ],
)
def test_states(type_: str, facts: dict[str, Any], state: int) -> None:
    assert state_of(type_, facts) == state


def test_every_shape_can_be_drawn() -> None:
    symbols = set(re.findall(r'<symbol id="([\w-]+)"', (HOME / "static/icons.svg").read_text()))
    assert {kind.shape for kind in KINDS} | {layer.shape for layer in LAYERS} | set(SHAPES) <= symbols
    drawn = re.search(r"const SHAPES = \[(.*?)\]", (HOME / "static/map.js").read_text())
    assert drawn
    assert re.findall(r'"(\w+)"', drawn.group(1)) == list(SHAPES)
