"""`/sta/v1.1`: the read-only SensorThings facade. Source: OGC 18-088 §9.2."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from sejong.hub.opendata.keys import Keys
from sejong.hub.service import Hub
from sejong.hub.sta.compile import LINKS
from sejong.hub.sta.fault import ReadOnly
from sejong.hub.sta.service import SensorThings
from sejong.kernel.errors import CityError, Invalid
from sejong.kit.city import City
from sejong.kit.i18n import preferred
from sejong.kit.postgres import AWAY, DatabaseAway

STA = "/sta/v1.1"
OPEN = {"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"}
CONFORMANCE = [
    "http://www.opengis.net/spec/iot_sensing/1.1/req/datamodel",
    "http://www.opengis.net/spec/iot_sensing/1.1/req/resource-path/resource-path-to-entities",
    "http://www.opengis.net/spec/iot_sensing/1.1/req/request-data",
    "http://www.opengis.net/spec/iot_sensing/1.1/req/data-array/data-array",
]


def sta_routes(city: City) -> list[BaseRoute]:
    """Everything below the root; what would write is refused with 405."""
    hub, keys = city.part(Hub), city.part(Keys)
    facade = SensorThings(hub, city.settings.public_url.rstrip("/") + STA)

    async def answer(request: Request) -> Response:
        language = preferred(request.headers.get("accept-language"), city.settings.language)
        try:
            await keys.admit(request.scope)
            if request.method not in ("GET", "HEAD"):
                raise ReadOnly()
            path = request.path_params.get("path", "").strip("/")
            body = root(facade.base) if not path else await facade.answer(path, asked(request), language)
        except CityError as error:
            return refused(error, language)
        except (*AWAY, OSError) as error:
            return refused(DatabaseAway(why=str(error) or type(error).__name__), language)
        if path.endswith(("$value", "$count")):
            return PlainTextResponse(body if isinstance(body, str) else msgspec.json.encode(body), headers=OPEN)
        return Response(msgspec.json.encode(body), 200, OPEN, "application/json")

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [Route(STA, answer, methods=methods), Route(STA + "/{path:path}", answer, methods=methods)]


def asked(request: Request) -> dict[str, str]:
    """The query options. Raises Invalid when one is given twice."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in found and name.startswith("$"):
            raise Invalid(why=f"{name} twice")
        found[name] = value
    return found


def root(base: str) -> dict[str, Any]:
    """What there is. Source: OGC 18-088 §9.2.1."""
    return {
        "value": [{"name": name, "url": f"{base}/{name}"} for name in LINKS],
        "serverSettings": {"conformance": CONFORMANCE},
    }


def refused(error: CityError, language: str) -> Response:
    """An error in the shape of OData 4: a code and a sentence."""
    headers = {**OPEN, **error.headers}
    if "seconds" in error.values:
        headers["Retry-After"] = str(error.values["seconds"])
    if error.status == 405:
        headers["Allow"] = "GET, HEAD"
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = {"error": {"code": str(error.status), "message": error.message(language)}}
    return Response(msgspec.json.encode(body), error.status, headers, "application/json")


def sta_paths() -> dict[str, Any]:
    """OpenAPI path items of the facade: its entity sets (the root and deeper addresses are the standard's)."""
    names = ("$filter", "$expand", "$orderby", "$select", "$top", "$skip", "$count", "$resultFormat")
    numbers = {"$top", "$skip"}
    query = [
        {"name": n, "in": "query", "required": False,
         "schema": {"type": "integer", "minimum": 0} if n in numbers else {"type": "string", "minLength": 1}}
        for n in names
    ]  # fmt: skip
    sets = {"name": "set", "in": "path", "required": True, "schema": {"type": "string", "enum": list(LINKS)}}
    return {
        STA + "/{set}": {"get": _described("set", "Entities of a SensorThings set", [sets, *query])},
    }


def _described(name: str, summary: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    schema = {"content": {"application/json": {"schema": {"type": "object"}}}}
    why = {"400": "Not understood", "401": "An unknown key", "404": "Nothing there", "429": "Too many requests"}
    statuses = {"200": summary, **why, "503": "Too wide a question, or the database is away"}
    return {
        "operationId": f"sta_{name}",
        "summary": summary,
        "tags": ["SensorThings"],
        "parameters": parameters,
        "responses": {status: {"description": said, **schema} for status, said in statuses.items()},
    }
