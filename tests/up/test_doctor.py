"""The doctor names what is wrong on this machine, in two languages, and says how to mend it."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from typer import Typer
from typer.testing import CliRunner

from sejong.kernel.clock import ManualClock
from sejong.kit import child_process
from sejong.kit import embedded_postgres_places as places
from sejong.kit.embedded_broker import Broker
from sejong.kit.embedded_postgres import Cluster
from sejong.kit.folder_lock import FolderLock
from sejong.up import checks
from sejong.up.commands import doctor
from sejong.up.database_check import database
from sejong.up.doctor import CHECKS, diagnose, ground_of, write_text
from sejong.up.findings import Check, Finding, Ground, ok
from sejong.up.ports import listener_of
from sejong.up.supervisor import Notice
from sejong.up.words import language_of


@pytest.fixture
def state() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sejong-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="sejong-test-"))
    folder.chmod(0o755)
    with Cluster(folder, fast=True) as cluster:
        yield cluster
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def ground(state: Path, **values: object) -> Ground:
    return Ground(**{"state": state, "port": 1, "mqtt_port": 1, **values})  # pyright: ignore[reportArgumentType]


def look_at_database(dsn: str) -> Finding:
    return database(ground(Path("/nowhere"), database_url=dsn))


def test_every_check_of_a_fresh_folder_is_well_or_explained(state: Path) -> None:
    found = list(diagnose(ground_of(state=state / "new", port=free_port(), mqtt_port=free_port(), environment={})))
    assert [one.name for one in found] == [check.name for check in CHECKS]
    assert {one.name for one in found if one.finding.level == "fail"} <= {"disk", "inodes"}, found
    for one in found:
        assert all(one.title)
        assert all(one.finding.meaning)
        assert one.finding.level == "ok" or all(one.finding.mend), one
    assert not (state / "new").exists()  # looking changes nothing


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_one_broken_check_stops_none_of_the_others(state: Path) -> None:
    def breaks(_: Ground) -> Finding:
        raise ZeroDivisionError("nothing to see")

    rows = [Check("a", ("가", "a"), breaks), Check("b", ("나", "b"), lambda _: ok(("좋음", "fine")))]
    found = list(diagnose(ground(state), rows))
    assert [one.finding.level for one in found] == ["fail", "ok"]
    assert "nothing to see" in found[0].finding.meaning[1]


def test_report_is_readable_and_says_what_to_do(state: Path, listener: int) -> None:
    found = diagnose(ground(state, port=listener), [Check("web-port", ("웹 포트", "web port"), checks.web_port)])
    stream = io.StringIO()
    write_text(found, "ko", stream)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("✗ 웹 포트: ")
    assert f"pid {os.getpid()}" in first
    assert f"--port {listener + 1}" in second


def test_command_gives_json_and_exit_code(state: Path, listener: int) -> None:
    app = Typer()
    app.command()(doctor)
    quiet = {name: None for name in os.environ if name.startswith("SEJONG_")}
    bad = CliRunner().invoke(app, ["--json", "--state", str(state), "--port", str(listener)], env=quiet)
    rows = {row["check"]: row for row in json.loads(bad.stdout)}
    assert bad.exit_code == 1
    assert rows["web-port"]["level"] == "fail"
    assert set(rows["web-port"]["mend"]) == {"ko", "en"}
    arguments = ["--state", str(state), "--port", str(free_port()), "--mqtt-port", str(free_port())]
    good = CliRunner().invoke(app, arguments, env={**quiet, "LANG": "ko_KR.UTF-8", "LC_ALL": None})
    assert good.exit_code == 0, good.stdout
    assert "문제가 없습니다" in good.stdout


def test_unwritable_state_folder(state: Path) -> None:
    found = checks.state_folder(ground(Path("/proc/sejong")))
    assert found.level == "fail"
    assert "/proc" in found.meaning[0]
    (state / "file").write_text("")
    assert checks.state_folder(ground(state / "file" / "state")).level == "fail"


def test_running_city_is_told_and_its_ports_are_not_called_taken(state: Path, listener: int) -> None:
    lock = FolderLock(state / "up.lock")
    assert lock.acquire()
    (state / "up.json").write_text(
        json.dumps({"pid": os.getpid(), "url": "http://localhost:1", "port": listener, "mqtt_port": listener})
    )
    seen = ground_of(state=state, port=listener, mqtt_port=listener, environment={})
    assert seen.running == os.getpid()
    assert "http://localhost:1" in checks.running(seen).meaning[0]
    assert checks.web_port(seen).level == checks.mqtt_port(seen).level == "ok"
    lock.release()
    stale = ground_of(state=state, port=listener, mqtt_port=listener, environment={})
    assert stale.running is None
    assert checks.web_port(stale).level == "fail"


def test_what_a_killed_city_left_behind(state: Path) -> None:
    data = state / "postgres" / "data"
    with Cluster(state):
        assert checks.leftovers(ground(state, running=1)).level == "ok"
        alive = checks.leftovers(ground(state))
        assert (alive.level, "still runs" in alive.meaning[1]) == ("warn", True)
    assert checks.leftovers(ground(state)).level == "ok"
    (data / "postmaster.pid").write_text("4000000\n")
    gone = checks.leftovers(ground(state))
    assert (gone.level, "recovers" in gone.mend[1]) == ("warn", True)
    kept = database(ground(state))
    assert (kept.level, "not running" in kept.meaning[1]) == ("ok", True)
    (data / "PG_VERSION").write_text("13\n")
    assert "SEJONG_PG_BIN" in database(ground(state)).mend[0]


def test_clock_that_is_wrong_or_went_back(state: Path) -> None:
    (state / "logs").mkdir()
    (state / "logs" / "web.log").write_text("")
    written = (state / "logs" / "web.log").stat().st_mtime
    for at, level in (
        (datetime.fromtimestamp(written, UTC), "ok"),
        (datetime.fromtimestamp(written - 3600, UTC), "warn"),
        (datetime(1970, 1, 2, tzinfo=UTC), "fail"),
    ):
        assert checks.clock(ground(state), ManualClock(at)).level == level


def test_good_database(server: Cluster) -> None:
    found = look_at_database(server.ensure_database("good"))
    assert (found.level, "PostgreSQL" in found.meaning[1]) == ("ok", True)


def test_running_embedded_database_is_looked_into(state: Path) -> None:
    with Cluster(state) as cluster:
        missing = database(ground(state, running=os.getpid()))
        assert (missing.level, "does not exist" in missing.meaning[1]) == ("fail", True)
        cluster.ensure_database("sejong")
        assert database(ground(state, running=os.getpid())).level == "ok"


def test_database_that_would_lose_korean(server: Cluster) -> None:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
        for name, options in (
            ("latin", "ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C'"),
            ("plain_c", "ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'"),
        ):
            admin.execute(sql.SQL(f"CREATE DATABASE {name} TEMPLATE template0 {options}"))  # pyright: ignore
    latin, plain = look_at_database(server.dsn("latin")), look_at_database(server.dsn("plain_c"))
    assert (latin.level, "LATIN1" in latin.meaning[1]) == ("fail", True)
    assert (plain.level, "Hangul" in plain.meaning[1]) == ("warn", True)
    assert "createdb" in plain.mend[0]


def test_database_without_the_right_to_create(server: Cluster) -> None:
    dsn = server.ensure_database("guarded")
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("CREATE ROLE visitor LOGIN")
    hba = server.data / "pg_hba.conf"
    before = hba.read_text()
    try:
        hba.write_text("local guarded visitor trust\n" + before)
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute("SELECT pg_reload_conf()")
        visitor = dsn.replace("//sejong@", "//visitor@")
        found = wait_for(lambda: look_at_database(visitor), lambda f: "pg_hba" not in f.meaning[1])
        assert (found.level, "GRANT CREATE" in found.mend[0]) == ("fail", True)
    finally:
        hba.write_text(before)


def wait_for(look: Callable[[], Finding], holds: Callable[[Finding], bool]) -> Finding:
    end = time.monotonic() + 5
    while not holds(found := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_database_that_does_not_let_us_in(server: Cluster, listener: int) -> None:
    dsn = server.dsn("nowhere")
    missing = look_at_database(dsn)
    assert (missing.level, "createdb" in missing.mend[1]) == ("fail", True)
    refused = look_at_database(f"postgresql://sejong:s3cret@127.0.0.1:{free_port()}/sejong")
    assert "pg_isready" in refused.mend[1]
    assert "s3cret" not in refused.meaning[1]
    silent = look_at_database(f"postgresql://sejong@127.0.0.1:{listener}/sejong")
    assert (silent.level, "firewall" in silent.mend[1]) == ("fail", True)
    assert look_at_database("not a dsn").level == "fail"


def test_wrong_password(server: Cluster) -> None:
    dsn = server.ensure_database("secret")
    hba = server.data / "pg_hba.conf"
    before = hba.read_text()
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("CREATE ROLE keeper LOGIN PASSWORD 'right'")
        hba.write_text("local all keeper scram-sha-256\n" + before)
        admin.execute("SELECT pg_reload_conf()")
    try:
        wrong = dsn.replace("//sejong@", "//keeper:wrong@")
        found = wait_for(lambda: look_at_database(wrong), lambda f: "Peer" not in f.meaning[1])
        assert (found.level, "password" in found.mend[1]) == ("fail", True)
        assert look_at_database(dsn.replace("//sejong@", "//keeper@")).level == "fail"
    finally:
        hba.write_text(before)


def test_programs_that_cannot_run(state: Path) -> None:
    found = checks.database_programs(ground(state, pg_bin=state))
    assert (found.level, "SEJONG_PG_BIN" in found.mend[0]) == ("fail", True)
    assert checks.database_programs(ground(state)).level == "ok"


def test_other_broker_is_signed_in_to(state: Path) -> None:
    with Broker(state, port=free_port()) as broker:
        url = broker.ingest.url(broker.port)
        assert checks.broker(ground(state, mqtt_url=url)).level == "ok"
        assert checks.broker(ground(state, mqtt_url=url.replace("@", "x@"))).level == "fail"
    assert checks.broker(ground(state, mqtt_url=url)).level == "fail"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root keeps databases outside their state folder")
def test_orphaned_databases_are_named(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = state / "machine"
    monkeypatch.setattr(places, "MACHINE_FOLDERS", (machine,))
    for name in ("state-kept", "state-lost"):
        (machine / name).mkdir(parents=True)
        (machine / name / "BELONGS_TO").write_text(f"{state / name}\n")
    (state / "state-kept").mkdir()
    (state / "state-kept" / "postgres").symlink_to(machine / "state-kept")
    found = checks.orphans(ground(state))
    assert found.level == "warn"
    assert "state-lost" in found.mend[1]
    assert "state-kept" not in found.mend[1]


def test_who_listens(listener: int) -> None:
    who = listener_of(listener)
    assert who is not None
    assert who.pid == os.getpid()
    assert listener_of(free_port()) is None


def test_language_of_the_terminal() -> None:
    assert language_of({"LANG": "en_US.UTF-8", "LC_ALL": "ko_KR.UTF-8"}) == "ko"
    assert language_of({"LANG": "ko_KR.UTF-8", "SEJONG_LANGUAGE": "en"}) == "en"
    assert language_of({}) == "en"


def test_lock_ends_with_its_process(state: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from sejong.kit.folder_lock import FolderLock\n"
        "lock = FolderLock(Path(sys.argv[1])); print(lock.acquire(), flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(state / "lock")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "True\n"
    mine = FolderLock(state / "lock")
    assert not mine.acquire()
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert mine.acquire()
    assert mine.acquire()
    mine.release()
    mine.release()


def test_notice_names_no_broker_when_there_is_none() -> None:
    assert Notice(1, "http://localhost:8000", 8000).mqtt_port is None


def test_process_that_is_gone_is_not_alive() -> None:
    gone = subprocess.Popen(["true"])
    end = time.monotonic() + 5
    while child_process.alive(gone.pid) and time.monotonic() < end:  # a zombie until somebody waits for it
        time.sleep(0.01)
    assert not child_process.alive(gone.pid)
    gone.wait()
    assert child_process.alive(1)
