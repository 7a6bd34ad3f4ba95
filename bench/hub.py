"""The hub over HTTP, and the same work done by the peer and by a bare COPY."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from bench.load import Load, answered, drive, request
from bench.servers import free_port, granian, memory_mb, serving
from sejong.kit.embedded_postgres import Cluster
from sejong.kit.postgres import connect

BATCH = 1000


def entity(n: int, round_: int = 0) -> dict[str, Any]:
    """One entity of five attributes, four of them numbers with unit and time."""
    at = f"2026-11-22T{round_ // 60 % 24:02}:{round_ % 60:02}:00Z"
    numbers = {
        f"a{k}": {"type": "Property", "value": (n * 7 + k + round_) % 1000 + 0.5, "unitCode": "KMH", "observedAt": at}
        for k in range(4)
    }
    place = {"type": "Point", "coordinates": [127.2 + n % 200 / 1000, 36.4 + n // 200 % 200 / 1000]}
    return {
        "id": f"urn:ngsi-ld:Bench:{n}",
        "type": "Bench",
        **numbers,
        "location": {"type": "GeoProperty", "value": place},
    }


def as_dict(load: Load) -> dict[str, Any]:
    """The fields of a result."""
    return {field: getattr(load, field) for field in load.__struct_fields__}


def measure_hub(cluster: Cluster, seconds: float, entities: int) -> dict[str, Any]:
    """Everything the hub's goals name, over HTTP, durable, history and validation on."""
    dsn = cluster.ensure_database("bench_hub")
    env = {"SEJONG_DATABASE_URL": dsn, "SEJONG_CITY": "testville", "SEJONG_PORT": str(port := free_port())}
    os.environ.update(env)
    from sejong.app import migrate_city
    from sejong.settings import Settings

    asyncio.run(migrate_city(Settings(database_url=dsn)))
    found: dict[str, Any] = {}
    with serving(granian("sejong.app:web", port, factory=True), port, "/health/ready", env) as (process, start_s):
        found["start_s"] = round(start_s, 2)
        found["upsert_entities_s"] = asyncio.run(upserts(port, "/ngsi-ld/v1/entityOperations/upsert", entities))
        root = "/ngsi-ld/v1/entities"
        ids = [quote(f"urn:ngsi-ld:Bench:{n}", safe="") for n in range(entities)]

        def get(n: int) -> bytes:
            return request("GET", f"{root}/{ids[n * 7919 % entities]}")

        def get_hot(n: int) -> bytes:
            return request("GET", f"{root}/{ids[n * 7919 % 2000]}")

        def patch(n: int) -> bytes:
            body = json.dumps({"a1": {"type": "Property", "value": n, "unitCode": "KMH"}}).encode()
            return request("PATCH", f"{root}/{ids[n * 7919 % entities]}/attrs", body)

        def query(n: int) -> bytes:
            low = n * 37 % 900
            return request("GET", f"{root}?type=Bench&q={quote(f'a0>={low};a0<{low + 30}')}&limit=100")

        def near(n: int) -> bytes:
            place = quote(f"[{127.2 + n * 13 % 200 / 1000},{36.4 + n * 7 % 100 / 1000}]")
            geo = f"georel=near%3BmaxDistance%3D%3D500&geometry=Point&coordinates={place}"
            return request("GET", f"{root}?type=Bench&{geo}&limit=100")

        for name, make, connections in (
            ("get", get, 32),
            ("get_hot", get_hot, 32),
            ("patch", patch, 64),
            ("query", query, 8),
            ("near", near, 8),
        ):
            found[name] = as_dict(asyncio.run(drive(port, make, connections=connections, seconds=seconds)))
        found["memory_mb"] = memory_mb(process.pid)
    return found


async def upserts(port: int, path: str, entities: int) -> float:
    """Entities a second when batches of a thousand come on four connections, twice over (create, then replace).

    The second round begins when the first has ended: the peer cannot take the same id on two connections at once.
    """
    rounds = [
        [
            json.dumps([entity(n, k) for n in range(start, start + BATCH)]).encode()
            for start in range(0, entities, BATCH)
        ]
        for k in range(2)
    ]

    async def one(waiting: Iterator[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in waiting:
            writer.write(request("POST", path, body))
            status = await answered(reader)
            if status >= 300:
                raise RuntimeError(f"upsert answered {status}")
        writer.close()

    started = time.perf_counter()
    for bodies in rounds:
        waiting = iter(bodies)
        await asyncio.gather(*(one(waiting) for _ in range(4)))
    return round(2 * entities / (time.perf_counter() - started), 1)


async def measure_copy(cluster: Cluster, rows: int = 200_000) -> dict[str, Any]:
    """The floor under history: the same narrow rows by binary COPY with nothing else around them."""
    from datetime import UTC, datetime

    dsn = cluster.ensure_database("bench_copy")
    connection = await connect(dsn)
    await connection.execute("create table h(t timestamptz, modified timestamptz, no bigint, num float8, eno int, "
                             "ano int, ds int, shape int, op smallint, observed boolean, val bytea);"
                             "create index on h(eno, ano, t)")  # fmt: skip
    now = datetime.now(UTC)
    records = [(now, now, n, n + 0.5, n % 5000, n % 5, 0, 1, 2, True, None) for n in range(rows)]
    started = time.perf_counter()
    for start in range(0, rows, 5000):
        await connection.copy_records_to_table("h", records=records[start : start + 5000])
    took = time.perf_counter() - started
    await connection.close()
    return {"rows_s": round(rows / took, 1)}


def measure_orm(cluster: Cluster, seconds: float, entities: int) -> dict[str, Any]:
    """The peer: FastAPI and SQLAlchemy's ORM, no history, no validation of the standard."""
    dsn = cluster.ensure_database("bench_orm")
    from urllib.parse import parse_qs, urlsplit

    parts = urlsplit(dsn)
    host = (parse_qs(parts.query).get("host") or [parts.hostname or ""])[0]
    user = (parse_qs(parts.query).get("user") or [parts.username or "postgres"])[0]
    env = {"BENCH_ORM_URL": f"postgresql+asyncpg://{user}@/bench_orm", "BENCH_PG_HOST": host}
    port = free_port()
    with serving(granian("bench.peers:orm", port, factory=True), port, "/docs", env) as (process, start_s):
        rate = asyncio.run(upserts(port, "/upsert", entities))

        def get(n: int) -> bytes:
            return request("GET", f"/entities/urn:ngsi-ld:Bench:{n * 7919 % entities}")

        got = asyncio.run(drive(port, get, connections=32, seconds=seconds))
        return {
            "get": as_dict(got),
            "upsert_entities_s": rate,
            "memory_mb": memory_mb(process.pid),
            "start_s": round(start_s, 2),
        }
