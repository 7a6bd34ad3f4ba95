"""A backup taken while the city writes is one moment of it, and a city made of it goes on where that was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from sejong.app import migrate_city, open_city
from sejong.backups import bring_back, in_a_new_database
from sejong.hub.api import Hub, expand_entity
from sejong.kit.backup import BackupFailed, DatabaseNotEmpty, RestoreFailed, StillInUse, backup, restore
from sejong.kit.embedded_postgres import Cluster
from sejong.settings import Settings

pytestmark = pytest.mark.anyio

COUNTED = """
select (select count(*) from hub.entity), (select count(*) from hub.hist),
       (select count(*) from hub.hist h where not exists (select from hub.entity e where e.no = h.eno))
"""


def settings_of(dsn: str, folder: Path) -> Settings:
    return Settings(database_url=dsn, city="testville", state=folder)


async def empty_database(cluster: Cluster, name: str) -> str:
    connection = await asyncpg.connect(cluster.dsn("postgres"))
    for one in (name, f"{name}_before"):
        await connection.execute(f"drop database if exists {one} with (force)")
    await connection.close()
    return cluster.ensure_database(name)


async def write(hub: Hub, numbers: range, value: int) -> None:
    context = await hub.context()
    thing = {"type": "Lamp", "power": {"type": "Property", "value": value}}
    await hub.upsert(0, [expand_entity({"id": f"urn:l:{n}", **thing}, context, now=hub.now()) for n in numbers])


async def read(dsn: str, sql: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchrow(sql)
    finally:
        await connection.close()


async def test_backup_of_a_city_that_goes_on_writing(cluster: Cluster, tmp_path: Path) -> None:
    source, target = [await empty_database(cluster, name) for name in ("backup_source", "backup_target")]
    await migrate_city(settings_of(source, tmp_path))
    file = tmp_path / "deep" / "city.backup"
    async with open_city(settings_of(source, tmp_path)) as city:
        hub = city.part(Hub)
        await write(hub, range(300), 0)
        writing = asyncio.create_task(_keep_writing(hub))
        size = await asyncio.to_thread(backup, source, file)
        writing.cancel()
    assert size == file.stat().st_size > 10_000
    assert [one.name for one in file.parent.iterdir()] == ["city.backup"]
    await restore(target, file, then=in_a_new_database())
    entities, instances, orphans = await read(target, COUNTED)
    assert entities >= 300
    assert instances >= entities
    assert orphans == 0
    async with open_city(settings_of(target, tmp_path)) as city:
        hub = city.part(Hub)
        await write(hub, range(5), 77)
        found = await hub.retrieve(0, "urn:l:3")
        assert found["https://uri.etsi.org/ngsi-ld/default-context/power"][0]["value"] == 77
    assert (await read(target, COUNTED))[1] == instances + 5


async def _keep_writing(hub: Hub) -> None:
    for value in range(1, 1_000_000):
        await write(hub, range(value * 50, value * 50 + 60), value)


async def test_events_are_delivered_in_order_after_a_restore(cluster: Cluster, tmp_path: Path) -> None:
    source, target = [await empty_database(cluster, name) for name in ("backup_source", "backup_target")]
    await migrate_city(settings_of(source, tmp_path))
    connection = await asyncpg.connect(source)
    # As committed: number 2 later than 3, and all of them far in this cluster's future.
    await connection.execute("""
        insert into kit.event(seq, xid, name, at, act, payload) overriding system value
          select seq, xid::text::xid8, 'a', now(), gen_random_uuid(), payload::text::jsonb
          from (values (1, 900000000001, 1), (2, 900000000009, 3), (3, 900000000005, 2), (4, 900000000009, 4))
               as v(seq, xid, payload);
        insert into kit.event_cursor(handler, xid, seq) values ('half', '900000000005', 3), ('none', '0', 0);
        insert into kit.event_dead values ('half', 3, 'a', '2', 'why', now());
    """)
    await connection.close()
    backup(source, tmp_path / "b")
    await restore(target, tmp_path / "b")
    left = """
        select array(select e.payload::int from kit.event e, kit.event_cursor c where c.handler = $1
                     and (e.xid, e.seq) > (c.xid, c.seq) and e.xid < pg_snapshot_xmin(pg_current_snapshot())
                     order by e.xid, e.seq)"""
    connection = await asyncpg.connect(target)
    assert await connection.fetchval(left, "half") == [3, 4]
    assert await connection.fetchval(left, "none") == [1, 2, 3, 4]
    assert await connection.fetchval("select seq from kit.event_dead") == 2
    event = "insert into kit.event(name, at, act, payload) values ('a', now(), gen_random_uuid(), '5')"
    await connection.execute(event)
    assert await connection.fetchval("select max(seq) from kit.event") == 5
    await connection.close()


async def test_a_city_that_is_there_is_never_overwritten(cluster: Cluster, tmp_path: Path) -> None:
    source, target = [await empty_database(cluster, name) for name in ("backup_source", "backup_target")]
    await migrate_city(settings_of(source, tmp_path))
    await migrate_city(settings_of(target, tmp_path))
    backup(source, tmp_path / "b")
    with pytest.raises(DatabaseNotEmpty, match="--aside backup_target_before"):
        await bring_back(settings_of(target, tmp_path), tmp_path / "b", aside=None)
    other = await asyncpg.connect(target)
    await other.execute("create table public.mine(); select 1")
    with pytest.raises(StillInUse):
        await restore(target, tmp_path / "b", aside="backup_target_before")
    await other.close()
    # A backup cut short leaves everything as it was.
    whole = (tmp_path / "b").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RestoreFailed):
        await restore(target, tmp_path / "cut", aside="backup_target_before")
    assert (await read(target, "select to_regclass('public.mine')::text"))[0] == "mine"
    await bring_back(settings_of(target, tmp_path), tmp_path / "b", aside="backup_target_before")
    assert (await read(target, "select to_regclass('public.mine')::text"))[0] is None
    kept = cluster.dsn("backup_target_before")
    assert (await read(kept, "select to_regclass('public.mine')::text"))[0] == "mine"


async def test_what_cannot_be_read_or_written_is_said(cluster: Cluster, tmp_path: Path) -> None:
    target = await empty_database(cluster, "backup_target")
    (tmp_path / "text").write_text("no backup")
    for name in ("text", "nowhere"):
        with pytest.raises(RestoreFailed):
            await restore(target, tmp_path / name)
    with pytest.raises(BackupFailed):
        backup(target, tmp_path / "text" / "b")
    with pytest.raises(BackupFailed):
        backup(cluster.dsn("nowhere"), tmp_path / "b")
    assert [one.name for one in tmp_path.iterdir()] == ["text"]
