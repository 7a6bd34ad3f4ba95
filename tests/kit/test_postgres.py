"""Rows come and go as the Structs say; a database that is not there is one clear sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from sejong.kernel.clock import ManualClock
from sejong.kit.act import Record
from sejong.kit.postgres import DatabaseAway, Pool, Sql, connect, open_pool

pytestmark = pytest.mark.anyio

NOWHERE = "postgresql://sejong@/nowhere?host=/nonexistent&port=5432"


@pytest.mark.parametrize(
    "dsn",
    [
        NOWHERE,
        "postgresql://sejong@127.0.0.1:1/sejong",
        "postgresql://sejong@127.0.0.1:notaport/sejong",
        "mysql://sejong@127.0.0.1/sejong",
        "nonsense",
    ],
)
async def test_an_address_that_leads_nowhere_is_told_with_the_reason(dsn: str) -> None:
    for opening in (open_pool(dsn), connect(dsn)):
        with pytest.raises(DatabaseAway) as caught:
            await opening
        assert caught.value.status == 503
        assert caught.value.values["why"].strip()


async def test_a_database_that_does_not_exist_is_named(migrated: str) -> None:
    with pytest.raises(DatabaseAway, match="no_such_city"):
        await open_pool(migrated.replace("test_", "no_such_city_"))


async def test_acts_and_looks_on_a_closed_pool_say_the_database_is_away(pool: Pool, clock: ManualClock) -> None:
    await pool.close()
    record = Record(pool, clock)
    for opening in (record.act("kim", "test.x"), record.look("kim")):
        with pytest.raises(DatabaseAway):
            async with opening:
                pass


async def test_connections_speak_utc_and_say_who_they_are(migrated: str) -> None:
    connection = await connect(migrated, name="sejong test")
    assert await connection.fetchval("show timezone") == "UTC"
    assert await connection.fetchval("show application_name") == "sejong test"
    await connection.close()


async def test_the_database_knows_hangul(pool: Pool) -> None:
    """Under locale C trigrams find no Korean, and upper case stops at ASCII."""
    assert await pool.fetchval("select similarity('나성동주차장', '나성동 주차장')") > 0.4
    assert await pool.fetchval("select '세' ~ '[[:alpha:]]'")
    assert await pool.fetchval("select array_agg(w order by w) from unnest(array['하','가','나']) w") == [
        "가",
        "나",
        "하",
    ]


VALUES: list[Any] = [
    None,
    True,
    0,
    -(2**53),
    1.5,
    1e-9,
    "",
    '세종 🚲 " \\ \n \u2028',
    [],
    {},
    [None, [1, {"a": [2.5]}]],
    {"": {"한글": None}, "z": 1, "a": [True, False]},
    "x" * 100_000,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value)[:20] or "empty")
async def test_json_comes_back_as_it_went(pool: Pool, value: Any) -> None:
    assert await pool.fetchval("select $1::jsonb", value) == value
    found = await pool.fetchval("select jsonb_build_object('v', $1::jsonb)", value)
    assert found == {"v": value}


async def test_json_goes_through_binary_copy_too(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("create temporary table copied(no int, value jsonb) on commit drop")
        await connection.copy_records_to_table("copied", records=list(enumerate(VALUES)))
        rows = await connection.fetch("select value from copied order by no")
        assert [row[0] for row in rows] == VALUES
        kinds = await connection.fetchval("select array_agg(jsonb_typeof(value)) from copied where no in (1, 7)")
        assert kinds == ["boolean", "string"]


# --- statements -------------------------------------------------------------------------------------------------


class Bike(msgspec.Struct, frozen=True):
    no: int
    name: str
    free: float | None


ALL = Sql("select no, name, free from bike order by no", Bike)
ONE = Sql("select no, name, free from bike where no = $1", Bike)
ADD = Sql("insert into bike values ($1, $2, $3)")


@pytest.fixture
async def bikes(migrated: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(migrated)
    await connection.execute("create temporary table bike(no int, name text, free float8)")
    await ADD.many(connection, [(1, "가", 0.5), (2, "나", None), (3, "다", 1.0)])
    yield connection
    await connection.close()


async def test_rows_become_structs(bikes: asyncpg.Connection) -> None:
    assert await ALL.all(bikes) == [Bike(1, "가", 0.5), Bike(2, "나", None), Bike(3, "다", 1.0)]
    assert await ONE.one(bikes, 2) == Bike(2, "나", None)
    assert await ONE.one(bikes, 9) is None


async def test_one_value_or_none(bikes: asyncpg.Connection) -> None:
    count = Sql("select count(*) from bike where no > $1")
    assert await count.value(bikes, 1) == 2
    assert await Sql("select no from bike where no = 9").value(bikes) is None


@pytest.mark.parametrize(
    ("text", "touched"),
    [
        ("insert into bike select n, 'x', 0 from generate_series(1, 7) n", 7),
        ("update bike set free = 0 where no < 3", 2),
        ("delete from bike", 3),
        ("delete from bike where no = 9", 0),
        ("select no from bike", 3),
        ("create temporary table another(a int)", 0),
    ],
)
async def test_how_many_rows_were_touched(bikes: asyncpg.Connection, text: str, touched: int) -> None:
    async with bikes.transaction():
        assert await Sql(text).run(bikes) == touched


async def test_asking_a_statement_without_a_shape_for_rows_is_a_programmers_fault(bikes: asyncpg.Connection) -> None:
    with pytest.raises(TypeError, match="returns no rows: insert into bike"):
        await ADD.all(bikes, 1, "x", None)


async def test_the_pool_never_opens_more_than_its_size(migrated: str, clock: ManualClock) -> None:
    pool = await open_pool(migrated, size=2, name="sejong small")
    record = Record(pool, clock)

    async def busy() -> int:
        async with record.look("kim") as look:
            assert look.now - clock.now() == timedelta(0)
            return await look.connection.fetchval(
                "select count(*) from pg_stat_activity, pg_sleep(0.01) where application_name = 'sejong small'"
            )

    assert max(await asyncio.gather(*(busy() for _ in range(12)))) == 2
    await pool.close()
