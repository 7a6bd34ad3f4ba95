"""`sejong doctor`: asks every part of the ground the city stands on, and says what is wrong and how to mend it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

import msgspec
from rich.console import Console

from sejong.kit.folder_lock import holder
from sejong.up.checks import CHECKS
from sejong.up.findings import Check, Finding, Ground, fail
from sejong.up.supervisor import read_notice
from sejong.up.words import Language, Text, chosen

__all__ = ["Diagnosis", "Ground", "diagnose", "ground_of", "write_json", "write_text"]

_MARK = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


class Diagnosis(msgspec.Struct, frozen=True):
    """One check and what it found."""

    name: str
    title: Text
    finding: Finding


def ground_of(*, state: Path, port: int, mqtt_port: int, environment: Mapping[str, str] = os.environ) -> Ground:
    """What there is to look at: the state folder, the ports, the addresses in the environment."""
    state = state.absolute()
    programs = environment.get("SEJONG_PG_BIN")
    return Ground(
        state=state,
        port=port,
        mqtt_port=mqtt_port,
        database_url=environment.get("SEJONG_DATABASE_URL") or None,
        mqtt_url=environment.get("SEJONG_MQTT_URL") or None,
        pg_bin=Path(programs) if programs else None,
        running=holder(state / "up.lock"),
        notice=read_notice(state),
    )


def diagnose(ground: Ground, checks: Iterable[Check] = CHECKS) -> Iterator[Diagnosis]:
    """Every check's finding, in order; a check that breaks is a finding too, and stops none of the others."""
    for check in checks:
        try:
            finding = check.look(ground)
        except Exception as error:  # noqa: BLE001 - the doctor must come to an end
            what = f"{type(error).__name__}: {error}"
            finding = fail((f"검사하지 못했습니다: {what}", f"could not be checked: {what}"))
        yield Diagnosis(check.name, check.title, finding)


def write_text(diagnoses: Iterable[Diagnosis], language: Language, stream: TextIO) -> None:
    """One line for each check, and a second one that says how to mend what is not well."""
    console = Console(file=stream, highlight=False, soft_wrap=True)
    for found in diagnoses:
        mark, style = _MARK[found.finding.level]
        console.print(mark, style=style, end=" ", markup=False)
        title, meaning = chosen(found.title, language), chosen(found.finding.meaning, language)
        console.print(f"{title}: {meaning}", markup=False)
        if found.finding.level != "ok" and (mend := chosen(found.finding.mend, language)):
            console.print(f"    → {mend}", markup=False)


def write_json(diagnoses: Iterable[Diagnosis], stream: TextIO) -> None:
    """The same for machines: a list of objects with both languages."""
    rows = [
        {
            "check": found.name,
            "level": found.finding.level,
            "title": {"ko": found.title[0], "en": found.title[1]},
            "meaning": {"ko": found.finding.meaning[0], "en": found.finding.meaning[1]},
            "mend": {"ko": found.finding.mend[0], "en": found.finding.mend[1]},
        }
        for found in diagnoses
    ]
    stream.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")
