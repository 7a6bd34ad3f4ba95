"""Traffic on the road links: speed around what taxis measured, and what loops in the lanes count.

Travel time of a link = free time × (1 + α·x⁴), x = load over capacity (BPR). The free speed is chosen for each link so
that the mean over the day, weighted by traffic as taxis drive, is the measured taxi speed: slower at 08 and 18, faster
at night. Neighbours are alike because the noise sits on the junctions: two links that share one share its luck.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

import numpy as np

from sejong.simulator.curves import INWARD, ROAD
from sejong.simulator.family import City, Family, World
from sejong.simulator.luck import Drift, Floats, keys_of, normal
from sejong.simulator.moment import Moment
from sejong.simulator.places import Entity, line, metres, number, targets, value
from sejong.simulator.rows import METRES_A_SECOND, PERCENT, DeviceRow, Measure, of

BPR_ALPHA, TAXI_HOURS = 0.55, range(6, 24)
"""Strength of congestion, chosen for signalised streets (0.15 in BPR's for free roads); hours in which taxis measured
(chosen). Source of the form: Bureau of Public Roads, Traffic Assignment Manual 1964."""
LANE_CAPACITY = 850.0
"""Vehicles per hour and lane at a signal. Units: veh/h. Source: saturation flow 1,900 (HCM) × green share 0.45."""
BUSIEST_LOAD, LOAD_SPREAD = 0.82, 0.22
"""Load of a mean link in the busiest hour, and how links differ (deviation of its logarithm). Chosen."""
VEHICLE_AND_LOOP_M = 6.5
"""Length over which a vehicle covers a loop. Units: m. Source: usual effective length, car 4.5 m + loop 2 m."""
RAIN_SLOWS, RAIN_HALF_MM_H = 0.13, 3.0
"""Largest loss of speed in rain, and the intensity that brings half of it. Units: share, mm/h.
Source: FHWA Road Weather Management, arterial and freeway speeds −3 to −16 % from light to heavy rain."""
JUNCTION_NOISE, LINK_NOISE = 0.16, 0.06
"""Deviation of the logarithm of the load from a link's two junctions, and of its own. Chosen."""
SLOWEST_KMH, OVER_LIMIT = 4.0, 1.12
"""Slowest mean speed of a jam, and how much above the limit a free link's mean may lie. Units: km/h, factor. Chosen."""


class Links(Family):
    """Road links whose mean speed is known from probe vehicles."""

    row = DeviceRow(
        name="link",
        gateway="gw-traffic",
        kind="RoadSegment",
        period_s=300,
        step_s=60,
        history=4,
        measures=(
            Measure(
                "averageVehicleSpeed",
                of("speed"),
                "KMH",
                digits=1,
                noise=0.6,
                low=0,
                high=130,
                wrong=METRES_A_SECOND,
                spike=255.0,
            ),
        ),
    )

    @classmethod
    def chosen(cls, entity: Entity) -> bool:
        return number(entity, ("taxiMeanSpeed",), 0.0) > 0 and not Loops.chosen(entity)

    def __init__(self, world: World, entities: Sequence[Entity], city: City) -> None:
        super().__init__(world, entities, city)
        self._taxi = np.array([number(e, ("taxiMeanSpeed",), 30.0) for e in entities])
        self._limit = np.array([number(e, ("maximumAllowedSpeed",), 50.0) for e in entities])
        self._lanes = np.array([max(1.0, number(e, ("totalLaneNumber",), 1.0)) for e in entities])
        self._inward = np.array([_inwardness(e, world.centre) for e in entities])
        self._size = np.exp(LOAD_SPREAD * normal(self.keys, 0, 1))
        names = [(_junction(e, "fromNode", 0), _junction(e, "toNode", -1)) for e in entities]
        nodes = sorted({n for pair in names for n in pair})
        place = {n: i for i, n in enumerate(nodes)}
        self._ends = np.array([[place[a], place[b]] for a, b in names], dtype=np.int64).reshape(-1, 2)
        self._junctions = Drift(keys_of(world.chance, "junction", nodes), 900, 0.80)
        self._own = Drift(self.keys, 600, 0.6, 2)
        self._free = self._taxi * self._taxi_slowdown()
        self.speed: Floats = self._taxi

    def _taxi_slowdown(self) -> Floats:
        """Mean of (1 + α·x⁴) over the hours taxis drove, weighted by the traffic of each hour."""
        weights = np.array([ROAD.weekday.hourly[h] for h in TAXI_HOURS])
        slow = np.stack([_slowdown(self._usual_load(float(h), False)) for h in TAXI_HOURS])
        return (slow * weights[:, None]).sum(axis=0) / weights.sum()

    def _usual_load(self, hour: float, weekend: bool) -> Floats:
        share = 0.5 if weekend else INWARD.at(hour)
        towards = 1.0 + self._inward * (2.0 * share - 1.0)
        return BUSIEST_LOAD * ROAD.at(hour, weekend) * towards * self._size

    def advance(self, m: Moment) -> None:
        junctions = self._junctions.at(m.t)
        noise = JUNCTION_NOISE * (junctions[self._ends[:, 0]] + junctions[self._ends[:, 1]]) * 0.7071
        self.load = self._usual_load(m.hour, m.weekend) * np.exp(noise + LINK_NOISE * self._own.at(m.t))
        rain = self.world.sky.at(m).rain
        wet = 1.0 - RAIN_SLOWS * rain / (rain + RAIN_HALF_MM_H)
        speed = self._free * wet / _slowdown(self.load)
        self.speed = np.clip(speed, SLOWEST_KMH, np.maximum(self._limit * OVER_LIMIT, self._taxi))


class Loops(Links):
    """The broad links of the core, whose loop detectors also count."""

    row = DeviceRow(
        name="loop",
        gateway="gw-traffic",
        kind="RoadSegment",
        period_s=180,
        spread_s=15,
        step_s=60,
        history=2,
        measures=(
            *Links.row.measures,
            Measure("intensity", of("intensity"), digits=0, noise=12, low=0, high=9_000, spike=65_535),
            Measure("occupancy", of("occupancy"), digits=3, noise=0.004, low=0, high=1, wrong=PERCENT, spike=9.999),
        ),
    )

    @classmethod
    def chosen(cls, entity: Entity) -> bool:
        broad = number(entity, ("totalLaneNumber",), 1.0) >= 3 and bool(line(entity))
        return broad and number(entity, ("taxiMeanSpeed",), 0.0) > 0

    def advance(self, m: Moment) -> None:
        super().advance(m)
        # a jammed lane serves no more than its capacity: the rest of the load waits in it
        self.intensity = np.minimum(self.load, 1.05) * LANE_CAPACITY * self._lanes
        density = self.intensity / self._lanes / np.maximum(self.speed, SLOWEST_KMH)
        self.occupancy = np.minimum(0.95, density * VEHICLE_AND_LOOP_M / 1000.0)


def _slowdown(load: Floats) -> Floats:
    squared = load * load
    return 1.0 + BPR_ALPHA * squared * squared


def _junction(entity: Entity, attribute: str, end: int) -> str:
    """The name of the junction at one end of a link: as told, else its place to about ten metres."""
    told = value(entity, attribute) or (targets(entity, attribute) or [None])[0]
    if told:
        return str(told)
    points = line(entity)
    return f"{points[end][0]:.4f},{points[end][1]:.4f}" if points else f"{entity['id']}{end}"


def _inwardness(entity: Entity, centre: tuple[float, float]) -> float:
    """1 = the link leads straight to the middle of the city, -1 = straight away, 0 = past it or unknown."""
    points = line(entity)
    if len(points) < 2:
        return 0.0
    (ax, ay), (bx, by) = metres([points[0], points[-1]], centre).tolist()
    along = (bx - ax) * -ax + (by - ay) * -ay
    length = ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5 * (ax * ax + ay * ay) ** 0.5
    return along / length if length > 0 else 0.0


def busyness(hour: float, weekend: bool, rain: float) -> float:
    """How busy the roads of the whole city are, 1 = a dry weekday's busiest hour; rain keeps a few at home."""
    return ROAD.at(hour, weekend) * (0.94 + 0.06 * exp(-rain))
