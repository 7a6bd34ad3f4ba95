"""Mapbox Vector Tiles, written by hand: features in tile coordinates become the bytes of a tile. Pure.

Source: Mapbox Vector Tile specification 2.1 (layers §4.1, geometry commands §4.3, values §4.4); Protocol
Buffers encoding (varint, zigzag, length-delimited).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import msgspec

EXTENT = 4096
"""Tile coordinates run from 0 to this, x to the east and y to the south."""

POINT, LINE, POLYGON = 1, 2, 3
_MOVE_TO, _LINE_TO, _CLOSE_PATH = 1, 2, 7

Value = str | int | float | bool
Part = Sequence[tuple[int, int]]


class Feature(msgspec.Struct, frozen=True):
    """One thing of a layer: POINT, LINE or POLYGON made of parts; the format itself closes rings."""

    kind: int
    parts: Sequence[Part]
    properties: dict[str, Value]
    id: int | None = None


def encode_tile(layers: Iterable[tuple[str, Sequence[Feature]]]) -> bytes:
    """A tile of named layers; layers without features are left out."""
    return b"".join(_field(3, _layer(name, features)) for name, features in layers if features)


def _layer(name: str, features: Sequence[Feature]) -> bytes:
    keys: dict[str, int] = {}
    values: dict[tuple[type, Value], int] = {}
    body = [_field(1, name.encode())]
    for feature in features:
        tags: list[int] = []
        for key, value in feature.properties.items():
            tags.append(keys.setdefault(key, len(keys)))
            tags.append(values.setdefault((type(value), value), len(values)))
        body.append(_field(2, _feature(feature, tags)))
    body += [_field(3, key.encode()) for key in keys]
    body += [_field(4, _value(value)) for _, value in values]
    body += [_number(5, EXTENT), _number(15, 2)]
    return b"".join(body)


def _feature(feature: Feature, tags: Sequence[int]) -> bytes:
    return b"".join((
        b"" if feature.id is None else _number(1, feature.id),
        _field(2, _varints(tags)) if tags else b"",
        _number(3, feature.kind),
        _field(4, _varints(_commands(feature.kind, feature.parts))),
    ))  # fmt: skip


def _commands(kind: int, parts: Sequence[Part]) -> list[int]:
    """Drawing commands with moves relative to the last place."""
    out: list[int] = []
    x = y = 0
    add = out.append
    if kind == POINT:
        out.append(_MOVE_TO | len(parts) << 3)
    for part in parts:
        for index, (to_x, to_y) in enumerate(part):
            if kind != POINT and index == 0:
                out.append(_MOVE_TO | 1 << 3)
            elif index == 1:
                out.append(_LINE_TO | len(part) - 1 << 3)
            dx, dy = to_x - x, to_y - y
            add((dx << 1) ^ (dx >> 63))
            add((dy << 1) ^ (dy >> 63))
            x, y = to_x, to_y
        if kind == POLYGON:
            out.append(_CLOSE_PATH | 1 << 3)
    return out


def _value(value: Value) -> bytes:
    """A property value; bool before int, because a bool is an int to Python."""
    if isinstance(value, bool):
        return _number(7, int(value))
    if isinstance(value, int):
        return _number(5, value) if value >= 0 else _number(6, (value << 1) ^ (value >> 63))
    if isinstance(value, float):
        return b"\x19" + struct.pack("<d", value)
    return _field(1, value.encode())


def _varints(numbers: Iterable[int]) -> bytes:
    out = bytearray()
    for number in numbers:
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varints((field << 3, value))


def _field(field: int, body: bytes) -> bytes:
    """A length-delimited field; field numbers of a tile are below 16, so the tag is one byte."""
    size = len(body)
    return bytes((field << 3 | 2, size)) + body if size < 0x80 else _varints((field << 3 | 2, size)) + body
