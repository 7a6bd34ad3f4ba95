"""Ordered streams of numbers become one, each number once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from sejong.hub import freezing

STREAM = st.lists(st.integers(-50, 50), unique=True).map(sorted)


async def stream(numbers: list[int]) -> AsyncIterator[int]:
    for number in numbers:
        yield number


@given(st.lists(STREAM, max_size=5))
def test_every_number_comes_once_in_order_with_where_it_came_from(given_streams: list[list[int]]) -> None:
    async def merge() -> list[tuple[int, list[int]]]:
        merged = freezing._merged({place: stream(numbers) for place, numbers in enumerate(given_streams)})
        return [one async for portion in freezing._portions(merged) for one in portion]

    numbers = {number for one in given_streams for number in one}
    expected = {n: [place for place, one in enumerate(given_streams) if n in one] for n in numbers}
    assert asyncio.run(merge()) == sorted(expected.items())
