"""The rhythms of a day: how many are on the road, on a bike, at the tap or at the meter at each hour.

Every list has 24 values, one for each full local hour; between hours the curve is straight, and 24 o'clock is
0 o'clock again. Units: share of the curve's own scale (said at each). Where a source stands, the list was rounded
from that series' means by hour; where it says "chosen", it is our picture of a Korean new town of offices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class DayCurve:
    """A closed curve through 24 hourly values.

    >>> DayCurve([0.0] * 12 + [1.0] + [0.0] * 11).at(11.5)
    0.5
    """

    def __init__(self, hourly: list[float]) -> None:
        if len(hourly) != 24:
            raise ValueError("a day curve has 24 values")
        self.hourly: NDArray[np.float64] = np.asarray(hourly, dtype=np.float64)
        self._closed = [*hourly, hourly[0]]

    def at(self, hour: float) -> float:
        """Its value at a local hour (0 ≤ hour < 24)."""
        k = int(hour)
        f = hour - k
        return self._closed[k] * (1.0 - f) + self._closed[k + 1] * f

    def half_hours(self) -> NDArray[np.float64]:
        """Its value in the middle of each of the 48 half hours."""
        return np.array([self.at(0.25 + 0.5 * k) for k in range(48)])


class Rhythm:
    """A weekday curve and a weekend curve."""

    def __init__(self, weekday: list[float], weekend: list[float]) -> None:
        self.weekday, self.weekend = DayCurve(weekday), DayCurve(weekend)

    def curve(self, weekend: bool) -> DayCurve:
        """The curve of that kind of day."""
        return self.weekend if weekend else self.weekday

    def at(self, hour: float, weekend: bool) -> float:
        """Its value at that hour of that kind of day."""
        return self.curve(weekend).at(hour)


ROAD = Rhythm(
    [
        .10, .06, .05, .06, .14, .38, .68, .97, 1.0, .76, .62, .63,
        .66, .66, .68, .74, .84, .97, 1.0, .76, .52, .42, .33, .20,
    ],
    [
        .22, .14, .10, .08, .08, .12, .19, .27, .39, .52, .61, .66,
        .69, .70, .70, .70, .70, .69, .64, .55, .47, .42, .35, .27,
    ],
)  # fmt: skip
"""Vehicles on the road, 1 = the weekday's busiest hour. Source: UCI Metro Interstate Traffic Volume (I-94), hourly
means; peaks moved to 08 and 18 o'clock, when the ministries in Sejong begin and end (chosen)."""

INWARD = DayCurve([
    .5, .5, .5, .5, .5, .54, .58, .62, .62, .57, .52, .5,
    .5, .5, .5, .49, .46, .41, .38, .41, .45, .47, .5, .5,
])  # fmt: skip
"""Share of the traffic of both directions that drives towards the centre on a weekday. Chosen; 0.6 to 0.4 is a usual
directional split of a commuter road (TRB Highway Capacity Manual gives K- and D-factors of that size)."""

BIKE = Rhythm(
    [
        .07, .03, .02, .00, .01, .05, .20, .58, .94, .46, .26, .30,
        .38, .38, .35, .38, .56, 1.0, .94, .67, .48, .36, .27, .17,
    ],
    [
        .17, .13, .10, .00, .02, .02, .04, .08, .20, .33, .49, .60,
        .70, .71, .70, .68, .67, .62, .54, .44, .33, .27, .22, .16,
    ],
)  # fmt: skip
"""Bike rentals, 1 = the weekday's busiest hour. Source: UCI Bike Sharing (Fanaee-T and Gama 2013), means by hour of
working and other days. Between 03 and 04 nobody rents: the vans' night round (chosen)."""

COMMUTER_CAR = Rhythm(
    [0, 0, 0, 0, 0, .02, .16, .62, 1.0, .55, .18, .08, .05, .10, .05, .03, .02, .01, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, .01, .03, .08, .12, .10, .06, .03, .02, .03, .02, .01, .01, 0, 0, 0, 0, 0, 0, 0],
)  # fmt: skip
VISITOR_CAR = Rhythm(
    [.02, .01, 0, 0, 0, .01, .04, .12, .30, .55, .75, .92, 1.0, .85, .75, .72, .72, .78, .85, .70, .45, .25, .12, .05],
    [
        .04, .02, .01, 0, 0, .01, .02, .06, .16, .38, .68, .95,
        1.0, 1.0, 1.0, .98, .92, .85, .75, .58, .38, .22, .12, .07,
    ],
)  # fmt: skip
RESIDENT_CAR = Rhythm(
    [.06, .03, .01, 0, 0, 0, 0, 0, 0, 0, 0, .01, .02, .03, .05, .10, .22, .50, .90, 1.0, .85, .65, .40, .18],
    [.08, .04, .02, 0, 0, 0, 0, 0, .01, .02, .04, .07, .10, .12, .16, .25, .40, .60, .80, .85, .75, .58, .38, .20],
)  # fmt: skip
"""Cars driving into a car park, by what brings them, 1 = the busiest hour. Chosen."""

BUS_RIDERS = Rhythm(
    [0, 0, 0, 0, 0, .15, .45, 1.0, .95, .55, .42, .42, .45, .45, .48, .55, .70, .98, .95, .62, .45, .36, .28, .12],
    [0, 0, 0, 0, 0, .08, .16, .28, .38, .46, .55, .62, .65, .65, .66, .66, .66, .66, .60, .48, .38, .30, .22, .10],
)  # fmt: skip
"""People waiting for a bus, 1 = the weekday's busiest hour. Chosen."""

HOME_POWER = Rhythm(
    [
        .78, .70, .66, .64, .64, .70, .92, 1.10, 1.02, .84, .78, .78,
        .84, .82, .80, .80, .88, 1.08, 1.36, 1.52, 1.54, 1.46, 1.28, 1.02,
    ],
    [
        .86, .76, .70, .66, .65, .67, .74, .90, 1.06, 1.12, 1.10, 1.10,
        1.14, 1.10, 1.06, 1.06, 1.10, 1.22, 1.40, 1.50, 1.48, 1.38, 1.20, 1.00,
    ],
)  # fmt: skip
"""Power a block of homes draws, 1 = about the day's mean. Chosen: a low night, a morning step, a high evening."""

HOME_WATER = Rhythm(
    [
        .38, .22, .15, .12, .14, .34, 1.05, 1.75, 1.62, 1.22, 1.02, .95,
        1.00, .94, .84, .82, .92, 1.14, 1.42, 1.56, 1.54, 1.42, 1.10, .72,
    ],
    [
        .48, .28, .18, .14, .14, .22, .52, 1.00, 1.50, 1.72, 1.60, 1.38,
        1.26, 1.12, 1.00, .98, 1.02, 1.16, 1.36, 1.46, 1.44, 1.30, 1.02, .72,
    ],
)  # fmt: skip
"""Water a block of homes draws, 1 = about the day's mean. Source: the order of the peaks follows the district inflows
of the Battle of Water Demand Forecasting (Alvisi et al. 2025: peak at 08, on Saturday and Sunday at 10); homes swing
more than districts, which carry steady losses (chosen)."""
