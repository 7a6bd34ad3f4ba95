"""Ten thousand subscribers, a thousand updates a second: how late they are told, and what asking them costs.

The receivers, the load and the hub share the machine, so times are upper bounds. `python -m bench.subscriptions`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.load import answered, request
from bench.servers import _children, free_port, granian, memory_mb, serving
from sejong.hub.ngsi import change as rules
from sejong.hub.ngsi.context import CORE, CORE_URL
from sejong.hub.ngsi.entity import expand_entity, expand_fragment
from sejong.hub.ngsi.subscription import read_subscription
from sejong.hub.watching import Watch, WatchIndex
from sejong.kit.embedded_postgres import Cluster

NOW = "2026-11-22T09:00:00.000000Z"
ROOT = "/ngsi-ld/v1"


KINDS, WATCHED, THINGS = 500, 20, 10
"""Types of things, attributes watched, things of each type: with 10,000 subscribers one for each type and attribute."""


def subscription(n: int, uri: str) -> dict[str, Any]:
    """One of the subscribers: by type and attribute, every third with a condition, every fifth by id."""
    kind = f"Kind{n % KINDS}"
    who: dict[str, Any] = {"type": kind}
    if n % 5 == 0:
        who["id"] = [f"urn:ngsi-ld:{kind}:{k}" for k in range(THINGS // 2)]
    body: dict[str, Any] = {
        "id": f"urn:ngsi-ld:Subscription:{n}",
        "type": "Subscription",
        "entities": [who],
        "watchedAttributes": [f"a{n // KINDS % WATCHED}"],
        "notification": {"endpoint": {"uri": uri}, "format": "simplified"},
    }
    if n % 3 == 0:
        body["q"] = f"a{n // KINDS % WATCHED}>500;a0>=0"
    return body


def thing(kind: int, number: int) -> dict[str, Any]:
    """A thing with five of the twenty watched attributes."""
    attributes = {f"a{k}": {"type": "Property", "value": 0} for k in (0, 4, 8, 12, 16)}
    return {"id": f"urn:ngsi-ld:Kind{kind}:{number}", "type": f"Kind{kind}", **attributes}


def measure_matching(subscribers: int = 10_000, updates: int = 20_000) -> dict[str, Any]:
    """Microseconds of CPU to find who is to be told of one update, without any I/O."""
    index = WatchIndex()
    started = time.process_time()
    for n in range(subscribers):
        body = subscription(n, "http://127.0.0.1:9/")
        index.put(Watch(n, 0, read_subscription(body, CORE, CORE_URL, now=NOW)))
    compile_us = (time.process_time() - started) / subscribers * 1e6
    pairs = []
    for n in range(200):
        before = rules.create(expand_entity(thing(n * 7 % KINDS, n % THINGS), CORE, now=NOW), NOW).entity
        assert before is not None
        fragment = {f"a{(0, 4, 8, 12, 16)[n % 5]}": n * 7 % 1000 + 1}
        pairs.append(
            (before, rules.update_attrs(before, expand_fragment(fragment, CORE, now=NOW, mode="update"), NOW).entity)
        )
    told = 0
    started = time.process_time()
    for n in range(updates):
        told += len(index.match(0, *pairs[n % 200], NOW))
    per_update = (time.process_time() - started) / updates * 1e6
    return {
        "subscribers": subscribers,
        "compile_us": round(compile_us, 1),
        "us_per_update": round(per_update, 2),
        "told_per_update": round(told / updates, 2),
    }


class Receiver:
    """Takes notifications and notes how long after its update each came."""

    def __init__(self) -> None:
        self.sent: dict[str, float] = {}
        self.late: list[float] = []
        self.came: dict[str, float] = {}
        self.strangers = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                at = head.index(b"Content-Length: ") + 16
                body = await reader.readexactly(int(head[at : head.index(b"\r", at)]))
                now = time.perf_counter()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                for entity in json.loads(body)["data"]:
                    value = max(entity["a4"], entity["a8"])  # the one just written: numbers only grow
                    started = self.sent.get(str(value))
                    if started is None:
                        self.strangers += 1
                    else:
                        self.late.append(now - started)
                        self.came[str(value)] = now
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()


async def _post(port: int, path: str, bodies: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for body in bodies:
        writer.write(request("POST", path, body))
        status = await answered(reader)
        if status >= 300:
            raise RuntimeError(f"{path} answered {status}")
    writer.close()


def _cpu_s(pid: int) -> float:
    """Processor seconds a process and its children have used."""
    total = 0.0
    for one in [pid, *_children(pid)]:
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


async def _drive(pid: int, port: int, per_second: float, seconds: float, subscribers: int) -> dict[str, Any]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    uri = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/told"
    started = time.perf_counter()
    subscriptions = [json.dumps(subscription(n, uri)).encode() for n in range(subscribers)]
    await asyncio.gather(*(_post(port, f"{ROOT}/subscriptions", subscriptions[k::4]) for k in range(4)))
    subscribing_s = time.perf_counter() - started
    things = [thing(kind, number) for kind in range(KINDS) for number in range(THINGS)]
    batches = [json.dumps(things[n : n + 1000]).encode() for n in range(0, len(things), 1000)]
    await _post(port, f"{ROOT}/entityOperations/create", batches)
    await _quiet(receiver)
    receiver.late.clear()
    receiver.strangers = 0
    waiting: asyncio.Queue[int] = asyncio.Queue()
    times: list[float] = []
    answers_at: dict[str, float] = {}
    cpu = _cpu_s(pid)

    async def sender() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (n := await waiting.get()) >= 0:
            kind, number = n * 7919 % KINDS, n * 31 % THINGS
            value = 1_000_000 + n
            body = b'{"a%d": %d}' % (4 if n % 2 else 8, value)
            path = f"{ROOT}/entities/{quote(f'urn:ngsi-ld:Kind{kind}:{number}', safe=':')}/attrs"
            receiver.sent[str(value)] = begun = time.perf_counter()
            writer.write(request("PATCH", path, body))
            await answered(reader)
            answers_at[str(value)] = time.perf_counter()
            times.append(answers_at[str(value)] - begun)
        writer.close()

    senders = [asyncio.create_task(sender()) for _ in range(64)]
    begin, sent = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - begin) < seconds:
        while sent < elapsed * per_second:
            waiting.put_nowait(sent)
            sent += 1
        await asyncio.sleep(0.002)
    for _ in senders:
        waiting.put_nowait(-1)
    await asyncio.gather(*senders)
    took = time.perf_counter() - begin
    await _quiet(receiver)
    cpu = _cpu_s(pid) - cpu
    server.close()
    after = statistics.quantiles([came - answers_at[value] for value, came in receiver.came.items()], n=100)
    late, answers = statistics.quantiles(receiver.late, n=100), statistics.quantiles(times, n=100)
    return {
        "subscribing_s": round(subscribing_s, 1),
        "updates_s": round(sent / took, 1),
        "notifications_s": round(len(receiver.late) / took, 1),
        "notifications_per_update": round(len(receiver.late) / sent, 2),
        "notified_p50_ms": round(late[49] * 1e3, 1),
        "notified_p99_ms": round(late[98] * 1e3, 1),
        "told_after_the_answer_p50_ms": round(after[49] * 1e3, 1),
        "told_after_the_answer_p99_ms": round(after[98] * 1e3, 1),
        "hub_cpu_us_per_update": round(cpu / sent * 1e6),
        "answered_p99_ms": round(answers[98] * 1e3, 1),
        "strangers": receiver.strangers,
    }


async def _quiet(receiver: Receiver) -> None:
    """Wait until nothing has come for a second."""
    before = -1
    while before != len(receiver.late) + receiver.strangers:
        before = len(receiver.late) + receiver.strangers
        await asyncio.sleep(1)


def measure_delivery(cluster: Cluster, seconds: float, per_second: float, subscribers: int) -> dict[str, Any]:
    """From the client's request to the arrival at the receiver, over HTTP, durable, history on."""
    dsn = cluster.ensure_database("bench_subscriptions")
    port = free_port()
    env = {"SEJONG_DATABASE_URL": dsn, "SEJONG_CITY": "testville", "SEJONG_PORT": str(port)}
    os.environ.update(env)
    from sejong.app import migrate_city
    from sejong.settings import Settings

    asyncio.run(migrate_city(Settings(database_url=dsn)))
    with serving(granian("sejong.app:web", port, factory=True), port, "/health/ready", env) as (process, _):
        found = asyncio.run(_drive(process.pid, port, per_second, seconds, subscribers))
        found["memory_mb"] = memory_mb(process.pid)
    with serving(granian("sejong.app:web", port, factory=True), port, "/health/ready", env) as (_, start_s):
        found["restart_with_all_s"] = round(start_s, 2)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--per-second", type=float, default=1000.0)
    parser.add_argument("--subscribers", type=int, default=10_000)
    asked = parser.parse_args()
    found: dict[str, Any] = {"load": os.getloadavg(), "matching": measure_matching(asked.subscribers)}
    print(json.dumps(found, indent=1), flush=True)
    with tempfile.TemporaryDirectory(prefix="sejong-bench-") as folder, Cluster(Path(folder)) as cluster:
        found["delivery"] = measure_delivery(cluster, asked.seconds, asked.per_second, asked.subscribers)
    print(json.dumps(found["delivery"], indent=1))


if __name__ == "__main__":
    main()
