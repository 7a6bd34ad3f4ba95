"""What plays, feeds and admits the devices of a city: `sejong simulate`, `sejong ingest`, `sejong devices`."""

from __future__ import annotations

import asyncio
import signal
import sys
import tomllib
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import msgspec
import structlog
import typer
from anyio import to_thread
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from sejong.app import city_clock, open_city
from sejong.citypack.api import CityPack, open_pack
from sejong.hub.api import DeviceUser, Ingest, Keys, Progress, api_keys, device_keys, ingest_file, read_models
from sejong.kernel.clock import Clock
from sejong.kernel.errors import Invalid
from sejong.kit.city import City
from sejong.kit.embedded_broker import BrokerUser, change_users, running_pid
from sejong.settings import Settings
from sejong.simulator import FaultRates
from sejong.simulator.publish import run as play
from sejong.simulator.simulation import GATEWAYS, Simulation, backfill
from sejong.up.words import chosen, language_of

log = structlog.get_logger("field")
SIMULATOR_RATE, SIMULATOR_BURST = 2000.0, 50_000.0
"""Readings a second each of the simulator's gateway keys may send, and at once: room for `--speed`. Chosen."""
HISTORY = timedelta(hours=24)


async def simulate(settings: Settings, *, seed: int, history: bool, faults: float = 1.0) -> None:
    """Play every field device of the city until told to stop.

    The first time, also a day of thin history goes in through the file door, so that charts are not empty.
    """
    if settings.mqtt_url is None:
        raise Invalid(why="SEJONG_MQTT_URL: 브로커 주소가 필요합니다 · the broker's address is needed")
    stop = anyio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, ValueError):
            loop.add_signal_handler(number, stop.set)
    clock = city_clock(settings)
    pack = open_pack(settings.city)
    zone = ZoneInfo(pack.city.timezone)
    async with open_city(settings, clock) as city, anyio.create_task_group() as tasks:
        async with city.record.act("simulator", "devices.ensure") as act:
            for name in GATEWAYS:
                await device_keys.ensure(
                    act, name, rate=SIMULATOR_RATE, burst=SIMULATOR_BURST, note="simulated gateway"
                )
        if history:
            tasks.start_soon(_bring_history, city, pack, seed)
        speed, rates = settings.clock_speed, FaultRates().times(faults)
        await play(
            pack.entities(),
            url=settings.mqtt_url,
            clock=clock,
            seed=seed,
            speed=speed,
            faults=rates,
            stop=stop,
            zone=zone,
        )
        tasks.cancel_scope.cancel()


async def _bring_history(city: City, pack: CityPack, seed: int) -> None:
    """One seeded day before now, written once per state folder, taken in like any other file."""
    path = city.settings.state / f"history-{pack.city.id}.ndjson"
    try:
        if not path.exists():
            await to_thread.run_sync(_write_history, path, pack, seed, city.clock)
        done = await ingest_file(city.part(Ingest), path)
        log.info("history_ready", readings=done.accepted, duplicates=done.duplicates, refused=done.refused)
    except Exception as error:  # noqa: BLE001 - charts without a past are a pity, not a reason to stop the devices
        log.warning("history_failed", why=str(error) or type(error).__name__)


def _write_history(path: Path, pack: CityPack, seed: int, clock: Clock) -> None:
    now = clock.now().replace(microsecond=0)
    sim = Simulation(pack.entities(), seed, now, zone=ZoneInfo(pack.city.timezone))
    unfinished = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished.open("wb") as file:
        for messages in backfill(sim, now - HISTORY, now):
            for message in messages:
                things = message.payload if isinstance(message.payload, list) else [message.payload]
                file.writelines(msgspec.json.encode(thing) + b"\n" for thing in things)
    unfinished.replace(path)


async def ingest(settings: Settings, path: Path, *, model: str | None, kind: str | None, anew: bool) -> Progress:
    """Take a file in, with a bar; says what became of its readings."""
    language = language_of()
    async with open_city(settings) as city:
        with Bar(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
            disable=not sys.stderr.isatty(), console=Console(stderr=True),
        ) as bar:  # fmt: skip
            task = bar.add_task(path.name, total=None)
            done = await ingest_file(
                city.part(Ingest), path, model=model, kind=kind, anew=anew,
                progress=lambda p: bar.update(task, completed=p.bytes_done, total=p.bytes_total),
            )  # fmt: skip
    typer.echo(
        chosen(
            (
                f"{path.name}: {done.records}줄, 받음 {done.accepted} (늦게 온 것 {done.late}), "
                f"같은 것 {done.duplicates}, 이해하지 못한 것 {done.refused} (운영 화면 /ops/data에 있습니다)",
                f"{path.name}: {done.records} records, {done.accepted} accepted ({done.late} late), "
                f"{done.duplicates} duplicates, {done.refused} not understood (see /ops/data)",
            ),
            language,
        )
    )
    return done


