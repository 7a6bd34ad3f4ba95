"""Public bikes: people take one, ride it to another station and put it back. No bike is ever made or lost.

docked + under way = fleet at every instant. At 04 o'clock, when all are docked, the vans' night round has put every
station back to the number chosen for that day; from there the day is replayed to any instant, so a restart goes on
where the city is.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from math import exp

import numpy as np

from sejong.simulator.curves import BIKE
from sejong.simulator.family import City, Family, World
from sejong.simulator.luck import Floats, arrivals, keys_of, normal, one_normal, one_uniform, uniform
from sejong.simulator.moment import Moment
from sejong.simulator.places import Entity, apart, metres, middle, number, value
from sejong.simulator.rows import DeviceRow, Measure, of

NIGHT_ROUND_HOUR = 4.0
"""When the vans' round ends. Units: local hour. Chosen."""
BUSIEST_RENTALS = 1.6
"""Rentals a mean station sees in a weekday's busiest hour. Units: 1/h. Chosen: about 17 a day and station."""
STATION_SPREAD = 0.95
"""How stations differ (deviation of the logarithm of their rentals). Chosen: few busy ones, many quiet ones."""
FILL_MEAN, FILL_SPREAD = 0.48, 0.16
"""Bikes per slot after the night round, and its deviation. Chosen."""
REACH_M, NEAREST_M = 1_500.0, 250.0
"""Rides get rarer with distance as exp(−d / reach); nobody rides less than the second. Units: m. Chosen."""
HOME_TILT, TILT_CELL_M = 0.75, 900.0
"""How much more a quarter of homes sends out in the morning than it takes in, and the size of such quarters. Chosen."""
DETOUR, RIDE_KMH, RIDE_SPREAD = 1.3, 11.5, 0.18
"""Way over crow's flight; speed of a ride with its stops, and its deviation. Units: 1, km/h, share. Chosen."""
LOCK_S = 90
"""Time to unlock, set off and lock again. Units: s. Chosen."""
BLOCK_S = 900
"""Rentals are drawn for a quarter of an hour at a time. Units: s."""
RAIN_MM_H, COLD_C, WARM_C, HOT_C = 1.2, -6.0, 17.0, 31.0
"""Rain that keeps two thirds at home; cold at which nearly nobody rides, comfort, and heat that begins to keep people
away. Units: mm/h, °C. Chosen, in the sense of the UCI Bike Sharing series."""

MORNING, EVENING, ANY = 0, 1, 2


