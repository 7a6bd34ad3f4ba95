"""What an address asks for, checked: a wrong parameter is said kindly, never guessed."""

from __future__ import annotations

from datetime import timedelta
from math import isfinite
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request

from sejong.kernel.errors import CityError, NotAllowed
from sejong.kernel.geo import BBox
from sejong.portal.words import KIND, LAYERS, N_

PAGE_SIZE = 20
LAST_PAGE = 500
LONGEST_TEXT = 100


class WrongAddress(CityError):
    """A parameter of the address is not what it must be."""

    status = 400
    ko = "주소의 '{name}' 값이 올바르지 않습니다: {value}"
    en = "The value of '{name}' in the address is not valid: {value}"


class Range(msgspec.Struct, frozen=True):
    """A span of history a visitor may choose."""

    key: str
    label: str
    span: timedelta


RANGES: dict[str, Range] = {
    "1h": Range("1h", N_("1시간"), timedelta(hours=1)),
    "24h": Range("24h", N_("24시간"), timedelta(hours=24)),
    "7d": Range("7d", N_("7일"), timedelta(days=7)),
}


def text_asked(request: Request, name: str = "q") -> str:
    """A search text: trimmed, one line, at most 100 letters."""
    return " ".join(request.query_params.get(name, "").replace("\0", " ").split())[:LONGEST_TEXT]


def numbers_asked(request: Request, name: str, count: int) -> list[float] | None:
    """`count` numbers parted by commas, or None when the parameter is absent or empty. Raises WrongAddress."""
    raw = request.query_params.get(name, "").strip()
    if not raw:
        return None
    try:
        numbers = [float(part) for part in raw.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(isfinite(number) for number in numbers):
        raise WrongAddress(name=name, value=raw[:60])
    return numbers


def near_asked(request: Request) -> tuple[float, float] | None:
    """`near=lon,lat`. Raises WrongAddress."""
    numbers = numbers_asked(request, "near", 2)
    if numbers is None:
        return None
    lon, lat = numbers
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise WrongAddress(name="near", value=request.query_params["near"][:60])
    return lon, lat


def bbox_asked(request: Request) -> BBox | None:
    """`bbox=west,south,east,north`. Raises WrongAddress."""
    numbers = numbers_asked(request, "bbox", 4)
    if numbers is None:
        return None
    west, south, east, north = numbers
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise WrongAddress(name="bbox", value=request.query_params["bbox"][:60])
    return BBox(west, south, east, north)


def page_asked(request: Request) -> int:
    """The page of a list, from 1. Raises WrongAddress."""
    raw = request.query_params.get("page", "1") or "1"
    if not (raw.isascii() and raw.isdigit() and 1 <= int(raw[:6]) <= LAST_PAGE):
        raise WrongAddress(name="page", value=raw[:60])
    return int(raw)


def types_asked(request: Request) -> list[str]:
    """`type=` once or more, also comma-separated; only types the portal has a word for. Raises WrongAddress."""
    names = [name for raw in request.query_params.getlist("type") for name in raw.split(",") if name]
    for name in names:
        if name not in KIND:
            raise WrongAddress(name="type", value=name[:60])
    return names


def layers_asked(request: Request) -> tuple[str, ...]:
    """The layers switched on: `layer=` once or more, the usual ones when none is given. Raises WrongAddress."""
    wanted = [name for name in request.query_params.getlist("layer") if name]
    known = {layer.key for layer in LAYERS}
    for name in wanted:
        if name != "none" and name not in known:
            raise WrongAddress(name="layer", value=name[:60])
    if not wanted:
        return tuple(layer.key for layer in LAYERS if layer.shown)
    return tuple(layer.key for layer in LAYERS if layer.key in wanted)


def range_asked(request: Request) -> Range:
    """The span of history; a day when nothing is said. Raises WrongAddress."""
    raw = request.query_params.get("range", "24h")
    if raw not in RANGES:
        raise WrongAddress(name="range", value=raw[:60])
    return RANGES[raw]


def require_own_form(request: Request) -> None:
    """A form must come from one of our own pages. Raises NotAllowed.

    Browsers say where a form came from by themselves; a foreign page cannot hide it. Source: WHATWG Fetch,
    Sec-Fetch-Site and Origin.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    foreign_site = site is not None and site not in {"same-origin", "none"}
    foreign_origin = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign_site or foreign_origin:
        raise NotAllowed(why="Origin")


def own_path(raw: str) -> str:
    """A path on this server to go back to; anything else becomes the start page."""
    safe = raw.startswith("/") and not raw.startswith(("//", "/\\")) and raw.isprintable() and "\\" not in raw
    return raw[:2000] if safe else "/"
