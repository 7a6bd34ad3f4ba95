"""The simulation: every device of the city on one clock, as a pure generator of messages.

Time moves in ticks of `TICK_S` seconds, whole multiples since 1970. However the caller divides time into steps, the
messages are the same, because only whole ticks count. Every family but bikes and car parks is a function of the
instant; those two are replayed from the night before, so a simulation begun later says what one begun earlier says
(car parks: but for which bay a car chose).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sejong.kernel.chance import Chance
from sejong.simulator.air import AirStations
from sejong.simulator.bikes import Bikes
from sejong.simulator.buses import Buses
from sejong.simulator.family import RESTING, Family, World
from sejong.simulator.faults import Faults, Truth
from sejong.simulator.lights import Lights
from sejong.simulator.luck import Floats, bits, draws, normal
from sejong.simulator.message import FaultRates, FaultRecord, Message
from sejong.simulator.meters import PowerMeters, WaterMeters
from sejong.simulator.moment import Calendar, Moment, iso
from sejong.simulator.noise import Microphones
from sejong.simulator.parking import Bays, Lots
from sejong.simulator.places import Entity, centre_of
from sejong.simulator.rows import Measure, rounded
from sejong.simulator.sky import Sky
from sejong.simulator.traffic import Links, Loops
from sejong.simulator.water import WaterProbes
from sejong.simulator.weather import WeatherStations

TICK_S = 5
"""Step of the simulation. Units: s. Every period and step of a family is a multiple of it."""
KOREA = timezone(timedelta(hours=9), "KST")
"""Local time where the caller names no zone."""
FAMILIES: tuple[type[Family], ...] = (
    Links, Loops, Bikes, Lots, Bays, Buses, Lights, PowerMeters, WaterMeters, AirStations, WaterProbes, Microphones,
    WeatherStations,
)  # fmt: skip
"""Every kind of device. Adding one: write its file, add it here."""
CENTRED_ON = (
    "BikeHireDockingStation",
    "AirQualityObserved",
    "Streetlight",
    "RoadSegment",
    "OffStreetParking",
)
"""The middle of the city is the middle of the first of these it has."""
GATEWAYS: tuple[str, ...] = tuple(sorted({f.row.gateway for f in FAMILIES}))
"""The keys the devices publish with, one MQTT connection each."""


class Simulation:
    """What every sensor of a city would send.

    `entities` the pack's entities; `thin` per gateway: each device reports only every so manieth time (for fast
    clocks); `zone` the city's time zone.
    """

    def __init__(
        self,
        entities: Iterable[Entity],
        seed: int,
        start: datetime,
        faults: FaultRates | None = None,
        *,
        zone: tzinfo = KOREA,
        thin: Mapping[str, int] | None = None,
    ) -> None:
        if start.tzinfo is None:
            raise ValueError("a simulation starts at an aware datetime")
        city: dict[str, list[Entity]] = {}
        for entity in entities:
            city.setdefault(short_type(entity), []).append(entity)
        chance, calendar = Chance(seed), Calendar(zone)
        centre = centre_of(next((city[kind] for kind in CENTRED_ON if kind in city), ()))
        self._world = World(chance, calendar, Sky(chance, calendar, *centre), centre)
        self._rates = FaultRates() if faults is None else faults
        self._thin = dict(thin or {})
        self._families = {
            f.row.name: f(self._world, chosen, city)
            for f in FAMILIES
            if (chosen := [e for e in city.get(f.row.kind, ()) if f.chosen(e)])
        }
        for family in self._families.values():
            family.join(self._families)
        self.seek(start)

    @property
    def now(self) -> datetime:
        """The last instant simulated."""
        return datetime.fromtimestamp(self._t, UTC)

    def seek(self, instant: datetime) -> None:
        """Begin anew at an instant, sending nothing of what lies between: after a jump of the clock."""
        self._t = int(instant.timestamp()) // TICK_S * TICK_S
        self._truth = Truth()
        for family in self._families.values():
            step = family.row.step_s
            family.begin(self._world.calendar.at(self._t // step * step))
        self.thin_out(self._thin)

    def thin_out(self, thin: Mapping[str, int]) -> None:
        """From now on let each device of a gateway report only every so manieth time (1 = always)."""
        self._thin = dict(thin)
        self._senders = [
            _Sender(family, self._rates, self._truth, self._thin.get(family.row.gateway, 1))
            for family in self._families.values()
        ]

    def step(self, now: datetime) -> list[Message]:
        """Everything sent since the last step up to `now`, in the order sent; nothing if `now` is not later."""
        end = int(now.timestamp()) // TICK_S * TICK_S
        out: list[Message] = []
        while self._t < end:
            self._t += TICK_S
            out += self._tick(self._world.calendar.at(self._t))
        return out

    def _tick(self, m: Moment) -> list[Message]:
        out = self._truth.due(m.t)
        for sender in self._senders:
            out += sender.tick(m)
        return out

    def truth(self) -> list[FaultRecord]:
        """Every fault that has shown in the stream since the start, oldest first."""
        return list(self._truth.records)

    def readings_per_second(self) -> dict[str, float]:
        """Values each gateway sends in a second of city time when every device reports by its period, unthinned."""
        out: dict[str, float] = {}
        for f in self._families.values():
            rate = len(f.ids) * len(f.row.measures) / f.row.period_s
            out[f.row.gateway] = out.get(f.row.gateway, 0.0) + rate
        return out

    def devices(self) -> dict[str, int]:
        """How many devices of each family there are."""
        return {name: len(f.ids) for name, f in self._families.items()}

    def family(self, name: str) -> Family:
        """The family of this name, to look at its state."""
        return self._families[name]

    def history(self, start: datetime, end: datetime, every: timedelta) -> Iterator[list[Message]]:
        """See `backfill`."""
        families = {name: copy.copy(f) for name, f in self._families.items()}
        for family in families.values():
            family.join(families)
        senders = [_Sender(f, FaultRates.none(), Truth(), 1) for f in families.values()]
        step = max(TICK_S, int(every.total_seconds()))
        first = -(-int(start.timestamp()) // TICK_S) * TICK_S
        for k, t in enumerate(range(first, int(end.timestamp()), step)):
            m = self._world.calendar.at(t)
            for sender in senders:
                row = sender.family.row
                state = self._world.calendar.at(t // row.step_s * row.step_s)
                if k == 0:
                    sender.family.begin(state)
                else:
                    sender.family.advance(state)
                if k % row.history == 0:
                    yield sender.all(m)


def backfill(
    sim: Simulation, start: datetime, end: datetime, every: timedelta = timedelta(hours=1)
) -> Iterator[list[Message]]:
    """What the city's devices would have said in [start, end), thinly: history for a first start.

    One list per family and instant; families with many devices skip hours (`DeviceRow.history`). Without faults.
    `sim` itself does not move, and where it started at `end`, history joins it without a step.
    """
    return sim.history(start, end, every)


class _Sender:
    """Sends for one family: who is due, what they measured, what goes wrong with it."""

    def __init__(self, family: Family, rates: FaultRates, truth: Truth, thin: int) -> None:
        row = family.row
        if row.period_s % row.spread_s or row.spread_s % TICK_S or row.step_s % TICK_S:
            raise ValueError(f"period, spread and step of {row.name} must be multiples of {TICK_S} s")
        self.family, self._thin = family, thin
        self._faults = Faults(row, family.ids, family.keys, rates, truth)
        self._units = row.units()
        self._names = [m.attribute for m in row.measures]
        # the luck of an instrument hangs on its attribute's name: a new row does not move the others'
        self._draws = draws(*(1000 + crc32(m.attribute.encode()) for m in row.measures if m.noise))
        self._period = row.period_s * thin
        luck = bits(family.keys, 0, 600)
        turn = (luck >> np.uint64(32)) % np.uint64(thin)
        self._at_once = turn == 0
        phase = (luck % np.uint64(row.period_s // row.spread_s) * np.uint64(row.spread_s)) + turn * np.uint64(
            row.period_s
        )
        self._due = _by_phase(phase.astype(np.int64))
        self._everyone = np.arange(len(family.ids))

    def tick(self, m: Moment) -> list[Message]:
        """What the family sends at one tick."""
        family = self.family
        if m.t % family.row.step_s == 0:
            family.advance(m)
        due = self._due.get(m.t % self._period, _NOBODY)
        if family.row.on_change and (news := family.changed()):
            news = [i for i in news if self._at_once[i]] if self._thin > 1 else news
            due = np.union1d(due, np.asarray(news, dtype=np.int64))
        if family.rests and len(due):
            turn = m.t // self._period % RESTING
            due = due[[not family.resting(i, m.t) or i % RESTING == turn for i in due.tolist()]]
        if not len(due):
            return []
        family.look(due, m)
        return self._faults.pass_on(due, self._objects(due, m.t), m.t)

    def all(self, m: Moment) -> list[Message]:
        """What the whole family would say at that moment."""
        self.family.look(self._everyone, m)
        return self._faults.pass_on(self._everyone, self._objects(self._everyone, m.t), m.t)

    def _objects(self, index: NDArray[np.int64], t: int) -> list[dict[str, Any]]:
        row, ids, at = self.family.row, self.family.ids, iso(t)
        noises = iter(normal(self.family.keys[index], t, self._draws)) if len(self._draws) else iter(())
        columns = [self._column(m, index, next(noises) if m.noise else None) for m in row.measures]
        kind, units, names = row.kind, self._units, self._names
        out: list[dict[str, Any]] = []
        for i, values in zip(index.tolist(), zip(*columns, strict=True), strict=True):
            o: dict[str, Any] = {"id": ids[i], "type": kind, "at": at, "simulated": True}
            o["units"] = units
            o.update(zip(names, values, strict=True))
            out.append(_without_nothing(o) if None in values else o)
        return out

    def _column(self, measure: Measure, index: NDArray[np.int64], noise: Floats | None) -> list[Any]:
        column = measure.value(self.family)
        if not isinstance(column, np.ndarray):
            return [column[i] for i in index.tolist()]
        values = column[index]
        if noise is not None:
            values = values + measure.noise * noise
        if not measure.optional:
            return rounded(measure, values)
        missing = np.isnan(values)
        out = rounded(measure, np.where(missing, 0.0, values))
        return [None if gone else v for v, gone in zip(out, missing.tolist(), strict=True)]


_NOBODY: NDArray[np.int64] = np.zeros(0, dtype=np.int64)


def _by_phase(phase: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Devices by the second of the period at which they report."""
    order = np.argsort(phase, kind="stable")
    values, first = np.unique(phase[order], return_index=True)
    parts = np.split(order, first[1:]) if len(order) else []
    return dict(zip(values.tolist(), parts, strict=True))


def _without_nothing(o: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in o.items() if v is not None}
    kept["units"] = {k: v for k, v in o["units"].items() if k in kept}
    return kept


def short_type(entity: Entity) -> str:
    """The entity's type as a short name, be it a name, a list of names or full IRIs."""
    kind = entity.get("type", "")
    if isinstance(kind, list):
        kind = kind[0] if kind else ""
    return str(kind).rsplit("/", 1)[-1].rsplit("#", 1)[-1]
