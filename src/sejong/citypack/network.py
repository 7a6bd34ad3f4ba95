"""The road links as a graph: nearest node, shortest path. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from math import cos, radians

import numpy as np

from sejong.citypack.domain import Entity
from sejong.kernel.geo import EARTH_RADIUS_M

Place = tuple[float, float]


class Network:
    """Directed links between nodes; only links with a shape take part."""

    def __init__(self, links: Iterable[Entity]) -> None:
        self.nodes: dict[str, Place] = {}
        self._out: dict[str, list[tuple[str, float]]] = {}
        self._shapes: dict[tuple[str, str], list[Place]] = {}
        for link in links:
            if "location" not in link:
                continue
            shape = link["location"]["value"]["coordinates"]
            start, end = link["fromNode"]["value"], link["toNode"]["value"]
            self.nodes.setdefault(start, (shape[0][0], shape[0][1]))
            self.nodes.setdefault(end, (shape[-1][0], shape[-1][1]))
            self._out.setdefault(start, []).append((end, link["length"]["value"]))
            self._shapes.setdefault((start, end), [(place[0], place[1]) for place in shape])
        self._ids = list(self.nodes)
        self._places = np.array(list(self.nodes.values()), dtype=np.float64).reshape(-1, 2)
        self._paths: dict[tuple[str, str], tuple[list[str], float] | None] = {}

    def nearest(self, lon: float, lat: float, within_m: float) -> str | None:
        """The node nearest to a place, None if none lies within `within_m` metres (flat Earth)."""
        if not self._ids:
            return None
        across = np.radians(self._places[:, 0] - lon) * cos(radians(lat))
        along = np.radians(self._places[:, 1] - lat)
        squared = across * across + along * along
        best = int(squared.argmin())
        return self._ids[best] if squared[best] ** 0.5 * EARTH_RADIUS_M <= within_m else None

    def bends(self, start: str, end: str) -> list[Place]:
        """The places between two neighbouring nodes where the link bends."""
        return self._shapes[start, end][1:-1]

    def path(self, start: str, end: str) -> tuple[list[str], float] | None:
        """The shortest way by length: its nodes and metres, None if there is none.

        Source: E. W. Dijkstra, Numerische Mathematik 1 (1959) 269–271.
        """
        if (start, end) not in self._paths:
            self._paths[start, end] = self._search(start, end)
        return self._paths[start, end]

    def _search(self, start: str, end: str) -> tuple[list[str], float] | None:
        reached: dict[str, float] = {start: 0.0}
        came: dict[str, str] = {}
        front: list[tuple[float, str]] = [(0.0, start)]
        while front:
            metres, node = heapq.heappop(front)
            if node == end:
                return _traced(came, start, end), metres
            if metres > reached[node]:
                continue
            for neighbour, length in self._out.get(node, ()):
                further = metres + length
                if further < reached.get(neighbour, float("inf")):
                    reached[neighbour] = further
                    came[neighbour] = node
                    heapq.heappush(front, (further, neighbour))
        return None


def _traced(came: dict[str, str], start: str, end: str) -> list[str]:
    nodes = [end]
    while nodes[-1] != start:
        nodes.append(came[nodes[-1]])
    return nodes[::-1]
