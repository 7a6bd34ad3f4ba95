"""`sejong up` and `sejong doctor`: plain functions that the command line mounts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from sejong.kernel.errors import CityError
from sejong.up.parts import Part, Running
from sejong.up.plan import Options, city_plan
from sejong.up.ports import require_free
from sejong.up.progress import Progress
from sejong.up.supervisor import AlreadyUp, Notice, StopAsked, Supervisor
from sejong.up.words import chosen, language_of

STOPPED, FAILED, ALREADY_UP = 0, 1, 3

State = Annotated[
    Path,
    typer.Option(envvar="SEJONG_STATE", help="상태 폴더: 다시 시작해도 남는 모든 것 · folder that survives a restart"),
]
Port = Annotated[int, typer.Option(envvar="SEJONG_PORT", min=1, max=65535, help="웹 포트 · web port")]
MqttPort = Annotated[int, typer.Option("--mqtt-port", min=1, max=65535, help="MQTT 포트 · MQTT port")]


def up(
    state: State = Path("state"),
    city: Annotated[str, typer.Option(envvar="SEJONG_CITY", help="도시 팩 · city pack")] = "sejong",
    host: Annotated[
        str, typer.Option(envvar="SEJONG_HOST", help="웹이 듣는 주소 · address to listen on")
    ] = "127.0.0.1",
    port: Port = 8000,
    mqtt_port: MqttPort = 1883,
    speed: Annotated[float, typer.Option(min=1, max=600, help="도시 시계의 빠르기 · speed of the city clock")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="시뮬레이터 씨앗 · simulator seed")] = None,
    simulator: Annotated[bool, typer.Option(help="현장 기기 흉내 · play the field devices")] = True,
) -> None:
    """도시 전체를 이 컴퓨터에서 켭니다 · Bring the whole city to life on this machine."""
    options = Options(
        state=state, city=city, host=host, port=port, mqtt_port=mqtt_port, speed=speed, seed=seed, simulator=simulator
    )
    raise typer.Exit(run_city(options, lambda: city_plan(options)))


def run_city(options: Options, plan: Callable[[], Iterable[Iterable[Part | Running]]]) -> int:
    """Run a plan under the supervisor until somebody stops it; answers the exit code."""
    language = language_of()
    progress = Progress(language)
    own_broker = not os.environ.get("SEJONG_MQTT_URL")
    notice = Notice(os.getpid(), options.url, options.port, options.mqtt_port if own_broker else None)
    try:
        with Supervisor(options.state, progress, notice) as supervisor:
            require_free(options.port, "--port", options.host)
            if own_broker:
                require_free(options.mqtt_port, "--mqtt-port")
            try:
                supervisor.up(plan())
                _welcome(progress, options)
                supervisor.keep()
            except StopAsked:
                pass
    except AlreadyUp as error:
        progress.fail((error.message("ko"), error.message("en")))
        return ALREADY_UP
    except CityError as error:
        progress.fail((error.message("ko"), error.message("en")))
        _advise(progress)
        return FAILED
    except OSError as error:
        text = f"{error.filename or options.state}: {error.strerror}"
        progress.fail((text, text))
        _advise(progress)
        return FAILED
    return STOPPED


def _advise(progress: Progress) -> None:
    progress.say(("`sejong doctor`가 무엇이 문제인지 살펴봅니다.", "`sejong doctor` looks for what is wrong."))


def _welcome(progress: Progress, options: Options) -> None:
    seconds = f"{progress.seconds:.1f}"
    progress.say(("", ""))
    progress.say((f"{options.url}  — {seconds}초 만에 켜졌습니다", f"{options.url}  — up in {seconds} s"))
    for text in (
        ("  지금의 도시        {url}/", "  the city now        {url}/"),
        ("  찾기 (예: 나성)    {url}/find?q=나성", "  find (e.g. Naseong) {url}/find?q=나성"),
        ("  자료 운영          {url}/ops/data", "  data operations     {url}/ops/data"),
        ("  기록               {logs}", "  logs                {logs}"),
        ("  끝내기             Ctrl-C", "  stop                Ctrl-C"),
    ):
        logs = options.state.absolute() / "logs"
        progress.say((text[0].format(url=options.url, logs=logs), text[1].format(url=options.url, logs=logs)))


def doctor(
    state: State = Path("state"),
    port: Port = 8000,
    mqtt_port: MqttPort = 1883,
    as_json: Annotated[bool, typer.Option("--json", help="기계가 읽을 형식 · for machines")] = False,
) -> None:
    """무엇이 문제이고 어떻게 고치는지 알려 줍니다 · Say what is wrong and how to mend it."""
    from sejong.up.doctor import diagnose, ground_of, write_json, write_text  # only the doctor carries its bag

    ground = ground_of(state=state, port=port, mqtt_port=mqtt_port)
    diagnoses = list(diagnose(ground))
    if as_json:
        write_json(diagnoses, sys.stdout)
    else:
        language = language_of()
        write_text(diagnoses, language, sys.stdout)
        failed = sum(found.finding.level == "fail" for found in diagnoses)
        summary = (
            (f"고쳐야 할 것 {failed}가지.", f"{failed} to mend.") if failed else ("문제가 없습니다.", "All is well.")
        )
        typer.echo(chosen(summary, language))
    raise typer.Exit(1 if any(found.finding.level == "fail" for found in diagnoses) else 0)
