"""What ingest needs of the hub it lets readings into."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

import msgspec

from sejong.hub.ngsi.context import Context
from sejong.hub.writer import Apply, Outcome
from sejong.kernel.clock import Clock
from sejong.kernel.errors import CityError
from sejong.kit.postgres import Pool

CITY_TENANT = 0
"""Devices speak for the city itself, which is the nameless tenant."""


class Writing(Protocol):
    """The writer of the record."""

    async def write_all(self, tenant: int, items: Sequence[tuple[str, Apply]]) -> list[Outcome | CityError]: ...


class Terms(Protocol):
    """The dictionary of names the record has used."""

    @property
    def number(self) -> dict[str, int]: ...


class Contexts(Protocol):
    """Where the meaning of names is looked up."""

    async def get(self, value: Any) -> Context: ...


class Needs(Protocol):
    """The hub as ingest sees it (`hub.service.Hub` is one)."""

    @property
    def pool(self) -> Pool: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def settings(self) -> Any: ...
    @property
    def writer(self) -> Writing: ...
    @property
    def terms(self) -> Terms: ...
    @property
    def contexts(self) -> Contexts: ...
    @property
    def city_context_document(self) -> Any: ...
    async def context(self) -> Context: ...


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much ingest takes and keeps. The first three are settings; the others are chosen here."""

    device_rate: float = 500.0
    device_burst: float = 5000.0
    backlog: int = 50_000
    ahead_h: float = 24.0
    """Hours an observation may lie ahead of the city's clock: a day covers every mistaken time zone. Chosen."""
    earliest: str = "2000-01-01T00:00:00.000000Z"
    """Before this a device's clock was never set (they start at 1970 or 1980). Files may hold older readings."""
    message: int = 1 << 20
    """Bytes of one MQTT message at most; the embedded broker's own limit."""
    letters: int = 20_000
    letters_of_a_kind: int = 1000
    """Dead letters kept per sender and reason, so that one broken device cannot push out the others'."""
    letter_bytes: int = 256 << 20
    keep_minutes: timedelta = timedelta(days=14)
    keep_suspects: timedelta = timedelta(days=7)


def limits_of(settings: Any) -> Limits:
    """The limits of an installation."""
    return Limits(device_rate=settings.device_rate, device_burst=settings.device_burst, backlog=settings.ingest_backlog)
