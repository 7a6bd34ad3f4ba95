"""An instant as the city lives it: epoch seconds together with the local hour, weekday and day of the year."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache

import msgspec

DAY_S = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class Moment(msgspec.Struct, frozen=True):
    """One instant on the city clock.

    `t` epoch seconds (UTC) · `hour` local time of day, 0 ≤ hour < 24 · `day` local calendar day, counted from
    1970-01-01 · `offset` local time minus UTC in seconds.
    """

    t: int
    hour: float
    day: int
    offset: int

    @property
    def weekday(self) -> int:
        """0 = Monday … 6 = Sunday."""
        return (self.day + 3) % 7  # 1970-01-01 was a Thursday

    @property
    def weekend(self) -> bool:
        """Whether it is Saturday or Sunday. Public holidays are not known here."""
        return self.weekday >= 5

    @property
    def year_day(self) -> int:
        """Day of the year, 1 = 1 January."""
        return date.fromordinal(self.day + _EPOCH_DAY).timetuple().tm_yday


class Calendar:
    """Turns epoch seconds into local moments of one city; asks the time zone once an hour only."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._offsets: dict[int, int] = {}

    def at(self, t: int) -> Moment:
        """The moment of this epoch second."""
        offset = self.offset(t)
        local = t + offset
        return Moment(t=t, hour=local % DAY_S / 3600.0, day=local // DAY_S, offset=offset)

    def offset(self, t: int) -> int:
        """Local time minus UTC at this epoch second, in seconds."""
        hour = t // 3600
        offset = self._offsets.get(hour)
        if offset is None:
            delta = datetime.fromtimestamp(hour * 3600, self._zone).utcoffset()
            offset = 0 if delta is None else int(delta.total_seconds())
            if len(self._offsets) > 5000:
                self._offsets.clear()
            self._offsets[hour] = offset
        return offset

    def last(self, hour: float, t: int) -> int:
        """Epoch second of the latest local `hour` o'clock at or before `t`."""
        local = t + self.offset(t)
        return t - int((local - hour * 3600) % DAY_S)


@lru_cache(maxsize=256)
def iso(t: int) -> str:
    """An epoch second as NGSI-LD writes it.

    >>> iso(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
