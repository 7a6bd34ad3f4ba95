"""Telling subscribers: one deliverer per process, one line per subscriber, the outbox behind all of them.

A subscription is told by one process at a time (`hub.delivery.owner`), so its notifications keep their order, its
throttling is exact and its counters are one process's business; the first process that has something to tell claims
it. Messages leave the outbox after they were delivered: what a process that died did not delete, another one (or its
successor) delivers, some of it perhaps twice, under the same notification id.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.8.6 and 6.3.8.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import structlog

from sejong.hub.ngsi.subscription import Telling
from sejong.hub.notify.line import Line, columns
from sejong.hub.notify.telling import Teller
from sejong.hub.service import Hub
from sejong.hub.store import subscriptions as store
from sejong.hub.subscriptions import Message
from sejong.kernel.errors import CityError
from sejong.kit.postgres import AWAY
from sejong.kit.telemetry import NOTIFICATIONS

log = structlog.get_logger("notify")

LEASE = 10.0
"""Seconds without a sign of life after which a process's subscribers may be claimed by others. Chosen."""
BEAT = 2.0
SAVE_EVERY = 0.2
"""Seconds between two times that counters are saved and delivered messages deleted. Chosen: five updates a second per
subscription at most, however many notifications it gets."""
LOADED_AT_ONCE = 100
MOST_WAITING = 10_000
"""Notifications that may wait for a subscriber who takes none. Chosen."""
SWEEP_EVERY = 4
"""Beats between two looks for what nobody was told of. Chosen."""
_SENT, _FAILED, _SKIPPED, _GIVEN_UP = (
    NOTIFICATIONS.labels(outcome) for outcome in ("sent", "failed", "skipped", "given_up")
)
_AWAY = (*AWAY, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, CityError)


