"""The one way to change the city: an act. And the one way to only look.

`async with city.act(who, "parking.reserve", key=...) as act:` is one connection, one transaction, one
frozen `act.now`, one audit line and one idempotency key. Events and jobs given to it are committed with
it or not at all. It commits when the block ends, before any answer leaves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import msgspec

from sejong.kernel.clock import Clock
from sejong.kernel.errors import CityError
from sejong.kernel.ids import new_id
from sejong.kit.postgres import AWAY, Connection, DatabaseAway, Pool, Sql


class Before(msgspec.Struct, frozen=True):
    """What is remembered of an act that was done with the same key."""

    fingerprint: str | None
    result: Any


BEGIN = Sql("""
insert into kit.act(id, name, who, at, key, fingerprint) values ($1, $2, $3, $4, $5, $6)
on conflict (name, who, key) where key is not null do nothing
""")
BEFORE = Sql("select fingerprint, result from kit.act where name = $1 and who = $2 and key = $3", Before)
RESULT = Sql("update kit.act set result = $2 where id = $1")
EVENTS = Sql("""
insert into kit.event(name, at, act, payload)
select e->>'name', $2, $3, e->'payload' from jsonb_array_elements($1) with ordinality as t(e, n) order by n
""")
TELL = Sql("select pg_notify('kit_event', '')")
LATER = Sql("""
select procrastinate_defer_jobs_v1(array(
  select row(j->>'queue', j->>'task', 0, j->>'lock', j->>'once', j->'args', (j->>'at')::timestamptz)
         ::procrastinate_job_to_defer_v1
  from jsonb_array_elements($1) with ordinality as t(j, n) order by n))
""")


class KeyUsedForAnother(CityError):
    """An idempotency key came again with a different request."""

    status = 422
    ko = "같은 키({key})로 다른 내용의 요청이 왔습니다."
    en = "The key {key} was used before for a different request."


class Event(Protocol):
    """Something that happened, told to whoever declared to listen. `name` is `service.ThingHappened`."""

    @property
    def name(self) -> str: ...
    @property
    def payload(self) -> Any: ...


class Happened(msgspec.Struct, frozen=True):
    """A plain event: its name and a JSON payload."""

    name: str
    payload: Any


class Look:
    """Reading the city: one connection, one consistent moment, nothing can be written through it."""

    def __init__(self, connection: Connection, who: str, now: datetime) -> None:
        self.connection = connection
        self.who = who
        self.now = now


class Act:
    """Changing the city: see the module. `replayed` is true when this very act was done before."""

    def __init__(self, connection: Connection, who: str, now: datetime, name: str, act_id: str) -> None:
        self.connection = connection
        self.who = who
        self.now = now
        self.name = name
        self.id = act_id
        self.replayed = False
        self.result: Any = None
        self._events: list[dict[str, Any]] = []
        self._jobs: list[dict[str, Any]] = []

    def emit(self, event: Event) -> None:
        """Tell the listeners, once this act is committed."""
        self._events.append({"name": event.name, "payload": event.payload})

    def later(
        self, job: str, *, at: datetime | None = None, once: str | None = None, lock: str | None = None, **args: Any
    ) -> None:
        """Have `sejong work` do a declared job after the commit (not before `at`).

        `once`: skip if the same job with this text is already waiting. The job gets this act's id as
        `key` in its arguments, so that doing it twice can be noticed.
        """
        self._jobs.append(
            {
                "queue": "city",
                "task": job,
                "lock": lock,
                "once": once,
                "args": {**args, "key": f"{self.id}:{len(self._jobs)}"},
                "at": at.isoformat() if at else None,
            }
        )

    async def flush(self) -> None:
        """Write result, events and jobs into the running transaction (called as the block ends)."""
        if self.result is not None:
            await RESULT.run(self.connection, UUID(self.id), self.result)
        if self._events:
            await EVENTS.run(self.connection, self._events, self.now, UUID(self.id))
            await TELL.run(self.connection)
        if plain := [job for job in self._jobs if job["once"] is None]:
            await LATER.run(self.connection, plain)
        for job in self._jobs:
            if job["once"] is not None:
                await self._unless_waiting(job)

    async def _unless_waiting(self, job: dict[str, Any]) -> None:
        try:
            async with self.connection.transaction():
                await LATER.run(self.connection, [job])
        except asyncpg.UniqueViolationError:
            pass  # it waits already: only this savepoint is undone


class Record:
    """The written record of one city: hands out acts and looks."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self.pool = pool
        self.clock = clock

    @asynccontextmanager
    async def act(
        self, who: str, name: str, *, key: str | None = None, fingerprint: str | None = None
    ) -> AsyncIterator[Act]:
        """Begin an act. Raises KeyUsedForAnother, DatabaseAway; any exception inside undoes everything."""
        async with self._connection() as connection, connection.transaction():
            act = Act(connection, who, self.clock.now(), name, new_id(self.clock))
            if not await BEGIN.run(connection, UUID(act.id), name, who, act.now, key, fingerprint):
                before = await BEFORE.one(connection, name, who, key)
                if before is not None and before.fingerprint != fingerprint:
                    raise KeyUsedForAnother(key=key)
                act.replayed = True
                act.result = before.result if before is not None else None
            yield act
            if not act.replayed:
                await act.flush()

    @asynccontextmanager
    async def look(self, who: str) -> AsyncIterator[Look]:
        """Begin a look: read only, repeatable."""
        async with (
            self._connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield Look(connection, who, self.clock.now())

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            connection = await self.pool.acquire(timeout=10)
        except (*AWAY, OSError) as error:
            raise DatabaseAway(why=str(error) or type(error).__name__) from error
        try:
            yield connection
        finally:
            await self.pool.release(connection)
