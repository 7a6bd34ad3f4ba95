"""The words of the doctor: what it looks at, what one check is, and what it can find."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from sejong.up.supervisor import Notice
from sejong.up.words import Text

Level = Literal["ok", "warn", "fail"]
NOTHING: Text = ("", "")


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What a city on this machine stands on. `running`: the process that holds the state folder now, if any."""

    state: Path
    port: int
    mqtt_port: int
    database_url: str | None = None
    mqtt_url: str | None = None
    pg_bin: Path | None = None
    running: int | None = None
    notice: Notice | None = None


class Finding(msgspec.Struct, frozen=True):
    """What a check found: how bad, what it means, how to mend it."""

    level: Level
    meaning: Text
    mend: Text = NOTHING


class Check(msgspec.Struct, frozen=True):
    """One thing the doctor looks at, independent of all others."""

    name: str
    title: Text
    look: Callable[[Ground], Finding]


def ok(meaning: Text) -> Finding:
    """All is well, and this is what was seen."""
    return Finding("ok", meaning)


def warn(meaning: Text, mend: Text = NOTHING) -> Finding:
    """The city will run, but something will be missing or slow."""
    return Finding("warn", meaning, mend)


def fail(meaning: Text, mend: Text = NOTHING) -> Finding:
    """The city will not run."""
    return Finding("fail", meaning, mend)
