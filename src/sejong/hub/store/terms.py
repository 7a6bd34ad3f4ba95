"""The hub's dictionaries: long names that repeat (IRIs, instance shapes, tenants) as small numbers.

Each process keeps them whole in memory; they only ever grow, so a copy is never wrong, just short.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sejong.kit.postgres import Connection, Sql


class Term(msgspec.Struct, frozen=True):
    """A long text and the number it goes by."""

    no: int
    text: str


ALL_TERMS = Sql("select no, iri as text from hub.term where no > $1 order by no", Term)
ADD_TERMS = Sql("insert into hub.term(iri) select unnest($1::text[]) on conflict do nothing")
ALL_SHAPES = Sql("select no, json as text from hub.shape where no > $1 order by no", Term)
ADD_SHAPES = Sql("insert into hub.shape(json) select unnest($1::text[]) on conflict do nothing")
ALL_TENANTS = Sql("select no::int as no, name as text from hub.tenant where no >= 0 order by no", Term)
ADD_TENANT = Sql("insert into hub.tenant(name) values ($1) on conflict do nothing")


class Dictionary:
    """Texts ↔ numbers. `learn` adds what is new and commits with the caller's own connection settings.

    Terms are added outside the caller's transaction (a connection of its own), so that two writers
    adding the same new name never wait for each other's long transactions.
    """

    def __init__(self, load: Sql[Term], add: Sql[Term] | Sql) -> None:
        self._load, self._add = load, add
        self.number: dict[str, int] = {}
        self.text: dict[int, str] = {}
        self._last = 0

    async def refresh(self, connection: Connection) -> None:
        """Read what others have added."""
        for term in await self._load.all(connection, self._last):
            self.number[term.text] = term.no
            self.text[term.no] = term.text
        # Numbers may become visible out of order; look again a little behind the newest one.
        self._last = max(self.text, default=0) - 1000 if len(self.text) > 1000 else 0

    async def look_up(self, connection: Connection, texts: Iterable[str]) -> None:
        """Read what others have added if one of these texts is not known here."""
        if any(text not in self.number for text in texts):
            await self.refresh(connection)

    async def learn(self, connection: Connection, texts: Iterable[str]) -> None:
        """Make sure each text has a number."""
        unknown = sorted({text for text in texts if text not in self.number})
        if unknown:
            await self._add.run(connection, unknown)
            await self.refresh(connection)
