"""`sejong backup` and `sejong restore`: the whole record in one file, and a city made of such a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from sejong.app import dsn_of, services
from sejong.kit.backup import backup, restore
from sejong.kit.embedded_postgres import Cluster
from sejong.kit.embedded_postgres_errors import DatabaseInUse
from sejong.kit.postgres import Sql
from sejong.kit.service import resolve
from sejong.settings import Settings
from sejong.up.words import chosen, language_of

DATABASE = "sejong"


def take(settings: Settings, file: Path) -> None:
    """Write a backup of the running or resting city. Raises BackupFailed, DatabaseError."""
    with _database(settings) as dsn:
        size = backup(dsn, file, programs=settings.pg_bin)
    said = (f"{file}에 백업했습니다({size / 1e6:,.1f} MB)", f"backed up into {file} ({size / 1e6:,.1f} MB)")
    print(chosen(said, language_of()))


async def bring_back(settings: Settings, file: Path, *, aside: str | None) -> None:
    """Make the database the city of a backup. Raises RestoreFailed, DatabaseNotEmpty, StillInUse, DatabaseError."""
    with _database(settings, fresh=True) as dsn:
        await restore(dsn, file, aside=aside, programs=settings.pg_bin, then=in_a_new_database())
    said = (
        f"{file}에서 되살렸습니다. `sejong up`이나 `sejong migrate`로 이어 가세요.",
        f"restored from {file}. Go on with `sejong up`, or `sejong migrate`.",
    )
    print(chosen(said, language_of()))


def in_a_new_database() -> list[Sql]:
    """What every service does in a database that was just restored."""
    return [cast("Sql", resolve(name)) for service in services() for name in service.restored]


@contextmanager
def _database(settings: Settings, *, fresh: bool = False) -> Iterator[str]:
    """Where the database is; the embedded one is started for the time if the city does not run."""
    if settings.database_url:
        yield settings.database_url
        return
    cluster = Cluster(settings.state, bin_dir=settings.pg_bin)
    try:
        cluster.start()
    except DatabaseInUse:
        yield dsn_of(settings)
        return
    try:
        yield cluster.ensure_database(DATABASE) if fresh else cluster.dsn(DATABASE)
    finally:
        cluster.stop()
