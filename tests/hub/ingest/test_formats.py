"""The formats of other makers become named fields."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ingest.formats import FormatFault, Row, csv_rows, epoch, json_rows, scalar, senml_rows, ultralight_rows
from sejong.hub.ingest.refusals import Refusal

NOW = "2026-11-22T09:00:00.000000Z"


def fields(rows: list[Row]) -> list[dict[str, Any]]:
    return [row.fields for row in rows]


def test_senml_pack_is_resolved() -> None:
    """The multi-measurement example of RFC 8428 section 5.1.3, in our numbers."""
    pack = [
        {
            "bn": "urn:dev:ow:10e2073a01080063:",
            "bt": 1.795336e9,
            "bu": "A",
            "bver": 5,
            "n": "voltage",
            "u": "V",
            "v": 120.1,
        },
        {"n": "current", "t": -5, "v": 1.2},
        {"n": "current", "t": -4, "v": 1.3},
        {"n": "current", "v": 1.7},
    ]
    rows = senml_rows(json.dumps(pack).encode(), NOW)
    assert fields(rows) == [
        {"bn": "urn:dev:ow:10e2073a01080063", "voltage": 120.1, "current": 1.7},
        {"bn": "urn:dev:ow:10e2073a01080063", "current": 1.2},
        {"bn": "urn:dev:ow:10e2073a01080063", "current": 1.3},
    ]
    assert [row.at for row in rows] == [epoch(1795336000), epoch(1795335995), epoch(1795335996)]
    assert rows[0].units == {"voltage": "VLT", "current": "AMP"}


def test_senml_values_sums_and_relative_times() -> None:
    pack = [
        {"bn": "urn:dev:mac:0024befffe804ff1/", "bv": 20, "n": "t", "v": 1.5, "u": "Cel"},
        {"n": "open", "vb": True},
        {"n": "label", "vs": "Nasung"},
        {"n": "rain", "s": 3, "t": -60},
        {"n": "odd", "v": 1, "u": "furlong"},
    ]
    rows = senml_rows(json.dumps(pack).encode(), NOW)
    assert rows[0].fields == {
        "bn": "urn:dev:mac:0024befffe804ff1",
        "t": 21.5,
        "open": True,
        "label": "Nasung",
        "odd": 21,
    }
    assert rows[0].at is None  # "roughly now": the sender does not know the time either
    assert (rows[1].fields["rain.sum"], rows[1].at) == (3, "2026-11-22T08:59:00.000000Z")
    assert rows[0].units == {"t": "CEL"}


@pytest.mark.parametrize(
    "pack",
    [
        {},
        [],
        [7],
        [{"n": "a b", "v": 1}],
        [{"v": 1}],
        [{"n": "a", "v": "1"}],
        [{"n": "a", "v": True}],
        [{"n": "a", "vs": 1}],
        [{"n": "a", "vb": 1}],
        [{"bn": 7, "n": "a", "v": 1}],
        [{"bt": True, "n": "a", "v": 1}],
        [{"n": "a", "v": 1, "secret_": 2}],
        [{"n": "a", "v": 1, "t": 1e30}],
        [{"n": "a", "v": 1, "t": -1e30}],
    ],
)
def test_no_senml(pack: Any) -> None:
    with pytest.raises(FormatFault):
        senml_rows(json.dumps(pack).encode(), NOW)


def test_ultralight() -> None:
    rows = ultralight_rows(b"t|21.5|h|40#2026-11-22T08:00:00Z|t|22|door|open\n")
    assert fields(rows) == [{"t": 21.5, "h": 40}, {"t": 22, "door": "open"}]
    assert [row.at for row in rows] == [None, "2026-11-22T08:00:00Z"]


@pytest.mark.parametrize("raw", [b"", b"t", b"t|1|", b"#", b"|1", b"\xff|1"])
def test_no_ultralight(raw: bytes) -> None:
    with pytest.raises(FormatFault):
        ultralight_rows(raw)


def test_csv_lines() -> None:
    rows = csv_rows(b'A1;21,5;"x;y"\r\nA2;;z\n', ["id", "t", "note"], ";")
    assert fields(rows) == [{"id": "A1", "t": "21,5", "note": "x;y"}, {"id": "A2", "note": "z"}]
    with pytest.raises(FormatFault, match="2 columns instead of 3"):
        csv_rows(b"A1;1", ["id", "t", "note"], ";")
    with pytest.raises(FormatFault):
        csv_rows(b"", ["id"], ",")


def test_json_rows() -> None:
    assert fields(json_rows(b'{"a":1}', None)) == [{"a": 1}]
    assert fields(json_rows(b'[{"a":1},{"a":2}]', None)) == [{"a": 1}, {"a": 2}]
    (row,) = json_rows(b'{"g":7,"data":[{"a":1}]}', lambda body: body["data"])
    assert (row.fields, row.root["g"]) == ({"a": 1}, 7)
    for raw in (b"[]", b"7", b"[7]"):
        with pytest.raises(FormatFault):
            json_rows(raw, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-7.5", -7.5),
        ("+3", 3),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("0", 0),
        ("0.10", 0.1),
        ("true", True),
        ("00", "00"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("٣", "٣"),
        ("", ""),
        ("0x1f", "0x1f"),
        ("1" * 25, float("1" * 25)),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    found = scalar(text)
    assert (found, type(found)) == (value, type(value))


@given(st.binary(max_size=300))
def test_bytes_of_any_kind_are_a_fault_at_most(raw: bytes) -> None:
    for read in (
        lambda r: senml_rows(r, NOW),
        ultralight_rows,
        lambda r: csv_rows(r, ["a", "b"], ","),
        lambda r: json_rows(r, None),
    ):
        try:
            read(raw)
        except (FormatFault, Refusal):
            pass
