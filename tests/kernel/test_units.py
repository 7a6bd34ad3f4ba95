"""Every unit a number in the city can carry is readable in Korean and English."""

from __future__ import annotations

import pytest

from sejong.citypack.api import open_pack
from sejong.hub.ingest.formats import SENML_UNITS
from sejong.kernel import units
from sejong.kernel.units import UNITS, symbol


def test_no_code_is_listed_twice() -> None:
    assert len(units._TABLE) == len(UNITS)


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_every_unit_has_words_in_both_languages(unit: units.Unit) -> None:
    assert unit.ko.strip()
    assert unit.en.strip()
    assert unit.ko != unit.en
    assert not any("가" <= letter <= "힣" for letter in unit.en)


@pytest.mark.parametrize(
    ("code", "shown"),
    [("GQ", "µg/m³"), ("KMH", "km/h"), ("CEL", "°C"), ("G42", "µS/cm"), ("E32", "L/h"), ("A97", "hPa"), ("C62", "")],
)
def test_symbols_people_read(code: str, shown: str) -> None:
    assert symbol(code) == shown


def test_an_unknown_code_is_shown_as_it_is_and_none_as_nothing() -> None:
    assert symbol("XYZ") == "XYZ"
    assert symbol(None) == symbol("") == ""


def test_codes_that_mean_something_else_are_not_used() -> None:
    """B21 is kelvin per watt and HPA a hectolitre of pure alcohol. Source: UN/CEFACT Recommendation 20."""
    assert not {"B21", "HPA"} & UNITS.keys()


def test_every_unit_the_doors_understand_is_known() -> None:
    assert set(SENML_UNITS.values()) <= UNITS.keys()


def unit_codes(part: object) -> set[str]:
    """All unit codes anywhere in a document."""
    if isinstance(part, list):
        return set().union(*map(unit_codes, part))
    if isinstance(part, dict):
        own = {part["unitCode"]} if "unitCode" in part else set()
        return own.union(*map(unit_codes, part.values()))
    return set()


def test_every_unit_of_a_city_pack_is_known() -> None:
    found = unit_codes(list(open_pack("testville").entities()))
    assert found
    assert found <= UNITS.keys()
