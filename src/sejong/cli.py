"""The `sejong` command: bring the whole city up, or run one part of it."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from sejong.kernel.errors import CityError
from sejong.kit.memory import spare_the_collector
from sejong.kit.telemetry import configure_logs
from sejong.settings import Settings, settings_page
from sejong.up.commands import doctor, up
from sejong.up.words import language_of

app = typer.Typer(help="세종: 스마트도시 운영 플랫폼 · smart-city operating platform", no_args_is_help=True)
app.command()(up)
app.command()(doctor)


def main() -> None:
    """Run the command line; a refusal of the city is one sentence and exit code 1, never a traceback."""
    try:
        app()
    except CityError as error:
        typer.echo(f"sejong: {error.message(language_of())}", err=True)
        sys.exit(1)


def run(task: Coroutine[Any, Any, Any]) -> Any:
    """Run one coroutine as the whole process."""
    settings = Settings()
    configure_logs(settings.log_style, settings.log_level)
    spare_the_collector()
    return uvloop.run(task)


@app.command()
def web() -> None:
    """웹과 API를 켭니다 · Serve the portal and the API."""
    from granian import Granian
    from granian.constants import Interfaces, Loops
    from granian.log import LogLevels

    settings = Settings()
    Granian(
        "sejong.app:web",
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=settings.web_workers,
        websockets=True,
        respawn_failed_workers=True,
        log_access=False,
        log_level=LogLevels.warning,
    ).serve()


@app.command()
def work() -> None:
    """뒤에서 할 일을 합니다: 작업, 사건 전달, MQTT 수집 · Do jobs, deliver events, take readings from MQTT."""
    from sejong.work import work as keep_working

    run(keep_working(Settings()))


@app.command()
def migrate(
    after: Annotated[bool, typer.Option(help="배포 뒤 단계까지 · also the steps for after a deploy")] = True,
) -> None:
    """데이터베이스를 지금 코드에 맞춥니다 · Bring the database to the shape this code expects."""
    from sejong.app import migrate_city

    ran = run(migrate_city(Settings(), after=after))
    for step in ran:
        typer.echo(f"{step.service}/{step.name}")
    typer.echo(f"{len(ran)} migrations")


@app.command()
def load(
    city: Annotated[str, typer.Argument(help="도시 팩의 이름이나 폴더 · name or folder of a city pack")] = "sejong",
    again: Annotated[bool, typer.Option(help="같은 팩이라도 다시 · even if the same pack is loaded")] = False,
) -> None:
    """도시 자료를 기록에 넣습니다 · Load a city pack into the record."""
    from sejong.loading import load_pack

    run(load_pack(Settings(city=city), again=again))


@app.command()
def backup(file: Annotated[Path, typer.Argument(help="쓸 파일 · file to write")]) -> None:
    """기록 전체를 파일 하나로 백업합니다(도시가 켜진 채로) · Back the whole record up into one file, city running."""
    from sejong.backups import take

    take(Settings(), file)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="백업 파일 · a backup")],
    aside: Annotated[
        str | None, typer.Option(help="지금 도시를 이 이름으로 남겨 두기 · keep the present city under this name")
    ] = None,
) -> None:
    """백업에서 도시를 되살립니다 · Bring a city back from a backup."""
    from sejong.backups import bring_back

    run(bring_back(Settings(), file, aside=aside))


@app.command()
def simulate(
    speed: Annotated[float, typer.Option(min=1, max=600, help="도시 시계의 빠르기 · speed of the city clock")] = 1.0,
    seed: Annotated[int, typer.Option(help="씨앗: 같으면 같은 하루 · same seed, same day")] = 7,
    history: Annotated[bool, typer.Option(help="처음이면 지난 하루도 · the first time, also the day before")] = True,
    faults: Annotated[float, typer.Option(min=0, help="고장의 배수, 0은 없음 · faults, 0 for none")] = 1.0,
) -> None:
    """현장 기기를 흉내 냅니다 · Play the field devices of the city."""
    from sejong.field import simulate as play

    given = Settings()
    known = given if speed == 1.0 else given.model_copy(update={"clock_speed": speed})
    run(play(known, seed=seed, history=history, faults=faults))


@app.command()
def ingest(
    file: Annotated[Path, typer.Argument(help="파일 · file: .csv .geojson .ndjson (.gz)")],
    model: Annotated[str | None, typer.Option(help="기기 모델로 읽기 · read lines by this device model")] = None,
    kind: Annotated[
        str | None, typer.Option("--type", help="파일에 없을 때의 종류 · type where the file has none")
    ] = None,
    anew: Annotated[bool, typer.Option(help="처음부터 다시 · from the beginning")] = False,
) -> None:
    """파일의 측정값을 넣습니다 · Take the readings of a file into the record."""
    from sejong.field import ingest as take

    done = run(take(Settings(), file, model=model, kind=kind, anew=anew))
    raise typer.Exit(1 if done.refused else 0)


devices = typer.Typer(help="기기 키와 모델 · device keys and models", no_args_is_help=True)
app.add_typer(devices, name="devices")


@devices.command("add")
def devices_add(
    name: Annotated[str, typer.Argument(help="키의 이름 = MQTT 사용자 · name of the key = MQTT user")],
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="말할 수 있는 엔티티(*) · entities it may speak for")
    ] = None,
    topic: Annotated[list[str] | None, typer.Option(help="더 쓸 수 있는 MQTT 주제 · further topic filters")] = None,
    rate: Annotated[float | None, typer.Option(help="초당 측정값 · readings a second")] = None,
    note: Annotated[str, typer.Option(help="무엇의 키인지 · what the key is for")] = "",
) -> None:
    """기기에 키를 줍니다 · Give a device a key; its secret is shown once."""
    from sejong.field import add_device

    run(add_device(Settings(), name, ids=ids or [], filters=topic or [], rate=rate, note=note))


@devices.command("list")
def devices_list() -> None:
    """모든 키 · Every key."""
    from sejong.field import list_devices

    run(list_devices(Settings()))


@devices.command("revoke")
def devices_revoke(name: Annotated[str, typer.Argument(help="키의 이름 · name of the key")]) -> None:
    """키를 거둡니다 · Take a key away."""
    from sejong.field import revoke_device

    run(revoke_device(Settings(), name))


@devices.command("model")
def devices_model(file: Annotated[Path, typer.Argument(help="TOML 파일 · TOML file")]) -> None:
    """기기 모델을 가르칩니다 · Teach device models from a TOML file."""
    from sejong.field import add_models

    run(add_models(Settings(), file))


keys = typer.Typer(help="프로그램이 API를 쓰는 키 · keys programs use the API with", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command("add")
def keys_add(
    name: Annotated[str, typer.Argument(help="누구의 키인지 · whose key it is")],
    operator: Annotated[
        bool, typer.Option("--operator", help="데이터셋을 고칠 수 있는 키 · may also declare data sets")
    ] = False,
    rate: Annotated[float | None, typer.Option(help="초당 요청 · requests a second")] = None,
    daily: Annotated[int | None, typer.Option(help="하루 요청 · requests a day")] = None,
) -> None:
    """프로그램에 키를 줍니다 · Give a program a key; it is shown once."""
    from sejong.field import add_key

    run(add_key(Settings(), name, operator=operator, rate=rate, daily=daily))


@keys.command("list")
def keys_list() -> None:
    """모든 키 · Every key."""
    from sejong.field import show_keys

    run(show_keys(Settings()))


@keys.command("revoke")
def keys_revoke(name: Annotated[str, typer.Argument(help="키의 이름 · name of the key")]) -> None:
    """이 이름의 키를 모두 거둡니다 · Take away every key of this name."""
    from sejong.field import revoke_key

    run(revoke_key(Settings(), name))


@app.command()
def settings() -> None:
    """모든 설정과 뜻을 보여 줍니다 · Show every setting and its meaning."""
    typer.echo(settings_page(), nl=False)


@app.command()
def openapi(target: Annotated[Path | None, typer.Argument(help="파일 · file")] = None) -> None:
    """OpenAPI 문서를 씁니다 · Write the OpenAPI document."""
    import msgspec

    from sejong.app import openapi_document

    document = msgspec.json.format(msgspec.json.encode(openapi_document()), indent=1)
    if target is None:
        typer.echo(document.decode())
    else:
        target.write_bytes(document + b"\n")
