"""Rapid-transit buses: each vehicle drives its line all day, stops, takes people in, runs late and catches up.

A vehicle's whole service day is worked out at 04 o'clock as a list of knots (when, how far along the line); where it is
at an instant is read from that list. A line that ends where it began is driven round and round; on any other line the
vehicle goes back empty the way it came.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sejong.simulator.curves import BUS_RIDERS, ROAD
from sejong.simulator.family import City, Family, World
from sejong.simulator.luck import Floats, normal, uniform
from sejong.simulator.moment import DAY_S, Moment
from sejong.simulator.places import Entity, line, metres, middle, number, targets
from sejong.simulator.rows import METRES_A_SECOND, DeviceRow, Measure, of

DAY_BEGINS, FIRST_BUS, LAST_BUS = 4.0, 5.5, 22.75
"""Seam of the service days, first and last departure of a trip. Units: local hour. Chosen."""
CRUISE_KMH, EMPTY_KMH, RUSH_SLOWS = 44.0, 40.0, 0.22
"""Speed between stops on the bus lane, on the empty way back, and how much rush hour slows the first. Chosen."""
LEG_SPREAD = 0.09
"""Deviation of the time of one leg. Units: share. Chosen."""
DWELL_S, DWELL_PER_RIDER_S, LONGEST_DWELL_S = 11.0, 0.8, 45.0
"""Stop with the doors and for each who boards (three doors, card readers). Units: s.
Source: order of TCRP Transit Capacity and Quality of Service Manual, 3rd ed., ch. 6; values chosen."""
LAYOVER_S, LEAST_LAYOVER_S = 420.0, 90.0
"""Rest at the end of the line by the timetable, and at least when late. Units: s. Chosen."""
CAPACITY, BOARDING, RIDE_SHARE = 90.0, 5.0, 0.13
"""People a vehicle holds whose data does not say; people who board at a mean stop in the busiest hour; share of those
on board who alight at a stop. Chosen."""
LOOP_M = 600.0
"""A line whose ends lie closer than this is a loop. Units: m. Chosen."""

NIGHT_S = 1800.0
"""A vehicle parked longer than this has gone to its depot. Units: s. Chosen."""

RUN, DWELL, EMPTY, PARKED = 0, 1, 2, 3
_STATUS = ("onRoute", "onRoute", "outOfService", "parked")


class Route(msgspec.Struct, frozen=True):
    """A line as driven: its course in degrees, direction of each piece, distance of each vertex and of each stop from
    the start in metres, stop ids."""

    course: list[tuple[float, float]]
    bearings: list[float]
    along: list[float]
    stops: Floats
    names: tuple[str, ...]
    loop: bool

    @property
    def length(self) -> float:
        """Length of the line in metres."""
        return self.along[-1]


class Day(msgspec.Struct):
    """One vehicle's service day as knots: when, how far (unfolded, m), and what holds until the next knot."""

    when: list[float]
    how_far: list[float]
    aboard: list[int]
    next_stop: list[int]
    late: list[float]
    state: list[int]

    def knot(self, t: float) -> int:
        """Which knot holds at epoch second `t`."""
        return min(max(bisect_right(self.when, t) - 1, 0), len(self.state) - 1)


