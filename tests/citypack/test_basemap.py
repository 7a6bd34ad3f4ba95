"""The base map: tiles are read back by a decoder of our own and compared with the pack."""

from __future__ import annotations

import gzip
import json
import sqlite3
import struct
from collections.abc import Callable, Iterator
from math import asinh, floor, pi, radians, tan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import LineString, Point

from sejong.citypack.api import CityPack, build_basemap, tiles_reader
from sejong.citypack.basemap import BUFFER, FIELDS, LAYERS, MAX_ZOOM, MIN_ZOOM, geojson_layers, lon_lat
from sejong.citypack.mvt import EXTENT, LINE, POINT, POLYGON, Feature, encode_tile
from sejong.citypack.tiles import TileReader, write_tiles
from sejong.kernel.geo import haversine_m

Town = Callable[..., CityPack]


# ── A decoder, after the specification ──


def varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(body: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(body):
        key, at = varint(body, at)
        if key & 7 == 0:
            value, at = varint(body, at)
        elif key & 7 == 1:
            value, at = struct.unpack_from("<d", body, at)[0], at + 8
        else:
            assert key & 7 == 2
            size, at = varint(body, at)
            value, at = body[at : at + size], at + size
        yield key >> 3, value


def packed(body: bytes) -> list[int]:
    at, out = 0, []
    while at < len(body):
        value, at = varint(body, at)
        out.append(value)
    return out


def unzigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)


def parts(commands: list[int], kind: int) -> list[list[tuple[int, int]]]:
    out: list[list[tuple[int, int]]] = []
    x = y = at = 0
    while at < len(commands):
        command, count = commands[at] & 7, commands[at] >> 3
        at += 1
        if command == 7:
            assert (kind, count) == (POLYGON, 1)
            continue
        for _ in range(count):
            x, y = x + unzigzag(commands[at]), y + unzigzag(commands[at + 1])
            at += 2
            if command == 1 and not (kind == POINT and out):
                out.append([(x, y)])
            else:
                out[-1].append((x, y))
    return out


def one_value(body: bytes) -> Any:
    ((field, value),) = fields(body)
    if field == 1:
        return value.decode()
    return {3: value, 5: value, 6: unzigzag(value) if field == 6 else 0, 7: bool(value)}[field]


def decode(body: bytes) -> dict[str, list[dict[str, Any]]]:
    layers: dict[str, list[dict[str, Any]]] = {}
    for _, layer in fields(body):
        found = list(fields(layer))
        keys = [value.decode() for field, value in found if field == 3]
        values = [one_value(value) for field, value in found if field == 4]
        assert [value for field, value in found if field == 5] == [EXTENT]
        assert [value for field, value in found if field == 15] == [2]
        (name,) = [value.decode() for field, value in found if field == 1]
        layers[name] = []
        for raw in (value for field, value in found if field == 2):
            feature = dict(fields(raw))
            tags = packed(feature.get(2, b""))
            properties = {keys[k]: values[v] for k, v in zip(tags[::2], tags[1::2], strict=True)}
            shape = parts(packed(feature[4]), feature[3])
            layers[name].append({"id": feature.get(1), "kind": feature[3], "parts": shape, **properties})
    return layers


# ── The encoder ──

place = st.tuples(st.integers(-BUFFER, EXTENT + BUFFER), st.integers(-BUFFER, EXTENT + BUFFER))
value = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False),
)
properties = st.dictionaries(st.text("abc", max_size=3), value)
ids = st.none() | st.integers(0, 2**53)


