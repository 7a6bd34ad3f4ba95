"""Work put aside in an act is done by a worker: inside an act of its own, once, again when it failed."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import procrastinate
import pytest
from croniter import croniter

from sejong.app import services
from sejong.kit.act import Act, Happened
from sejong.kit.city import City
from sejong.kit.jobs import RETRIES, Job, worker_app
from sejong.kit.postgres import connect
from sejong.kit.service import resolve

pytestmark = pytest.mark.anyio

SERVICES = services()
DECLARED = {name: function for service in SERVICES for name, function in service.jobs.items()}
PERIODIC = {name: cron for service in SERVICES for name, cron in service.periodic.items()}


async def tell(city: City, act: Act, **arguments: Any) -> None:
    """A job that says what it was given, in a row of its own that a replayed act would not hold back."""
    assert city.clock is not None
    await act.connection.execute(
        "insert into kit.event(name, at, act, payload) values ('test.Worked', $1, $2, $3)", act.now, act.id, arguments
    )


async def work(city: City, jobs: Mapping[str, Job], periodic: Mapping[str, str] | None = None) -> procrastinate.App:
    """Do everything that waits, then stop."""
    app = worker_app(city, city.settings.database_url, jobs, periodic or {})
    async with app.open_async():
        await asyncio.wait_for(
            app.run_worker_async(queues=["city"], wait=False, install_signal_handlers=False, listen_notify=False), 20
        )
    return app


async def worked(city: City) -> list[Any]:
    rows = await city.pool.fetch("select payload from kit.event where name = 'test.Worked' order by seq")
    return [row[0] for row in rows]


async def give(city: City, name: str = "test.tell", **arguments: Any) -> str:
    async with city.record.act("kim", "test.give") as act:
        act.later(name, **arguments)
    return f"{act.id}:0"


async def test_a_job_given_in_an_act_is_done_in_an_act(city: City) -> None:
    key = await give(city, seat=7, why="잔디")
    await work(city, {"test.tell": tell})
    assert await worked(city) == [{"seat": 7, "why": "잔디"}]
    line = await city.pool.fetchrow("select who, key from kit.act where name = 'test.tell'")
    assert tuple(line) == ("worker", key)
    assert await city.pool.fetchval("select status::text from procrastinate_jobs") == "succeeded"


async def test_the_insert_wakes_a_waiting_worker(city: City) -> None:
    """`act.later` goes past procrastinate's own connector; its trigger must still call the workers."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = await connect(city.settings.database_url)
    await listener.add_listener("procrastinate_queue_v1#city", lambda *said: heard.put_nowait(said[-1]))
    await give(city)
    assert "job_inserted" in await asyncio.wait_for(heard.get(), 5)
    await listener.close()


async def test_a_job_that_comes_twice_is_done_once(city: City) -> None:
    """A worker that died after the commit leaves its job to the next one."""
    await give(city, seat=1)
    await work(city, {"test.tell": tell})
    await city.pool.execute(
        "insert into procrastinate_jobs(queue_name, task_name, args) "
        "select queue_name, task_name, args from procrastinate_jobs"
    )
    await work(city, {"test.tell": tell})
    assert await worked(city) == [{"seat": 1}]
    assert await city.pool.fetchval("select count(*) from procrastinate_jobs where status = 'succeeded'") == 2


async def test_a_job_before_its_time_is_left_alone(city: City) -> None:
    async with city.record.act("kim", "test.give") as act:
        act.later("test.tell", at=act.now + timedelta(hours=1))
    await work(city, {"test.tell": tell})
    assert await worked(city) == []


async def test_a_failing_job_leaves_nothing_and_comes_again(city: City) -> None:
    calls = 0

    async def fail_once(city: City, act: Act, **arguments: Any) -> None:
        nonlocal calls
        calls += 1
        act.emit(Happened("test.Worked", calls))
        await act.connection.execute("select pg_notify('x', '')")
        if calls == 1:
            raise ValueError("not yet")

    await give(city, "test.fail")
    await work(city, {"test.fail": fail_once})
    job = await city.pool.fetchrow("select status::text, attempts, scheduled_at from procrastinate_jobs")
    assert (job["status"], job["attempts"]) == ("todo", 1)
    assert timedelta(0) < job["scheduled_at"] - datetime.now(UTC) < timedelta(seconds=10)
    assert await worked(city) == []
    await city.pool.execute("update procrastinate_jobs set scheduled_at = now()")
    await work(city, {"test.fail": fail_once})
    assert await worked(city) == [2]


