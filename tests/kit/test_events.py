"""Every event reaches every handler that asked for it: in order, once, whatever fails and whoever delivers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from sejong.kernel.clock import ManualClock
from sejong.kit import events
from sejong.kit.act import Act, Happened, Record
from sejong.kit.events import DEAD, PATIENCE, Handler, Waiting, deliver
from sejong.kit.postgres import DatabaseAway, Pool

pytestmark = pytest.mark.anyio


@pytest.fixture
async def record(pool: Pool, clock: ManualClock) -> AsyncIterator[Record]:
    """A record with a table in which handlers note what they heard."""
    await pool.execute("""
        create schema if not exists scratch;
        create table if not exists scratch.heard(no serial, handler text, payload jsonb)""")
    yield Record(pool, clock)
    await pool.execute("drop schema scratch cascade")


def hearing(name: str, *kinds: str) -> dict[str, tuple[tuple[str, ...], Handler]]:
    """A handler that notes in its act what it heard."""

    async def hear(act: Act, payload: Any) -> None:
        await act.connection.execute("insert into scratch.heard(handler, payload) values ($1, $2)", name, payload)

    return {name: (kinds or ("test.Said",), hear)}


async def say(record: Record, *payloads: Any, name: str = "test.Said") -> None:
    async with record.act("kim", "test.say") as act:
        for payload in payloads:
            act.emit(Happened(name, payload))


async def heard(record: Record, name: str) -> list[Any]:
    rows = await record.pool.fetch("select payload from scratch.heard where handler = $1 order by no", name)
    return [row[0] for row in rows]


async def test_events_arrive_in_order_and_once(record: Record) -> None:
    await say(record, 1, 2, 3)
    await say(record, 4)
    assert await deliver(record, hearing("ear")) == 4
    assert await deliver(record, hearing("ear")) == 0
    await say(record, 5)
    assert await deliver(record, hearing("ear")) == 1
    assert await heard(record, "ear") == [1, 2, 3, 4, 5]


async def test_only_the_events_asked_for_arrive(record: Record) -> None:
    await say(record, 1, name="test.Other")
    await say(record, 2)
    await say(record, 3, name="test.Third")
    handlers = hearing("one") | hearing("two", "test.Other", "test.Third") | hearing("none", "test.Nothing")
    await deliver(record, handlers)
    assert (await heard(record, "one"), await heard(record, "two"), await heard(record, "none")) == ([2], [1, 3], [])


async def test_an_undone_act_tells_nothing(record: Record) -> None:
    with pytest.raises(ZeroDivisionError):
        async with record.act("kim", "test.say") as act:
            act.emit(Happened("test.Said", 1))
            raise ZeroDivisionError
    assert await deliver(record, hearing("ear")) == 0


async def test_looking_in_vain_leaves_no_audit_line(record: Record) -> None:
    for _ in range(3):
        assert await deliver(record, hearing("ear")) == 0
    assert await record.pool.fetchval("select count(*) from kit.act") == 0


async def test_an_event_that_commits_late_is_never_skipped(record: Record) -> None:
    """The earlier transaction commits last: a reader that only remembers numbers would pass it by."""
    async with record.act("slow", "test.say") as early:
        early.emit(Happened("test.Said", "early, committed late"))
        await early.flush()
        early._events.clear()
        await say(record, "late, committed early")
        await deliver(record, hearing("ear"))
        assert await heard(record, "ear") == [], "nothing may pass a transaction that is still open"
    await deliver(record, hearing("ear"))
    assert await heard(record, "ear") == ["early, committed late", "late, committed early"]


async def test_two_open_transactions_in_every_order_of_commit(record: Record) -> None:
    """A writer opened between two others, its event written last, is heard at the place of its transaction."""
    expected: list[str] = []
    for round_ in range(4):
        first, second = record.act("a", "test.say"), record.act("b", "test.say")
        one, two = await first.__aenter__(), await second.__aenter__()
        for act, text in (
            ((two, f"{round_}-two"), (one, f"{round_}-one"))
            if round_ % 2
            else (
                (one, f"{round_}-one"),
                (two, f"{round_}-two"),
            )
        ):
            act.emit(Happened("test.Said", text))
            await act.flush()
            act._events.clear()
        for done in (first, second) if round_ < 2 else (second, first):
            await done.__aexit__(None, None, None)
            await deliver(record, hearing("ear"))
        expected += [f"{round_}-one", f"{round_}-two"]
    assert await heard(record, "ear") == expected


async def test_several_deliverers_at_once_hand_over_once_and_in_order(record: Record) -> None:
    for n in range(0, 40, 4):
        await say(record, *range(n, n + 4))
    handlers = hearing("left") | hearing("right")
    await asyncio.gather(*(deliver(record, handlers) for _ in range(4)))
    await deliver(record, handlers)
    assert await heard(record, "left") == await heard(record, "right") == list(range(40))


async def test_what_a_handler_tells_is_delivered_too(record: Record) -> None:
    async def pass_on(act: Act, payload: Any) -> None:
        act.emit(Happened("test.Passed", payload + 1))

    await say(record, 1)
    await deliver(record, {"a": (("test.Said",), pass_on)} | hearing("b", "test.Passed"))
    assert await heard(record, "b") == [2]


class Failing:
    """A handler that writes, then fails as often as told."""

    def __init__(self, times: int, error: type[Exception] = ValueError, only: Any = None) -> None:
        self.times, self.error, self.only = times, error, only
        self.calls = 0

    async def __call__(self, act: Act, payload: Any) -> None:
        await act.connection.execute("insert into scratch.heard(handler, payload) values ('f', $1)", payload)
        act.emit(Happened("test.FromFailing", payload))
        if self.only is None or payload == self.only:
            self.calls += 1
            if self.calls <= self.times:
                raise self.error("말이 안 됩니다")

    @property
    def handlers(self) -> Mapping[str, tuple[tuple[str, ...], Handler]]:
        return {"f": (("test.Said",), self)}


async def test_a_failing_handler_is_tried_again_with_growing_pauses(record: Record, clock: ManualClock) -> None:
    failing = Failing(times=3)
    await say(record, 1, 2)
    called: list[int] = []
    for _ in range(10):
        await deliver(record, failing.handlers)
        called.append(failing.calls)
        clock.advance(1)
    #  second:       0  1  2  3  4  5  6  7 : tried at 0, then 1, 2 and 4 s later
    assert called == [1, 2, 2, 3, 3, 3, 3, 5, 5, 5]
    assert await heard(record, "f") == [1, 2], "a failed try leaves nothing, and the next event waits for its turn"
    assert await record.pool.fetchval("select count(*) from kit.event where name = 'test.FromFailing'") == 2
    assert await DEAD.all(record.pool, 10) == []  # type: ignore[arg-type]


async def test_what_never_works_is_set_aside_and_the_stream_goes_on(record: Record, clock: ManualClock) -> None:
    failing = Failing(times=10**6, only="bad")
    await say(record, "good", "bad", "next")
    for _ in range(40):
        await deliver(record, failing.handlers)
        clock.advance(1)
    assert failing.calls == PATIENCE
    assert await heard(record, "f") == ["good", "next"]
    async with record.look("operator") as look:
        (dead,) = await DEAD.all(look.connection, 10)
    assert (dead.handler, dead.name, dead.payload) == ("f", "test.Said", "bad")
    assert "말이 안 됩니다" in dead.reason


async def test_failures_of_one_event_do_not_count_against_the_next(record: Record, clock: ManualClock) -> None:
    failing = Failing(times=PATIENCE - 1)
    await say(record, "first")
    for _ in range(20):
        await deliver(record, failing.handlers)
        clock.advance(1)
    failing.calls = 0
    await say(record, "second")
    for _ in range(20):
        await deliver(record, failing.handlers)
        clock.advance(1)
    assert await heard(record, "f") == ["first", "second"]


@pytest.mark.parametrize("error", [FileNotFoundError, ConnectionRefusedError, TimeoutError, RuntimeError])
async def test_whatever_a_handler_raises_others_hear_the_event(record: Record, error: type[Exception]) -> None:
    """A file or a host that is not there is the handler's trouble, not the city's."""
    failing = Failing(times=1, error=error)
    await say(record, 1)
    await deliver(record, {**failing.handlers, **hearing("ear")})
    assert await heard(record, "ear") == [1]
    assert await record.pool.fetchval("select failures from kit.event_cursor where handler = 'f'") == 1


async def test_a_handler_whose_connection_dies_hears_the_event_again(record: Record, clock: ManualClock) -> None:
    calls = 0

    async def killed_once(act: Act, payload: Any) -> None:
        nonlocal calls
        calls += 1
        await act.connection.execute("insert into scratch.heard(handler, payload) values ('k', $1)", payload)
        if calls == 1:
            await record.pool.execute("select pg_terminate_backend($1, 1000)", act.connection.get_server_pid())

    await say(record, 1, 2)
    for _ in range(3):
        await deliver(record, {"k": (("test.Said",), killed_once)})
        clock.advance(1)
    assert await heard(record, "k") == [1, 2]
    assert calls == 3


async def test_a_cancelled_deliverer_loses_nothing(record: Record) -> None:
    inside = asyncio.Event()

    async def slow(act: Act, payload: Any) -> None:
        await act.connection.execute("insert into scratch.heard(handler, payload) values ('ear', $1)", payload)
        inside.set()
        await asyncio.sleep(60)

    await say(record, 1)
    task = asyncio.create_task(deliver(record, {"ear": (("test.Said",), slow)}))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await deliver(record, hearing("ear"))
    assert await heard(record, "ear") == [1]


async def test_a_failure_noted_too_late_moves_nothing_back(record: Record) -> None:
    """Two processes tried the same event; the one that failed is slower to say so than the other to succeed."""
    await say(record, "old", "new")
    row = await record.pool.fetchrow("select seq, xid::text, name, payload from kit.event order by seq limit 1")
    old = Waiting(*row)
    await deliver(record, hearing("ear"))
    for _ in range(PATIENCE):
        await events._note_failure(record, "ear", old, ValueError("too late"))
    assert await record.pool.fetchval("select count(*) from kit.event_dead") == 0
    assert await deliver(record, hearing("ear")) == 0
    assert await heard(record, "ear") == ["old", "new"]


async def test_when_the_database_is_away_delivery_says_so(pool: Pool, clock: ManualClock) -> None:
    await pool.close()
    with pytest.raises(DatabaseAway):
        await deliver(Record(pool, clock), hearing("ear"))
