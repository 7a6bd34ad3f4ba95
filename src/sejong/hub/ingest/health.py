"""How the devices are: how much arrives, who has fallen silent, whose values cannot be right.

Counted in memory as readings are stored, written down every few seconds by the process that takes them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sejong.hub.ingest.apply import DUPLICATE, LATE, NEW
from sejong.hub.ingest.needs import Limits
from sejong.hub.ingest.quality import Sign, Watch
from sejong.hub.ingest.reading import Reading
from sejong.hub.store import ingest as store
from sejong.hub.store.ingest import MinuteRow, Silent, SuspectRow
from sejong.kit.postgres import Connection

SILENT_FACTOR = 3.0
"""A device is silent once it has missed so many of its usual intervals. Chosen."""
SILENT_FLOOR_S = 120.0
SAME_MESSAGE_S = 1.0
"""Messages closer together than this are one sign of life, not an interval. Chosen."""
HABIT = 0.2
"""Weight of the newest interval in the usual one. Chosen."""
READINGS, DUPLICATES, LATES, REFUSED, THROTTLED = range(5)


class _Seen:
    __slots__ = ("at", "n", "usual_s")

    def __init__(self, at: datetime, usual_s: float | None) -> None:
        self.at = at
        self.usual_s = usual_s
        self.n = 0


class _Suspicion:
    __slots__ = ("last", "n", "sign", "since")

    def __init__(self, sign: Sign, at: datetime) -> None:
        self.sign = sign
        self.since = self.last = at
        self.n = 0


class Health:
    """What one process has noticed since it last wrote it down."""

    def __init__(self, started: datetime, watch: Watch | None = None) -> None:
        self._started = started
        self._process = f"{socket.gethostname()}:{os.getpid()}"
        self._watch = watch or Watch()
        self._seen: dict[str, _Seen] = {}
        self._fresh: set[str] = set()
        self._minutes: dict[tuple[datetime, str], list[int]] = {}
        self._suspicions: dict[tuple[str, str, str], _Suspicion] = {}

    async def load(self, connection: Connection) -> None:
        """Remember what is known of the devices' habits."""
        for row in await store.ALL_SEEN.all(connection):
            self._seen[row.entity] = _Seen(row.seen, row.usual_s)

    def count(self, door: str, at: datetime, what: int, n: int = 1) -> None:
        """`n` more of the readings, duplicates, late, refused or throttled of a door."""
        self._row(door, at)[what] += n

    def _row(self, door: str, at: datetime) -> list[int]:
        key = (at.replace(second=0, microsecond=0), door)
        row = self._minutes.get(key)
        if row is None:
            row = self._minutes[key] = [0, 0, 0, 0, 0]
        return row

    def note(self, entity: str, readings: Sequence[Reading], fates: Sequence[int]) -> None:
        """Readings of one thing were stored; `fates` says what became of each."""
        last, row = None, [0, 0, 0, 0, 0]
        for reading, fate in zip(readings, fates, strict=True):
            source = reading.source
            if source is not last:
                last = source
                row = self._row(source.door, source.arrived)
                if source.door != "file":
                    self._heard(entity, source.arrived)
            row[READINGS] += 1
            if fate == NEW:
                value: Any = reading.instance.get("value")
                cls = value.__class__
                if cls is int or cls is float:
                    self._judge(reading, value, source.arrived)
            elif fate == DUPLICATE:
                row[DUPLICATES] += 1
            elif fate == LATE:
                row[LATES] += 1

    def _heard(self, entity: str, at: datetime) -> None:
        seen = self._seen.get(entity)
        if seen is None:
            seen = self._seen[entity] = _Seen(at, None)
        else:
            gap = (at - seen.at).total_seconds()
            if gap >= SAME_MESSAGE_S:
                seen.usual_s = gap if seen.usual_s is None else seen.usual_s + (gap - seen.usual_s) * HABIT
                seen.at = at
            elif gap < 0:
                seen.at = at  # the city's clock was set back
        seen.n += 1
        self._fresh.add(entity)

    def _judge(self, reading: Reading, value: float, at: datetime) -> None:
        signs = self._watch.see(reading.entity, reading.attribute, value, reading.instance.get("unitCode"))
        for sign in signs:
            key = (reading.entity, reading.attribute, sign.kind)
            suspicion = self._suspicions.get(key)
            if suspicion is None:
                suspicion = self._suspicions[key] = _Suspicion(sign, at)
            suspicion.sign, suspicion.last = sign, at
            suspicion.n += 1

    async def beat(self, connection: Connection) -> None:
        """Say that this process takes readings."""
        await store.BEAT.run(connection, self._process, self._started)

    async def flush(self, connection: Connection) -> None:
        """Write down what was noticed, in one transaction; if that fails it is kept for the next time."""
        async with connection.transaction():
            await self.beat(connection)
            counts = {key: list(row) for key, row in self._minutes.items()}
            if counts:
                rows = [(minute, door, *row) for (minute, door), row in counts.items()]
                await store.ADD_MINUTES.run(connection, *map(list, zip(*rows, strict=True)))
            seen = [(entity, s.at, s.usual_s, s.n) for entity in sorted(self._fresh) if (s := self._seen[entity])]
            if seen:
                await store.SAVE_SEEN.run(connection, *map(list, zip(*seen, strict=True)))
            told = {key: s.n for key, s in self._suspicions.items()}
            signs = [
                (*key, s.since, s.last, s.n, float(s.sign.value), _finite(s.sign.low), _finite(s.sign.high))
                for key, s in self._suspicions.items()
            ]
            if signs:
                await store.SAVE_SUSPECTS.run(connection, *map(list, zip(*signs, strict=True)))
        self._forget(counts, seen, told)

    def _forget(
        self,
        counts: dict[tuple[datetime, str], list[int]],
        seen: Sequence[tuple[str, datetime, float | None, int]],
        told: dict[tuple[str, str, str], int],
    ) -> None:
        """Take away what is written down; what was noticed meanwhile stays."""
        for key, written in counts.items():
            row = self._minutes[key] = [a - b for a, b in zip(self._minutes[key], written, strict=True)]
            if not any(row):
                del self._minutes[key]
        for entity, _, _, n in seen:
            self._seen[entity].n -= n
            if not self._seen[entity].n:
                self._fresh.discard(entity)
        for key, n in told.items():
            self._suspicions[key].n -= n
            if not self._suspicions[key].n:
                del self._suspicions[key]


