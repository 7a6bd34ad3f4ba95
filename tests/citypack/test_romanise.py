"""Korean names in Latin letters, against official spellings and by their properties."""

from __future__ import annotations

import csv
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.citypack.api import CityPack, english_name, romanise

hangul = st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), max_size=12)
anything = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("동로길리역_(),.~ 12앞")), max_size=20)


@pytest.mark.parametrize(
    ("korean", "latin"),
    [
        # Examples of the notice itself (2000-8, articles 2 and 3).
        ("구미", "gumi"), ("영동", "yeongdong"), ("백암", "baegam"), ("옥천", "okcheon"), ("합덕", "hapdeok"),
        ("호법", "hobeop"), ("월곶", "wolgot"), ("벚꽃", "beotkkot"), ("한밭", "hanbat"), ("구리", "guri"),
        ("설악", "seorak"), ("칠곡", "chilgok"), ("임실", "imsil"), ("울릉", "ulleung"), ("대관령", "daegwallyeong"),
        ("백마", "baengma"), ("종로", "jongno"), ("왕십리", "wangsimni"), ("별내", "byeollae"), ("신라", "silla"),
        ("해돋이", "haedoji"), ("같이", "gachi"), ("좋고", "joko"), ("놓다", "nota"), ("잡혀", "japhyeo"),
        ("묵호", "mukho"), ("집현전", "jiphyeonjeon"), ("압구정", "apgujeong"), ("낙동강", "nakdonggang"),
        ("죽변", "jukbyeon"), ("팔당", "paldang"), ("샛별", "saetbyeol"), ("독립문", "dongnimmun"),
        # Clusters, ㅎ and silence.
        ("닭", "dak"), ("앉아", "anja"), ("않는", "anneun"), ("싫어", "sireo"), ("값이", "gapsi"),
        ("여덟", "yeodeol"), ("많소", "mansso"), ("", ""), ("B2 노선", "B2 noseon"),
    ],
)  # fmt: skip
def test_sound(korean: str, latin: str) -> None:
    assert romanise(korean) == latin


def test_every_legal_dong_is_spelt_as_the_state_spells_it(sejong_pack: CityPack) -> None:
    areas = [a for a in sejong_pack.boundaries() if a["category"]["value"] == "legalDong"]
    official = {a["name"]["languageMap"]["ko"]: a["name"]["languageMap"]["en"] for a in areas}
    assert len(official) == 33
    assert {korean: english_name(korean) for korean in official} == official


@pytest.mark.parametrize(
    ("korean", "english"),
    [
        ("종촌고등학교", "Jongchon High School"),
        ("새롬초등학교", "Saerom Elementary School"),
        ("오송역", "Osong Station"),
        ("한누리대로", "Hannuri-daero"),
        ("만남로6길", "Mannam-ro 6-gil"),
        ("보듬3로", "Bodeum 3-ro"),
        ("신안2리입구", "Sinan 2-ri Entrance"),
        ("가락마을7,8단지", "Garak Village Complex 7,8"),
        ("2생활권 환승주차장B", "Living Zone 2 Transfer Car Park B"),
        ("나성동1", "Naseong-dong 1"),
        ("보람동_시청 정문1", "Boram-dong, City Hall Main Gate 1"),
        ("다정동(장기로)", "Dajeong-dong (Janggi-ro)"),
        ("새롬중학교(건너편)", "Saerom Middle School (opposite)"),
        ("반석역~오송역", "Banseok Station – Osong Station"),
        ("한솔동_엠브릿지 앞", "Hansol-dong, Embeuritji (front)"),
        ("종로", "Jongno"),
        ("역", "Yeok"),
        ("MTB공원", "MTB Park"),
        ("", ""),
    ],
)
def test_names(korean: str, english: str) -> None:
    assert english_name(korean) == english


def test_the_city_s_own_words_come_first() -> None:
    words = {"어울링": "Eoulling", "원리": "Won-ri", "국립": "National"}
    assert english_name("어울링센터", words) == "Eoulling Centre"
    assert english_name("원리3", words) == "Won-ri 3"
    assert english_name("국립세종수목원", words) == "National Sejong Arboretum"


@given(hangul)
def test_hangul_becomes_plain_small_letters(korean: str) -> None:
    latin = romanise(korean)
    assert re.fullmatch("[a-z]*", latin)
    assert len(latin) >= len(korean)


@given(hangul, hangul)
def test_a_space_stops_every_sound_change(one: str, other: str) -> None:
    assert romanise(f"{one} {other}") == f"{romanise(one)} {romanise(other)}"


@given(anything)
def test_no_hangul_syllable_is_left_and_twice_is_once(text: str) -> None:
    english = english_name(text)
    assert not re.search("[가-힣]", english)
    assert english_name(english) == english


def test_different_sounds_stay_different() -> None:
    # 19 onsets × 21 vowels × (no coda or one of 7 sounds); 3,192 sounds, none written like another.
    assert len({romanise(chr(code)) for code in range(0xAC00, 0xD7A4)}) == 19 * 21 * 8


def test_no_name_of_the_sejong_pack_is_odd(sejong_pack: CityPack) -> None:
    words = sejong_pack.declared.glossary
    for file in ("bus_stops", "eoulling_stations", "public_parking", "attractions"):
        with (sejong_pack.folder / "data" / f"{file}.csv").open(encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                english = english_name(row["name"], words)
                assert english.split() == english.split(" "), english
                assert not re.search(r"[가-힣_]|\(\(| ,|\( ", english), english
