"""Which ports of this machine are taken, and by whom."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import msgspec

from sejong.kernel.errors import CityError

_LISTENING = "0A"  # Source: Linux net/tcp_states.h, TCP_LISTEN = 10


class Listener(msgspec.Struct, frozen=True):
    """A program that listens on a port; `pid` 0 when the system does not tell (another user's)."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})" if self.pid else "?"


class PortTaken(CityError):
    """Another program listens where the city should."""

    status = 503
    ko = (
        "포트 {port}을(를) 다른 프로그램이 쓰고 있습니다: {who}. 그 프로그램을 끝내거나 {option}(으)로 다른 "
        "포트를 고르세요."
    )
    en = "Port {port} is taken by another program: {who}. Stop it, or choose another port with {option}."


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def require_free(port: int, option: str, host: str = "127.0.0.1") -> None:
    """Raise PortTaken, naming the program and the option that chooses another port."""
    if not is_free(port, host):
        raise PortTaken(port=port, who=listener_of(port) or "?", option=option)


def listener_of(port: int) -> Listener | None:
    """Who listens on this TCP port (Linux); None when nobody does or the system does not tell."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (entry / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) in inodes:
                        return Listener(int(entry.name), command_of(int(entry.name)))
    return Listener(0, "?")


def command_of(pid: int) -> str:
    """What this process was started as, shortened for a sentence."""
    try:
        parts = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "?"
    words = [Path(parts[0]).name, *parts[1:]]
    return " ".join(word for word in words if word)[:80] or "?"


def _listening_inodes(port: int) -> set[str]:
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(f"socket:[{fields[9]}]")
    return found
