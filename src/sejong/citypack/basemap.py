"""The base map: the pack's own streets, boundaries and names as vector tiles for offline use.

Source-layers and their properties (what `portal` styles; keep this list true; absent = not known):

`boundary` (polygon, z9–14): `kind` ("legal"), `name`, `name_en`, `ref` (local id of the area)
`road` (line, z9–14): `class` ("motorway" "trunk" "primary" "secondary" "tertiary" "residential"), `rank`
    (int, MOLIT 101–108), `lanes` (int, this direction), `name`, `name_en`, `ref` (link id; also the feature
    id where it is a number). One line per direction, both on the same centre line.
`sidewalk` (line, z13–14): `width` (float, metres)
`place` (point, z9–14): `kind` ("dong" "station" "terminal" "university" "attraction"), `name`, `name_en`,
    `sort` (int, small = important)

Below zoom 12 only roads of two or more lanes or of rank 101–103 are drawn; `place` of kind "dong" from
zoom 9, "station" and "terminal" from 11, the others from 13. MapLibre: minzoom 9, maxzoom 14 (it overzooms).

Built in pure Python when the city is loaded: no tool to install, and a city that changes a file gets its map.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import atan, degrees, pi, sinh
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import shapely

from sejong.citypack import mvt
from sejong.citypack.domain import Entity, local_id, name_of, position
from sejong.citypack.service import CityPack
from sejong.citypack.tiles import Tile, tiles_reader, write_tiles

LAYERS = ("boundary", "sidewalk", "road", "place")
"""Drawing order, lowest first."""
MIN_ZOOM, MAX_ZOOM = 9, 14
BUFFER = 64
"""Tile coordinates drawn beyond each edge, so that lines do not end at the seam."""
COARSE = {9: 12.0, 10: 10.0, 11: 8.0, 12: 6.0, 13: 4.0, 14: 2.0}
"""How far a simplified line may stray, in tile coordinates (4096 a tile; a screen pixel is 8)."""
VERSION = "1"
"""Changes when the same pack would give other tiles."""

FIELDS: dict[str, dict[str, str]] = {
    "boundary": {"kind": "String", "name": "String", "name_en": "String", "ref": "String"},
    "road": {
        "class": "String", "rank": "Number", "lanes": "Number",
        "name": "String", "name_en": "String", "ref": "String",
    },
    "sidewalk": {"width": "Number"},
    "place": {"kind": "String", "name": "String", "name_en": "String", "sort": "Number"},
}  # fmt: skip


class Drawn(msgspec.Struct, frozen=True):
    """One thing on the base map, with its shape in degrees."""

    layer: str
    shape: dict[str, Any]
    properties: dict[str, mvt.Value]
    from_zoom: int
    id: int | None = None


class BaseMap(msgspec.Struct, frozen=True):
    """What a build gave."""

    path: Path
    tiles: int
    bytes: int
    rebuilt: bool


def build_basemap(pack: CityPack, out: Path) -> BaseMap:
    """Write the base map of a city to `out` (MBTiles) unless the one there was made from the same files."""
    mark = fingerprint(pack)
    n = _tiles_if_current(out, mark)
    if n is not None:
        return BaseMap(out, n, out.stat().st_size, rebuilt=False)
    n = write_tiles(out, draw_tiles(list(drawn(pack))), _metadata(pack, mark))
    return BaseMap(out, n, out.stat().st_size, rebuilt=True)


def fingerprint(pack: CityPack) -> str:
    """What the base map of a pack depends on: its files and the version of this drawing."""
    digest = hashlib.sha256(VERSION.encode())
    for file in sorted(path for path in pack.folder.rglob("*") if path.is_file()):
        body = file.read_bytes()
        digest.update(f"{file.relative_to(pack.folder)}\0{len(body)}\0".encode() + body)
    return digest.hexdigest()


def _tiles_if_current(path: Path, mark: str) -> int | None:
    if not path.is_file():
        return None
    try:
        reader = tiles_reader(path)
    except sqlite3.Error:  # a broken file is simply built anew
        return None
    try:
        return reader.count() if reader.metadata.get("fingerprint") == mark else None
    finally:
        reader.close()


def _metadata(pack: CityPack, mark: str) -> dict[str, str]:
    box, (lon, lat) = pack.city.bbox, pack.city.centre
    layers = [{"id": layer, "fields": FIELDS[layer], "minzoom": MIN_ZOOM, "maxzoom": MAX_ZOOM} for layer in LAYERS]
    return {
        "name": pack.city.name_en,
        "format": "pbf",
        "bounds": f"{box.west},{box.south},{box.east},{box.north}",
        "center": f"{lon},{lat},13",
        "minzoom": str(MIN_ZOOM),
        "maxzoom": str(MAX_ZOOM),
        "json": json.dumps({"vector_layers": layers}),
        "fingerprint": mark,
    }


def drawn(pack: CityPack) -> Iterator[Drawn]:
    """Everything the base map shows, layer by layer."""
    labels = pack.declared.basemap.labels
    kinds = {pack.declared.areas.type, "RoadSegment", "Sidewalk", *(label.type for label in labels)}
    by_type: dict[str, list[Entity]] = {}
    for entity in pack.entities(kinds):
        if "location" in entity:
            by_type.setdefault(entity["type"], []).append(entity)
    for area in by_type.get(pack.declared.areas.type, ()):
        if area["category"]["value"] == pack.declared.areas.category:
            yield from _area(area)
    yield from map(_sidewalk, by_type.get("Sidewalk", ()))
    yield from map(_road, by_type.get("RoadSegment", ()))
    for sort, label in enumerate(labels, start=1):
        for entity in by_type.get(label.type, ()):
            held = entity.get(label.attribute, {}).get("value")
            if not label.attribute or held == label.value or (isinstance(held, list) and label.value in held):
                yield from _label(entity, label.kind, sort)


def _names(entity: Entity) -> dict[str, mvt.Value]:
    return {"name": name_of(entity), "name_en": name_of(entity, "en")}


def _area(area: Entity) -> Iterator[Drawn]:
    shape = area["location"]["value"]
    ref = {"ref": local_id(area["id"])}
    yield Drawn("boundary", shape, {"kind": "legal", **_names(area), **ref}, MIN_ZOOM)
    middle = shapely.from_geojson(json.dumps(shape)).representative_point()
    place = {"type": "Point", "coordinates": [middle.x, middle.y]}
    yield Drawn("place", place, {"kind": "dong", **_names(area), "sort": 0}, MIN_ZOOM)


def _sidewalk(line: Entity) -> Drawn:
    width = line.get("width", {}).get("value")
    return Drawn("sidewalk", line["location"]["value"], {"width": width} if width else {}, 13)


def _road(link: Entity) -> Drawn:
    rank, lanes, ref = (
        link.get("roadRank", {}).get("value"),
        link["totalLaneNumber"]["value"],
        local_id(link["id"]),
    )
    named: dict[str, mvt.Value] = {"class": link["roadClass"]["value"]} if "roadClass" in link else {}
    if rank is not None:
        named["rank"] = rank
    major = lanes >= 2 or (rank is not None and rank <= 103)
    return Drawn(
        "road",
        link["location"]["value"],
        {**named, "lanes": lanes, **_names(link), "ref": ref},
        MIN_ZOOM if major else 12,
        int(ref) if ref.isdecimal() and len(ref) < 16 else None,
    )


def _label(entity: Entity, kind: str, sort: int) -> Iterator[Drawn]:
    place = position(entity)
    if place is not None:
        shape = {"type": "Point", "coordinates": list(place)}
        from_zoom = 11 if kind in ("station", "terminal") else 13
        yield Drawn("place", shape, {"kind": kind, **_names(entity), "sort": sort}, from_zoom)


def draw_tiles(things: Sequence[Drawn]) -> Iterator[Tile]:
    """All tiles of all zooms that hold something."""
    shapes = shapely.from_geojson([json.dumps(thing.shape) for thing in things])
    world = shapely.transform(shapes, _mercator)
    for zoom in range(MIN_ZOOM, MAX_ZOOM + 1):
        shown = np.array([thing.from_zoom <= zoom for thing in things])
        yield from _zoom(zoom, [t for t, s in zip(things, shown, strict=True) if s], world[shown])


def _mercator(places: np.ndarray) -> np.ndarray:
    """Degrees to the unit square of web maps, x east, y south. Source: EPSG:3857, scaled to 0…1."""
    x = places[:, 0] / 360.0 + 0.5
    y = 0.5 - np.log(np.tan(np.pi / 4 + np.radians(places[:, 1]) / 2)) / (2 * np.pi)
    return np.column_stack((x, y))


def lon_lat(zoom: int, x: float, y: float) -> tuple[float, float]:
    """The place at column `x` and row `y` (with fractions) of a zoom's tiles, in degrees."""
    side = 1 << zoom
    return x / side * 360.0 - 180.0, degrees(atan(sinh(pi * (1 - 2 * y / side))))


