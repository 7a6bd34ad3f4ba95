"""Every page of the house: common frame, languages, safe headers, compression.

A service's own pages extend `portal/shell.html` by name and are answered with `Pages.answer`; the service gets
`Pages` from the city and imports nothing of the portal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import as_file
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import brotli
import msgspec
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import Response

from sejong.kernel.clock import Clock
from sejong.kernel.geo import BBox
from sejong.kit.i18n import Translate, Translator
from sejong.portal import say
from sejong.portal.assets import Assets
from sejong.portal.prefs import Prefs, keep_prefs, read_prefs
from sejong.portal.words import KIND, N_

CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; worker-src 'self' blob:; img-src 'self' data: blob:; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SAFE_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(self), camera=(), microphone=()",
}
PRIVATE = {"Cache-Control": "private, no-store"}
"""For pages about one person, a place of theirs, or a vote."""


class CityFace(Protocol):
    """What a page must know of the city pack; `sejong.citypack` answers it."""

    @property
    def name_ko(self) -> str: ...

    @property
    def name_en(self) -> str: ...

    @property
    def centre(self) -> tuple[float, float]: ...

    @property
    def bbox(self) -> BBox: ...

    @property
    def timezone(self) -> str: ...


class NavItem(msgspec.Struct, frozen=True):
    """One place of the top bar (desktop) and bottom bar (phone)."""

    path: str
    label: str
    icon: str


NAV: tuple[NavItem, ...] = (
    NavItem("/", N_("지금"), "now"),
    NavItem("/find", N_("찾기"), "search"),
    NavItem("/ops/data", N_("운영"), "pulse"),
    NavItem("/about", N_("안내"), "info"),
)

DATA = NavItem("/data", N_("데이터"), "list")
"""Stands before the operators' place in cities that keep a catalogue."""


class Pages:
    """Renders templates of all services for one visitor at a time."""

    def __init__(
        self,
        *,
        templates: Mapping[str, Path],
        assets: Assets,
        translator: Translator,
        clock: Clock,
        city: CityFace,
        nav: Sequence[NavItem] = NAV,
        language: str = "ko",
        public_url: str = "",
    ) -> None:
        self.assets, self.translator, self.clock, self.city = assets, translator, clock, city
        self.nav, self.language, self.public_url = nav, language, public_url.rstrip("/")
        self.zone = ZoneInfo(city.timezone)
        loaders = {name: FileSystemLoader(folder) for name, folder in templates.items()}
        self._templates = Environment(
            loader=ChoiceLoader([PrefixLoader(loaders)]),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals.update(asset=assets.url, asset_folder=assets.folder_url)

    def visitor(self, request: Request) -> Visitor:
        """Who looks: their choices, their language, their moment."""
        return Visitor(self, request)

    def answer(
        self,
        request: Request,
        template: str,
        values: Mapping[str, Any] | None = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        visitor: Visitor | None = None,
    ) -> Response:
        """A page or a fragment of it, in the visitor's language, with the headers every page has."""
        who = visitor or self.visitor(request)
        text = self.text(template, values or {}, who)
        response = compressed(request, text.encode(), "text/html; charset=utf-8", status)
        response.headers.update({"Cache-Control": "private, no-cache", "Content-Language": who.lang, **SAFE_HEADERS})
        response.headers.update(headers or {})
        response.headers.append("Vary", "Accept-Language, Cookie, HX-Request")
        if request.query_params.get("lang") == who.lang:
            keep_prefs(response, who.prefs, secure=request.url.scheme == "https")
        return response

    def text(self, template: str, values: Mapping[str, Any], who: Visitor) -> str:
        """The bare HTML, for a page or for a live update."""
        return self._templates.get_template(template).render({**who.words(), **values})


class Visitor:
    """One look at the city: what templates need besides their own values."""

    def __init__(self, pages: Pages, request: Request) -> None:
        self.pages, self.request = pages, request
        self.prefs: Prefs = read_prefs(request, pages.language)
        self.lang = self.prefs.lang
        self.say: Translate = pages.translator(self.lang)
        self.now: datetime = pages.clock.now()

    @property
    def base_url(self) -> str:
        """The address other programs reach this city under."""
        return self.pages.public_url or str(self.request.base_url).rstrip("/")

    def with_query(self, **changes: Any) -> str:
        """This page's address with some query parameters changed; None removes one."""
        kept = [(k, v) for k, v in self.request.query_params.multi_items() if k not in changes]
        kept += [(k, str(v)) for k, v in changes.items() if v is not None]
        return f"{self.request.url.path}?{urlencode(kept)}" if kept else self.request.url.path

    def words(self) -> dict[str, Any]:
        """The names every template may use."""
        _, now, zone = self.say, self.now, self.pages.zone
        city = self.pages.city
        return {
            "_": _,
            "lang": self.lang,
            "prefs": self.prefs,
            "now": now,
            "nav": self.pages.nav,
            "path": self.request.url.path,
            "with_query": self.with_query,
            "base_url": self.base_url,
            "city_name": city.name_ko if self.lang == "ko" else city.name_en,
            "city": city,
            "kinds": KIND,
            "age_words": [_(words) for words in say.AGE_WORDS],
            "age": lambda then: say.age_text(then, now, _),
            "at": lambda then: say.clock_text(then, zone, now),
            "iso": lambda then: then.isoformat(timespec="milliseconds"),
            "type_label": lambda name: say.type_label(name, _),
            "attribute_label": lambda name: say.attribute_label(name, _),
            "value_text": lambda name, value: say.value_text(name, value, _),
            "fact_text": lambda name, value, total=None: say.fact_text(name, value, total, _),
            "number": say.plain_number,
            "name_of": self.name_of,
            "thing_path": thing_path,
        }

    def name_of(self, thing: Any) -> str:
        """A card's or device's name in the visitor's language, else its other name, else its id.

        Registers write `_` where people write a space.
        """
        names = (thing.name_ko, thing.name_en) if self.lang == "ko" else (thing.name_en, thing.name_ko)
        return (names[0] or names[1] or thing.id).replace("_", " ")


def thing_path(entity_id: str) -> str:
    """The page of one thing."""
    return f"/e/{quote(entity_id, safe=':')}"


def compressed(request: Request, body: bytes, media_type: str, status: int = 200) -> Response:
    """An answer, brotli-compressed when the browser accepts it and it is worth it."""
    headers = {"Vary": "Accept-Encoding"}
    if len(body) > 600 and "br" in request.headers.get("accept-encoding", ""):
        body = brotli.compress(body, quality=5)
        headers["Content-Encoding"] = "br"
    return Response(body, status, headers, media_type)


def template_folders(services: Mapping[str, Traversable]) -> dict[str, Path]:
    """Each service's `templates/`, by the service's name."""
    folders: dict[str, Path] = {}
    for name, home in services.items():
        with as_file(home / "templates") as folder:
            if folder.is_dir():
                folders[name] = folder
    return folders
