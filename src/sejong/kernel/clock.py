"""City time. Every part of the house asks a `Clock`; nothing else may look at the computer's time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where a part of the city gets the time from."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, for measuring how long something took."""
        ...


class SystemClock:
    """The computer's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("a clock starts at an aware datetime")
        self._now = start.astimezone(UTC)
        self._ran = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._ran

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass (negative: the wall clock was set back; `monotonic` then stands still)."""
        self._now += timedelta(seconds=seconds)
        self._ran += max(0.0, seconds)


class SimulatedClock:
    """City time that starts anywhere and runs `speed` times as fast as the real clock.

    Driven by the real clock's `monotonic`, so a jump of the computer's wall clock does not jump the city.
    """

    def __init__(self, start: datetime, speed: float = 1.0, real: Clock | None = None) -> None:
        if start.tzinfo is None:
            raise ValueError("a clock starts at an aware datetime")
        if speed <= 0:
            raise ValueError("speed must be positive")
        self._real = real or SystemClock()
        self._start = start.astimezone(UTC)
        self._began = self._real.monotonic()
        self.speed = speed

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (self._real.monotonic() - self._began) * self.speed
