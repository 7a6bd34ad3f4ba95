"""A city of small scripts, brought up by the real supervisor; run as a program by test_supervisor.py.

python dummy_city.py STATE PORT MQTT_PORT PART...   with PART one of the names in PARTS below.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from sejong.kit.embedded_broker import Broker
from sejong.kit.embedded_postgres import Cluster
from sejong.up.commands import run_city
from sejong.up.parts import Hosted, Part, Running, answers
from sejong.up.plan import Options

# Each dummy notes what happens to it in `events`, in the state folder that it gets as its first argument.
PRELUDE = """
import os, signal, subprocess, sys, time
state, name = sys.argv[1], sys.argv[2]
def note(what):
    with open(os.path.join(state, "events"), "a") as events:
        events.write(f"{name} {what} {os.getpid()}\\n")
def leave(*_):
    note("stopped"); sys.exit(0)
signal.signal(signal.SIGTERM, leave)
note("started")
print("hello from", name, flush=True)
"""
FOREVER = "\nwhile True: time.sleep(0.05)\n"
WEB = """
import http.server, threading
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
time.sleep(0.3)
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[3])), Answer)
note("ready")
threading.Thread(target=server.serve_forever, daemon=True).start()
while True: time.sleep(0.05)
"""
SCRIPTS = {
    "migrate": "note('done')",
    "broken": "print('the migration 0042 is wrong'); sys.exit(7)",
    "web": WEB,
    "work": FOREVER,
    "simulate": FOREVER,
    "stubborn": "\nsignal.signal(signal.SIGTERM, signal.SIG_IGN); note('ignores')" + FOREVER,
    "stubborn2": "\nsignal.signal(signal.SIGTERM, signal.SIG_IGN); note('ignores')" + FOREVER,
    "stubborn3": "\nsignal.signal(signal.SIGTERM, signal.SIG_IGN); note('ignores')" + FOREVER,
    "parent": "\nchild = subprocess.Popen(['sleep', '300']); note(f'child={child.pid}')" + FOREVER,
    "never": FOREVER,
    "dying": "time.sleep(0.1); sys.exit(5)",
}


def part(name: str, options: Options) -> Part:
    script = PRELUDE + SCRIPTS[name]
    argv = (sys.executable, "-c", script, str(options.state), name, str(options.port))
    ready = None
    if name == "web":
        ready = lambda: answers(f"http://127.0.0.1:{options.port}/health/ready")  # noqa: E731
    elif name == "never":
        ready = lambda: False  # noqa: E731
    seconds = 2.0 if name == "never" else 10.0
    once = name in ("migrate", "broken")
    return Part(name=name, label=(f"{name}-부분", name), argv=argv, once=once, ready=ready, ready_seconds=seconds)


def plan(options: Options, names: list[str]) -> Iterator[tuple[Part | Running, ...]]:
    for name in names:
        if name == "postgres":
            cluster = Cluster(options.state, fast=True)
            yield (Hosted("postgres", ("데이터베이스", "database"), cluster, grace=2.0),)
            (options.state / "dsn").write_text(cluster.ensure_database("sejong"))
        elif name == "broker":
            broker = Broker(options.state, port=options.mqtt_port)
            yield (Hosted("broker", ("브로커", "broker"), broker, grace=1.0, wounded=broker.is_wounded),)
        else:
            yield (part(name, options),)


if __name__ == "__main__":
    chosen = Options(state=Path(sys.argv[1]), port=int(sys.argv[2]), mqtt_port=int(sys.argv[3]))
    sys.exit(run_city(chosen, lambda: plan(chosen, sys.argv[4:])))
