"""The shapes in which devices of other makers write: each format turns a payload into rows of named fields.

JSON as it is; lines of comma-separated values; SenML (RFC 8428, JSON); UltraLight 2.0. No I/O; the moment is given.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from sejong.hub.ingest.reading import decode_json
from sejong.hub.ngsi.instants import format_instant, parse_instant

Doc = dict[str, Any]


class Row(msgspec.Struct, frozen=True):
    """One thing at one time as the device wrote it: fields, and what the format itself says of time and units."""

    fields: Doc
    root: Any
    """The whole message, where a field is looked for that the row does not have."""
    at: str | None = None
    units: dict[str, str] = {}


class FormatFault(Exception):
    """The payload is not in this format; the text says why."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER = re.compile(r"[+-]?(?:0|[1-9]\d*)", re.ASCII).fullmatch
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII).fullmatch
_DATED = re.compile(r"\d{4}-\d\d-\d\dT", re.ASCII).match
_WORDS: Final = {"true": True, "false": False, "nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


def scalar(text: str) -> Any:
    """A text as the number or truth value it looks like; `007` stays a text, since a leading zero is part of a name.

    >>> scalar("21.50"), scalar("-3"), scalar("TRUE"), scalar("007"), scalar("open")
    (21.5, -3, True, '007', 'open')
    """
    if _INTEGER(text) and len(text) < 19:
        return int(text)
    if _DECIMAL(text) and not (len(text) > 1 and text[0] == "0" and text[1].isdigit()):
        return float(text)
    return _WORDS.get(text.lower(), text)


def epoch(seconds: float) -> str:
    """Seconds since 1970 as the record writes time. Raises FormatFault outside the calendar."""
    try:
        return format_instant(_EPOCH + timedelta(seconds=seconds))
    except (OverflowError, ValueError):
        raise FormatFault(f"{seconds!r} is no time") from None


def json_rows(raw: bytes, each: Callable[[Any], Any] | None) -> list[Row]:
    """A JSON object, the objects of an array, or the objects of the array that `each` finds."""
    body = decode_json(raw)
    found = body if each is None else each(body)
    rows = found if isinstance(found, list) else [found]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise FormatFault("an object or an array of objects is expected")
    return [Row(row, body) for row in rows]


def csv_rows(raw: bytes, columns: list[str], separator: str) -> list[Row]:
    """One row a line; a column that is empty is not there."""
    rows: list[Row] = []
    for cells in csv.reader(_text(raw).splitlines(), delimiter=separator):
        if len(cells) != len(columns):
            raise FormatFault(f"{len(cells)} columns instead of {len(columns)}")
        fields = {name: scalar(cell.strip()) for name, cell in zip(columns, cells, strict=True) if cell.strip()}
        rows.append(Row(fields, fields))
    if not rows:
        raise FormatFault("there is no line in it")
    return rows


def ultralight_rows(raw: bytes) -> list[Row]:
    """`key|value|key|value`, groups parted by `#`, each with a time in front if it has an odd number of parts.

    Source: FIWARE IoT Agent for UltraLight 2.0, measure representation.
    """
    rows: list[Row] = []
    for group in _text(raw).strip().split("#"):
        parts = group.split("|")
        at = parts.pop(0) if len(parts) % 2 else None
        if not parts or not all(parts[::2]) or (at is not None and not _DATED(at)):
            raise FormatFault(f"{group[:60]!r} is not key|value|…")
        fields = {key: scalar(value) for key, value in zip(parts[::2], parts[1::2], strict=True)}
        rows.append(Row(fields, fields, at))
    return rows


SENML_UNITS: Final = {
    "Cel": "CEL", "K": "KEL", "%RH": "P1", "%": "P1", "/": "C62", "lx": "LUX", "W": "WTT", "kW": "KWT", "Wh": "WHR",
    "kWh": "KWH", "V": "VLT", "A": "AMP", "Hz": "HTZ", "m": "MTR", "km": "KMT", "mm": "MMT", "m/s": "MTS",
    "km/h": "KMH", "s": "SEC", "min": "MIN", "h": "HUR", "Pa": "PAL", "hPa": "A97", "l": "LTR", "m3": "MTQ",
    "m3/s": "MQS", "l/s": "G51", "dB": "2N", "pH": "Q30", "ppm": "59", "ppb": "61", "ug/m3": "GQ", "mm/h": "H67",
    "deg": "DD", "S/m": "D10", "kg": "KGM", "J": "JOU", "lm": "LUM",
}  # fmt: skip
"""SenML unit → UN/CEFACT code. Source: IANA "SenML Units" and "Secondary Units"; UN/CEFACT Recommendation 20."""
_RELATIVE = 1 << 28
"""Times below this are relative to now. Source: RFC 8428 section 4.5.3."""
_SENML_BASE = {"bn": str, "bt": (int, float), "bu": str, "bv": (int, float), "bs": (int, float), "bver": int}
_SENML_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*", re.ASCII).fullmatch


def senml_rows(raw: bytes, now: str) -> list[Row]:
    """A SenML pack resolved: one row for each base name and time, with the base name as field `bn`.

    Source: RFC 8428 sections 4.1 (base fields), 4.2 (records), 4.5.3 (time), 4.6 (resolved records).
    """
    pack = decode_json(raw)
    if not isinstance(pack, list) or not pack:
        raise FormatFault("a SenML pack is an array of records")
    base: Doc = {}
    rows: dict[tuple[str, str], Row] = {}
    for number, record in enumerate(pack):
        try:
            _senml_record(record, base, now, rows)
        except FormatFault as fault:
            raise FormatFault(f"[{number}]: {fault}") from None
    return [row for row in rows.values() if len(row.fields) > 1]


def _senml_record(record: Any, base: Doc, now: str, rows: dict[tuple[str, str], Row]) -> None:
    if not isinstance(record, dict):
        raise FormatFault("a record is an object")
    unknown = [key for key in record if key.endswith("_")]
    if unknown:
        raise FormatFault(f"{unknown[0]} must be understood, and is not")
    for key, kinds in _SENML_BASE.items():
        if key in record:
            if not isinstance(record[key], kinds) or isinstance(record[key], bool):
                raise FormatFault(f"{key} is {record[key]!r}")
            base[key] = record[key]
    start, name = base.get("bn", ""), record.get("n", "")
    full = f"{start}{name}"
    if not isinstance(name, str) or not _SENML_NAME(full):
        raise FormatFault(f"{full!r} is not a name")
    at = _senml_time(base.get("bt", 0) + _plain_number(record.get("t", 0), "t"), now)
    row = rows.setdefault((start, at), Row({"bn": start.rstrip(":/.-_")}, record, at or None, {}))
    field = name or full
    for key in ("v", "s"):
        if key in record:
            value = _plain_number(record[key], key) + base.get("b" + key, 0)
            row.fields[field if key == "v" else f"{field}.sum"] = value
            unit = record.get("u", base.get("bu"))
            if unit in SENML_UNITS:
                row.units[field] = SENML_UNITS[unit]
    for key, kind in (("vs", str), ("vb", bool), ("vd", str)):
        if key in record:
            if not isinstance(record[key], kind):
                raise FormatFault(f"{key} is {record[key]!r}")
            row.fields[field] = record[key]


def _plain_number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FormatFault(f"{key} is {value!r}")
    return value


def _senml_time(seconds: float, now: str) -> str:
    """The time of a record; empty for "roughly now", which the sender does not know either."""
    if not seconds:
        return ""
    if seconds >= _RELATIVE:
        return epoch(seconds)
    try:
        return format_instant(parse_instant(now) + timedelta(seconds=seconds))
    except (OverflowError, ValueError):
        raise FormatFault(f"{seconds!r} is no time") from None


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise FormatFault(str(error)) from None
