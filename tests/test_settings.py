"""Every switch can be set from outside, refuses nonsense in one sentence, and moves something."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import sejong
from sejong.settings import BadSettings, Settings, settings_page

SOURCE = Path(sejong.__file__).parent

SOMETHING_ELSE: dict[str, tuple[str, Any]] = {
    "city": ("testville", "testville"),
    "state": ("/var/lib/city", Path("/var/lib/city")),
    "database_url": ("postgresql://city@db/city", "postgresql://city@db/city"),
    "pg_bin": ("/usr/lib/postgresql/18/bin", Path("/usr/lib/postgresql/18/bin")),
    "mqtt_url": ("mqtt://city:x@broker:1883", "mqtt://city:x@broker:1883"),
    "public_url": ("https://city.example", "https://city.example"),
    "host": ("0.0.0.0", "0.0.0.0"),
    "port": ("8080", 8080),
    "web_workers": ("4", 4),
    "clock_speed": ("60", 60.0),
    "clock_start": ("2026-11-22T00:00:00Z", datetime(2026, 11, 22, tzinfo=UTC)),
    "database_pool": ("20", 20),
    "entity_cache": ("0", 0),
    "language": ("en", "en"),
    "log_style": ("json", "json"),
    "log_level": ("debug", "debug"),
    "max_body_mb": ("64", 64),
    "context_egress": ("deny", "deny"),
    "context_timeout": ("1.5", 1.5),
    "temporal_max_instances": ("500", 500),
    "entity_map_lifetime": ("600", 600),
    "entity_map_size": ("5000", 5000),
    "snapshot_lifetime": ("3600", 3600),
    "snapshots_most": ("7", 7),
    "device_rate": ("10", 10.0),
    "device_burst": ("100", 100.0),
    "anonymous_rate": ("5", 5.0),
    "anonymous_burst": ("50", 50.0),
    "key_rate": ("250", 250.0),
    "key_burst": ("1000", 1000.0),
    "key_daily": ("5000", 5000),
    "proxies": ("10.0.0.1", "10.0.0.1"),
    "ingest_backlog": ("1000", 1000),
    "source_egress": ("public", "public"),
    "source_timeout": ("1.5", 1.5),
    "source_alias": ("sejong", "sejong"),
    "notification_egress": ("public", "public"),
    "notification_timeout": ("2.5", 2.5),
    "notification_patience": ("60", 60.0),
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SEJONG_")]:
        monkeypatch.delenv(name)


def test_every_setting_is_tried_here() -> None:
    assert SOMETHING_ELSE.keys() == Settings.model_fields.keys()


@pytest.mark.parametrize("name", SOMETHING_ELSE)
def test_it_is_set_by_its_variable_and_nothing_else_moves(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = SOMETHING_ELSE[name]
    before = Settings()
    monkeypatch.setenv(f"SEJONG_{name.upper()}", text)
    after = Settings()
    assert getattr(before, name) != value
    assert getattr(after, name) == value
    assert before.model_dump(exclude={name}) == after.model_dump(exclude={name})


@pytest.mark.parametrize("name", SOMETHING_ELSE)
def test_it_is_used_somewhere(name: str) -> None:
    """A switch that moves nothing is a lie."""
    used = re.compile(rf"\.{name}\b")
    files = [file for file in SOURCE.rglob("*.py") if file.name != "settings.py" and used.search(file.read_text())]
    assert files


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "x"),
        ("port", "0"),
        ("port", "65536"),
        ("web_workers", "0"),
        ("database_pool", "1"),
        ("language", "fr"),
        ("clock_speed", "0.5"),
        ("clock_start", "2026-11-22T00:00:00"),
        ("device_rate", "0"),
        ("context_timeout", "-1"),
        ("log_level", "loud"),
    ],
)
def test_nonsense_is_refused_with_the_variables_name(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"SEJONG_{name.upper()}", text)
    with pytest.raises(BadSettings) as caught:
        Settings()
    assert f"SEJONG_{name.upper()}: " in caught.value.message("ko")
    assert "\n" not in caught.value.message("en")


def test_a_refusal_names_every_fault_and_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEJONG_PORT", "hunter2")
    monkeypatch.setenv("SEJONG_LOG_STYLE", "swordfish")
    with pytest.raises(BadSettings) as caught:
        Settings()
    said = str(caught.value)
    assert "SEJONG_PORT" in said
    assert "SEJONG_LOG_STYLE" in said
    assert "hunter2" not in said
    assert "swordfish" not in said
    assert caught.value.__cause__ is None


def test_the_command_line_says_it_in_one_sentence() -> None:
    environment = os.environ | {"SEJONG_PORT": "x", "SEJONG_LANGUAGE": "en"}
    done = subprocess.run(
        [sys.executable, "-m", "sejong", "web"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "SEJONG_PORT" in done.stderr


def test_what_is_given_in_code_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEJONG_CITY", "sejong")
    assert Settings(city="testville").city == "testville"


def test_settings_never_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 9  # type: ignore[misc]


def test_other_variables_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEJONG_NO_BROWSER", "1")
    assert Settings() == Settings(_env_prefix="NOBODY_")


@pytest.mark.parametrize("name", SOMETHING_ELSE)
def test_it_is_explained_on_the_page(name: str) -> None:
    (line,) = [line for line in settings_page().splitlines() if f"`SEJONG_{name.upper()}`" in line]
    assert len(line.split("|")[3].split()) >= 3, "a sentence, not a word"
    assert line.count("|") == 4, "a bar in a description breaks the table"
