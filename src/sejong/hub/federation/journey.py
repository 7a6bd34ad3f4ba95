"""A request on its way through other hubs: which sources it concerns, what they said, what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sejong.hub.calls import STALE, Origin, Reply, SourceFault, naming_context, warning
from sejong.hub.federation.faults import LoopDetected
from sejong.hub.federation.identity import alias_of, passed_through
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.errors import LdContextNotAvailable, NgsiLdError
from sejong.hub.ngsi.q import Query, compile_predicate
from sejong.hub.ngsi.source_query import csf_view
from sejong.hub.ngsi.sourcing import Names, Source, Wanted, covers_time
from sejong.hub.registry import Match
from sejong.hub.service import Hub

Found = TypeVar("Found")


class Journey:
    """One request that may concern other hubs too."""

    def __init__(self, hub: Hub, tenant: int, tenant_name: str, headers: Mapping[str, str]) -> None:
        """Raises LoopDetected when the request was here before."""
        self.hub, self.tenant = hub, tenant
        alias, via = alias_of(hub, tenant_name), tuple(passed_through(headers))
        if alias in via:
            raise LoopDetected(f"{alias} is in its Via already")
        self.origin = Origin(tenant, alias, headers, via)
        self.warnings: list[str] = []

    def sources(
        self, who: Sequence[Wanted], names: Names | None, operations: Iterable[str], csf: Query | None = None
    ) -> list[Match]:
        """The sources that offer one of these operations and hold part of what is meant, oldest first."""
        wanted = frozenset(operations)
        test = None if csf is None else compile_predicate(csf)
        return [
            (source, part)
            for source, part in self.hub.registry.matching(self.tenant, who, names, via=self.origin.via)
            if not wanted.isdisjoint(source.operations)
            and covers_time(source.doc, None)
            and (test is None or test(csf_view(source.doc, {})))
        ]

    async def call(self, source: Source, method: str, path: str, params: Mapping[str, str], body: Any = None) -> Reply:
        """Ask a source. Raises SourceFault."""
        reply = await self.hub.calls.call(self.origin, source, method, path, params, body)
        if reply.stale:
            self.warnings.append(warning(STALE, source, "it does not answer; this is what it said before"))
        passed = reply.headers.get("ngsild-warning")
        if passed and len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(passed)
        return reply

    async def naming(self, source: Source) -> Context:
        """The context a source is spoken to in. Raises SourceFault when it cannot be had."""
        try:
            return await self.hub.contexts.get(naming_context(source))
        except (LdContextNotAvailable, NgsiLdError) as error:
            raise SourceFault(source, "invalid", f"its @context is not available: {error.detail}") from error

    async def ask_all(
        self, matches: Sequence[Match], ask: Callable[[Match], Awaitable[Found]]
    ) -> list[tuple[Source, Found]]:
        """Ask several sources at once; those that fail become warnings."""

        async def asked(match: Match) -> tuple[Source, Found] | None:
            try:
                return match[0], await ask(match)
            except SourceFault as fault:
                self.warnings.append(fault.warning())
                return None

        return [one for one in await asyncio.gather(*map(asked, matches)) if one is not None]

    def headers(self) -> dict[str, str]:
        """What the answer has to say about sources that failed."""
        unique = list(dict.fromkeys(self.warnings))
        return {"NGSILD-Warning": ", ".join(unique[:MOST_WARNINGS])} if unique else {}


MOST_WARNINGS = 50
"""Warnings in one answer at most. Chosen: what common limits of header sizes allow."""
