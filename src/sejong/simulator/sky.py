"""The weather over the whole city: what every station measures, and what slows cars, stops bikes and clouds the sun.

Each value is a function of seed and instant alone, so yesterday's sky can be asked for as well as today's.
"""

from __future__ import annotations

from functools import lru_cache
from math import cos, exp, log, pi, radians, sin

import msgspec
import numpy as np

from sejong.kernel.chance import Chance
from sejong.simulator.curves import DayCurve
from sejong.simulator.luck import Mood, keys_of, uniform
from sejong.simulator.moment import DAY_S, Calendar, Moment
from sejong.simulator.sun import elevation_deg

YEAR_MEAN_C, YEAR_SWING_C, COLDEST_DAY = 13.1, 13.4, 22
"""Mean temperature, half the difference of summer and winter, and the coldest day of the year. Units: °C, °C, day.
Chosen, near the 1991-2020 normals of Daejeon, the next long-running station (Korea Meteorological Administration)."""
DAY_SWING_C = 5.5
"""Half the difference of afternoon and dawn under half a cloud cover. Units: °C. Chosen."""
DAY_SHAPE = DayCurve([
    -.50, -.61, -.70, -.79, -.87, -.93, -.98, -.82, -.48, -.08, .30, .61,
    .83, .95, 1.0, .98, .84, .58, .28, .05, -.10, -.22, -.32, -.41,
])  # fmt: skip
"""Temperature through the day, -1 = coldest, 1 = warmest. Source: shape of the mean hours at Beijing (UCI 501)."""
SPELL_C = 3.2
"""Deviation of warm and cold spells of some days. Units: °C. Chosen."""
WET_SHARE = (0.035, 0.04, 0.05, 0.06, 0.06, 0.08, 0.14, 0.12, 0.07, 0.04, 0.05, 0.04)
"""Share of the time with precipitation, January to December: the monsoon is July and August. Chosen."""
STEP_S = 600
"""Step of the rain's Markov chain. Units: s."""
STOPS = 1 / 15
"""Chance that rain stops within one step: a wet spell lasts 150 minutes in the mean. Chosen."""
HEAVIER, LIGHTER = 0.05, 0.14
"""Chance within one step that light rain turns heavy, and heavy rain light. Chosen."""
MEMORY_DAYS = 3
"""The chain starts so many days before the local day it is asked for. Units: days. With shared luck two chains have met
by then whatever their first state, so days join without a seam."""
RAIN_MM_H = (0.0, 1.6, 9.0)
"""Mean intensity when dry, light, heavy. Units: mm/h. Chosen; ≥ 7.6 mm/h is heavy rain (AMS Glossary)."""
WIND_MEAN_M_S = 1.7
"""Mean wind at 10 m, as at inland Korean stations. Units: m/s. Chosen."""
WIND_DAY = DayCurve([
    .72, .70, .68, .66, .66, .66, .68, .76, .88, 1.0, 1.12, 1.24,
    1.32, 1.38, 1.40, 1.36, 1.28, 1.15, 1.0, .90, .84, .80, .77, .74,
])  # fmt: skip
"""Wind through the day, 1 = its mean. Source: shape of the mean hours at Beijing (UCI 501), rounded."""
PREVAILING_DEG = 270.0
"""Where the wind comes from most: west. Units: degrees. Chosen."""


class Weather(msgspec.Struct, frozen=True):
    """The sky at one instant.

    °C · share 0–1 · m/s · degrees the wind comes from · mm/h · share of the sky 0–1 · hPa · degrees above the horizon ·
    W/m² on the level · lx.
    """

    temperature: float
    humidity: float
    wind: float
    wind_from: float
    rain: float
    cloud: float
    pressure: float
    sun_deg: float
    sunshine: float
    light: float


