"""Group commit: every write that waits goes into the same transaction, and none can spoil another.

A hub write is a pure function from the entity as it is to the entity as it will be. The writer locks
the rows of all waiting writes, applies the functions one after the other in memory (each failing on its
own), writes documents with two statements and history with one COPY, commits, and only then answers.
See docs/decisions/0003-hub-storage.md.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from typing import Any, Protocol

import asyncpg
import msgspec
import structlog

from sejong.hub import shapes
from sejong.hub.indexing import SYSTEM, entity_row, scalar_of
from sejong.hub.ngsi.change import delete_entity, live
from sejong.hub.ngsi.errors import BadRequestData, InternalError
from sejong.hub.ngsi.instants import format_instant, parse_instant
from sejong.hub.rendered import Rendered, announcement
from sejong.hub.store import entities as store
from sejong.hub.store import history, rollups, values
from sejong.hub.store.entities import EXPIRES, EntityRow, Locked
from sejong.hub.store.terms import Dictionary
from sejong.kernel.clock import Clock
from sejong.kernel.errors import CityError
from sejong.kit.postgres import AWAY, Connection, DatabaseAway, Pool
from sejong.kit.telemetry import BATCH_ROWS, BATCH_SECONDS

log = structlog.get_logger("hub")
_decode = msgspec.json.decode
_encode = msgspec.json.encode
_moment_of = lru_cache(maxsize=4096)(parse_instant)

LARGEST_COMMIT = 1000
"""Entities in one transaction at most; more wait for the next. Measured: 4,000 cost 40 MB more and win nothing."""
IN_FLIGHT = 2
"""Transactions under way per process: one computes while the other waits for the disk. Measured, see 0003."""

Split = tuple[float | None, str | None, bytes | None]
Op = tuple[str, str | None, dict[str, Any] | None, int]
"""Attribute IRI, dataset id, instance (a tombstone when deleted), 1 created / 2 updated / 3 deleted."""


class Outcome(msgspec.Struct, frozen=True):
    """What one write makes of one entity.

    `late`: instances older than what is known, for the history only and only if not yet there.
    `answer`: whatever the caller wants back (an UpdateResult, say).
    `places`: numbers and first moments of instances that take the place of ones taken out of the history.
    """

    entity: dict[str, Any] | None
    ops: Sequence[Op] = ()
    late: Sequence[Op] = ()
    answer: Any = None
    places: Mapping[Place, tuple[int, datetime]] = {}


Place = tuple[str, str | None, str | None]
"""Attribute IRI, dataset id, observedAt: which instance of an entity is meant."""


Apply = Callable[[dict[str, Any] | None, str], Outcome]
"""(the entity as it is or None, the moment of writing) → what becomes of it. Raises CityError to refuse."""


class Informed(msgspec.Struct, frozen=True):
    """A step that reads or edits the history inside the commit before it says what becomes of the entity.

    `run(connection, the entity's row or None, the entity as it is or None, the moment)`. If it raises CityError, what
    it did is undone. It is the only step of its `write` about its entity; the writer keeps others out of its commit.
    """

    run: Callable[[Connection, Locked | None, dict[str, Any] | None, str], Awaitable[Outcome]]


Item = tuple[str, Apply | Informed]
"""The id of an entity and what to do to it."""

_Numbered = tuple[str, Apply | Informed, int]
"""An item with the number of the write it belongs to."""


class Watcher(Protocol):
    """Whoever has to know of every change inside its own transaction (see `subscriptions`)."""

    def wanted(self, tenant: int) -> bool:
        """Whether changes in this tenant are of interest."""
        ...

    async def noted(self, connection: Connection, tenant: int, steps: Sequence[Any], now: str) -> list[Any]:
        """Write down what follows from (number of the write, entity before, entity after); never a write's fault."""
        ...

    def committed(self, messages: list[Any]) -> None:
        """The transaction in which this was noted is durable."""
        ...


