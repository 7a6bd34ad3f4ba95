"""The city's own MQTT broker: NATS JetStream from a wheel, speaking MQTT 3.1.1 on this machine only.

What a device sends with QoS 1 is in JetStream's file store before it is acknowledged, and stays there until the
ingest process has acknowledged it in turn; so a `kill -9` of the broker or of ingest loses nothing. A power cut may
lose the last second, unless `durable` is set, which makes every message wait for the disk (measured: a third of the
messages a second, eight times the broker's CPU). A message that ingest took but did not acknowledge comes again
after `ACK_WAIT_SECONDS`, also when ingest reconnects earlier. Retained values are read back a moment after a start;
who subscribes at once may miss them.

Devices are `BrokerUser`s: what they may publish and subscribe is listed, everything else is refused. A publication
to a foreign topic is acknowledged as MQTT 3.1.1 demands, and dropped. Client ids are one name space for all users,
so the ingest session has a secret one (`session_name`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import bcrypt
import msgspec

from sejong.kernel.chance import secret_token
from sejong.kernel.errors import CityError
from sejong.kit import child_process
from sejong.kit.folder_lock import FolderLock, holder

DEFAULT_PORT = 1883
# Units: seconds. How long ingest may take to commit before the broker sends a reading once more.
ACK_WAIT_SECONDS = 15
# Units: messages. What one subscription may hold unacknowledged; more waits in the broker. Packet ids end at 65535.
MAX_UNACKNOWLEDGED = 16_384
# Units: bytes. What the broker may keep for an absent ingest; beyond it devices get no acknowledgement and must retry.
STORE_BYTES = 4 * 1024**3
PAYLOAD_BYTES = 1024**2
_WOUNDS = (b"no space left on device", b"ritical write error", b"internal inconsistency", b"out of resources")
_LOG_BYTES = 10 * 1000**2
_CHEAP_ROUNDS = 4  # bcrypt cost for passwords that are 256 random bits anyway


class BrokerError(CityError):
    """The city's own broker cannot run."""

    status = 503
    ko = "내장 MQTT 브로커를 시작하지 못했습니다: {why} 기록: {log}"
    en = "The embedded MQTT broker did not start: {why} Log: {log}"


class BrokerInUse(BrokerError):
    """Another running city has this broker's store open."""

    ko = (
        "이 브로커 저장소는 이미 실행 중인 다른 세종(프로세스 {pid})이 쓰고 있습니다: {state}. 그쪽을 끝내거나 "
        "--state로 다른 폴더를 고르세요."
    )
    en = (
        "Another running sejong (process {pid}) has this broker's store open: {state}. Stop it, or choose "
        "another folder with --state."
    )


class BrokerPortTaken(BrokerError):
    """Another program listens on the MQTT port."""

    ko = (
        "MQTT 포트 {port}을(를) 다른 프로그램이 쓰고 있습니다. 그 프로그램을 끝내거나 --mqtt-port로 다른 포트를 "
        "고르거나, 그것이 쓰려는 브로커라면 SEJONG_MQTT_URL로 알려 주세요."
    )
    en = (
        "Another program uses MQTT port {port}. Stop it, choose another port with --mqtt-port, or, if it is the "
        "broker you want, name it in SEJONG_MQTT_URL."
    )


class BrokerProgramMissing(BrokerError):
    """There is no broker program to run."""

    ko = (
        "nats-server 실행 파일을 찾을 수 없거나 실행할 수 없습니다({where}). `uv sync`를 다시 하거나 "
        "SEJONG_MQTT_URL에 다른 브로커를 지정하세요."
    )
    en = (
        "The nats-server program is missing or cannot run ({where}). Run `uv sync` again, or name another broker "
        "in SEJONG_MQTT_URL."
    )


class BrokerFolderUnusable(BrokerError):
    """The state folder cannot hold the broker's store."""

    ko = (
        "브로커 폴더를 쓸 수 없습니다: {where} ({why}). 디스크 공간과 권한을 확인하거나 --state로 다른 폴더를 고르세요."
    )
    en = (
        "The broker's folder cannot be used: {where} ({why}). Check space and rights, or choose another folder "
        "with --state."
    )


