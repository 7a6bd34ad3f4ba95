"""What the launcher says, in the language of the person at the terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

Language = Literal["ko", "en"]
Text = tuple[str, str]
"""One sentence twice: Korean, English."""


def language_of(environment: Mapping[str, str] = os.environ) -> Language:
    """The language of the terminal: `SEJONG_LANGUAGE` if set, else what LC_ALL, LC_MESSAGES or LANG say.

    >>> language_of({"LANG": "ko_KR.UTF-8"}), language_of({"LANG": "C.UTF-8"})
    ('ko', 'en')
    """
    for name in ("SEJONG_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environment.get(name):
            return "ko" if value.lower().startswith("ko") else "en"
    return "en"


def chosen(text: Text, language: Language) -> str:
    """The sentence in this language."""
    return text[0 if language == "ko" else 1]