class Buses(Family):
    """The vehicles of the rapid-transit lines."""

    row = DeviceRow(
        name="bus",
        gateway="gw-bus",
        kind="Vehicle",
        period_s=10,
        step_s=5,
        alone=True,
        measures=(
            Measure("location", of("location")),
            Measure("speed", of("speed"), "KMH", digits=1, low=0, high=110, wrong=METRES_A_SECOND, spike=255),
            Measure("bearing", of("bearing"), "DD", digits=0, low=0, high=359),
            Measure("passengers", of("passengers"), "C62", digits=0, low=0, spike=255),
            Measure("delay", of("delay"), "SEC", digits=0, wrong=(1 / 60, 0)),
            Measure("nextStop", of("next_stop")),
            Measure("serviceStatus", of("status")),
        ),
    )

    rests = True

    @classmethod
    def chosen(cls, entity: Entity) -> bool:
        return bool(targets(entity, "refPublicTransportRoute"))

    def __init__(self, world: World, entities: Sequence[Entity], city: City) -> None:
        lines = {e["id"]: e for e in city.get("BusLine", ())}
        stops = {e["id"]: p for e in city.get("TransportStation", ()) if (p := middle(e))}
        routes = {name: route_of(lines[name], stops) for name in _lines_used(entities, lines)}
        usable = [e for e in entities if routes.get(targets(e, "refPublicTransportRoute")[0])]
        super().__init__(world, usable, city)
        names = [targets(e, "refPublicTransportRoute")[0] for e in usable]
        self._route: list[Route] = [r for name in names if (r := routes[name])]
        self._holds = [number(e, ("capacity",), CAPACITY) for e in usable]
        self._turn = [names[:i].count(name) for i, name in enumerate(names)]
        self._of_line = [names.count(name) for name in names]

    def begin(self, m: Moment) -> None:
        self._day = -1
        self.advance(m)

    def advance(self, m: Moment) -> None:
        start = self.world.calendar.last(DAY_BEGINS, m.t)
        if start == self._day:
            return
        self._day = start
        n = len(self.ids)
        self._plans = [self._plan(i, start) for i in range(n)]
        self.location: list[dict[str, Any]] = [{}] * n
        self.speed, self.bearing, self.delay = np.zeros(n), np.zeros(n), np.zeros(n)
        self.passengers: list[int] = [0] * n
        self.next_stop: list[dict[str, str] | None] = [None] * n
        self.status: list[str] = ["parked"] * n

    def look(self, index: NDArray[np.int64], m: Moment) -> None:
        for i in index.tolist():
            self._place(i, m.t)

    def resting(self, i: int, t: int) -> bool:
        plan = self._plans[i]
        k = plan.knot(t)
        return plan.state[k] == PARKED and plan.when[k + 1] - plan.when[k] > NIGHT_S

    def _place(self, i: int, t: int) -> None:
        plan, route = self._plans[i], self._route[i]
        k = plan.knot(t)
        state, began = plan.state[k], plan.when[k]
        span, step = plan.when[k + 1] - began, plan.how_far[k + 1] - plan.how_far[k]
        gone = (t - began) / span if span > 0 else 0.0
        lon, lat, self.bearing[i] = folded(route, plan.how_far[k] + gone * step)
        self.location[i] = {"type": "Point", "coordinates": [round(lon, 6), round(lat, 6)]}
        self.status[i] = _STATUS[state]
        driving = state != PARKED and span > 0
        self.speed[i] = step / span * 3.6 if driving else 0.0
        self.passengers[i], self.delay[i] = plan.aboard[k], plan.late[k]
        stop = plan.next_stop[k]
        self.next_stop[i] = {"object": route.names[stop]} if stop >= 0 else None

    def _plan(self, i: int, start: int) -> Day:
        """The service day of vehicle `i`: trips until the last bus, each from the line's first stop to its last."""
        route = self._route[i]
        planned = _planned_times(route)
        cycle = planned[-1] + LAYOVER_S + (0.0 if route.loop else route.length / EMPTY_KMH * 3.6 + LAYOVER_S)
        first = start + (FIRST_BUS - DAY_BEGINS) * 3600 + cycle * self._turn[i] / self._of_line[i]
        day = Day(when=[], how_far=[], aboard=[0], next_stop=[-1], late=[0.0], state=[PARKED])
        when, far = [np.array([float(start)])], [np.zeros(1)]
        free, base = float(start), 0.0
        for trip in range(200):
            scheduled = first + trip * cycle
            if scheduled > start + (LAST_BUS - DAY_BEGINS) * 3600:
                break
            leaves = max(scheduled, free + LEAST_LAYOVER_S)
            t, u = self._drive(i, route, trip, start, leaves, scheduled + planned, day)
            when.append(t)
            far.append(u + base)
            base, free = base + route.length, float(t[-1])
            if not route.loop:
                free = _drive_back(when, far, day, base, route.length, free)
                base += route.length
        when.append(np.array([float(start + DAY_S)]))
        far.append(np.array([base]))
        day.when, day.how_far = np.concatenate(when).tolist(), np.concatenate(far).tolist()
        return day

    def _drive(
        self, i: int, route: Route, trip: int, start: int, leaves: float, planned: Floats, day: Day
    ) -> tuple[Floats, Floats]:
        """One trip's knots: at each stop arrival and departure. What holds after each knot goes into `day`."""
        n = len(route.stops)
        m = self.world.calendar.at(int(leaves))
        key = np.repeat(self.keys[i : i + 1], n)
        instants = start + trip * 64 * n + np.arange(n)
        slow = 1.0 + RUSH_SLOWS * ROAD.at(m.hour, m.weekend)
        legs = np.diff(route.stops) / CRUISE_KMH * 3.6 * slow * (1.0 + LEG_SPREAD * normal(key, instants, 1)[1:])
        waiting = BOARDING * BUS_RIDERS.at(m.hour, m.weekend) * 2.0 * uniform(key, instants, 2)
        dwell = np.minimum(LONGEST_DWELL_S, DWELL_S + DWELL_PER_RIDER_S * waiting)
        dwell[-1] = 0.0
        departs = leaves + np.concatenate(([0.0], np.cumsum(legs + dwell[1:])))
        arrives = departs - dwell
        arrives[0] = leaves - 1.0
        aboard = 0.0
        for j, wait in enumerate(waiting.tolist()):
            aboard = 0.0 if j == n - 1 else min(self._holds[i], aboard * (1 - RIDE_SHARE) + wait)
            late = float(arrives[j] - planned[j])
            following = min(j + 1, n - 1)
            day.aboard += [round(aboard)] * 2
            day.next_stop += [j, following] if j < n - 1 else [-1, -1]
            day.late += [late, late]
            day.state += [DWELL, RUN] if j < n - 1 else [PARKED, PARKED]
        return np.column_stack((arrives, departs)).ravel(), np.repeat(route.stops, 2)


