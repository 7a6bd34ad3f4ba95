"""Water quality: probes in the mains and in the river. Slow, quiet numbers, so that a fault stands out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sejong.simulator.curves import HOME_WATER
from sejong.simulator.family import City, Family, World
from sejong.simulator.luck import Drift, Floats, normal, uniform
from sejong.simulator.moment import Moment
from sejong.simulator.places import Entity, value
from sejong.simulator.rows import FAHRENHEIT, THOUSANDFOLD, THOUSANDTH, DeviceRow, Measure, of
from sejong.simulator.sky import YEAR_MEAN_C, YEAR_SWING_C, season

MAINS_PH, RIVER_PH = 7.3, 7.8
"""Mean acidity. Units: pH. Chosen; drinking water must lie within 5.8 and 8.5 (먹는물 수질기준)."""
MAINS_NTU, RIVER_NTU, RAIN_NTU = 0.08, 4.5, 2.2
"""Turbidity, and what one mm/h of rain adds in a river. Units: NTU. Chosen; mains must stay below 0.5."""
DOSE_MG_L, DECAY_PER_H, AGE_LOW_H, AGE_HIGH_H = 0.75, 0.028, 4.0, 30.0
"""Free chlorine leaving the works, its decay at 15 °C, and the least and largest age of water at a probe. Units: mg/L,
1/h, h. Source of the form: first-order bulk decay, doubling about every 10 °C; numbers chosen."""
MAINS_US, RIVER_US = 165.0, 290.0
"""Conductivity. Units: µS/cm. Chosen."""
GROUND_LAG = 0.55
"""Share of the air's yearly swing that water in the ground follows. Chosen."""

RIVER_WORDS = ("River", "Stream", "Creek", "Lake", "하천", "강(", "천(", "호수")
"""Words in a probe's name that say it hangs in open water."""


class WaterProbes(Family):
    """Water-quality probes: in the mains, or in open water (`in_river`)."""

    row = DeviceRow(
        name="water",
        gateway="gw-water",
        kind="WaterQualityObserved",
        period_s=60,
        spread_s=20,
        step_s=60,
        measures=(
            Measure("pH", of("ph"), "Q30", digits=2, noise=0.015, low=0, high=14, spike=14.0),
            Measure("turbidity", of("turbidity"), "NTU", digits=3, noise=0.004, low=0, high=1000, spike=1000.0),
            Measure(
                "residualChlorine",
                of("chlorine"),
                "M1",
                optional=True,
                digits=3,
                noise=0.006,
                low=0,
                high=5,
                wrong=THOUSANDFOLD,
                spike=5.0,
            ),
            Measure(
                "temperature",
                of("temperature"),
                "CEL",
                digits=1,
                noise=0.05,
                low=-5,
                high=50,
                wrong=FAHRENHEIT,
                spike=-99.9,
            ),
            Measure(
                "conductivity",
                of("conductivity"),
                "G42",
                digits=0,
                noise=0.8,
                low=0,
                high=20_000,
                wrong=THOUSANDTH,
                spike=0.0,
            ),
        ),
    )

    def __init__(self, world: World, entities: Sequence[Entity], city: City) -> None:
        super().__init__(world, entities, city)
        self._river = np.array([in_river(e) for e in entities], dtype=bool)
        self._age_h = AGE_LOW_H + (AGE_HIGH_H - AGE_LOW_H) * uniform(self.keys, 0, 1)
        self._own = normal(self.keys, 0, 2)
        self._slow = [Drift(self.keys, 3600, 0.92, draw) for draw in (3, 4, 5, 6)]

    def advance(self, m: Moment) -> None:
        rain, river = self.world.sky.at(m).rain, self._river
        ph, turbid, dose, salt = (d.at(m.t) for d in self._slow)
        yearly = YEAR_MEAN_C - YEAR_SWING_C * season(m) * GROUND_LAG
        air = self.world.sky.at(m).temperature
        self.temperature = np.where(river, np.maximum(0.2, 0.5 * yearly + 0.5 * air), yearly + 0.3 * self._own)
        self.ph = np.where(river, RIVER_PH + 0.2 * ph, MAINS_PH + 0.06 * ph) + 0.04 * self._own
        muddy = (RIVER_NTU + RAIN_NTU * rain) * np.exp(0.25 * turbid)
        self.turbidity = np.where(river, muddy, MAINS_NTU * np.exp(0.22 * turbid))
        self.chlorine = self._chlorine(m, dose)
        thinned = 1.0 / (1.0 + 0.04 * rain)
        self.conductivity = np.where(river, RIVER_US * thinned, MAINS_US) * (1 + 0.025 * salt + 0.02 * self._own)

    def _chlorine(self, m: Moment, dose: Floats) -> Floats | list[float | None]:
        """Older water, and water at hours of little use, has lost more of it; None in a river."""
        use = HOME_WATER.at(m.hour, m.weekend)
        age = self._age_h * (1.25 - 0.25 * min(1.5, use))
        decay = DECAY_PER_H * 2.0 ** ((self.temperature - 15.0) / 10.0)
        left = DOSE_MG_L * (1 + 0.05 * dose) * np.exp(-decay * age)
        return np.where(self._river, np.nan, left)


def in_river(entity: Entity) -> bool:
    """Whether a probe hangs in a river or lake: the pack names its `waterBody`, or its name says so."""
    names = entity.get("name", {}).get("languageMap", {})
    said = " ".join(str(n) for n in names.values()) if isinstance(names, dict) else ""
    return value(entity, "waterBody") is not None or any(word in said for word in RIVER_WORDS)
