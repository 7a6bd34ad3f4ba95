"""How a visitor wants to see the city: language, theme, letter size, motion. Kept in one cookie, no account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sejong.kit.i18n import LANGUAGES, preferred

COOKIE = "sejong_view"
ONE_YEAR_S = 31_536_000

CHOICES: dict[str, tuple[str, ...]] = {
    "lang": LANGUAGES,
    "theme": ("system", "light", "dark", "contrast"),
    "size": ("1", "2", "3", "4", "5"),
    "motion": ("system", "reduce"),
}
"""What may be chosen; the first of each (but `size`: 2) is what a newcomer gets."""


class Prefs(msgspec.Struct, frozen=True):
    """One visitor's choices; `lang` is empty until somebody chooses."""

    lang: str = ""
    theme: str = "system"
    size: str = "2"
    motion: str = "system"

    def changed(self, wanted: Mapping[str, Any]) -> Prefs:
        """These choices with the allowed ones of `wanted` instead; anything else is ignored."""
        allowed = {key: str(wanted[key]) for key in CHOICES if wanted.get(key) in CHOICES[key]}
        return msgspec.structs.replace(self, **allowed)

    def cookie(self) -> str:
        """The cookie's value."""
        return urlencode(msgspec.structs.asdict(self))


def read_prefs(request: Request, default_language: str = "ko") -> Prefs:
    """The visitor's choices: `?lang=` in the address, then the cookie, then `Accept-Language`."""
    kept = Prefs().changed(dict(parse_qsl(request.cookies.get(COOKIE, ""))))
    asked = request.query_params.get("lang")
    kept = kept.changed({"lang": asked})
    if kept.lang:
        return kept
    return msgspec.structs.replace(kept, lang=preferred(request.headers.get("accept-language"), default_language))


def keep_prefs(response: Response, prefs: Prefs, secure: bool) -> None:
    """Remember the choices for a year. Readable by our own script, which applies a theme without a reload."""
    response.set_cookie(COOKIE, prefs.cookie(), max_age=ONE_YEAR_S, path="/", samesite="lax", secure=secure)