class BrokerUserRefused(BrokerError):
    """A device key or a topic that the broker cannot take."""

    status = 400
    ko = (
        "브로커가 받을 수 없는 이름이나 토픽입니다: {what}. 글자, 숫자, - 와 _ 만 쓰고, 토픽은 /로 나누세요(+, # 가능)."
    )
    en = (
        "The broker cannot take this name or topic: {what}. Use letters, digits, - and _ only, with / between "
        "topic levels (+ and # allowed)."
    )


class BrokerUser(msgspec.Struct, frozen=True):
    """A device or gateway that may speak: its key's name, its bcrypt hash, and the MQTT filters it may use."""

    name: str
    bcrypt: str
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()


class Credentials(msgspec.Struct, frozen=True):
    """How one of the city's own processes signs in at the broker; kept in the state folder, readable by us only."""

    name: str
    password: str
    hash: str

    def url(self, port: int, host: str = "127.0.0.1") -> str:
        """The address with name and password, as `SEJONG_MQTT_URL` takes it."""
        return f"mqtt://{self.name}:{self.password}@{host}:{port}"


class Broker:
    """One MQTT broker on a loopback port; `start`, connect, `stop`. Also a context manager.

    `users` are the devices; None keeps those of the last run. Two users of the city's own are always there:
    `ingest` reads everything, `simulator` plays any device. Call `start` from a thread that lives as long as the
    broker should (Linux ends the broker when that thread's process dies).
    """

    def __init__(
        self,
        state: Path,
        *,
        port: int = DEFAULT_PORT,
        host: str = "127.0.0.1",
        durable: bool = False,
        program: Path | None = None,
    ) -> None:
        self.state = state.absolute()
        self.host = host
        self.port = port
        self.durable = durable
        self._program = program
        self._lock = FolderLock(self.state / "broker.lock")
        self._process: subprocess.Popen[bytes] | None = None
        self._read_to = 0
        self._wounded = False

    @property
    def folder(self) -> Path:
        """Where the broker's configuration and stored messages lie."""
        return self.state / "broker"

    @property
    def log(self) -> Path:
        """What the broker says; turned over at 10 MB."""
        return self.state / "logs" / "broker.log"

    @property
    def is_running(self) -> bool:
        """Whether the broker started by this object is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id of the running broker, or None."""
        return self._process.pid if self._process and self.is_running else None

    @property
    def ingest(self) -> Credentials:
        """How the process that stores readings signs in: it may subscribe to every topic."""
        return credentials(self.state, "ingest")

    @property
    def simulator(self) -> Credentials:
        """How the device simulator signs in: it may publish the readings of every key."""
        return credentials(self.state, "simulator")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, users: Iterable[BrokerUser] | None = None, timeout: float = 30.0) -> None:
        """Start and wait until devices can connect (seconds). Errors: subclasses of BrokerError."""
        if self.is_running:
            return
        self._take_folder()
        try:
            self._stop_leftover()
            self._refuse_taken_port()
            try:
                self._write_configuration(users)
                self._launch()
            except OSError as error:
                raise BrokerFolderUnusable(where=error.filename or self.folder, why=error.strerror) from error
            self._wait_until_ready(timeout)
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout: float = 3.0) -> None:
        """Let clients finish and stop, within `timeout` seconds, then by force."""
        if self._process is not None:
            child_process.stop(self._process, ((signal.SIGTERM, timeout),))
            self._process = None
        self._lock.release()

    def is_wounded(self) -> bool:
        """Whether it failed to write to its disk since it started: it then acknowledges nothing until restarted.

        Nothing acknowledged is lost by that, and devices keep what they could not send.
        """
        try:
            with self.log.open("rb") as stream:
                if stream.seek(0, os.SEEK_END) < self._read_to:
                    self._read_to = 0  # turned over
                stream.seek(self._read_to)
                said = stream.read()
                self._read_to = stream.tell()
        except OSError:
            return self._wounded
        self._wounded = self._wounded or any(words in said for words in _WOUNDS)
        return self._wounded

    def reload(self, users: Iterable[BrokerUser]) -> None:
        """Replace the devices while running: new keys work, removed ones are disconnected, others stay connected."""
        change_users(self.state, users)

    # -- inside ----------------------------------------------------------------------------------------------

    def _take_folder(self) -> None:
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            taken = self._lock.acquire()
        except OSError as error:
            raise BrokerFolderUnusable(where=error.filename or self.folder, why=error.strerror) from error
        if not taken:
            raise BrokerInUse(pid=holder(self._lock.path) or "?", state=self.state)

    def _stop_leftover(self) -> None:
        """End a broker that outlived its killed owner: we hold the folder's lock, so nobody else wants it."""
        pid = running_pid(self.state)
        if pid is None:
            return
        for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            deadline = time.monotonic() + seconds
            while child_process.alive(pid) and time.monotonic() < deadline:
                time.sleep(0.02)

    def _refuse_taken_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise BrokerPortTaken(port=self.port) from error

    def _write_configuration(self, users: Iterable[BrokerUser] | None) -> None:
        _write_private(
            self.folder / "broker.conf",
            "\n".join(
                (
                    "# Written at every start.",
                    "server_name: sejong",
                    # NATS needs a client port of its own: any free one, on loopback, and no user may use it.
                    'listen: "127.0.0.1:-1"',
                    f"pid_file: {_quoted(self.folder / 'broker.pid')}",
                    f"log_file: {_quoted(self.log)}",
                    f"logfile_size_limit: {_LOG_BYTES}",
                    "logfile_max_num: 3",
                    f"max_payload: {PAYLOAD_BYTES}",
                    "lame_duck_duration: 30s",
                    "jetstream {",
                    f"  store_dir: {_quoted(self.folder)}",
                    f"  max_file_store: {STORE_BYTES}",
                    "  max_memory_store: 67108864",
                    f"  sync_interval: {'always' if self.durable else '1s'}",
                    "}",
                    "mqtt {",
                    f'  listen: "{self.host}:{self.port}"',
                    f'  ack_wait: "{ACK_WAIT_SECONDS}s"',
                    f"  max_ack_pending: {MAX_UNACKNOWLEDGED}",
                    "}",
                    'include "users.conf"',
                    "",
                )
            ),
        )
        if users is not None or not (self.folder / "users.conf").exists():
            _write_users(self.state, users or ())

    def _launch(self) -> None:
        program = self._program or broker_program()
        if not os.access(program, os.X_OK):
            raise BrokerProgramMissing(where=program)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder), "GOMEMLIMIT": "256MiB"}
        self._read_to, self._wounded = 0, False
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        with (self.state / "logs" / "broker-panic.log").open("wb") as output:
            self._process = child_process.spawn(
                [str(program), "-c", str(self.folder / "broker.conf")], output=output, env=environment, cwd="/"
            )

    def _wait_until_ready(self, timeout: float) -> None:
        assert self._process is not None
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise self._from_log()
            if "Server is ready" in self._said():
                return
            time.sleep(0.01)
        raise BrokerError(why=f"it was not ready within {timeout:.0f} s.", log=self.log)

    def _said(self) -> str:
        said = ""
        for path in (self.log, self.state / "logs" / "broker-panic.log"):
            with contextlib.suppress(OSError):
                said += path.read_text(errors="replace")
        return said

    def _from_log(self) -> BrokerError:
        said = self._said()
        if "address already in use" in said:
            return BrokerPortTaken(port=self.port)
        found = re.findall(r"(?m)(?:\[FTL\]|nats-server:|panic:)\s*(.+)$", said)
        why = found[-1] if found else (said.strip().splitlines() or ["it said nothing"])[-1]
        return BrokerError(why=why.rstrip(".") + ".", log=self.log)