def _finite(bound: float | None) -> float | None:
    return bound if bound is not None and abs(bound) < float("inf") else None


async def ingest_rate(connection: Connection, now: datetime, minutes: int = 60) -> list[MinuteRow]:
    """What came through each door in each of the last minutes, oldest first."""
    return await store.RATE.all(connection, now - timedelta(minutes=minutes))


async def silent_devices(connection: Connection, now: datetime, limit: int = 100) -> list[Silent]:
    """Things that have missed several of their usual intervals, the most overdue first.

    Time in which nobody listened does not count: silence begins when the oldest running ingest process did.
    """
    return await store.SILENT.all(connection, now, SILENT_FACTOR, SILENT_FLOOR_S, limit)


async def suspects(
    connection: Connection, now: datetime, *, hours: float = 1.0, kind: str | None = None, limit: int = 100
) -> list[SuspectRow]:
    """Sensors that showed a sign of measuring wrongly within the last hours, the most frequent first."""
    return await store.SUSPECTS.all(connection, now - timedelta(hours=hours), kind, limit)


async def trim(connection: Connection, now: datetime, limits: Limits) -> None:
    """Forget counts, runs and suspicions of long ago."""
    await store.TRIM_MINUTES.run(connection, now - limits.keep_minutes)
    await store.TRIM_RUNS.run(connection)
    await store.TRIM_SUSPECTS.run(connection, now - limits.keep_suspects)
