"""Bringing a database to the shape the code expects: plain SQL files, each run once and remembered."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable

import asyncpg
import msgspec

from sejong.kernel.errors import CityError

_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+(\.after)?\.sql$")
_LOCK = 0x5E_10_06  # one migration at a time per database; any number nobody else takes
_TABLE = """
create schema if not exists kit;
create table if not exists kit.migration(
    service text not null, name text not null, sha256 text not null,
    at timestamptz not null default now(), primary key (service, name));
"""


class Migration(msgspec.Struct, frozen=True):
    """One step of one service's schema. `after` steps run only once every old process is gone."""

    service: str
    name: str
    sql: str
    after: bool = False

    @property
    def sha256(self) -> str:
        """Fingerprint of the text, so that an edited step is noticed."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


class MigrationChanged(CityError):
    """A step that already ran was edited."""

    ko = "이미 실행된 마이그레이션 {service}/{name}의 내용이 바뀌었습니다. 새 파일을 추가하세요."
    en = "Migration {service}/{name} was changed after it ran. Add a new file instead."


class MigrationFailed(CityError):
    """A step could not be run; the database is as it was before it."""

    ko = "마이그레이션 {service}/{name}을(를) 실행하지 못했습니다: {why}"
    en = "Migration {service}/{name} could not be run: {why}"


def migrations_in(service: str, folder: Traversable) -> list[Migration]:
    """The steps lying in a service's `migrations/` folder, in order of their numbers."""
    if not folder.is_dir():
        return []
    found: list[Migration] = []
    for item in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not item.name.endswith(".sql"):
            continue
        match = _NAME.match(item.name)
        if not match:
            raise MigrationFailed(service=service, name=item.name, why="expected NNNN_name[.after].sql")
        found.append(Migration(service, item.name, item.read_text(encoding="utf-8"), bool(match.group(2))))
    return found


def kit_migrations() -> list[Migration]:
    """The kit's own tables and those of the job queue (procrastinate's schema, version pinned by the lock)."""
    queue = files("procrastinate") / "sql" / "schema.sql"
    jobs = Migration("procrastinate", "0001_schema_3_10_0.sql", queue.read_text(encoding="utf-8"))
    return [jobs, *migrations_in("kit", files("sejong.kit") / "migrations")]


async def migrate(connection: asyncpg.Connection, steps: Iterable[Migration], *, after: bool = True) -> list[Migration]:
    """Run the steps that have not run yet, each in its own transaction; return those that ran.

    Several processes may call this at once: one works, the others wait. Raises MigrationChanged, MigrationFailed.
    """
    ran: list[Migration] = []
    await connection.execute("select pg_advisory_lock($1)", _LOCK)
    try:
        await connection.execute(_TABLE)
        known = {
            (r["service"], r["name"]): r["sha256"]
            for r in await connection.fetch("select service, name, sha256 from kit.migration")
        }
        for step in steps:
            before = known.get((step.service, step.name))
            if before is not None:
                if before != step.sha256:
                    raise MigrationChanged(service=step.service, name=step.name)
            elif after or not step.after:
                await _run(connection, step)
                ran.append(step)
    finally:
        await connection.execute("select pg_advisory_unlock($1)", _LOCK)
    return ran


async def _run(connection: asyncpg.Connection, step: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(step.sql)
            await connection.execute(
                "insert into kit.migration(service, name, sha256) values ($1, $2, $3)",
                step.service,
                step.name,
                step.sha256,
            )
    except asyncpg.PostgresError as error:
        raise MigrationFailed(service=step.service, name=step.name, why=str(error)) from error
