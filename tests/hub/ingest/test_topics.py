"""Topic filters mean what MQTT says they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ingest.topics import DEFAULT, is_filter, key_of, matches, overlap, own_topic


@pytest.mark.parametrize(
    ("topic_filter", "topic", "yes"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("+/b", "/b", True),
        ("a/b", "a/B", False),
        (DEFAULT, "sejong/v1/gw-bike/readings", True),
        (DEFAULT, "sejong/v1/gw/x/readings", False),
    ],
)
def test_matching(topic_filter: str, topic: str, yes: bool) -> None:
    assert matches(topic_filter, topic) is yes


def test_own_topic_names_its_key() -> None:
    assert key_of(own_topic("gw-bike")) == "gw-bike"
    assert key_of("sejong/v1//readings") is None
    assert key_of("sejong/v2/gw/readings") is None


@pytest.mark.parametrize("text", ["", "a/#/b", "a+/b", "a/b#", "a/\x00", "x" * 2000])
def test_no_filters(text: str) -> None:
    assert not is_filter(text)


levels = st.lists(st.sampled_from(["a", "b", "+"]), min_size=1, max_size=4)
filters = st.tuples(levels, st.booleans()).map(lambda t: "/".join([*t[0], *(["#"] if t[1] else [])]))


@given(filters, filters, st.lists(st.sampled_from("ab"), min_size=1, max_size=6).map("/".join))
def test_filters_that_share_a_topic_overlap(one: str, other: str, topic: str) -> None:
    assert overlap(one, other) == overlap(other, one)
    if matches(one, topic) and matches(other, topic):
        assert overlap(one, other)


@given(filters, filters)
def test_filters_that_overlap_share_a_topic(one: str, other: str) -> None:
    topics = [
        f"{a}/{b}/{c}/{d}/a"[: 2 * n - 1] for n in range(1, 6) for a in "ab" for b in "ab" for c in "ab" for d in "ab"
    ]
    assert overlap(one, other) == any(matches(one, topic) and matches(other, topic) for topic in topics)