def _drive_back(when: list[Floats], far: list[Floats], day: Day, base: float, length: float, free: float) -> float:
    leaves, back = free + LEAST_LAYOVER_S, free + LEAST_LAYOVER_S + length / EMPTY_KMH * 3.6
    when.append(np.array([leaves, back]))
    far.append(np.array([base, base + length]))
    day.aboard += [0, 0]
    day.next_stop += [-1, -1]
    day.late += [0.0, 0.0]
    day.state += [EMPTY, PARKED]
    return back


def _planned_times(route: Route) -> Floats:
    """Seconds from the first stop to each stop by the timetable: a mean hour, without bad luck."""
    legs = np.diff(route.stops) / CRUISE_KMH * 3.6 * (1 + 0.5 * RUSH_SLOWS)
    return np.concatenate(([0.0], np.cumsum(legs + DWELL_S + DWELL_PER_RIDER_S * BOARDING / 2)))


def _lines_used(vehicles: Sequence[Entity], lines: dict[str, Entity]) -> list[str]:
    used = {targets(e, "refPublicTransportRoute")[0] for e in vehicles}
    return sorted(name for name in used if name in lines)


def route_of(bus_line: Entity, stops: dict[str, tuple[float, float]]) -> Route | None:
    """A line as driven, or None when fewer than two of its stops have a place."""
    names = [s for s in targets(bus_line, "refPublicTransportStops") if s in stops]
    if len(names) < 2:
        return None
    course = line(bus_line)
    if len(course) < 2:
        course = [stops[s] for s in names]
    flat = metres(course, course[0])
    steps = np.diff(flat, axis=0)
    along = np.concatenate(([0.0], np.cumsum(np.hypot(*steps.T))))
    return Route(
        course=course,
        bearings=(np.degrees(np.arctan2(steps[:, 0], steps[:, 1])) % 360.0).tolist(),
        along=along.tolist(),
        stops=_along(flat, along, metres([stops[s] for s in names], course[0])),
        names=tuple(names),
        loop=float(np.hypot(*(flat[-1] - flat[0]))) < LOOP_M,
    )


def _along(flat: NDArray[np.float64], along: Floats, places: NDArray[np.float64]) -> Floats:
    """Distance of each stop along the course, never falling: its nearest point, far ones ahead counting as farther."""
    a, d = flat[:-1], np.diff(flat, axis=0)
    size = np.maximum((d**2).sum(axis=1), 1e-9)
    found, low = [], 0.0
    for p in places:
        f = np.clip(((p - a) * d).sum(axis=1) / size, 0.0, 1.0)
        at = along[:-1] + f * np.sqrt(size)
        off = np.hypot(*(a + f[:, None] * d - p).T)
        cost = off + 0.05 * np.abs(at - low) + np.where(at < low, 1e9, 0.0)
        low = max(low, float(at[int(np.argmin(cost))]))
        found.append(low)
    found[-1] = max(found[-1], found[-2])
    return np.asarray(found)


def folded(route: Route, how_far: float) -> tuple[float, float, float]:
    """(lon, lat, bearing) after `how_far` metres of driving the line to and fro, or round and round."""
    laps, s = divmod(how_far, route.length)
    back = not route.loop and laps % 2 == 1
    s = route.length - s if back else s
    k = min(max(bisect_right(route.along, s) - 1, 0), len(route.bearings) - 1)
    span = route.along[k + 1] - route.along[k]
    f = (s - route.along[k]) / span if span > 0 else 0.0
    (lon1, lat1), (lon2, lat2) = route.course[k], route.course[k + 1]
    bearing = (route.bearings[k] + 180.0) % 360.0 if back else route.bearings[k]
    return lon1 + f * (lon2 - lon1), lat1 + f * (lat2 - lat1), bearing
