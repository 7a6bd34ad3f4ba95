"""Every SQL statement of the house runs on the migrated schema and gives what its Struct promises."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
import psycopg
import pytest
from psycopg import pq

import sejong
from sejong.kit.postgres import Sql


def statements() -> dict[str, Sql]:
    """Every Sql object of the house by the name it has, found after all modules are imported."""
    found: dict[int, tuple[str, Sql]] = {}
    for module in pkgutil.walk_packages(sejong.__path__, "sejong."):
        if not module.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Sql):
                    found.setdefault(id(value), (f"{module.name}.{name}", value))
    return dict(sorted(found.values(), key=lambda pair: pair[0]))


STATEMENTS = statements()


# --- PREPARE ----------------------------------------------------------------------------------------------------

PYTHON: dict[str, type] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), int),
    **dict.fromkeys(("text", "varchar", "bpchar", "name"), str),
    **dict.fromkeys(("float4", "float8"), float),
    "numeric": Decimal,
    "bool": bool,
    "timestamptz": datetime,
    "date": date,
    "bytea": bytes,
    "uuid": UUID,
}
"""PostgreSQL type → what asyncpg gives for it. jsonb gives any JSON value (our codec)."""


class Column:
    """One column of a prepared statement: its name, type, and whether the table allows NULL there."""

    def __init__(self, result: pq.PGresult, index: int, schema: Schema) -> None:
        self.name = (result.fname(index) or b"").decode()
        self.type = schema.types[result.ftype(index)]
        self.may_be_null = schema.nullable.get((result.ftable(index), result.ftablecol(index)))

    def misfit(self, field: str, hint: Any, text: str) -> str | None:
        """What is wrong with a Struct field standing for this column of the statement `text`."""
        optional, kind = without_none(hint)
        if field != self.name:
            return f"column {self.name!r} stands where the Struct has {field!r}"
        if self.type != "jsonb" and not self.fits(kind):
            return f"column {field!r} is {self.type}, the Struct says {hint}"
        if self.may_be_null and not optional and not re.search(rf"\b{self.name} is not null", text):
            return f"column {field!r} may be null in its table, the Struct says {hint}"
        return None

    def fits(self, kind: Any) -> bool:
        if self.type.startswith("_"):
            return get_origin(kind) is list and PYTHON.get(self.type[1:]) is get_args(kind)[0]
        return PYTHON.get(self.type) is kind


def without_none(hint: Any) -> tuple[bool, Any]:
    """Whether a type allows None, and the type without it."""
    if hint is Any:
        return True, Any
    if get_origin(hint) in (Union, UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        return len(kinds) < len(get_args(hint)), kinds[0] if len(kinds) == 1 else hint
    return False, hint


class Schema:
    """The migrated database as the test asks about it."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        self.types: dict[int, str] = dict(connection.execute("select oid::int, typname from pg_type"))  # type: ignore[arg-type]
        self.nullable: dict[tuple[int, int], bool] = {
            (table, number): not required
            for table, number, required in connection.execute(
                "select attrelid::int, attnum, attnotnull from pg_attribute where attnum > 0"
            )
        }

    def prepare(self, text: str) -> list[Column] | str:
        """The columns of a statement, or PostgreSQL's own words about what is wrong with it."""
        wire = self.connection.pgconn
        result = wire.prepare(b"", text.encode())
        if result.status != pq.ExecStatus.COMMAND_OK:
            return result.get_error_message()
        described = wire.describe_prepared(b"")
        return [Column(described, index, self) for index in range(described.nfields)]


@pytest.fixture(scope="module")
def schema(anyio_backend: str, migrated: str) -> Iterator[Schema]:
    with psycopg.connect(migrated, autocommit=True) as connection:
        yield Schema(connection)


def misfits(schema: Schema, statement: Sql) -> list[str]:
    """Everything wrong with a statement."""
    columns = schema.prepare(statement.text)
    if isinstance(columns, str):
        return [columns]
    if statement.row is None:
        return []
    hints = get_type_hints(statement.row)
    fields = {name: hints[name] for name in statement.row.__struct_fields__}
    if len(fields) != len(columns):
        return [f"columns {[column.name for column in columns]}, Struct fields {list(fields)}"]
    found = (column.misfit(*field, statement.text) for column, field in zip(columns, fields.items(), strict=True))
    return [wrong for wrong in found if wrong]


@pytest.mark.parametrize("name", STATEMENTS)
def test_postgresql_takes_it_and_the_struct_fits(schema: Schema, name: str) -> None:
    assert not misfits(schema, STATEMENTS[name])


def test_there_are_statements_to_check() -> None:
    assert len(STATEMENTS) > 60
    assert "sejong.kit.act.BEGIN" in STATEMENTS
    assert any(name.startswith("sejong.hub.store.") for name in STATEMENTS)


FITTING = msgspec.defstruct("Fitting", [("no", int), ("iri", str)])
TURNED = msgspec.defstruct("Turned", [("iri", str), ("no", int)])
MISTYPED = msgspec.defstruct("Mistyped", [("no", str), ("iri", str)])
PLACED = msgspec.defstruct("Placed", [("lon", float)])
MAYBE_PLACED = msgspec.defstruct("MaybePlaced", [("lon", float | None)])
SCOPED = msgspec.defstruct("Scoped", [("types", list[int]), ("q", dict[str, Any])])


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (Sql("select no, iri from hub.term", FITTING), None),
        (Sql("select no, lon::text as iri from hub.entity", FITTING), None),
        (Sql("select lon from hub.entity", MAYBE_PLACED), None),
        (Sql("select lon from hub.entity where lon is not null", PLACED), None),
        (Sql("select types, q from hub.entity", SCOPED), None),
        (Sql("select no, irl from hub.term", FITTING), 'Perhaps you meant to reference the column "term.iri"'),
        (Sql("select no, iri from hub.term", TURNED), "column 'no' stands where the Struct has 'iri'"),
        (Sql("select no, iri from hub.term", MISTYPED), "is int4, the Struct says <class 'str'>"),
        (Sql("select no from hub.term", FITTING), "Struct fields ['no', 'iri']"),
        (Sql("select lon from hub.entity", PLACED), "'lon' may be null in its table"),
        (Sql("select scopes as types, q from hub.entity", SCOPED), "column 'types' is _text"),
        (Sql("insert into hub.term(iri) values ($1, $2)"), "INSERT has more expressions than target columns"),
        (Sql("selec 1"), 'syntax error at or near "selec"'),
    ],
)
def test_the_check_itself_finds_what_it_should(schema: Schema, statement: Sql, says: str | None) -> None:
    found = misfits(schema, statement)
    assert (not found) if says is None else any(says in text for text in found), found
