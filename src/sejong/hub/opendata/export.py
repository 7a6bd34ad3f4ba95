"""Any query, any data set and its history as CSV, GeoJSON, NDJSON or Parquet, in memory that does not grow.

Rows are read slice by slice and sent on at once; no connection is held while a slow reader takes its time. What
changes meanwhile may or may not be in the file; every entity that is there all the time is in it exactly once.
"""

from __future__ import annotations

import asyncio
import csv
import io
import sys
import tempfile
import zlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from sejong.hub import shapes
from sejong.hub.history import as_written
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.ngsi.present import feature, present
from sejong.hub.opendata.catalogue import SLICE, Catalogue
from sejong.hub.opendata.table import (
    HISTORY,
    MARKS,
    Column,
    Kind,
    Layout,
    bears,
    is_marked,
    layout,
    safe_cell,
    value_of,
)
from sejong.hub.selection import Selection
from sejong.hub.store import datasets as store
from sejong.kernel.errors import CityError, NotFound

FORMATS = {
    "csv": "text/csv; charset=utf-8",
    "geojson": "application/geo+json",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
HISTORY_ROWS = 5000
"""Rows of a history read at once. Chosen: a megabyte or so."""
THINGS = 50
"""Things whose histories are read together. Chosen: more make a page of the index walk wider, not faster."""
AT_ONCE = 2
"""Parquet files one process writes at the same time. Chosen: each takes a core and up to 256 MB."""
BLOCK = 1 << 16
SQL_TYPES: dict[Kind, str] = {"text": "VARCHAR", "number": "DOUBLE", "boolean": "BOOLEAN", "time": "TIMESTAMPTZ"}
Rows = AsyncIterator[list[list[Any]]]


class NoSuchFormat(NotFound):
    """Data is not handed out in this format."""

    ko = "'{what}' 형식은 없습니다. csv, geojson, ndjson, parquet 가운데 고르세요."
    en = "There is no format '{what}'. Choose csv, geojson, ndjson or parquet."


class ParquetFailed(CityError):
    """The Parquet file could not be written."""

    status = 500
    ko = "Parquet 파일을 만들지 못했습니다. CSV나 NDJSON으로 받아 주세요."
    en = "The Parquet file could not be written. Please take CSV or NDJSON instead."


class Span(msgspec.Struct, frozen=True):
    """A time from (inclusive) until (exclusive)."""

    since: datetime
    until: datetime


class Exporter:
    """Writes files from the record of one process's hub."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.hub = catalogue.hub
        self._parquets = asyncio.Semaphore(AT_ONCE)

    async def entities(
        self, fmt: str, selection: Selection, attrs: Sequence[str], *, shown: str = "normalized"
    ) -> AsyncIterator[bytes]:
        """What the selection means now, as a file in parts. `attrs`: short names. `shown`: how NDJSON shows entities.

        Raises NoSuchFormat, ParquetFailed before the first part.
        """
        context = await self.hub.context()
        iris = [context.expand(name) for name in attrs]
        if fmt == "ndjson":
            return self._documents(selection, context, iris, shown)
        if fmt == "geojson":
            return self._features(selection, context, iris)
        if fmt not in FORMATS:
            raise NoSuchFormat(what=fmt[:40])
        columns = await self._layout(selection, context, iris)
        rows = self._rows(selection, context, columns)
        return csv_parts(columns.heads(), rows) if fmt == "csv" else await self._parquet(columns.heads(), rows)

    async def history(self, fmt: str, selection: Selection, attrs: Sequence[str], span: Span) -> AsyncIterator[bytes]:
        """What was recorded of the things of a selection, one row for each value, as a file in parts."""
        context = await self.hub.context()
        iris = [context.expand(name) for name in attrs]
        if fmt not in FORMATS:
            raise NoSuchFormat(what=fmt[:40])
        if fmt == "geojson":
            return self._observed_features(selection, context, iris, span)
        rows = self._history_rows(selection, context, iris, span)
        if fmt == "ndjson":
            return _lines(HISTORY, rows)
        return csv_parts(HISTORY, rows) if fmt == "csv" else await self._parquet(HISTORY, rows)

    # --- entities -------------------------------------------------------------------------------------------------

    async def _documents(
        self, selection: Selection, context: Context, iris: list[str], shown: str
    ) -> AsyncIterator[bytes]:
        keep = frozenset(("id", "type", *iris)) if iris else None
        encode = msgspec.json.encode
        async for found in self.catalogue.entities(selection):
            bodies = [present(entity, context, fmt=shown, keep=keep) for _, entity in found]  # type: ignore[arg-type]  # checked by the caller
            yield b"".join(encode(body) + b"\n" for body in bodies)

    async def _features(self, selection: Selection, context: Context, iris: list[str]) -> AsyncIterator[bytes]:
        keep = frozenset(("id", "type", *iris)) if iris else None
        glue = b'{"type":"FeatureCollection","features":[\n'
        async for found in self.catalogue.entities(selection):
            bodies = [feature(entity, context, fmt="simplified", keep=keep) for _, entity in found]
            for body, (_, entity) in zip(bodies, found, strict=True):
                for mark in MARKS:  # simplified values cannot carry them
                    if bears(entity, context.expand(mark), frozenset(iris) or None):
                        body["properties"].setdefault(mark, True)
            yield glue + b",\n".join(map(msgspec.json.encode, bodies))
            glue = b",\n"
        yield (glue if glue[0:1] == b"{" else b"") + b"\n]}\n"

    async def _layout(self, selection: Selection, context: Context, iris: list[str]) -> Layout:
        hub = self.hub
        async with hub.pool.acquire(timeout=10) as connection:
            search = await self.catalogue.search(connection, selection)
            numbers = await search.kinds(connection)
            if not numbers.keys() <= hub.terms.text.keys():
                await hub.terms.refresh(connection)
            sample, _ = await search.some(connection, 0, SLICE)
        types = {hub.terms.text[no]: kinds for no, kinds in numbers.items()}
        return layout(types, [entity for _, entity in sample], context, iris)

    async def _rows(self, selection: Selection, context: Context, columns: Layout) -> Rows:
        async for found in self.catalogue.entities(selection):
            yield [columns.row(entity, context) for _, entity in found]

    # --- history --------------------------------------------------------------------------------------------------

    async def _instances(
        self, selection: Selection, iris: list[str], span: Span
    ) -> AsyncIterator[tuple[dict[int, Any], list[store.Kept]]]:
        """Recorded instances in slices, each with the things (by number) they belong to."""
        hub = self.hub
        anos: list[int] | None = None
        async with hub.pool.acquire(timeout=10) as connection:
            await hub.terms.look_up(connection, iris)
        if iris:
            anos = [no for iri in iris if (no := hub.terms.number.get(iri)) is not None]
        async for found in self.catalogue.entities(selection):
            for start in range(0, len(found), THINGS):
                things = dict(found[start : start + THINGS])
                place: tuple[int, int, datetime, int] = (0, 0, span.since, -1)
                while True:
                    asked = (list(things), anos, span.since, span.until, *place, HISTORY_ROWS)
                    async with hub.pool.acquire(timeout=10) as connection:
                        rows = await store.HISTORY_AFTER.all(connection, *asked)
                        await self._learn(connection, rows)
                    if rows:
                        yield things, rows
                    if len(rows) < HISTORY_ROWS:
                        break
                    last = rows[-1]
                    place = (last.eno, last.ano, last.t, last.no)

    async def _learn(self, connection: Any, rows: Sequence[store.Kept]) -> None:
        hub = self.hub
        if any(row.ano not in hub.terms.text or (row.ds and row.ds not in hub.terms.text) for row in rows):
            await hub.terms.refresh(connection)
        if any(row.shape is not None and row.shape not in hub.shapes.text for row in rows):
            await hub.shapes.refresh(connection)

    async def _history_rows(self, selection: Selection, context: Context, iris: list[str], span: Span) -> Rows:
        async for things, rows in self._instances(selection, iris, span):
            yield [self._history_row(things[row.eno], row, context) for row in rows]

    def _history_row(self, thing: Any, row: store.Kept, context: Context) -> list[Any]:
        instance = shapes.join(row.num, self.hub.shape(row.shape), row.val)
        value = value_of(instance)
        if value is not None and not isinstance(value, str):
            value = msgspec.json.encode(value).decode()
        return [
            thing["id"],
            "/".join(context.compact(kind) for kind in thing["type"]),
            context.compact(self.hub.terms.text[row.ano]),
            as_written(row.t) if row.observed else None,
            row.num,
            value,
            instance.get("unitCode"),
            self.hub.terms.text[row.ds] if row.ds else None,
            is_marked(instance, context.expand("simulated")),
            format_instant(row.modified),
        ]

    async def _observed_features(
        self, selection: Selection, context: Context, iris: list[str], span: Span
    ) -> AsyncIterator[bytes]:
        glue = b'{"type":"FeatureCollection","features":[\n'
        names = [column.name for column in HISTORY]
        async for things, rows in self._instances(selection, iris, span):
            places = {no: feature(thing, context, keep=frozenset())["geometry"] for no, thing in things.items()}
            bodies = [
                {
                    "type": "Feature",
                    "geometry": places[row.eno],
                    "properties": dict(zip(names, self._history_row(things[row.eno], row, context), strict=True)),
                }
                for row in rows
            ]
            yield glue + b",\n".join(map(msgspec.json.encode, bodies))
            glue = b",\n"
        yield (glue if glue[0:1] == b"{" else b"") + b"\n]}\n"

    # --- Parquet --------------------------------------------------------------------------------------------------

    async def _parquet(self, heads: Sequence[Column], rows: Rows) -> AsyncIterator[bytes]:
        """The whole file is written first: a Parquet file ends with its table of contents. Raises ParquetFailed."""
        folder = tempfile.TemporaryDirectory(prefix="sejong-export-")
        home = Path(folder.name)
        try:
            async with self._parquets:
                with (home / "rows.ndjson").open("wb") as file:
                    async for part in _lines(heads, rows):
                        await asyncio.to_thread(file.write, part)
                await _write_parquet(home, {column.name: SQL_TYPES[column.kind] for column in heads})
            (home / "rows.ndjson").unlink()
        except BaseException:
            folder.cleanup()
            raise
        return _file_parts(folder, home / "out.parquet")


async def _write_parquet(home: Path, columns: dict[str, str]) -> None:
    command = ["-m", "sejong.hub.opendata.parquet", str(home / "rows.ndjson"), str(home / "out.parquet")]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, msgspec.json.encode(columns).decode(), stderr=asyncio.subprocess.PIPE
    )
    try:
        _, said = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise ParquetFailed(why=said.decode(errors="replace")[-500:])


async def _file_parts(folder: tempfile.TemporaryDirectory[str], path: Path) -> AsyncIterator[bytes]:
    try:
        with path.open("rb") as file:
            while part := await asyncio.to_thread(file.read, BLOCK):
                yield part
    finally:
        folder.cleanup()


async def csv_parts(heads: Sequence[Column], rows: Rows) -> AsyncIterator[bytes]:
    """Rows as CSV with the mark that makes Korean readable in spreadsheets. Source: RFC 4180."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([column.name for column in heads])
    first = "\ufeff"
    async for some in rows:
        writer.writerows([[safe_cell(cell) for cell in row] for row in some])
        yield (first + out.getvalue()).encode("utf-8", "surrogatepass")
        first = ""
        out.seek(0)
        out.truncate()
    if first:
        yield (first + out.getvalue()).encode()


async def _lines(heads: Sequence[Column], rows: Rows) -> AsyncIterator[bytes]:
    names = [column.name for column in heads]
    encode = msgspec.json.encode
    async for some in rows:
        yield b"".join(encode(dict(zip(names, row, strict=True))) + b"\n" for row in some)


async def gzipped(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes, compressed on their way. Source: RFC 1952."""
    press = zlib.compressobj(5, wbits=31)
    async for part in parts:
        if done := press.compress(part):
            yield done
    yield press.flush()


def whole_past(now: datetime) -> Span:
    """Everything until now."""
    return Span(datetime(1, 1, 1, tzinfo=UTC), now)
