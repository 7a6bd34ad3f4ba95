"""Car parks: cars drive in for work, for an errand or for the night, take a bay and leave again.

A car park and its bays are one state: spaces free + bays taken = capacity, and a bay with a sensor of its own says what
the count at the barrier says. A car that finds no bay drives on (`turned_away`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from math import exp

import msgspec
import numpy as np

from sejong.simulator.curves import COMMUTER_CAR, RESIDENT_CAR, VISITOR_CAR, Rhythm
from sejong.simulator.family import City, Family, World
from sejong.simulator.luck import arrivals, one_normal, one_uniform, uniform
from sejong.simulator.moment import Moment
from sejong.simulator.places import Entity, number, targets
from sejong.simulator.rows import DeviceRow, Measure, of

BLOCK_S = 3600
"""Arrivals are drawn for an hour at a time. Units: s."""
SEAM_HOUR, MEMORY_S, LONGEST_STAY_S = 4.0, 24 * 3600, 20 * 3600
"""The state at an instant is replayed from an empty car park at 04 o'clock the day before. Units: local hour, s, s.
Since nobody stays longer than the third, the empty start is forgotten."""
POPULAR_LOW, POPULAR_HIGH = 0.45, 1.3
"""Least and most popular car park, times the arrivals below. Chosen."""
NEAR_THE_DOOR = 0.7
"""Arriving cars begin to look for a bay within this first share of the bays. Chosen."""


class Drivers(msgspec.Struct, frozen=True):
    """Why people park: when they come, how many (share of all bays an hour in the busiest hour), how long (hours)."""

    rhythm: Rhythm
    rate: float
    stay_h: float
    spread_h: float
    until_morning: bool = False
    ratio: bool = False


DRIVERS = (
    Drivers(rhythm=COMMUTER_CAR, rate=0.22, stay_h=8.8, spread_h=1.2),
    Drivers(rhythm=VISITOR_CAR, rate=0.44, stay_h=0.95, spread_h=0.65, ratio=True),
    Drivers(rhythm=RESIDENT_CAR, rate=0.085, stay_h=7.4, spread_h=0.9, until_morning=True),
)
"""Commuters stay a working day, visitors about an hour (deviation of the logarithm), residents until the hour
`stay_h` of the next morning. Chosen so that a mean car park is half full at noon and a third full at night."""


class Lots(Family):
    """The barriers that count cars in and out."""

    row = DeviceRow(
        name="lot",
        gateway="gw-parking",
        kind="OffStreetParking",
        period_s=120,
        spread_s=30,
        step_s=5,
        on_change=True,
        measures=(
            Measure("availableSpotNumber", of("available"), "C62", digits=0, spike=-1),
            Measure("occupiedSpotNumber", of("occupied"), "C62", digits=0, spike=65_535),
        ),
    )

    @classmethod
    def chosen(cls, entity: Entity) -> bool:
        return number(entity, ("totalSpotNumber",), 0) > 0

    def __init__(self, world: World, entities: Sequence[Entity], city: City) -> None:
        super().__init__(world, entities, city)
        self._key = self.keys.tolist()
        self.capacity = [int(number(e, ("totalSpotNumber",), 0)) for e in entities]
        popular = POPULAR_LOW + (POPULAR_HIGH - POPULAR_LOW) * uniform(self.keys, 0, 1)
        mix = np.stack([0.3 + uniform(self.keys, 0, 2 + k) for k in range(len(DRIVERS))])
        self._size = mix / mix.mean(axis=0) * popular * np.array(self.capacity)

    def begin(self, m: Moment) -> None:
        start = self.world.calendar.last(SEAM_HOUR, m.t) - MEMORY_S
        self.taken = [bytearray(n) for n in self.capacity]
        self.occupied, self.available = [0] * len(self.capacity), list(self.capacity)
        self.turned_away = self.drove_in = self.drove_out = 0
        self._leaving: list[tuple[float, int, int]] = []
        self._coming: list[tuple[float, int, int, int]] = []
        self._now = self._drawn_to = start
        self._touched: set[int] = set()
        self.touched_bays: set[tuple[int, int]] = set()
        self.advance(m)
        self._touched.clear()
        self.touched_bays.clear()

    def changed(self) -> list[int]:
        found = sorted(self._touched)
        self._touched.clear()
        return found

    def advance(self, m: Moment) -> None:
        while self._now < m.t:
            end = min(m.t, self._now // BLOCK_S * BLOCK_S + BLOCK_S)
            if self._drawn_to < end:
                self._draw(self._now // BLOCK_S)
            self._pass(end)
            self._now = end

    def _draw(self, block: int) -> None:
        m = self.world.calendar.at(block * BLOCK_S + BLOCK_S // 2)
        first = block * BLOCK_S
        for kind, drivers in enumerate(DRIVERS):
            mean = drivers.rate * drivers.rhythm.at(m.hour, m.weekend) * self._size[kind]
            who, when, number_ = arrivals(self.keys, mean, block, BLOCK_S, 100 * (kind + 1))
            for lot, w, n in zip(who.tolist(), when.tolist(), number_.tolist(), strict=True):
                self._coming.append((first + w, lot, kind, n))
        self._coming = [c for c in self._coming if c[0] > self._now]
        self._coming.sort(reverse=True)
        self._drawn_to = first + BLOCK_S

    def _pass(self, end: float) -> None:
        coming, leaving = self._coming, self._leaving
        while True:
            into = coming[-1][0] if coming else float("inf")
            out = leaving[0][0] if leaving else float("inf")
            if min(into, out) > end:
                return
            if out <= into:
                _, lot, bay = heappop(leaving)
                self.drove_out += 1
                self._mark(lot, bay, 0)
            else:
                self._park(*coming.pop())

    def _park(self, t: float, lot: int, kind: int, n: int) -> None:
        key, draw = self._key[lot], 1000 + 3 * n
        look = int(one_uniform(key, int(t), draw) * NEAR_THE_DOOR * self.capacity[lot])
        bay = self.taken[lot].find(0, look)
        bay = bay if bay >= 0 else self.taken[lot].find(0)
        if bay < 0:
            self.turned_away += 1
            return
        stay = self._stay_s(t, DRIVERS[kind], one_normal(key, int(t), draw + 1))
        heappush(self._leaving, (t + stay, lot, bay))
        self.drove_in += 1
        self._mark(lot, bay, 1)

    def _stay_s(self, t: float, drivers: Drivers, luck: float) -> float:
        if drivers.ratio:
            hours = drivers.stay_h * exp(drivers.spread_h * luck)
        elif drivers.until_morning:
            hour = self.world.calendar.at(int(t)).hour
            hours = (drivers.stay_h + drivers.spread_h * luck - hour) % 24.0
        else:
            hours = drivers.stay_h + drivers.spread_h * luck
        return min(LONGEST_STAY_S, max(0.1, hours) * 3600)

    def _mark(self, lot: int, bay: int, taken: int) -> None:
        self.taken[lot][bay] = taken
        cars = 1 if taken else -1
        self.occupied[lot] += cars
        self.available[lot] -= cars
        self._touched.add(lot)
        self.touched_bays.add((lot, bay))


class Bays(Family):
    """Bays with a sensor of their own in the ground."""

    row = DeviceRow(
        name="bay",
        gateway="gw-parking",
        kind="ParkingSpot",
        period_s=1200,
        spread_s=30,
        step_s=5,
        on_change=True,
        history=3,
        measures=(Measure("status", of("status")),),
    )

    @classmethod
    def chosen(cls, entity: Entity) -> bool:
        return bool(targets(entity, "refParkingSite"))

    def __init__(self, world: World, entities: Sequence[Entity], city: City) -> None:
        super().__init__(world, entities, city)
        self._sites = [targets(e, "refParkingSite")[0] for e in entities]

    def join(self, families: Mapping[str, Family]) -> None:
        lots = families.get("lot")
        self._lots = lots if isinstance(lots, Lots) else Lots(self.world, [], {})
        place = {name: i for i, name in enumerate(self._lots.ids)}
        used: dict[int, int] = {}
        self._bay: list[tuple[int, int]] = []
        for site in self._sites:
            lot = place.get(site, -1)
            self._bay.append((lot, used.get(lot, 0)))
            used[lot] = used.get(lot, 0) + 1
        self._device = {bay: i for i, bay in enumerate(self._bay)}
        self._touched: set[int] = set()

    def begin(self, m: Moment) -> None:
        self.status = [self._seen(lot, bay) for lot, bay in self._bay]

    def _seen(self, lot: int, bay: int) -> str:
        """`occupied` or `free`; `unknown` for a bay whose car park has no capacity or fewer bays."""
        if lot < 0 or bay >= self._lots.capacity[lot]:
            return "unknown"
        return "occupied" if self._lots.taken[lot][bay] else "free"

    def advance(self, m: Moment) -> None:
        """The car parks came before; only their news is read."""
        for bay in self._lots.touched_bays:
            i = self._device.get(bay)
            if i is not None:
                self.status[i] = self._seen(*bay)
                self._touched.add(i)
        self._lots.touched_bays.clear()

    def changed(self) -> list[int]:
        found = sorted(self._touched)
        self._touched.clear()
        return found