class _Write(msgspec.Struct):
    tenant: int
    items: Sequence[Item]
    done: asyncio.Future[list[Outcome | CityError]]
    informed: bool = False


class _Draft:
    """One entity inside the running transaction."""

    __slots__ = ("after", "before", "eno", "id", "ops", "places", "rolled", "steps")

    def __init__(self, eid: str, stored: Locked | None, now: str) -> None:
        self.id = eid
        self.steps: list[tuple[int, dict[str, Any] | None, dict[str, Any] | None]] = []
        self.eno = stored.no if stored else 0
        self.rolled = stored.rolled if stored else None
        self.places: Mapping[Place, tuple[int, datetime]] = {}
        self.before: dict[str, Any] | None = None
        self.ops: list[tuple[Op, bool, Split]] = []
        if stored is not None and not stored.deleted:
            self.before = _decode(stored.doc)
        self.after = self.before
        if self.before is not None and stored is not None and EXPIRES in stored.doc:
            self._bury_expired(now)

    def _bury_expired(self, now: str) -> None:
        """An entity whose time is over is gone before any step sees it."""
        assert self.before is not None
        if live(self.before, now) is None:
            unlimited = {key: value for key, value in self.before.items() if key != "expiresAt"}
            self.note(delete_entity(unlimited, now).ops)
            self.steps.append((-1, self.before, None))
            self.after = None

    def note(self, ops: Sequence[Op], *, late: bool = False) -> None:
        """Remember what the history has to keep."""
        self.ops.extend((op, late, shapes.split(op[2] or {})) for op in ops)


class _Overtaken(Exception):
    """Another process created one of our entities first: look again."""


_AWAY = (*AWAY, OSError)
"""Faults that have nothing to do with what was to be written."""
_UNFIT = (asyncpg.DataError, asyncpg.ProgramLimitExceededError, RecursionError)
"""Faults of what was to be written: a name too long for an index, a number beyond every type."""


