"""`/e/{id}`: one page for any thing of the city, alive while it is open."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sejong.kernel.errors import NotFound
from sejong.portal.asked import RANGES, Range, WrongAddress, range_asked
from sejong.portal.city_view import Scalar
from sejong.portal.entity_view import Thing, Value, read_entity
from sejong.portal.face import Face
from sejong.portal.find_page import FILES, csv_bytes, download
from sejong.portal.live import events_of
from sejong.portal.now_page import shown
from sejong.portal.pages import SAFE_HEADERS, Visitor
from sejong.portal.say import scaled
from sejong.portal.states import STATE_NAMES, state_of
from sejong.portal.words import KIND

MOST_POINTS = 400
TABLE_ROWS = 60
MOST_LINKS = 24

Series = Sequence[tuple[datetime, Scalar]]


class NoSuchThing(NotFound):
    """The record knows no thing of this id."""

    ko = "'{what}'은(는) 이 도시의 기록에 없습니다."
    en = "'{what}' is not in this city's record."


class EntityPage:
    """Endpoints of `/e/`."""

    def __init__(self, face: Face) -> None:
        self.face = face

    async def page(self, request: Request) -> Response:
        """The whole page, or only the chart when another attribute or span is chosen."""
        visitor = self.face.pages.visitor(request)
        thing = await self._thing(request, visitor)
        chart = await self._chart(request, thing, visitor)
        if request.headers.get("hx-target", "").endswith("#chart"):
            return self.face.pages.answer(request, "portal/_chart.html", {"thing": thing, **chart}, visitor=visitor)
        values = {
            "thing": thing,
            "kind": KIND.get(thing.type),
            "state": self._state(thing),
            "links": await self._links(thing),
            "incoming": [shown(card) for card in (await self.face.view.incoming(thing.id))[:MOST_LINKS]],
            "geometry": msgspec.json.encode(thing.places.get("location")).decode(),
            "api_url": api_url(visitor.base_url, thing.id),
            "context_url": f"{visitor.base_url}/context/city.jsonld",
            **chart,
        }
        return self.face.pages.answer(request, "portal/entity.html", values, visitor=visitor)

    async def live(self, request: Request) -> Response:
        """Fresh values as server-sent events while the page stays open."""
        entity_id = request.path_params["id"]
        card = await self.face.view.card(entity_id)
        if card is None:
            raise NoSuchThing(what=entity_id[:120])

        async def render() -> str | None:
            entity = await self.face.view.entity(entity_id)
            if entity is None:
                return None
            visitor = self.face.pages.visitor(request)
            thing = read_entity(entity, visitor.say)
            return self.face.pages.text("portal/_values.html", {"thing": thing}, visitor)

        events = events_of(self.face.pulse, card.no, render)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **SAFE_HEADERS}
        return StreamingResponse(events, headers=headers, media_type="text/event-stream")

    async def history(self, request: Request) -> Response:
        """The chart's numbers as CSV or JSON, exactly those on screen."""
        ending = request.path_params["ending"]
        if ending not in FILES:
            raise NotFound(what=request.url.path)
        visitor = self.face.pages.visitor(request)
        thing = await self._thing(request, visitor)
        chart = await self._chart(request, thing, visitor)
        value: Value | None = chart["charted"]
        if value is None:
            raise WrongAddress(name="attr", value=request.query_params.get("attr", "")[:60])
        series: Series = chart["series"]
        name = f"{thing.id.replace(':', '_')}-{value.name}-{chart['range'].key}.{ending}"
        if ending == "csv":
            rows = [[at.isoformat(), held] for at, held in series]
            return download(request, csv_bytes([["observedAt", value.name], *rows]), ascii_name(name))
        body = {"id": thing.id, "attribute": value.name, "unit": value.unit, "values": series}
        return download(request, msgspec.json.encode(body), ascii_name(name))

    async def _thing(self, request: Request, visitor: Visitor) -> Thing:
        entity_id = request.path_params["id"]
        entity = await self.face.view.entity(entity_id)
        if entity is None:
            raise NoSuchThing(what=entity_id[:120])
        return read_entity(entity, visitor.say)

    async def _chart(self, request: Request, thing: Thing, visitor: Visitor) -> dict[str, Any]:
        """What `_chart.html` needs: the attribute, the span, its values, and where they come from."""
        chosen = range_asked(request)
        asked = request.query_params.get("attr")
        charted = next((v for v in thing.charted if v.name == asked), None if asked else first_of(thing))
        if asked and charted is None:
            raise WrongAddress(name="attr", value=asked[:60])
        series: Series = []
        if charted:
            series = await self.face.view.history(
                thing.id, charted.name, visitor.now - chosen.span, visitor.now, MOST_POINTS
            )
        return {
            "charted": charted,
            "range": chosen,
            "ranges": list(RANGES.values()),
            "series": series,
            "rows": list(reversed(series[-TABLE_ROWS:])),
            "chart_data": chart_data(charted.name if charted else "", series),
            "chart_api": temporal_url(visitor.base_url, thing.id, charted.name, chosen, visitor.now) if charted else "",
        }

    async def _links(self, thing: Thing) -> list[dict[str, Any]]:
        """Relationships with the names of what they point to, where the record knows it."""
        links: list[dict[str, Any]] = []
        for link in thing.links:
            known = [(target, await self.face.view.card(target)) for target in link.targets[:MOST_LINKS]]
            links.append({"link": link, "targets": known, "more": max(0, len(link.targets) - MOST_LINKS)})
        return links

    def _state(self, thing: Thing) -> str:
        facts = {value.name: value.raw for value in (*thing.facts, *thing.live)}
        return STATE_NAMES[state_of(thing.type, facts)]


def first_of(thing: Thing) -> Value | None:
    """The attribute a visitor most likely wants charted."""
    kind = KIND.get(thing.type)
    by_name = {value.name: value for value in thing.charted}
    wanted = [by_name[name] for name in kind.facts if name in by_name] if kind else []
    return next(iter([*wanted, *thing.charted]), None)


def chart_data(name: str, series: Series) -> str:
    """Seconds and values as the chart island reads them."""
    numbers = [(at, scaled(name, value)) for at, value in series if isinstance(value, (int, float))]
    return msgspec.json.encode([[round(at.timestamp(), 3) for at, _ in numbers], [v for _, v in numbers]]).decode()


def api_url(base: str, entity_id: str) -> str:
    """Where any program reads this thing. Source: ETSI GS CIM 009, 6.5."""
    return f"{base}/ngsi-ld/v1/entities/{quote(entity_id, safe=':')}"


def temporal_url(base: str, entity_id: str, attribute: str, span: Range, now: datetime) -> str:
    """Where any program reads what the chart shows. Source: ETSI GS CIM 009, 6.19."""
    since = (now - span.span).strftime("%Y-%m-%dT%H:%M:%SZ")
    start = f"{base}/ngsi-ld/v1/temporal/entities/{quote(entity_id, safe=':')}"
    return f"{start}?attrs={quote(attribute)}&timerel=after&timeAt={since}&options=temporalValues"


def ascii_name(name: str) -> str:
    """A file name every system takes."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in name)
