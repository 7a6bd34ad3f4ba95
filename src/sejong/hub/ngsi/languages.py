"""Which language of a text a reader gets: the `lang` filter on LanguageProperties.

Source: ETSI GS CIM 009 v1.9.1 clause 4.15; RFC 4647 section 3.4 (lookup), RFC 9110 section 12.5.4 (quality weights).
Where lookup finds nothing, a range also takes a longer tag (`en` takes `en-US`), as the standard's own tests expect.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.fault import shown

_RANGE: Final = re.compile(
    r"\s*(\*|[A-Za-z]{1,8}(?:-(?:\*|[A-Za-z0-9]{1,8}))*)\s*(?:;\s*[qQ]\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*)?"
).fullmatch


class Languages(Struct, frozen=True):
    """A reader's wishes: language ranges in lower case, best first, and those they do not want at all."""

    wanted: tuple[str, ...]
    refused: frozenset[str] = frozenset()


@lru_cache(maxsize=256)
def parse_lang(text: str) -> Languages:
    """The wishes a `lang` parameter states, as `ko,en;q=0.5,*;q=0.1`. Raises BadRequestData for anything else."""
    weighted: list[tuple[float, str]] = []
    refused: set[str] = set()
    for part in text.split(","):
        found = _RANGE(part)
        if found is None:
            raise BadRequestData(detail=f"lang: {shown(part)} is not a language range such as ko, en-GB;q=0.5 or *")
        tag, weight = found[1].lower(), float(found[2] or 1)
        if weight > 0:
            weighted.append((weight, tag))
        else:
            refused.add(tag)
    weighted.sort(key=lambda pair: -pair[0])
    return Languages(tuple(tag for _, tag in weighted), frozenset(refused))


def choose(texts: dict[str, Any], languages: Languages) -> tuple[str, Any]:
    """The tag and the text (or texts) of a languageMap that suit the reader best; some text is always found."""
    tags = {tag.lower(): tag for tag in texts}
    for wish in languages.wanted:
        if wish == "*":
            break
        tag = _looked_up(wish, tags)
        if tag is not None:
            return tag, texts[tag]
    tag = _any(tags, languages.refused)
    return tag, texts[tag]


def _looked_up(wish: str, tags: dict[str, str]) -> str | None:
    shorter = wish
    while shorter:
        if shorter in tags:
            return tags[shorter]
        shorter = shorter.rpartition("-")[0]
        if shorter[-2:-1] == "-":
            shorter = shorter[:-2]
    return next((tag for low, tag in tags.items() if low.startswith(wish + "-")), None)


def _any(tags: dict[str, str], refused: frozenset[str]) -> str:
    if "@none" in tags:
        return "@none"
    return next((tag for low, tag in tags.items() if low not in refused), next(iter(tags.values())))
