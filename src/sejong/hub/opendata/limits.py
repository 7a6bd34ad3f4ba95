"""How many requests one visitor or one key may send: token buckets in memory, and a quota a day.

The limits of one process: with several web processes a visitor may reach that many times as much before the quota,
which is counted for all of them together, stops them.
"""

from __future__ import annotations

from datetime import date

MOST_VISITORS = 50_000
"""Addresses remembered at once; beyond that those that have been quiet are forgotten. Chosen: a few megabytes."""


class Allowance:
    """What one visitor may still send. Times are monotonic seconds.

    >>> a = Allowance(rate=10, burst=2, now=0.0)
    >>> [a.take(0.0), a.take(0.0), a.take(0.0), a.take(0.1), round(a.wait_s(), 2)]
    [True, True, False, True, 0.1]
    """

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst = rate, burst
        self._tokens, self._at = burst, now

    def take(self, now: float) -> bool:
        """Take one request, if there is one to be had."""
        tokens = self._tokens + (now - self._at) * self.rate
        self._at = now
        if tokens > self.burst:
            tokens = self.burst
        if tokens < 1.0:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1.0
        return True

    def wait_s(self) -> float:
        """Seconds until the next request can be had."""
        return max(0.0, (1.0 - self._tokens) / self.rate)

    def is_full(self, now: float) -> bool:
        """Whether nothing was taken for so long that forgetting it changes nothing."""
        return self._tokens + (now - self._at) * self.rate >= self.burst


class DayCount:
    """How many requests a key has sent on one day, as far as this process knows."""

    __slots__ = ("before", "day", "new", "refused")

    def __init__(self, day: date, before: int = 0) -> None:
        self.day, self.before = day, before
        self.new = self.refused = 0
        """Counted here and not written down yet."""


class Visitors:
    """The allowances of everybody who has no key, by address."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._by_address: dict[str, Allowance] = {}

    def of(self, address: str, now: float) -> Allowance:
        """The allowance of an address."""
        found = self._by_address.get(address)
        if found is None:
            if len(self._by_address) >= MOST_VISITORS:
                self._forget(now)
            found = self._by_address[address] = Allowance(self.rate, self.burst, now)
        return found

    def _forget(self, now: float) -> None:
        kept = {address: one for address, one in self._by_address.items() if not one.is_full(now)}
        # Where all are busy somebody is making addresses up: the oldest half has to start anew.
        self._by_address = kept if len(kept) < MOST_VISITORS else dict(list(kept.items())[MOST_VISITORS // 2 :])
