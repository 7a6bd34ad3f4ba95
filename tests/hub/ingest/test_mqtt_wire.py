"""The subscribing half of MQTT, byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ingest import mqtt_wire as wire
from sejong.hub.ingest.mqtt_wire import Incoming, Wire, WireFault

ACCEPTED = b"\x20\x02\x01\x00"


def length(n: int) -> bytes:
    out = b""
    while True:
        n, digit = n >> 7, n & 127
        out += bytes([digit | (128 if n else 0)])
        if not n:
            return out


def publish(topic: str, payload: bytes, mid: int = 0, *, again: bool = False, retain: bool = False) -> bytes:
    body = len(topic.encode()).to_bytes(2, "big") + topic.encode() + (mid.to_bytes(2, "big") if mid else b"") + payload
    head = 0x30 | (2 if mid else 0) | (8 if again else 0) | (1 if retain else 0)
    return bytes([head]) + length(len(body)) + body


def opened(largest: int = 1000) -> Wire:
    made = Wire(largest=largest)
    assert made.feed(ACCEPTED) == []
    return made


def test_our_packets() -> None:
    assert wire.connect("id", "u", "pw", 30) == b"\x10\x15\x00\x04MQTT\x04\xc0\x00\x1e\x00\x02id\x00\x01u\x00\x02pw"
    assert wire.connect("id", None, None, 30) == b"\x10\x0e\x00\x04MQTT\x04\x00\x00\x1e\x00\x02id"
    assert wire.subscribe(["a/#", "b"]) == b"\x82\x0c\x00\x01\x00\x03a/#\x01\x00\x01b\x01"
    assert wire.unsubscribe(["a/#"]) == b"\xa2\x07\x00\x01\x00\x03a/#"
    assert wire.acknowledge([1, 513]) == b"\x40\x02\x00\x01\x40\x02\x02\x01"
    assert (wire.PING, wire.GOODBYE) == (b"\xc0\x00", b"\xe0\x00")


def test_a_conversation() -> None:
    it = opened()
    assert it.kept_session
    assert it.feed(b"\x90\x04\x00\x01\x01\x80" + b"\xd0\x00" + b"\xb0\x02\x00\x01") == []
    assert (it.subscribed, it.pongs) == (b"\x01\x80", 1)
    assert it.feed(publish("a/b", b"x", 7) + publish("a/b", b"", 7, again=True) + publish("c", b"y", retain=True)) == [
        Incoming("a/b", b"x", 7, False, 1),
        Incoming("a/b", b"", 7, True, 0),
        Incoming("c", b"y", 0, False, 1),
    ]


packets = st.lists(st.tuples(st.text(max_size=10), st.binary(max_size=300), st.integers(0, 65535)), max_size=8)


@given(packets, st.data())
def test_any_cut_of_the_bytes_gives_the_same_messages(sent: list[tuple[str, bytes, int]], data: st.DataObject) -> None:
    stream = ACCEPTED + b"".join(publish(topic, payload, mid) for topic, payload, mid in sent)
    it, found = Wire(largest=1000), []
    while stream:
        n = data.draw(st.integers(1, len(stream)))
        found += it.feed(stream[:n])
        stream = stream[n:]
    assert [(m.topic, m.payload, m.mid) for m in found] == sent


def test_message_beyond_the_largest_is_cut_and_does_not_stop_the_stream() -> None:
    it = opened(largest=1000)
    big = publish("a", b"z" * 3_000_000, 9)
    stream = publish("a", b"before", 8) + big + publish("a", b"after", 10)
    found = []
    for n in range(0, len(stream), 65_536):
        found += it.feed(stream[n : n + 65_536])
        assert len(it._rest) < 300_000
    assert [(m.payload[:6], len(m.payload), m.mid, m.size) for m in found] == [
        (b"before", 6, 8, 6),
        (b"zzzzzz", 1000, 9, 3_000_000),
        (b"after", 5, 10, 5),
    ]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x20\x02\x00\x05", "not authorised"),
        (b"\x20\x02\x00\x63", "code 99"),
        (publish("a", b"x", 1), "PUBLISH"),  # before CONNACK
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "kind 4"),
        (ACCEPTED + ACCEPTED, "kind 2"),
        (ACCEPTED + b"\x30\x01\x00", "PUBLISH"),
        (ACCEPTED + b"\x30\x03\x00\x05a", "PUBLISH"),
        (ACCEPTED + b"\x34\x05\x00\x01a\x00\x01", "PUBLISH"),  # QoS 2, which was not asked for
        (ACCEPTED + b"\x30\xff\xff\xff\xff\xff", "length"),
        (ACCEPTED + b"\x10\x00", "kind 1"),
    ],
)
def test_what_is_not_mqtt_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(WireFault, match=why):
        Wire(largest=1000).feed(data)


@given(st.binary(max_size=400))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    it = opened()
    try:
        it.feed(data)
    except WireFault:
        pass
