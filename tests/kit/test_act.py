"""An act is wholly there or not at all, with its events and jobs; the same key does it once; a look changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from sejong.kernel.clock import ManualClock
from sejong.kit.act import Act, Happened, KeyUsedForAnother, Look, Record
from sejong.kit.postgres import Connection, Pool

pytestmark = pytest.mark.anyio


@pytest.fixture
async def record(pool: Pool, clock: ManualClock) -> AsyncIterator[Record]:
    """A record with one table of its own; `seat` may be taken once, which is checked only at COMMIT."""
    await pool.execute("""
        create schema if not exists scratch;
        create table if not exists scratch.note(
            seat int constraint one_seat unique deferrable initially deferred, text text not null)""")
    yield Record(pool, clock)
    await pool.execute("drop schema scratch cascade")


NOTE = "insert into scratch.note(seat, text) values ($1, $2)"


async def everything(act: Act, seat: int = 1) -> None:
    """Whatever an act can do: rows, an event, a job, a result."""
    await act.connection.execute(NOTE, seat, act.name)
    act.emit(Happened("test.Seated", {"seat": seat}))
    act.later("test.clean", seat=seat)
    act.result = {"seat": seat}


async def traces(pool: Pool) -> dict[str, int]:
    """How many rows acts left, by kind."""
    tables = {"act": "kit.act", "event": "kit.event", "job": "procrastinate_jobs", "note": "scratch.note"}
    return {kind: await pool.fetchval(f"select count(*) from {table}") for kind, table in tables.items()}


NOTHING = {"act": 0, "event": 0, "job": 0, "note": 0}
ONE_OF_EACH = {"act": 1, "event": 1, "job": 1, "note": 1}


async def test_everything_of_an_act_is_there(record: Record, clock: ManualClock) -> None:
    async with record.act("kim", "test.seat") as act:
        await everything(act)
        clock.advance(60)
        assert act.now == clock.now() - timedelta(seconds=60), "time stands still inside an act"
        assert await traces(record.pool) == NOTHING, "nobody sees an act before it is done"
    assert await traces(record.pool) == ONE_OF_EACH
    event = await record.pool.fetchrow("select * from kit.event")
    assert (event["name"], event["payload"], event["at"], event["act"]) == (
        "test.Seated",
        {"seat": 1},
        act.now,
        UUID(act.id),
    )
    job = await record.pool.fetchrow("select * from procrastinate_jobs")
    assert (job["task_name"], job["queue_name"], job["status"]) == ("test.clean", "city", "todo")
    assert job["args"] == {"seat": 1, "key": f"{act.id}:0"}


async def test_the_audit_line_says_who_did_what_when(record: Record) -> None:
    async with record.act("kim", "test.seat", key="k-1", fingerprint="f-1") as act:
        act.result = ["done", 1]
    line = dict(await record.pool.fetchrow("select * from kit.act"))
    assert line == {
        "id": UUID(act.id),
        "name": "test.seat",
        "who": "kim",
        "at": act.now,
        "key": "k-1",
        "fingerprint": "f-1",
        "result": ["done", 1],
    }


async def test_an_exception_inside_undoes_everything(record: Record) -> None:
    with pytest.raises(ZeroDivisionError):
        async with record.act("kim", "test.seat", key="k") as act:
            await everything(act)
            _ = 1 / 0
    assert await traces(record.pool) == NOTHING


async def test_being_cancelled_undoes_everything(record: Record) -> None:
    inside = asyncio.Event()

    async def slow() -> None:
        async with record.act("kim", "test.seat") as act:
            await everything(act)
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(slow())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await traces(record.pool) == NOTHING


async def test_a_connection_killed_inside_leaves_nothing_and_the_pool_goes_on(record: Record) -> None:
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        async with record.act("kim", "test.seat") as act:
            await everything(act)
            await record.pool.execute("select pg_terminate_backend($1)", act.connection.get_server_pid())
            await act.connection.fetchval("select 1")
    assert await traces(record.pool) == NOTHING
    async with record.act("kim", "test.seat") as act:
        await everything(act)
    assert await traces(record.pool) == ONE_OF_EACH


async def test_a_connection_killed_just_before_the_commit_is_told_to_the_caller(record: Record) -> None:
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        async with record.act("kim", "test.seat") as act:
            await act.connection.execute(NOTE, 1, "x")
            await record.pool.execute("select pg_terminate_backend($1, 1000)", act.connection.get_server_pid())
    assert await traces(record.pool) == NOTHING


async def test_a_failing_commit_is_told_to_the_caller_and_leaves_nothing(record: Record) -> None:
    with pytest.raises(asyncpg.UniqueViolationError, match="one_seat"):
        async with record.act("kim", "test.seat") as act:
            await everything(act, seat=7)
            await act.connection.execute(NOTE, 7, "the same seat again")
    assert await traces(record.pool) == NOTHING


async def test_what_cannot_be_written_down_undoes_everything(record: Record) -> None:
    with pytest.raises((TypeError, asyncpg.DataError)):
        async with record.act("kim", "test.seat") as act:
            await everything(act)
            act.emit(Happened("test.Odd", {"a": object()}))
    assert await traces(record.pool) == NOTHING


async def test_events_and_jobs_keep_the_order_of_the_act(record: Record) -> None:
    async with record.act("kim", "test.many") as act:
        for n in range(20):
            act.emit(Happened(f"test.N{n}", n))
            act.later(f"test.job{n}", n=n)
    events = await record.pool.fetch("select name, payload from kit.event order by xid, seq")
    assert [(e["name"], e["payload"]) for e in events] == [(f"test.N{n}", n) for n in range(20)]
    jobs = await record.pool.fetch("select task_name, args from procrastinate_jobs order by id")
    assert [j["task_name"] for j in jobs] == [f"test.job{n}" for n in range(20)]
    assert len({j["args"]["key"] for j in jobs}) == 20


@pytest.mark.parametrize("payload", [None, True, 0, -1.5, "세종 \\u0000", [], {"a": [{"b": None}]}, 2**53])
async def test_any_json_is_a_payload_and_a_result(record: Record, payload: Any) -> None:
    async with record.act("kim", "test.json", key="k") as act:
        act.emit(Happened("test.Json", payload))
        act.result = payload
    assert await record.pool.fetchval("select payload from kit.event") == payload
    async with record.act("kim", "test.json", key="k") as again:
        assert again.replayed
        assert again.result == payload


async def test_a_job_waits_until_its_time(record: Record) -> None:
    async with record.act("kim", "test.release") as act:
        act.later("test.release", at=act.now + timedelta(minutes=15), lock="seat-1")
    job = await record.pool.fetchrow("select scheduled_at, lock from procrastinate_jobs")
    assert (job["scheduled_at"], job["lock"]) == (act.now + timedelta(minutes=15), "seat-1")


# --- idempotency keys -------------------------------------------------------------------------------------------


async def seat_once(record: Record, key: str | None, *, who: str = "kim", name: str = "test.seat", **more: Any) -> Act:
    async with record.act(who, name, key=key, **more) as act:
        if not act.replayed:
            await everything(act)
    return act


async def test_the_same_key_twice_is_done_once_and_answers_the_same(record: Record) -> None:
    first = await seat_once(record, "k")
    again = await seat_once(record, "k")
    assert (first.replayed, again.replayed) == (False, True)
    assert first.result == again.result == {"seat": 1}
    assert await traces(record.pool) == ONE_OF_EACH


async def test_events_of_a_replayed_act_are_not_told_again(record: Record) -> None:
    for _ in range(2):
        async with record.act("kim", "test.seat", key="k") as act:
            act.emit(Happened("test.Seated", 1))
            act.later("test.clean")
    assert await traces(record.pool) == {"act": 1, "event": 1, "job": 1, "note": 0}


@pytest.mark.parametrize(
    "other",
    [{"key": "other"}, {"key": "k", "who": "lee"}, {"key": "k", "name": "test.other"}],
    ids=["key", "who", "name"],
)
async def test_a_key_belongs_to_one_person_and_one_act(record: Record, other: dict[str, Any]) -> None:
    await seat_once(record, "k")
    async with record.act(**{"who": "kim", "name": "test.seat"} | other) as act:
        assert not act.replayed


async def test_acts_without_a_key_never_replay(record: Record) -> None:
    for _ in range(2):
        async with record.act("kim", "test.seat") as act:
            assert not act.replayed
    assert (await traces(record.pool))["act"] == 2


async def test_a_key_for_another_request_is_refused(record: Record) -> None:
    await seat_once(record, "k", fingerprint="one")
    with pytest.raises(KeyUsedForAnother) as caught:
        await seat_once(record, "k", fingerprint="two")
    assert caught.value.status == 422
    assert "k" in caught.value.message("ko")
    with pytest.raises(KeyUsedForAnother):
        await seat_once(record, "k")
    assert (await seat_once(record, "k", fingerprint="one")).replayed
    assert await traces(record.pool) == ONE_OF_EACH


async def test_the_same_key_many_times_at_once_is_done_once(record: Record) -> None:
    done = await asyncio.gather(*(seat_once(record, "k") for _ in range(12)))
    assert [act.replayed for act in done].count(False) == 1
    assert all(act.result == {"seat": 1} for act in done)
    assert await traces(record.pool) == ONE_OF_EACH


async def test_when_the_first_fails_the_next_with_the_key_does_it(record: Record) -> None:
    failing = asyncio.Event()

    async def fail() -> None:
        async with record.act("kim", "test.seat", key="k"):
            failing.set()
            await waiting(record)
            raise ZeroDivisionError

    first = asyncio.create_task(fail())
    await failing.wait()
    second = await seat_once(record, "k")
    with pytest.raises(ZeroDivisionError):
        await first
    assert not second.replayed
    assert await traces(record.pool) == ONE_OF_EACH


async def waiting(record: Record) -> None:
    """Return once another connection waits for this one's lock."""
    while not await record.pool.fetchval("select count(*) from pg_locks where not granted"):
        await asyncio.sleep(0.005)


