"""The line of one subscriber: what waits for them, in order, and how telling them has gone."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import datetime, timedelta

import msgspec

from sejong.hub.ngsi.instants import format_instant
from sejong.hub.ngsi.notification import Style
from sejong.hub.ngsi.subscription import Telling
from sejong.hub.store.subscriptions import State
from sejong.hub.subscriptions import Message

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
"""Seconds between attempts after the first failure, doubled by each further one up to the longest. Chosen."""
MOST_HELD = 200
"""Messages held in memory per subscriber; more stay in the outbox until there is room. Chosen."""


class Line:
    """One subscriber whom this process tells; made when the process has claimed the subscription."""

    __slots__ = (
        "attempts",
        "behind",
        "failed",
        "failures",
        "last_failure",
        "last_notification",
        "last_success",
        "loaded",
        "missed",
        "not_before",
        "sending",
        "sent",
        "style",
        "sub",
        "task",
        "throttled_from",
        "waiting",
        "wake",
        "why",
    )

    def __init__(self, state: State) -> None:
        self.sub: int = state.sub
        self.sent: int = state.sent
        self.failed: int = state.failed
        self.last_notification: datetime | None = state.last_notification
        self.last_success: datetime | None = state.last_success
        self.last_failure: datetime | None = state.last_failure
        self.why: str = state.why
        self.failures: int = state.failures
        self.not_before: datetime | None = state.not_before
        self.throttled_from: datetime | None = state.throttled_from
        self.waiting: deque[Message] = deque()
        self.behind = True
        """Whether the outbox holds (or may hold) messages that do not wait here."""
        self.missed = False
        """Whether more came while the outbox was being read."""
        self.attempts = 0
        """How often the first in the line was tried."""
        self.loaded: deque[int] = deque(maxlen=MOST_HELD)
        """Numbers of what came out of the outbox lately; its own writer may offer it only now."""
        self.sending = False
        self.task: asyncio.Task[None] | None = None
        self.wake = asyncio.Event()
        self.style: Style | None = None

    @property
    def has_room(self) -> bool:
        """Whether more can wait here."""
        return len(self.waiting) < MOST_HELD

    def offer(self, message: Message) -> None:
        """Something new, committed by this very process."""
        if self.behind or not self.has_room:
            self.behind = self.missed = True
        elif message.no not in self.loaded:
            self.waiting.append(message)

    def take(self, messages: list[Message]) -> None:
        """What came out of the outbox."""
        self.waiting.extend(messages)
        self.loaded.extend(message.no for message in messages)

    def throttled(self, message: Message, throttling: float | None) -> bool:
        """Whether a change came too soon after the last one that was told (clause 5.2.12, throttling)."""
        if throttling is None or self.throttled_from is None:
            return False
        return message.at < self.throttled_from + timedelta(seconds=throttling)

    def succeeded(self, now: datetime) -> None:
        """The receiver took it."""
        self.sent += 1
        self.failures = 0
        self.not_before = None
        self.why = ""
        self.last_notification = self.last_success = now

    def failed_at(self, now: datetime, why: str, cooldown: float) -> None:
        """The receiver did not take it; it is left alone for a while (`cooldown` seconds at least)."""
        self.sent += 1
        self.failed += 1
        self.failures += 1
        self.why = why[:500]
        self.last_notification = self.last_failure = now
        pause = min(FIRST_PAUSE * 2 ** min(self.failures - 1, 20), LONGEST_PAUSE)
        self.not_before = now + timedelta(seconds=max(pause, cooldown))

    def telling(self) -> Telling:
        """How it has gone, for the subscription's own page."""
        moments = (self.last_notification, self.last_success, self.last_failure)
        return Telling(self.sent, self.failed, *(None if m is None else format_instant(m) for m in moments))

    def state(self) -> State:
        """What is to be kept of it."""
        return State(*(getattr(self, name) for name in State.__struct_fields__))


def columns(states: list[State]) -> list[list[object]]:
    """States as the parallel arrays `SAVE` takes."""
    return [list(column) for column in zip(*(msgspec.structs.astuple(state) for state in states), strict=True)]
