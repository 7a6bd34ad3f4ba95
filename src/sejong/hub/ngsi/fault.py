"""Where in a message a rule was broken: faults gather the path on their way out, so the good path pays nothing."""

from __future__ import annotations


class Fault(Exception):
    """A broken rule somewhere inside a message; `within` adds the members it lies in, innermost first."""

    def __init__(self, why: str, *path: str) -> None:
        super().__init__(why)
        self.why = why
        self.path = list(reversed(path))

    def within(self, member: str) -> Fault:
        """The same fault, seen from one level further out."""
        self.path.append(member)
        return self

    def __str__(self) -> str:
        where = "".join(f".{step}" if step[:1] != "[" else step for step in reversed(self.path))
        return f"{where.removeprefix('.')}: {self.why}" if where else self.why


def shown(value: object) -> str:
    """A value as an error message shows it: readable and short."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
