"""From all doors into the record: readings are gathered for a moment, written together, and only then acknowledged.

Each thing belongs to one of two lanes. A lane has one write under way at a time, so the readings of a thing keep their
order, while one lane computes as the other waits for the disk. Nothing is given up: while the database is away a lane
tries again, and meanwhile `has_room` turns false, so that HTTP answers 429 and MQTT stops reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import structlog

from sejong.hub.ingest.apply import Fates, apply_readings
from sejong.hub.ingest.health import REFUSED, Health
from sejong.hub.ingest.letters import Letter, columns, letter_of, letter_of_readings
from sejong.hub.ingest.needs import CITY_TENANT, Needs
from sejong.hub.ingest.reading import Reading, Refused, Understood
from sejong.hub.ingest.refusals import CannotStore, Refusal
from sejong.hub.ingest.source import Source
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.store import ingest as store
from sejong.hub.writer import Outcome
from sejong.kernel.errors import CityError
from sejong.kit.postgres import DatabaseAway
from sejong.kit.telemetry import DEAD_LETTERS, READINGS

log = structlog.get_logger("ingest")

LANES = 2
LINGER_S = 0.03
"""How long a reading waits for company. Chosen: a commit takes about as long, and a map is drawn once a second."""
ENOUGH = 500
"""Readings that need no more company. Chosen."""
LARGEST = 4000
"""Readings in one write at most. Chosen: about a third of a second of work, well within the broker's patience."""
RETRY_S = (0.2, 0.5, 1.0, 2.0)
DOUBTS = 3
"""A reading that failed so often for an unknown reason, while other writes succeeded, is set aside. Chosen."""
LETTERS_AT_ONCE = 500
_FATE = ("new", "duplicate", "late")


Group = tuple[str, list[Reading]]
"""A thing and the readings of it that wait."""


