"""Programs the city starts beside itself: they die with it, run with the least rights, and stop when asked."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

# Runs between fork and the program. PR_SET_PDEATHSIG (1) must be asked for after the change of user, which clears
# it, and is why `Popen(user=…)` alone is not enough; a `preexec_fn` would be unsafe (and warned about) once the
# parent has threads. A parent that died before the call is noticed by its changed id.
_SHIM = """
import os, sys
parent, death, uid, gid, *argv = sys.argv[1:]
if sys.platform == "linux":
    import ctypes
    prctl = ctypes.CDLL(None).prctl
if uid != "-":
    os.setgroups([]); os.setgid(int(gid)); os.setuid(int(uid))
if sys.platform == "linux" and death != "0":
    prctl(1, int(death), 0, 0, 0)
    if os.getppid() != int(parent): os._exit(0)
try:
    os.execve(argv[0], argv, os.environ)
except OSError as error:
    sys.stderr.write(f"{argv[0]}: {error.strerror}\\n"); os._exit(126)
"""


class Account(msgspec.Struct, frozen=True):
    """A user of this machine under which a program of the city may run."""

    name: str
    uid: int
    gid: int


def account_of(uid: int) -> Account | None:
    """The user with this id, or None when the machine has no such user."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def unprivileged_account(names: Iterable[str] = ("postgres", "nobody")) -> Account | None:
    """The first user of the machine that can be used for programs that must not run as root."""
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    return None


def spawn(
    argv: Sequence[str],
    *,
    output: IO[bytes] | int = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    account: Account | None = None,
    at_parent_death: int = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a program in its own session; it gets `at_parent_death` when the thread that called this ends.

    Call it from a thread that lives as long as the program should. `account` needs root. Where the system has no
    such death signal (macOS), the program outlives a killed parent and the next start has to stop it.
    """
    uid, gid = (str(account.uid), str(account.gid)) if account else ("-", "-")
    shim = [sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid()), str(int(at_parent_death)), uid, gid, *argv]
    return subprocess.Popen(
        shim,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(env) if env is not None else None,
        cwd=cwd,
        start_new_session=True,
    )


def run(
    argv: Sequence[str], *, account: Account | None = None, env: Mapping[str, str] | None = None, seconds: float = 120
) -> tuple[int, str]:
    """Run a short program to its end; answers its exit code and everything it said.

    A program that cannot be started at all answers 126, as a shell would.
    """
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            cwd="/",
            timeout=seconds,
            check=False,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except OSError as error:
        return 126, f"{argv[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return 124, f"{argv[0]}: no answer within {seconds:.0f} s"
    return done.returncode, done.stdout.decode(errors="replace")


def stop(process: subprocess.Popen[bytes], steps: Iterable[tuple[int, float]]) -> int:
    """End a program with ever stronger signals, each given its seconds, and answer its exit code.

    After the last step it is killed outright, so this always returns with the program gone.
    """
    for number, seconds in steps:
        if process.poll() is not None:
            break
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:
        process.kill()
    return process.wait()


def alive(pid: int) -> bool:
    """Whether a process with this id exists (a zombie that nobody has collected counts as gone)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return True
    return status.rpartition(")")[2].split()[:1] != ["Z"]
