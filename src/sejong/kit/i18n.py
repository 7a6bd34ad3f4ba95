"""Languages. Korean is the source language of the house; every other language is a `locale/<code>.po`.

`_ = translator("en"); _("대여소 {n}곳", n=3)`. A sentence without a translation is shown in Korean and
counted in `missing`, so that tests can demand that none is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources.abc import Traversable
from io import BytesIO
from typing import Protocol

from babel.messages.pofile import read_po

SOURCE_LANGUAGE = "ko"
LANGUAGES = ("ko", "en")


class Translate(Protocol):
    """Says a Korean sentence in a person's language; `{name}` places are filled from the values."""

    language: str

    def __call__(self, sentence: str, /, **values: object) -> str: ...


class Translator:
    """All sentences of all services in all languages."""

    def __init__(self, catalogues: Mapping[str, Mapping[str, str]]) -> None:
        self._catalogues = catalogues
        self.missing: set[tuple[str, str]] = set()

    @classmethod
    def from_folders(cls, folders: Iterable[Traversable]) -> Translator:
        """Read `locale/*.po` of each folder; a sentence two services share must mean the same in both."""
        catalogues: dict[str, dict[str, str]] = {code: {} for code in LANGUAGES if code != SOURCE_LANGUAGE}
        for folder in folders:
            for code, sentences in catalogues.items():
                file = folder / "locale" / f"{code}.po"
                if file.is_file():
                    sentences.update(read_catalogue(file.read_bytes()))
        return cls(catalogues)

    def __call__(self, language: str) -> Translate:
        """The voice for one language; an unknown language speaks Korean."""
        return _Voice(self, language, self._catalogues.get(language))

    def says(self, language: str, sentence: str) -> str:
        """The bare sentence in a language."""
        return self(language)(sentence)


class _Voice:
    def __init__(self, translator: Translator, language: str, sentences: Mapping[str, str] | None) -> None:
        self.language = language
        self._translator = translator
        self._sentences = sentences

    def __call__(self, sentence: str, /, **values: object) -> str:
        said = sentence
        if self._sentences is not None:
            found = self._sentences.get(sentence)
            if found:
                said = found
            else:
                self._translator.missing.add((self.language, sentence))
        return said.format(**values) if values else said


@lru_cache(maxsize=50)
def read_catalogue(raw: bytes) -> dict[str, str]:
    """The translated sentences of a `.po` file; fuzzy ones count as missing."""
    catalogue = read_po(BytesIO(raw))
    return {
        str(message.id): str(message.string)
        for message in catalogue
        if message.id and message.string and not message.fuzzy and isinstance(message.id, str)
    }


_RANGE = re.compile(r"^\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9]{1,8})*\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?))?\s*$")


def preferred(accept_language: str | None, default: str = SOURCE_LANGUAGE) -> str:
    """The best of our languages for an `Accept-Language` header. Source: RFC 9110 §12.5.4.

    >>> preferred("fr, en-GB;q=0.8, ko;q=0.5")
    'en'
    """
    best, weight = default, 0.0
    for part in (accept_language or "").split(","):
        match = _RANGE.match(part)
        if not match:
            continue
        code, quality = match.group(1).lower(), float(match.group(2) or 1)
        if quality > weight and (code in LANGUAGES or code == "*"):
            best, weight = (default if code == "*" else code), quality
    return best
