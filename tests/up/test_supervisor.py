"""One command starts a city, keeps it alive and stops it: real processes, real signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiomqtt
import msgspec
import psycopg
import pytest

from sejong.kit import child_process
from sejong.kit.embedded_broker import Credentials, credentials
from sejong.up.parts import LOG_BYTES, answers, trim_log

SOURCE = Path(__file__).parents[2] / "src"
DUMMIES = Path(__file__).with_name("dummy_city.py")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(holds: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return holds()


class City:
    """A city of dummies under the real supervisor, seen from outside."""

    def __init__(self, state: Path, *parts: str, language: str = "en", port: int | None = None) -> None:
        self.state = state
        self.port = port or free_port()
        self.mqtt_port = free_port()
        self.output = Path(tempfile.mkstemp(prefix="sejong-test-output-")[1])
        environment = {
            name: text for name, text in os.environ.items() if not name.startswith(("SEJONG_", "LC_", "LANG"))
        }
        self.process = subprocess.Popen(
            [sys.executable, str(DUMMIES), str(state), str(self.port), str(self.mqtt_port), *parts],
            stdout=self.output.open("wb"),
            stderr=subprocess.STDOUT,
            env={**environment, "PYTHONPATH": str(SOURCE), "LANG": f"{language}_XX.UTF-8"},
        )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def wait_until_up(self) -> None:
        assert eventually(lambda: "Ctrl-C" in self.said or self.process.poll() is not None), self.said
        assert self.process.poll() is None, self.said

    def events(self) -> list[str]:
        """What happened to which dummy, in order: `web started`, …"""
        try:
            lines = (self.state / "events").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [line.rpartition(" ")[0] for line in lines]

    def pids(self, name: str) -> list[int]:
        lines = (self.state / "events").read_text().splitlines()
        return [int(line.split()[-1]) for line in lines if line.startswith(f"{name} started")]

    def every_pid(self) -> list[int]:
        return [int(line.split()[-1]) for line in (self.state / "events").read_text().splitlines()]

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 8) -> tuple[int, float]:
        """Ask it to stop; answers its exit code and how many seconds it took."""
        begun = time.monotonic()
        self.send(number)
        code = self.process.wait(seconds)
        return code, time.monotonic() - begun

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.output.unlink(missing_ok=True)


@pytest.fixture
def state() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sejong-test-"))
    folder.chmod(0o755)
    (folder / "state").mkdir()
    yield folder / "state"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def start(state: Path) -> Iterator[Callable[..., City]]:
    cities: list[City] = []

    def begin(*parts: str, **options: object) -> City:
        cities.append(City(state, *parts, **options))  # pyright: ignore[reportArgumentType]
        return cities[-1]

    yield begin
    for city in cities:
        city.end()


def test_parts_start_in_order_and_everything_stops_when_asked(start: Callable[..., City], state: Path) -> None:
    city = start("migrate", "web", "work", "simulate")
    city.wait_until_up()
    assert answers(f"http://127.0.0.1:{city.port}/health/ready")
    begun = ["migrate started", "migrate done", "web started", "web ready", "work started", "simulate started"]
    assert eventually(lambda: sorted(city.events()) == sorted(begun))
    assert city.events()[:4] == begun[:4]  # the last two are not waited for
    assert re.search(r"✓ +\d+\.\d\d s  web\n", city.said)
    assert f"http://localhost:{city.port}" in city.said
    assert (state / "logs" / "web.log").read_text() == "hello from web\n"
    notice = msgspec.json.decode((state / "up.json").read_bytes())
    assert (notice["pid"], notice["port"]) == (city.process.pid, city.port)
    code, seconds = city.stop()
    assert (code, sorted(city.events()[-3:])) == (0, ["simulate stopped", "web stopped", "work stopped"])
    assert seconds < 3
    assert not (state / "up.json").exists()
    assert not any(child_process.alive(pid) for pid in city.every_pid())


def test_it_speaks_korean_to_a_korean_terminal(start: Callable[..., City]) -> None:
    city = start("work", language="ko")
    city.wait_until_up()
    assert "work-부분" in city.said
    assert "Ctrl-C" in city.said
    assert city.stop(signal.SIGINT)[0] == 0
    assert "모두 멈춤" in city.said


def test_previous_log_is_kept(start: Callable[..., City], state: Path) -> None:
    for _ in range(2):
        city = start("work")
        city.wait_until_up()
        # Alive counts as up: the part may not have said anything yet.
        assert eventually(lambda: (state / "logs" / "work.log").read_text() != "")
        city.stop()
    assert (state / "logs" / "work.log.1").read_text() == (state / "logs" / "work.log").read_text()


def test_parts_that_will_not_stop_are_killed(start: Callable[..., City]) -> None:
    city = start("stubborn", "stubborn2", "stubborn3", "work", "postgres", "broker")
    city.wait_until_up()
    assert eventually(lambda: "stubborn3 ignores" in city.events())
    code, seconds = city.stop()
    assert code == 0
    # Five seconds on a quiet machine; a test run beside others only shows that it does not wait for ever.
    assert seconds < 15
    assert not any(child_process.alive(pid) for pid in city.every_pid())


def test_second_ctrl_c_does_not_wait(start: Callable[..., City]) -> None:
    city = start("stubborn")
    city.wait_until_up()
    assert eventually(lambda: "stubborn ignores" in city.events())
    city.send(signal.SIGINT)
    time.sleep(0.3)
    code, seconds = city.stop(signal.SIGINT)
    assert code == 128 + signal.SIGINT
    assert seconds < 1
    assert eventually(lambda: not child_process.alive(city.pids("stubborn")[0]), 2)


def test_ctrl_c_while_coming_up(start: Callable[..., City]) -> None:
    city = start("work", "never")
    assert eventually(lambda: "never started" in city.events())
    code, seconds = city.stop(signal.SIGINT)
    assert code == 0
    assert seconds < 3
    assert not any(child_process.alive(pid) for pid in city.every_pid())


def test_killed_part_comes_back_and_is_spoken_of_once(start: Callable[..., City]) -> None:
    city = start("web", "work")
    city.wait_until_up()
    first = city.pids("web")[0]
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: "web is well again" in city.said)
    assert answers(f"http://127.0.0.1:{city.port}/health/ready")
    assert city.pids("web")[-1] != first
    assert city.said.count("web stopped (SIGKILL)") == 1
    assert len(city.pids("work")) == 1
    assert city.stop()[0] == 0


def test_what_a_killed_part_had_started_goes_with_it(start: Callable[..., City]) -> None:
    city = start("parent")
    city.wait_until_up()
    assert eventually(lambda: any("child=" in event for event in city.events()))
    grandchild = int(next(event for event in city.events() if "child=" in event).rpartition("=")[2])
    os.kill(city.pids("parent")[0], signal.SIGKILL)
    assert eventually(lambda: not child_process.alive(grandchild), 3)
    assert eventually(lambda: len(city.pids("parent")) == 2)


def test_part_that_keeps_dying_is_tried_ever_more_slowly(start: Callable[..., City]) -> None:
    city = start("work", "dying")
    city.wait_until_up()
    begun = time.monotonic()
    third = re.compile(r"dying stopped \(exit 5\); starting it again in 2 s\. Log: .*dying\.log")
    assert eventually(lambda: third.search(city.said) is not None)
    assert time.monotonic() - begun > 1.2  # 0.2 s, then 1 s
    assert len(city.pids("dying")) == 3
    assert city.stop()[0] == 0


def test_two_at_once_the_second_says_so(start: Callable[..., City]) -> None:
    first = start("work")
    first.wait_until_up()
    second = start("work", language="ko")
    assert second.process.wait(10) == 3
    assert f"프로세스 {first.process.pid}" in second.said
    assert f"http://localhost:{first.port}" in second.said
    third = start("work")
    assert third.process.wait(10) == 3
    assert "already running" in third.said
    assert len(first.pids("work")) == 1
    assert first.process.poll() is None


def test_taken_port_is_found_before_anything_starts(start: Callable[..., City], state: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        city = start("work", port=other.getsockname()[1])
        assert city.process.wait(10) == 1
    assert f"pid {os.getpid()}" in city.said
    assert "--port" in city.said
    assert "sejong doctor" in city.said
    assert city.events() == []


def test_failing_migration_shows_its_reason_and_leaves_nothing_running(start: Callable[..., City]) -> None:
    city = start("work", "broken", "web")
    assert city.process.wait(10) == 1
    assert "the migration 0042 is wrong" in city.said
    assert "exit 7" in city.said
    assert "web started" not in city.events()
    assert not any(child_process.alive(pid) for pid in city.every_pid())


def test_part_that_never_gets_ready_ends_the_start(start: Callable[..., City]) -> None:
    city = start("never")
    assert city.process.wait(15) == 1
    assert "not ready within 2 s" in city.said
    assert "hello from never" in city.said


def test_state_folder_that_cannot_be_written(start: Callable[..., City], state: Path) -> None:
    (state / "up.lock").mkdir()
    city = start("work")
    assert city.process.wait(10) == 1
    assert "cannot be written" in city.said


@on_linux
def test_nothing_outlives_a_killed_supervisor_and_the_next_start_resumes(
    start: Callable[..., City], state: Path
) -> None:
    city = start("postgres", "broker", "web", "work")
    city.wait_until_up()
    city.process.kill()
    city.process.wait()
    assert eventually(lambda: not any(child_process.alive(pid) for pid in city.every_pid()))
    again = start("postgres", "broker", "web", "work", port=city.port)
    again.wait_until_up()
    assert again.stop()[0] == 0


def test_killed_database_comes_back_with_its_data(start: Callable[..., City], state: Path) -> None:
    city = start("postgres", "work")
    city.wait_until_up()
    dsn = (state / "dsn").read_text()
    with psycopg.connect(dsn) as database:
        database.execute("CREATE TABLE kept AS SELECT 1 AS x")
        row = database.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'").fetchone()
    assert row is not None
    postmaster = int(Path(f"/proc/{row[0]}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(postmaster, signal.SIGKILL)
    assert eventually(lambda: "database is well again" in city.said)
    with psycopg.connect(dsn) as database:
        assert database.execute("SELECT x FROM kept").fetchone() == (1,)
    assert len(city.pids("work")) == 1
    assert city.stop()[0] == 0


def test_overgrown_log_is_cut_while_its_program_goes_on_writing(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * LOG_BYTES + b"the end\n")
        trim_log(log)
        writer.write(b"and on\n")
    assert log.read_bytes() == b"and on\n"
    kept = (tmp_path / "web.log.1").read_bytes()
    assert kept.endswith(b"the end\n")
    assert len(kept) <= LOG_BYTES
    trim_log(log)
    trim_log(tmp_path / "none.log")
    assert log.read_bytes() == b"and on\n"


@pytest.fixture
def small_disk(state: Path) -> Iterator[Path]:
    """A disk of 300 MB, which root can make where the system lets it."""
    disk = state.parent / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=False)


def fill(disk: Path) -> Path:
    with contextlib.suppress(OSError), (disk / "filling").open("wb", buffering=0) as filling:
        while True:
            filling.write(b"\0" * 65536)
    return disk / "filling"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_broker_that_met_a_full_disk_is_started_again_when_there_is_room(small_disk: Path) -> None:
    """A full disk leaves NATS deaf until it is restarted; nothing it acknowledged is lost."""

    async def send(user: Credentials, count: int) -> int:
        sent = 0
        try:
            async with aiomqtt.Client(
                "127.0.0.1", city.mqtt_port, username=user.name, password=user.password, timeout=2
            ) as device:
                while sent < count:
                    await device.publish("sejong/v1/gw-bike/readings", b"x" * 100_000, qos=1, timeout=2)
                    sent += 1
        except aiomqtt.MqttError:
            pass
        return sent

    async def keep_session(user: Credentials) -> None:
        async with aiomqtt.Client(
            "127.0.0.1",
            city.mqtt_port,
            username=user.name,
            password=user.password,
            identifier="kept",
            clean_session=False,
        ) as ingest:
            await ingest.subscribe("sejong/v1/+/readings", qos=1)

    state = small_disk / "state"
    state.mkdir()
    city = City(state, "broker", "work")
    try:
        city.wait_until_up()
        asyncio.run(keep_session(credentials(state, "ingest")))
        simulator = credentials(state, "simulator")
        assert asyncio.run(send(simulator, 3)) == 3
        filling = fill(small_disk)
        assert asyncio.run(send(simulator, 20)) < 20
        assert eventually(lambda: "The disk is almost full" in city.said)
        filling.unlink()
        assert eventually(lambda: "broker is well again" in city.said, 15)
        assert asyncio.run(send(simulator, 3)) == 3
        assert city.stop()[0] == 0
    finally:
        city.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_no_room_to_begin_with(small_disk: Path) -> None:
    fill(small_disk)
    for parts in (("postgres", "work"), ("work",)):
        city = City(small_disk / "state", *parts)
        assert city.process.wait(10) == 1
        assert "No space left" in city.said or "disk is full" in city.said
        assert "Traceback" not in city.said
        city.end()
