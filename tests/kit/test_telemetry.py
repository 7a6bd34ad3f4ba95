"""Logs say what happened, for people or for machines, and keep Hangul readable."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from sejong.kit.telemetry import configure_logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """What a test configures is gone after it."""
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == "", "logs never mix with what a command answers"
    return captured.err.splitlines()


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "info")
    log = structlog.get_logger("test")
    log.info("sat_down", seat=7, who="세종")
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        log.error("broken", exc_info=error)
    first, second = map(json.loads, said(capsys))
    assert first.pop("timestamp").endswith("Z")
    assert first == {"event": "sat_down", "seat": 7, "who": "세종", "level": "info"}
    assert "ZeroDivisionError" in second["exception"]


def test_hangul_is_not_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json")
    structlog.get_logger("test").info("x", name="나성동")
    assert "나성동" in said(capsys)[0]


def test_text_is_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("text")
    structlog.get_logger("test").warning("sat_down", seat=7)
    (line,) = said(capsys)
    assert "sat_down" in line
    assert "seat=7" in line
    assert "\x1b" not in line, "no colours where nobody sees them"


@pytest.mark.parametrize(
    ("level", "heard"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_the_least_level_is_kept(capsys: pytest.CaptureFixture[str], level: str, heard: int) -> None:
    configure_logs("json", level)
    log = structlog.get_logger("test")
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(name)
    assert len(said(capsys)) == heard
