"""Everything that moves or changes in the city, held once for all who watch the live map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from sejong.kernel.geo import BBox
from sejong.portal.city_view import Card
from sejong.portal.frames import Bytes, Frame, Grid, Numbers, Steps
from sejong.portal.states import state_of
from sejong.portal.words import KINDS, LAYER_KEYS

MOST_IN_FRAME = 50_000
"""Things sent to one viewer at once at most; a wider view of a larger city keeps the lowest numbers."""

_KIND_NUMBER = {kind.type: number for number, kind in enumerate(KINDS)}
_LAYER_OF_KIND = np.array(
    [LAYER_KEYS.index(kind.layer) if kind.layer else len(LAYER_KEYS) for kind in KINDS], dtype=np.uint8
)
LIVE_TYPES = tuple(kind.type for kind in KINDS if kind.layer)
ROAD_TYPE = "RoadSegment"


class Scene:
    """Positions and state classes in flat arrays; `tick` counts the changes so that a viewer can ask what is new."""

    def __init__(self, grid: Grid, room: int = 1024) -> None:
        self.grid = grid
        self.tick = 0
        self.size = 0
        self._slot: dict[int, int] = {}
        self.number: Numbers = np.zeros(room, np.uint32)
        self.x: Steps = np.zeros(room, np.uint16)
        self.y: Steps = np.zeros(room, np.uint16)
        self.kind: Bytes = np.zeros(room, np.uint8)
        self.state: Bytes = np.zeros(room, np.uint8)
        self.alive: NDArray[np.bool_] = np.zeros(room, np.bool_)
        self.changed: NDArray[np.uint32] = np.zeros(room, np.uint32)
        """The tick of each thing's newest change."""
        self.roads: dict[str, tuple[int, int]] = {}
        """Road link number → (state class, tick of its change)."""
        self._link: dict[int, str] = {}

    def apply(self, cards: Iterable[Card], asked: Sequence[int] = ()) -> bool:
        """Take in the present cards; of the numbers `asked` for, those without a card are gone.

        Returns whether anything a viewer could see is different.
        """
        tick, seen, different = self.tick + 1, set[int](), False
        for card in cards:
            seen.add(card.no)
            different |= self._road(card, tick) if card.type == ROAD_TYPE else self._place(card, tick)
        for number in asked:
            if number not in seen:
                different |= self._remove(number, tick)
        if different:
            self.tick = tick
        return different

    def known(self) -> list[int]:
        """The numbers of everything ever shown."""
        return [*self._slot, *self._link]

    def _road(self, card: Card, tick: int) -> bool:
        link, state = card.id.rpartition(":")[2], state_of(card.type, card.facts)
        self._link[card.no] = link
        if self.roads.get(link, (-1, 0))[0] == state:
            return False
        self.roads[link] = (state, tick)
        return True

    def _place(self, card: Card, tick: int) -> bool:
        kind = _KIND_NUMBER.get(card.type)
        steps = self.grid.steps(card.lon, card.lat) if card.lon is not None and card.lat is not None else None
        if kind is None or steps is None or not KINDS[kind].layer:
            return self._remove(card.no, tick)
        slot = self._slot.get(card.no)
        if slot is None:
            slot = self._slot[card.no] = self._room_for_one()
            self.number[slot] = card.no
        state = state_of(card.type, card.facts)
        now = (*steps, kind, state, True)
        if now == (self.x[slot], self.y[slot], self.kind[slot], self.state[slot], self.alive[slot]):
            return False
        self.x[slot], self.y[slot], self.kind[slot], self.state[slot], self.alive[slot] = now
        self.changed[slot] = tick
        return True

    def _remove(self, number: int, tick: int) -> bool:
        if link := self._link.pop(number, None):
            self.roads[link] = (0, tick)
            return True
        slot = self._slot.get(number)
        if slot is None or not self.alive[slot]:
            return False
        self.alive[slot], self.changed[slot] = False, tick
        return True

    def _room_for_one(self) -> int:
        if self.size == len(self.number):
            for name in ("number", "x", "y", "kind", "state", "alive", "changed"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros_like(old)]))
        self.size += 1
        return self.size - 1


class Viewport(msgspec.Struct, frozen=True):
    """What one viewer looks at, as the browser says it."""

    bbox: tuple[float, float, float, float]
    layers: tuple[str, ...]
    zoom: float = 0.0

    def box(self) -> BBox:
        """The box as the rest of the house writes it."""
        return BBox(*self.bbox)


class View:
    """What one viewer already has, so that only differences are sent. A viewer that skips ticks misses nothing."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._has: NDArray[np.bool_] = np.zeros(len(scene.number), np.bool_)
        self._tick = 0
        self._first = True
        self._roads_tick = 0
        self._roads_shown = False

    def frame(self, viewport: Viewport) -> Frame | None:
        """What this viewer must be told to see the present, or None."""
        scene, n = self._scene, self._scene.size
        if len(self._has) < len(scene.number):
            self._has = np.concatenate([self._has, np.zeros(len(scene.number) - len(self._has), np.bool_)])
        has, wanted = self._has[:n], self._wanted(viewport, n)
        put = np.flatnonzero(wanted & (~has | (scene.changed[:n] > self._tick)))
        gone = np.flatnonzero(has & ~wanted)
        self._tick = scene.tick
        if not self._first and not len(put) and not len(gone):
            return None
        self._has[:n] = wanted
        forget, self._first = self._first, False
        return Frame(
            scene.tick,
            forget,
            scene.number[put],
            scene.number[gone],
            scene.x[put],
            scene.y[put],
            scene.kind[put],
            scene.state[put],
        )

    def _wanted(self, viewport: Viewport, n: int) -> NDArray[np.bool_]:
        scene = self._scene
        west, north, east, south = scene.grid.box(viewport.box())
        shown = np.array([key in viewport.layers for key in (*LAYER_KEYS, "")], np.bool_)
        x, y = scene.x[:n], scene.y[:n]
        wanted = scene.alive[:n] & shown[_LAYER_OF_KIND[scene.kind[:n]]]
        wanted &= (x >= west) & (x <= east) & (y >= north) & (y <= south)
        inside = np.flatnonzero(wanted)
        if len(inside) > MOST_IN_FRAME:
            wanted[inside[MOST_IN_FRAME:]] = False
        return wanted

    def roads(self, viewport: Viewport) -> Mapping[str, int] | None:
        """Road links whose flow changed for this viewer, or None. All of them when the layer is switched on."""
        if "road" not in viewport.layers:
            self._roads_shown = False
            return None
        since = self._roads_tick if self._roads_shown else -1
        self._roads_shown, self._roads_tick = True, self._scene.tick
        changed = {link: state for link, (state, tick) in self._scene.roads.items() if tick > since}
        return changed or None
