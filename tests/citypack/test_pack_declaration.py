"""city.toml is read strictly: every way to get it wrong says where and what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sejong.citypack.api import CityPack, open_pack
from sejong.citypack.domain import PackDeclarationWrong, PackNotFound

Town = Callable[..., CityPack]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "testville"', 'id = "Test Ville"', "$.id"),
        ('id = "testville"', "id = testville", "line 4"),
        ("seed = 7", "seed = 7\ncolour = 1", "colour"),
        ("seed = 7", 'seed = "7"', "$.seed"),
        ('en = "Testville" }', 'de = "Testdorf" }', "names.en"),
        ("bbox = [126.99, 35.99, 127.03, 36.03]", "bbox = [127.03, 35.99, 126.99, 36.03]", "bbox"),
        ("centre = [127.0056, 36.0045]", "centre = [36.0045, 127.0056]", "bbox"),
        ('rule = "draw"', 'rule = "guess"', "guess"),
        ("spacing_m = 100.0", "spacing_m = 0.0", "spacing_m"),
        ('arrangement = "opposite"', 'arrangement = "above"', "above"),
        ('kind = "Relationship", target = "RoadSegment"', 'kind = "Relationship"', "refRoadSegment"),
        ('column = "open", values', 'column = "open", template = "x", values', "status"),
        ('{ name = "category", value = "legalDong" }', '{ name = "category" }', "category"),
        ('columns = { lon = "lon", lat = "lat" }', 'columns = { x = "lon", y = "lat" }', "location"),
        ('columns = { ko = "name", en = "name_en" }', 'columns = { en = "name_en" }', "name"),
        ('cast = "datetime"', 'cast = "date"', "date"),
        ('kind = "LanguageProperty"', 'kind = "Langage"', "Langage"),
    ],
)
def test_a_fault_is_named(town: Town, old: str, new: str, said: str) -> None:
    with pytest.raises(PackDeclarationWrong) as fault:
        town(("city.toml", old, new))
    assert said in fault.value.message("en")
    assert said in fault.value.message("ko")
    assert "city.toml" in str(fault.value)


def test_a_pack_is_found_by_name_and_by_path(tmp_path: Path, testville: CityPack) -> None:
    assert open_pack(testville.folder).city == testville.city == open_pack("testville").city
    for name in ("atlantis", tmp_path, tmp_path / "none"):
        with pytest.raises(PackNotFound) as fault:
            open_pack(name)
        assert str(name) in fault.value.message("ko")
        assert fault.value.status == 404


def test_the_city_knows_itself(sejong_pack: CityPack) -> None:
    city = sejong_pack.city
    assert (city.id, city.name_ko, city.name_en, city.timezone) == (
        "sejong",
        "세종특별자치시",
        "Sejong",
        "Asia/Seoul",
    )
    assert city.bbox.contains(*city.centre)
