"""Street lights: on at dusk, dimmed in the small hours, off at dawn, each by its own photocell.

A lamp goes by the sun's height over its own place plus the error of its photocell, so the city does not light up at
once but over some minutes, from east to west.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sejong.simulator.family import City, Family, World
from sejong.simulator.luck import Floats, normal, uniform
from sejong.simulator.moment import Moment
from sejong.simulator.places import Entity, middle, number
from sejong.simulator.rows import PERCENT, THOUSANDTH, DeviceRow, Measure, of

SWITCH_DEG, PHOTOCELL_DEG = -2.2, 0.5
"""Height of the sun at which a lamp switches, and the deviation of its photocell. Units: degrees. Chosen: about a
quarter of an hour after sunset, 20 to 50 lx."""
CLOUD_DEG = 1.8
"""Under a closed cloud a lamp switches while the sun still stands so much higher. Units: degrees. Chosen."""
DIM_FROM, DIM_UNTIL, DIM_LEVEL, DIM_SPREAD_MIN = 23.0, 5.0, 0.5, 4.0
"""Timer of the cabinets: hours of dimming, level, and how far the cabinets' clocks differ (minutes). Chosen."""
RATED_W = 100.0
"""Power of a lamp whose data does not say. Units: W. Chosen: LED on a collector road."""
STANDBY_W, DRIVER_LOSS = 0.8, 0.06
"""Power of a lamp that is off, and loss in the driver when dimmed. Units: W, share of the rating. Chosen."""
DEGREES_PER_DEGREE_EAST = 0.8
"""How much the sun's height changes with a degree of longitude near the horizon at this latitude. Source: cos 36.5°."""


class Lights(Family):
    """One lamp each."""

    row = DeviceRow(
        name="light",
        gateway="gw-light",
        kind="Streetlight",
        period_s=900,
        step_s=60,
        on_change=True,
        history=24,
        measures=(
            Measure("powerState", of("state")),
            Measure("illuminanceLevel", of("level"), digits=2, low=0, high=1, wrong=PERCENT),
            Measure(
                "powerConsumption",
                of("power"),
                "WTT",
                digits=1,
                noise=0.7,
                low=0,
                high=1000,
                wrong=THOUSANDTH,
                spike=6553.5,
            ),
        ),
    )

    def __init__(self, world: World, entities: Sequence[Entity], city: City) -> None:
        super().__init__(world, entities, city)
        # the rating stands in the pack as `powerRating` or, before the first reading, as `powerConsumption`
        self._rated = np.array([number(e, ("powerRating", "powerConsumption"), RATED_W) for e in entities])
        self._rated[self._rated <= 0] = RATED_W
        east = np.array([(middle(e) or world.centre)[0] for e in entities]) - world.centre[0]
        self._switch = SWITCH_DEG + PHOTOCELL_DEG * normal(self.keys, 0, 1)
        self._ahead = east * DEGREES_PER_DEGREE_EAST
        self._clock_h = DIM_SPREAD_MIN / 60 * (2 * uniform(self.keys, 0, 2) - 1)

    def begin(self, m: Moment) -> None:
        self.level: Floats = np.zeros(len(self.ids))
        self.state = ["off"] * len(self.ids)
        self._touched: list[int] = []
        self.advance(m)
        self._touched = []

    def advance(self, m: Moment) -> None:
        before = self.level
        height = self.world.sky.sun_deg(m.t)
        rising = -1.0 if m.hour < 12 else 1.0  # lamps in the east meet dusk and dawn first
        darkness = self._switch + CLOUD_DEG * self.world.sky.cloud(m) ** 2 - (height - rising * self._ahead)
        hour = (m.hour + self._clock_h) % 24.0
        small_hours = (hour >= DIM_FROM) | (hour < DIM_UNTIL)
        self.level = np.where(darkness > 0, np.where(small_hours, DIM_LEVEL, 1.0), 0.0)
        loss = DRIVER_LOSS * (self.level < 1.0)
        self.power = np.where(self.level > 0, self._rated * (self.level + loss), STANDBY_W)
        for i in np.flatnonzero(before != self.level).tolist():
            self._touched.append(i)
            self.state[i] = "off" if self.level[i] == 0 else "on" if self.level[i] >= 1 else "low"

    def changed(self) -> list[int]:
        found, self._touched = sorted(set(self._touched)), []
        return found
