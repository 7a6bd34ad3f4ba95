"""`python -m bench.snapshot`: how long a snapshot takes, and what writers notice of it meanwhile.

A durable cluster, one process that writes and prepares: PATCH of one attribute with history, one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from sejong.app import migrate_city
from sejong.hub.ngsi.change import update_attrs
from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.entity import expand_entity, expand_fragment
from sejong.hub.service import Hub, existing
from sejong.kernel.clock import SystemClock
from sejong.kit.embedded_postgres import Cluster
from sejong.kit.postgres import open_pool
from sejong.settings import Settings


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=20_000, help="entities in the snapshot, 5 attributes each")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the round without a snapshot")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sejong-bench-") as folder, Cluster(Path(folder)) as cluster:
        dsn = cluster.ensure_database("snapshot")
        print(json.dumps(asyncio.run(measure(dsn, asked.entities, asked.seconds)), indent=1))


async def measure(dsn: str, entities: int, seconds: float) -> dict[str, Any]:
    """Seconds of a snapshot and its clone, milliseconds of a PATCH without and with them, memory."""
    settings = Settings(database_url=dsn)
    await migrate_city(settings)
    pool = await open_pool(dsn, size=settings.database_pool)
    hub = Hub(pool, SystemClock(), settings)
    await hub.open()
    for start in range(0, entities, 1000):
        batch = [expand_entity(_thing(n), CORE, now=hub.now()) for n in range(start, min(start + 1000, entities))]
        await hub.upsert(0, batch)
    found: dict[str, Any] = {
        "entities": entities,
        "patch_alone_ms": await patches(hub, entities, asyncio.sleep(seconds)),
    }
    before = memory()
    query = {"type": "Query", "entities": [{"type": "Thing"}]}
    since = {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z", "timeproperty": "modifiedAt"}
    asked = {
        "now": {"snapshotQueries": [query]},
        "with_histories": {"snapshotQueries": [query], "snapshotTemporalQueries": [{**query, "temporalQ": since}]},
        "a_part": {"snapshotQueries": [{**query, "pick": ["a0", "a1"]}]},
    }
    for name, said in asked.items():
        took = asyncio.create_task(timed(prepared(hub, await hub.snapshots.create(0, said, None))))
        found[f"{name}_patch_ms"] = await patches(hub, entities, took)
        found[f"{name}_seconds"] = await took
    names = (await hub.snapshots.page(0, 2, 0))[0]
    took = asyncio.create_task(timed(prepared(hub, await hub.snapshots.clone(0, names[1]["id"], {}))))
    found["clone_patch_ms"] = await patches(hub, entities, took)
    found["clone_seconds"] = await took
    found["memory_grew_mb"] = round(memory() - before, 1)
    await hub.close()
    await pool.close()
    return found


def _thing(n: int) -> dict[str, Any]:
    return {"id": f"urn:ngsi-ld:Thing:{n}", "type": "Thing", **{f"a{k}": n + k for k in range(5)}}


async def timed(work: Awaitable[None]) -> float:
    """How long it took, in seconds."""
    started = time.perf_counter()
    await work
    return round(time.perf_counter() - started, 2)


async def prepared(hub: Hub, name: str) -> None:
    """Wait for a snapshot."""
    while (await hub.snapshots.retrieve(0, name))["snapshotStatus"] == "preparing":
        await asyncio.sleep(0.05)


async def patches(hub: Hub, entities: int, during: Awaitable[Any]) -> dict[str, float]:
    """Milliseconds of one PATCH after the other as long as something else goes on."""
    chance, times = random.Random(1), []
    going = asyncio.ensure_future(during)
    while not going.done():
        body = {"a1": {"type": "Property", "value": chance.random()}}
        part = expand_fragment(body, CORE, now=hub.now(), mode="update")
        name = f"urn:ngsi-ld:Thing:{chance.randrange(entities)}"
        started = time.perf_counter()
        await hub.change(0, name, existing(name, None, lambda old, now, part=part: update_attrs(old, part, now)))
        times.append((time.perf_counter() - started) * 1000)
    times.sort()
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(times[min(len(times) - 1, int(len(times) * share))], 2) for name, share in at.items()}


def memory() -> float:
    """The most memory this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
