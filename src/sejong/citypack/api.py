"""What other services may use of city packs."""

from __future__ import annotations

from sejong.citypack.basemap import BaseMap, build_basemap
from sejong.citypack.domain import City, Entity, PackError, Rejected
from sejong.citypack.lines import Route, RouteStop
from sejong.citypack.load import basemap_path, load
from sejong.citypack.romanise import english_name, romanise
from sejong.citypack.service import CONTEXT_FILE, CityPack, open_pack
from sejong.citypack.synthetic import along
from sejong.citypack.tiles import TileReader, tiles_reader

__all__ = [
    "CONTEXT_FILE",
    "BaseMap",
    "City",
    "CityPack",
    "Entity",
    "PackError",
    "Rejected",
    "Route",
    "RouteStop",
    "TileReader",
    "along",
    "basemap_path",
    "build_basemap",
    "english_name",
    "load",
    "open_pack",
    "romanise",
    "tiles_reader",
]
