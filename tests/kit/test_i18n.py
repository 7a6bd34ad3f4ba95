"""Korean is the source; every other language is a catalogue, and a sentence missing there is noticed, not lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.kit.i18n import LANGUAGES, Translator, preferred, read_catalogue

PO = """
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"

#: src/sejong/portal/now_page.py:12
msgid "대여소 {n}곳"
msgstr "{n} stations"

msgid "지금"
msgstr "Now"

#, fuzzy
msgid "어림"
msgstr "A guess"

msgid "아직"
msgstr ""

msgid "{b}에서 {a}까지"
msgstr "from {b} to {a}"

msgid "100% {세종}"
msgstr "100% {Sejong}"
"""


@pytest.fixture
def translator() -> Translator:
    return Translator({"en": read_catalogue(PO.encode())})


def test_a_sentence_in_each_language(translator: Translator) -> None:
    assert translator("ko")("대여소 {n}곳", n=3) == "대여소 3곳"
    assert translator("en")("대여소 {n}곳", n=3) == "3 stations"
    assert translator.says("en", "지금") == "Now"
    assert not translator.missing


def test_values_find_their_own_place(translator: Translator) -> None:
    assert translator("en")("{b}에서 {a}까지", a="Osong", b="Naseong") == "from Naseong to Osong"
    assert translator("ko")("{b}에서 {a}까지", a="오송", b="나성") == "나성에서 오송까지"


@pytest.mark.parametrize("sentence", ["없는 말", "어림", "아직"], ids=["absent", "fuzzy", "empty"])
def test_what_is_not_translated_is_korean_and_noticed(translator: Translator, sentence: str) -> None:
    assert translator("en")(sentence) == sentence
    assert translator.missing == {("en", sentence)}


def test_korean_is_never_missing(translator: Translator) -> None:
    assert translator("ko")("아무 말") == "아무 말"
    assert not translator.missing


def test_an_unknown_language_speaks_korean(translator: Translator) -> None:
    voice = translator("fr")
    assert voice("지금") == "지금"
    assert voice.language == "fr"


def test_braces_are_only_text_where_nothing_is_filled_in(translator: Translator) -> None:
    assert translator("en")("100% {세종}") == "100% {Sejong}"


def test_catalogues_lie_beside_the_services(tmp_path: Path) -> None:
    for name, text in (("hub", "기록"), ("portal", "지금")):
        folder = tmp_path / name / "locale"
        folder.mkdir(parents=True)
        (folder / "en.po").write_text(f'msgid "{text}"\nmsgstr "{name}"\n', encoding="utf-8")
    (tmp_path / "silent").mkdir()
    made = Translator.from_folders(tmp_path / name for name in ("hub", "portal", "silent"))
    assert (made.says("en", "기록"), made.says("en", "지금")) == ("hub", "portal")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "ko"),
        ("", "ko"),
        ("en", "en"),
        ("en-GB", "en"),
        ("EN-us", "en"),
        ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "ko"),
        ("fr, en;q=0.8, ko;q=0.5", "en"),
        ("fr;q=1, de;q=0.9", "ko"),
        ("en;q=0", "ko"),
        ("*", "ko"),
        ("en;q=0.5, *;q=0.9", "ko"),
        ("ko;q=0.4,en;q=0.400", "ko"),
        ("en;q=2", "ko"),
        ("english", "ko"),
        (" en ; q=1.000 ", "en"),
        (";;;,,,q=", "ko"),
    ],
)
def test_the_best_of_our_languages_for_a_visitor(header: str | None, language: str) -> None:
    """Source: RFC 9110 sections 12.4.2 and 12.5.4."""
    assert preferred(header) == language


def test_the_citys_own_default_counts_when_a_visitor_states_none() -> None:
    assert preferred(None, "en") == preferred("fr", "en") == preferred("*", "en") == "en"


@given(st.text(max_size=60))
def test_any_header_gives_one_of_our_languages(header: str) -> None:
    assert preferred(header) in LANGUAGES
