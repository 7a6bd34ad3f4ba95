"""Ids sort by time and URNs survive any name a city gives its things."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import unquote
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from sejong.kernel.chance import Chance
from sejong.kernel.clock import ManualClock, SystemClock
from sejong.kernel.ids import new_id, urn

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
moments = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)
URN = re.compile(r"urn:ngsi-ld:[A-Za-z]+(:([A-Za-z0-9\-._~!$'()*+,;=@]|%[0-9A-F]{2})*)*")
"""Source: RFC 8141 section 2 (assigned-name, NSS made of pchar), RFC 3986 section 3.3."""


@given(moments, st.integers())
def test_an_id_is_a_version_7_uuid_of_its_millisecond(moment: datetime, seed: int) -> None:
    made = UUID(text := new_id(ManualClock(moment), Chance(seed).stream("ids")))
    assert str(made) == text
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == int(moment.timestamp() * 1000)


@given(moments, st.floats(min_value=0.001, max_value=1e9))
def test_later_ids_sort_after_earlier_ones(moment: datetime, seconds: float) -> None:
    clock = ManualClock(min(moment, datetime(9900, 1, 1, tzinfo=UTC)))
    first = new_id(clock)
    clock.advance(seconds + 0.001)
    assert first < new_id(clock)


def test_same_seed_same_ids_and_without_a_stream_never_the_same() -> None:
    clock = ManualClock(NOON)

    def run() -> list[str]:
        stream = Chance(3).stream("ids")
        return [new_id(clock, stream) for _ in range(10)]

    assert run() == run()
    assert len(set(run())) == 10
    assert len({new_id(SystemClock()) for _ in range(1000)}) == 1000


def test_random_bits_reach_every_place() -> None:
    """74 random bits: each is seen as 0 and as 1, the fixed ones never move."""
    made = [UUID(new_id(ManualClock(NOON))).int for _ in range(400)]
    ever, always = 0, (1 << 128) - 1
    for value in made:
        ever |= value
        always &= value
    assert (ever & ~always).bit_count() == 74


def test_urn_of_a_bike_station() -> None:
    assert urn("BikeHireDockingStation", "sejong", "SJ_00001") == "urn:ngsi-ld:BikeHireDockingStation:sejong:SJ_00001"
    assert urn("Device") == "urn:ngsi-ld:Device"
    assert urn("Line", "sejong", 990) == "urn:ngsi-ld:Line:sejong:990"


def test_colons_spaces_and_hangul_are_quoted() -> None:
    assert urn("Place", "a:b", "c d/e") == "urn:ngsi-ld:Place:a%3Ab:c%20d%2Fe"
    assert urn("Place", "나성동") == "urn:ngsi-ld:Place:%EB%82%98%EC%84%B1%EB%8F%99"


@given(st.lists(st.one_of(st.text(st.characters(codec="utf-8")), st.integers()), max_size=4))
def test_any_parts_make_a_valid_urn_that_can_be_read_back(parts: list[str | int]) -> None:
    made = urn("Thing", *parts)
    assert URN.fullmatch(made)
    assert [unquote(part) for part in made.split(":")[3:]] == [str(part) for part in parts]
