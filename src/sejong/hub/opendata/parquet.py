"""Rows to a Parquet file, in a process of its own: the web process neither waits for it nor grows by it.

Run as `python -m sejong.hub.opendata.parquet ROWS.ndjson OUT.parquet '{"column": "DOUBLE", …}'`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

MEMORY = "256MB"
"""Memory the writer takes at most. Chosen: a few row groups."""


def write(rows: Path, out: Path, columns: dict[str, str]) -> None:
    """Write the lines of a file as Parquet with these SQL types; nothing is fetched from anywhere."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(f"set memory_limit = '{MEMORY}'; set threads = 1; set autoinstall_known_extensions = false")
        connection.execute(
            "copy (select * from read_json(?, format='newline_delimited', columns=?, maximum_object_size=67108864)) "
            f"to '{_quoted(out)}' (format parquet, compression zstd)",
            [str(rows), columns],
        )


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]), msgspec.json.decode(sys.argv[3], type=dict[str, str]))
