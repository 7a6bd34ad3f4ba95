"""Putting names in the order a reader expects, in any script: a key like that of the Unicode root collation.

PostgreSQL here carries no ICU, so the order is made from Unicode's own tables: text is decomposed (NFKD),
and compared first by base characters (blanks < punctuation < symbols < currencies < digits < letters by
script: Latin, Greek, Cyrillic, ..., Hangul, Kana, Han), then by accents, then by case (small before
capital). Within a script letters follow their code points, which is the root order for modern Latin (with
the letters below) and Hangul, and near it elsewhere. Not modelled: contractions and tailorings of single
languages; a language in the collation parameter is accepted and answered with the root order, as ICU does
for languages without a tailoring. Source: Unicode Technical Standard 10; CLDR root collation; IETF RFC 6067
(the ``-u-ks-`` strength).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from sejong.hub.ngsi.errors import BadRequestData

CollationKey = tuple[str, str, str]

_PUNCTUATION: Final = "_-,;:!?.'\"()[]{}@*/\\&#%"
_SYMBOLS: Final = "`^+<=>|~"
_STROKED: Final = {"æ": "ae", "œ": "oe", "ø": "o", "ð": "d", "đ": "d", "ħ": "h", "ı": "i", "ł": "l", "ŧ": "t"}
_TAG: Final = re.compile(r"(?:[a-z]{2,3}|und)(?:-[a-z0-9]{1,8})*", re.IGNORECASE)
_STRENGTH: Final = re.compile(r"-u(?:-[a-z0-9]{2,8})*?-ks-([a-z0-9]+)", re.IGNORECASE)
_LEVELS: Final = {"level1": 1, "level2": 2, "level3": 3, "level4": 3, "identic": 3}


def parse_collation(text: str | None) -> int:
    """How many levels of difference count in a collation parameter: 1 letters, 2 and accents, 3 and case.

    Raises BadRequestData for anything but a language tag such as ``und``, ``ko`` or ``und-u-ks-level2``.
    """
    if text is None or text == "und-x-icu":
        return 3
    if _TAG.fullmatch(text) is None:
        raise BadRequestData(f"collation: {text!r} is not a language tag such as und or und-u-ks-level2")
    strength = _STRENGTH.search(text)
    if strength is None:
        return 3
    level = _LEVELS.get(strength.group(1).lower())
    if level is None:
        raise BadRequestData(f"collation: {strength.group(1)!r} is not a strength (level1, level2, level3, identic)")
    return level


def collation_key(text: str) -> CollationKey:
    """The text's place in the root order, as three strings to be compared one after the other.

    >>> sorted(["나성동", "Zoo", "apple", "각", "가나", "Äpfel", "10", "Apple"], key=collation_key)
    ['10', 'Äpfel', 'apple', 'Apple', 'Zoo', '가나', '각', '나성동']
    """
    weights = [_weigh(char) for char in unicodedata.normalize("NFKD", text)]
    first, second, third = zip(*weights, strict=True) if weights else ((), (), ())
    return "".join(first), "".join(second), "".join(third)


def key_function(levels: int) -> Callable[[str], tuple[str, ...]]:
    """collation_key cut to the levels that count."""
    return collation_key if levels == 3 else lambda text: collation_key(text)[:levels]


@lru_cache(maxsize=16_384)
def _weigh(char: str) -> CollationKey:
    """What one decomposed character adds on each level."""
    category = unicodedata.category(char)
    if category[0] == "M":
        return "", char, ""
    if category in ("Cc", "Cf") and not char.isspace():
        return "", "", ""
    if category[0] == "L":
        folded = char.casefold()
        base = _STROKED.get(folded, folded)
        accents = "\x01" * len(base) if base == folded else "\x01" * (len(base) - 1) + "\x01\u0338"
        case = "2" if char.isupper() else "0" if folded == char.lower() else "1"
        return "".join("5" + letter for letter in base), accents, case * len(base)
    return _group(char, category), "\x01", "0"


def _group(char: str, category: str) -> str:
    if category[0] == "N":
        return "4" + chr(0x30 + int(unicodedata.numeric(char, 0)) % 0x1000)
    if category == "Sc":
        return "3" + char
    if category[0] == "S" or char in _SYMBOLS:
        return "2" + _placed(char, _SYMBOLS)
    if category[0] == "P":
        return "1" + _placed(char, _PUNCTUATION)
    return "0" + char


def _placed(char: str, order: str) -> str:
    return chr(order.index(char) + 1) if char in order else char
