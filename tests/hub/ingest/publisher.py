"""A device that publishes fast with QoS 1: returns once the broker has acknowledged every message."""

from __future__ import annotations

import socket
import struct
from itertools import count

_numbers = count()


def _text(text: str) -> bytes:
    return struct.pack("!H", len(text.encode())) + text.encode()


def _packet(head: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while True:
        digit, size = size & 127, size >> 7
        length += bytes([digit | (128 if size else 0)])
        if not size:
            return bytes([head]) + length + body


class Device:
    """Signs in anew for each `send`, as a device that woke up."""

    def __init__(self, port: int, name: str, password: str, window: int = 1000) -> None:
        self.port, self.name, self.password, self.window = port, name, password, window

    def send(self, *payloads: bytes, topic: str | None = None) -> int:
        """Publish with QoS 1, in order; how many the broker acknowledged before the connection ended."""
        topic = topic or f"sejong/v1/{self.name}/readings"
        sent = acknowledged = 0
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=20) as link:
                client = _text(f"test-{self.name}-{next(_numbers)}")
                link.sendall(
                    _packet(
                        0x10, _text("MQTT") + b"\x04\xc2\x00\x3c" + client + _text(self.name) + _text(self.password)
                    )
                )
                assert link.recv(4) == b"\x20\x02\x00\x00"
                rest = b""
                while acknowledged < len(payloads):
                    out = []
                    while sent < len(payloads) and sent - acknowledged < self.window and len(out) < 200:
                        mid = struct.pack("!H", sent % 65_000 + 1)
                        out.append(_packet(0x32, _text(topic) + mid + payloads[sent]))
                        sent += 1
                    link.sendall(b"".join(out))
                    if sent - acknowledged >= self.window or sent == len(payloads):
                        data = link.recv(65_536)
                        if not data:
                            break
                        rest += data
                        acknowledged += len(rest) // 4
                        rest = rest[len(rest) // 4 * 4 :]
                link.sendall(b"\xe0\x00")
        except (ConnectionError, TimeoutError):
            pass
        return acknowledged
