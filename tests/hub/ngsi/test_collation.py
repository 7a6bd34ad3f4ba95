"""The order in which a reader expects names."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ngsi.collation import collation_key, key_function, parse_collation
from sejong.hub.ngsi.errors import BadRequestData


@pytest.mark.parametrize(
    "ordered",
    [
        ["", " ", "_", "-", "!", "(", "+", "$", "1", "2", "a", "A", "b", "B"],
        ["a", "A", "á", "Á", "ab", "áb", "b"],
        ["cote", "coté", "côte", "côté"],
        ["resume", "Resume", "résumé"],
        ["가", "가나", "각", "간", "나", "나성동", "다정동", "한솔동"],
        ["Zoo", "ω", "ж", "가", "あ", "ア", "中"],
        ["BRT 1", "BRT 10", "BRT 2"],
        ["Aerö", "Ærø", "Aes"],
        ["ss", "ß", "st"],
        ["l", "ł", "m"],
        ["Ａ1", "A2"],  # a full-width letter is a variant of the letter
        ["나성동", "나성동 1", "나성동2"],
    ],
)
def test_the_order(ordered: list[str]) -> None:
    backwards = ordered[::-1]
    assert sorted(backwards, key=collation_key) == ordered


@given(st.text(), st.text())
def test_composed_and_decomposed_text_are_one(left: str, right: str) -> None:
    for form in ("NFC", "NFD"):
        assert collation_key(unicodedata.normalize(form, left)) == collation_key(left)
    assert (collation_key(left) < collation_key(right)) or (collation_key(right) <= collation_key(left))


def test_strength() -> None:
    assert parse_collation(None) == parse_collation("und-x-icu") == parse_collation("ko") == 3
    assert [parse_collation(f"und-u-ks-{level}") for level in ("level1", "level2", "level3", "identic")] == [
        1,
        2,
        3,
        3,
    ]
    assert parse_collation("de-u-co-phonebk") == 3
    assert parse_collation("de-u-co-phonebk-ks-level1") == 1
    assert key_function(1)("É") == key_function(1)("e")
    assert key_function(2)("É") == key_function(2)("é")
    assert key_function(2)("É") != key_function(2)("e")


@pytest.mark.parametrize("text", ["", "invalid", "1", "und-", "und_KR", "und-u-ks-weak", "und x"])
def test_what_is_no_collation_is_refused(text: str) -> None:
    with pytest.raises(BadRequestData, match="collation"):
        parse_collation(text)