def broker_program() -> Path:
    """The nats-server of the installed wheel, or one on the PATH."""
    candidate = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(candidate) if os.access(candidate, os.X_OK) else shutil.which("nats-server")
    if found is None:
        raise BrokerProgramMissing(where=candidate)
    return Path(found)


def credentials(state: Path, name: str) -> Credentials:
    """The sign-in of one of the city's own processes, made at first use."""
    path = state.absolute() / "broker" / f"{name}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except (FileNotFoundError, msgspec.DecodeError):
        password = secret_token()
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(_CHEAP_ROUNDS)).decode()
        made = Credentials(name, password, hashed)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_private(path, msgspec.json.encode(made).decode())
        return made


def session_name(url: str) -> str:
    """The client id of the session behind this `SEJONG_MQTT_URL`: the same at every start, and secret as its password.

    Client ids are one name space at a broker; one that devices could guess would let any of them cut ingest off.
    """
    sign_in = urlsplit(url)
    mark = hashlib.sha256(f"{sign_in.username}:{sign_in.password}".encode()).hexdigest()[:16]
    return f"sejong-{mark}"


def running_pid(state: Path) -> int | None:
    """The process of the broker that runs on this state folder, whoever started it, or None."""
    folder = state.absolute() / "broker"
    try:
        pid = int((folder / "broker.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(folder / "broker.conf") in command and child_process.alive(pid) else None


def change_users(state: Path, users: Iterable[BrokerUser], timeout: float = 5.0) -> bool:
    """Replace the devices of the broker on this state folder, from any process of the same user.

    Answers whether a running broker took them up; when none runs, the next start will. Errors: BrokerUserRefused
    before anything is written; BrokerError when the broker refuses.
    """
    state = state.absolute()
    _write_users(state, users)
    pid = running_pid(state)
    if pid is None:
        return False
    log = state / "logs" / "broker.log"
    begin = log.stat().st_size
    os.kill(pid, signal.SIGHUP)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with log.open("rb") as stream:
            stream.seek(begin if begin <= log.stat().st_size else 0)
            said = stream.read().decode(errors="replace")
        if "Reloaded server configuration" in said:
            return True
        if failed := re.search(r"Failed to reload.*", said):
            raise BrokerError(why=failed[0], log=log)
        time.sleep(0.01)
    raise BrokerError(why=f"it did not take the new users within {timeout:.0f} s.", log=log)


def subject_of(topic_filter: str) -> tuple[str, ...]:
    """The NATS subjects that one MQTT topic filter means.

    >>> subject_of("sejong/v1/+/readings")
    ('sejong.v1.*.readings',)
    >>> subject_of("sejong/v1/gw-bike/#")
    ('sejong.v1.gw-bike', 'sejong.v1.gw-bike.>')

    Source: OASIS MQTT 3.1.1 section 4.7 (`a/#` also matches `a`); NATS MQTT subject mapping (`/` is `.`).
    """
    levels = topic_filter.split("/")
    rest = levels[-1] == "#"
    fixed = levels[:-1] if rest else levels
    if not all(level == "+" or re.fullmatch(r"[A-Za-z0-9_-]+", level) for level in fixed) or not (fixed or rest):
        raise BrokerUserRefused(what=topic_filter)
    subject = ".".join("*" if level == "+" else level for level in fixed)
    if not rest:
        return (subject,)
    return (subject, f"{subject}.>") if subject else (">",)


def _write_users(state: Path, users: Iterable[BrokerUser]) -> None:
    """Write the list of users; BrokerUserRefused leaves the last one as it was."""
    ingest, simulator = credentials(state, "ingest"), credentials(state, "simulator")
    everyone = (
        BrokerUser(ingest.name, ingest.hash, subscribe=("#",)),
        BrokerUser(simulator.name, simulator.hash, publish=("sejong/v1/+/readings",)),
        *users,
    )
    lines = ["# Written whenever a device key changes.", "authorization { users: ["]
    seen: set[str] = set()
    for user in everyone:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", user.name) or user.name in seen:
            raise BrokerUserRefused(what=user.name)
        if not re.fullmatch(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}", user.bcrypt):
            raise BrokerUserRefused(what=f"{user.name}: bcrypt")
        seen.add(user.name)
        lines.append(
            f'  {{user: "{user.name}", password: "{user.bcrypt}", allowed_connection_types: ["MQTT"], permissions: '
            f"{{publish: {_allowed(user.publish)}, subscribe: {_allowed(user.subscribe)}}}}}"
        )
    lines += ["] }", ""]
    _write_private(state / "broker" / "users.conf", "\n".join(lines))


def _allowed(filters: Iterable[str]) -> str:
    subjects = [subject for one in filters for subject in subject_of(one)]
    if not subjects:
        return '{deny: [">"]}'
    return "{allow: [" + ", ".join(f'"{subject}"' for subject in subjects) + "]}"


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write_private(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    fresh.rename(path)
