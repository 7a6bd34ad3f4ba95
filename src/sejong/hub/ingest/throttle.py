"""How much one device may say: a bucket that fills steadily and empties with each reading."""

from __future__ import annotations

GARBAGE_BYTES = 100
"""A message that cannot be understood costs one reading for every so many bytes: what a small reading takes. Chosen."""


class Bucket:
    """A token bucket: `rate` readings a second for ever, `burst` at once. Times are monotonic seconds.

    What a message costs is known only after reading it, so a bucket may go into debt, at most one burst deep, and
    stays shut until the debt is paid. Source: token bucket, RFC 2697 and 2698 in spirit.

    >>> bucket = Bucket(rate=10, burst=5, now=0.0)
    >>> bucket.spend(7, now=0.0); bucket.is_open(0.0), bucket.wait_s(0.0), bucket.is_open(0.3)
    (False, 0.2, True)
    """

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst = rate, burst
        self._tokens = burst
        self._at = now

    def is_open(self, now: float) -> bool:
        """Whether the next message may be looked at."""
        if now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
            self._at = now
        return self._tokens > 0

    def spend(self, cost: float, now: float) -> None:
        """Take what a message cost."""
        self.is_open(now)
        self._tokens = max(-self.burst, self._tokens - cost)

    def wait_s(self, now: float) -> float:
        """Seconds until the bucket opens again; 0 while it is open."""
        return 0.0 if self.is_open(now) else round(-self._tokens / self.rate, 6)


def cost(readings: int, size: int) -> float:
    """What a message of `size` bytes costs that held so many readings: garbage is charged by its size."""
    return readings or max(1.0, size / GARBAGE_BYTES)
