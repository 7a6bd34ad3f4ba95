"""Korean names in Latin letters, for cities whose sources give Korean only.

Two steps. `romanise` writes a Hangul word by its sound: Revised Romanization of Korean (Ministry of Culture
and Tourism notice 2000-8), with the sound changes of its article 3-1 (assimilation, liaison, palatalisation,
ㅎ) and without tensing; aspiration across ㄱㄷㅂ + ㅎ is not written, as the notice asks for nouns.
`english_name` first takes off the endings that say what a place *is* and translates them (초등학교 →
Elementary School), then romanises the rest. Administrative and road endings are hyphenated without sound
change across the hyphen (article 3-5): 집현동 → Jiphyeon-dong.

Not done, because only a dictionary could: ㄴ-insertion (학여울), personal names, words split without a space.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_FIRST = 0xAC00
_LAST = 0xD7A3

_ONSETS = "g kk n d tt r m b pp s ss - j jj ch k t p h".split()  # noqa: SIM905 - read as one line
_VOWELS = "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i".split()  # noqa: SIM905
_CODAS = (
    "",
    *"ㄱ ㄲ ㄳ ㄴ ㄵ ㄶ ㄷ ㄹ ㄺ ㄻ ㄼ ㄽ ㄾ ㄿ ㅀ ㅁ ㅂ ㅄ ㅅ ㅆ ㅇ ㅈ ㅊ ㅋ ㅌ ㅍ ㅎ".split(),  # noqa: SIM905
)

_SILENT = 11
"""Index of ㅇ among the onsets: the syllable begins with its vowel."""

_N, _D, _R, _M, _S, _J, _H = 2, 3, 5, 6, 9, 12, 18
_I = 20
"""Index of the vowel ㅣ, before which ㄷ and ㅌ are palatalised."""

_CLOSED: dict[str, str] = {
    **dict.fromkeys("ㄱㄲㅋㄳㄺ", "k"),
    **dict.fromkeys("ㄴㄵㄶ", "n"),
    **dict.fromkeys("ㄷㅅㅆㅈㅊㅌㅎ", "t"),
    **dict.fromkeys("ㄹㄼㄽㄾㅀ", "l"),
    **dict.fromkeys("ㅁㄻ", "m"),
    **dict.fromkeys("ㅂㅍㅄㄿ", "p"),
    "ㅇ": "ng",
}
"""A closing consonant as it sounds when nothing is drawn over to the next syllable."""

_LINKED: dict[str, tuple[str, str]] = {
    "ㄱ": ("", "g"), "ㄲ": ("", "kk"), "ㄳ": ("k", "s"), "ㄴ": ("", "n"), "ㄵ": ("n", "j"), "ㄶ": ("", "n"),
    "ㄷ": ("", "d"), "ㄹ": ("", "r"), "ㄺ": ("l", "g"), "ㄻ": ("l", "m"), "ㄼ": ("l", "b"),
    "ㄽ": ("l", "s"), "ㄾ": ("l", "t"), "ㄿ": ("l", "p"), "ㅀ": ("", "r"), "ㅁ": ("", "m"), "ㅂ": ("", "b"),
    "ㅄ": ("p", "s"), "ㅅ": ("", "s"), "ㅆ": ("", "ss"), "ㅇ": ("ng", ""), "ㅈ": ("", "j"),
    "ㅊ": ("", "ch"), "ㅋ": ("", "k"), "ㅌ": ("", "t"), "ㅍ": ("", "p"), "ㅎ": ("", ""),
}  # fmt: skip
"""Before a vowel: what stays and what is drawn over."""

_NASAL = {"k": "ng", "t": "n", "p": "m"}
_ASPIRATED = {0: "k", _D: "t", _J: "ch"}


def romanise(text: str) -> str:
    """A Korean word as it sounds, lower case; anything that is not a Hangul syllable stays as it is.

    Source: Revised Romanization of Korean, Ministry of Culture and Tourism notice 2000-8, articles 2 and 3.

    >>> romanise("신라"), romanise("왕십리"), romanise("별내"), romanise("해돋이"), romanise("집현")
    ('silla', 'wangsimni', 'byeollae', 'haedoji', 'jiphyeon')
    """
    out: list[str] = []
    coda = ""
    for char in text:
        if not _FIRST <= ord(char) <= _LAST:
            out.append(_CLOSED.get(coda, "") + char)
            coda = ""
            continue
        onset, rest = divmod(ord(char) - _FIRST, 588)
        vowel, tail = divmod(rest, 28)
        out.append(_junction(coda, onset, vowel) + _VOWELS[vowel])
        coda = _CODAS[tail]
    out.append(_CLOSED.get(coda, ""))
    return "".join(out)


def _junction(coda: str, onset: int, vowel: int) -> str:
    """The consonants between two vowels: the last syllable's coda meeting this syllable's onset."""
    if not coda:
        return "" if onset == _SILENT else _ONSETS[onset]
    if onset == _SILENT:
        return _linked(coda, vowel)
    if coda in "ㅎㄶㅀ":
        return _after_h(coda, onset)
    closed = _CLOSED[coda]
    if closed == "l" and onset in (_N, _R):
        return "ll"
    if onset == _R:
        return "ll" if closed == "n" else _NASAL.get(closed, closed) + "n"
    if onset in (_N, _M):
        return _NASAL.get(closed, closed) + _ONSETS[onset]
    return closed + _ONSETS[onset]


def _linked(coda: str, vowel: int) -> str:
    stays, drawn = _LINKED[coda]
    if vowel == _I and coda in "ㄷㅌㄾ":
        drawn = "j" if coda == "ㄷ" else "ch"
    return stays + drawn


def _after_h(coda: str, onset: int) -> str:
    stays = {"ㅎ": "", "ㄶ": "n", "ㅀ": "l"}[coda]
    if onset in _ASPIRATED:
        return stays + _ASPIRATED[onset]
    if onset == _N:
        return "ll" if coda == "ㅀ" else "nn"
    if onset == _R:
        return "ll"
    return (stays or ("" if onset == _S else "t")) + ("ss" if onset == _S else _ONSETS[onset])


HYPHENED: dict[str, str] = {
    "특별자치시": "si", "광역시": "si", "동": "dong", "읍": "eup", "면": "myeon", "리": "ri",
    "대로": "daero", "로": "ro", "길": "gil",
}  # fmt: skip
"""Endings of areas and roads, written after a hyphen. Source: notice 2000-8 art. 3-5; road names act."""

ENDINGS: dict[str, str] = {
    "초등학교": "Elementary School", "중학교": "Middle School", "고등학교": "High School",
    "대학교": "University", "여자고등학교": "Girls' High School",
    "국제고등학교": "International High School", "학교": "School", "유치원": "Kindergarten",
    "어린이집": "Daycare Centre", "캠퍼스": "Campus", "도서관": "Library", "박물관": "Museum",
    "기록관": "Archives", "체육관": "Gymnasium", "수목원": "Arboretum", "문화원": "Cultural Centre",
    "캠핑장": "Campsite", "전망대": "Observatory", "관측센터": "Observation Centre",
    "옥상정원": "Rooftop Garden", "호수공원": "Lake Park", "자연공원": "Nature Park",
    "중앙공원": "Central Park", "근린공원": "Neighbourhood Park", "공원": "Park", "광장": "Square",
    "파크": "Park", "저수지": "Reservoir", "벚꽃길": "Cherry Blossom Road", "역": "Station",
    "고속시외버스터미널": "Express and Intercity Bus Terminal", "버스터미널": "Bus Terminal",
    "시외버스": "Intercity Bus", "터미널": "Terminal", "정류장": "Stop", "승강장": "Platform",
    "차고지": "Depot", "전통시장": "Traditional Market", "시장": "Market", "주차타워": "Parking Tower",
    "주차장": "Car Park", "공영주차장": "Public Car Park", "환승주차장": "Transfer Car Park",
    "노상": "On-street Parking", "시청": "City Hall", "교육청": "Office of Education",
    "시의회": "City Council", "세무서": "Tax Office", "국세청": "National Tax Service",
    "우체국": "Post Office", "경찰청": "Police Agency", "경찰서": "Police Station",
    "소방서": "Fire Station", "소방본부": "Fire Headquarters", "법원": "Court",
    "검찰청": "Prosecutors' Office", "보건소": "Public Health Centre", "보건지소": "Health Subcentre",
    "병원": "Hospital", "의원": "Clinic", "주민센터": "Community Centre",
    "복합커뮤니티센터": "Community Complex", "면사무소": "Township Office", "읍사무소": "Town Office",
    "행정복지센터": "Administrative Welfare Centre", "복지센터": "Welfare Centre",
    "청소년센터": "Youth Centre", "지원센터": "Support Centre", "센터": "Centre",
    "정부청사": "Government Complex", "청사": "Government Building", "연구원": "Research Institute",
    "연구소": "Research Institute", "연구단지": "Research Complex", "산업단지": "Industrial Complex",
    "농공단지": "Agro-industrial Complex", "단지": "Complex", "클러스터": "Cluster", "아파트": "Apartments",
    "마을회관": "Village Hall", "마을": "Village", "회관": "Hall", "경로당": "Senior Centre",
    "교회": "Church", "성당": "Catholic Church", "장례식장": "Funeral Hall", "농협": "Nonghyup",
    "은행": "Bank", "공장": "Factory", "발전소": "Power Plant", "휴게소": "Rest Area",
    "주유소": "Petrol Station", "보행교": "Footbridge", "사거리": "Intersection",
    "삼거리": "Three-way Junction", "오거리": "Five-way Junction", "교차로": "Intersection",
    "나들목": "Interchange", "육교": "Overpass", "지하차도": "Underpass", "터널": "Tunnel",
    "로터리": "Roundabout", "정문": "Main Gate", "후문": "Back Gate", "북문": "North Gate",
    "남문": "South Gate", "동문": "East Gate", "서문": "West Gate", "입구": "Entrance", "출구": "Exit",
    "북측": "North", "남측": "South", "동측": "East", "서측": "West", "지하": "Underground",
    "지상": "Ground Level", "방면": "Direction", "방향": "Direction", "빌딩": "Building", "프라자": "Plaza",
    "버스": "Bus", "커뮤니티": "Community", "공영": "Public", "교통": "Transport", "순환": "Loop",
    "승차대": "Stand", "옆": "(beside)", "앞": "(front)", "뒤": "(rear)", "건너편": "(opposite)",
    "맞은편": "(opposite)",
}  # fmt: skip
"""Endings that say what a place is, and their English."""

_COUNTERS = {"단지": "Complex", "생활권": "Living Zone", "공구": "Section", "호": "", "차": ""}
"""Words counted by the number before them: 7단지 → Complex 7."""

_LONGEST = 12
_TOKEN = re.compile(r"[가-힣]+|[^가-힣]+")
_SPACED = {".": ", ", ",": ", ", "·": ", ", "+": " + ", "~": " – ", "_": ", ", "/": " / "}
_ENDS_IN_DIGIT = re.compile(r"[0-9](?:[0-9,.~\-]*[0-9])?$")


def english_name(korean: str, glossary: Mapping[str, str] | None = None) -> str:
    """A readable English form of a Korean place name; `glossary` adds words of the city (어울링 → Eoulling).

    A text without Hangul comes back unchanged (but for doubled spaces), so the function may be applied twice.

    >>> english_name("종촌고등학교"), english_name("만남로6길"), english_name("보람동_세종시청 정문1")
    ('Jongchon High School', 'Mannam-ro 6-gil', 'Boram-dong, Sejong City Hall Main Gate 1')
    """
    words = glossary or {}
    pieces: list[str] = []
    for token in _TOKEN.findall(korean):
        if _is_hangul(token[0]):
            _add_hangul(pieces, token, words)
        else:
            _add_other(pieces, token)
    text = re.sub(r"\(\((\w+)\)\)", r"(\1)", "".join(pieces))
    text = re.sub(r"(?<=[\w)])\(", " (", text)
    return re.sub(r"\s+", " ", text).replace(" ,", ",").strip(" ,")


def _is_hangul(char: str) -> bool:
    return _FIRST <= ord(char) <= _LAST


def _add_other(pieces: list[str], token: str) -> None:
    """Latin letters, digits and signs: kept, but spaced the English way where they touch Korean words."""
    if not pieces:
        pieces.append(token)
        return
    text = _SPACED.get(token, token.replace("_", ", "))
    if text[0].isalnum():
        text = " " + text
    pieces.append(text)


def _add_hangul(pieces: list[str], token: str, glossary: Mapping[str, str]) -> None:
    before = pieces[-1] if pieces else ""
    numbered = _ENDS_IN_DIGIT.search(before)
    if numbered:
        for counter in sorted((*HYPHENED, *_COUNTERS), key=len, reverse=True):
            if token.startswith(counter):
                _count(pieces, numbered.start(), counter)
                token = token[len(counter) :]
                break
    if token:
        gap = " " if pieces and (pieces[-1][-1].isalnum() or pieces[-1][-1] == ")") else ""
        pieces.append(gap + " ".join(_words(token, glossary)))


def _count(pieces: list[str], start: int, counter: str) -> None:
    """`6` + 길 → `6-gil`; `7,8` + 단지 → `Complex 7,8`."""
    if counter in HYPHENED:
        pieces[-1] += "-" + HYPHENED[counter]
    else:
        head, number = pieces[-1][:start], pieces[-1][start:]
        pieces[-1] = f"{head}{_COUNTERS[counter]} {number}".replace("  ", " ")


def _words(token: str, glossary: Mapping[str, str]) -> list[str]:
    """One run of Hangul as English words: endings translated from the right, the stem romanised."""
    tail: list[str] = []
    while token:
        ending = _ending(token, glossary)
        if ending is None:
            break
        korean, english, hyphened = ending
        token = token[: -len(korean)]
        if hyphened:
            *head, last = _stem(token, glossary)
            return [*head, f"{last}-{english}", *tail]
        tail.insert(0, english)
    return [*_stem(token, glossary), *tail]


def _stem(token: str, glossary: Mapping[str, str]) -> list[str]:
    """What is left after the endings: leading words the city has names for, then the sound of the rest."""
    head: list[str] = []
    while token:
        size = next((n for n in range(min(len(token), _LONGEST), 0, -1) if token[:n] in glossary), 0)
        if not size:
            return [*head, romanise(token).capitalize()]
        head.append(glossary[token[:size]])
        token = token[size:]
    return head


def _ending(token: str, glossary: Mapping[str, str]) -> tuple[str, str, bool] | None:
    """The longest known ending; a one-syllable one needs a stem of two, so that 종로 stays a name."""
    for size in range(min(len(token), _LONGEST), 0, -1):
        end = token[-size:]
        if end in glossary:
            return end, glossary[end], False
        if size == 1 and len(token) < 3 and end not in "앞옆뒤":
            return None
        if end in ENDINGS:
            return end, ENDINGS[end], False
        if end in HYPHENED and len(token) > size:
            return end, HYPHENED[end], True
    return None
