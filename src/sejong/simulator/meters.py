"""Meters of blocks of homes: power, sun on some roofs, water; and the counters that only ever rise.

Counters are exact sums of the power and flow shown, so a bill made from them is right, and they are a function of the
instant: after a restart they go on, never back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sejong.simulator.curves import HOME_POWER, HOME_WATER, Rhythm
from sejong.simulator.family import City, Family, World
from sejong.simulator.luck import Floats, normal, uniform
from sejong.simulator.moment import DAY_S, Moment
from sejong.simulator.places import Entity, number
from sejong.simulator.rows import THOUSANDFOLD, THOUSANDTH, DeviceRow, Measure, of
from sejong.simulator.sky import clear_sky, cloud_factor, season

CELL_S = 600
"""Power and flow stay the same for ten minutes; counters rise straight in between. Units: s."""
CELLS = DAY_S // CELL_S
COUNTER_ZERO = date(2026, 11, 1)
"""The day at whose beginning every counter stood at zero: when the meters were put in. Chosen. A city that lives
before it takes the day `EARLY_DAYS` before its own first."""
EARLY_DAYS = 7
HOMES = 120.0
"""Homes behind a meter whose data does not say. Chosen."""
HOME_W = 415.0
"""Mean power of a home. Units: W. Chosen: near 300 kWh a month."""
HOME_L_MIN = 0.31
"""Mean water of a home. Units: L/min. Chosen: near 450 L a day."""
SIZE_SPREAD, DAY_SPREAD, CELL_SPREAD = 0.14, 0.06, 0.07
"""How blocks, days and ten minutes differ (deviation). Units: share. Chosen."""
POWER_WINTER, POWER_SUMMER, WATER_SUMMER = 0.08, 0.30, 0.08
"""What the coldest and the hottest weeks add. Units: share. Chosen: district heating in winter, cooling in summer."""
NIGHT_LEAK = 0.06
"""Share of the mean water that never stops: cisterns, drips. Chosen."""
SOLAR_SHARE, SOLAR_KW_PER_HOME, SYSTEM = 0.22, 0.85, 0.80
"""Share of the blocks with panels, their size, and output over nameplate at 1,000 W/m². Units: 1, kW, 1. Chosen."""


class _Counted(Family):
    """Blocks of homes whose counters are kept as sums over whole days and ten-minute cells."""

    _rhythm: Rhythm
    _spread = CELL_SPREAD

    def __init__(self, world: World, entities: Sequence[Entity], city: City) -> None:
        super().__init__(world, entities, city)
        homes = np.array([number(e, ("households",), HOMES) for e in entities])
        self._homes = homes * np.exp(SIZE_SPREAD * normal(self.keys, 0, 1))

    def begin(self, m: Moment) -> None:
        zero = COUNTER_ZERO.toordinal() - date(1970, 1, 1).toordinal()
        self._today = min(zero, m.day - EARLY_DAYS)
        self._before = np.zeros((2, len(self.ids)))
        self._open(m.offset)
        while self._today < m.day:
            self._close(m.offset)
        self.advance(m)

    def _open(self, offset: int) -> None:
        """Work out the present day: what goes in and out in each cell, and the counters at each cell's beginning."""
        self._cells = self._day_cells(self._today, offset)  # (in/out, device, cell), per second
        sums = np.cumsum(self._cells * CELL_S, axis=2)
        self._at = np.concatenate((np.zeros((*sums.shape[:2], 1)), sums), axis=2)

    def _close(self, offset: int) -> None:
        self._before = self._before + self._at[:, :, -1]
        self._today += 1
        self._open(offset)

    def _day_cells(self, day: int, offset: int) -> NDArray[np.float64]:
        raise NotImplementedError

    def _use(self, day: int, offset: int) -> NDArray[np.float64]:
        """Use of each block in each cell of a day, 1 = a home's mean."""
        m = self.world.calendar.at(day * DAY_S - offset)
        half_hours = self._rhythm.curve(m.weekend).half_hours()
        shape = np.interp((np.arange(CELLS) + 0.5) / 3, np.arange(48) + 0.5, half_hours, period=48)
        of_day = self._homes * (1 + DAY_SPREAD * normal(self.keys, day, 2))
        cells = day * CELLS + np.arange(CELLS)
        keys = np.repeat(self.keys, CELLS)
        luck = normal(keys, np.tile(cells, len(self.ids)), 3).reshape(len(self.ids), CELLS)
        return of_day[:, None] * shape[None, :] * (1 + self._spread * luck)

    def advance(self, m: Moment) -> None:
        while self._today < m.day:
            self._close(m.offset)
        second = int(m.hour * 3600 + 0.5)
        k = min(second // CELL_S, CELLS - 1)
        self._now = self._cells[:, :, k]
        self._count = self._before + self._at[:, :, k] + self._now * (second - k * CELL_S)


class PowerMeters(_Counted):
    """Electricity meters, some with panels behind them: then power may be negative and a second counter rises."""

    _rhythm = HOME_POWER
    row = DeviceRow(
        name="power",
        gateway="gw-meter",
        kind="ACMeasurement",
        period_s=120,
        spread_s=10,
        step_s=60,
        measures=(
            Measure("totalActivePower", of("power"), "WTT", digits=0, noise=25, wrong=THOUSANDTH, spike=999_999),
            Measure("totalActiveEnergyImport", of("imported"), "KWH", digits=2, low=0, wrong=THOUSANDFOLD),
            Measure(
                "totalActiveEnergyExport", of("exported"), "KWH", optional=True, digits=2, low=0, wrong=THOUSANDFOLD
            ),
        ),
    )

    def __init__(self, world: World, entities: Sequence[Entity], city: City) -> None:
        super().__init__(world, entities, city)
        has = uniform(self.keys, 0, 5) < SOLAR_SHARE
        size = np.exp(0.3 * normal(self.keys, 0, 6))
        self.panels_w: Floats = np.where(has, SOLAR_KW_PER_HOME * 1000 * self._homes * size, 0.0)

    def _day_cells(self, day: int, offset: int) -> NDArray[np.float64]:
        cold = season(self.world.calendar.at(day * DAY_S - offset + DAY_S // 2))
        yearly = 1 + POWER_WINTER * max(0.0, cold) ** 2 + POWER_SUMMER * max(0.0, -cold) ** 3
        net = HOME_W * yearly * self._use(day, offset) - self.sun(day, offset)
        return np.stack((np.maximum(net, 0.0), np.maximum(-net, 0.0)))

    def sun(self, day: int, offset: int) -> NDArray[np.float64]:
        """Power of each block's panels in each cell of a local day, W."""
        sky, calendar = self.world.sky, self.world.calendar
        per_watt = np.zeros(CELLS)
        for k in range(CELLS):
            t = day * DAY_S - offset + k * CELL_S + CELL_S // 2
            bright = clear_sky(sky.sun_deg(t))
            if bright > 0:
                per_watt[k] = bright / 1000 * SYSTEM * cloud_factor(sky.cloud(calendar.at(t)))
        return self.panels_w[:, None] * per_watt[None, :]

    @property
    def power(self) -> Floats:
        """Power drawn from the grid, W; negative when the panels give more than the homes use."""
        return self._now[0] - self._now[1]

    @property
    def imported(self) -> Floats:
        """Energy drawn since the meters were put in, kWh."""
        return self._count[0] / 3.6e6

    @property
    def exported(self) -> list[float | None] | Floats:
        """Energy given since then, kWh; not a number where there are no panels."""
        return np.where(self.panels_w > 0, self._count[1] / 3.6e6, np.nan)


class WaterMeters(_Counted):
    """Water meters of blocks of homes."""

    _rhythm = HOME_WATER
    _spread = 2.2 * CELL_SPREAD
    row = DeviceRow(
        name="tap",
        gateway="gw-meter",
        kind="WaterConsumptionObserved",
        period_s=300,
        spread_s=15,
        step_s=60,
        measures=(
            Measure("waterConsumption", of("consumed"), "MTQ", digits=3, low=0, wrong=THOUSANDFOLD),
            Measure("flow", of("flow"), "L2", digits=1, noise=0.2, low=0, wrong=(0.06, 0), spike=6553.5),
        ),
    )

    def _day_cells(self, day: int, offset: int) -> NDArray[np.float64]:
        cold = season(self.world.calendar.at(day * DAY_S - offset + DAY_S // 2))
        use = self._use(day, offset) * (1 - NIGHT_LEAK) + NIGHT_LEAK * self._homes[:, None]
        return (HOME_L_MIN / 60 * (1 - WATER_SUMMER * cold) * use)[None, :, :]

    @property
    def flow(self) -> Floats:
        """Litres a minute just now."""
        return self._now[0] * 60

    @property
    def consumed(self) -> Floats:
        """Cubic metres since the meters were put in."""
        return self._count[0] / 1000
