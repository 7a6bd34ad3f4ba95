"""Every statement of the doors fits the migrated schema and the Struct its rows become."""

from __future__ import annotations

import types
import typing
from datetime import datetime
from typing import Any

import pytest

from sejong.hub.store import ingest as store
from sejong.kit.postgres import Pool, Sql

pytestmark = pytest.mark.anyio
STATEMENTS = {name: value for name, value in vars(store).items() if isinstance(value, Sql)}
TYPES: dict[Any, set[str]] = {
    int: {"int4", "int8", "int2"},
    str: {"text"},
    float: {"float8"},
    bytes: {"bytea"},
    bool: {"bool"},
    datetime: {"timestamptz"},
    Any: {"jsonb"},
    list[str]: {"text[]"},
}


def plain(annotation: Any) -> Any:
    if isinstance(annotation, types.UnionType):
        (only,) = [part for part in typing.get_args(annotation) if part is not type(None)]
        return only
    return annotation


@pytest.mark.parametrize("name", sorted(STATEMENTS))
async def test_statement_fits_schema_and_struct(pool: Pool, name: str) -> None:
    sql = STATEMENTS[name]
    async with pool.acquire() as connection:
        columns = (await connection.prepare(sql.text)).get_attributes()
    if sql.row is None:
        assert not columns
        return
    hints = typing.get_type_hints(sql.row)
    assert [column.name for column in columns] == list(sql.row.__struct_fields__)
    for column in columns:
        assert column.type.name in TYPES[plain(hints[column.name])], column
