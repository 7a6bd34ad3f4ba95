"""Dead letters: what could not be understood, kept with its reason until somebody mends the cause. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from sejong.hub.ingest.reading import Doc, Reading, Refused
from sejong.hub.ingest.refusals import Refusal
from sejong.hub.ingest.source import Source

KEPT_BYTES = 64 << 10
"""Bytes of a payload kept; a longer one is cut, and told apart by the hash of the whole. Chosen."""
LONGEST_TEXT = 1000


class Letter(msgspec.Struct, frozen=True):
    """One thing that was set aside, or `n` times the same."""

    mark: bytes
    door: str
    sender: str
    topic: str
    form: str
    reason: str
    ko: str
    en: str
    payload: bytes
    size: int
    sha256: bytes
    arrived: datetime
    last: datetime
    n: int = 1


def letter_of(source: Source, refused: Refused, size: int | None = None) -> Letter:
    """The dead letter of a refused message or part of one. `size`: of the message, where only its head is at hand."""
    part = refused.part
    raw = source.raw if part is None else part
    return _letter(source, refused.error, raw, source.form, size if part is None else None)


def letter_of_readings(source: Source, error: Refusal, readings: Iterable[Reading]) -> Letter:
    """The dead letter of readings that were understood, but not taken into the record."""
    return _letter(source, error, _as_payload(readings), "readings", None)


def throttled_letter(error: Refusal, sample: Source, last: datetime, n: int) -> Letter:
    """One letter for all that a key sent too much within a minute, with the first as a sample."""
    minute = sample.arrived.replace(second=0, microsecond=0)
    letter = _letter(sample, error, sample.raw, sample.form, None)
    mark = _mark(sample.door, sample.sender, error.code, minute.isoformat())
    return msgspec.structs.replace(letter, mark=mark, last=last, n=n)


def _letter(source: Source, error: Refusal, raw: bytes, form: str, size: int | None) -> Letter:
    digest = hashlib.sha256(raw).digest()
    topic, sender = _plain(source.topic), _plain(source.sender)
    return Letter(
        mark=_mark(source.door, sender, topic, form, error.code, digest.hex()),
        door=source.door,
        sender=sender,
        topic=topic,
        form=form,
        reason=error.code,
        ko=_plain(error.message("ko")),
        en=_plain(error.message("en")),
        payload=raw[:KEPT_BYTES],
        size=len(raw) if size is None else size,
        sha256=digest,
        arrived=source.arrived,
        last=source.arrived,
    )


def _mark(*parts: str) -> bytes:
    return hashlib.sha256("\x00".join(parts).encode(errors="replace")).digest()


def _plain(text: str) -> str:
    """A text as PostgreSQL takes it."""
    return text[:LONGEST_TEXT].replace("\x00", "\ufffd").encode(errors="replace").decode()


def _as_payload(readings: Iterable[Reading]) -> bytes:
    """Readings as a payload that is understood again, whatever device model they came through."""
    things: dict[tuple[str, str], Doc] = {}
    more: list[Doc] = []
    for reading in readings:
        head: Doc = {"id": reading.entity}
        if reading.types:
            head["type"] = reading.types
        thing = things.setdefault((reading.entity, reading.at), head)
        if reading.attribute in thing:
            more.append({**head, reading.attribute: reading.instance})
        else:
            thing[reading.attribute] = reading.instance
    return msgspec.json.encode([*things.values(), *more])


def columns(letters: Sequence[Letter]) -> list[list[Any]]:
    """The letters as the parallel arrays that PUT_LETTERS takes."""
    rows = [msgspec.structs.astuple(letter) for letter in letters]
    return [list(column) for column in zip(*rows, strict=True)]
