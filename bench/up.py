"""`python -m bench.up`: how long the whole city takes to come to life, to come back, and to stop at Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from typing import Any

from bench.servers import free_port


def main() -> None:
    """Start `sejong up` on a new state folder, stop it, and start it twice again on the same folder."""
    with tempfile.TemporaryDirectory(prefix="sejong-up-") as state:
        rounds = [once(state, name) for name in ("new", "again", "again")]
    print(json.dumps({"load": os.getloadavg(), "rounds": rounds}, indent=1))


def once(state: str, name: str) -> dict[str, Any]:
    """Seconds until the portal answered with data, and from Ctrl-C until the last process was gone."""
    port = free_port()
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "sejong", "up", "--state", state, "--port", str(port), "--mqtt-port", str(free_port())],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    ready = None
    while ready is None:
        if process.poll() is not None:
            raise RuntimeError(f"sejong up ended with {process.returncode}")
        time.sleep(0.05)
        ready = answered(port, started)
    time.sleep(20)  # readings flow
    stopped = time.perf_counter()
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    left = time.perf_counter() - stopped
    return {"state": name, "ready_s": ready, "stop_s": round(left, 2), "exit": process.returncode}


def answered(port: int, started: float) -> float | None:
    """Seconds since the start once the city is ready, None before."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2) as answer:
            return round(time.perf_counter() - started, 2) if answer.status == 200 else None
    except OSError:
        return None


if __name__ == "__main__":
    main()
