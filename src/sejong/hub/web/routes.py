"""Which addresses the hub answers."""

from __future__ import annotations

import re

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sejong.hub.feed import ChangeFeed
from sejong.hub.ingest.http import routes as ingest_routes
from sejong.hub.ingest.service import Ingest
from sejong.hub.opendata.catalogue import Catalogue
from sejong.hub.opendata.keys import Keys
from sejong.hub.service import CITY_CONTEXT_PATH, Hub
from sejong.hub.web.changes import Following
from sejong.hub.web.data_api import data_routes
from sejong.hub.web.data_operations import data_paths
from sejong.hub.web.dead_notifications import PATH as DEAD_PATH
from sejong.hub.web.dead_notifications import dead_notifications
from sejong.hub.web.negotiate import LD_JSON
from sejong.hub.web.openapi import ngsi_ld_paths
from sejong.hub.web.router import NgsiRouter
from sejong.hub.web.router_root import ROOT
from sejong.hub.web.sta import sta_paths, sta_routes
from sejong.kit.city import City
from sejong.kit.http import Straight


def routes(city: City) -> list[BaseRoute]:
    """The hub's routes in a running city."""
    hub = city.part(Hub)

    async def city_context(_: Request) -> Response:
        """The city's @context, for whoever wants the short names."""
        return Response(
            msgspec.json.encode(hub.city_context_document),
            media_type=LD_JSON,
            headers={"Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*"},
        )

    city.part(Catalogue).api_paths = {**ngsi_ld_paths(), **data_paths(), **sta_paths()}

    async def dead(request: Request) -> Response:
        return await dead_notifications(hub, request)

    following = Following(hub, city.part(ChangeFeed))
    doors = ingest_routes(city.part(Ingest))
    standard = Straight(ROOT, app=NgsiRouter(hub, city.part(Keys)))
    standard.path_regex = re.compile(standard.path_regex.pattern, re.DOTALL)  # a line break in an id is refused by us
    return [
        Route(CITY_CONTEXT_PATH, city_context),
        Route(DEAD_PATH, dead),
        *following.routes(),
        *doors,
        *data_routes(city),
        *sta_routes(city),
        standard,
    ]
