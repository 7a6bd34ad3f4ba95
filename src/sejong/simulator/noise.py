"""Noise: what the streets around a microphone sound like, from hourly traffic, and people when there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sejong.simulator.family import City, Family, World
from sejong.simulator.luck import Drift, normal, uniform
from sejong.simulator.moment import Moment
from sejong.simulator.places import Entity
from sejong.simulator.rows import DeviceRow, Measure, of
from sejong.simulator.traffic import busyness

BASIC_DB, TENTH_TO_MEAN_DB = 42.2, 3.0
"""Level beside a road with one vehicle an hour, and L10 over LAeq. Units: dB(A).
Source: Calculation of Road Traffic Noise (UK 1988), chart 2: L10,1h = 42.2 + 10·log10 q; LAeq ≈ L10 − 3."""
FLOW_LOW, FLOW_HIGH = 200.0, 2_400.0
"""Vehicles an hour past a microphone in the busiest hour, from a side street to an avenue. Units: veh/h. Chosen."""
SHIELD_DB = 9.0
"""Largest loss by distance and walls. Units: dB. Chosen."""
QUIET_DB, PEOPLE_DB = 36.0, 12.0
"""Level with nothing near, and what people, birds and machines add by day. Units: dB(A). Chosen."""
RAIN_DB = 2.5
"""What wet tyres add. Units: dB. Chosen."""


class Microphones(Family):
    """Noise monitors."""

    row = DeviceRow(
        name="noise",
        gateway="gw-noise",
        kind="NoiseLevelObserved",
        period_s=60,
        spread_s=20,
        step_s=60,
        measures=(
            Measure("LAeq", of("mean_level"), "2N", digits=1, noise=0.8, low=25, high=140, spike=140.0),
            Measure("LAmax", of("peak_level"), "2N", digits=1, noise=2.0, low=25, high=140, spike=0.0),
        ),
    )

    def __init__(self, world: World, entities: Sequence[Entity], city: City) -> None:
        super().__init__(world, entities, city)
        self._flow = FLOW_LOW * (FLOW_HIGH / FLOW_LOW) ** uniform(self.keys, 0, 1)
        self._shield = SHIELD_DB * uniform(self.keys, 0, 2)
        self._self = normal(self.keys, 0, 3)
        self._drift = Drift(self.keys, 300, 0.6, 4)

    def advance(self, m: Moment) -> None:
        weather = self.world.sky.at(m)
        cars = busyness(m.hour, m.weekend, weather.rain)
        road = BASIC_DB - TENTH_TO_MEAN_DB + 10 * np.log10(self._flow * cars) - self._shield
        road = road + RAIN_DB * (weather.rain > 0)
        awake = max(0.0, 1.0 - abs(m.hour - 14.0) / 9.0)
        near = QUIET_DB + PEOPLE_DB * awake + self._self
        both = 10 * np.log10(10 ** (road / 10) + 10 ** (near / 10))
        self.mean_level = both + 1.6 * self._drift.at(m.t)
        self.peak_level = self.mean_level + 11.0 + 3.0 * np.abs(self._drift.at(m.t))
