"""Bus lines: a sequence of stops becomes a path along the road links. Pure.

Each stop is taken to the nearest node; between nodes the shortest way is followed. Where a stop is off the
network, or the way is unbelievably long, a straight segment is drawn instead. A nearest node just past the
turning makes the path run out and back: such spurs are cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise

import msgspec

from sejong.citypack.declaration import Lines
from sejong.citypack.domain import Entity, Rejected, geometry, name_of, names, position, prop
from sejong.citypack.network import Network
from sejong.citypack.readers import Table
from sejong.citypack.romanise import english_name
from sejong.kernel.geo import haversine_m
from sejong.kernel.ids import urn


class RouteStop(msgspec.Struct, frozen=True):
    """A stop of a line and how far along the path it lies."""

    id: str
    name_ko: str
    name_en: str
    lon: float
    lat: float
    at_m: float
    """Metres from the start of the path."""


class Route(msgspec.Struct, frozen=True):
    """One direction of one line."""

    id: str
    local_id: str
    short: str
    name_ko: str
    name_en: str
    stops: tuple[RouteStop, ...]
    path: tuple[tuple[float, float], ...]
    """(lon, lat), at least two."""
    length_m: float
    straight_m: float
    """How much of the path is straight segments off the network, metres."""


class _Vertex:
    __slots__ = ("absorbed", "place", "stops")

    def __init__(self, place: tuple[float, float], stops: list[int]) -> None:
        self.place = place
        self.stops = stops
        self.absorbed = False


def read_routes(
    declared: Lines,
    table: Table,
    city: str,
    stops: Mapping[str, Entity],
    links: Iterable[Entity],
    glossary: Mapping[str, str],
    rejected: list[Rejected],
) -> list[Route]:
    """The lines of a stop-sequence table. Rows of bad order or unknown stop, lines of one stop: refused."""
    table.demand(declared.route, declared.order, declared.stop, declared.name)
    network = Network(links)
    routes: list[Route] = []
    for local, (name, ids) in _sequences(declared, table, city, stops, rejected).items():
        if len(ids) < 2:
            rejected.append(Rejected(table.file, 0, declared.stop, local, "known stop"))
            continue
        routes.append(_route(declared, city, local, name, [stops[i] for i in ids], network, glossary))
    return routes


def _sequences(
    declared: Lines, table: Table, city: str, stops: Mapping[str, Entity], rejected: list[Rejected]
) -> dict[str, tuple[str, list[str]]]:
    """Stop ids in order, by line; lines in the order they first appear."""
    found: dict[str, tuple[str, list[tuple[int, str]]]] = {}
    for number, row in table:
        stop = urn(declared.stops, city, row[declared.stop])
        if not row[declared.order].isdigit():
            rejected.append(Rejected(table.file, number, declared.order, row[declared.order], "integer"))
        elif stop not in stops:
            rejected.append(Rejected(table.file, number, declared.stop, row[declared.stop], "known stop"))
        else:
            _, sequence = found.setdefault(row[declared.route], (row[declared.name], []))
            sequence.append((int(row[declared.order]), stop))
    return {local: (name, [stop for _, stop in sorted(seq)]) for local, (name, seq) in found.items()}


def _route(
    declared: Lines,
    city: str,
    local: str,
    name: str,
    stops: list[Entity],
    network: Network,
    glossary: Mapping[str, str],
) -> Route:
    places = [place for stop in stops if (place := position(stop))]
    vertices, straight = _drive(declared, places, network)
    vertices = _without_spurs(vertices, 2 * declared.snap_m)
    at, length = _measured(vertices, len(places))
    for old, new in declared.replace:
        name = name.replace(old, new)
    short = re.match(declared.short, name)
    return Route(
        id=urn(declared.type, city, local),
        local_id=local,
        short=short[1] if short else name,
        name_ko=name,
        name_en=english_name(name, glossary),
        stops=tuple(
            RouteStop(stop["id"], name_of(stop), name_of(stop, "en"), lon, lat, at_m)
            for stop, (lon, lat), at_m in zip(stops, places, at, strict=True)
        ),
        path=tuple(vertex.place for vertex in vertices),
        length_m=round(length, 1),
        straight_m=round(straight, 1),
    )


def _drive(declared: Lines, places: list[tuple[float, float]], network: Network) -> tuple[list[_Vertex], float]:
    """The path from stop to stop, and how many metres of it are straight segments."""
    before = network.nearest(*places[0], declared.snap_m)
    vertices = [_Vertex(network.nodes[before] if before else places[0], [0])]
    straight = 0.0
    for index, place in enumerate(places[1:], start=1):
        node = network.nearest(*place, declared.snap_m)
        here = network.nodes[node] if node else place
        way = network.path(before, node) if before and node else None
        apart = haversine_m(*vertices[-1].place, *here)
        if way and way[1] <= declared.detour * max(apart, declared.snap_m):
            for a, b in pairwise(way[0]):
                vertices += [_Vertex(place, []) for place in (*network.bends(a, b), network.nodes[b])]
        else:
            vertices.append(_Vertex(here, []))
            straight += apart
        vertices[-1].stops.append(index)
        before = node
    return vertices, straight


def _without_spurs(vertices: list[_Vertex], longest_m: float) -> list[_Vertex]:
    """Cut A–B–A where B is near; the stops of B move to A. Nothing is cut twice: a true turn-round stays."""
    kept: list[_Vertex] = []
    for vertex in vertices:
        if kept and kept[-1].place == vertex.place:
            kept[-1].stops += vertex.stops
        elif (
            len(kept) > 1
            and kept[-2].place == vertex.place
            and not kept[-1].absorbed
            and haversine_m(*kept[-1].place, *vertex.place) <= longest_m
        ):
            tip = kept.pop()
            kept[-1].stops += tip.stops + vertex.stops
            kept[-1].absorbed = True
        else:
            kept.append(_Vertex(vertex.place, [*vertex.stops]))
    return kept if len(kept) > 1 else vertices


def _measured(vertices: list[_Vertex], n_stops: int) -> tuple[list[float], float]:
    """How far along each stop lies, and the length of the path, metres over ground."""
    at = [0.0] * n_stops
    length = 0.0
    for index, vertex in enumerate(vertices):
        if index:
            length += haversine_m(*vertices[index - 1].place, *vertex.place)
        for stop in vertex.stops:
            at[stop] = round(length, 1)
    return at, length


def line_entity(route: Route, declared: Lines) -> Entity:
    """The entity of a line. Its stops are a list: order counts, and a loop names its first stop twice."""
    path = {"type": "LineString", "coordinates": [list(place) for place in route.path]}
    return {
        "id": route.id,
        "type": declared.type,
        "name": names(route.name_ko, route.name_en),
        "location": geometry(path, reconstructed=True),
        "routeCode": prop(route.local_id),
        "shortRouteCode": prop(route.short),
        "transportationType": prop(3),
        "length": prop(route.length_m, "MTR"),
        "refPublicTransportStops": {
            "type": "ListRelationship",
            "objectList": [{"object": stop.id} for stop in route.stops],
        },
        "source": prop(declared.source),
        "dataProvider": prop(declared.provider),
    }
