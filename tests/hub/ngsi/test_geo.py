"""Questions about places: reading them, deciding them, and what the database may say before."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sejong.hub.ngsi.errors import BadRequestData, NgsiLdError, TooComplexQuery
from sejong.hub.ngsi.geo import (
    LOCATION,
    GeoQuery,
    Place,
    compile_geo,
    parse_geo,
    parse_geometry,
    place_of,
    to_sql,
)
from sejong.hub.ngsi.geometry import distance_from, read_shape
from sejong.kernel.geo import haversine_m, move_m

LAKE = [127.2653584, 36.492771]
SQUARE = [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]]
BOW = [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]
SPACE = "https://uri.etsi.org/ngsi-ld/observationSpace"


def geometry(kind: str, coordinates: Any) -> dict[str, Any]:
    return {"type": kind, "coordinates": coordinates}


def at(*geometries: dict[str, Any], name: str = LOCATION) -> dict[str, Any]:
    instances = [
        {"type": "GeoProperty", "value": value, "datasetId": f"urn:d:{n}"} for n, value in enumerate(geometries)
    ]
    return {"id": "urn:x:1", "type": ["urn:T"], name: instances}


def query(georel: str, kind: str, coordinates: Any, geoproperty: str | None = None) -> GeoQuery:
    made = parse_geo(georel, kind, coordinates, geoproperty, lambda term: f"https://uri.etsi.org/ngsi-ld/{term}")
    assert made is not None
    return made


def finds(georel: str, kind: str, coordinates: Any, *targets: dict[str, Any]) -> bool:
    return compile_geo(query(georel, kind, coordinates))(at(*targets))


# --- reading ---


def test_a_geoquery_is_read_from_url_or_body() -> None:
    made = query("near;maxDistance==2000.5", "Point", "[8,40]")
    assert made == query("near;maxDistance==2000.5", "Point", [8, 40])
    assert (made.georel, made.max_distance, made.min_distance, made.geoproperty) == (
        "near",
        2000.5,
        None,
        LOCATION,
    )
    assert query("near;minDistance==1e3", "Point", [8, 40]).min_distance == 1000
    assert query("within", "Polygon", SQUARE, "observationSpace").geoproperty == SPACE
    assert query("within", "Polygon", SQUARE, "location").is_default
    assert parse_geo(None, None, None, None, str) is None


@pytest.mark.parametrize(
    "parts",
    [
        (None, "Point", "[8,40]", None),
        ("within", None, "[8,40]", None),
        ("within", "Point", None, None),
        ("within", "Point", "", None),
        (None, None, None, "location"),
        ("inside", "Point", "[8,40]", None),
        ("near", "Point", "[8,40]", None),
        ("near;", "Point", "[8,40]", None),
        ("near;maxDistance=5", "Point", "[8,40]", None),
        ("near;maxDistance==0", "Point", "[8,40]", None),
        ("near;maxDistance==-5", "Point", "[8,40]", None),
        ("near;maxDistance==1e999", "Point", "[8,40]", None),
        ("near;maxDistance==far", "Point", "[8,40]", None),
        ("near;distance==5", "Point", "[8,40]", None),
        ("within;maxDistance==5", "Point", "[8,40]", None),
        ("within", "GeometryCollection", "[]", None),
        ("within", "point", "[8,40]", None),
        ("within", "Point", "8,40", None),
        ("within", "Point", "[8]", None),
        ("within", "Point", '["8","40"]', None),
        ("within", "Point", "[NaN,1]", None),
        ("within", "Point", "[1e999,1]", None),
        ("within", "Point", "[8,91]", None),
        ("within", "Point", "[181,0]", None),
        ("within", "Point", "[[8,40]]", None),
        ("within", "Point", "{}", None),
        ("within", "Point", "[" * 5000, None),
        ("within", "LineString", "[[8,40]]", None),
        ("within", "Polygon", "[[[0,0],[1,0],[1,1]]]", None),
        ("within", "Polygon", "[[[0,0],[1,0],[1,1],[0,1]]]", None),
        ("within", "MultiPoint", "[]", None),
        ("within", "Point", "[8,40]", "1bad"),
        ("within", "Point", "[8,40]", 5),
    ],
)
def test_what_is_no_geoquery_is_refused(parts: tuple[Any, Any, Any, Any]) -> None:
    with pytest.raises(BadRequestData):
        parse_geo(*parts, str)


def test_there_is_a_limit() -> None:
    with pytest.raises(TooComplexQuery):
        parse_geometry("MultiPoint", [[0, 0]] * 10_001)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_read_or_refused_by_name(georel: str, kind: str, coordinates: str) -> None:
    for parts in ((georel, kind, coordinates), ("near;" + georel, "Point", coordinates)):
        with contextlib.suppress(NgsiLdError):
            parse_geo(parts[0], parts[1], parts[2], None, str)


# --- relations ---

P = lambda lon, lat: geometry("Point", [lon, lat])  # noqa: E731
LINE = geometry("LineString", [[-1, 1], [3, 1]])
INNER = geometry("Polygon", [[[0.5, 0.5], [1, 0.5], [1, 1], [0.5, 1], [0.5, 0.5]]])
SHIFTED = geometry("Polygon", [[[1, 1], [3, 1], [3, 3], [1, 3], [1, 1]]])


@pytest.mark.parametrize(
    ("georel", "target", "found"),
    [
        ("within", P(1, 1), True),
        ("within", P(0, 1), False),  # on the edge: not within (OGC)
        ("intersects", P(0, 1), True),
        ("disjoint", P(0, 1), False),
        ("disjoint", P(5, 5), True),
        ("within", INNER, True),
        ("within", LINE, False),
        ("intersects", LINE, True),
        ("overlaps", SHIFTED, True),
        ("overlaps", INNER, False),
        ("overlaps", P(1, 1), False),
        ("contains", geometry("Polygon", [[[-1, -1], [9, -1], [9, 9], [-1, 9], [-1, -1]]]), True),
        ("contains", INNER, False),
        ("equals", geometry("Polygon", [[[2, 2], [0, 2], [0, 0], [2, 0], [2, 2]]]), True),
        ("equals", INNER, False),
        ("intersects", geometry("MultiPoint", [[9, 9], [1, 1]]), True),
        ("within", geometry("MultiLineString", [[[0.1, 1], [1, 1]], [[1, 0.5], [1.5, 1.5]]]), True),
        ("within", geometry("MultiPolygon", [INNER["coordinates"]]), True),
        ("within", P(1, 1) | {"coordinates": [1, 1, 50.0]}, True),
    ],
)
def test_relations(georel: str, target: dict[str, Any], found: bool) -> None:
    assert finds(georel, "Polygon", SQUARE, target) is found


def test_points_contain_and_equal_points() -> None:
    assert finds("equals", "Point", [1, 1], P(1, 1))
    assert finds("contains", "Point", [1, 1], P(1, 1))
    assert not finds("equals", "Point", [1, 1], P(1, 2))


def test_any_instance_may_match_and_one_must_exist() -> None:
    assert finds("within", "Polygon", SQUARE, P(9, 9), P(1, 1))
    assert not compile_geo(query("disjoint", "Polygon", SQUARE))({"id": "urn:x:1", "type": []})
    elsewhere = query("within", "Polygon", SQUARE, "observationSpace")
    assert compile_geo(elsewhere)(at(P(1, 1), name=SPACE))
    assert not compile_geo(elsewhere)(at(P(1, 1)))


@pytest.mark.parametrize(
    "georel", ["within", "contains", "intersects", "equals", "disjoint", "overlaps", "near;maxDistance==9"]
)
def test_crossing_rings_are_accepted(georel: str) -> None:
    bow = geometry("Polygon", BOW)
    assert isinstance(finds(georel, "Polygon", BOW, bow, P(1, 1), SHIFTED), bool)
    assert isinstance(finds(georel, "Polygon", SQUARE, bow), bool)
    assert finds("intersects", "Polygon", BOW, P(1.9, 1))


strange = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=10,
)


@given(strange, st.sampled_from(["Point", "LineString", "Polygon", "MultiPoint", "MultiPolygon", "Nonsense"]))
def test_no_stored_value_is_too_strange(value: Any, kind: str) -> None:
    for document in ({LOCATION: value}, {LOCATION: [{"value": value}]}, at(geometry(kind, value))):
        assert compile_geo(query("within", "Polygon", SQUARE))(document) in (True, False)
        assert compile_geo(query("near;maxDistance==9", "Point", [0, 0]))(document) in (True, False)
        place_of(document)


# --- distances ---


def test_near_a_point() -> None:
    station = P(127.3273780, 36.620453)  # 15,240 m from the lake
    assert finds("near;maxDistance==15300", "Point", LAKE, station)
    assert not finds("near;maxDistance==15200", "Point", LAKE, station)
    assert finds("near;minDistance==15200", "Point", LAKE, station)
    assert not finds("near;minDistance==15300", "Point", LAKE, station)
    assert finds("near;maxDistance==1", "Point", LAKE, P(*LAKE))


def test_near_reaches_over_the_date_line() -> None:
    assert finds("near;maxDistance==23000", "Point", [179.9, 0], P(-179.9, 0))
    assert not finds("near;maxDistance==22000", "Point", [179.9, 0], P(-179.9, 0))


def test_the_distance_to_a_line_and_a_polygon_is_that_of_their_nearest_place() -> None:
    street = geometry("LineString", [[127.0, 36.5], [127.6, 36.5]])
    away = haversine_m(127.3, 36.51, 127.3, 36.5)
    assert finds(f"near;maxDistance=={away + 2}", "Point", [127.3, 36.51], street)
    assert not finds(f"near;maxDistance=={away - 2}", "Point", [127.3, 36.51], street)
    assert finds("near;maxDistance==1", "Point", [1, 1], geometry("Polygon", SQUARE)), "inside is no distance"
    assert finds(f"near;maxDistance=={away + 2}", "LineString", street["coordinates"], P(127.3, 36.51))
    assert not finds(f"near;maxDistance=={away - 2}", "LineString", street["coordinates"], P(127.3, 36.51))


@settings(deadline=None)
@given(st.floats(-170, 170), st.floats(-80, 80), st.floats(0, 360), st.floats(1, 1e6), st.floats(0, 360))
def test_distances_keep_the_stated_accuracy(lon: float, lat: float, bearing: float, metres: float, turn: float) -> None:
    """A short street is as far as the nearest of its places, densely sampled, but for the stated error."""
    one = move_m(lon, lat, bearing, metres)
    two = move_m(*one, turn, min(metres, 5_000))
    assume(abs(one[0] - two[0]) < 1)
    street = read_shape(geometry("LineString", [list(one), list(two)]))
    assert street is not None
    samples = [
        haversine_m(lon, lat, one[0] + (two[0] - one[0]) * k / 2000, one[1] + (two[1] - one[1]) * k / 2000)
        for k in range(2001)
    ]
    measured = distance_from((lon, lat))(street)
    assert measured == pytest.approx(min(samples), rel=1e-3, abs=1 + 5_000 / 2000)


# --- what the store indexes ---


def test_a_single_point_is_its_own_place() -> None:
    assert place_of(at(P(1, 2))) == Place(1.0, 2.0)


def test_everything_else_has_a_box_around_all_instances() -> None:
    assert place_of(at(geometry("Polygon", SQUARE))) == Place(1.0, 1.0, (0.0, 0.0, 2.0, 2.0))
    assert place_of(at(P(0, 0), P(4, 2))) == Place(2.0, 1.0, (0.0, 0.0, 4.0, 2.0))
    assert place_of({"id": "urn:x:1"}) is None


# --- the database ---

COORDINATES = [
    0,
    1,
    1.5,
    2,
    -1,
    3,
    0.5,
    179.99,
    -179.99,
    180,
    -180,
    89.9,
    -89.9,
    1e-300,
    1.0000001,
    127.2653584,
]
TABLE = "create temp table place(n int, lon float8, lat float8, geom_box box, q jsonb)"


def random_position(rng: random.Random) -> list[float]:
    lon = rng.choice([*COORDINATES, rng.uniform(-3, 3), rng.uniform(-180, 180)])
    lat = rng.choice([*COORDINATES, rng.uniform(-3, 3), rng.uniform(-90, 90)])
    return [lon, lat if abs(lat) <= 90 else lat / 2.1]


def random_geometry(rng: random.Random) -> dict[str, Any]:
    west, south = (value / 2 for value in random_position(rng))
    wide, high = rng.choice([0.1, 1, 2, rng.uniform(0.01, 3)]), rng.choice([0.1, 1, 2])
    ring = [
        [west, south],
        [west + wide, south],
        [west + wide, south + high],
        [west, south + high],
        [west, south],
    ]
    return rng.choice(
        [
            geometry("Point", random_position(rng)),
            geometry("MultiPoint", [random_position(rng) for _ in range(2)]),
            geometry("LineString", [[west, south], [west + wide, south + high]]),
            geometry("Polygon", [ring]),
            geometry("Polygon", [[*ring[:2], *ring[3:]]]),
        ]
    )


class World:
    def __init__(self, dsn: str) -> None:
        rng = random.Random(20261122)
        self.loop = asyncio.new_event_loop()
        self.entities = [at(P(179.995, 10)), at(P(-179.995, 10))]
        self.entities += [at(P(*random_position(rng))) for _ in range(150)]
        self.entities += [at(random_geometry(rng)) for _ in range(100)]
        self.entities += [at(random_geometry(rng), random_geometry(rng)) for _ in range(30)]
        self.entities += [at(random_geometry(rng), name=SPACE) for _ in range(20)]
        self.connection: asyncpg.Connection = self.loop.run_until_complete(asyncpg.connect(dsn))
        self.loop.run_until_complete(self._fill())

    async def _fill(self) -> None:
        await self.connection.execute(TABLE)
        for n, document in enumerate(self.entities):
            place = place_of(document)
            box = None if place is None or place.box is None else asyncpg.Box(place.box[2:], place.box[:2])
            q = json.dumps({"5": None} if SPACE in document else {})
            lon, lat = (None, None) if place is None else (place.lon, place.lat)
            await self.connection.execute("insert into place values ($1, $2, $3, $4, $5)", n, lon, lat, box, q)

    def ask(self, wanted: GeoQuery) -> list[tuple[bool, bool]]:
        values: list[Any] = []

        def bind(value: Any) -> str:
            values.append(value)
            return f"${len(values)}"

        rows = to_sql(wanted, {SPACE: 5}.get, bind, prefix="p.")
        sql = f"select ({rows.maybe}) as maybe, ({rows.sure}) as sure from place p order by n"
        found = self.loop.run_until_complete(self.connection.fetch(sql, *values))
        return [(row["maybe"] is True, row["sure"] is True) for row in found]

    def close(self) -> None:
        self.loop.run_until_complete(self.connection.close())
        self.loop.close()


@pytest.fixture(scope="module")
def world(dsn: str) -> Iterator[World]:
    made = World(dsn)
    yield made
    made.close()


RELATIONS = ["within", "contains", "intersects", "equals", "disjoint", "overlaps", "near", "near", "near", "near"]


def random_question(rng: random.Random, entities: list[dict[str, Any]]) -> GeoQuery:
    """A question whose edge often runs through, or very near, a stored place."""
    stored = [i["value"] for document in entities for key in (LOCATION, SPACE) for i in document.get(key, ())]
    reference, target = rng.choice([random_geometry(rng), *rng.sample(stored, 2)]), rng.choice(stored)
    if rng.random() < 0.3 and target["type"] == "Point":
        (west, south), wide = target["coordinates"], rng.choice([0.5, 1e-7, 1e-9])
        east, north = min(west + wide, 180), min(south + wide, 90)
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        reference = geometry("Polygon", [ring]) if east > west and north > south else reference
    georel = rng.choice(RELATIONS)
    if georel == "near":
        one, other = read_shape(reference), read_shape(target)
        assert one is not None
        assert other is not None
        metres = distance_from(one)(other) * rng.choice([1, 1, 1 + 1e-12, 1 - 1e-12, 1.001, 0.999, 0.7, 3])
        georel = f"near;{rng.choice(['max', 'max', 'min'])}Distance=={max(metres, 0.001)}"
    space = "observationSpace" if rng.random() < 0.1 else None
    return query(georel, reference["type"], reference["coordinates"], space)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**40))
def test_sure_rows_match_and_matching_rows_are_maybe(world: World, seed: int) -> None:
    wanted = random_question(random.Random(seed), world.entities)
    matches = compile_geo(wanted)
    for document, (maybe, sure) in zip(world.entities, world.ask(wanted), strict=True):
        found = matches(document)
        assert not sure or found, f"{wanted}: surely found, but it does not match: {document}"
        assert maybe or not found, f"{wanted}: it matches, but is not even maybe found: {document}"


@pytest.mark.parametrize("lon", [179.995, -179.995])
def test_the_database_looks_across_the_date_line(world: World, lon: float) -> None:
    assert world.ask(query("near;maxDistance==2000", "Point", [lon, 10]))[:2] == [(True, True), (True, True)]


def test_the_database_decides_points_in_rectangles_and_circles(world: World) -> None:
    for wanted in (query("within", "Polygon", SQUARE), query("near;maxDistance==200000", "Point", [1, 1])):
        answers = world.ask(wanted)
        assert 0 < sum(sure for _, sure in answers) < sum(maybe for maybe, _ in answers) < len(answers)


def test_an_unknown_geoproperty_is_found_nowhere() -> None:
    rows = to_sql(query("within", "Polygon", SQUARE, "observationSpace"), lambda iri: None, lambda value: "$1")
    assert (rows.maybe, rows.sure) == ("false", "false")
