"""Reading the files of a pack: CSV and GeoJSON become rows of named cells; what is broken is said."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sejong.citypack.domain import PackColumnMissing, PackFileMissing, PackFileUnreadable, Rejected

Row = dict[str, Any]
"""Cells by column; GeoJSON rows carry their shape under `geometry`."""

GEOMETRY = "geometry"


class Table:
    """The rows of one file, numbered as a person counts them, and its columns."""

    def __init__(self, file: str, columns: tuple[str, ...], rows: list[tuple[int, Row]]) -> None:
        self.file = file
        self.columns = columns
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[int, Row]]:
        return iter(self.rows)

    def demand(self, *columns: str) -> None:
        """Raise PackColumnMissing unless all of these columns are there (an empty GeoJSON has none)."""
        for column in columns:
            if column not in self.columns and self.columns != (GEOMETRY,):
                raise PackColumnMissing(file=self.file, column=column, columns=", ".join(self.columns))


def read_table(folder: Path, file: str, rejected: list[Rejected]) -> Table:
    """Read `file` of the pack in `folder`, by its ending. Rows that are no rows go to `rejected`.

    Raises PackFileMissing, PackFileUnreadable.
    """
    path = folder / file
    if not path.is_file():
        raise PackFileMissing(pack=str(folder), file=file)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise PackFileUnreadable(file=file, why=f"not UTF-8 at byte {fault.start}") from fault
    if path.suffix == ".csv":
        return _csv(file, text, rejected)
    if path.suffix in (".geojson", ".json"):
        return _geojson(file, text, rejected)
    raise PackFileUnreadable(file=file, why=f"unknown kind of file {path.suffix!r}")


def _csv(file: str, text: str, rejected: list[Rejected]) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, Row]] = []
    try:
        header = tuple(cell.strip() for cell in next(reader, ()))
        if not header or len(set(header)) != len(header):
            raise PackFileUnreadable(file=file, why="the first line must name the columns, each once")
        for cells in reader:
            if len(cells) == len(header):
                rows.append((reader.line_num, dict(zip(header, map(str.strip, cells), strict=True))))
            elif cells:
                found = f"{len(cells)} ≠ {len(header)}"
                rejected.append(Rejected(file, reader.line_num, "*", found, "columns"))
    except csv.Error as fault:
        raise PackFileUnreadable(file=file, why=f"line {reader.line_num}: {fault}") from fault
    return Table(file, header, rows)


def _geojson(file: str, text: str, rejected: list[Rejected]) -> Table:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as fault:
        raise PackFileUnreadable(file=file, why=str(fault)) from fault
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list):
        raise PackFileUnreadable(file=file, why="not a GeoJSON FeatureCollection")
    rows: list[tuple[int, Row]] = []
    columns: dict[str, None] = {}
    for number, feature in enumerate(features, start=1):
        properties = feature.get("properties") if isinstance(feature, dict) else None
        if not isinstance(properties, dict) or "geometry" not in feature:
            rejected.append(Rejected(file, number, "*", str(feature)[:60], "feature"))
            continue
        columns.update(dict.fromkeys(properties))
        rows.append((number, {**properties, GEOMETRY: feature["geometry"]}))
    return Table(file, (*columns, GEOMETRY), rows)
