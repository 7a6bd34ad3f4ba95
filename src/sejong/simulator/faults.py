"""How field devices fail, at a declared rate, with the truth kept for whoever must find it.

Spells (silent, stuck, wrong unit, wrong clock) are drawn for each device and each six hours, so they too are a function
of the instant: a stuck sensor is still stuck after a restart. Single messages are spiked, doubled, delayed or garbled
by luck of (device, instant). Each kind has draws of its own; switching one off leaves the others where they were.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sejong.simulator.luck import Keys, bits, draws, halves, one_bits, uniform
from sejong.simulator.message import FaultRates, FaultRecord, Kind, Message
from sejong.simulator.moment import iso
from sejong.simulator.rows import DeviceRow

BLOCK_S = 21_600
"""Spells are drawn for six hours at a time and end with them at the latest. Units: s."""
SPELLS: tuple[tuple[Kind, int, int], ...] = (
    ("drop_out", 600, 10_800),
    ("stuck", 1_200, 14_400),
    ("wrong_unit", 1_800, 21_600),
    ("clock_skew", 900, 14_400),
)
"""Kind, shortest and longest spell. Units: s. Chosen."""
SKEWS_S = (32_400, -3_600, 140, -700)
"""How far a wrong clock is off: local time sent as UTC (Korea, +9 h), an hour, a drifting quartz. Units: s. Chosen."""
LATE_MIN_S, LATE_MAX_S = 120, 420
"""How late an out-of-order message comes. Units: s. Chosen."""
TRUTH_KEPT = 50_000
"""Most fault records kept; the oldest go first."""


_MISHAPS = draws(720, 721)


class Spell(msgspec.Struct, frozen=True):
    """One device failing in one way for a while; `which` picks the attribute or the size of the error."""

    kind: Kind
    since: int
    until: int
    which: int


class Truth:
    """The faults that showed in the stream so far, and the messages on their way that come too late."""

    def __init__(self) -> None:
        self.records: deque[FaultRecord] = deque(maxlen=TRUTH_KEPT)
        self._said: set[FaultRecord] = set()
        self._late: list[tuple[int, int, Message]] = []
        self._count = 0

    def say(self, entity: str, attribute: str, kind: Kind, since: int, until: int) -> None:
        """Note a fault once."""
        record = FaultRecord(entity, attribute, kind, iso(since), iso(until))
        if since == until:
            self.records.append(record)
        elif record not in self._said:
            if len(self._said) > TRUTH_KEPT:
                self._said.clear()
            self._said.add(record)
            self.records.append(record)

    def hold(self, until: int, message: Message) -> None:
        """Keep a message back until epoch second `until`."""
        self._count += 1
        heappush(self._late, (until, self._count, message))

    def due(self, t: int) -> list[Message]:
        """The held messages whose time has come."""
        out = []
        while self._late and self._late[0][0] <= t:
            out.append(heappop(self._late)[2])
        return out


class Faults:
    """The failing of one family's devices."""

    def __init__(self, row: DeviceRow, ids: Sequence[str], keys: Keys, rates: FaultRates, truth: Truth) -> None:
        self._row, self._ids, self._keys, self._rates, self._truth = row, ids, keys, rates, truth
        self._can_differ = [m for m in row.measures if m.wrong is not None]
        self._can_spike = [m for m in row.measures if m.spike is not None]
        self._odds = np.array(
            [
                [[rates.spike * len(self._can_spike)], [rates.duplicate]],
                [[rates.malformed], [rates.out_of_order]],
            ]
        )
        self._block = -1
        self._spells: dict[int, list[Spell]] = {}
        self._stuck: dict[tuple[int, int], Any] = {}

    def pass_on(self, index: NDArray[np.int64], objects: list[dict[str, Any]], t: int) -> list[Message]:
        """The messages that really leave, given what sound devices would send at epoch second `t`."""
        if t // BLOCK_S != self._block:
            self._open(t // BLOCK_S)
        gateway, alone = self._row.gateway, self._row.alone
        kept: list[Message | None] = [Message(gateway, o, alone) for o in objects]
        if self._spells:
            for at, i in enumerate(index.tolist()):
                if i in self._spells:
                    kept[at] = self._suffer(i, objects[at], t)
        extra = self._mishaps(index, kept, t)
        return [m for m in kept if m is not None] + extra

    def _open(self, block: int) -> None:
        """Draw the spells of the next six hours."""
        self._block, self._stuck = block, {}
        found: dict[int, list[Spell]] = {}
        for draw, (kind, shortest, longest) in enumerate(SPELLS):
            rate = getattr(self._rates, kind) * BLOCK_S / 86_400
            if rate <= 0 or (kind == "wrong_unit" and not self._can_differ):
                continue
            hit = np.flatnonzero(uniform(self._keys, block, 700 + 3 * draw) < rate)
            start, length = halves(self._keys[hit], block, 701 + 3 * draw)
            which = bits(self._keys[hit], block, 702 + 3 * draw) >> np.uint64(40)
            end = (block + 1) * BLOCK_S
            for i, a, b, w in zip(hit.tolist(), start.tolist(), length.tolist(), which.tolist(), strict=True):
                since = block * BLOCK_S + int(a * BLOCK_S)
                until = min(end, since + int(shortest + b * (longest - shortest)))
                found.setdefault(i, []).append(Spell(kind, since, until, w))
        self._spells = found

    def _suffer(self, i: int, sound: dict[str, Any], t: int) -> Message | None:
        """What leaves of one message of a device that has a spell in these six hours."""
        sent = sound
        for spell in self._spells[i]:
            if not spell.since <= t < spell.until:
                continue
            if spell.kind == "drop_out":
                self._truth.say(self._ids[i], "", "drop_out", spell.since, spell.until)
                return None
            sent = self._bend(i, spell, sent, t)
        return Message(self._row.gateway, sent, self._row.alone)

    def _bend(self, i: int, spell: Spell, sent: dict[str, Any], t: int) -> dict[str, Any]:
        attribute = ""
        if spell.kind == "clock_skew":
            sent = {**sent, "at": iso(t + SKEWS_S[spell.which % len(SKEWS_S)])}
        elif spell.kind == "wrong_unit":
            measure = self._can_differ[spell.which % len(self._can_differ)]
            attribute = measure.attribute
            value = sent.get(attribute)
            if not isinstance(value, int | float) or measure.wrong is None or value == 0:
                return sent
            factor, summand = measure.wrong
            sent = {**sent, attribute: float(f"{value * factor + summand:.6g}")}
        elif spell.kind == "stuck":
            attribute = self._row.measures[spell.which % len(self._row.measures)].attribute
            if attribute not in sent:
                return sent
            first = self._stuck.setdefault((i, spell.since), sent[attribute])
            if first == sent[attribute]:
                return sent
            sent = {**sent, attribute: first}
        self._truth.say(self._ids[i], attribute, spell.kind, spell.since, spell.until)
        return sent

    def _mishaps(self, index: NDArray[np.int64], kept: list[Message | None], t: int) -> list[Message]:
        """Spike, garble, double or hold back single messages; returns the doubles."""
        keys, extra = self._keys[index], []
        first, second = halves(keys, t, _MISHAPS)
        first, second = first < self._odds[0], second < self._odds[1]
        if not (first.any() or second.any()):
            return extra
        hits = (
            (self._spike, first[0]),
            (self._garble, second[0]),
            (self._double, first[1]),
            (self._delay, second[1]),
        )
        for do, hit in hits:
            for at in np.flatnonzero(hit).tolist():
                message = kept[at]
                if message is not None and isinstance(message.payload, dict):
                    i = int(index[at])
                    kept[at] = do(i, message, message.payload, t, extra)
        return extra

    def _luck(self, i: int, t: int, draw: int, below: int) -> int:
        return (one_bits(int(self._keys[i]), t, draw) >> 33) % below

    def _spike(self, i: int, message: Message, payload: dict[str, Any], t: int, extra: list[Message]) -> Message:
        measure = self._can_spike[self._luck(i, t, 722, len(self._can_spike))]
        if measure.attribute not in payload or payload[measure.attribute] == measure.spike:
            return message
        self._truth.say(self._ids[i], measure.attribute, "spike", t, t)
        return Message(message.gateway, {**payload, measure.attribute: measure.spike}, message.alone)

    def _garble(self, i: int, message: Message, payload: dict[str, Any], t: int, extra: list[Message]) -> Message:
        self._truth.say(self._ids[i], "", "malformed", t, t)
        return Message(message.gateway, garbage(payload, self._luck(i, t, 723, 5)), True)

    def _double(self, i: int, message: Message, payload: dict[str, Any], t: int, extra: list[Message]) -> Message:
        self._truth.say(self._ids[i], "", "duplicate", t, t)
        extra.append(Message(message.gateway, payload, True))
        return message

    def _delay(self, i: int, message: Message, payload: dict[str, Any], t: int, extra: list[Message]) -> None:
        self._truth.say(self._ids[i], "", "out_of_order", t, t)
        wait = LATE_MIN_S + self._luck(i, t, 724, LATE_MAX_S - LATE_MIN_S)
        self._truth.hold(t + wait, Message(message.gateway, payload, True))


def garbage(payload: dict[str, Any], form: int) -> bytes:
    """Bytes a broken device might send instead of this object: cut off, noise, old encoding, no id, not a number."""
    sound = msgspec.json.encode(payload)
    if form == 0:
        return sound[: len(sound) * 2 // 3]
    if form == 1:
        return b"\x00\xff\xfe" + bytes(b ^ 0xA5 for b in sound[:40])
    if form == 2:
        return f"장비 오류 {payload['id'].rsplit(':', 1)[-1]} 재시작".encode("cp949")
    if form == 3:
        return msgspec.json.encode({k: v for k, v in payload.items() if k != "id"})
    return sound[:-1] + b',"status":NaN}'
