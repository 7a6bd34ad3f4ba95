"""Air: fine dust that comes with the weather's big masses, and gases that come with traffic and go with the sun.

Dust: a regional level that lasts for days (log-normal AR(1)), thinned by wind and by the deep mixing of the afternoon,
washed out by rain, with neighbouring stations alike. Gases: nitrogen dioxide follows traffic over mixing; ozone is made
by sun and warmth and eaten by the traffic's nitrogen oxide (titration), so the two run against each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sejong.simulator.curves import DayCurve
from sejong.simulator.family import City, Family, World
from sejong.simulator.luck import Drift, keys_of
from sejong.simulator.moment import Moment
from sejong.simulator.places import Entity, metres, middle, smoothing
from sejong.simulator.rows import THOUSANDFOLD, THOUSANDTH, DeviceRow, Measure, of
from sejong.simulator.sky import Weather, season
from sejong.simulator.traffic import busyness

PM25_MEDIAN, PM25_WINTER = 15.0, 0.32
"""Median PM2.5 over a year, and how much of its logarithm winter adds. Units: µg/m³, 1. Chosen: a yearly mean near
20 µg/m³, as Korean cities of the Chungcheong region report."""
MASS_SPREAD, MASS_HOURLY = 0.52, 0.955
"""Deviation of the logarithm of the regional level and its memory from hour to hour. Source of the memory: hourly
log PM2.5 at Beijing (UCI 501) correlates 0.947 to 0.958 from one hour to the next; the deviation chosen."""
STATION_SPREAD, STATION_REACH_M = 0.13, 2_500.0
"""Deviation between stations and how far it reaches. Units: 1, m. Chosen."""
DUST_DAY = DayCurve([
    1.06, 1.06, 1.04, 1.03, 1.01, 1.00, 1.02, 1.07, 1.11, 1.10, 1.06, 1.01,
    .96, .92, .89, .87, .87, .90, .95, 1.00, 1.03, 1.05, 1.06, 1.06,
])  # fmt: skip
"""Dust through the day, 1 = its mean: a morning rush, thin deep air in the afternoon. Chosen."""
WASHOUT = 0.11
"""Share of the dust that one mm/h of rain takes out, at first. Units: 1/(mm/h). Chosen."""
FINE_SHARE, COARSE_SPREAD = 0.56, 0.22
"""PM2.5 over PM10, and the deviation of the logarithm of the coarse part. Chosen; Korean cities: 0.5 to 0.6."""
NO2_BACKGROUND, NO2_TRAFFIC = 0.006, 0.021
"""Nitrogen dioxide without traffic, and what the busiest hour adds in poorly mixed air. Units: ppm. Chosen."""
O3_BACKGROUND, O3_SUN, TITRATION = 0.036, 0.032, 0.85
"""Ozone that drifts in, what full sun on a warm day makes, and ppm of ozone a ppm of NO2 stands for eaten. Chosen."""


class AirStations(Family):
    """Air-quality stations."""

    row = DeviceRow(
        name="air",
        gateway="gw-air",
        kind="AirQualityObserved",
        period_s=60,
        spread_s=20,
        step_s=60,
        measures=(
            Measure("pm25", of("pm25"), "GQ", digits=1, noise=0.5, low=0, high=1000, wrong=THOUSANDTH, spike=999.9),
            Measure("pm10", of("pm10"), "GQ", digits=1, noise=0.8, low=0, high=2000, wrong=THOUSANDTH, spike=1999.9),
            Measure("no2", of("no2"), "59", digits=4, noise=0.0004, low=0, high=2, wrong=THOUSANDFOLD, spike=2.0),
            Measure("o3", of("o3"), "59", digits=4, noise=0.0005, low=0, high=1, wrong=THOUSANDFOLD, spike=-0.999),
        ),
    )

    def __init__(self, world: World, entities: Sequence[Entity], city: City) -> None:
        super().__init__(world, entities, city)
        places = metres([middle(e) or world.centre for e in entities], world.centre)
        self._index, self._weight = smoothing(places, STATION_REACH_M)
        self._mass = Drift(keys_of(world.chance, "air", ["region"]), 3600, MASS_HOURLY, 1)
        self._local = [Drift(self.keys, 1800, 0.85, draw) for draw in (2, 3, 4, 5)]

    def _near(self, which: int, t: int) -> np.ndarray:
        """Noise of a substance at each station, alike between neighbours."""
        return (self._local[which].at(t)[self._index] * self._weight).sum(axis=1)

    def advance(self, m: Moment) -> None:
        weather = self.world.sky.at(m)
        thin = dilution(weather, m.hour)
        level = PM25_MEDIAN * np.exp(
            PM25_WINTER * season(m) + MASS_SPREAD * self._mass.at(m.t)[0] + STATION_SPREAD * self._near(0, m.t)
        )
        washed = 1.0 / (1.0 + WASHOUT * weather.rain)
        self.pm25 = level * DUST_DAY.at(m.hour) * thin**0.5 * washed
        coarse = self.pm25 * (1 / FINE_SHARE - 1) * np.exp(COARSE_SPREAD * self._near(1, m.t))
        self.pm10 = self.pm25 + coarse * (0.75 + 0.25 * weather.wind / 1.7) * washed
        cars = busyness(m.hour, m.weekend, weather.rain)
        local = np.exp(0.22 * self._near(2, m.t))
        self.no2 = (NO2_BACKGROUND + NO2_TRAFFIC * cars * thin) * local * (1.0 + 0.18 * season(m))
        sunny = weather.sunshine / 900.0 * min(1.6, max(0.25, weather.temperature / 22.0))
        made = O3_BACKGROUND * (0.55 + 0.45 * min(1.0, sunny * 2)) + O3_SUN * sunny
        self.o3 = np.maximum(0.001, made * np.exp(0.12 * self._near(3, m.t)) - TITRATION * (self.no2 - NO2_BACKGROUND))


def dilution(weather: Weather, hour: float) -> float:
    """How concentrated what is emitted stays, 1 = a usual mean: less in wind and over the warm ground of the day."""
    deep = 0.35 * max(0.0, 1.0 - abs(hour - 14.5) / 6.5)
    return (1.0 - deep) * 1.25 / (0.6 + 0.4 * weather.wind)
