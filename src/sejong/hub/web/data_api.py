"""The JSON API of data sets: list, declare, measure, and take home. Addresses are in `data_operations.py`.

Reading is open (within the limits of `hub/opendata/limits.py`); declaring needs an operator's key, which
`sejong keys add NAME --operator` makes. See docs/guides/data-sets.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from sejong.hub.ngsi.instants import parse_instant
from sejong.hub.opendata.catalogue import Catalogue, Listed, allow, looked_for
from sejong.hub.opendata.dataset import THEMES, DataSetWrong, NamedQuery
from sejong.hub.opendata.dcat import catalogue
from sejong.hub.opendata.export import FORMATS, Exporter, NoSuchFormat, Span, gzipped
from sejong.hub.opendata.keys import Key, Keys, require_operator, secret_of
from sejong.hub.web.data_operations import DATA_OPERATIONS
from sejong.kernel.errors import CityError, Invalid, NotAuthenticated
from sejong.kit.city import City
from sejong.kit.http import error_response, json_response
from sejong.kit.i18n import preferred
from sejong.kit.postgres import AWAY, DatabaseAway

DAY = timedelta(hours=24)
OPEN = {"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"}
SHOWN = ("normalized", "concise", "simplified")
Handler = Callable[["DataApi", Request, Key | None], Awaitable[Response]]


class DataApi:
    """The endpoints in a running city."""

    def __init__(self, city: City) -> None:
        self.city = city
        self.catalogue = city.part(Catalogue)
        self.exporter = city.part(Exporter)
        self.keys = city.part(Keys)

    def route(self, method: str, path: str, name: str) -> Route:
        """A route whose handler is a method of this class."""
        handler: Handler = getattr(type(self), name)

        async def answer(request: Request) -> Response:
            language = preferred(request.headers.get("accept-language"), self.city.settings.language)
            try:
                return await handler(self, request, await self.keys.admit(request.scope))
            except CityError as error:
                response = error_response(error, language)
                if isinstance(error, NotAuthenticated):
                    response.headers["WWW-Authenticate"] = "Bearer"
                return response
            except (*AWAY, OSError) as error:
                return error_response(DatabaseAway(why=str(error) or type(error).__name__), language)

        return Route(path, answer, methods=[method])

    # --- the catalogue --------------------------------------------------------------------------------------------

    async def list(self, request: Request, _: Key | None) -> Response:
        """GET /data/v1/sets"""
        known(request, {"q", "theme"})
        text, theme = request.query_params.get("q", ""), theme_asked(request)
        found = [one for one in await self.catalogue.all() if looked_for(one, text, theme)]
        return open_json({"sets": [described(one) for one in found]})

    async def catalog(self, request: Request, _: Key | None) -> Response:
        """GET /data/catalog.jsonld"""
        known(request, {"theme"})
        base = self.city.settings.public_url.rstrip("/")
        theme = theme_asked(request)
        found = [one for one in await self.catalogue.all() if theme in (None, one.data_set.theme)]
        body = catalogue(found, base, self.catalogue.place)
        return open_json(body, "application/ld+json")

    async def one(self, request: Request, _: Key | None) -> Response:
        """GET /data/v1/sets/{id}"""
        known(request, set())
        return open_json(described(await self.catalogue.one(request.path_params["id"])))

    async def create(self, request: Request, key: Key | None) -> Response:
        """POST /data/v1/sets"""
        who = require_operator(key)
        body = await read_body(request)
        async with self.city.record.act(f"key:{who.no}", "data_set.create") as act:
            made = await self.catalogue.create(act, body)
        return json_response({"id": made.id}, 201, Location=f"/data/v1/sets/{made.id}")

    async def change(self, request: Request, key: Key | None) -> Response:
        """PUT /data/v1/sets/{id}"""
        who = require_operator(key)
        body = await read_body(request)
        async with self.city.record.act(f"key:{who.no}", "data_set.change") as act:
            await self.catalogue.change(act, request.path_params["id"], body)
        return Response(status_code=204)

    async def withdraw(self, request: Request, key: Key | None) -> Response:
        """DELETE /data/v1/sets/{id}"""
        who = require_operator(key)
        async with self.city.record.act(f"key:{who.no}", "data_set.withdraw") as act:
            await self.catalogue.withdraw(act, request.path_params["id"])
        return Response(status_code=204)

    # --- quality and model ----------------------------------------------------------------------------------------

    async def quality(self, request: Request, _: Key | None) -> Response:
        """GET /data/v1/sets/{id}/quality"""
        known(request, set())
        found = await self.catalogue.one(request.path_params["id"])
        past = await self.catalogue.past(found.data_set.id)
        faults = await self.catalogue.faults(found.data_set.id)
        return open_json({"id": found.data_set.id, "measurements": past, "faults": faults})

    async def measure(self, request: Request, key: Key | None) -> Response:
        """POST /data/v1/sets/{id}/quality"""
        require_operator(key)
        found = await self.catalogue.one(request.path_params["id"])
        return json_response(await self.catalogue.measure(found.data_set))

    async def model(self, request: Request, key: Key | None) -> Response:
        """GET /data/v1/sets/{id}/model: the declared model, else one inferred from what is there."""
        known(request, set())
        found = await self.catalogue.one(request.path_params["id"])
        allow(found.data_set, key)
        declared = found.data_set.model
        body = declared if declared is not None else await self.catalogue.proposal(found.data_set)
        response = open_json(body, "application/schema+json")
        response.headers["X-Model"] = "declared" if declared is not None else "inferred"
        return response

    async def provenance(self, request: Request, key: Key | None) -> Response:
        """GET /data/v1/sets/{id}/provenance"""
        known(request, set())
        found = await self.catalogue.one(request.path_params["id"])
        allow(found.data_set, key)
        numbers: list[int] = []
        async for some in self.catalogue.entities(await self.catalogue.selection(found.data_set)):
            numbers.extend(no for no, _ in some)
        return open_json({"id": found.data_set.id, "writers": await self.catalogue.writers(numbers)})

    # --- taking home ----------------------------------------------------------------------------------------------

    async def file(self, request: Request, key: Key | None) -> Response:
        """GET /data/v1/sets/{id}.{format}"""
        known(request, {"format"})
        fmt = format_of(request)
        found = await self.catalogue.one(request.path_params["id"])
        allow(found.data_set, key)
        query, shown = found.data_set.query, shown_as(request)
        parts = await self.exporter.entities(
            fmt, await self.catalogue.selection(found.data_set), query.attrs, shown=shown
        )
        return sent(request, parts, fmt, found.data_set.id)

    async def history(self, request: Request, key: Key | None) -> Response:
        """GET /data/v1/sets/{id}/history.{format}"""
        known(request, {"since", "until"})
        fmt = format_of(request)
        found = await self.catalogue.one(request.path_params["id"])
        allow(found.data_set, key)
        span = span_asked(request, self.city.clock.now())
        selection = await self.catalogue.selection(found.data_set)
        parts = await self.exporter.history(fmt, selection, found.data_set.query.attrs, span)
        return sent(request, parts, fmt, f"{found.data_set.id}-history")

    async def export(self, request: Request, _: Key | None) -> Response:
        """GET /data/v1/export.{format}"""
        known(request, {*NamedQuery.__struct_fields__, "format"})
        fmt = format_of(request)
        query = query_asked(request)
        selection = query.selection(await self.catalogue.hub.context())
        parts = await self.exporter.entities(fmt, selection, query.attrs, shown=shown_as(request))
        return sent(request, parts, fmt, "export")

    # --- keys -----------------------------------------------------------------------------------------------------

    async def make_key(self, request: Request, _: Key | None) -> Response:
        """POST /data/v1/keys"""
        body = await read_body(request)
        name = body.get("name") if isinstance(body, dict) else None
        if not isinstance(name, str):
            raise Invalid(why='{"name": "…"}')
        self.keys.admit_maker(self.keys.address(request.scope))
        async with self.city.record.act("visitor", "api_key.make") as act:
            made = await self.keys.make(act, name)
        return json_response({"name": made.key.name, "key": made.secret}, 201, Cache_Control="no-store")

    async def my_key(self, request: Request, _: Key | None) -> Response:
        """GET /data/v1/keys/mine"""
        return json_response(await self.keys.use_of(own_secret(request)), Cache_Control="no-store")

    async def drop_key(self, request: Request, _: Key | None) -> Response:
        """DELETE /data/v1/keys/mine"""
        async with self.city.record.act("visitor", "api_key.revoke") as act:
            await self.keys.revoke(act, own_secret(request))
        return Response(status_code=204)


def open_json(body: Any, media_type: str = "application/json") -> Response:
    """JSON that pages of anybody may read."""
    return Response(msgspec.json.encode(body), 200, OPEN, media_type)


def data_routes(city: City) -> list[BaseRoute]:
    """All of them."""
    api = DataApi(city)
    return [api.route(row.method, row.path, row.handler) for row in DATA_OPERATIONS]


def described(one: Listed) -> dict[str, Any]:
    """A data set with its measured quality and its addresses."""
    body = msgspec.to_builtins(one.data_set)
    home = f"/data/v1/sets/{one.data_set.id}"
    return {
        **body,
        "created": one.created,
        "changed": one.changed,
        "quality": one.quality,
        "files": {ending: f"{home}.{ending}" for ending in FORMATS},
        "history": {ending: f"{home}/history.{ending}" for ending in FORMATS},
        "call": one.data_set.call(""),
    }


def theme_asked(request: Request) -> str | None:
    """The theme of the address. Raises DataSetWrong."""
    theme = request.query_params.get("theme")
    if theme is not None and theme not in THEMES:
        raise DataSetWrong(why=f"theme: one of {', '.join(THEMES)}")
    return theme


def known(request: Request, names: set[str]) -> None:
    """Refuse a parameter that means nothing here. Raises Invalid."""
    for name in request.query_params:
        if name not in names:
            raise Invalid(why=f"parameter {name[:40]!r}")


def format_of(request: Request) -> str:
    """The file format of the address. Raises NoSuchFormat."""
    fmt = request.path_params["format"]
    if fmt not in FORMATS:
        raise NoSuchFormat(what=fmt[:40])
    return fmt


def shown_as(request: Request) -> str:
    """How NDJSON shows entities. Raises Invalid."""
    shown = request.query_params.get("format", "normalized")
    if shown not in SHOWN:
        raise Invalid(why=f"format: {', '.join(SHOWN)}")
    return shown


def query_asked(request: Request) -> NamedQuery:
    """The query of an export. Raises Invalid."""
    given: dict[str, Any] = {name: value for name, value in request.query_params.items() if name != "format"}
    if any("\x00" in value for value in given.values()):
        raise Invalid(why="NUL")
    if "attrs" in given:
        given["attrs"] = [name for name in given["attrs"].split(",") if name]
    try:
        return msgspec.convert(given, NamedQuery)
    except msgspec.ValidationError as fault:
        raise Invalid(why=str(fault)) from fault


def span_asked(request: Request, now: datetime) -> Span:
    """`since` and `until`; the last day when nothing is said. Raises Invalid."""
    try:
        until = parse_instant(request.query_params["until"]) if "until" in request.query_params else now
        since = parse_instant(request.query_params["since"]) if "since" in request.query_params else until - DAY
    except (ValueError, OverflowError, CityError) as error:
        raise Invalid(why=f"since, until: {error}") from error
    if since >= until:
        raise Invalid(why="since ≥ until")
    return Span(since, until)


def sent(request: Request, parts: AsyncIterator[bytes], fmt: str, name: str) -> Response:
    """A file on its way, compressed where that helps and is wanted."""
    headers = {**OPEN, "Content-Disposition": f'attachment; filename="{name}.{fmt}"', "Cache-Control": "no-cache"}
    headers["Vary"] = "Accept-Encoding"
    if fmt != "parquet" and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        parts = gzipped(parts)
    return StreamingResponse(parts, headers=headers, media_type=FORMATS[fmt])


def own_secret(request: Request) -> str:
    """The key that the request shows. Raises NotAuthenticated."""
    secret = secret_of(request.scope["headers"])
    if secret is None:
        raise NotAuthenticated(why="X-API-Key")
    return secret


async def read_body(request: Request) -> Any:
    """The JSON of the body. Raises Invalid."""
    raw = await request.body()
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Invalid(why=f"JSON: {error}") from error