class Writer:
    """The only door through which the record changes, one per process."""

    def __init__(self, pool: Pool, clock: Clock, terms: Dictionary, shape_book: Dictionary, rendered: Rendered) -> None:
        self._pool, self._clock, self._terms, self._shapes = pool, clock, terms, shape_book
        self._rendered = rendered
        self._waiting: deque[_Write] = deque()
        self._wake = asyncio.Event()
        self._numbers = history.InstanceNumbers()
        self._tasks: list[asyncio.Task[None]] = []
        self._last = ""
        self.backlog = 0
        self.watcher: Watcher | None = None

    def start(self) -> None:
        """Begin taking writes."""
        self._tasks = [asyncio.create_task(self._run(), name=f"hub-writer-{n}") for n in range(IN_FLIGHT)]

    async def stop(self) -> None:
        """Finish what waits, then stop."""
        while self._waiting or self.backlog:
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def write(self, tenant: int, eid: str, apply: Apply | Informed) -> Outcome:
        """Change one entity; returns once it is durable. Raises what `apply` raised, or DatabaseAway."""
        (result,) = await self.write_all(tenant, [(eid, apply)])
        if isinstance(result, CityError):
            raise result
        return result

    async def write_all(self, tenant: int, items: Sequence[Item]) -> list[Outcome | CityError]:
        """Change several entities in order; each item succeeds or fails on its own. All durable on return."""
        if not items:
            return []
        done: asyncio.Future[list[Outcome | CityError]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write(tenant, items, done, any(isinstance(step, Informed) for _, step in items)))
        self.backlog += len(items)
        self._wake.set()
        return await done

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            # Let everything that became ready in this turn of the loop join the same commit.
            await asyncio.sleep(0)
            batch = self._take()
            if not batch:
                self._wake.clear()
                continue
            await self._commit(batch)

    def _take(self) -> list[_Write]:
        batch: list[_Write] = []
        size, informed = 0, False
        while self._waiting and self._waiting[0].tenant == (batch[0].tenant if batch else self._waiting[0].tenant):
            size += len(self._waiting[0].items)
            informed = informed or self._waiting[0].informed
            if batch and (size > LARGEST_COMMIT or (informed and _meet(batch, self._waiting[0]))):
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _commit(self, batch: list[_Write]) -> None:
        started = self._clock.monotonic()
        try:
            items = [(eid, apply, n) for n, write in enumerate(batch) for eid, apply in write.items]
            try:
                results = iter(await self._isolated(batch[0].tenant, items))
            finally:
                # Also when it failed: nobody knows how far a lost connection came.
                self._rendered.forget(batch[0].tenant, [eid for eid, _, _ in items])
            for write in batch:
                mine = [next(results) for _ in write.items]
                if not write.done.done():
                    write.done.set_result(mine)
        except asyncio.CancelledError:
            self._fail(batch, DatabaseAway(why="the process is stopping"))
            raise
        except Exception as error:  # noqa: BLE001 - every waiting caller must hear, and the writer go on
            log.warning("commit_failed", error=repr(error), writes=len(batch))
            away = error if isinstance(error, CityError) else DatabaseAway(why=str(error) or type(error).__name__)
            self._fail(batch, away)
        finally:
            count = sum(len(w.items) for w in batch)
            self.backlog -= count
            BATCH_ROWS.observe(count)
            BATCH_SECONDS.observe(self._clock.monotonic() - started)

    def _fail(self, batch: list[_Write], error: CityError) -> None:
        for write in batch:
            if not write.done.done():
                write.done.set_exception(error)

    async def _isolated(self, tenant: int, items: Sequence[_Numbered]) -> list[Outcome | CityError]:
        """Write the items; one that cannot be stored fails alone, found by halving what failed together."""
        try:
            return await self._attempt(tenant, items)
        except (*_AWAY, CityError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever one item brings must not hurt its neighbours
            if len(items) == 1:
                log.warning("write_failed", id=items[0][0], error=repr(error))
                return [_refusal(error)]
        results: list[Outcome | CityError] = []
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            try:
                results.extend(await self._isolated(tenant, half))
            except (*_AWAY, CityError) as error:
                # The other half may be written already: say for each item what became of it.
                away = error if isinstance(error, CityError) else DatabaseAway(why=str(error) or type(error).__name__)
                results.extend([away] * len(half))
        return results

    async def _attempt(self, tenant: int, items: Sequence[_Numbered]) -> list[Outcome | CityError]:
        for _ in range(20):
            try:
                async with self._pool.acquire(timeout=10) as connection, connection.transaction():
                    results, messages = await self._transact(connection, tenant, items)
                if messages and self.watcher is not None:
                    self.watcher.committed(messages)
                return results
            except (_Overtaken, asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                continue
        raise DatabaseAway(why="other writers kept changing the same entities")

    async def _transact(
        self, connection: Connection, tenant: int, items: Sequence[_Numbered]
    ) -> tuple[list[Outcome | CityError], list[Any]]:
        ids = sorted({eid for eid, *_ in items})
        stored = {row.id: row for row in await store.LOCK.all(connection, tenant, ids)}
        now = self._moment()
        drafts = {eid: _Draft(eid, stored.get(eid), now) for eid in ids}
        results = [
            await self._inform(connection, drafts[eid], stored.get(eid), step, now, write)
            if isinstance(step, Informed)
            else self._apply(drafts[eid], step, now, write)
            for eid, step, write in items
        ]
        await self._save(connection, tenant, drafts, now)
        watcher = self.watcher
        if watcher is None or not watcher.wanted(tenant):
            return results, []
        steps = sorted((step for draft in drafts.values() for step in draft.steps), key=itemgetter(0))
        return results, await watcher.noted(connection, tenant, steps, now)

    def _moment(self) -> str:
        """The moment of this commit, later than that of the one before even if the wall clock jumped back."""
        now = format_instant(self._clock.now())
        if now <= self._last:
            now = format_instant(parse_instant(self._last) + timedelta(microseconds=1))
        self._last = now
        return now

    async def _inform(
        self, connection: Connection, draft: _Draft, stored: Locked | None, step: Informed, now: str, write: int
    ) -> Outcome | CityError:
        try:
            async with connection.transaction():
                outcome = await step.run(connection, stored, draft.after, now)
        except CityError as error:
            return error
        draft.places = outcome.places
        return self._apply(draft, lambda *_: outcome, now, write)

    @staticmethod
    def _apply(draft: _Draft, apply: Apply, now: str, write: int) -> Outcome | CityError:
        try:
            outcome = apply(draft.after, now)
        except CityError as error:
            return error
        except Exception as error:
            # A fault in one step must not undo its neighbours.
            log.error("step_failed", id=draft.id, exc_info=error)
            return InternalError("something went wrong inside the hub; it was logged")
        if outcome.entity is not draft.after:
            draft.steps.append((write, draft.after, outcome.entity))
        draft.after = outcome.entity
        draft.note(outcome.ops)
        if outcome.late:
            draft.note(outcome.late, late=True)
        return outcome

    async def _save(self, connection: Connection, tenant: int, drafts: dict[str, _Draft], now: str) -> None:
        touched = [d for d in drafts.values() if d.ops or d.after is not d.before]
        if not touched:
            return
        await self._learn(touched)
        number = self._terms.number.__getitem__
        new: list[EntityRow] = []
        changed: list[EntityRow] = []
        retyped: list[int] = []
        for draft in touched:
            if draft.after is draft.before:
                continue
            if draft.after is None:
                row = self._tombstone(draft, number, now)
            else:
                row = entity_row(draft.after, number, draft.eno)
                if draft.eno and (len(row.types) > 1 or (draft.before and len(draft.before["type"]) > 1)):
                    retyped.append(draft.eno)
            (changed if draft.eno else new).append(row)
        numbers = await store.write_entities(connection, tenant, new, changed, retyped)
        if numbers is None:
            raise _Overtaken
        for draft in touched:
            draft.eno = draft.eno or numbers.get(draft.id, 0)
        await self._save_history(connection, tenant, [d for d in touched if d.eno], now)

    def _tombstone(self, draft: _Draft, number: Callable[[str], int], now: str) -> EntityRow:
        before = draft.before or {"id": draft.id, "type": [], "createdAt": now}
        bare = {key: before[key] for key in ("id", "type", "createdAt") if key in before} | {"modifiedAt": now}
        return msgspec.structs.replace(entity_row(bare, number, draft.eno), deleted=parse_instant(now), search="")

    async def _learn(self, touched: Sequence[_Draft]) -> None:
        """Give numbers to new names before they are used, in a short transaction of their own."""
        names: set[str] = set()
        skeletons: set[str] = set()
        for draft in touched:
            if draft.after is not None:
                names.update(draft.after)
                names.update(draft.after["type"])
            elif draft.before is not None:
                names.update(draft.before["type"])
            for (attribute, dataset, _, _), _, (_, shape, _) in draft.ops:
                names.add(attribute)
                if dataset:
                    names.add(dataset)
                if shape is not None:
                    skeletons.add(shape)
        names -= SYSTEM
        if names <= self._terms.number.keys() and skeletons <= self._shapes.number.keys():
            return
        async with self._pool.acquire(timeout=10) as own:
            await self._terms.learn(own, names)
            await self._shapes.learn(own, skeletons)

    async def _save_history(self, connection: Connection, tenant: int, touched: Sequence[_Draft], now: str) -> None:
        moment = parse_instant(now)
        rows: list[list[Any]] = []
        late: list[list[Any]] = []
        edited: list[list[Any]] = []
        stale: list[list[Any]] = []
        names, skeletons = self._terms.number, self._shapes.number
        for draft in touched:
            for (attribute, dataset, instance, op), is_late, (num, shape, rest) in draft.ops:
                observed = instance.get("observedAt") if instance else None
                row = [
                    _moment_of(observed) if observed else moment,
                    moment,
                    0,
                    num,
                    draft.eno,
                    names[attribute],
                    names[dataset] if dataset else 0,
                    None if shape is None else skeletons[shape],
                    op,
                    observed is not None,
                    rest,
                    None,
                ]
                place = draft.places.get((attribute, dataset, observed)) if draft.places else None
                if place is not None:
                    row[2], row[11] = place
                    row[0] = row[0] if observed else place[1]
                    edited.append(row)
                else:
                    (late if is_late else rows).append(row)
                if draft.rolled is not None and observed and row[0] < draft.rolled and op != history.DELETED:
                    stale.append(row)
        if late:
            rows.extend(await self._unseen(connection, late, rows))
        numbers = await self._numbers.take(connection, len(rows))
        for row, number in zip(rows, numbers, strict=True):
            row[2] = number
        if rows or edited:
            await history.copy_history(connection, [*rows, *edited])
        if stale:
            keys = zip(*((row[4], row[5], row[6], row[0]) for row in stale), strict=True)
            await rollups.MARK_STALE.run(connection, *map(list, keys))
        enos = [d.eno for d in touched]
        first, last = (numbers[0], numbers[-1]) if numbers else (None, None)
        indexed = await store.NOTE_CHANGE.value(connection, moment, tenant, enos, first, last)
        if indexed:
            await self._index_values(connection, touched, indexed)
        await store.TELL_CHANGE.run(connection, announcement(enos))

    async def _index_values(self, connection: Connection, touched: Sequence[_Draft], indexed: Sequence[int]) -> None:
        """Keep the indexes of values true. What is no longer there may stay: readers look at the entity again."""
        changed: list[tuple[int, int, str]] = []
        for number in indexed:
            name = self._terms.text.get(number)
            for draft in touched:
                if name is None or draft.after is None or draft.after is draft.before or name not in draft.after:
                    continue
                value = _encode(scalar_of(draft.after[name]))
                before = None if draft.before is None else draft.before.get(name)
                if before is None or _encode(scalar_of(before)) != value:
                    changed.append((draft.eno, number, value.decode()))
        if changed:
            await values.PUT.run(connection, *map(list, zip(*sorted(changed), strict=True)))

    async def _unseen(self, connection: Connection, late: list[list[Any]], writing: list[list[Any]]) -> list[list[Any]]:
        """Of readings that came late, those the history does not have yet (same attribute, time and value).

        What this very commit is `writing` counts as there.
        """
        keys = [(r[4], r[5], r[6], r[0]) for r in late]
        known = {
            (s.eno, s.ano, s.ds, s.t, s.num, s.val)
            for s in await history.SEEN.all(
                connection, *map(list, zip(*keys, strict=True)), min(r[0] for r in late), max(r[0] for r in late)
            )
        }
        known.update(map(_sameness, writing))
        fresh: list[list[Any]] = []
        for row in late:
            key = _sameness(row)
            if key not in known:
                known.add(key)
                fresh.append(row)
        return fresh


def _meet(batch: Sequence[_Write], write: _Write) -> bool:
    """Whether a write is about an entity that the batch is about already."""
    mine = {eid for eid, _ in write.items}
    return any(eid in mine for other in batch for eid, _ in other.items)


def _sameness(row: list[Any]) -> tuple[Any, ...]:
    """What makes two history rows the same reading: entity, attribute, dataset, time and value."""
    return (row[4], row[5], row[6], row[0], row[3], row[10])


def _refusal(error: Exception) -> CityError:
    """What the sender of an item hears that could not be stored."""
    if isinstance(error, _UNFIT):
        return BadRequestData(f"this cannot be stored: {str(error).splitlines()[0] if str(error) else 'too deep'}")
    return InternalError("something went wrong inside the hub; it was logged")