async def test_a_job_that_never_works_is_kept_as_failed(city: City) -> None:
    async def fail(city: City, act: Act, **arguments: Any) -> None:
        raise ValueError("never")

    await give(city, "test.fail")
    await city.pool.execute("update procrastinate_jobs set attempts = $1", RETRIES.max_attempts)
    await work(city, {"test.fail": fail})
    assert await city.pool.fetchval("select status::text from procrastinate_jobs") == "failed"


async def test_a_periodic_moment_is_worked_once_however_often_it_comes(city: City) -> None:
    app = worker_app(city, city.settings.database_url, {"test.tell": tell}, {"test.tell": "* * * * *"})
    for moment in (60, 60, 120):
        await app.tasks["test.tell"].func(timestamp=moment)
    assert await worked(city) == [{}, {}]


def test_every_periodic_job_is_declared_with_a_schedule_a_clock_can_follow() -> None:
    assert PERIODIC.keys() <= DECLARED.keys()
    for cron in PERIODIC.values():
        assert croniter.is_valid(cron), cron


@pytest.mark.parametrize("name", DECLARED)
def test_every_declared_job_is_there_and_takes_city_and_act(name: str) -> None:
    function = resolve(DECLARED[name])
    assert inspect.iscoroutinefunction(function)
    assert list(inspect.signature(function).parameters)[:2] == ["city", "act"]
    assert name.split(".")[0] in {service.name for service in SERVICES}, "a job's name begins with its service"


async def test_the_worker_knows_every_declared_and_periodic_job(city: City) -> None:
    jobs = {name: resolve(function) for name, function in DECLARED.items()}
    app = worker_app(city, city.settings.database_url, jobs, PERIODIC)
    assert jobs.keys() <= app.tasks.keys()
    scheduled = {task.task.name: task.cron for task in app.periodic_registry.periodic_tasks.values()}
    assert scheduled == PERIODIC


async def test_every_declared_job_can_be_done_on_a_living_city(city: City) -> None:
    jobs = {name: resolve(function) for name, function in DECLARED.items()}
    for name in jobs:
        await give(city, name)
    await work(city, jobs)
    done = await city.pool.fetch("select task_name, status::text from procrastinate_jobs")
    assert {row[0]: row[1] for row in done} == dict.fromkeys(jobs, "succeeded")


async def test_the_door_into_procrastinate_is_the_one_we_use(city: City) -> None:
    """`act.later` calls this function itself: a new version of procrastinate must keep it or we must follow."""
    signature = await city.pool.fetch("""
        select p.oid::regprocedure::text as takes, format_type(p.prorettype, null) as gives
        from pg_proc p where p.proname = 'procrastinate_defer_jobs_v1'""")
    assert [tuple(row) for row in signature] == [
        ("procrastinate_defer_jobs_v1(procrastinate_job_to_defer_v1[])", "bigint[]")
    ]
    members = await city.pool.fetch("""
        select attname, format_type(atttypid, atttypmod) as type from pg_attribute
        where attrelid = 'procrastinate_job_to_defer_v1'::regclass and attnum > 0 order by attnum""")
    assert [tuple(row) for row in members] == [
        ("queue_name", "character varying"),
        ("task_name", "character varying"),
        ("priority", "integer"),
        ("lock", "text"),
        ("queueing_lock", "text"),
        ("args", "jsonb"),
        ("scheduled_at", "timestamp with time zone"),
    ]
    index = await city.pool.fetchval(
        "select indexdef from pg_indexes where indexname = 'procrastinate_jobs_queueing_lock_idx_v1'"
    )
    assert index.endswith("USING btree (queueing_lock) WHERE (status = 'todo'::procrastinate_job_status)")
