"""Histories over HTTP: one attribute with 100,000 instances, aggregated, its newest, a stretch of it; and SQL alone.

`python -m bench.temporal`; the floor is the same aggregate asked of PostgreSQL directly, over the instances and over
their hourly rollups.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.hub import as_dict
from bench.load import answered, drive, request
from bench.servers import free_port, granian, serving
from sejong.kit.embedded_postgres import Cluster
from sejong.kit.postgres import connect

METER = "urn:ngsi-ld:Meter:1"
FLOW = "https://uri.etsi.org/ngsi-ld/default-context/flow"
PATH = f"/ngsi-ld/v1/temporal/entities/{quote(METER, safe='')}"
STEP = timedelta(minutes=1)
BATCH = 1000


def text(moment: datetime) -> str:
    """A moment as NGSI-LD writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


async def fill(port: int, start: datetime, instances: int) -> float:
    """Write the history, a thousand instances a request; instances a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    for first in range(0, instances, BATCH):
        flow = [
            {"type": "Property", "value": n * 7 % 1000 / 10, "unitCode": "MQH", "observedAt": text(start + n * STEP)}
            for n in range(first, first + BATCH)
        ]
        writer.write(
            request(
                "POST",
                "/ngsi-ld/v1/temporal/entities",
                json.dumps({"id": METER, "type": "Meter", "flow": flow}).encode(),
            )
        )
        if await answered(reader) >= 300:
            raise RuntimeError("the history was not taken")
    writer.close()
    return round(instances / (time.perf_counter() - began), 1)


def questions(start: datetime, end: datetime) -> dict[str, str]:
    """What is asked of the history."""
    range_ = f"timerel=between&timeAt={text(start)}&endTimeAt={text(end)}&attrs=flow"
    aggregate = f"{range_}&format=aggregatedValues&aggrMethods"
    week = f"timerel=between&timeAt={text(end - timedelta(days=7))}&endTimeAt={text(end)}&attrs=flow"
    return {
        "whole range avg,max": f"{aggregate}=avg,max",
        "whole range all sums": f"{aggregate}=avg,min,max,sum,sumsq,stddev,totalCount",
        "days avg,max": f"{aggregate}=avg,max&aggrPeriodDuration=P1D",
        "hours avg": f"{aggregate}=avg&aggrPeriodDuration=PT1H",
        "a week by hours avg,max": f"{week}&format=aggregatedValues&aggrMethods=avg,max&aggrPeriodDuration=PT1H",
        "quarter hours avg (no rollup)": f"{aggregate}=avg&aggrPeriodDuration=PT15M",
        "days distinctCount (no rollup)": f"{aggregate}=distinctCount&aggrPeriodDuration=P1D",
        "lastN=100": "attrs=flow&lastN=100",
        "lastN=100 values": "attrs=flow&lastN=100&format=temporalValues",
        "one hour of it": f"timerel=between&timeAt={text(end - timedelta(hours=30))}"
        f"&endTimeAt={text(end - timedelta(hours=29))}&attrs=flow&format=temporalValues",
    }


FLOORS = {
    "SQL: days avg,max of instances": """
select date_bin('1 day', t, $2), avg(num), max(num) from hub.hist
where eno = 1 and ano = $1 and t >= $2 and t < $3 and observed and op < 3 group by 1 order by 1""",
    "SQL: days avg,max of rollups": """
select date_bin('1 day', hour, $2), sum(total) / sum(n), max(high) from hub.rollup
where eno = 1 and ano = $1 and hour >= $2 and hour < $3 group by 1 order by 1""",
}


async def floors(dsn: str, start: datetime, end: datetime) -> dict[str, float]:
    """Milliseconds of the same aggregate asked directly (median of 20)."""
    connection = await connect(dsn)
    ano = await connection.fetchval("select no from hub.term where iri = $1", FLOW)
    found: dict[str, float] = {}
    for name, sql in FLOORS.items():
        took: list[float] = []
        for _ in range(20):
            began = time.perf_counter()
            await connection.fetch(sql, ano, start, end)
            took.append(time.perf_counter() - began)
        found[name] = round(statistics.median(took) * 1e3, 2)
    await connection.close()
    return found


def measure_temporal(cluster: Cluster, seconds: float, instances: int) -> dict[str, Any]:
    """Everything about histories, with the time of the very first aggregate (nothing rolled up yet)."""
    dsn = cluster.ensure_database("bench_temporal")
    env = {"SEJONG_DATABASE_URL": dsn, "SEJONG_CITY": "testville", "SEJONG_PORT": str(port := free_port())}
    os.environ.update(env)
    from sejong.app import migrate_city
    from sejong.settings import Settings

    asyncio.run(migrate_city(Settings(database_url=dsn)))
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start = (end - instances * STEP).replace(minute=0)
    found: dict[str, Any] = {"instances": instances}
    with serving(granian("sejong.app:web", port, factory=True), port, "/health/ready", env):
        found["instances written /s"] = asyncio.run(fill(port, start, instances))
        asked = questions(start, end)
        began = time.perf_counter()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{PATH}?{asked['days avg,max']}", timeout=60) as answer:
            days = len(json.load(answer)["flow"]["avg"])
        found["first aggregate ms"] = round((time.perf_counter() - began) * 1e3, 1)
        found["days"] = days
        time.sleep(5)
        for name, query in asked.items():
            message = request("GET", f"{PATH}?{query}")
            found[name] = as_dict(asyncio.run(drive(port, lambda _, m=message: m, connections=4, seconds=seconds)))
        found["floors"] = asyncio.run(floors(dsn, start, end))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each round")
    parser.add_argument("--instances", type=int, default=100_000, help="instances of the attribute")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sejong-bench-") as folder, Cluster(Path(folder)) as cluster:
        found = measure_temporal(cluster, asked.seconds, asked.instances)
    print(f"load {os.getloadavg()}")
    for name, value in found.items():
        if isinstance(value, dict) and "per_second" in value:
            print(f"{name:32}{value['per_second']:>9}/s  p50 {value['p50_ms']} ms  p95 {value['p95_ms']} ms "
                  f"p99 {value['p99_ms']} ms  errors {value['errors']}")  # fmt: skip
        else:
            print(f"{name:32}{value}")


if __name__ == "__main__":
    main()
