"""The file door: CSV, GeoJSON and NDJSON files (also gzipped), read in steps, continued after any interruption.

How far a file was read is remembered by its content, so a second `sejong ingest` of it goes on where a killed one
stopped; what was committed but not yet noted is recognised as known.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import hashlib
import io
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from sejong.hub.ingest import refusals as no
from sejong.hub.ingest.formats import scalar
from sejong.hub.ingest.reading import Doc, Refused, Understood
from sejong.hub.ingest.reception import FILE, MODEL
from sejong.hub.ingest.refusals import Refusal
from sejong.hub.ingest.service import Ingest
from sejong.hub.ingest.source import Source
from sejong.hub.store import ingest as store
from sejong.kernel.errors import CityError

STEP = 1000
"""Records committed and noted together. Chosen: a killed reading repeats at most so many."""
LARGEST_GEOJSON = 512 << 20
Format = Literal["csv", "ndjson", "geojson"]
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".ldjson": "ndjson",
    ".geojson": "geojson",
}
_UNIT = re.compile(r"(.+)\[([A-Za-z0-9]+)\]").fullmatch


class CannotReadFile(CityError):
    """The file is not there, or not of a kind this door reads."""

    status = 400
    ko = "{path} 파일을 읽을 수 없습니다: {why_ko}"
    en = "The file {path} cannot be read: {why_en}"


class Progress(msgspec.Struct, frozen=True):
    """How far a file has been read: bytes on disk, records and what became of their readings.

    `accepted` holds the late ones; `before` are records that an earlier run had done.
    """

    bytes_done: int
    bytes_total: int
    records: int
    before: int
    accepted: int
    late: int
    duplicates: int
    refused: int
    finished: bool


class Record(msgspec.Struct, frozen=True):
    """One record of a file: an object of the default payload, or why there is none; `raw` as it stands there."""

    raw: bytes
    thing: Doc | None = None
    fault: Refusal | None = None


async def ingest_file(
    ingest: Ingest,
    path: Path,
    *,
    model: str | None = None,
    kind: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    anew: bool = False,
) -> Progress:
    """Take the readings of a file into the record; returns once all of them are committed.

    By suffix: `.csv` (header `id,type,at,…`), `.geojson`, `.ndjson`/`.jsonl`, each also with `.gz`. `model`: read each
    line by this device model instead. `kind`: type of things where the file says none. `anew` forgets how far an
    earlier run came. Raises CannotReadFile.
    """
    form = _form(path, model)
    digest, total = await asyncio.to_thread(_fingerprint, path)
    how = f"{form}|{model or ''}|{kind or ''}"
    pool = ingest.hub.pool
    async with pool.acquire(timeout=10) as connection:
        if anew:
            await store.FORGET_FILE.run(connection, digest, how)
        row = await store.BEGIN_FILE.one(connection, digest, how, str(path), ingest.hub.clock.now())
    assert row is not None
    state = _State(row, total)
    if row.finished is not None:
        return state.told(total, finished=True)
    with _opened(path) as (stream, position):
        records = _records(form, stream, kind, by_model=model is not None)
        for _ in range(row.done):
            next(records, None)
        while True:
            step = await asyncio.to_thread(_some, records, STEP)
            sources = await _commit(ingest, path, step, row.started, model) if step else []
            finished = ingest.hub.clock.now() if len(step) < STEP else None
            counts = state.add(len(step), sources)
            async with pool.acquire(timeout=10) as connection:
                await store.FILE_DONE.run(connection, digest, how, state.done, *counts, finished)
            told = state.told(total if finished else position(), finished=finished is not None)
            if progress is not None:
                progress(told)
            if finished is not None:
                return told


class _State:
    """What became of a file so far."""

    def __init__(self, row: store.FileRow, total: int) -> None:
        self.before = self.done = row.done
        self._total = total
        self._readings, self._duplicates, self._late, self._refused = (
            row.readings,
            row.duplicates,
            row.late,
            row.refused,
        )

    def add(self, records: int, sources: list[Source]) -> tuple[int, int, int, int]:
        """Count a step; the step's own readings, duplicates, late and refused."""
        late = sum(s.late for s in sources)
        kept = sum(s.accepted for s in sources) + late
        known = sum(s.duplicates for s in sources)
        refused = sum(len(s.refused) for s in sources)
        self.done += records
        self._readings += kept
        self._duplicates += known
        self._late += late
        self._refused += refused
        return kept, known, late, refused

    def told(self, position: int, *, finished: bool) -> Progress:
        return Progress(
            position,
            self._total,
            self.done,
            self.before,
            self._readings,
            self._late,
            self._duplicates,
            self._refused,
            finished,
        )


def _some(records: Iterator[Record], count: int) -> list[Record]:
    return [record for _, record in zip(range(count), records, strict=False)]


