"""Telling services what happened: every event reaches every handler that asked for it, in order, once.

A handler runs inside an act of its own, and its place in the stream moves in that same transaction: after a
`kill -9` nothing is lost or done twice, however many processes deliver.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from sejong.kit.act import Act, Record
from sejong.kit.postgres import Sql

Handler = Callable[[Act, Any], Awaitable[None]]
log = structlog.get_logger("events")

PATIENCE = 5
"""Times a failing handler is tried before the event is set aside for a person. Chosen."""


class Waiting(msgspec.Struct, frozen=True):
    """An event a handler has not seen yet."""

    seq: int
    xid: str
    name: str
    payload: Any


class Dead(msgspec.Struct, frozen=True):
    """An event a handler could not digest, with the reason."""

    handler: str
    seq: int
    name: str
    payload: Any
    reason: str
    at: datetime


OPEN_CURSOR = Sql("""
insert into kit.event_cursor(handler, xid, seq) values ($1, '0', 0) on conflict do nothing
""")
NEXT = Sql(
    """
select e.seq, e.xid::text as xid, e.name, e.payload
from kit.event e, (select xid, seq, retry_at from kit.event_cursor where handler = $1) c
where (e.xid, e.seq) > (c.xid, c.seq) and e.xid < pg_snapshot_xmin(pg_current_snapshot())
  and e.name = any($2) and (c.retry_at is null or c.retry_at <= $3)
order by e.xid, e.seq limit 1
""",
    Waiting,
)
LOCK = Sql("select pg_try_advisory_xact_lock(hashtextextended('event:' || $1, 0))")
WAIT_FOR_LOCK = Sql("select pg_advisory_xact_lock(hashtextextended('event:' || $1, 0))")
MOVE = Sql("""
update kit.event_cursor set xid = $2::text::xid8, seq = $3, failures = 0, retry_at = null where handler = $1
""")
# Only while the handler still stands before that event: another process may have done it meanwhile.
FAILED = Sql("""
update kit.event_cursor set failures = failures + 1
where handler = $1 and (xid, seq) < ($2::text::xid8, $3) returning failures
""")
RETRY_AT = Sql("update kit.event_cursor set retry_at = $2 where handler = $1")
BURY = Sql("""
insert into kit.event_dead(handler, seq, name, payload, reason, at) values ($1, $2, $3, $4, $5, $6)
on conflict do nothing
""")
DEAD = Sql("select handler, seq, name, payload, reason, at from kit.event_dead order by at desc limit $1", Dead)


async def deliver(record: Record, handlers: Mapping[str, tuple[tuple[str, ...], Handler]]) -> int:
    """Hand every waiting event to its handlers (name → events, function); how often a handler was called.

    A handler that raises is tried again with growing pauses, then the event is set aside (`dead`) and
    the stream goes on: one bad event never stops the city. Raises only when the database is away.
    """
    done = 0
    for name, (events, handler) in handlers.items():
        while await _hand_over(record, name, events, handler):
            done += 1
    return done


async def _hand_over(record: Record, name: str, events: tuple[str, ...], handler: Handler) -> bool:
    event: Waiting | None = None
    try:
        async with record.act(f"handler:{name}", "event.handle") as act:
            await OPEN_CURSOR.run(act.connection, name)
            if not await LOCK.value(act.connection, name):
                raise _Nothing
            event = await NEXT.one(act.connection, name, list(events), act.now)
            if event is None:
                raise _Nothing
            await handler(act, event.payload)
            await MOVE.run(act.connection, name, event.xid, event.seq)
        return True
    except _Nothing:
        return False
    except Exception as error:
        if event is None:
            raise
        await _note_failure(record, name, event, error)
        return True


class _Nothing(Exception):
    """No event waits, or another process has the handler; undo the act so that looking leaves no audit line."""


async def _note_failure(record: Record, name: str, event: Waiting, error: Exception) -> None:
    async with record.act(f"handler:{name}", "event.failed") as act:
        await OPEN_CURSOR.run(act.connection, name)  # it may have been opened by the undone act
        await WAIT_FOR_LOCK.run(act.connection, name)
        failures = await FAILED.value(act.connection, name, event.xid, event.seq)
        if failures is None:
            return
        if failures < PATIENCE:  # wait 1, 2, 4, 8 s
            await RETRY_AT.run(act.connection, name, act.now + timedelta(seconds=2 ** (failures - 1)))
            log.warning("event_retry", handler=name, event_name=event.name, seq=event.seq, error=str(error))
            return
        await BURY.run(act.connection, name, event.seq, event.name, event.payload, repr(error), act.now)
        await MOVE.run(act.connection, name, event.xid, event.seq)
        log.error("event_set_aside", handler=name, event_name=event.name, seq=event.seq, error=str(error))
