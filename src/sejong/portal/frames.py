"""How the live map's moving things travel: 10 bytes each, little-endian, position in 65,536ths of the city's side.

| offset | bytes | what |
|---|---|---|
| 0 | 1 | 0x53, the letter S |
| 1 | 1 | version, 1 |
| 2 | 2 | flags: bit 0 = forget everything before |
| 4 | 4 | tick, counts up |
| 8 | 4 | n: things put |
| 12 | 4 | m: things gone |
| 16 | 4n | numbers of the things put |
| | 4m | numbers of the things gone |
| | 2n, 2n | x, y of the things put |
| | n, n | kind and state class of the things put |

x and y count steps of `Grid.step` from `Grid.west`/`Grid.north` in the unit square of Web Mercator, where
MapLibre draws, so that the browser only multiplies. `static/frames.js` is the other half.
"""

from __future__ import annotations

import struct

import msgspec
import numpy as np
from numpy.typing import NDArray

from sejong.kernel.geo import BBox

MAGIC, VERSION, FORGET = 0x53, 1, 1
_HEAD = struct.Struct("<BBHIII")
STEPS = 65_535

Numbers = NDArray[np.uint32]
Steps = NDArray[np.uint16]
Bytes = NDArray[np.uint8]


class Frame(msgspec.Struct, frozen=True, eq=False):
    """What changed for one viewer."""

    tick: int
    forget: bool
    put: Numbers
    gone: Numbers
    x: Steps
    y: Steps
    kind: Bytes
    state: Bytes


class BadFrame(ValueError):
    """Bytes that are not a frame."""


def encode(frame: Frame) -> bytes:
    """The frame as bytes."""
    head = _HEAD.pack(MAGIC, VERSION, FORGET if frame.forget else 0, frame.tick, len(frame.put), len(frame.gone))
    return b"".join(
        (
            head,
            frame.put.astype("<u4", copy=False).tobytes(),
            frame.gone.astype("<u4", copy=False).tobytes(),
            frame.x.astype("<u2", copy=False).tobytes(),
            frame.y.astype("<u2", copy=False).tobytes(),
            frame.kind.tobytes(),
            frame.state.tobytes(),
        )
    )


def decode(raw: bytes) -> Frame:
    """The frame in these bytes. Raises BadFrame."""
    if len(raw) < _HEAD.size:
        raise BadFrame("too short for a head")
    magic, version, flags, tick, n, m = _HEAD.unpack_from(raw)
    if magic != MAGIC or version != VERSION:
        raise BadFrame("not a frame of this version")
    if len(raw) != _HEAD.size + 10 * n + 4 * m:
        raise BadFrame("length and counts disagree")
    at = _HEAD.size

    def take(kind: str, count: int) -> NDArray[np.generic]:
        nonlocal at
        part = np.frombuffer(raw, kind, count, at)
        at += part.nbytes
        return part

    put, gone = take("<u4", n), take("<u4", m)
    x, y = take("<u2", n), take("<u2", n)
    return Frame(tick, bool(flags & FORGET), put, gone, x, y, take("u1", n), take("u1", n))  # pyright: ignore[reportArgumentType] - numpy cannot know the kinds


class Grid(msgspec.Struct, frozen=True):
    """The square of the world that positions are counted in. Units: fractions of the Web Mercator square."""

    west: float
    north: float
    step: float

    def steps(self, lon: float, lat: float) -> tuple[int, int] | None:
        """Where a place lies on the grid, or None when it is outside (or not a place at all)."""
        if not (-180.0 <= lon <= 180.0 and -85.0 <= lat <= 85.0):
            return None
        x, y = mercator(lon, lat)
        column, row = round((x - self.west) / self.step), round((y - self.north) / self.step)
        return (column, row) if 0 <= column <= STEPS and 0 <= row <= STEPS else None

    def box(self, bbox: BBox) -> tuple[float, float, float, float]:
        """A box as west, north, east, south in steps; may lie outside the grid."""
        west, north = mercator(bbox.west, min(85.0, bbox.north))
        east, south = mercator(bbox.east, max(-85.0, bbox.south))
        return tuple((v - o) / self.step for v, o in zip((west, north, east, south), self._corners(), strict=True))  # pyright: ignore[reportReturnType] - four corners

    def _corners(self) -> tuple[float, float, float, float]:
        return (self.west, self.north, self.west, self.north)


def mercator(lon: float, lat: float) -> tuple[float, float]:
    """A place in the unit square of Web Mercator, y from the north. Source: OGC 13-057r1, EPSG:3857."""
    sine = np.sin(np.radians(lat))
    return lon / 360.0 + 0.5, float(0.5 - np.arctanh(sine) / (2 * np.pi))


def grid_over(bbox: BBox) -> Grid:
    """The grid of a city: its box with a tenth of margin, so that what leaves it a little can still be drawn."""
    west, north = mercator(bbox.west, bbox.north)
    east, south = mercator(bbox.east, bbox.south)
    side = max(east - west, south - north)
    margin = side / 10
    return Grid(west - margin, north - margin, (side + 2 * margin) / STEPS)
