"""Chance that needs no memory: each draw is a fixed function of who, when and which of the draws.

An ordinary generator gives numbers in the order in which they are asked for, so one more device, one more step or a
restart moves everybody's luck. Here a draw is a hash of (key of the device, integer instant, number of the draw):
removing a bus never shifts another's luck, and any instant can be asked for without living through those before it.

Only integer arithmetic, additions, multiplications and square roots are used: exact on every machine (IEEE 754).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sejong.kernel.chance import Chance

Keys = NDArray[np.uint64]
Floats = NDArray[np.float64]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
"""Increment of the sequence. Source: SplitMix64, Steele, Lea and Flood, OOPSLA 2014 (2^64 over the golden ratio)."""
_DRAW = 0xD1342543DE82EF95
"""Odd multiplier that keeps draw numbers apart from instants. Chosen: a full-period LCG multiplier."""
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
"""Finaliser of SplitMix64. Source: as above (Stafford's mix 13)."""
_S30, _S27, _S31, _S11, _S16, _S32, _S48 = (np.uint64(n) for n in (30, 27, 31, 11, 16, 32, 48))
_UNIT = np.float64(2.0**-53)
_HALF = np.float64(2.0**-32)
_PART, _LOW = np.uint64(0xFFFF), np.uint64(0xFFFFFFFF)
_PARTS_MEAN = 4 * 65535 / 2
_PARTS_SD = (4 * (65536**2 - 1) / 12) ** 0.5
"""Mean and standard deviation of the sum of four uniform 16-bit numbers."""


def keys_of(chance: Chance, family: str, names: Sequence[str]) -> Keys:
    """One 64-bit key per device, from the seed, the family and the device's own name only.

    Source: BLAKE2b (RFC 7693), keyed with the kernel's stream seed of ("simulator", family).
    """
    secret = chance.seed_of("simulator", family).to_bytes(16, "big")
    raw = b"".join(hashlib.blake2b(name.encode(), digest_size=8, key=secret).digest() for name in names)
    return np.frombuffer(raw, dtype="<u8").astype(np.uint64)


def bits(keys: Keys, when: int | NDArray[np.int64], draw: int | Keys = 0) -> Keys:
    """64 random bits for each key at the integer instant `when` (one for all, or one each).

    `draw` tells apart the draws of one instant; a column of them gives a row of bits for each (see `draws`).
    """
    if isinstance(when, np.ndarray) or not isinstance(draw, int):
        salt = np.asarray(when).astype(np.uint64) * np.uint64(_GOLDEN) + np.asarray(draw).astype(np.uint64) * np.uint64(
            _DRAW
        )
        x = keys + salt
    else:
        x = keys + np.uint64((when * _GOLDEN + draw * _DRAW) & _MASK)
    x = (x ^ (x >> _S30)) * _M1
    x = (x ^ (x >> _S27)) * _M2
    return x ^ (x >> _S31)


def draws(*numbers: int) -> Keys:
    """Several draw numbers as the column that `bits` and its relatives take."""
    return np.array(numbers, dtype=np.uint64)[:, None]


def one_bits(key: int, when: int, draw: int = 0) -> int:
    """`bits` for a single key, in plain integers.

    >>> one_bits(5, 7, 9) == int(bits(np.array([5], dtype=np.uint64), 7, 9)[0])
    True
    """
    x = (key + when * _GOLDEN + draw * _DRAW) & _MASK
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _MASK
    return x ^ (x >> 31)


def uniform(keys: Keys, when: int | NDArray[np.int64], draw: int | Keys = 0) -> Floats:
    """A number in [0, 1) for each key at that instant."""
    return (bits(keys, when, draw) >> _S11) * _UNIT


def one_uniform(key: int, when: int, draw: int = 0) -> float:
    """`uniform` for a single key."""
    return (one_bits(key, when, draw) >> 11) * 2.0**-53


def halves(keys: Keys, when: int, draw: int | Keys) -> tuple[Floats, Floats]:
    """Two numbers in [0, 1) with 32 bits each, for the price of one."""
    x = bits(keys, when, draw)
    return (x >> _S32) * _HALF, (x & _LOW) * _HALF


def normal(keys: Keys, when: int | NDArray[np.int64], draw: int | Keys = 0) -> Floats:
    """A nearly normal number (mean 0, deviation 1, never beyond ±3.47) for each key at that instant.

    Source: sum of four uniforms (Irwin-Hall), exact in integers, where a true normal would need a logarithm
    whose last bit differs between machines.
    """
    x = bits(keys, when, draw)
    total = (x & _PART) + ((x >> _S16) & _PART) + ((x >> _S32) & _PART) + (x >> _S48)
    return (total - _PARTS_MEAN) / _PARTS_SD


def one_normal(key: int, when: int, draw: int = 0) -> float:
    """`normal` for a single key."""
    x = one_bits(key, when, draw)
    total = (x & 0xFFFF) + (x >> 16 & 0xFFFF) + (x >> 32 & 0xFFFF) + (x >> 48)
    return (total - _PARTS_MEAN) / _PARTS_SD


def counts(mean: Floats, luck: Floats) -> NDArray[np.int64]:
    """Poisson numbers with these means, from one number in [0, 1) each (inversion; means up to about 500)."""
    term = np.exp(-mean)
    below = term.copy()
    found = np.zeros(len(mean), dtype=np.int64)
    k = 0
    open_ = luck >= below
    while open_.any() and k < 2000:
        k += 1
        term = term * (mean / k)
        below = below + term
        found[open_] = k
        open_ = open_ & (luck >= below)
    return found


def arrivals(
    keys: Keys, mean: Floats, block: int, width: float, draw: int
) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """The events of a Poisson process in one block of time: (whose, when within the block in seconds, its number).

    `mean` = expected events of each key in the block. Sorted by time; ties by key position, then by number.
    """
    n = counts(mean, uniform(keys, block, draw))
    who = np.repeat(np.arange(len(keys)), n)
    first = np.repeat(np.cumsum(n) - n, n)
    number = np.arange(len(who)) - first
    when = uniform(keys[who] + number.astype(np.uint64) * np.uint64(_DRAW), block, draw + 1) * width
    order = np.lexsort((number, who, when))
    return who[order], when[order], number[order]


class Drift:
    """Noise that remembers: a stationary AR(1) of mean 0 and deviation 1 for each key, readable at any instant.

    x(k) = φ·x(k−1) + √(1−φ²)·ε(k) on knots `every` seconds apart, straight between them; begun at x = ε so far back
    that φ^n < 0.001, which makes it a function of the instant alone. Source: autoregressive process of order one.
    """

    def __init__(self, keys: Keys, every: int, phi: float, draw: int = 0) -> None:
        self._keys, self._every, self._phi, self._draw = keys, every, phi, draw
        self._terms = 1 if phi <= 0 else int(np.ceil(np.log(0.001) / np.log(phi)))
        self._shocks: dict[int, Floats] = {}
        self._knots: dict[int, Floats] = {}

    def at(self, t: int) -> Floats:
        """The noise of every key at epoch second `t`."""
        k, rest = divmod(t, self._every)
        f = rest / self._every
        return self._knot(k) * (1 - f) + self._knot(k + 1) * f

    def _knot(self, k: int) -> Floats:
        x = self._knots.get(k)
        if x is None:
            first = k - self._terms
            self._draw_shocks(range(first, k + 1))
            gain = (1 - self._phi * self._phi) ** 0.5
            x = self._shocks[first]
            for j in range(first + 1, k + 1):
                x = self._phi * x + gain * self._shocks[j]
            self._knots = {n: v for n, v in self._knots.items() if abs(n - k) <= 1}
            self._knots[k] = x
        return x

    def _draw_shocks(self, wanted: range) -> None:
        """Keep the shocks of these knots and no others."""
        missing = [j for j in wanted if j not in self._shocks]
        if missing:
            self._shocks = {j: e for j, e in self._shocks.items() if j in wanted or j == wanted.stop}
            self._shocks.update(zip(missing, normal(self._keys, np.array(missing)[:, None], self._draw), strict=True))


class Mood:
    """A `Drift` for one key only, in plain numbers: the same noise, quicker for a single thing such as the weather."""

    _BLOCK = 256

    def __init__(self, key: Keys, every: int, phi: float, draw: int = 0) -> None:
        self._key, self._every, self._phi, self._draw = key[:1], every, phi, draw
        self._gain = (1 - phi * phi) ** 0.5
        self._terms = int(np.ceil(np.log(0.001) / np.log(phi)))
        self._shocks: dict[int, list[float]] = {}
        self._knots: dict[int, float] = {}

    def at(self, t: int) -> float:
        """The noise at epoch second `t`."""
        k, rest = divmod(t, self._every)
        f = rest / self._every
        return self._knot(k) * (1 - f) + self._knot(k + 1) * f

    def _knot(self, k: int) -> float:
        x = self._knots.get(k)
        if x is None:
            if len(self._knots) > 8:
                self._knots.clear()
            first = k - self._terms
            x = self._shock(first)
            phi, gain = self._phi, self._gain
            for j in range(first + 1, k + 1):
                x = phi * x + gain * self._shock(j)
            self._knots[k] = x
        return x

    def _shock(self, k: int) -> float:
        block, i = divmod(k, self._BLOCK)
        found = self._shocks.get(block)
        if found is None:
            if len(self._shocks) > 8:
                self._shocks.clear()
            instants = np.arange(block * self._BLOCK, (block + 1) * self._BLOCK)
            found = normal(np.repeat(self._key, self._BLOCK), instants, self._draw).tolist()
            self._shocks[block] = found
        return found[i]
