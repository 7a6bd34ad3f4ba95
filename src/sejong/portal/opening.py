"""The portal of a running city: its pages over the living record, its base map, its words."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.routing import BaseRoute

from sejong.citypack.api import CityPack, basemap_path, tiles_reader
from sejong.hub.api import Catalogue, DeviceView, Keys, RecordView
from sejong.kit.city import City
from sejong.portal.assets import Assets, portal_folders
from sejong.portal.builders import Builders
from sejong.portal.face import Face, TileReader
from sejong.portal.pages import DATA, NAV, Pages, template_folders
from sejong.portal.web import portal_routes


def routes(city: City) -> Sequence[BaseRoute]:
    """Every address of the portal; mounted last, because it answers what nobody else does."""
    pages = Pages(
        templates=template_folders({service.name: service.folder() for service in city.services}),
        assets=Assets({**static_folders(city), **portal_folders(files("sejong.portal"))}),
        translator=city.translator,
        clock=city.clock,
        city=city.part(CityPack).city,
        language=city.settings.language,
        public_url=city.settings.public_url,
        nav=(*NAV[:2], DATA, *NAV[2:]),
    )
    face = Face(pages=pages, view=WholeView(city.part(RecordView), city.part(DeviceView)), tiles=base_map(city))
    catalogue = city.part(Catalogue)
    return portal_routes(face, Builders(catalogue, city.part(Keys), city.record, catalogue.api_paths))


def static_folders(city: City) -> dict[str, Traversable]:
    """The `static/` of every service that has one, by the service's name."""
    folders = {service.name: service.folder() / "static" for service in city.services}
    return {name: folder for name, folder in folders.items() if folder.is_dir()}


def base_map(city: City) -> TileReader | None:
    """The base map `sejong load` drew; none before the first load (the map then shows points on a plain ground)."""
    path = basemap_path(city.settings.state)
    return tiles_reader(path) if path.is_file() else None


class WholeView:
    """`CityView` over the running hub: pages ask the record, operators' pages also ask about devices."""

    def __init__(self, record: RecordView, devices: DeviceView) -> None:
        self.search = record.search
        self.entity = record.entity
        self.history = record.history
        self.incoming = record.incoming
        self.card = record.card
        self.cards = record.cards
        self.in_view = record.in_view
        self.changes = record.changes
        self.tiles = record.tiles
        self.ingest_rate = devices.ingest_rate
        self.silent_devices = devices.silent_devices
        self.suspects = devices.suspects
        self.dead_letters = devices.dead_letters
        self.dead_letter_reasons = devices.dead_letter_reasons
        self.replay = devices.replay
