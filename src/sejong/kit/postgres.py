"""The city's database: a pool of connections and SQL statements that know the shape of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import asyncpg
import msgspec

from sejong.kernel.errors import CityError

Row = TypeVar("Row", bound=msgspec.Struct)
Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
Pool = asyncpg.Pool

AWAY: tuple[type[Exception], ...] = (
    asyncpg.InternalClientError,
    ConnectionError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
"""What is raised when the database cannot serve now: gone, starting, stopping, out of connections, memory or disk."""

# A DSN that cannot be read is a ValueError.
_UNREACHABLE = (*AWAY, OSError, asyncpg.PostgresError, ValueError)
_to_json = msgspec.json.encode
_from_json = msgspec.json.decode


class DatabaseAway(CityError):
    """The database does not answer."""

    status = 503
    ko = "데이터베이스에 연결할 수 없습니다: {why}"
    en = "The database cannot be reached: {why}"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "2"}


async def _prepare(connection: asyncpg.Connection) -> None:
    """jsonb arrives and leaves as Python values, in the binary format COPY needs too."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + _to_json(value),
        decoder=lambda raw: _from_json(raw[1:]),
    )


async def open_pool(dsn: str, *, size: int = 8, name: str = "sejong") -> Pool:
    """Connections to the database at `dsn`, `size` at most. Raises DatabaseAway with the reason."""
    try:
        return await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            init=_prepare,
            command_timeout=60,
            server_settings={"application_name": name, "timezone": "UTC"},
        )
    except _UNREACHABLE as error:
        raise DatabaseAway(why=str(error) or type(error).__name__) from error


async def connect(dsn: str, *, name: str = "sejong") -> asyncpg.Connection:
    """One connection outside any pool (listeners, migrations). Raises DatabaseAway."""
    try:
        connection = await asyncpg.connect(dsn, server_settings={"application_name": name, "timezone": "UTC"})
    except _UNREACHABLE as error:
        raise DatabaseAway(why=str(error) or type(error).__name__) from error
    await _prepare(connection)
    return connection


class Sql(Generic[Row]):
    """One named SQL statement and the Struct its rows become, in column order.

    Every `Sql` of every `store.py` is PREPAREd by a test on the migrated schema, and its columns
    are compared with the Struct, name by name and type by type.
    """

    def __init__(self, text: str, row: type[Row] | None = None) -> None:
        self.text = text
        self.row = row

    async def all(self, connection: Connection, *values: Any) -> list[Row]:
        """Every row."""
        row = self._shape()
        return [row(*record) for record in await connection.fetch(self.text, *values)]

    async def one(self, connection: Connection, *values: Any) -> Row | None:
        """The first row, or None."""
        record = await connection.fetchrow(self.text, *values)
        return None if record is None else self._shape()(*record)

    async def value(self, connection: Connection, *values: Any) -> Any:
        """The first column of the first row, or None."""
        return await connection.fetchval(self.text, *values)

    async def run(self, connection: Connection, *values: Any) -> int:
        """Do it; the number of rows it touched."""
        status = await connection.execute(self.text, *values)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def many(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Do it for each row of values."""
        await connection.executemany(self.text, rows)

    def _shape(self) -> type[Row]:
        if self.row is None:
            raise TypeError(f"this statement returns no rows: {self.text[:60]}")
        return self.row
