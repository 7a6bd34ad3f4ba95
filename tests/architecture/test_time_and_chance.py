"""No hidden time or chance: both come from the kernel, and the check that says so has no exceptions."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

BANNED = {
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "time.time",
    "time.time_ns",
    "random",
    "secrets",
    "uuid.uuid4",
    "uuid.uuid1",
}
CALLS = re.compile(
    r"\b(?:datetime\.(?:now|utcnow|today)|date\.today|time\.time(?:_ns)?|uuid[14]|os\.urandom|n(?:um)?py?\.random)\b"
)


def ruff(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251", "--output-format", "concise"]
    return subprocess.run([*command, *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=60)


def test_no_banned_call_anywhere_in_the_house(root: Path) -> None:
    done = ruff(root, "src")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "line",
    [
        "from datetime import datetime\nx = datetime.now()",
        "import datetime as dt\nx = dt.datetime.now(dt.UTC)",
        "from datetime import date\nx = date.today()",
        "import time\nx = time.time()",
        "import random",
        "from random import choice",
        "import secrets",
        "import uuid\nx = uuid.uuid4()",
        "from uuid import uuid4",
    ],
)
def test_the_check_itself_bites(root: Path, tmp_path: Path, line: str) -> None:
    file = tmp_path / "service.py"
    file.write_text(line + "\n")
    done = ruff(root, "--config", str(root / "pyproject.toml"), str(file))
    assert "TID251" in done.stdout, done.stdout + done.stderr


def test_it_may_be_broken_only_where_time_and_chance_are_made(root: Path) -> None:
    lint = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "TID" in lint["select"]
    assert lint["flake8-tidy-imports"]["banned-api"].keys() >= BANNED
    free = {place for place, rules in lint["per-file-ignores"].items() if {"TID251", "TID"} & set(rules)}
    assert free == {"src/sejong/kernel/*", "tests/*", "bench/*", "hatch_build.py"}


def test_nobody_looks_away(root: Path) -> None:
    """No `noqa` for this rule, and no roundabout way to the computer's clock or dice."""
    found = []
    for file in sorted((root / "src").rglob("*.py")):
        if "kernel" not in file.parts:
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                if "TID251" in line or CALLS.search(line.partition("#")[0]):
                    found.append(f"{file.relative_to(root)}:{number} {line.strip()}")
    assert not found, "\n".join(found)
