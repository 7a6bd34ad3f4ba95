"""What the doctor looks at on this machine, one function each; the table at the end lists them."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiomqtt

from sejong.kernel.clock import Clock, SystemClock
from sejong.kernel.errors import CityError
from sejong.kit import child_process
from sejong.kit import embedded_postgres_places as places
from sejong.kit.embedded_broker import broker_program
from sejong.up.database_check import database
from sejong.up.findings import Check, Finding, Ground, fail, ok, warn
from sejong.up.ports import is_free, listener_of

FREE_BYTES_NEEDED = 300 * 1000**2
FREE_BYTES_WISHED = 3 * 1000**3
FREE_INODES_NEEDED = 2_000
MEMORY_BYTES_WISHED = 1_000 * 1000**2
FILES_WISHED = 1_024
OLDEST_PYTHON = (3, 11)
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def python(_: Ground) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return fail(
            (f"{version}은 너무 오래되었습니다", f"{version} is too old"),
            ("파이썬 3.11 이상으로 `make sync`를 다시 하세요.", "Run `make sync` again with Python 3.11 or newer."),
        )
    return ok((version, version))


def state_folder(ground: Ground) -> Finding:
    folder = _nearest_existing(ground.state)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".sejong-doctor-"):
            pass
    except OSError as error:
        who, owner = places.owner_name(), places.owner_name(folder)
        return fail(
            (f"{folder}에 쓸 수 없습니다({error.strerror})", f"{folder} cannot be written ({error.strerror})"),
            (
                f"사용자 {who}로 실행 중이고 폴더 주인은 {owner}입니다. `sudo chown {who} {folder}`를 하거나 "
                "--state로 다른 폴더를 고르세요.",
                f"You are {who}, the folder is {owner}'s. Use `sudo chown {who} {folder}`, "
                "or choose another with --state.",
            ),
        )
    new = "" if folder == ground.state else (" (새로 만듭니다)", " (will be made)")
    return ok((f"{ground.state}{new and new[0]}", f"{ground.state}{new and new[1]}"))


def disk_space(ground: Ground) -> Finding:
    free = shutil.disk_usage(_nearest_existing(ground.state)).free
    seen = (f"{free / 1e9:.1f} GB 남음", f"{free / 1e9:.1f} GB free")
    mend = (
        "공간을 비우거나 --state로 다른 디스크를 고르세요.",
        "Free some space, or choose another disk with --state.",
    )
    if free < FREE_BYTES_NEEDED:
        return fail(seen, mend)
    return warn(seen, mend) if free < FREE_BYTES_WISHED else ok(seen)


def inodes(ground: Ground) -> Finding:
    disk = os.statvfs(_nearest_existing(ground.state))
    seen = (f"파일 {disk.f_favail}개 더 만들 수 있음", f"room for {disk.f_favail} more files")
    if disk.f_files and disk.f_favail < FREE_INODES_NEEDED:  # some file systems count none: f_files is 0
        return fail(seen, ("필요 없는 작은 파일들을 지우세요.", "Delete small files that nobody needs."))
    return ok(seen)


def memory(_: Ground) -> Finding:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return ok(("이 시스템에서는 알 수 없음", "not known on this system"))
    seen = (f"{free / 1e9:.1f} GB 쓸 수 있음", f"{free / 1e9:.1f} GB available")
    if free < MEMORY_BYTES_WISHED:
        return warn(
            seen, ("다른 프로그램을 닫으세요. 1 GB가 필요합니다.", "Close other programs; the city takes 1 GB.")
        )
    return ok(seen)


def open_files(_: Ground) -> Finding:
    limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    seen = (f"파일 {limit}개", f"{limit} files")
    if limit < FILES_WISHED:
        return warn(seen, ("`ulimit -n 4096`을 먼저 실행하세요.", "Run `ulimit -n 4096` first."))
    return ok(seen)


def clock(ground: Ground, computer: Clock | None = None) -> Finding:
    now = (computer or SystemClock()).now()
    seen = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    mend = (
        "시계를 맞추세요(예: `sudo timedatectl set-ntp true`).",
        "Set the clock (e.g. `sudo timedatectl set-ntp true`).",
    )
    if not 2026 <= now.year < 2100:
        return fail((f"{seen}: 시계가 틀렸습니다", f"{seen}: the clock is wrong"), mend)
    logs = [path.stat().st_mtime for path in (ground.state / "logs").glob("*.log")]
    behind = max(logs, default=0.0) - now.timestamp()
    if behind > 60:
        return warn(
            (
                f"{seen}: 지난 실행보다 {behind:.0f}초 뒤로 갔습니다",
                f"{seen}: {behind:.0f} s before the city's last run",
            ),
            mend,
        )
    return ok((seen, seen))


def running(ground: Ground) -> Finding:
    if ground.running is None:
        return ok(("실행 중인 도시가 없습니다", "no city is running on this folder"))
    url = ground.notice.url if ground.notice else "?"
    return ok((f"실행 중(프로세스 {ground.running}): {url}", f"running (process {ground.running}): {url}"))


def leftovers(ground: Ground) -> Finding:
    data = (ground.state / "postgres").resolve() / "data"
    pid = places.postmaster_pid(data)
    if ground.running is not None or pid is None:
        return ok(("없음", "none"))
    if pid in places.processes_of(data):
        return warn(
            (
                f"지난 실행의 데이터베이스(프로세스 {pid})가 아직 돌고 있습니다",
                f"the last run's database (process {pid}) still runs",
            ),
            ("다음 `sejong up`이 깨끗이 끝내고 이어 갑니다.", "The next `sejong up` stops it cleanly and goes on."),
        )
    return warn(
        ("데이터베이스가 지난번에 갑자기 끝났습니다", "the database ended suddenly last time"),
        ("할 일 없음: 다음 시작 때 스스로 복구합니다.", "Nothing to do: it recovers by itself at the next start."),
    )


def web_port(ground: Ground) -> Finding:
    return _port(ground, ground.port, "--port", ground.notice.port if ground.notice else None)


def mqtt_port(ground: Ground) -> Finding:
    if ground.mqtt_url:
        return ok(("SEJONG_MQTT_URL의 브로커를 씁니다", "the broker of SEJONG_MQTT_URL is used"))
    return _port(ground, ground.mqtt_port, "--mqtt-port", ground.notice.mqtt_port if ground.notice else None)


def database_programs(ground: Ground) -> Finding:
    if ground.database_url:
        return ok(("SEJONG_DATABASE_URL의 것을 씁니다", "the one of SEJONG_DATABASE_URL is used"))
    mend = (
        "`uv sync`를 다시 하거나 SEJONG_PG_BIN에 PostgreSQL의 bin 폴더를 지정하세요.",
        "Run `uv sync` again, or point SEJONG_PG_BIN at a PostgreSQL bin folder.",
    )
    try:
        programs = ground.pg_bin or places.wheel_programs()
        account = places.server_account((ground.state / "postgres").resolve() / "data")
    except CityError as error:
        return fail((error.message("ko"), error.message("en")), mend)
    code, said = child_process.run([str(programs / "postgres"), "--version"])
    if code != 0:
        return fail((said.strip(), said.strip()), mend)
    version = said.strip()
    if account is None:
        return ok((version, version))
    return ok((f"{version}, 사용자 {account.name}로 실행", f"{version}, run as user {account.name}"))


def broker(ground: Ground) -> Finding:
    if ground.mqtt_url:
        return _other_broker(ground.mqtt_url)
    try:
        code, said = child_process.run([str(broker_program()), "--version"])
    except CityError as error:
        return fail((error.message("ko"), error.message("en")))
    if code != 0:
        return fail((said.strip(), said.strip()), ("`uv sync`를 다시 하세요.", "Run `uv sync` again."))
    return ok((said.strip(), said.strip()))


def _other_broker(url: str) -> Finding:
    """Sign in at the broker of SEJONG_MQTT_URL, as ingest would."""
    address = urlsplit(url)
    where = f"{address.hostname}:{address.port or 1883}"

    async def sign_in() -> None:
        async with aiomqtt.Client(
            address.hostname or "localhost",
            address.port or 1883,
            username=unquote(address.username) if address.username else None,
            password=unquote(address.password) if address.password else None,
            timeout=3,
        ):
            pass

    try:
        asyncio.run(sign_in())
    except (aiomqtt.MqttError, OSError, ValueError) as error:
        return fail(
            (f"{where}: 들어갈 수 없습니다({error})", f"{where}: cannot sign in ({error})"),
            (
                "주소, 이름, 암호를 확인하세요: mqtt://이름:암호@서버:포트",
                "Check address, name and password: mqtt://name:password@host:port",
            ),
        )
    return ok((where, where))


def orphans(ground: Ground) -> Finding:
    """Databases kept outside their state folder (root's private home) whose folder is gone."""
    left: list[Path] = []
    for machine in places.MACHINE_FOLDERS:
        for mark in machine.glob("state-*/BELONGS_TO") if os.access(machine, os.R_OK) else ():
            try:
                pointer = Path(mark.read_text().strip()) / "postgres"
            except OSError:
                continue
            if pointer.resolve() != mark.parent:
                left.append(mark.parent)
    if not left:
        return ok(("없음", "none"))
    names = " ".join(map(str, left))
    return warn(
        (f"상태 폴더가 없어진 데이터베이스: {names}", f"databases whose state folder is gone: {names}"),
        (f"필요 없으면 지우세요: `rm -r {names}`", f"If nobody needs them: `rm -r {names}`"),
    )


def browser(_: Ground) -> Finding:
    found = next((path for name in _CHROMIUM if (path := shutil.which(name))), None)
    if found:
        return ok((found, found))
    return warn(
        ("chromium이 없습니다(브라우저 시험에만 필요)", "no chromium (needed by the browser tests only)"),
        ("`sudo apt-get install chromium fonts-noto-cjk`", "`sudo apt-get install chromium fonts-noto-cjk`"),
    )


def _port(ground: Ground, port: int, option: str, ours: int | None) -> Finding:
    if ground.running is not None and ours == port:
        return ok((f"{port}: 이 도시가 쓰고 있음", f"{port}: in use by this city"))
    if is_free(port):
        return ok((f"{port}: 비어 있음", f"{port}: free"))
    who = listener_of(port) or "?"
    return fail(
        (f"{port}: {who}이(가) 쓰고 있음", f"{port}: taken by {who}"),
        (
            f"그 프로그램을 끝내거나 `{option} {port + 1}`을 쓰세요.",
            f"Stop that program, or use `{option} {port + 1}`.",
        ),
    )


def _nearest_existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


CHECKS: tuple[Check, ...] = (
    Check("python", ("파이썬", "Python"), python),
    Check("state", ("상태 폴더", "state folder"), state_folder),
    Check("disk", ("디스크 공간", "disk space"), disk_space),
    Check("inodes", ("파일 개수", "file count"), inodes),
    Check("memory", ("메모리", "memory"), memory),
    Check("files", ("열 수 있는 파일", "open files"), open_files),
    Check("clock", ("시계", "clock"), clock),
    Check("running", ("실행 상태", "running"), running),
    Check("leftovers", ("지난 실행의 흔적", "left by the last run"), leftovers),
    Check("web-port", ("웹 포트", "web port"), web_port),
    Check("mqtt-port", ("MQTT 포트", "MQTT port"), mqtt_port),
    Check("programs", ("PostgreSQL", "PostgreSQL"), database_programs),
    Check("database", ("데이터베이스", "database"), database),
    Check("broker", ("MQTT 브로커", "MQTT broker"), broker),
    Check("orphans", ("주인 없는 데이터베이스", "orphaned databases"), orphans),
    Check("browser", ("브라우저", "browser"), browser),
)
