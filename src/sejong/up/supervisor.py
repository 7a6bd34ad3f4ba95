"""Keeps the parts of one city alive on one machine: starts them in order, revives them, stops them in reverse."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Self

import msgspec

from sejong.kernel.clock import Clock, SystemClock
from sejong.kernel.errors import CityError
from sejong.kit.folder_lock import FolderLock, holder
from sejong.up.parts import Hosted, Part, Program, Running, trim_log
from sejong.up.progress import Progress

# Units: seconds. All stops together stay below STOP_SECONDS; the issue promises five.
STOP_SECONDS = 4.6
BACK_OFF = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
CALM_SECONDS = 60.0
STEADY_SECONDS = 5.0
LOOK_EVERY = 0.2
CARE_EVERY = 5.0
# Units: bytes. Below this the person is warned that the disk is filling up.
FREE_BYTES_WARNING = 500 * 1000**2
# Units: bytes. With this much room again, a part that could not write is started anew.
FREE_BYTES_AGAIN = 50 * 1000**2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class AlreadyUp(CityError):
    """A city already runs on this state folder."""

    status = 409
    ko = (
        "세종이 이미 이 폴더에서 실행 중입니다(프로세스 {pid}, {url}): {state}. 그대로 쓰시거나, 그 터미널에서 "
        "Ctrl-C로 끝내거나, --state와 --port로 두 번째 도시를 여세요."
    )
    en = (
        "sejong is already running on this folder (process {pid}, {url}): {state}. Use that one, stop it with "
        "Ctrl-C in its terminal, or open a second city with --state and --port."
    )


class StateUnusable(CityError):
    """The state folder cannot be written."""

    status = 503
    ko = (
        "상태 폴더에 쓸 수 없습니다: {state} ({why}). 권한과 디스크 공간을 확인하거나 --state로 다른 폴더를 "
        "고르세요. `sejong doctor`가 더 자세히 알려 줍니다."
    )
    en = (
        "The state folder cannot be written: {state} ({why}). Check its rights and the disk space, or choose "
        "another with --state. `sejong doctor` tells more."
    )


class StopAsked(BaseException):
    """Somebody wants the city to stop while it is still coming up."""


class Notice(msgspec.Struct, frozen=True):
    """What a running city leaves in its state folder so that others can find it."""

    pid: int
    url: str
    port: int
    mqtt_port: int | None = None


class _Trouble(msgspec.Struct):
    """How often a part died lately, when it is tried again, and since when it is well."""

    attempts: int = 0
    again_at: float | None = None
    starting: bool = False
    started_at: float = 0.0
    well_since: float = 0.0


class Supervisor:
    """The lock on one state folder and everything that runs under it. Use as a context manager.

    `up(stages)` starts stage after stage (the parts of one stage together) and returns when the last is ready;
    `keep()` revives what dies until somebody asks to stop; leaving the block stops everything. The first SIGINT,
    SIGTERM or SIGHUP stops cleanly, the second one at once.
    """

    def __init__(self, state: Path, progress: Progress, notice: Notice, clock: Clock | None = None) -> None:
        self.state = state.absolute()
        self.progress = progress
        self.notice = notice
        self._clock = clock or SystemClock()
        self._lock = FolderLock(self.state / "up.lock")
        self._parts: list[Running] = []
        self._trouble: dict[str, _Trouble] = {}
        self._stop = threading.Event()
        self._interruptible = False
        self._warned_of_disk = False
        self._care_at = 0.0

    def __enter__(self) -> Self:
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            taken = self._lock.acquire()
        except OSError as error:
            raise StateUnusable(state=self.state, why=error.strerror) from error
        if not taken:
            running = read_notice(self.state)
            pid = holder(self._lock.path) or "?"
            raise AlreadyUp(pid=pid, url=running.url if running else "?", state=self.state)
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self._interruptible = False
        self.stop_all()
        (self.state / "up.json").unlink(missing_ok=True)
        self._lock.release()

    def up(self, stages: Iterable[Iterable[Part | Running]]) -> None:
        """Start every part in order. Raises PartFailed, the engines' own errors, or StopAsked.

        `stages` may be a generator: each stage is asked for when the one before it is ready.
        """
        try:
            (self.state / "up.json").write_bytes(msgspec.json.encode(self.notice))
        except OSError as error:
            raise StateUnusable(state=self.state, why=error.strerror) from error
        with self._stoppable():
            for stage in stages:
                started = [self._begin(part) for part in stage]
                for part in started:
                    with self.progress.step(part.label):
                        self._await(part)

    def keep(self) -> None:
        """Look after the city until somebody asks it to stop."""
        while not self._stop.wait(LOOK_EVERY):
            now = self._clock.monotonic()
            for part in self._parts:
                self._look_after(part, now)
            if now >= self._care_at:
                self._care_at = now + CARE_EVERY
                self._take_care()

    def stop_all(self) -> None:
        """Stop every part, the last started first, within STOP_SECONDS in all."""
        if not self._parts:
            return
        with self.progress.step(("모두 멈춤", "everything stopped")):
            deadline = self._clock.monotonic() + STOP_SECONDS
            parts = self._parts[::-1]
            for part in parts:
                part.ask_to_stop()
            for place, part in enumerate(parts):
                kept_back = sum(min(later.grace, 0.8) for later in parts[place + 1 :])
                part.stop(min(part.grace, max(0.1, deadline - kept_back - self._clock.monotonic())))
            self._parts = []

    # -- inside ----------------------------------------------------------------------------------------------

    def _begin(self, part: Part | Running) -> Running:
        running = Program(part, self.state) if isinstance(part, Part) else part
        self._parts.append(running)
        self._trouble[running.name] = _Trouble()
        if isinstance(running, Program):
            running.start()
        return running

    def _await(self, part: Running) -> None:
        if not isinstance(part, Program):
            part.start()
            return
        deadline = self._clock.monotonic() + part.part.ready_seconds
        if part.part.once:
            while part.is_running and self._clock.monotonic() < deadline:
                self._stop.wait(0.02)
            self._parts.remove(part)
            if part.exit_code != 0:
                part.kill()
                raise part.failure()
            return
        while not part.is_ready():
            if not part.is_running or self._clock.monotonic() > deadline:
                raise part.failure()
            self._stop.wait(0.05)

    def _look_after(self, part: Running, now: float) -> None:
        trouble = self._trouble[part.name]
        if part.is_running:
            if trouble.starting and part.is_ready() and now - trouble.started_at > _proof_seconds(part):
                trouble.starting, trouble.well_since = False, now
                self.progress.say((f"{part.label[0]}: 다시 정상입니다.", f"{part.label[1]} is well again."))
            elif trouble.attempts and not trouble.starting and now - trouble.well_since > CALM_SECONDS:
                trouble.attempts = 0
        elif trouble.again_at is None:
            wait = BACK_OFF[min(trouble.attempts, len(BACK_OFF) - 1)]
            trouble.attempts, trouble.again_at, trouble.starting = trouble.attempts + 1, now + wait, False
            how = part.how_it_ended()
            part.kill()  # what it had started itself must not keep its port
            self.progress.warn(
                (
                    f"{part.label[0]}: 멈췄습니다({how}). {wait:g}초 뒤에 다시 시작합니다. 기록: {part.log}",
                    f"{part.label[1]} stopped ({how}); starting it again in {wait:g} s. Log: {part.log}",
                )
            )
        elif now >= trouble.again_at:
            trouble.again_at, trouble.starting, trouble.started_at = None, True, now
            self._revive(part)

    def _revive(self, part: Running) -> None:
        try:
            part.start()
        except CityError as error:
            self.progress.fail((error.message("ko"), error.message("en")))
        except OSError as error:
            text = f"{error.filename or part.name}: {error.strerror}"
            self.progress.fail((text, text))

    def _take_care(self) -> None:
        for part in self._parts:
            if isinstance(part, Program):
                trim_log(part.log)
        try:
            free = shutil.disk_usage(self.state).free
        except OSError:
            return
        if free < FREE_BYTES_WARNING and not self._warned_of_disk:
            megabytes = free // 10**6
            self.progress.warn(
                (
                    f"디스크가 거의 찼습니다: {self.state}에 {megabytes} MB 남았습니다. 공간을 비워 주세요.",
                    f"The disk is almost full: {megabytes} MB left at {self.state}. Please free some space.",
                )
            )
        self._warned_of_disk = free < FREE_BYTES_WARNING
        for part in self._parts:
            if isinstance(part, Hosted) and free > FREE_BYTES_AGAIN and part.is_wounded():
                part.stop(part.grace)  # and _look_after starts it again

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        self._interruptible = True
        try:
            if self._stop.is_set():
                raise StopAsked
            yield
        finally:
            self._interruptible = False

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._stop.is_set() and number != signal.SIGHUP:
            for part in self._parts:
                part.kill()
            os._exit(128 + number)
        self._stop.set()
        if self._interruptible:
            self._interruptible = False
            raise StopAsked


def _proof_seconds(part: Running) -> float:
    """How long a revived part must live to be called well: one that only lives has said less than one that answers."""
    return STEADY_SECONDS if isinstance(part, Program) and part.part.ready is None else 0.0


def read_notice(state: Path) -> Notice | None:
    """The city that runs on this folder according to itself."""
    try:
        return msgspec.json.decode((state / "up.json").read_bytes(), type=Notice)
    except (OSError, msgspec.DecodeError):
        return None