def _zoom(zoom: int, things: Sequence[Drawn], world: np.ndarray) -> Iterator[Tile]:
    scale = float(mvt.EXTENT << zoom)
    shapes = shapely.transform(world, lambda places: places * scale)
    shapes = shapely.simplify(shapes, COARSE[zoom], preserve_topology=False)
    reach = shapely.bounds(shapes) + np.array((-BUFFER, -BUFFER, BUFFER, BUFFER))
    held: dict[tuple[int, int], list[int]] = {}
    for index, (west, north, east, south) in enumerate((reach // mvt.EXTENT).tolist()):
        if west != west:  # an empty shape has no bounds
            continue
        for x in range(int(west), int(east) + 1):
            for y in range(int(north), int(south) + 1):
                held.setdefault((x, y), []).append(index)
    for (x, y), inside in sorted(held.items()):
        tile = _tile(x, y, inside, things, shapes)
        if tile:
            yield zoom, x, y, gzip.compress(tile, 9, mtime=0)


def _tile(x: int, y: int, inside: list[int], things: Sequence[Drawn], shapes: np.ndarray) -> bytes:
    left, top, size = x * mvt.EXTENT, y * mvt.EXTENT, mvt.EXTENT
    box = left - BUFFER, top - BUFFER, left + size + BUFFER, top + size + BUFFER
    clipped, owner = shapely.get_parts(shapely.clip_by_rect(shapes[inside], *box), return_index=True)
    found: dict[int, tuple[int, list[list[tuple[int, int]]]]] = {}
    for index, kind, parts in _parts(clipped, left, top):
        if parts:
            found.setdefault(inside[owner[index]], (kind, []))[1].extend(parts)
    layers: dict[str, list[mvt.Feature]] = {layer: [] for layer in LAYERS}
    for index, (kind, parts) in sorted(found.items()):
        thing = things[index]
        layers[thing.layer].append(mvt.Feature(kind, parts, thing.properties, thing.id))
    return mvt.encode_tile(layers.items())


def _parts(shapes: np.ndarray, left: int, top: int) -> Iterator[tuple[int, int, list[list[tuple[int, int]]]]]:
    """Simple shapes in tile coordinates: index, kind and parts; a part that shrank to nothing is dropped.

    The coordinates of all shapes are rounded in one go: thousands of calls on short lines cost a second.
    """
    places, owner = shapely.get_coordinates(shapes, return_index=True)
    whole = np.rint(places - (left, top)).astype(np.int64).tolist()
    ends = np.searchsorted(owner, np.arange(len(shapes) + 1)).tolist()
    for index, kind in enumerate(shapely.get_type_id(shapes).tolist()):
        start, end = ends[index], ends[index + 1]
        line = [(x, y) for i in range(start, end) for x, y in (whole[i],) if i == start or whole[i - 1] != whole[i]]
        if kind == _SHAPELY_POINT and line:
            yield index, mvt.POINT, [line]
        elif kind == _SHAPELY_LINE and len(line) > 1:
            yield index, mvt.LINE, [line]
        elif kind == _SHAPELY_POLYGON and line:
            yield index, mvt.POLYGON, _rings(shapes[index], left, top)


_SHAPELY_POINT, _SHAPELY_LINE, _SHAPELY_POLYGON = 0, 1, 3


def _rings(polygon: Any, left: int, top: int) -> list[list[tuple[int, int]]]:
    """Outer ring clockwise on the screen, holes the other way (specification §4.3.3.3)."""
    rings: list[list[tuple[int, int]]] = []
    for index, ring in enumerate((polygon.exterior, *polygon.interiors)):
        whole = np.rint(shapely.get_coordinates(ring) - (left, top)).astype(np.int64).tolist()
        places = [(x, y) for i, (x, y) in enumerate(whole) if i == 0 or whole[i - 1] != [x, y]]
        if len(places) > 1 and places[0] == places[-1]:
            places.pop()
        doubled = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise([*places, places[0]]))
        if len(places) < 3 or doubled == 0:
            if index == 0:
                return []
            continue
        rings.append(places if (doubled > 0) == (index == 0) else places[::-1])
    return rings


def geojson_layers(pack: CityPack) -> dict[str, dict[str, Any]]:
    """The same map as GeoJSON FeatureCollections by layer, for other map tools."""
    layers: dict[str, list[dict[str, Any]]] = {layer: [] for layer in LAYERS}
    for thing in drawn(pack):
        feature = {"type": "Feature", "geometry": thing.shape, "properties": thing.properties}
        layers[thing.layer].append(feature if thing.id is None else {**feature, "id": thing.id})
    return {layer: {"type": "FeatureCollection", "features": found} for layer, found in layers.items()}