class Sky:
    """The weather of one city under one seed."""

    def __init__(self, chance: Chance, calendar: Calendar, lon: float, lat: float) -> None:
        self._calendar, self._lon, self._lat = calendar, lon, lat
        self._rain_key = keys_of(chance, "sky", ["rain"])
        key = keys_of(chance, "sky", ["city"])
        self._spell = Mood(key, 6 * 3600, 0.87, 1)
        self._cloud = Mood(key, 3600, 0.90, 2)
        self._moist = Mood(key, 3 * 3600, 0.85, 3)
        self._breeze = Mood(key, 1800, 0.88, 4)
        self._turn = Mood(key, 3600, 0.92, 5)
        self._mass = Mood(key, 6 * 3600, 0.88, 6)
        self._shower = Mood(key, STEP_S, 0.7, 7)
        self._last: tuple[int, Weather] | None = None
        self._rain_of_day = lru_cache(maxsize=8)(self._chain)

    def at(self, m: Moment) -> Weather:
        """The weather at that moment."""
        if self._last is None or self._last[0] != m.t:
            self._last = (m.t, self._make(m))
        return self._last[1]

    def _make(self, m: Moment) -> Weather:
        rain, cloud = self.rain(m), self.cloud(m)
        height = self.sun_deg(m.t)
        temperature = self.temperature(m, cloud)
        sunshine = clear_sky(height) * cloud_factor(cloud)
        wind = WIND_MEAN_M_S * WIND_DAY.at(m.hour) * exp(0.45 * self._breeze.at(m.t) - 0.1)
        return Weather(
            temperature=temperature,
            humidity=self._humidity(m, temperature, rain),
            wind=wind,
            wind_from=(PREVAILING_DEG + 75.0 * self._turn.at(m.t)) % 360.0,
            rain=rain,
            cloud=cloud,
            pressure=1016.5 + 7.5 * season(m) + 4.5 * self._mass.at(m.t) - 3.0 * (rain > 0),
            sun_deg=height,
            sunshine=sunshine,
            light=sunshine * LUX_PER_WATT + twilight(height),
        )

    def sun_deg(self, t: int) -> float:
        """Height of the sun over the middle of the city, degrees."""
        return elevation_deg(t, self._lon, self._lat)

    def cloud(self, m: Moment) -> float:
        """Share of the sky under cloud."""
        bare = min(1.0, max(0.0, 0.48 + 0.34 * self._cloud.at(m.t)))
        return max(bare, 0.92) if self.rain(m) > 0 else bare

    def temperature(self, m: Moment, cloud: float) -> float:
        """Air temperature, °C: season, spell of some days, time of day (smaller under cloud)."""
        swing = DAY_SWING_C * (1.3 - 0.6 * cloud)
        return YEAR_MEAN_C - YEAR_SWING_C * season(m) + SPELL_C * self._spell.at(m.t) + swing * DAY_SHAPE.at(m.hour)

    def _humidity(self, m: Moment, temperature: float, rain: float) -> float:
        base = YEAR_MEAN_C - YEAR_SWING_C * season(m) + SPELL_C * self._spell.at(m.t)
        dew = base - 5.0 + 1.6 * season(m) * -1 + 2.5 * self._moist.at(m.t)
        if rain > 0:
            dew = max(dew, temperature - 1.2)
        return min(1.0, max(0.12, vapour_pressure(dew) / vapour_pressure(temperature)))

    def rain(self, m: Moment) -> float:
        """Precipitation, mm/h of water (as snow below about 1 °C)."""
        state = self._rain_of_day(m.day, m.offset)[int(m.hour * 3600) // STEP_S]
        if state == 0:
            return 0.0
        return RAIN_MM_H[state] * exp(0.5 * self._shower.at(m.t // STEP_S * STEP_S))

    def _chain(self, day: int, offset: int) -> tuple[int, ...]:
        """0 dry, 1 light, 2 heavy for each step of a local day: a Markov chain begun `MEMORY_DAYS` before."""
        per_day = DAY_S // STEP_S
        first = (day - MEMORY_DAYS) * per_day
        n = (MEMORY_DAYS + 1) * per_day
        luck = uniform(np.repeat(self._rain_key, n), np.arange(first, first + n)).tolist()
        month = self._calendar.at(day * DAY_S - offset + DAY_S // 2).year_day * 12 // 367
        wet = WET_SHARE[month]
        starts = STOPS * wet / (1 - wet)
        state, states = 0, []
        for u in luck:
            if state == 0:
                state = 1 if u > 1 - starts else 0
            elif state == 1:
                state = 0 if u < STOPS else 2 if u > 1 - HEAVIER else 1
            else:
                state = 1 if u < LIGHTER else 2
            states.append(state)
        return tuple(states[-per_day:])


def season(m: Moment) -> float:
    """1 on the coldest day of the year, -1 half a year later."""
    return cos(2 * pi * (m.year_day - COLDEST_DAY) / 365.25)


def vapour_pressure(celsius: float) -> float:
    """Saturation vapour pressure over water, hPa. Source: Magnus formula, WMO-No. 8 annex 4.B."""
    return 6.112 * exp(17.62 * celsius / (243.12 + celsius))


def clear_sky(height_deg: float) -> float:
    """Sunshine on the level under a clear sky, W/m². Source: Haurwitz 1945, 1098·cos z·exp(−0.057 / cos z)."""
    up = sin(radians(height_deg))
    return 0.0 if up <= 0.0 else 1098.0 * up * exp(-0.057 / up)


def cloud_factor(cloud: float) -> float:
    """Share of the clear-sky sunshine that comes through. Source: Kasten and Czeplak 1980, 1 − 0.75·N^3.4."""
    return 1.0 - 0.75 * (exp(3.4 * log(cloud)) if cloud > 0.0 else 0.0)


LUX_PER_WATT = 115.0
"""Daylight's luminous efficacy. Units: lm/W. Source: global horizontal daylight, 105 to 120 (Littlefair 1988)."""


def twilight(height_deg: float) -> float:
    """Light from the sky with the sun near or below the horizon, lx. Chosen: 400 lx at 0°, about 3.4 lx at −6°."""
    return 400.0 * exp(min(0.0, height_deg) * 0.795) if height_deg > -18.0 else 0.0
