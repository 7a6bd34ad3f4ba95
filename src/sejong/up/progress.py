"""What a person sees while the city comes up: one line for each step with its seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console

from sejong.kernel.clock import Clock, SystemClock
from sejong.up.words import Language, Text, chosen


class Progress:
    """Lines on a terminal (with a spinner for the step under way) or, elsewhere, plain lines at once."""

    def __init__(self, language: Language, stream: TextIO | None = None, clock: Clock | None = None) -> None:
        self.language: Language = language
        self._clock = clock or SystemClock()
        self._console = Console(file=stream or sys.stdout, highlight=False, soft_wrap=True)
        self._begun = self._clock.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the first line."""
        return self._clock.monotonic() - self._begun

    @contextmanager
    def step(self, label: Text) -> Iterator[None]:
        """One step: named while it runs, and with its seconds when it is done."""
        name, begun = chosen(label, self.language), self._clock.monotonic()
        if self._console.is_terminal:
            with self._console.status(name):
                yield
        else:
            yield
        self._line("✓", "green", f"{self._clock.monotonic() - begun:6.2f} s  {name}")

    def say(self, text: Text) -> None:
        """A plain line."""
        self._line(" ", "", chosen(text, self.language))

    def warn(self, text: Text) -> None:
        """Something the person should know but need not act on now."""
        self._line("!", "yellow", chosen(text, self.language))

    def fail(self, text: Text) -> None:
        """What went wrong, and how to mend it."""
        self._line("✗", "red", chosen(text, self.language))

    def _line(self, mark: str, style: str, text: str) -> None:
        self._console.print(mark, style=style, end=" ", markup=False)
        self._console.print(text, markup=False)
        self._console.file.flush()
