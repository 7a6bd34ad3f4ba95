"""`python -m bench`: every measurement, one JSON file, one table."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.hub import measure_copy, measure_hub, measure_orm
from bench.ingest import measure_mqtt
from bench.load import drive, request
from bench.servers import free_port, granian, serving
from bench.temporal import measure_temporal
from sejong.kit.embedded_postgres import Cluster

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each round")
    parser.add_argument("--mqtt-seconds", type=float, default=60.0, help="length of the MQTT round")
    parser.add_argument("--entities", type=int, default=20_000, help="entities in the record while measuring")
    asked = parser.parse_args()
    found: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()},
        "seconds": asked.seconds,
    }
    with tempfile.TemporaryDirectory(prefix="sejong-bench-") as folder, Cluster(Path(folder)) as cluster:
        found["floor_bare_asgi"] = bare(asked.seconds)
        found["hub"] = measure_hub(cluster, asked.seconds, asked.entities)
        found["temporal"] = measure_temporal(cluster, asked.seconds, 100_000)
        found["floor_copy"] = asyncio.run(measure_copy(cluster))
        found["peer_fastapi_orm"] = measure_orm(cluster, asked.seconds, asked.entities)
        found["mqtt"] = measure_mqtt(cluster, Path(folder), asked.mqtt_seconds)
    RESULTS.mkdir(exist_ok=True)
    out = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    out.write_text(json.dumps(found, indent=1))
    table(found)
    print(f"\n{out}")


def bare(seconds: float) -> dict[str, Any]:
    """The floor: a server that answers two bytes."""
    port = free_port()
    with serving(granian("bench.peers:bare", port), port, "/", {}):
        got = asyncio.run(drive(port, lambda _: request("GET", "/"), connections=32, seconds=seconds))
    return {"get": got.__class__ and {f: getattr(got, f) for f in got.__struct_fields__}}


def table(found: dict[str, Any]) -> None:
    """The numbers with their ratios."""
    hub, orm, floor = found["hub"], found["peer_fastapi_orm"], found["floor_bare_asgi"]
    copy, mqtt = found["floor_copy"], found["mqtt"]
    days, newest = found["temporal"]["days avg,max"], found["temporal"]["lastN=100"]
    floors = found["temporal"]["floors"]
    rollups, raw = floors["SQL: days avg,max of rollups"], floors["SQL: days avg,max of instances"]
    rows = [
        ("GET by id /s (32 connections)", hub["get"]["per_second"], 4000, orm["get"]["per_second"], "FastAPI+ORM"),
        ("  p99 ms", hub["get"]["p99_ms"], None, orm["get"]["p99_ms"], "FastAPI+ORM"),
        ("  of a bare ASGI answer /s", hub["get"]["per_second"], None, floor["get"]["per_second"], "bare ASGI"),
        ("GET by id, kept ready /s", hub["get_hot"]["per_second"], 8000, None, ""),
        ("batch upsert entities/s (1000×5)", hub["upsert_entities_s"], 5000, orm["upsert_entities_s"], "FastAPI+ORM"),
        ("  history rows/s", hub["upsert_entities_s"] * 5, None, copy["rows_s"], "raw COPY"),
        ("PATCH with history /s", hub["patch"]["per_second"], 2000, None, ""),
        ("query type+q limit 100 /s", hub["query"]["per_second"], 150, None, ""),
        ("query near limit 100 /s", hub["near"]["per_second"], 150, None, ""),
        ("100,000 instances by days /s", days["per_second"], 200, round(1000 / rollups, 1), "SQL"),
        ("  p95 ms", days["p95_ms"], 60, raw, "SQL, instances"),
        ("newest 100 of 100,000 /s", newest["per_second"], None, None, ""),
        ("MQTT readings/s", mqtt["readings_s"], 5000, None, ""),
        ("  lost", mqtt["lost"], 0, None, ""),
        ("web process MB", hub["memory_mb"], 150, orm["memory_mb"], "FastAPI+ORM"),
        ("web start s", hub["start_s"], None, orm["start_s"], "FastAPI+ORM"),
    ]
    print(f"{'':38}{'sejong':>10}{'goal':>8}{'peer':>11}{'ratio':>8}")
    for name, ours, goal, peer, who in rows:
        ratio = f"{ours / peer:.2f}" if peer else ""
        print(f"{name:38}{ours:>10}{goal if goal is not None else '':>8}{peer or '':>11}{ratio:>8}  {who}")


if __name__ == "__main__":
    sys.exit(main())