class Deliverer:
    """Tells the subscribers this process has claimed. Made by `start`, found by `city.part(Deliverer)`."""

    def __init__(self, hub: Hub, *, lease: float = LEASE) -> None:
        self.hub, self.lease = hub, lease
        self.lines: dict[int, Line] = {}
        self.run = 0
        self._subscriptions, self._pool, self._clock = hub.subscriptions, hub.pool, hub.clock
        self._teller = Teller(hub)
        self._unclaimed: set[int] = set()
        self._wanted = asyncio.Event()
        self._done: list[int] = []
        self._dead: list[tuple[int, int, str]] = []
        self._dirty: dict[int, Line] = {}
        self._to_save = asyncio.Event()
        self._periodic: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._heard_before = False
        self._ending = False
        self._alone = False
        """Whether no other process writes or tells."""

    # --- life -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Deliverer]:
        """Deliver while inside; on leaving, save what was done and let others go on."""
        await self._begin()
        subscriptions = self._subscriptions
        subscriptions.on_committed = self.offer
        subscriptions.on_changed = self._changed
        subscriptions.fresh_telling = self.telling
        self._changed(set(subscriptions.index.watches))
        loops = (self._claim_and_load, self._save_again_and_again, self._beat, self._listen, self._be_punctual)
        self._tasks = [asyncio.create_task(self._kept(loop), name=f"notify{loop.__name__}") for loop in loops]
        try:
            yield self
        finally:
            subscriptions.on_committed = subscriptions.on_changed = subscriptions.fresh_telling = None
            await self._end()

    async def _begin(self) -> None:
        async with self._pool.acquire(timeout=10) as connection:
            self.run = self._subscriptions.run = await store.BEGIN_RUN.value(connection)
            await store.NUDGE.run(connection, "")
            await self._pulse(connection)
            self._unclaimed.update(await self._adoptable(connection))
        self._wanted.set()

    async def _end(self) -> None:
        self._ending = True
        lines = [line.task for line in self.lines.values() if line.task is not None]
        if sending := [line.task for line in self.lines.values() if line.task is not None and line.sending]:
            await asyncio.wait(sending, timeout=1)  # what is half said is said to its end
        for task in (*lines, *self._tasks):
            task.cancel()
        await asyncio.gather(*lines, *self._tasks, return_exceptions=True)
        await self._teller.close()
        with suppress(*_AWAY, TimeoutError):
            async with asyncio.timeout(2):
                await self.save()
                async with self._pool.acquire() as connection:
                    await store.RELEASE.run(connection, self.run)
                    await store.END_RUN.run(connection, self.run)
        self.lines.clear()
        self._subscriptions.run = 0

    async def _kept(self, loop: Any) -> None:
        """Run a loop for ever, whatever happens to it; said once per trouble."""
        away = False
        while True:
            try:
                await loop()
                away = False
            except asyncio.CancelledError:
                raise
            except _AWAY as error:
                if not away:
                    log.warning("notify_away", part=loop.__name__, why=str(error) or type(error).__name__)
                away = True
                await asyncio.sleep(0.5)
            except Exception as error:
                log.error("notify_broken", part=loop.__name__, exc_info=error)
                await asyncio.sleep(1)

    # --- what comes in ----------------------------------------------------------------------------------------

    def offer(self, messages: Iterable[Message]) -> None:
        """Messages this process has just committed."""
        for message in messages:
            line = self.lines.get(message.sub)
            if line is None:
                self._unclaimed.add(message.sub)
                self._wanted.set()
                continue
            if self._alone:
                line.offer(message)
            else:  # what another process committed before this must be told before this: read the outbox in order
                line.behind = line.missed = True
            if line.behind:
                self._wanted.set()
            self._go_on(line)

    def telling(self, sub: int) -> Telling | None:
        """How telling a subscriber has gone, if this process is the one who knows."""
        line = self.lines.get(sub)
        return None if line is None else line.telling()

    def _changed(self, subs: set[int]) -> None:
        """Subscriptions that are new, different or gone."""
        watches = self._subscriptions.index.watches
        for sub in subs:
            watch = watches.get(sub)
            if watch is None:
                self._forget(sub)
            elif (line := self.lines.get(sub)) is not None:
                line.style = None
                line.wake.set()
            if watch is not None and "timeInterval" in watch.definition.body:
                self._periodic.add(sub)
            else:
                self._periodic.discard(sub)

    def _forget(self, sub: int) -> None:
        line = self.lines.pop(sub, None)
        if line is not None:
            line.waiting.clear()
            if line.task is not None and line.task is not asyncio.current_task():
                line.task.cancel()

    # --- claiming and loading ---------------------------------------------------------------------------------

    async def _claim_and_load(self) -> None:
        await self._wanted.wait()
        self._wanted.clear()
        subs, self._unclaimed = self._unclaimed, set()
        try:
            async with self._pool.acquire(timeout=10) as connection:
                if subs:
                    await self._claim(connection, sorted(subs))
                await self._load(connection)
        except BaseException:
            self._unclaimed |= subs
            self._wanted.set()
            raise

    async def _claim(self, connection: Any, subs: list[int]) -> None:
        mine = await store.CLAIM.all(connection, self.run, subs, self.lease)
        for state in mine:
            self.lines.setdefault(state.sub, Line(state))
        others = set(subs) - {state.sub for state in mine}
        if others:
            text = ",".join(map(str, sorted(others)))
            await store.NUDGE.run(connection, text if len(text) < 7000 else "")

    async def _load(self, connection: Any) -> None:
        """Fill the lines that are behind from the outbox."""
        lines = [line for line in self.lines.values() if line.behind and line.has_room]
        if not lines:
            return
        held = [message.no for line in lines for message in line.waiting] + self._done + [no for no, *_ in self._dead]
        for line in lines:
            line.missed = False
        rows = await store.WAITING.all(connection, [line.sub for line in lines], held, LOADED_AT_ONCE)
        found: dict[int, list[Message]] = {}
        for row in rows:
            entities = msgspec.json.decode(row.data)
            found.setdefault(row.sub, []).append(Message(row.sub, row.id, row.at, entities, row.no))
        for line in lines:
            fresh = found.get(line.sub, [])
            line.take(fresh)
            line.behind = line.missed or len(fresh) == LOADED_AT_ONCE
            if line.behind and line.has_room:
                self._wanted.set()
            self._go_on(line)

    async def _adoptable(self, connection: Any) -> list[int]:
        return [row[0] for row in await connection.fetch(store.ADOPTABLE.text, self.lease)]

    # --- delivering -------------------------------------------------------------------------------------------

    def _go_on(self, line: Line) -> None:
        if line.waiting and (line.task is None or line.task.done()):
            line.task = asyncio.create_task(self._tell_all(line))

    async def _tell_all(self, line: Line) -> None:
        """Tell one subscriber what waits for them, one after the other."""
        try:
            while line.waiting and not self._ending:
                await self._tell_first(line)
                if line.behind and line.has_room:
                    self._wanted.set()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # Never the end of the line: this message is put aside, the next ones are told.
            log.error("notification_broken", subscription=line.sub, exc_info=error)
            self._bury(line, repr(error))
            self._go_on_soon(line)

    def _go_on_soon(self, line: Line) -> None:
        asyncio.get_running_loop().call_soon(self._go_on, line)

    async def _tell_first(self, line: Line) -> None:
        message = line.waiting[0]
        watch = self._subscriptions.index.watches.get(line.sub)
        if watch is None:
            line.waiting.clear()
            return
        now = self._clock.now()
        body = watch.definition.body
        if watch.definition.status(self.hub.now()) != "active" or line.throttled(message, body.get("throttling")):
            _SKIPPED.inc()
            self._finish(line)
            return
        if now - message.at > timedelta(seconds=self.hub.settings.notification_patience) and line.failures:
            self._bury(line, line.why)
            return
        if line.not_before is not None and line.not_before > now:
            await self._wait(line, line.not_before - now)
            return
        cooldown = body["notification"]["endpoint"].get("cooldown", 0) / 1000
        line.attempts += 1
        line.sending = True
        try:
            why = await self._teller.tell(line, watch, message)
        finally:
            line.sending = False
        if not line.waiting or line.waiting[0] is not message:
            return  # the subscription was changed or removed meanwhile
        if why is None:
            line.throttled_from = message.at
            line.succeeded(self._clock.now())
            _SENT.inc()
            self._finish(line)
        else:
            line.failed_at(self._clock.now(), why, cooldown)
            _FAILED.inc()
            self._note(line)

    async def _wait(self, line: Line, left: timedelta) -> None:
        """Leave a subscriber alone for a while; city time may run faster than the computer's, or be set forward."""
        line.wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(left.total_seconds(), 0.01), 0.5)):
                await line.wake.wait()

    def _finish(self, line: Line) -> None:
        """The first in the line is done with."""
        self._done.append(line.waiting.popleft().no)
        line.attempts = 0
        self._note(line)

    def _bury(self, line: Line, why: str) -> None:
        """The first in the line is given up: it goes to the dead notifications."""
        message = line.waiting.popleft()
        self._dead.append((message.no, line.attempts, why))
        _GIVEN_UP.inc()
        log.warning("notification_given_up", subscription=line.sub, id=message.id, why=why)
        line.attempts = 0
        self._note(line)

    def _note(self, line: Line) -> None:
        self._dirty[line.sub] = line
        self._to_save.set()

    # --- saving -----------------------------------------------------------------------------------------------

    async def _save_again_and_again(self) -> None:
        await self._to_save.wait()
        self._to_save.clear()
        try:
            await self.save()
        except BaseException:
            self._to_save.set()
            raise
        await asyncio.sleep(SAVE_EVERY)

    async def save(self) -> None:
        """Delete what was delivered and keep the counters, in one transaction."""
        done, dead, dirty = list(self._done), list(self._dead), dict(self._dirty)
        if not (done or dead or dirty):
            return
        self._dirty.clear()
        try:
            async with self._pool.acquire(timeout=10) as connection, connection.transaction():
                for no, attempts, why in dead:
                    await store.BURY.run(connection, [no], self._clock.now(), attempts, why)
                if done:
                    await store.DONE.run(connection, done)
                states = [line.state() for line in dirty.values()]
                saved = await connection.fetch(store.SAVE.text, self.run, *columns(states)) if states else []
        except BaseException:
            self._dirty = {**dirty, **self._dirty}
            raise
        del self._done[: len(done)]
        del self._dead[: len(dead)]
        kept = {row[0] for row in saved}
        for sub in dirty.keys() - kept:
            self._forget(sub)  # gone, or claimed by a process that thought this one dead

    # --- signs of life ----------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        for count in range(SWEEP_EVERY):
            async with self._pool.acquire(timeout=10) as connection:
                version = await self._pulse(connection)
                self._unclaimed.update(await self._adoptable(connection))
                if count == 0:
                    await self._sweep(connection)
            self._teller.tidy()
            if version > self._subscriptions.version:
                await self._subscriptions.refresh()
            if self._unclaimed:
                self._wanted.set()
            await asyncio.sleep(min(BEAT, self.lease / 4))

    async def _pulse(self, connection: Any) -> int:
        """Give a sign of life; the version of the last change of a subscription."""
        pulse = await store.BEAT.one(connection, self.run)
        if pulse is None:  # others thought this process dead and cleaned up after it
            self.run = self._subscriptions.run = await store.BEGIN_RUN.value(connection)
            for sub in list(self.lines):
                self._forget(sub)
            return 0
        self._alone = pulse.alive <= 1
        return pulse.version

    async def _sweep(self, connection: Any) -> None:
        """Find what was written for subscribers of this process without its having heard of it.

        A subscriber who takes nothing may not fill the disk: of what waits for them, the oldest is given up.
        """
        if not self.lines:
            return
        for line in [line for line in self.lines.values() if line.failures and line.behind]:
            rows = await connection.fetch(store.TOO_MANY_WAITING.text, line.sub, MOST_WAITING)
            if rows:
                await self._give_up_oldest(connection, line, {row[0] for row in rows})
        idle = [line.sub for line in self.lines.values() if not line.waiting]
        for row in await connection.fetch(store.LEFT_OVER.text, list(self.lines), self.run, idle):
            line = self.lines.get(row[0])
            if line is not None:
                line.behind = line.missed = True
                self._wanted.set()

    async def _give_up_oldest(self, connection: Any, line: Line, numbers: set[int]) -> None:
        log.warning("too_many_waiting", subscription=line.sub, given_up=len(numbers))
        why = f"more than {MOST_WAITING} notifications were waiting; {line.why}"
        await store.BURY.run(connection, sorted(numbers), self._clock.now(), line.attempts, why)
        _GIVEN_UP.inc(len(numbers))
        if not line.sending:
            kept = [message for message in line.waiting if message.no not in numbers]
            line.waiting.clear()
            line.waiting.extend(kept)
        self._wanted.set()

    async def _listen(self) -> None:
        """Hear at once of subscriptions that changed and of messages other processes wrote."""
        heard = asyncio.Event()

        def changed(*_: object) -> None:
            heard.set()

        async with self._pool.acquire(timeout=10) as connection:
            await connection.add_listener("hub_subscription", changed)
            await connection.add_listener("hub_outbox", self._nudged)
            try:
                await (self._subscriptions.reload() if self._heard_before else self._subscriptions.refresh())
                self._heard_before = True
                while not connection.is_closed():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(5):
                            await heard.wait()
                        heard.clear()
                        await self._subscriptions.refresh()
            finally:
                with suppress(*_AWAY):
                    await connection.remove_listener("hub_subscription", changed)
                    await connection.remove_listener("hub_outbox", self._nudged)
        raise ConnectionError("the listening connection was closed")

    def _nudged(self, *arguments: Any) -> None:
        payload = str(arguments[-1])
        self._alone = False  # somebody else is there, or has just come
        for sub in map(int, payload.split(",")) if payload else list(self.lines):
            line = self.lines.get(sub)
            if line is not None:
                line.behind = line.missed = True
                self._wanted.set()

    # --- periodic subscriptions -------------------------------------------------------------------------------

    async def _be_punctual(self) -> None:
        await asyncio.sleep(0.2)
        if self._periodic:
            await self.tell_what_is_due()

    async def tell_what_is_due(self) -> None:
        """Put into the outbox what periodic subscriptions are due now. Of several processes, one does it for each."""
        now = self._clock.now()
        async with self._pool.acquire(timeout=10) as connection:
            due = [row.sub for row in await store.DUE.all(connection, now) if row.sub in self._periodic]
        for sub in due:
            await self._tell_due(sub, now)

    async def _tell_due(self, sub: int, now: datetime) -> None:
        watch = self._subscriptions.index.watches.get(sub)
        if watch is None:
            return
        active = watch.definition.status(self.hub.now()) == "active"
        found = await self._teller.everything(watch) if active else []
        messages = [self._subscriptions.message(sub, now, part) for part in found]
        interval = float(watch.definition.body["timeInterval"])
        async with self._pool.acquire(timeout=10) as connection, connection.transaction():
            if await store.TAKE_DUE.value(connection, sub, now, interval) is None:
                return
            if messages:
                await self._subscriptions.put(connection, messages)
        self.offer(messages)
