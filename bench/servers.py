"""Starting what is measured: the embedded database and one granian worker each."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager


def free_port() -> int:
    """A port nobody uses now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def serving(
    argv: list[str], port: int, path: str, env: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A server process and the seconds until it first answered."""
    started = time.perf_counter()
    process = subprocess.Popen(argv, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"{argv} ended with {process.returncode}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1).close()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.05)
        yield process, time.perf_counter() - started
    finally:
        process.terminate()
        try:
            process.wait(8)
        except subprocess.TimeoutExpired:
            process.kill()


def granian(target: str, port: int, *, factory: bool = False) -> list[str]:
    """The command of one granian worker for `target`."""
    argv = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port), "--no-access-log"]
    return [*argv, *(["--factory"] if factory else []), target]


def memory_mb(pid: int) -> float:
    """Private memory (PSS) of a process and its children, largest single one, in MB."""
    largest = 0.0
    for child in [pid, *_children(pid)]:
        try:
            with open(f"/proc/{child}/smaps_rollup") as file:
                pss = next(line for line in file if line.startswith("Pss:"))
            largest = max(largest, int(pss.split()[1]) / 1024)
        except (OSError, StopIteration):
            continue
    return round(largest, 1)


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(text) for text in file.read().split()]
    except OSError:
        return []
