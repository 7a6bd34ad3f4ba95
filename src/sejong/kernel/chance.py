"""Chance with a memory: named streams of random numbers that repeat exactly for the same seed."""

from __future__ import annotations

import hashlib
import random
import secrets


class Chance:
    """All randomness of one run of the city, split into independent named streams.

    `Chance(7).stream("mobility", "arrivals")` always gives the same numbers, and a draw from one stream
    never moves another's, so a new service cannot change the results of an old one.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(self, *name: str | int) -> random.Random:
        """The stream of this name. Each call starts it anew: keep what you got."""
        return random.Random(self.seed_of(*name))

    def seed_of(self, *name: str | int) -> int:
        """The 128-bit seed of a stream, for generators other than Python's (NumPy's, for instance).

        Source: SHA-256 (FIPS 180-4) of seed and length-prefixed names, first 16 bytes.
        """
        digest = hashlib.sha256(str(self.seed).encode())
        for part in name:
            raw = str(part).encode()
            digest.update(len(raw).to_bytes(4, "big") + raw)
        return int.from_bytes(digest.digest()[:16], "big")


def unpredictable_seed() -> int:
    """A seed nobody can guess, for runs that need not repeat."""
    return secrets.randbits(64)


def secret_token(n_bytes: int = 24) -> str:
    """A secret nobody can guess (device keys, session ids), URL-safe text of `n_bytes` random bytes."""
    return secrets.token_urlsafe(n_bytes)
