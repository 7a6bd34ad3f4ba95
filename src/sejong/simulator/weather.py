"""Weather stations: the city's sky as each of them sees it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sejong.simulator.family import City, Family, World
from sejong.simulator.luck import Drift, normal
from sejong.simulator.moment import Moment
from sejong.simulator.places import Entity
from sejong.simulator.rows import FAHRENHEIT, KILOMETRES_AN_HOUR, PERCENT, THOUSANDTH, DeviceRow, Measure, of

SITE_C, SITE_WIND, SITE_RAIN = 0.5, 0.18, 0.35
"""How stations differ: deviation of temperature, of the logarithm of wind, and of rain. Units: °C, 1, 1. Chosen."""


class WeatherStations(Family):
    """Weather stations."""

    row = DeviceRow(
        name="weather",
        gateway="gw-weather",
        kind="WeatherObserved",
        period_s=60,
        spread_s=20,
        step_s=60,
        measures=(
            Measure(
                "temperature",
                of("temperature"),
                "CEL",
                digits=1,
                noise=0.1,
                low=-40,
                high=60,
                wrong=FAHRENHEIT,
                spike=-99.9,
            ),
            Measure(
                "relativeHumidity", of("humidity"), digits=3, noise=0.005, low=0, high=1, wrong=PERCENT, spike=1.999
            ),
            Measure(
                "windSpeed",
                of("wind"),
                "MTS",
                digits=1,
                noise=0.15,
                low=0,
                high=60,
                wrong=KILOMETRES_AN_HOUR,
                spike=99.9,
            ),
            Measure("windDirection", of("wind_from"), "DD", digits=0, noise=6, low=0, high=359),
            Measure("precipitation", of("rain"), "H67", digits=1, low=0, high=300, spike=-9.9),
            Measure(
                "atmosphericPressure",
                of("pressure"),
                "A97",
                digits=1,
                noise=0.1,
                low=800,
                high=1100,
                wrong=(0.1, 0),
                spike=0.0,
            ),
            Measure("solarRadiation", of("sunshine"), digits=0, noise=2, low=0, high=1600, spike=3276),
            Measure("illuminance", of("light"), "LUX", digits=0, low=0, high=200_000, wrong=THOUSANDTH),
        ),
    )

    def __init__(self, world: World, entities: Sequence[Entity], city: City) -> None:
        super().__init__(world, entities, city)
        self._warmer = SITE_C * normal(self.keys, 0, 1)
        self._windier = np.exp(SITE_WIND * normal(self.keys, 0, 2))
        self._gust = Drift(self.keys, 300, 0.5, 3)
        self._shower = Drift(self.keys, 600, 0.7, 4)
        self._haze = Drift(self.keys, 900, 0.7, 5)

    def advance(self, m: Moment) -> None:
        sky = self.world.sky.at(m)
        n = len(self.ids)
        self.temperature = sky.temperature + self._warmer
        self.humidity = np.minimum(1.0, sky.humidity * np.exp(-0.05 * self._warmer))
        self.wind = sky.wind * self._windier * np.exp(0.2 * self._gust.at(m.t))
        self.wind_from = (sky.wind_from + 12.0 * self._gust.at(m.t)) % 360.0
        self.rain = sky.rain * np.exp(SITE_RAIN * self._shower.at(m.t))
        self.pressure = np.full(n, sky.pressure)
        hazy = np.clip(1.0 + 0.06 * self._haze.at(m.t), 0.5, 1.15)
        self.sunshine, self.light = sky.sunshine * hazy, sky.light * hazy
