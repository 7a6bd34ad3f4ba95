"""The parts a running city consists of on one machine: programs of ours, and the database and broker it hosts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from sejong.kernel.errors import CityError
from sejong.kit import child_process
from sejong.up.words import Text

LOG_BYTES = 20 * 1000**2


class PartFailed(CityError):
    """A part of the city ended, or did not become ready, while the city was coming up."""

    status = 503
    ko = "{label}: 시작하지 못했습니다 ({how}). 기록의 마지막 부분 — {log}\n{tail}"
    en = "{label} did not start ({how}). The end of its log — {log}\n{tail}"


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One program of the city, as data: how it is started and how it is known to be ready.

    `once`: it runs to its end before the next one starts (migrations). `ready` is asked until it says yes;
    without it, being alive is enough. `grace`: seconds it may take to stop before it is killed.
    """

    name: str
    label: Text
    argv: tuple[str, ...]
    env: Mapping[str, str] = {}
    once: bool = False
    ready: Callable[[], bool] | None = None
    ready_seconds: float = 60.0
    grace: float = 2.0


class Running(Protocol):
    """What the supervisor keeps alive."""

    name: str
    label: Text
    grace: float

    @property
    def log(self) -> Path: ...

    @property
    def is_running(self) -> bool: ...

    def start(self) -> None: ...

    def is_ready(self) -> bool: ...

    def ask_to_stop(self) -> None: ...

    def stop(self, seconds: float) -> None: ...

    def kill(self) -> None: ...

    def how_it_ended(self) -> str: ...


class Program:
    """A running `Part`: its process, and its log under `<state>/logs`."""

    def __init__(self, part: Part, state: Path) -> None:
        self.part = part
        self.name = part.name
        self.label = part.label
        self.grace = part.grace
        self._log = state / "logs" / f"{part.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._session_ended = True

    @property
    def log(self) -> Path:
        return self._log

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Its process id, also after it ended."""
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """How it ended: 0 is well, negative is the signal that ended it, None is not yet."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start it (again); the log of the run before is kept as `.1`."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self._process = child_process.spawn(
                self.part.argv, output=output, env={**os.environ, "PYTHONUNBUFFERED": "1", **self.part.env}
            )
            self._session_ended = False

    def is_ready(self) -> bool:
        return self.is_running and (self.part.ready is None or self.part.ready())

    def ask_to_stop(self) -> None:
        if self._process is not None and self.is_running:
            self._process.terminate()

    def stop(self, seconds: float) -> None:
        self.ask_to_stop()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, seconds))
        self.kill()

    def kill(self) -> None:
        """End it and every process it started (they share its session)."""
        if self._process is not None and not self._session_ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._session_ended = True

    def how_it_ended(self) -> str:
        code = self.exit_code
        if code is None:
            return f"not ready within {self.part.ready_seconds:.0f} s"
        if code < 0:
            return signal.Signals(-code).name
        return f"exit {code}"

    def failure(self) -> PartFailed:
        """Its end as an error that shows the end of its log."""
        try:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        except OSError:
            tail = ""
        return PartFailed(label=self.label[1], how=self.how_it_ended(), log=self.log, tail=tail)


class Engine(Protocol):
    """A database or broker that knows how to start and stop itself (`Cluster`, `Broker`)."""

    @property
    def is_running(self) -> bool: ...

    @property
    def pid(self) -> int | None: ...

    @property
    def log(self) -> Path: ...

    def start(self) -> None: ...

    def stop(self, timeout: float = ...) -> None: ...


class Hosted:
    """An engine the city runs for itself, as a part. `wounded` says that only a restart will heal it."""

    def __init__(
        self, name: str, label: Text, engine: Engine, grace: float, wounded: Callable[[], bool] | None = None
    ) -> None:
        self.name = name
        self.label = label
        self.grace = grace
        self.engine = engine
        self._wounded = wounded

    @property
    def log(self) -> Path:
        return self.engine.log

    @property
    def is_running(self) -> bool:
        return self.engine.is_running

    def start(self) -> None:
        self.engine.start()

    def is_ready(self) -> bool:
        return self.engine.is_running

    def is_wounded(self) -> bool:
        """Whether it runs but no longer does its work."""
        return self.is_running and self._wounded is not None and self._wounded()

    def ask_to_stop(self) -> None:
        """An engine is only asked when its turn comes: the programs still write to it."""

    def stop(self, seconds: float) -> None:
        self.engine.stop(max(0.1, seconds))

    def kill(self) -> None:
        if (pid := self.engine.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)  # PostgreSQL: leave at once, recover at the next start

    def how_it_ended(self) -> str:
        return "ended"


def answers(url: str, seconds: float = 1.0) -> bool:
    """Whether a web address says 200; how `sejong web` is known to be ready."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # this machine, never a proxy
    try:
        with opener.open(url, timeout=seconds) as answer:
            return answer.status == 200
    except (OSError, ValueError):
        return False


def trim_log(path: Path) -> None:
    """Keep a log that a program holds open from filling the disk: what it has goes to `.1`, and it begins anew."""
    try:
        if path.stat().st_size <= LOG_BYTES:
            return
        with path.open("rb") as stream, path.with_suffix(".log.1").open("wb") as kept:
            stream.seek(-LOG_BYTES // 2, os.SEEK_END)
            kept.write(stream.read())
        os.truncate(path, 0)
    except OSError:
        return
