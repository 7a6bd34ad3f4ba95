"""Snapshots: frozen copies of a part of the record that answer, and may be changed, as if they were the record.

Each lives in a hidden tenant of its own, so that every operation works on it as on the record itself. They are prepared
by whichever process is there: one that dies leaves the work to another.
Source: ETSI GS CIM 009 v1.9.1 clauses 4.3.7, 5.5.15, 5.16 and 6.35–6.37. See docs/decisions/0009-snapshots.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import structlog

from sejong.hub.freezing import Freezing, Sources, failed
from sejong.hub.ngsi.errors import AlreadyExists, Conflict, InternalError, ResourceNotFound, TooManyResults
from sejong.hub.ngsi.instants import format_instant, parse_duration
from sejong.hub.ngsi.snapshot import DETAILS, QUERIES, USUAL_PRIORITY, snapshot_test, status_of
from sejong.hub.snapshot_notice import NotDelivered, tell
from sejong.hub.store import snapshots as store
from sejong.hub.store.snapshots import SnapshotRow
from sejong.kernel.errors import CityError
from sejong.kernel.ids import new_id, urn
from sejong.kit.postgres import AWAY, Connection, Pool

log = structlog.get_logger("hub")
Doc = dict[str, Any]
MOST_ATTEMPTS = 3
"""How often preparing is begun before the snapshot is a failure (a process that was killed counts). Chosen."""
TRIES, PAUSE = 50, 0.1
"""How often, and every how many seconds, a request looks again for a snapshot still being prepared. Chosen: 5 s."""
LOOK_ANYWAY = 15.0
"""Seconds after which each process looks for work others left behind. Chosen."""
WAITS = (5.0, 30.0, 120.0, 600.0)
"""Seconds before an endpoint that could not be told is tried again, each time. Chosen."""
TOUCHED = timedelta(seconds=1)
"""How exact `lastUsedAt` is: uses closer together are one write. Chosen."""
SWEPT = 500
_GONE = "no snapshot {}"


class _Taken(Exception):
    """The snapshot is prepared already, or gone."""


class Snapshots:
    """The snapshots of all tenants, and this process's share of the work on them."""

    def __init__(self, pool: Pool, sources: Sources, *, longest: float, most: int, egress: str) -> None:
        self._egress = egress
        self._pool, self._sources, self._clock = pool, sources, sources.clock
        self._longest, self._most = timedelta(seconds=longest), most
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pause = LOOK_ANYWAY

    def start(self) -> None:
        """Begin working."""
        self._task = asyncio.create_task(self._work(), name="hub-snapshots")

    async def stop(self) -> None:
        """Stop working; what is unfinished is left to others."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def nudge(self) -> None:
        """There is something to do."""
        self._wake.set()

    # --- what clients ask -------------------------------------------------------------------------------------------

    async def create(self, tenant: int, said: Mapping[str, Any], context: Any) -> str:
        """Begin a snapshot and return its id. Raises AlreadyExists, TooManyResults."""
        return (await self._make(tenant, said, context, None, {})).id

    async def clone(self, tenant: int, name: str, said: Mapping[str, Any]) -> str:
        """Begin a copy of a snapshot and return its id. Raises ResourceNotFound, Conflict, AlreadyExists."""
        origin = await self._find(tenant, name)
        if origin.status == "preparing":
            raise Conflict(f"{name} is still being prepared")
        if origin.copy is None:
            raise Conflict(f"{name} could not be prepared: there is nothing to clone")
        asked = {key: value for key, value in origin.asked.items() if key in QUERIES} | dict(said)
        return (await self._make(tenant, asked, None, origin.copy, origin.details)).id

    async def _make(
        self, tenant: int, said: Mapping[str, Any], context: Any, origin: int | None, details: Doc
    ) -> SnapshotRow:
        now = self._clock.now()
        name = said.get("id") or urn("Snapshot", new_id(self._clock))
        asked = {key: value for key, value in said.items() if key != "id"}
        priority, expires = asked.get("snapshotPriority", USUAL_PRIORITY), self._expiry(asked, now)
        async with self._pool.acquire(timeout=10) as connection, connection.transaction():
            if await store.COUNT.value(connection, tenant, now) >= self._most:
                raise TooManyResults(f"there are {self._most} snapshots already; delete some")
            await store.DELETE_EXPIRED.run(connection, tenant, name, now)
            made = await store.MAKE.one(
                connection, tenant, name, origin, asked, context, details, priority, now, expires
            )
        if made is None:
            raise AlreadyExists(f"{name} exists already")
        self.nudge()
        return made

    def _expiry(self, asked: Mapping[str, Any], now: datetime) -> datetime:
        lifetime = asked.get("snapshotLifetime")
        longest = now + self._longest
        if lifetime is None:
            return longest
        try:
            return min(longest, parse_duration(lifetime, "snapshotLifetime").after(now))
        except CityError:  # beyond the calendar
            return longest

    async def _find(self, tenant: int, name: str) -> SnapshotRow:
        async with self._pool.acquire(timeout=10) as connection:
            row = await store.FIND.one(connection, tenant, name, self._clock.now())
        if row is None:
            raise ResourceNotFound(_GONE.format(name))
        return row

    async def retrieve(self, tenant: int, name: str) -> Doc:
        """A snapshot as clients see it. Raises ResourceNotFound."""
        return shown(await self._find(tenant, name))

    async def page(self, tenant: int, limit: int, offset: int) -> tuple[list[Doc], int]:
        """A page of the snapshots of a tenant, oldest first, and how many there are."""
        now = self._clock.now()
        async with self._pool.acquire(timeout=10) as connection:
            rows = await store.PAGE.all(connection, tenant, now, limit, offset)
            return [shown(row) for row in rows], await store.COUNT.value(connection, tenant, now)

    async def change(self, tenant: int, name: str, said: Mapping[str, Any]) -> Doc:
        """Change what a snapshot says (None takes a member back); a lifetime counts from now on.

        Raises ResourceNotFound.
        """
        row, now = await self._find(tenant, name), self._clock.now()
        merged = row.asked | {key: value for key, value in said.items() if key != "id"}
        asked = {key: value for key, value in merged.items() if value is not None}
        expires = self._expiry(asked, now) if "snapshotLifetime" in said else row.expires
        priority = asked.get("snapshotPriority", USUAL_PRIORITY)
        async with self._pool.acquire(timeout=10) as connection:
            changed = await store.CHANGE.one(connection, tenant, name, now, asked, priority, expires)
        if changed is None:
            raise ResourceNotFound(_GONE.format(name))
        return shown(changed)

    async def delete(self, tenant: int, name: str) -> None:
        """Forget a snapshot; its copy is swept away a little later. Raises ResourceNotFound."""
        async with self._pool.acquire(timeout=10) as connection:
            if not await store.DELETE.run(connection, tenant, name, self._clock.now()):
                raise ResourceNotFound(_GONE.format(name))
        self.nudge()

    async def purge(self, tenant: int, q: str) -> tuple[list[str], list[tuple[str, CityError]]]:
        """Forget all snapshots a `q` about their members means: the ids of those, and what stood against others."""
        matches = snapshot_test(q)
        meant: list[str] = []
        offset = 0
        while page := (await self.page(tenant, 1000, offset))[0]:
            meant.extend(one["id"] for one in page if matches(one))
            offset += len(page)
        errors: list[tuple[str, CityError]] = []
        for name in meant:
            try:
                await self.delete(tenant, name)
            except ResourceNotFound:
                continue  # somebody else was faster: it is gone, as was wanted
            except CityError as error:
                errors.append((name, error))
        failures = {name for name, _ in errors}
        return [name for name in meant if name not in failures], errors

    async def use(self, tenant: int, name: str) -> int:
        """The hidden tenant of a snapshot, for an operation on it. Waits a little for one that is being prepared.

        Raises ResourceNotFound, also when it is not ready or could not be made.
        """
        row = await self._find(tenant, name)
        for _ in range(TRIES):
            if row.status != "preparing":
                break
            await asyncio.sleep(PAUSE)
            row = await self._find(tenant, name)
        if row.status == "preparing" or row.copy is None:
            what = "is still being prepared" if row.status == "preparing" else "could not be prepared"
            raise ResourceNotFound(f"snapshot {name} {what}")
        now = self._clock.now()
        if row.used is None or now - row.used >= TOUCHED:
            async with self._pool.acquire(timeout=10) as connection:
                await store.USED.run(connection, row.no, now)
        return row.copy

    # --- work -------------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            self._pause = LOOK_ANYWAY
            for part in (self._prepare_all, self._tell_all, self._sweep):
                try:
                    await part()
                except Exception as error:  # noqa: BLE001 - it will be tried again, and must not end the process
                    self._pause = min(self._pause, 2.0)
                    log.warning("snapshot_work_failed", part=part.__name__, error=repr(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._wake.wait()

    async def _prepare_all(self) -> None:
        async with self._pool.acquire(timeout=10) as connection:
            waiting = await store.WAITING.all(connection)
        for one in waiting:
            await self.prepare(one.no)

    async def prepare(self, number: int) -> None:
        """Prepare a snapshot, unless somebody is at it. Raises what the database raises when it is away."""
        started = self._clock.monotonic()
        async with self._pool.acquire(timeout=10) as reader, self._pool.acquire(timeout=10) as writer:
            if not await store.TRY_TO_PREPARE.value(reader, number):
                return
            try:
                row = await self._claim(writer, number)
                if row is None:
                    return
                details: Doc | None = None
                if row.attempts <= MOST_ATTEMPTS:
                    details = await self._freeze(row, reader, writer)
                    if details is None:
                        self._pause = 0.2
                        return
                await self._finish(writer, row, details)
            finally:
                await store.PREPARED.run(reader, number)
        log.info("snapshot_prepared", snapshot=row.id, seconds=round(self._clock.monotonic() - started, 2))

    async def _freeze(self, row: SnapshotRow, reader: Connection, writer: Connection) -> Doc | None:
        """What became of each query; None when it has to be tried again."""
        try:
            # The moment comes after the hidden tenant: every portion must see it.
            async with reader.transaction(isolation="repeatable_read", readonly=True):
                moment = await store.EXPORT.value(reader)
                return await Freezing(self._sources, row, reader, writer, moment).run()
        except (*AWAY, OSError):
            raise
        except asyncio.CancelledError:
            # This process is stopped in good order: that is no attempt that failed.
            with suppress(Exception):
                await store.GIVE_BACK.run(writer, row.no, row.copy)
            raise
        except Exception as error:
            log.error("snapshot_failed", snapshot=row.id, attempt=row.attempts, exc_info=error)
            return None

    async def _claim(self, writer: Connection, number: int) -> SnapshotRow | None:
        """Take the snapshot with a fresh hidden tenant: what another process may still be writing goes elsewhere."""
        with suppress(_Taken):
            async with writer.transaction():
                hidden = None
                while hidden is None:
                    hidden = await store.HIDE.one(writer)
                row = await store.CLAIM.one(writer, number, hidden.no)
                if row is None:
                    raise _Taken
                return row
        return None

    async def _finish(self, writer: Connection, row: SnapshotRow, details: Doc | None) -> None:
        if details is None:
            given_up = failed(InternalError(f"given up after {MOST_ATTEMPTS} attempts"))
            pairs = zip(QUERIES, DETAILS, strict=True)
            details = {d: [given_up for _ in row.asked[q]] for q, d in pairs if q in row.asked}
        status = status_of([one for name in DETAILS for one in details.get(name, ())])
        now = self._clock.now()
        tell_at = now if "endpoint" in row.asked else None
        copy = None if status == "failure" else row.copy
        await store.FINISH.run(writer, row.no, row.copy, status, details, now, tell_at, copy)

    async def _tell_all(self) -> None:
        async with self._pool.acquire(timeout=10) as connection:
            due = await store.TO_TELL.all(connection, self._clock.now())
        await asyncio.gather(*map(self._tell, due))
        async with self._pool.acquire(timeout=10) as connection:
            soonest = await store.NEXT_TELL.value(connection)
        if soonest is not None:
            wait = (soonest - self._clock.now()).total_seconds()
            self._pause = max(0.1, min(self._pause, wait))

    async def _tell(self, row: SnapshotRow) -> None:
        now = self._clock.now()
        last = row.tells >= len(WAITS)
        again = now + timedelta(seconds=WAITS[min(row.tells, len(WAITS) - 1)])
        async with self._pool.acquire(timeout=10) as connection:
            if not await store.TAKE_TELL.run(connection, row.no, row.tells, again):
                return
            tenant = await store.TENANT_NAME.value(connection, row.tenant)
        try:
            if "endpoint" in row.asked:
                await tell(self._egress, row, tenant or "", now)
        except NotDelivered as error:
            log.warning("snapshot_not_told", snapshot=row.id, why=str(error), given_up=last)
            if not last:
                return
        async with self._pool.acquire(timeout=10) as connection:
            await store.TOLD.run(connection, row.no)

    async def _sweep(self) -> None:
        """Remove what hidden tenants hold that no snapshot has any more, in portions."""
        async with self._pool.acquire(timeout=10) as connection:
            for hidden in await store.GARBAGE.all(connection):
                while await self._sweep_portion(connection, hidden.no):
                    pass
                with suppress(asyncpg.ForeignKeyViolationError):  # a process that was overtaken still adds to it
                    await store.FORGET.run(connection, hidden.no)

    @staticmethod
    async def _sweep_portion(connection: Connection, hidden: int) -> bool:
        async with connection.transaction():
            gone = [one.no for one in await store.SWEEP.all(connection, hidden, SWEPT)]
            if gone:
                await store.SWEEP_HISTORY.run(connection, gone)
                await store.SWEEP_VALUES.run(connection, gone)
        return bool(gone)


def shown(row: SnapshotRow) -> Doc:
    """A snapshot as clients see it (clause 5.2.41)."""
    body: Doc = {"id": row.id, "type": "Snapshot", **row.asked, "snapshotPriority": row.priority}
    body["createdAt"], body["modifiedAt"] = format_instant(row.created), format_instant(row.modified)
    body["expiresAt"] = format_instant(row.expires)
    if row.used is not None:
        body["lastUsedAt"] = format_instant(row.used)
    body["snapshotStatus"] = row.status
    if row.status != "preparing":
        body.update(row.details)
    return body
