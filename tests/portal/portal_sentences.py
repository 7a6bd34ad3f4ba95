"""Every sentence the portal says, found in its templates and its Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from babel.messages.extract import extract
from jinja2.ext import babel_extract

import sejong.portal

HOME = Path(sejong.portal.__file__).parent
KEYWORDS = {"_": None, "N_": None}


def sentences() -> dict[str, str]:
    """Each sentence and one place where it is said."""
    found: dict[str, str] = {}
    for file, line, sentence in (*from_python(), *from_templates()):
        found.setdefault(sentence, f"{file.relative_to(HOME)}:{line}")
    return found


def from_python() -> Iterator[tuple[Path, int, str]]:
    for file in sorted(HOME.rglob("*.py")):
        with file.open("rb") as source:
            for line, message, _, _ in extract("python", source, keywords=KEYWORDS):
                yield file, line, str(message)


def from_templates() -> Iterator[tuple[Path, int, str]]:
    for file in sorted((HOME / "templates").glob("*.html")):
        with file.open("rb") as source:
            for line, _, message, _ in babel_extract(source, ["_"], (), {"silent": "false"}):
                said = message[0] if isinstance(message, tuple) else message
                if said:  # a sentence held in a variable stands in a table, marked with N_
                    yield file, line, said
