"""What a name, a URI, a scope and a language tag may look like.

Source: ETSI GS CIM 009 v1.9.1 clauses 4.6.2 (names), 4.18 (scopes), 4.6.5 (language tags); RFC 3986 and RFC 3987
(URIs, IRIs), RFC 5646 (tags). Invisible and direction-changing characters are refused in URIs although RFC 3987 lets
some through: an id that looks like another id would defeat every log and every audit.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from sejong.hub.ngsi.instants import is_instant

_NAME: Final = re.compile(r"[^\W\d_]\w*").fullmatch
_PREFIXED: Final = re.compile(r"[^\W\d_]\w*:[^\W\d_]\w*").fullmatch
_LEVEL = r"[^\W\d_]\w*"
_SCOPE: Final = re.compile(rf"/?{_LEVEL}(?:/{_LEVEL})*").fullmatch
_TAG: Final = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*").fullmatch
_ASCII_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+").fullmatch
_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_INVISIBLE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
_LOOKS_EMPTY: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def is_uri(text: object) -> bool:
    """True for an absolute URI (or IRI) that can identify something in the city: scheme, colon, visible characters."""
    if not isinstance(text, str):
        return False
    return _ASCII_URI(text) is not None if text.isascii() else _is_iri(text)


def _is_iri(text: str) -> bool:
    if _ASCII_URI(_BEYOND_ASCII.sub("x", text)) is None or not text.partition(":")[0].isascii():
        return False
    if _LOOKS_EMPTY.search(text) is not None:
        return False
    return all(unicodedata.category(char) not in _INVISIBLE_CATEGORIES for char in _BEYOND_ASCII.findall(text))


def is_name(text: str) -> bool:
    """True for a name of a type or attribute: a letter, then letters, digits and `_`; `prefix:name`; an IRI."""
    return _NAME(text) is not None or (":" in text and (_PREFIXED(text) is not None or is_uri(text)))


def is_scope(text: object) -> bool:
    """True for a scope such as `/Sejong/Nasung` or `Sejong`."""
    return isinstance(text, str) and _SCOPE(text) is not None


def is_language_tag(text: str) -> bool:
    """True for a key of a languageMap: a language tag such as `ko` or `en-GB`, or `@none`."""
    return text == "@none" or _TAG(text) is not None


known_instant: Final = lru_cache(maxsize=4096)(is_instant)
"""`is_instant` for text that repeats, as the observedAt of one batch does."""


def instant_key(instant: str) -> str:
    """A valid DateTime string in the fixed-width form that sorts in time order (27 characters, microseconds, Z)."""
    if len(instant) == 27 and instant[19] == ".":
        return instant
    return f"{instant[:19]}.{instant[20:-1][:6]:0<6}Z"
