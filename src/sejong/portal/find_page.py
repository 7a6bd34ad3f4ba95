"""② 찾기: one search over everything in the record, as a list, a map, or a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sejong.kernel.errors import NotFound
from sejong.kernel.geo import BBox, haversine_m
from sejong.portal.asked import (
    LAST_PAGE,
    PAGE_SIZE,
    WrongAddress,
    bbox_asked,
    near_asked,
    page_asked,
    text_asked,
    types_asked,
)
from sejong.portal.city_view import Card, Found
from sejong.portal.face import Face
from sejong.portal.now_page import shown
from sejong.portal.pages import compressed
from sejong.portal.say import distance_text
from sejong.portal.words import KINDS

FILES = ("csv", "json")


class Search(msgspec.Struct, frozen=True):
    """What somebody looks for."""

    text: str
    types: Sequence[str]
    near: tuple[float, float] | None
    bbox: BBox | None
    page: int
    as_map: bool


def search_asked(request: Request) -> Search:
    """The search an address describes. Raises WrongAddress."""
    view = request.query_params.get("view", "list")
    if view not in {"list", "map"}:
        raise WrongAddress(name="view", value=view[:60])
    return Search(
        text_asked(request),
        types_asked(request),
        near_asked(request),
        bbox_asked(request),
        page_asked(request),
        view == "map",
    )


class FindPage:
    """Endpoints of `/find`."""

    def __init__(self, face: Face) -> None:
        self.face = face

    async def page(self, request: Request) -> Response:
        """The page, or only its results when htmx asks for them."""
        search = search_asked(request)
        found = await self._found(search)
        pages = min(LAST_PAGE, max(1, -(-found.total // PAGE_SIZE)))
        values: dict[str, Any] = {
            "search": search,
            "total": found.total,
            "pages": pages,
            "around": window(search.page, pages),
            "cards": [self._line(card, search) for card in found.items],
            "kinds_list": [kind for kind in KINDS if kind.type != "Device"],
            "points": points(found.items),
        }
        partial = request.headers.get("hx-target", "").endswith("#results")
        return self.face.pages.answer(request, "portal/_results.html" if partial else "portal/find.html", values)

    async def file(self, request: Request) -> Response:
        """The same page of results as CSV or JSON."""
        ending = request.path_params["ending"]
        if ending not in FILES:
            raise NotFound(what=request.url.path)
        found = await self._found(search_asked(request))
        body = as_csv(found.items) if ending == "csv" else msgspec.json.format(msgspec.json.encode(found), indent=1)
        return download(request, body, f"find.{ending}")

    async def _found(self, search: Search) -> Found:
        return await self.face.view.search(
            search.text or None, search.types, search.near, search.bbox, PAGE_SIZE, (search.page - 1) * PAGE_SIZE
        )

    def _line(self, card: Card, search: Search) -> dict[str, Any]:
        line = shown(card)
        if search.near and card.lon is not None and card.lat is not None:
            line["distance"] = distance_text(haversine_m(*search.near, card.lon, card.lat))
        return line


def window(page: int, pages: int) -> list[int]:
    """The page numbers to offer: the first, the last and those around; 0 stands for a gap.

    >>> window(6, 20)
    [1, 0, 5, 6, 7, 0, 20]
    """
    near = sorted({1, pages, *range(max(1, page - 1), min(pages, page + 1) + 1)})
    out: list[int] = []
    for number in near:
        if out and number - out[-1] > 1:
            out.append(number - 1 if number - out[-1] == 2 else 0)
        out.append(number)
    return out


def points(cards: Sequence[Card]) -> str:
    """The results with a place as what the map island reads."""
    placed = [
        [card.no, card.lon, card.lat, line["shape"], line["state"]]
        for card, line in ((card, shown(card)) for card in cards)
        if card.lon is not None and card.lat is not None
    ]
    return msgspec.json.encode(placed).decode()


def safe_cell(value: Any) -> Any:
    """A cell no spreadsheet takes for a formula. Source: OWASP CSV Injection."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


def csv_bytes(rows: Sequence[Sequence[Any]]) -> bytes:
    """Rows as CSV with the mark that makes Korean readable in spreadsheets. Source: RFC 4180."""
    out = io.StringIO()
    csv.writer(out).writerows([[safe_cell(cell) for cell in row] for row in rows])
    return "\ufeff".encode() + out.getvalue().encode()


def as_csv(cards: Sequence[Card]) -> bytes:
    """Search results as a table."""
    facts = sorted({name for card in cards for name in card.facts})
    head = ["id", "type", "name_ko", "name_en", "lon", "lat", "observed_at", "synthetic", "simulated", *facts]
    rows = [
        [
            *(card.id, card.type, card.name_ko, card.name_en, card.lon, card.lat),
            card.observed_at.isoformat() if card.observed_at else "",
            *(card.synthetic, card.simulated),
            *(card.facts.get(name, "") for name in facts),
        ]
        for card in cards
    ]
    return csv_bytes([head, *rows])


def download(request: Request, body: bytes, name: str) -> Response:
    """A file to keep."""
    media = "text/csv; charset=utf-8" if name.endswith(".csv") else "application/json"
    response = compressed(request, body, media)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