# --- jobs given once --------------------------------------------------------------------------------------------


async def give_once(record: Record, *texts: str) -> None:
    async with record.act("kim", "test.give") as act:
        await act.connection.execute(NOTE, None, "kept")
        for text in texts:
            act.later("test.clean", once=text)
        act.emit(Happened("test.Given", len(texts)))


async def test_a_job_that_waits_already_is_skipped_and_the_act_still_done(record: Record) -> None:
    await give_once(record, "a", "a")
    await give_once(record, "a", "b")
    assert await traces(record.pool) == {"act": 2, "event": 2, "job": 2, "note": 2}
    locks = await record.pool.fetch("select queueing_lock from procrastinate_jobs order by id")
    assert [row[0] for row in locks] == ["a", "b"]


async def test_a_job_begun_no_longer_waits(record: Record) -> None:
    await give_once(record, "a")
    await record.pool.execute("update procrastinate_jobs set status = 'doing'")
    await give_once(record, "a")
    assert (await traces(record.pool))["job"] == 2


# --- looking ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write",
    [
        "insert into scratch.note(text) values ('x')",
        "create table scratch.mine(a int)",
        "select nextval('hub.instance')",
        "select 1 from scratch.note for update",
    ],
)
async def test_a_look_cannot_write(record: Record, write: str) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with record.look("kim") as look:
            await look.connection.execute(write)
    assert await traces(record.pool) == NOTHING


async def test_a_look_sees_one_moment(record: Record, clock: ManualClock) -> None:
    async with record.look("kim") as look:
        assert (look.who, look.now) == ("kim", clock.now())
        assert await _notes(look.connection) == 0
        async with record.act("lee", "test.seat") as act:
            await everything(act)
        assert await _notes(look.connection) == 0
    async with record.look("kim") as look:
        assert await _notes(look.connection) == 1


async def _notes(connection: Connection) -> int:
    return await connection.fetchval("select count(*) from scratch.note")


def test_a_look_has_no_way_to_tell_or_defer() -> None:
    assert not {"emit", "later", "flush", "result"} & set(dir(Look))
    assert not issubclass(Look, Act)
    assert not issubclass(Act, Look)


async def test_connections_come_back_whatever_happens(record: Record) -> None:
    for n in range(20):
        try:
            async with record.act("kim", "test.seat", key=f"{n % 3}") as act:
                await act.connection.execute("select 1 / $1", n % 2)
        except asyncpg.DivisionByZeroError:
            pass
        async with record.look("kim"):
            pass
    assert record.pool.get_idle_size() == record.pool.get_size()
