"""MQTT topics: which topic a filter means, and the city's own."""

from __future__ import annotations

import re
from functools import lru_cache

DEFAULT = "sejong/v1/+/readings"
"""Where devices publish the default payload; `+` is the name of their key."""
_OWN = re.compile(r"sejong/v1/([^/]+)/readings").fullmatch
_LEVEL = re.compile(r"[^+#/\x00]*").fullmatch


def own_topic(key: str) -> str:
    """The topic of one key.

    >>> own_topic("gw-bike")
    'sejong/v1/gw-bike/readings'
    """
    return DEFAULT.replace("+", key)


def key_of(topic: str) -> str | None:
    """The name of the key in a topic of the default form, or None."""
    found = _OWN(topic)
    return found[1] if found else None


@lru_cache(maxsize=10_000)
def matches(topic_filter: str, topic: str) -> bool:
    """Whether the filter means the topic. Source: MQTT 3.1.1 section 4.7.

    >>> matches("application/+/device/+/event/up", "application/1/device/a8/event/up"), matches("a/#", "a")
    (True, True)
    """
    wanted, given = topic_filter.split("/"), topic.split("/")
    for n, level in enumerate(wanted):
        if level == "#":
            return True
        if n >= len(given) or level not in ("+", given[n]):
            return False
    return len(wanted) == len(given)


def is_filter(text: str) -> bool:
    """Whether this is a topic filter: `+` and `#` stand alone in a level, `#` last."""
    levels = text.split("/")
    if not text or len(text.encode()) > 1000:
        return False
    last = len(levels) - 1
    return all(level == "+" or (level == "#" and n == last) or _LEVEL(level) for n, level in enumerate(levels))


def overlap(one: str, other: str) -> bool:
    """Whether some topic matches both filters.

    >>> overlap("a/+/c", "a/b/#"), overlap("a/+", "a/b/c")
    (True, False)
    """
    first, second = one.split("/"), other.split("/")
    for a, b in zip(first, second, strict=False):
        if "#" in (a, b):
            return True
        if a != b and "+" not in (a, b):
            return False
    longer = first if len(first) > len(second) else second
    shorter = min(len(first), len(second))
    return len(first) == len(second) or longer[shorter] == "#"
