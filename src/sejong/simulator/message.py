"""What the simulator says, and what it knows to be false about it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal["drop_out", "stuck", "wrong_unit", "clock_skew", "spike", "duplicate", "out_of_order", "malformed"]


class Message(msgspec.Struct, frozen=True):
    """One object a device sends, with the key it publishes with; `payload` is bytes where it is garbage.

    `alone`: must not share an MQTT message with others.
    """

    gateway: str
    payload: dict[str, Any] | bytes
    alone: bool = False

    @property
    def readings(self) -> int:
        """Measured values in it (0 in garbage)."""
        return 0 if isinstance(self.payload, bytes) else len(self.payload.keys() - NOT_READINGS)


NOT_READINGS = frozenset({"id", "type", "at", "simulated", "units"})
"""Members of a payload that are not measured values."""


class FaultRecord(msgspec.Struct, frozen=True):
    """One fault that showed in the stream: the truth a detector is judged by.

    `attribute` is empty where the whole device is meant. `since` ≤ instant < `until`, NGSI-LD times; a fault of a
    single message has both at its (true) time.
    """

    entity: str
    attribute: str
    kind: Kind
    since: str
    until: str


class FaultRates(msgspec.Struct, frozen=True):
    """How often field devices fail. 0 switches a kind off; the kinds do not disturb one another.

    The first four are spells, in spells per device and day; the others happen to single messages, in events per
    message (`spike`: per number sent that can spike). All chosen.
    """

    drop_out: float = 0.06
    """Silent for a while."""
    stuck: float = 0.03
    """One attribute repeats the value it had."""
    wrong_unit: float = 0.02
    """One attribute in another unit than it says."""
    clock_skew: float = 0.015
    """`at` is minutes or hours off."""
    spike: float = 4e-5
    """A value the instrument cannot mean."""
    duplicate: float = 5e-4
    """The same message twice."""
    out_of_order: float = 5e-4
    """A message that comes some minutes late, after newer ones."""
    malformed: float = 1e-4
    """Bytes that are not a message."""

    @classmethod
    def none(cls) -> FaultRates:
        """A city in which nothing ever fails."""
        return cls(**dict.fromkeys(cls.__struct_fields__, 0.0))

    @classmethod
    def only(cls, kind: Kind, rate: float) -> FaultRates:
        """A city in which only one thing fails."""
        return msgspec.structs.replace(cls.none(), **{kind: rate})

    def times(self, factor: float) -> FaultRates:
        """All rates multiplied, for `sejong simulate --faults 3`."""
        return FaultRates(**{name: factor * getattr(self, name) for name in self.__struct_fields__})
