"""The portal over `DemoCity` as an ASGI app: `granian --interface asgi portal_demo_app:app` (see `tests/browser`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

from portal_demo_city import DemoCity, DemoFace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sejong.kernel.clock import Clock, SystemClock
from sejong.kit.i18n import Translator
from sejong.portal.assets import Assets, portal_folders
from sejong.portal.face import Face, TileReader
from sejong.portal.pages import Pages, template_folders
from sejong.portal.web import portal_routes


def demo_pages(clock: Clock) -> Pages:
    """The frame of every page; making it reads and compresses all static files."""
    home = files("sejong.portal")
    return Pages(
        templates=template_folders({"portal": home}),
        assets=Assets(portal_folders(home)),
        translator=Translator.from_folders([home]),
        clock=clock,
        city=DemoFace(),
    )


def demo_tiles() -> TileReader | None:
    """The real base map where the city pack has built one."""
    try:
        from sejong.citypack.api import tiles_reader
    except ImportError:
        return None
    path = os.environ.get("DEMO_BASEMAP")
    return tiles_reader(Path(path)) if path else None


def demo_app(pages: Pages, city: DemoCity, *, alive: bool = False) -> Starlette:
    """The app; `alive` lets the buses drive."""
    face = Face(pages=pages, view=city, tiles=demo_tiles())

    async def touch(request: Request) -> Response:
        """Lets a browser test send a reading: `/demo/set?id=&name=&value=`."""
        asked = request.query_params
        city.set(asked["id"], asked["name"], float(asked["value"]))
        return Response("ok")

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(drive(city)) if alive else None
        yield
        if task:
            task.cancel()

    routes = [Route("/demo/set", touch), *portal_routes(face)]
    return Starlette(routes=routes, lifespan=lifespan)


async def drive(city: DemoCity) -> None:
    """The demo city's own motion."""
    while True:
        await asyncio.sleep(1)
        city.move_buses(0)


def app() -> Starlette:
    """What granian serves."""
    clock = SystemClock()
    city = DemoCity(clock, crowd=int(os.environ.get("DEMO_CROWD", "0")))
    return demo_app(demo_pages(clock), city, alive=os.environ.get("DEMO_ALIVE") == "1")
