"""The whole record in one file, taken while the city goes on, and a city made of such a file.

PostgreSQL's own tools do the work: `pg_dump` sees one moment of the database however long it takes, `pg_restore`
writes all or nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit, urlunsplit

import asyncpg
import msgspec

from sejong.kernel.errors import CityError
from sejong.kit.embedded_postgres_places import wheel_programs
from sejong.kit.postgres import Sql, connect


class BackupFailed(CityError):
    """The backup could not be written."""

    status = 500
    ko = "백업을 쓰지 못했습니다({file}): {why}"
    en = "The backup could not be written ({file}): {why}"


class RestoreFailed(CityError):
    """The file could not be made a city again; the database is as it was."""

    status = 500
    ko = "백업을 되살리지 못했습니다({file}): {why} 데이터베이스는 그대로입니다."
    en = "The backup could not be restored ({file}): {why} The database is as it was."


class DatabaseNotEmpty(CityError):
    """There is a city in the database already."""

    status = 409
    ko = (
        "이 데이터베이스에는 이미 도시가 있습니다. 도시를 끄고 `--aside {aside}`를 붙이면 "
        "지금 것을 그 이름으로 남겨 두고 되살립니다."
    )
    en = "There is a city in this database already. Stop it and add `--aside {aside}` to keep it under that name."


class StillInUse(CityError):
    """Somebody is connected to the database that is to be moved aside."""

    status = 409
    ko = "아직 데이터베이스에 연결된 것이 {count}개 있습니다: {who}. 도시를 끄고 다시 하세요."
    en = "{count} connections to the database are open: {who}. Stop the city and try again."


class Place(msgspec.Struct, frozen=True):
    """A connection somebody else has."""

    name: str


HOLDS_CITY = Sql("select to_regclass('kit.migration') is not null")
OTHERS = Sql(
    """
select distinct coalesce(application_name, '?') as name from pg_stat_activity
where datname = $1::text and pid <> pg_backend_pid()
""",
    Place,
)
# A restored database counts its transactions anew, so places in the stream of events that are told by transaction
# numbers would lie in the future and nothing would be delivered for a long time. The order is kept, the numbers go.
RENUMBER_EVENTS = """
create temp table placed on commit drop as
    select *, row_number() over (order by xid, seq) as place from kit.event;
update kit.event_cursor c set xid = '3', seq =
    (select coalesce(max(p.place), 0) from placed p where (p.xid, p.seq) <= (c.xid, c.seq));
update kit.event_dead d set seq = -p.place from placed p where p.seq = d.seq;
update kit.event_dead set seq = -seq where seq < 0;
delete from kit.event;
insert into kit.event(seq, xid, name, at, act, payload) overriding system value
    select place, '3', name, at, act, payload from placed;
select setval(pg_get_serial_sequence('kit.event', 'seq'), (select count(*) + 1 from placed), false);
"""


def backup(dsn: str, file: Path, *, programs: Path | None = None) -> int:
    """Write everything the database knows at this moment into `file`; the bytes written. The city may go on.

    The file appears under its name only when it is whole. Raises BackupFailed.
    """
    part = file.with_name(file.name + ".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        said = _run(programs, "pg_dump", dsn, "--format=custom", "--no-owner", "--no-acl", f"--file={part}")
        if said is not None:
            raise BackupFailed(file=file, why=said)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(file)
        return file.stat().st_size
    except OSError as error:
        raise BackupFailed(file=file, why=error.strerror or str(error)) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


async def restore(
    dsn: str, file: Path, *, aside: str | None = None, programs: Path | None = None, then: Sequence[Sql] = ()
) -> None:
    """Make the database at `dsn` the city that `file` holds; `then`: what services do in a database that begins anew.

    A database that holds a city already is refused, or renamed to `aside` first. All or nothing. Raises
    RestoreFailed, DatabaseNotEmpty, StillInUse, DatabaseAway.
    """
    if not file.is_file():
        raise RestoreFailed(file=file, why="no such file")
    if (said := _run(programs, "pg_restore", None, "--list", str(file))) is not None:
        raise RestoreFailed(file=file, why=said)
    moved = await _make_room(dsn, aside)
    try:
        flags = ("--no-owner", "--no-acl", "--exit-on-error", "--single-transaction")
        if (said := _run(programs, "pg_restore", dsn, *flags, str(file))) is not None:
            raise RestoreFailed(file=file, why=said)
        await _begin_anew(dsn, then)
    except BaseException:
        if moved:
            await _swap(dsn, moved, back=True)
        raise


async def _make_room(dsn: str, aside: str | None) -> str | None:
    """An empty database at `dsn`; the name under which the one before it is kept, if there was a city in it."""
    connection = await connect(dsn, name="sejong-restore")
    try:
        name = await connection.fetchval("select current_database()")
        if not await HOLDS_CITY.value(connection):
            return None
        if aside is None:
            raise DatabaseNotEmpty(aside=f"{name}_before")
        if others := await OTHERS.all(connection, name):
            raise StillInUse(count=len(others), who=", ".join(sorted(one.name for one in others)))
    finally:
        await connection.close()
    await _swap(dsn, aside)
    return aside


async def _swap(dsn: str, aside: str, *, back: bool = False) -> None:
    """Rename the database away and make an empty one (`back`: drop that and rename it back)."""
    name, elsewhere = _database_of(dsn), _with_database(dsn, "postgres")
    own, kept = _quoted(name), _quoted(aside)
    connection = await connect(elsewhere, name="sejong-restore")
    try:
        if back:
            await connection.execute(f"drop database if exists {own} with (force)")
            await connection.execute(f"alter database {kept} rename to {own}")
        else:
            await connection.execute(f"alter database {own} rename to {kept}")
            await connection.execute(f"create database {own} template template0")
    except asyncpg.PostgresError as error:
        raise RestoreFailed(file=name, why=str(error)) from error
    finally:
        await connection.close()


async def _begin_anew(dsn: str, then: Sequence[Sql]) -> None:
    connection = await connect(dsn, name="sejong-restore")
    try:
        async with connection.transaction():
            await connection.execute(RENUMBER_EVENTS)
            for statement in then:
                await statement.run(connection)
        await connection.execute("analyze")
    finally:
        await connection.close()


def _run(programs: Path | None, name: str, dsn: str | None, *arguments: str) -> str | None:
    """Run one of PostgreSQL's programs: None, or the first line of why it failed."""
    found = str((programs or wheel_programs()) / name)
    if not Path(found).is_file():
        found = shutil.which(name) or found
    env = {**os.environ, "LC_ALL": "C", "PGAPPNAME": "sejong-backup"}
    address: tuple[str, ...] = ()
    if dsn is not None:
        # The password goes by the environment: everybody on the machine can read a command line.
        parts = urlsplit(dsn)
        if parts.password:
            env["PGPASSWORD"] = unquote(parts.password)
            dsn = urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", "@", 1)))
        address = (f"--dbname={dsn}",)
    try:
        done = subprocess.run([found, *address, *arguments], env=env, capture_output=True, check=False)
    except OSError as error:
        return f"{found}: {error.strerror}"
    if done.returncode == 0:
        return None
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return said[0] if said else f"{name} ended with {done.returncode}"


def _database_of(dsn: str) -> str:
    return unquote(urlsplit(dsn).path.lstrip("/"))


def _with_database(dsn: str, name: str) -> str:
    parts = urlsplit(dsn)
    query = urlencode({key: values[0] for key, values in parse_qs(parts.query).items()})
    address = f"{parts.scheme}://{parts.netloc}/{quote(name)}"  # urlunsplit drops an empty host
    return f"{address}?{query}" if query else address


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