def some(least: int, most: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    return st.lists(place, min_size=least, max_size=most)


feature = st.one_of(
    st.builds(Feature, st.just(POINT), some(1, 1).map(lambda part: [part]), properties, ids),
    st.builds(Feature, st.just(LINE), st.lists(some(2, 9), min_size=1, max_size=3), properties),
    st.builds(Feature, st.just(POLYGON), st.lists(some(3, 9), min_size=1, max_size=3), st.just({})),
)


@given(st.lists(feature, max_size=6))
def test_what_is_encoded_is_decoded(features: list[Feature]) -> None:
    read = decode(encode_tile([("things", features), ("empty", [])]))
    assert set(read) == ({"things"} if features else set())
    for was, now in zip(features, read.get("things", []), strict=True):
        assert now.pop("id") == was.id
        assert now.pop("kind") == was.kind
        assert now.pop("parts") == [list(part) for part in was.parts]
        assert now == was.properties
        assert [type(v) for v in now.values()] == [type(v) for v in was.properties.values()]


# ── The map ──


def column_row(lon: float, lat: float, zoom: int) -> tuple[float, float]:
    side = 1 << zoom
    return (lon + 180) / 360 * side, (1 - asinh(tan(radians(lat))) / pi) / 2 * side


@pytest.fixture(scope="module")
def sejong_map(sejong_pack: CityPack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TileReader]:
    path = tmp_path_factory.mktemp("map") / "sejong.mbtiles"
    build_basemap(sejong_pack, path)
    reader = tiles_reader(path)
    yield reader
    reader.close()


def tile_at(reader: TileReader, lon: float, lat: float, zoom: int) -> dict[str, list[dict[str, Any]]]:
    x, y = column_row(lon, lat, zoom)
    body = reader.tile(zoom, floor(x), floor(y))
    return decode(gzip.decompress(body)) if body else {}


def every_tile(path: str) -> Iterator[tuple[int, int, int, dict[str, list[dict[str, Any]]]]]:
    for z, x, row, body in sqlite3.connect(path).execute("SELECT * FROM tiles"):
        yield z, x, (1 << z) - 1 - row, decode(gzip.decompress(body))


def test_the_centre_of_sejong_is_drawn(sejong_map: TileReader, sejong_pack: CityPack) -> None:
    layers = tile_at(sejong_map, *sejong_pack.city.centre, 14)
    assert set(layers) == set(LAYERS)
    road = next(f for f in layers["road"] if f["name"] == "갈매로")
    assert (road["name_en"], road["class"], road["kind"]) == ("Galmae-ro", "secondary", LINE)
    assert road["id"] == int(road["ref"])
    assert {f["kind"] for f in layers["boundary"]} == {POLYGON} or all(f["kind"] == "legal" for f in layers["boundary"])


def test_the_dong_labels_are_all_there_from_afar(sejong_map: TileReader, tmp_path: Path, sejong_pack: CityPack) -> None:
    path = tmp_path / "again.mbtiles"
    build_basemap(sejong_pack, path)
    names: dict[int, set[str]] = {}
    seen_roads: set[str] = set()
    for z, _, _, layers in every_tile(str(path)):
        names.setdefault(z, set()).update(f["name"] for f in layers.get("place", []) if f["sort"] == 0)
        assert "sidewalk" not in layers or z >= 13
        if z == MAX_ZOOM:
            seen_roads |= {f["ref"] for f in layers.get("road", [])}
        for layer, found in layers.items():
            for one in found:
                assert set(one) - {"id", "kind", "parts"} <= set(FIELDS[layer])
                for part in one["parts"]:
                    for x, y in part:
                        assert -BUFFER <= min(x, y) <= max(x, y) <= EXTENT + BUFFER
    assert set(names) == set(range(MIN_ZOOM, MAX_ZOOM + 1))
    assert all(len(found) == 33 for found in names.values())
    assert len(seen_roads) == 2507  # every link with a shape, both directions


def test_shapes_come_back_where_they_were(testville: CityPack, tmp_path: Path) -> None:
    build_basemap(testville, tmp_path / "town.mbtiles")
    reader = tiles_reader(tmp_path / "town.mbtiles")
    x, y = column_row(127.002, 36.004, 14)
    layers = tile_at(reader, 127.002, 36.004, 14)
    (path,) = layers["sidewalk"]
    found = [lon_lat(14, floor(x) + px / EXTENT, floor(y) + py / EXTENT) for px, py in path["parts"][0]]
    was = LineString([(127.001, 36.001), (127.002, 36.004), (127.001, 36.008)])
    assert all(was.distance(Point(place)) < 6e-6 for place in found)  # degrees; a tile coordinate is 0.5 m
    assert min(haversine_m(127.002, 36.004, *place) for place in found) < 0.6
    assert path["width"] == 2.5
    reader.close()


def test_rings_run_the_way_the_specification_asks(town: Town, tmp_path: Path) -> None:
    hole = ",[[127.004,36.001],[127.006,36.001],[127.006,36.003],[127.004,36.003],[127.004,36.001]]]}}"
    pack = town(("data/areas.geojson", "]]}}", "]" + hole))
    build_basemap(pack, tmp_path / "hole.mbtiles")
    reader = tiles_reader(tmp_path / "hole.mbtiles")
    (area,) = tile_at(reader, 127.005, 36.002, 14)["boundary"]
    areas = [sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(r, r[1:] + r[:1], strict=True)) for r in area["parts"]]
    outer, inner = areas
    assert outer > 0 > inner
    reader.close()


def test_empty_places_have_no_tile(sejong_map: TileReader) -> None:
    assert sejong_map.tile(14, 0, 0) is None
    assert sejong_map.tile(99, 0, 0) is None
    assert sejong_map.tile(-1, 0, 0) is None
    assert sejong_map.tile(8, 218, 100) is None


def test_the_archive_describes_itself(sejong_map: TileReader) -> None:
    about = sejong_map.metadata
    assert (about["format"], about["minzoom"], about["maxzoom"], about["name"]) == (
        "pbf",
        "9",
        "14",
        "Sejong",
    )
    assert {layer["id"] for layer in json.loads(about["json"])["vector_layers"]} == set(LAYERS)


def test_a_map_is_drawn_anew_only_when_the_pack_changed(town: Town, tmp_path: Path) -> None:
    out = tmp_path / "state" / "basemap.mbtiles"
    pack = town()
    first = build_basemap(pack, out)
    assert (first.rebuilt, first.bytes) == (True, out.stat().st_size)
    assert first.tiles > 0
    drawn = out.read_bytes()
    assert build_basemap(pack, out) == type(first)(out, first.tiles, first.bytes, rebuilt=False)
    out.unlink()
    build_basemap(pack, out)
    assert out.read_bytes() == drawn  # the same pack gives the same bytes
    changed = town(("data/paths.geojson", "127.002", "127.003"))
    assert build_basemap(changed, out).rebuilt
    assert out.read_bytes() != drawn
    out.write_bytes(b"not a database, but long enough to look at" * 100)
    assert build_basemap(changed, out).rebuilt
    assert [path.name for path in out.parent.iterdir()] == ["basemap.mbtiles"]


def test_a_failed_drawing_leaves_the_old_map(town: Town, tmp_path: Path) -> None:
    out = tmp_path / "basemap.mbtiles"
    build_basemap(town(), out)
    before = out.read_bytes()

    def breaks() -> Iterator[tuple[int, int, int, bytes]]:
        yield 9, 0, 0, b"x"
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        write_tiles(out, breaks(), {})
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["basemap.mbtiles"]


def test_the_same_map_as_geojson(testville: CityPack) -> None:
    layers = geojson_layers(testville)
    assert {name: len(layer["features"]) for name, layer in layers.items()} == {
        "boundary": 1, "sidewalk": 1, "road": 10, "place": 2,
    }  # fmt: skip
    assert all(f["geometry"]["coordinates"] for layer in layers.values() for f in layer["features"])
