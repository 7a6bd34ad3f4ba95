"""Frames: what is written is what is read, and nothing else is read."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from portal_demo_city import DemoFace

from sejong.kernel.geo import BBox, haversine_m
from sejong.portal.frames import BadFrame, Frame, decode, encode, grid_over, mercator

numbers = st.lists(st.integers(0, 2**32 - 1), max_size=50)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    put, gone = draw(numbers), draw(numbers)
    n = len(put)
    shorts = st.lists(st.integers(0, 65_535), min_size=n, max_size=n)
    small = st.lists(st.integers(0, 255), min_size=n, max_size=n)
    return Frame(
        draw(st.integers(0, 2**32 - 1)),
        draw(st.booleans()),
        np.array(put, np.uint32),
        np.array(gone, np.uint32),
        np.array(draw(shorts), np.uint16),
        np.array(draw(shorts), np.uint16),
        np.array(draw(small), np.uint8),
        np.array(draw(small), np.uint8),
    )


@given(frames())
def test_a_frame_survives_the_wire(frame: Frame) -> None:
    raw = encode(frame)
    assert len(raw) == 16 + 10 * len(frame.put) + 4 * len(frame.gone)
    read = decode(raw)
    assert (read.tick, read.forget) == (frame.tick, frame.forget)
    for name in ("put", "gone", "x", "y", "kind", "state"):
        assert getattr(read, name).tolist() == getattr(frame, name).tolist()


@given(st.binary(max_size=80))
def test_other_bytes_are_refused_or_are_a_frame(raw: bytes) -> None:
    try:
        read = decode(raw)
    except BadFrame:
        return
    assert encode(read)[4:] == raw[4:]


@given(frames(), st.integers(1, 40))
def test_a_cut_frame_is_refused(frame: Frame, cut: int) -> None:
    raw = encode(frame)
    with pytest.raises(BadFrame):
        decode(raw[: max(0, len(raw) - cut)])


@given(st.floats(127.12, 127.42), st.floats(36.40, 36.74))
def test_a_place_on_the_grid_is_within_a_metre(lon: float, lat: float) -> None:
    grid = grid_over(DemoFace().bbox)
    steps = grid.steps(lon, lat)
    assert steps is not None
    x, y = grid.west + steps[0] * grid.step, grid.north + steps[1] * grid.step
    back = (x - 0.5) * 360, math.degrees(2 * math.atan(math.exp((0.5 - y) * 2 * math.pi)) - math.pi / 2)
    assert haversine_m(lon, lat, *back) < 1.0


@pytest.mark.parametrize("place", [(0.0, 0.0), (127.2, 90.0), (127.2, 40.0), (math.nan, 36.5), (127.2, math.inf)])
def test_places_outside_are_not_on_the_grid(place: tuple[float, float]) -> None:
    assert grid_over(DemoFace().bbox).steps(*place) is None


def test_mercator_agrees_with_known_places() -> None:
    assert mercator(0, 0) == (0.5, 0.5)
    assert mercator(-180, 85.0511287798066) == pytest.approx((0.0, 0.0), abs=1e-9)
    around = 2 * math.pi * 6_378_137.0
    x, y = mercator(-(100 + 20 / 60), 24 + 22 / 60 + 54.433 / 3600)  # the example of IOGP guidance note 7-2
    assert ((x - 0.5) * around, (0.5 - y) * around) == pytest.approx((-11_169_055.58, 2_800_000.00), abs=0.01)


def test_a_box_in_steps_lies_around_its_places() -> None:
    grid = grid_over(DemoFace().bbox)
    west, north, east, south = grid.box(BBox(127.2, 36.45, 127.3, 36.5))
    place = grid.steps(127.25, 36.475)
    assert place is not None
    assert west < place[0] < east
    assert north < place[1] < south
