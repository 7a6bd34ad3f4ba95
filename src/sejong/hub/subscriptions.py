"""Keeping subscriptions, and noting in the very commit of a change what they are to be told.

Every process keeps all of them compiled (`watching.WatchIndex`). What changes is told to the others by NOTIFY and,
should that be lost, found by its version within two seconds. Delivery is another matter: see `hub/notify`.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.8.1 to 5.8.6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from sejong.hub.ngsi.errors import AlreadyExists, ResourceNotFound
from sejong.hub.ngsi.instants import format_instant, parse_instant
from sejong.hub.ngsi.subscription import Definition, Telling
from sejong.hub.store import subscriptions as store
from sejong.hub.store.subscriptions import SubscriptionRow
from sejong.hub.watching import Watch, WatchIndex
from sejong.kernel.clock import Clock
from sejong.kernel.ids import new_id, urn
from sejong.kit.postgres import Connection, Pool

Doc = dict[str, Any]
Step = tuple[int, Doc | None, Doc | None]
"""Which request (a number), the entity before, the entity after."""
log = structlog.get_logger("hub")

MOST_ENTITIES = 500
"""Entities in one notification; more make several. Chosen."""
COMPILED_AT_ONCE = 100
"""Subscriptions compiled before others get their turn. Chosen: about ten milliseconds."""
_encode, _decode = msgspec.json.encode, msgspec.json.decode


class Kept(msgspec.Struct, frozen=True):
    """A subscription in the record."""

    no: int
    definition: Definition
    telling: Telling
    created: str
    modified: str


class Message(msgspec.Struct):
    """One notification that waits to be sent; `no` is its place in the outbox."""

    sub: int
    id: str
    at: datetime
    entities: list[Doc]
    no: int = 0


class Subscriptions:
    """The subscriptions of the record, as one process knows them."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool, self._clock = pool, clock
        self.index = WatchIndex(on_fault=self._faulty)
        self.version = 0
        self.run = 0
        """Number of this process's deliverer; 0 while it has none, and others deliver what it writes."""
        self.on_committed: Callable[[list[Message]], None] | None = None
        self.on_changed: Callable[[set[int]], None] | None = None
        self.fresh_telling: Callable[[int], Telling | None] | None = None
        """What the deliverer of this process knows of a subscription that the database does not yet."""
        self.host_context: Callable[[int, Any], Awaitable[str]] | None = None
        """(tenant, inline context) → address it can be had from. Set by whoever hosts contexts."""
        self._refreshing = asyncio.Lock()
        self._said: set[int] = set()

    # --- use cases --------------------------------------------------------------------------------------------

    async def create(self, tenant: int, definition: Definition) -> None:
        """Keep a new subscription; changes from now on are told. Raises AlreadyExists."""
        now = self._clock.now()
        async with self._pool.acquire(timeout=10) as connection, connection.transaction():
            await store.LOCK.run(connection)
            no = await store.ADD.value(connection, tenant, definition.id, _encode(definition), now)
            if no is None:
                raise AlreadyExists(f"{definition.id} exists already")
            await store.ADD_DELIVERY.run(connection, no, _due(definition, now))
            await store.TELL_SUBSCRIPTIONS.run(connection)
        await self.refresh()

    async def change(self, tenant: int, subscription_id: str, step: Callable[[Definition], Definition]) -> None:
        """Replace a subscription by what `step` makes of it. Raises ResourceNotFound and what the step raises."""
        now = self._clock.now()
        async with self._pool.acquire(timeout=10) as connection, connection.transaction():
            await store.LOCK.run(connection)
            row = await store.ONE_FOR_UPDATE.one(connection, tenant, subscription_id)
            if row is None:
                raise ResourceNotFound(f"no subscription {subscription_id}")
            old = _definition(row.definition)
            new = step(old)
            await store.CHANGE.run(connection, row.no, _encode(new), now)
            if new.body.get("timeInterval") != old.body.get("timeInterval"):
                await store.SET_DUE.run(connection, row.no, _due(new, now))
            await store.TELL_SUBSCRIPTIONS.run(connection)
        await self.refresh()

    async def remove(self, tenant: int, subscription_id: str) -> None:
        """Forget a subscription and what it has not been told yet. Raises ResourceNotFound."""
        async with self._pool.acquire(timeout=10) as connection, connection.transaction():
            await store.LOCK.run(connection)
            row = await store.ONE_FOR_UPDATE.one(connection, tenant, subscription_id)
            if row is None:
                raise ResourceNotFound(f"no subscription {subscription_id}")
            # The outbox before the delivery row, as the deliverer takes them: else each could wait for the other.
            await store.FORGET_OUTBOX.run(connection, row.no)
            await store.REMOVE.run(connection, row.no)
            await store.NOTE_GONE.run(connection, row.no, self._clock.now())
            await store.TELL_SUBSCRIPTIONS.run(connection)
        await self.refresh()

    async def retrieve(self, tenant: int, subscription_id: str) -> Kept:
        """One subscription. Raises ResourceNotFound."""
        async with self._pool.acquire(timeout=10) as connection:
            row = await store.ONE.one(connection, tenant, subscription_id)
        if row is None:
            raise ResourceNotFound(f"no subscription {subscription_id}")
        return self._kept(row)

    async def page(self, tenant: int, limit: int, offset: int) -> tuple[list[Kept], int]:
        """A page of the subscriptions of a tenant, oldest first, and how many there are."""
        async with self._pool.acquire(timeout=10) as connection:
            total = await store.COUNT.value(connection, tenant)
            rows = await store.PAGE.all(connection, tenant, limit, offset) if limit else []
        return [self._kept(row) for row in rows], total

    def _kept(self, row: SubscriptionRow) -> Kept:
        telling = None if self.fresh_telling is None else self.fresh_telling(row.no)
        if telling is None:
            moments = (row.last_notification, row.last_success, row.last_failure)
            telling = Telling(row.sent, row.failed, *(None if m is None else format_instant(m) for m in moments))
        return Kept(
            row.no, _definition(row.definition), telling, format_instant(row.created), format_instant(row.modified)
        )

    # --- knowing them -----------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Learn what has changed, here or elsewhere, since the last time."""
        async with self._refreshing:
            async with (
                self._pool.acquire(timeout=10) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                rows = await store.CHANGED_SINCE.all(connection, self.version)
                gone = await store.GONE_SINCE.all(connection, self.version)
            changed = {row.no for row in gone}
            for no in changed:
                self.index.drop(no)
            for count, row in enumerate(rows, 1):
                changed.add(row.no)
                try:
                    self.index.put(Watch(row.no, row.tenant, _definition(row.definition)))
                except Exception as error:
                    self.index.drop(row.no)
                    log.error("subscription_unreadable", subscription=row.no, exc_info=error)
                if not count % COMPILED_AT_ONCE:
                    await asyncio.sleep(0)
            self.version = max(self.version, *(one.version for one in (*rows, *gone)), 0)
        if changed and self.on_changed is not None:
            self.on_changed(changed)

    async def reload(self) -> None:
        """Learn everything anew: after the connection was lost, deletions may have been missed."""
        known = set(self.index.watches)
        self.version = 0
        await self.refresh()
        async with self._pool.acquire(timeout=10) as connection:
            there = {row.no for row in await store.CHANGED_SINCE.all(connection, 0)}
        for no in known - there:
            self.index.drop(no)

    def _faulty(self, no: int, fault: Exception) -> None:
        """Say once that a subscription cannot be asked."""
        if no not in self._said:
            self._said.add(no)
            log.error("subscription_cannot_be_asked", subscription=no, exc_info=fault)

    # --- noting changes (called by the writer) ----------------------------------------------------------------

    def wanted(self, tenant: int) -> bool:
        """Whether anybody is to be told of changes in this tenant."""
        return self.index.watches_over(tenant)

    async def noted(self, connection: Connection, tenant: int, steps: Sequence[Step], now: str) -> list[Message]:
        """Put what is to be told into the outbox, in the transaction that changes the record."""
        try:
            messages = self._messages(tenant, steps, now)
            data = _data(messages)
        except Exception as error:
            # Whatever is wrong with telling, the record is written.
            log.error("matching_failed", exc_info=error)
            return []
        if messages:
            await self._insert(connection, messages, data)
        return messages

    def committed(self, messages: list[Message]) -> None:
        """The transaction is durable: its messages may be sent."""
        try:
            if self.on_committed is not None:
                self.on_committed(messages)
        except Exception as error:
            # The write is done and must be answered so; the messages are in the outbox and will be found there.
            log.error("offering_failed", exc_info=error)

    async def put(self, connection: Connection, messages: list[Message]) -> None:
        """Write messages into the outbox; they get their numbers."""
        await self._insert(connection, messages, _data(messages))

    async def _insert(self, connection: Connection, messages: list[Message], data: list[bytes]) -> None:
        subs, ids = [m.sub for m in messages], [m.id for m in messages]
        rows = await connection.fetch(store.PUT.text, self.run, messages[0].at, subs, ids, data)
        for message, number in zip(messages, sorted(row[0] for row in rows), strict=True):
            message.no = number

    def _messages(self, tenant: int, steps: Sequence[Step], now: str) -> list[Message]:
        at = parse_instant(now)
        messages: list[Message] = []
        open_ones: dict[tuple[int, int], tuple[Message, set[str]]] = {}
        for request, before, after in steps:
            for watch, told in self.index.match(tenant, before, after, now):
                key = (request, watch.no)
                message, ids = open_ones.get(key, (None, set()))
                if message is None or told["id"] in ids or len(ids) >= MOST_ENTITIES:
                    message, ids = self.message(watch.no, at, []), set()
                    open_ones[key] = (message, ids)
                    messages.append(message)
                message.entities.append(told)
                ids.add(told["id"])
        return messages

    def message(self, sub: int, at: datetime, entities: list[Doc]) -> Message:
        """A message with an id of its own, not in the outbox yet."""
        return Message(sub, urn("Notification", new_id(self._clock)), at, entities)


def _data(messages: list[Message]) -> list[bytes]:
    """What each message says, as a JSON array."""
    known: dict[int, bytes] = {}
    return [b"[" + b",".join([_text(one, known) for one in message.entities]) + b"]" for message in messages]


def _text(entity: Doc, known: dict[int, bytes]) -> bytes:
    """The entity as JSON; written once for all who are told the same."""
    text = known.get(id(entity))
    if text is None:
        text = known[id(entity)] = _encode(entity)
    return text


def _definition(raw: bytes) -> Definition:
    return _decode(raw, type=Definition)


def _due(definition: Definition, now: datetime) -> datetime | None:
    interval = definition.body.get("timeInterval")
    return None if interval is None else now + timedelta(seconds=interval)
