"""A database reaches the shape the code expects: each step once, unchanged, one process at a time, or not at all."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from sejong.app import services
from sejong.kit.city import migrations_of
from sejong.kit.embedded_postgres import Cluster
from sejong.kit.migrate import (
    Migration,
    MigrationChanged,
    MigrationFailed,
    kit_migrations,
    migrate,
    migrations_in,
)

pytestmark = pytest.mark.anyio
numbers = count(1)

ONE = Migration("bikes", "0001_bikes.sql", "create schema bikes; create table bikes.one(a int)")
TWO = Migration("bikes", "0002_two.sql", "create table bikes.two(a int); insert into bikes.two values (2)")
LAST = Migration("bikes", "0003_drop.after.sql", "drop table bikes.one", after=True)
STEPS = migrations_of(services())


@pytest.fixture
async def blank(cluster: Cluster) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database nobody has touched, gone afterwards."""
    name = f"blank_{next(numbers)}"
    connection = await asyncpg.connect(cluster.ensure_database(name))
    yield connection
    await connection.close()
    other = await asyncpg.connect(cluster.dsn("postgres"))
    await other.execute(f"drop database {name} with (force)")
    await other.close()


@pytest.fixture
async def another(blank: asyncpg.Connection, cluster: Cluster) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Opens more connections to the same database."""
    database = await blank.fetchval("select current_database()")
    opened: list[asyncpg.Connection] = []

    async def more() -> asyncpg.Connection:
        opened.append(await asyncpg.connect(cluster.dsn(database)))
        return opened[-1]

    yield more
    for connection in opened:
        await connection.close()


More = Callable[[], Awaitable[asyncpg.Connection]]


async def tables(connection: asyncpg.Connection, schema: str = "bikes") -> set[str]:
    rows = await connection.fetch("select tablename from pg_tables where schemaname = $1", schema)
    return {row[0] for row in rows}


async def test_each_step_runs_once_and_in_order(blank: asyncpg.Connection) -> None:
    assert await migrate(blank, [ONE]) == [ONE]
    assert await migrate(blank, [ONE, TWO]) == [TWO]
    assert await migrate(blank, [ONE, TWO]) == []
    assert await blank.fetchval("select count(*) from bikes.two") == 1
    remembered = await blank.fetch("select service, name, sha256 from kit.migration order by name")
    assert [tuple(row) for row in remembered] == [(m.service, m.name, m.sha256) for m in (ONE, TWO)]


async def test_a_step_edited_after_it_ran_is_refused(blank: asyncpg.Connection) -> None:
    await migrate(blank, [ONE, TWO])
    edited = Migration(TWO.service, TWO.name, TWO.sql + " -- better", TWO.after)
    with pytest.raises(MigrationChanged) as caught:
        await migrate(blank, [ONE, edited, LAST])
    assert "bikes/0002_two.sql" in caught.value.message("ko")
    assert await tables(blank) == {"one", "two"}, "nothing after the edited step may run"


async def test_the_same_name_in_two_services_is_two_steps(blank: asyncpg.Connection) -> None:
    other = Migration("buses", ONE.name, "create schema buses; create table buses.one(a int)")
    assert await migrate(blank, [ONE, other]) == [ONE, other]
    assert (await tables(blank), await tables(blank, "buses")) == ({"one"}, {"one"})


async def test_a_failing_step_leaves_nothing_of_itself(blank: asyncpg.Connection) -> None:
    broken = Migration(
        "bikes", "0002_broken.sql", "create table bikes.half(a int); select 1 / 0; create table bikes.b()"
    )
    with pytest.raises(MigrationFailed) as caught:
        await migrate(blank, [ONE, broken, LAST])
    assert "bikes/0002_broken.sql" in str(caught.value)
    assert "division by zero" in str(caught.value)
    assert await tables(blank) == {"one"}
    assert await blank.fetchval("select count(*) from kit.migration") == 1
    mended = Migration("bikes", "0002_broken.sql", "create table bikes.half(a int)")
    assert await migrate(blank, [ONE, mended]) == [mended]


async def test_a_step_that_cannot_be_remembered_is_undone(blank: asyncpg.Connection) -> None:
    await migrate(blank, [ONE])
    forgetful = Migration("bikes", "0002_forget.sql", "create table bikes.more(a int); drop table kit.migration")
    with pytest.raises(MigrationFailed, match=r"kit\.migration"):
        await migrate(blank, [ONE, forgetful])
    assert await tables(blank) == {"one"}
    assert await migrate(blank, [ONE, TWO]) == [TWO]


async def test_after_a_failure_the_next_process_need_not_wait(blank: asyncpg.Connection, another: More) -> None:
    with pytest.raises(MigrationFailed):
        await migrate(blank, [Migration("bikes", "0001_no.sql", "this is no sql")])
    second = await another()
    assert await asyncio.wait_for(migrate(second, [ONE]), 5) == [ONE]


async def test_two_at_a_time_one_works_the_other_waits(blank: asyncpg.Connection, another: More) -> None:
    slow = Migration(
        "bikes", "0001_slow.sql", "create schema bikes; select pg_sleep(0.2); create table bikes.slow(a int)"
    )
    others = [await another() for _ in range(3)]
    ran = await asyncio.gather(*(migrate(connection, [slow, TWO]) for connection in (blank, *others)))
    assert sorted(map(len, ran)) == [0, 0, 0, 2]
    assert await tables(blank) == {"slow", "two"}


async def test_a_process_that_dies_inside_a_step_leaves_nothing(blank: asyncpg.Connection, another: More) -> None:
    slow = Migration(
        "bikes", "0001_slow.sql", "create schema bikes; create table bikes.slow(a int); select pg_sleep(60)"
    )
    dying = await another()
    pid = dying.get_server_pid()
    task = asyncio.create_task(migrate(dying, [slow]))
    while not await blank.fetchval(
        "select count(*) from pg_stat_activity where query like '%pg_sleep%' and pid = $1", pid
    ):
        await asyncio.sleep(0.01)
    await blank.execute("select pg_terminate_backend($1, 5000)", pid)
    with pytest.raises((MigrationFailed, asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        await task
    assert await asyncio.wait_for(migrate(blank, [ONE]), 5) == [ONE]
    assert await tables(blank) == {"one"}


async def test_steps_for_after_a_deploy_wait_until_they_are_asked_for(blank: asyncpg.Connection) -> None:
    assert await migrate(blank, [ONE, TWO, LAST], after=False) == [ONE, TWO]
    assert await tables(blank) == {"one", "two"}
    assert await migrate(blank, [ONE, TWO, LAST]) == [LAST]
    assert await tables(blank) == {"two"}


async def test_a_whole_city_is_made_from_nothing_and_then_left_alone(blank: asyncpg.Connection) -> None:
    ran = await migrate(blank, STEPS)
    assert ran == STEPS
    assert await migrate(blank, STEPS) == []
    assert {step.service for step in ran} >= {"procrastinate", "kit", "hub", "citypack"}
    assert {"entity", "hist", "term"} <= await tables(blank, "hub")


# --- files ------------------------------------------------------------------------------------------------------


def test_files_are_taken_in_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("0010_z.sql", "0002_b.after.sql", "0001_a.sql"):
        (tmp_path / name).write_text(f"-- 한글 {name}", encoding="utf-8")
    (tmp_path / "README.md").write_text("not a step")
    found = migrations_in("bikes", tmp_path)
    assert [(m.name, m.after) for m in found] == [
        ("0001_a.sql", False),
        ("0002_b.after.sql", True),
        ("0010_z.sql", False),
    ]
    assert found[0].sql == "-- 한글 0001_a.sql"
    assert {m.service for m in found} == {"bikes"}


@pytest.mark.parametrize("name", ["1_a.sql", "0001-a.sql", "0001_A.sql", "0001_.sql", "0001.sql", "0001_a.before.sql"])
def test_a_name_that_says_no_order_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("select 1")
    with pytest.raises(MigrationFailed, match="NNNN_name"):
        migrations_in("bikes", tmp_path)


def test_a_service_without_migrations_has_none(tmp_path: Path) -> None:
    assert migrations_in("bikes", tmp_path / "migrations") == []


def test_the_fingerprint_is_of_the_text_alone() -> None:
    assert Migration("a", "0001_a.sql", "select 1").sha256 == Migration("b", "0002_b.sql", "select 1", True).sha256
    assert Migration("a", "0001_a.sql", "select 1").sha256 != Migration("a", "0001_a.sql", "select 1 ").sha256


def test_the_queue_comes_first_then_the_kit_then_services_after_those_they_need() -> None:
    order = list(dict.fromkeys(step.service for step in STEPS))
    assert order[:2] == ["procrastinate", "kit"]
    assert order.index("hub") < order.index("citypack")
    assert STEPS[: len(kit_migrations())] == kit_migrations()


def test_no_two_steps_of_a_service_have_one_number() -> None:
    found = [(step.service, step.name[:4]) for step in STEPS]
    assert len(found) == len(set(found))


def test_each_service_makes_tables_in_its_own_schema_only() -> None:
    """Rule two: services never meet through each other's tables."""
    made = re.compile(
        r"create\s+(?:unique\s+)?(?:table|sequence|function|view|type)\s+(?:if not exists\s+)?([\w.]+)", re.I
    )
    for step in STEPS:
        if step.service != "procrastinate":
            schemas = {name.partition(".")[0] for name in made.findall(step.sql)}
            # `bi` holds nothing but the hub's views for outside readers.
            assert not re.search(r"create\s+(?!or|view)\w+\s+(if not exists\s+)?bi\.", step.sql, re.I)
            assert schemas - {"bi"} <= {step.service}, f"{step.service}/{step.name}"
