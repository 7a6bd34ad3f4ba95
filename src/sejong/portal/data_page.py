"""`/data`: the catalogue of data sets, and one page for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sejong.hub.api import THEMES, DataSet, Listed, allow, looked_for
from sejong.kernel.errors import CityError, NotAuthenticated
from sejong.portal.asked import RANGES, WrongAddress, range_asked, text_asked
from sejong.portal.builders import Builders
from sejong.portal.city_view import Card
from sejong.portal.entity_page import TABLE_ROWS, chart_data, temporal_url
from sejong.portal.face import Face
from sejong.portal.find_page import points
from sejong.portal.pages import Visitor
from sejong.portal.say import unit_text

PREVIEW = 10
ON_MAP = 400
"""Things drawn on the map of a data set. Chosen: as many as a page may carry."""
MOST_POINTS = 400
MOST_COLUMNS = 6
FORMATS = (("csv", "CSV"), ("geojson", "GeoJSON"), ("ndjson", "NDJSON"), ("parquet", "Parquet"))
QUALITY_GOOD, QUALITY_FAIR = 0.95, 0.7
"""Shares from which on a figure is shown as good and as fair. Chosen."""


class DataPage:
    """Endpoints of `/data`."""

    def __init__(self, face: Face, builders: Builders) -> None:
        self.face, self.builders = face, builders

    async def page(self, request: Request) -> Response:
        """The catalogue."""
        text, theme = text_asked(request), request.query_params.get("theme") or None
        if theme is not None and theme not in THEMES:
            raise WrongAddress(name="theme", value=theme[:60])
        every = await self.builders.catalogue.all()
        found = [one for one in every if looked_for(one, text, theme)]
        visitor = self.face.pages.visitor(request)
        values: dict[str, Any] = {
            "text": text,
            "theme": theme,
            "themes": [(code, words) for code, words in THEMES.items() if any(o.data_set.theme == code for o in every)],
            "found": [line(one, visitor) for one in found],
            "themes_words": THEMES,
            "total": len(every),
        }
        return self.face.pages.answer(request, "portal/data.html", values, visitor=visitor)

    async def one(self, request: Request) -> Response:
        """One data set: preview, map, chart, quality, the call, the files."""
        visitor = self.face.pages.visitor(request)
        listed = await self.builders.catalogue.one(request.path_params["id"])
        said = listed.data_set
        closed = self._closed(said, visitor)
        cards: list[Card] = [] if closed else await self._cards(said)
        box = self.face.pages.city.bbox  # some registers hold test rows far away, which would make the map useless
        placed = [c for c in cards if c.lon is not None and c.lat is not None and box.contains(c.lon, c.lat)]
        columns = columns_of(said, cards)
        chart = await self._chart(request, said, cards, visitor)
        base = visitor.base_url
        values: dict[str, Any] = {
            **line(listed, visitor),
            "listed": listed,
            "closed": closed,
            "cards": cards[:PREVIEW],
            "simulated": any(card.simulated for card in cards),
            "columns": columns,
            "placed": len(placed),
            "points": points(placed),
            "call": said.call(base, limit="10"),
            "context_url": f"{base}/context/city.jsonld",
            "files": [(name, f"/data/v1/sets/{said.id}.{end}") for end, name in FORMATS],
            "past_files": [(name, f"/data/v1/sets/{said.id}/history.{end}") for end, name in FORMATS],
            "theme_words": THEMES[said.theme][0 if visitor.lang == "ko" else 1],
            "writers": await self.builders.catalogue.writers([card.no for card in cards]),
            "faults": await self.builders.catalogue.faults(said.id),
            **chart,
        }
        return self.face.pages.answer(request, "portal/data_set.html", values, visitor=visitor)

    @staticmethod
    def _closed(said: DataSet, visitor: Visitor) -> str:
        """Why a visitor without a key sees no values; empty when they do."""
        _ = visitor.say
        try:
            allow(said, None)
        except NotAuthenticated:
            return _("이 데이터셋의 값은 키가 있어야 볼 수 있습니다. 키는 누구나 바로 만들 수 있습니다.")
        except CityError as error:
            return error.message(visitor.lang)
        return ""

    async def _cards(self, said: DataSet) -> list[Card]:
        catalogue = self.builders.catalogue
        async for found in catalogue.entities(await catalogue.selection(said), most=ON_MAP):
            return await self.face.view.cards([no for no, _ in found])
        return []

    async def _chart(self, request: Request, said: DataSet, cards: Sequence[Card], visitor: Visitor) -> dict[str, Any]:
        """One attribute of the thing that reported last, over the chosen span."""
        chosen = range_asked(request)
        names = numeric_names(said, cards)
        asked = request.query_params.get("attr")
        if asked and asked not in names:
            raise WrongAddress(name="attr", value=asked[:60])
        name = asked or (names[0] if names else "")
        measured = [card for card in cards if card.observed_at and name in card.facts]
        card = max(measured, key=lambda one: one.observed_at or visitor.now, default=None)
        series = []
        if card is not None and name:
            since = visitor.now - chosen.span
            series = await self.face.view.history(card.id, name, since, visitor.now, MOST_POINTS)
        return {
            "names": names,
            "charted": name,
            "charted_card": card,
            "unit": unit_text(name, None) if name else "",
            "range": chosen,
            "ranges": list(RANGES.values()),
            "series": series,
            "rows": list(reversed(series[-TABLE_ROWS:])),
            "chart_data": chart_data(name, series),
            "chart_api": temporal_url(visitor.base_url, card.id, name, chosen, visitor.now) if card else "",
        }


def line(one: Listed, visitor: Visitor) -> dict[str, Any]:
    """What a line of the catalogue shows of a data set."""
    said, quality = one.data_set, one.quality
    figures: list[dict[str, Any]] = []
    if quality is not None:
        _ = visitor.say
        named = (
            (_("빠짐없음"), quality.completeness),
            (_("새로움"), quality.freshness),
            (_("모델에 맞음"), quality.conformity),
        )
        figures = [
            {"label": label, "share": share, "state": state(share)} for label, share in named if share is not None
        ]
    return {
        "set": said,
        "title": said.title_in(visitor.lang),
        "words": said.description_in(visitor.lang),
        "quality": quality,
        "figures": figures,
    }


def state(share: float) -> str:
    """How good a share is, as a glyph shows it."""
    return "good" if share >= QUALITY_GOOD else "fair" if share >= QUALITY_FAIR else "bad"


def columns_of(said: DataSet, cards: Sequence[Card]) -> list[str]:
    """The attributes a preview shows: those the data set names, else those its first things have."""
    named = [name for name in said.query.attrs if name not in ("name", "location")]
    if not named:
        named = sorted({name for card in cards[:PREVIEW] for name in card.facts} - {"synthetic"})
    return named[:MOST_COLUMNS]


def numeric_names(said: DataSet, cards: Sequence[Card]) -> list[str]:
    """Attributes with numbers that somebody measured."""
    names = said.query.attrs or sorted({name for card in cards for name in card.facts})
    measured = [card for card in cards if card.observed_at]
    return [name for name in names if any(is_number(card.facts.get(name)) for card in measured)]


def is_number(value: Any) -> bool:
    """Whether a value can be drawn."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