async def add_device(
    settings: Settings, name: str, *, ids: list[str], filters: list[str], rate: float | None, note: str
) -> None:
    """Make a device key and show its secret once."""
    async with open_city(settings, start=False) as city:
        async with city.record.act("operator", "devices.add") as act:
            made = await device_keys.create(act, name, ids=ids, topic_filters=filters, rate=rate, note=note)
        await _tell_broker(city)
    language = language_of()
    typer.echo(chosen((f"이름    {made.name}", f"name    {made.name}"), language))
    typer.echo(
        chosen((f"비밀    {made.secret}   (다시 볼 수 없습니다)", f"secret  {made.secret}   (shown once)"), language)
    )
    typer.echo(f"MQTT    {made.topic}")


async def revoke_device(settings: Settings, name: str) -> None:
    """Take a device's key away."""
    async with open_city(settings, start=False) as city:
        async with city.record.act("operator", "devices.revoke") as act:
            await device_keys.revoke(act, name)
        await _tell_broker(city)
    typer.echo(f"{name}: " + chosen(("키를 거두었습니다", "key revoked"), language_of()))


async def list_devices(settings: Settings) -> None:
    """Show every device key (never its secret)."""
    async with open_city(settings, start=False) as city, city.record.look("operator") as look:
        rows = await device_keys.list_keys(look.connection)
    table = Table("name", "ids", "rate/s", "created", "seen", "revoked", "note")
    for row in rows:
        seen = row.seen.isoformat(timespec="seconds") if row.seen else ""
        gone = row.revoked.isoformat(timespec="seconds") if row.revoked else ""
        rate = "" if row.rate is None else f"{row.rate:g}"
        table.add_row(row.name, " ".join(row.ids) or "*", rate, row.created.isoformat()[:19], seen, gone, row.note)
    Console().print(table)


async def add_models(settings: Settings, path: Path) -> None:
    """Teach the city device models from a TOML file: adding a model is adding a row."""
    models = read_models(tomllib.loads(path.read_text(encoding="utf-8")))
    async with open_city(settings) as city, city.record.act("operator", "devices.model") as act:
        names = await city.part(Ingest).save_models(act, models)
    typer.echo("\n".join(names))


async def _tell_broker(city: City) -> None:
    """Let the embedded broker know the living keys (a broker of one's own is told by its operator)."""
    if running_pid(city.settings.state) is None:
        return
    async with city.record.look("operator") as look:
        users = device_keys.broker_users(await device_keys.list_keys(look.connection))
    await to_thread.run_sync(change_users, city.settings.state, [_broker_user(user) for user in users])


def _broker_user(user: DeviceUser) -> BrokerUser:
    return BrokerUser(user.name, user.bcrypt, user.publish, user.subscribe)


async def add_key(settings: Settings, name: str, *, operator: bool, rate: float | None, daily: int | None) -> None:
    """Make a key for a program and show it once."""
    role = api_keys.OPERATOR if operator else api_keys.READER
    async with open_city(settings, start=False) as city:
        keys = Keys(city.pool, city.clock, settings)
        async with city.record.act("operator", "api_key.add") as act:
            made = await keys.make(act, name, role=role, rate=rate, daily=daily)
    language = language_of()
    typer.echo(chosen((f"이름  {made.key.name} ({role})", f"name  {made.key.name} ({role})"), language))
    typer.echo(
        chosen((f"키    {made.secret}   (다시 볼 수 없습니다)", f"key   {made.secret}   (shown once)"), language)
    )


async def show_keys(settings: Settings) -> None:
    """Show every key of a program (never the key itself)."""
    async with open_city(settings, start=False) as city, city.record.look("operator") as look:
        rows = await api_keys.list_keys(look.connection)
    table = Table("name", "role", "created", "seen", "revoked")
    for row in rows:
        gone = "" if row.revoked is None else f"{row.revoked:%Y-%m-%d}"
        table.add_row(row.name, row.role, f"{row.created:%Y-%m-%d}", f"{row.seen:%Y-%m-%d}" if row.seen else "-", gone)
    Console().print(table)


async def revoke_key(settings: Settings, name: str) -> None:
    """Take the keys of this name away."""
    async with open_city(settings, start=False) as city, city.record.act("operator", "api_key.revoke") as act:
        await api_keys.revoke_named(act.connection, name, act.now)
    typer.echo(f"{name}: " + chosen(("키를 거두었습니다", "keys revoked"), language_of()))