class Collector:
    """The gathering place of one process. `offer` from any door; `start` and `stop` around it."""

    def __init__(self, hub: Needs, health: Health, *, backlog: int) -> None:
        self._hub, self._health, self._most = hub, health, backlog
        self.backlog = 0
        """Readings and dead letters taken but not yet committed."""
        self._lanes = [_Lane() for _ in range(LANES)]
        self._letters: list[tuple[Source, Letter]] = []
        self._letters_wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting_for_room: list[Callable[[], None]] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._away = False
        self.guard: Callable[[Reading], Refusal | None] | None = None
        """Says which readings may not pass, though they are understood (the models of data sets)."""
        self.witness: Callable[[Fates], None] | None = None
        """Is told what was written (who wrote which attribute)."""

    def start(self) -> None:
        """Begin writing."""
        self._tasks = [asyncio.create_task(self._serve(lane), name=f"ingest-{n}") for n, lane in enumerate(self._lanes)]
        self._tasks.append(asyncio.create_task(self._serve_letters(), name="ingest-letters"))

    async def stop(self, patience_s: float = 3.0) -> None:
        """Write what waits, for `patience_s` seconds at most; what is left was not acknowledged and comes again."""
        with suppress(asyncio.TimeoutError):
            async with asyncio.timeout(patience_s):
                await self.drained()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def drained(self) -> None:
        """Returns once everything taken so far is committed."""
        await self._idle.wait()

    @property
    def has_room(self) -> bool:
        """Whether a door may take another message."""
        return self.backlog < self._most

    def when_room(self, call: Callable[[], None]) -> None:
        """Call once when there is room again (at once if there is)."""
        if self.has_room:
            call()
        else:
            self._waiting_for_room.append(call)

    async def room(self) -> None:
        """Returns once a door may take another message."""
        if not self.has_room:
            there = asyncio.Event()
            self.when_room(there.set)
            await there.wait()

    def offer(self, source: Source, understood: Understood, *, size: int | None = None, urgent: bool = False) -> None:
        """Take what a message meant. `source.settled` is called once all of it is committed.

        `size` of the message where `source.raw` is only its head; `urgent`: somebody waits for the answer.
        """
        source.waiting = len(understood.readings) + len(understood.refused)
        if not source.waiting:
            source.waiting = 1
            source.part_done()
            return
        self.backlog += source.waiting
        self._idle.clear()
        lanes = self._lanes
        for reading in understood.readings:
            error = None if self.guard is None else self.guard(reading)
            if error is None:
                lanes[hash(reading.entity) % LANES].add(reading)
            else:
                self._refuse([reading], error)
        for lane in lanes:
            lane.urgent = lane.urgent or urgent
            if lane.size:
                lane.wake.set()
        for refused in understood.refused:
            self._set_aside(source, refused, letter_of(source, refused, size))

    # -- lanes ---------------------------------------------------------------------------------------------------

    async def _serve(self, lane: _Lane) -> None:
        while True:
            await lane.wake.wait()
            if lane.size < ENOUGH and not lane.urgent:
                await asyncio.sleep(LINGER_S)
            try:
                await self._write(lane.take())
            except Exception as error:  # a fault of ours; these messages stay unacknowledged, the lane must go on
                log.error("ingest_broken", exc_info=error)

    async def _write(self, groups: list[Group]) -> None:
        """Write groups of readings, trying until the database has them; what it will never take is set aside."""
        attempt = doubts = 0
        while groups:
            groups, doubtful, error = await self._try(groups)
            if error is None:
                self._back()
                return
            if not await self._database_works():
                self._lost(error)
                await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt, doubts = attempt + 1, 0
            else:
                await asyncio.sleep(RETRY_S[0])
                doubts += 1
            if doubts < DOUBTS:
                groups += [group for group, _ in doubtful]
            else:
                for (_, readings), why in doubtful:
                    self._refuse(readings, why)

    async def _try(self, groups: list[Group]) -> tuple[list[Group], list[tuple[Group, Exception]], Exception | None]:
        """One attempt: (groups to write again, groups that failed for an unknown reason, the last failure if any)."""
        try:
            results = await self._hub.writer.write_all(
                CITY_TENANT, [(entity, apply_readings(readings)) for entity, readings in groups]
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, no reading may be lost and no lane may end
            return groups, [], error
        again: list[Group] = []
        doubtful: list[tuple[Group, Exception]] = []
        last: Exception | None = None
        done: list[tuple[Group, Outcome | CityError]] = []
        for group, result in zip(groups, results, strict=True):
            if isinstance(result, Outcome | Refusal | BadRequestData):
                done.append((group, result))
                continue
            last = result
            if isinstance(result, DatabaseAway):
                again.append(group)
            else:
                doubtful.append((group, result))
        self._settle(done)
        return again, doubtful, last

    async def _database_works(self) -> bool:
        """Whether a small write succeeds: a full disk reads well."""
        try:
            async with self._hub.pool.acquire(timeout=5) as connection:
                await self._health.beat(connection)
        except Exception:  # noqa: BLE001 - asyncpg tells of a torn connection in many ways, InternalClientError among them
            return False
        return True

    def _lost(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            log.warning("ingest_waits", why=_why(error), backlog=self.backlog)

    def _back(self) -> None:
        if self._away:
            self._away = False
            log.info("ingest_continues", backlog=self.backlog)

    def _settle(self, written: Sequence[tuple[Group, Outcome | CityError]]) -> None:
        """Tell the sources what became of their readings, and the dead letters what the record refused."""
        done = 0
        counts: dict[tuple[str, int], int] = {}
        for (entity, readings), result in written:
            if isinstance(result, CityError):
                self._refuse(readings, result)
                continue
            fates: Fates = result.answer
            self._note(entity, fates)
            for reading, fate in zip(fates.readings, fates.fates, strict=True):
                source: Source = reading.source
                source.tally[fate] += 1
                key = (source.door, fate)
                counts[key] = counts.get(key, 0) + 1
                source.part_done()
            if fates.retyped:
                READINGS.labels(fates.readings[0].source.door, "retyped").inc(fates.retyped)
            done += len(readings)
        for (door, fate), n in counts.items():
            READINGS.labels(door, _FATE[fate]).inc(n)
        self._finish(done)

    def _note(self, entity: str, fates: Fates) -> None:
        """Keep an eye on the device; a fault in that must not cost an acknowledgement."""
        try:
            self._health.note(entity, fates.readings, fates.fates)
            if self.witness is not None:
                self.witness(fates)
        except Exception as error:
            log.error("health_broken", entity=entity, exc_info=error)

    def _refuse(self, readings: Sequence[Reading], error: Exception) -> None:
        """The record does not take these readings: one dead letter for each message they came in."""
        refusal = error if isinstance(error, Refusal) else CannotStore(why=_why(error))
        of_source: dict[int, list[Reading]] = {}
        for reading in readings:
            of_source.setdefault(id(reading.source), []).append(reading)
        for mine in of_source.values():
            source: Source = mine[0].source
            # One letter takes the place of all these readings.
            source.waiting -= len(mine) - 1
            self._finish(len(mine) - 1)
            self._set_aside(source, Refused(refusal), letter_of_readings(source, refusal, mine))

    def _finish(self, parts: int) -> None:
        self.backlog -= parts
        if not self.backlog:
            self._idle.set()
        if self._waiting_for_room and self.backlog < self._most * 3 // 4:
            waiting, self._waiting_for_room = self._waiting_for_room, []
            for call in waiting:
                call()

    # -- dead letters --------------------------------------------------------------------------------------------

    def _set_aside(self, source: Source, refused: Refused, letter: Letter) -> None:
        source.refused.append(refused)
        if source.replayed:
            source.part_done()
            self._finish(1)
            return
        DEAD_LETTERS.labels(letter.reason).inc()
        READINGS.labels(source.door, "refused").inc()
        self._health.count(source.door, source.arrived, REFUSED)
        self._letters.append((source, letter))
        self._letters_wake.set()

    async def _serve_letters(self) -> None:
        attempt = 0
        while True:
            await self._letters_wake.wait()
            batch = self._letters[:LETTERS_AT_ONCE]
            if not batch:
                self._letters_wake.clear()
                continue
            try:
                await self._write_letters([letter for _, letter in batch])
            except Exception as error:  # noqa: BLE001 - as in _database_works
                self._lost(error)
                await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1
                continue
            attempt = 0
            del self._letters[: len(batch)]
            for source, _ in batch:
                source.part_done()
            self._finish(len(batch))

    async def _write_letters(self, letters: list[Letter]) -> None:
        async with self._hub.pool.acquire(timeout=10) as connection:
            try:
                await store.PUT_LETTERS.run(connection, *columns(letters))
            except (asyncpg.DataError, asyncpg.ProgramLimitExceededError) as error:
                if len(letters) == 1:  # cannot be, letters are made to fit; if it is, one must not stop all others
                    log.error("dead_letter_lost", reason=letters[0].reason, sender=letters[0].sender, why=str(error))
                    return
            else:
                return
        for letter in letters:
            await self._write_letters([letter])


def _why(error: Exception) -> str:
    """What a failed write says, without the sentence around it."""
    values = error.values if isinstance(error, CityError) else {}
    return str(values.get("why") or values.get("detail") or error) or type(error).__name__


class _Lane:
    """Readings waiting to be written, by the thing they are about."""

    __slots__ = ("_waiting", "size", "urgent", "wake")

    def __init__(self) -> None:
        self._waiting: dict[str, list[Reading]] = {}
        self.size = 0
        self.urgent = False
        self.wake = asyncio.Event()

    def add(self, reading: Reading) -> None:
        mine = self._waiting.get(reading.entity)
        if mine is None:
            self._waiting[reading.entity] = [reading]
        else:
            mine.append(reading)
        self.size += 1

    def take(self) -> list[Group]:
        """The next write's readings: whole things in the order in which they came, up to LARGEST readings."""
        self.urgent = False
        if self.size <= LARGEST:
            taken: list[Any] = list(self._waiting.items())
            self._waiting = {}
            self.size = 0
        else:
            taken, count = [], 0
            for entity in list(self._waiting):
                if count >= LARGEST:
                    break
                mine = self._waiting.pop(entity)
                if count + len(mine) > LARGEST:
                    room = LARGEST - count
                    self._waiting[entity] = mine[room:]
                    mine = mine[:room]
                taken.append((entity, mine))
                count += len(mine)
            self.size -= count
        if not self.size:
            self.wake.clear()
        return taken