async def _commit(ingest: Ingest, path: Path, step: list[Record], started: datetime, model: str | None) -> list[Source]:
    """Bring a step through the collector; returns once it is committed."""
    await ingest.collector.room()
    done = asyncio.get_running_loop().create_future()
    open_ = len(step)

    def settled(_: Source) -> None:
        nonlocal open_
        open_ -= 1
        if not open_ and not done.done():
            done.set_result(None)

    topic = "" if model is None else MODEL + model
    sources: list[Source] = []
    for record in step:
        source = Source(FILE, path.name, topic, started, record.raw, again=True, settled=settled)
        sources.append(source)
        if record.fault is not None:
            understood = Understood([], [Refused(record.fault)])
        elif record.thing is not None:
            understood = ingest.understand_thing(record.thing, source)
        else:
            understood = await ingest.understand_names(source, None)
        ingest.collector.offer(source, understood, urgent=True)
    await done
    return sources


# --- reading files ---------------------------------------------------------------------------------------------------


def _form(path: Path, model: str | None) -> Format:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    form = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    if model is not None:
        return "ndjson"  # a model reads lines, whatever they hold
    if form is None:
        known = ", ".join(_SUFFIXES)
        raise CannotReadFile(
            path=path, why_ko=f"확장자는 {known}(.gz) 중 하나여야 합니다", why_en=f"expected one of {known} (.gz)"
        )
    return form


def _fingerprint(path: Path) -> tuple[bytes, int]:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest(), path.stat().st_size
    except OSError as error:
        raise CannotReadFile(path=path, why_ko=error.strerror, why_en=error.strerror) from None


class _opened:
    """The content of a file, unpacked if need be, and a function that tells how many bytes on disk are read."""

    def __init__(self, path: Path) -> None:
        self._raw = path.open("rb")
        self._packed = path.suffix.lower() == ".gz"

    def __enter__(self) -> tuple[BinaryIO, Callable[[], int]]:
        stream: Any = gzip.GzipFile(fileobj=self._raw) if self._packed else self._raw
        return stream, self._raw.tell

    def __exit__(self, *_: object) -> None:
        self._raw.close()


def _records(form: Format, stream: BinaryIO, kind: str | None, *, by_model: bool) -> Iterator[Record]:
    if form == "csv":
        return _csv_records(stream, kind)
    if form == "geojson":
        return _geojson_records(stream, kind)
    return _lines(stream, kind, by_model=by_model)


def _lines(stream: BinaryIO, kind: str | None, *, by_model: bool) -> Iterator[Record]:
    for line in stream:
        raw = line.strip()
        if not raw:
            continue
        if kind is None or by_model:
            yield Record(raw)
            continue
        try:
            thing = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            yield Record(raw)
        else:
            yield Record(raw, {"type": kind, **thing}) if isinstance(thing, dict) else Record(raw)


def _csv_records(stream: BinaryIO, kind: str | None) -> Iterator[Record]:
    """Rows under a header: `id`, `type`, `at`, `simulated`, `lon` and `lat` have a meaning, the rest are attributes.

    A header `temperature[CEL]` names the unit; an empty cell is no reading.
    """
    reader = csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline=""))
    header = [name.strip() for name in next(reader, [])]
    for cells in reader:
        if not any(cells):
            continue
        raw = ",".join(cells).encode()
        if len(cells) != len(header):
            why = f"{len(cells)} ≠ {len(header)} columns"
            yield Record(raw, fault=no.NotThisFormat(model="-", format="csv", why=why))
            continue
        thing = _csv_thing(header, cells, kind)
        yield Record(msgspec.json.encode(thing), thing)


def _csv_thing(header: list[str], cells: list[str], kind: str | None) -> Doc:
    thing: Doc = {} if kind is None else {"type": kind}
    place: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=True):
        text = cell.strip()
        if not text:
            continue
        if name in ("id", "type", "at"):
            thing[name] = text
        elif name in ("lon", "lat"):
            place[name] = scalar(text)
        else:
            found = _UNIT(name)
            if found:
                name = found[1]
                thing.setdefault("units", {})[name] = found[2]
            thing[name] = scalar(text)
    if len(place) == 2:
        thing["location"] = {"type": "Point", "coordinates": [place["lon"], place["lat"]]}
    return thing


class _Collection(msgspec.Struct):
    features: list[msgspec.Raw]


class _Feature(msgspec.Struct):
    id: str | int | None = None
    geometry: Any = None
    properties: dict[str, Any] | None = None


def _geojson_records(stream: BinaryIO, kind: str | None) -> Iterator[Record]:
    """The features of a collection: properties become attributes, the geometry the location; `id` of either."""
    try:
        features = msgspec.json.decode(stream.read(LARGEST_GEOJSON + 1), type=_Collection).features
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise CannotReadFile(path="GeoJSON", why_ko=str(error), why_en=str(error)) from None
    for feature in features:
        raw = bytes(feature)
        try:
            found = msgspec.json.decode(raw, type=_Feature)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield Record(raw, fault=no.NotJson(why=str(error)))
            continue
        thing: Doc = {} if kind is None else {"type": kind}
        thing.update((key, value) for key, value in (found.properties or {}).items() if value is not None)
        if found.id is not None:
            thing["id"] = found.id
        if found.geometry is not None:
            thing["location"] = found.geometry
        yield Record(msgspec.json.encode(thing), thing)
