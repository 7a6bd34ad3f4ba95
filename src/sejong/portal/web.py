"""The portal's addresses."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from sejong.kernel.errors import NotFound
from sejong.portal.asked import own_path, require_own_form
from sejong.portal.builders import Builders
from sejong.portal.data_page import DataPage
from sejong.portal.dev_page import DevPage
from sejong.portal.entity_page import EntityPage
from sejong.portal.face import Face
from sejong.portal.find_page import FindPage
from sejong.portal.now_page import NowPage
from sejong.portal.ops_page import OpsPage
from sejong.portal.pages import SAFE_HEADERS
from sejong.portal.prefs import keep_prefs

TILE_HEADERS = {
    "Content-Encoding": "gzip",
    "Cache-Control": "public, max-age=86400",
    "X-Content-Type-Options": "nosniff",
}


class Rest:
    """The small endpoints that belong to no page of their own."""

    def __init__(self, face: Face) -> None:
        self.face = face

    async def about(self, request: Request) -> Response:
        """What this is, whose data it shows, and how accessible it is."""
        return self.face.pages.answer(request, "portal/about.html")

    async def prefs(self, request: Request) -> Response:
        """Keep what a visitor chose and lead back to where they were."""
        require_own_form(request)
        form = {name: str(value) for name, value in (await request.form(max_fields=10)).items()}
        prefs = self.face.pages.visitor(request).prefs.changed(form)
        response = RedirectResponse(without_language(own_path(form.get("back", "/"))), 303, SAFE_HEADERS)
        keep_prefs(response, prefs, secure=request.url.scheme == "https")
        return response

    async def tile(self, request: Request) -> Response:
        """One tile of the base map."""
        z, x, y = (request.path_params[name] for name in "zxy")
        data = self.face.tiles.tile(z, x, y) if self.face.tiles and z <= 22 else None
        if data is None:
            return Response(status_code=204, headers={"Cache-Control": TILE_HEADERS["Cache-Control"]})
        return Response(data, headers=TILE_HEADERS, media_type="application/vnd.mapbox-vector-tile")

    async def icon(self, _: Request) -> Response:
        """The picture browsers ask for without being told."""
        return RedirectResponse(self.face.pages.assets.url("portal/icon.svg"), 302)

    async def missing(self, request: Request) -> Response:
        """Every address nobody else answers."""
        raise NotFound(what=request.url.path)


def without_language(path: str) -> str:
    """A path whose `?lang=` no longer outvotes the choice just made."""
    parts = urlsplit(path)
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name != "lang"])
    return f"{parts.path}?{query}" if query else parts.path


def portal_routes(face: Face, builders: Builders | None = None) -> list[BaseRoute]:
    """All of the portal's routes; they end with the one for addresses nobody answers, so mount them last."""
    now, find, entity, ops, rest = NowPage(face), FindPage(face), EntityPage(face), OpsPage(face), Rest(face)
    page = face.page
    return [
        Route("/", page(now.page)),
        Route("/now/nearby", page(now.nearby)),
        Route("/now/tiles", page(now.tiles)),
        Route("/now/card/{number:int}", page(now.card)),
        Route("/find", page(find.page)),
        Route("/find.{ending}", page(find.file)),
        Route("/e/{id:path}/live", page(entity.live)),
        Route("/e/{id:path}/history.{ending}", page(entity.history)),
        Route("/e/{id:path}", page(entity.page)),
        Route("/ops/data", page(ops.page)),
        Route("/ops/data/replay", page(ops.replay), methods=["POST"]),
        *(builders_routes(face, builders) if builders else ()),
        Route("/about", page(rest.about)),
        Route("/prefs", page(rest.prefs), methods=["POST"]),
        Route("/tiles/{z:int}/{x:int}/{y:int}.pbf", rest.tile),
        Route("/favicon.ico", rest.icon),
        Route("/static/{hash}/{path:path}", page(face.pages.assets.serve)),
        WebSocketRoute("/live", face.live.serve),
        Route("/{path:path}", page(rest.missing)),
    ]


def builders_routes(face: Face, builders: Builders) -> list[BaseRoute]:
    """The pages for those who write programs: the catalogue and `/dev`."""
    data, dev, page = DataPage(face, builders), DevPage(face, builders), face.page
    return [
        Route("/data", page(data.page)),
        Route("/data/{id}", page(data.one)),
        Route("/dev", page(dev.page)),
        Route("/dev/keys", page(dev.make), methods=["POST"]),
        Route("/dev/keys/use", page(dev.use), methods=["POST"]),
        Route("/dev/keys/revoke", page(dev.revoke), methods=["POST"]),
    ]