class Bikes(Family):
    """The docking stations and every bike between them."""

    row = DeviceRow(
        name="bike",
        gateway="gw-bike",
        kind="BikeHireDockingStation",
        period_s=120,
        spread_s=10,
        step_s=5,
        on_change=True,
        measures=(
            Measure("availableBikeNumber", of("docked"), "C62", digits=0, spike=-1),
            Measure("freeSlotNumber", of("free"), "C62", digits=0, spike=255),
        ),
    )

    @classmethod
    def chosen(cls, entity: Entity) -> bool:
        working = value(entity, "status", "working") != "outOfService"
        return working and middle(entity) is not None and number(entity, ("totalSlotNumber",), 0) > 0

    def __init__(self, world: World, entities: Sequence[Entity], city: City) -> None:
        super().__init__(world, entities, city)
        self._key = self.keys.tolist()
        self.slots = [int(number(e, ("totalSlotNumber",), 0)) for e in entities]
        places = metres([middle(e) or world.centre for e in entities], world.centre)
        self._away = apart(places, places)
        self._near = np.argsort(self._away, axis=1, kind="stable")
        self._popular = np.exp(STATION_SPREAD * normal(self.keys, 0, 1) - STATION_SPREAD**2 / 2)
        cells = [f"{int(x // TILT_CELL_M)},{int(y // TILT_CELL_M)}" for x, y in places]
        tilt = HOME_TILT * (2 * uniform(keys_of(world.chance, "bike quarter", cells), 0) - 1)
        self._leave = (1 + tilt, 1 - tilt, np.ones(len(places)))
        self._choice = tuple(self._gravity(1 - t) for t in (tilt, -tilt, 0 * tilt))

    def _gravity(self, attraction: Floats) -> Floats:
        """Running sums over destinations, for each station a ride may start from."""
        pull = np.exp(-self._away / REACH_M) * (self._popular * attraction)[None, :]
        pull[self._away < NEAREST_M] = 0.0
        lonely = pull.sum(axis=1) == 0  # no other station far enough: ride back to where it began
        pull[lonely] = np.eye(len(pull))[lonely]
        return np.cumsum(pull, axis=1)

    def begin(self, m: Moment) -> None:
        start = self.world.calendar.last(NIGHT_ROUND_HOUR, m.t)
        self._touched: set[int] = set()
        self._night_round(start)
        self._play(start, m.t)
        self._touched.clear()

    def _night_round(self, t: int) -> None:
        fill = FILL_MEAN + FILL_SPREAD * normal(self.keys, t, 11)
        self.docked = [max(0, min(n, round(n * f))) for n, f in zip(self.slots, fill.tolist(), strict=True)]
        # the fleet is the same every day: one bike more or less here and there until it is
        surplus, i = sum(self.docked) - self.fleet, 0
        while surplus and i < 100 * len(self.docked):
            s, i = i % len(self.docked), i + 1
            step = (
                -1 if surplus > 0 and self.docked[s] > 0 else 1 if surplus < 0 and self.docked[s] < self.slots[s] else 0
            )
            self.docked[s] += step
            surplus += step
        self.free = [n - d for n, d in zip(self.slots, self.docked, strict=True)]
        self.under_way: list[tuple[float, int, int]] = []
        self.refused = self.rides = 0
        self._rentals: list[tuple[float, int, int]] = []
        self._drawn_to = self._now = t

    @property
    def fleet(self) -> int:
        """All bikes of the city, docked or under way."""
        return round(sum(self.slots) * FILL_MEAN)

    def advance(self, m: Moment) -> None:
        start = self.world.calendar.last(NIGHT_ROUND_HOUR, m.t)
        if start > self._now:
            self._play(self._now, start)
            before = self.docked
            self._night_round(start)
            self._touched |= {i for i, n in enumerate(before) if n != self.docked[i]}
        self._play(self._now, m.t)

    def changed(self) -> list[int]:
        found = sorted(self._touched)
        self._touched = set()
        return found

    def _play(self, since: int, until: int) -> None:
        """Let every rental and return in (since, until] happen, in the order of time."""
        while self._now < until:
            end = min(until, self._now // BLOCK_S * BLOCK_S + BLOCK_S)
            if self._drawn_to < end:
                self._draw(self._now // BLOCK_S)
            self._pass(end)
            self._now = end

    def _draw(self, block: int) -> None:
        """Who wants a bike in this quarter of an hour: heap of (when, station, number)."""
        m = self.world.calendar.at(block * BLOCK_S + BLOCK_S // 2)
        kind = _direction(m)
        mean = BUSIEST_RENTALS * (BLOCK_S / 3600) * BIKE.at(m.hour, m.weekend) * self._willing(m)
        who, when, number_ = arrivals(self.keys, mean * self._popular * self._leave[kind], block, BLOCK_S, 20)
        first = block * BLOCK_S
        for s, w, n in zip(who.tolist(), when.tolist(), number_.tolist(), strict=True):
            if first + w > self._drawn_to:
                self._rentals.append((first + w, s, n))
        self._rentals.sort(reverse=True)
        self._drawn_to = first + BLOCK_S

    def _willing(self, m: Moment) -> float:
        weather = self.world.sky.at(m)
        cold = min(1.0, max(0.04, (weather.temperature - COLD_C) / (WARM_C - COLD_C)))
        hot = 1.0 if weather.temperature < HOT_C else 0.6
        return cold * hot * exp(-weather.rain / RAIN_MM_H)

    def _pass(self, end: float) -> None:
        rentals, under_way = self._rentals, self.under_way
        while True:
            out = rentals[-1][0] if rentals else float("inf")
            back = under_way[0][0] if under_way else float("inf")
            if min(out, back) > end:
                return
            if back <= out:
                self._return()
            else:
                self._rent()

    def _rent(self) -> None:
        t, s, n = self._rentals.pop()
        if self.docked[s] == 0:
            self.refused += 1
            return
        key = self._key[s]
        where, pace = one_uniform(key, int(t), 30 + 2 * n), one_normal(key, int(t), 31 + 2 * n)
        sums = self._choice[_direction(self.world.calendar.at(int(t)))][s]
        goal = min(len(sums) - 1, int(np.searchsorted(sums, where * sums[-1], side="right")))
        self._move(s, -1)
        self.rides += 1
        heappush(self.under_way, (t + self._ride_s(s, goal, pace), goal, n))

    def _move(self, s: int, bikes: int) -> None:
        self.docked[s] += bikes
        self.free[s] -= bikes
        self._touched.add(s)

    def _ride_s(self, a: int, b: int, luck: float) -> float:
        way = max(NEAREST_M, float(self._away[a, b])) * DETOUR
        return LOCK_S + way / (RIDE_KMH / 3.6) * max(0.5, 1 + RIDE_SPREAD * luck)

    def _return(self) -> None:
        t, s, n = heappop(self.under_way)
        if self.docked[s] < self.slots[s]:
            self._move(s, 1)
            return
        # full: on to the nearest station with room, which by then may be full too
        room = next((int(j) for j in self._near[s] if j != s and self.docked[j] < self.slots[j]), s)
        heappush(self.under_way, (t + self._ride_s(s, room, 0.0), room, n))


def _direction(m: Moment) -> int:
    if m.weekend:
        return ANY
    return MORNING if 5 <= m.hour < 11 else EVENING if 16 <= m.hour < 22 else ANY
