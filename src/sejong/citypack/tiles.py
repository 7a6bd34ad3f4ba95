"""Vector tiles in one file: an MBTiles archive (SQLite), written whole or not at all, read tile by tile.

Source: MBTiles specification 1.3 (rows counted from the south; `pbf` tiles are gzip-compressed).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

Tile = tuple[int, int, int, bytes]
"""zoom, column, row (counted from the north, as web maps do), gzip-compressed tile."""


def write_tiles(path: Path, tiles: Iterable[Tile], metadata: Mapping[str, str]) -> int:
    """Write an archive beside `path` and put it in place in one step; the number of tiles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(draft)) as db, db:
            db.execute("PRAGMA synchronous = OFF")
            db.execute("CREATE TABLE metadata (name text, value text)")
            db.execute(
                "CREATE TABLE tiles (zoom_level integer, tile_column integer, tile_row integer,"
                " tile_data blob, PRIMARY KEY (zoom_level, tile_column, tile_row)) WITHOUT ROWID"
            )
            db.executemany("INSERT INTO metadata VALUES (?, ?)", sorted(metadata.items()))
            rows = ((z, x, (1 << z) - 1 - y, data) for z, x, y, data in tiles)
            n = db.executemany("INSERT INTO tiles VALUES (?, ?, ?, ?)", rows).rowcount
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return n


class TileReader:
    """Reads tiles of one archive. One reader per thread or event loop; close it when done."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True, check_same_thread=False)
        try:
            self.metadata: dict[str, str] = dict(self._db.execute("SELECT name, value FROM metadata"))
        except sqlite3.Error:
            self._db.close()
            raise

    def tile(self, z: int, x: int, y: int) -> bytes | None:
        """The gzip-compressed tile, None where the map is empty."""
        if not 0 <= z <= 30:
            return None
        row = self._db.execute(
            "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?",
            (z, x, (1 << z) - 1 - y),
        ).fetchone()
        return None if row is None else row[0]

    def count(self) -> int:
        """How many tiles there are."""
        return self._db.execute("SELECT count(*) FROM tiles").fetchone()[0]

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def tiles_reader(path: Path) -> TileReader:
    """Open an archive for reading. Raises sqlite3.Error when it is not one."""
    return TileReader(path)
