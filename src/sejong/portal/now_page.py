"""① 지금: the live map, four numbers about the whole city, and what is in view as a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sejong.kernel.errors import NotFound
from sejong.kernel.geo import BBox
from sejong.kit.i18n import Translate
from sejong.portal.asked import bbox_asked, layers_asked
from sejong.portal.city_view import Card, Indicator
from sejong.portal.face import Face
from sejong.portal.pages import Visitor
from sejong.portal.states import PM25_GRADES, STATE_NAMES, graded, state_of
from sejong.portal.words import KIND, KINDS, LAYERS, N_, types_of

LISTED = 12
AROUND_CENTRE_M = 1500.0
GRADE_WORDS = (N_("자료 없음"), N_("좋음"), N_("보통"), N_("나쁨"), N_("매우 나쁨"))

_NOT_LISTED = {"RoadSegment", "Streetlight", "ParkingSpot"}
"""Too many to read as a list; the map and the search show them."""


def around(centre: tuple[float, float]) -> BBox:
    """What the list shows before a map says where it looks."""
    lon, lat = centre
    return BBox(lon, lat, lon, lat).expand(AROUND_CENTRE_M)


class NowPage:
    """Endpoints of `/`."""

    def __init__(self, face: Face) -> None:
        self.face = face

    async def page(self, request: Request) -> Response:
        """The whole page."""
        visitor = self.face.pages.visitor(request)
        values = {
            **await self._nearby(request),
            "tiles": tiles_shown(await self.face.view.tiles(), visitor),
            "layers": LAYERS,
            "kinds_list": KINDS,
        }
        return self.face.pages.answer(request, "portal/now.html", values, visitor=visitor)

    async def nearby(self, request: Request) -> Response:
        """The list beside the map, for where the map looks now."""
        return self.face.pages.answer(request, "portal/_nearby.html", await self._nearby(request))

    async def tiles(self, request: Request) -> Response:
        """The four numbers, fetched again while the page stays open."""
        visitor = self.face.pages.visitor(request)
        shown = tiles_shown(await self.face.view.tiles(), visitor)
        return self.face.pages.answer(request, "portal/_tiles.html", {"tiles": shown}, visitor=visitor)

    async def card(self, request: Request) -> Response:
        """The small card of one thing on the map."""
        cards = await self.face.view.cards([request.path_params["number"]])
        if not cards:
            raise NotFound(what=str(request.path_params["number"]))
        return self.face.pages.answer(request, "portal/_card.html", {"card": shown(cards[0])})

    async def _nearby(self, request: Request) -> dict[str, Any]:
        layers = layers_asked(request)
        bbox = bbox_asked(request)
        types = [name for name in types_of(layers) if name not in _NOT_LISTED]
        box = bbox or around(self.face.pages.city.centre)
        cards = await self.face.view.in_view(types, box, LISTED * 20) if types else []
        centre = ((box.west + box.east) / 2, (box.south + box.north) / 2)
        cards = sorted(cards, key=lambda card: squared(card, centre))
        return {
            "cards": [shown(card) for card in cards[:LISTED]],
            "more": max(0, len(cards) - LISTED),
            "bbox": bbox,
            "layers_on": layers,
        }


def squared(card: Card, centre: tuple[float, float]) -> float:
    """How far a card lies from a place, good enough for an order."""
    if card.lon is None or card.lat is None:
        return float("inf")
    return (0.8 * (card.lon - centre[0])) ** 2 + (card.lat - centre[1]) ** 2


def shown(card: Card) -> dict[str, Any]:
    """A card with the class of how it is doing, for list lines and map points."""
    kind = KIND.get(card.type)
    facts = [(name, card.facts[name]) for name in kind.facts if name in card.facts] if kind else []
    return {
        "card": card,
        "shape": kind.shape if kind else "dot",
        "state": STATE_NAMES[state_of(card.type, card.facts)],
        "fact": facts[0] if facts else None,
        "total": card.facts.get(kind.of) if kind and kind.of and facts and facts[0][0] == kind.facts[0] else None,
    }


class Tile(msgspec.Struct, frozen=True):
    """One of the four numbers at the top."""

    key: str
    label: str
    icon: str
    what: str
    unit: str
    find: str
    decimals: int = 0


TO_UNIT = {("WTT", "kW"): 0.001, ("L2", "m³/h"): 0.06, ("E32", "m³/h"): 0.001}
"""What turns a measured unit (UN/CEFACT) into the one a tile shows."""

TILES = (
    Tile("speed", N_("이동"), "move", N_("도로 평균 속도"), "km/h", "RoadSegment"),
    Tile("pm25_median", N_("공기"), "air", N_("초미세먼지 중앙값"), "µg/m³", "AirQualityObserved"),
    Tile("power", N_("에너지"), "bolt", N_("지금 쓰는 전력"), "kW", "ACMeasurement", 1),
    Tile("water", N_("물"), "water", N_("지금 쓰는 물"), "m³/h", "WaterConsumptionObserved", 1),
)


def tiles_shown(numbers: Mapping[str, Indicator], visitor: Visitor) -> Sequence[dict[str, Any]]:
    """The four tiles with their second lines."""
    _ = visitor.say
    second = {
        "speed": second_line(numbers.get("bikes"), N_("빌릴 수 있는 자전거 {value}대"), _),
        "pm25_median": second_line(numbers.get("pm25_worst"), N_("가장 나쁜 곳 {value} µg/m³"), _),
    }
    shown_tiles: list[dict[str, Any]] = []
    for tile in TILES:
        number = in_unit(numbers.get(tile.key, Indicator(None)), tile.unit)
        measured = number.value is not None and number.n > 0
        line = second.get(tile.key) or (_("계량기 {n}곳", n=f"{number.n:,}") if measured else "")
        grade = graded(number.value, PM25_GRADES) if tile.key == "pm25_median" and measured else None
        shown_tiles.append(
            {
                "tile": tile,
                "number": number,
                "measured": measured,
                "second": line,
                "grade": None if grade is None else _(GRADE_WORDS[grade]),
                "state": STATE_NAMES[grade or 0],
            }
        )
    return shown_tiles


def in_unit(number: Indicator, unit: str) -> Indicator:
    """The number in the tile's unit."""
    factor = TO_UNIT.get((number.unit, unit))
    if factor is None or number.value is None:
        return number
    return msgspec.structs.replace(number, value=number.value * factor, unit="")


def second_line(number: Indicator | None, sentence: str, _: Translate) -> str:
    """A tile's smaller line, or nothing when nobody measures it."""
    return _(sentence, value=f"{number.value:,.0f}") if number and number.value is not None else ""
