"""The order in which a whole city comes to life on one machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from sejong.kernel.clock import SystemClock
from sejong.kit.embedded_broker import Broker
from sejong.kit.embedded_postgres import Cluster
from sejong.up.parts import Hosted, Part, Running, answers


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What `sejong up` was asked for."""

    state: Path = Path("state")
    city: str = "sejong"
    host: str = "127.0.0.1"
    port: int = 8000
    mqtt_port: int = 1883
    speed: float = 1.0
    seed: int | None = None
    simulator: bool = True

    @property
    def url(self) -> str:
        """Where the portal is. `localhost`, not `127.0.0.1`: passkeys work only there."""
        return f"http://localhost:{self.port}"


def city_plan(options: Options, environment: Mapping[str, str] = os.environ) -> Iterator[tuple[Part | Running, ...]]:
    """Stage after stage: database, shape, broker, city pack, then web and worker, then the devices.

    A generator, because the addresses of the database and the broker are known only once they run.
    """
    shared = {
        "SEJONG_STATE": str(options.state.absolute()),
        "SEJONG_CITY": options.city,
        "SEJONG_HOST": options.host,
        "SEJONG_PORT": str(options.port),
        "SEJONG_PUBLIC_URL": environment.get("SEJONG_PUBLIC_URL") or options.url,
    }
    if options.speed != 1.0:
        shared["SEJONG_CLOCK_SPEED"] = f"{options.speed:g}"
        shared["SEJONG_CLOCK_START"] = clock_anchor(options.state, options.speed)
    if not environment.get("SEJONG_DATABASE_URL"):
        programs = environment.get("SEJONG_PG_BIN")
        cluster = Cluster(options.state, bin_dir=Path(programs) if programs else None)
        yield (Hosted("postgres", ("데이터베이스", "database"), cluster, grace=2.0),)
        shared["SEJONG_DATABASE_URL"] = cluster.ensure_database("sejong")
    yield (_part("migrate", ("데이터베이스 구조", "database schema"), ("migrate",), shared, once=True, seconds=300),)

    devices = shared
    if not environment.get("SEJONG_MQTT_URL"):
        broker = Broker(options.state, port=options.mqtt_port)
        yield (Hosted("broker", ("MQTT 브로커", "MQTT broker"), broker, grace=1.0, wounded=broker.is_wounded),)
        devices = {**shared, "SEJONG_MQTT_URL": broker.simulator.url(options.mqtt_port)}
        shared = {**shared, "SEJONG_MQTT_URL": broker.ingest.url(options.mqtt_port)}
    yield (_part("load", ("도시 자료", "city pack"), ("load", options.city), shared, once=True, seconds=600),)

    health = f"http://127.0.0.1:{options.port}/health/ready"
    yield (
        Part(
            name="web",
            label=("웹과 API", "web and API"),
            argv=_sejong("web"),
            env=shared,
            ready=lambda: answers(health),
            ready_seconds=120,
            grace=2.0,
        ),
        _part("work", ("작업자", "worker"), ("work",), shared, grace=2.0),
    )
    if options.simulator:
        arguments = ["simulate"]
        if options.seed is not None:
            arguments += ["--seed", str(options.seed)]
        yield (_part("simulate", ("현장 기기 시뮬레이터", "device simulator"), tuple(arguments), devices, grace=1.0),)


def clock_anchor(state: Path, speed: float) -> str:
    """The real moment a faster city clock is counted from, kept so that the city resumes where its time has got to.

    A start at another speed begins to count anew: the moment is kept together with the speed.
    """
    path = state / f"clock-{speed:g}.txt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SystemClock().now().isoformat(), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _part(
    name: str,
    label: tuple[str, str],
    arguments: tuple[str, ...],
    env: Mapping[str, str],
    *,
    once: bool = False,
    seconds: float = 60.0,
    grace: float = 1.0,
) -> Part:
    argv = _sejong(*arguments)
    return Part(name=name, label=label, argv=argv, env=env, once=once, ready_seconds=seconds, grace=grace)


def _sejong(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "sejong", *arguments)
