"""Entity maps: the set of entities a query meant at one moment, under a name, until it expires.

Paging over a map fixes which entities may appear: one created later never shifts a page, and one that no longer
matches leaves its place to the next. Source: ETSI GS CIM 009 v1.9.1 clauses 5.14, 5.2.35 and 6.32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from sejong.hub.ngsi.errors import BadRequestData, ResourceNotFound, TooManyResults
from sejong.hub.ngsi.instants import format_instant, parse_duration
from sejong.hub.store import maps as store
from sejong.hub.store.maps import MapRow
from sejong.kernel.clock import Clock
from sejong.kernel.ids import new_id, urn
from sejong.kit.postgres import Pool

HERE = "@none"
"""What an entity map calls this record itself. Source: clause 5.2.35."""
USUAL_LIFE = timedelta(hours=1)
"""How long a map is kept when the client states nothing. Chosen."""
AT_ONCE = 10_000


class Candidates(msgspec.Struct, frozen=True):
    """The entities a query meant: numbers in this record, and what other sources said they have.

    `remote`: entity id → ids of the registrations that have it; `linked`: registration id → the map of that source.
    """

    local: Sequence[int]
    remote: Mapping[str, Sequence[str]] = {}
    linked: Mapping[str, str] = {}


class EntityMaps:
    """The maps of all tenants, kept in the database. One per process."""

    def __init__(self, pool: Pool, clock: Clock, *, longest: float, most: int) -> None:
        self._pool, self._clock = pool, clock
        self._longest, self._most = timedelta(seconds=longest), most

    @property
    def most(self) -> int:
        """Entities one map may hold."""
        return self._most

    def expiry(self, lifetime: str | None) -> datetime:
        """When a map made now expires; a longer life than this installation allows is cut. Raises BadRequestData."""
        return until(self._clock.now(), lifetime, "entityMapLifetime", min(USUAL_LIFE, self._longest), self._longest)

    async def make(self, tenant: int, candidates: Candidates, expires: datetime, *, temporal: bool = False) -> MapRow:
        """Keep a new map; durable on return. Raises TooManyResults."""
        if len(candidates.local) + len(candidates.remote) > self._most:
            raise TooManyResults(f"an entity map holds at most {self._most} entities; narrow the query")
        name = urn("EntityMap", new_id(self._clock))
        async with self._pool.acquire(timeout=10) as connection, connection.transaction():
            made = await store.MAKE.one(
                connection, tenant, name, temporal, expires, dict(candidates.remote), dict(candidates.linked)
            )
            assert made is not None
            for start in range(0, len(candidates.local), AT_ONCE):
                await store.ADD.run(connection, made.no, candidates.local[start : start + AT_ONCE])
        return made

    async def find(self, tenant: int, name: str) -> MapRow | None:
        """The map of this name unless it has expired."""
        async with self._pool.acquire(timeout=10) as connection:
            return await store.FIND.one(connection, tenant, name, self._clock.now())

    async def has(self, tenant: int, found: MapRow, entity_id: str) -> bool:
        """Whether an entity is in a map."""
        if entity_id in found.remote:
            return True
        async with self._pool.acquire(timeout=10) as connection:
            return bool(await store.HAS.value(connection, found.no, tenant, entity_id))

    async def body(self, found: MapRow) -> dict[str, Any]:
        """The map as clients see it."""
        async with self._pool.acquire(timeout=10) as connection:
            local = [row[0] for row in await connection.fetch(store.MEMBERS.text, found.no)]
        where = {one: [HERE, *found.remote.get(one, ())] for one in local}
        return {
            "id": found.id,
            "type": "EntityMap",
            "expiresAt": format_instant(found.expires),
            "entityMap": {**found.remote, **where},
            "linkedMaps": found.linked,
        }

    async def retrieve(self, tenant: int, name: str) -> dict[str, Any]:
        """The map of this name as clients see it. Raises ResourceNotFound."""
        found = await self.find(tenant, name)
        if found is None:
            raise ResourceNotFound(f"no entity map {name}")
        return await self.body(found)

    async def prolong(self, tenant: int, name: str, expires: datetime) -> None:
        """Let a map expire at another time. Raises ResourceNotFound, BadRequestData."""
        now = self._clock.now()
        if not now < expires <= now + self._longest:
            raise BadRequestData(f"expiresAt must lie in the next {self._longest.total_seconds():g} seconds")
        async with self._pool.acquire(timeout=10) as connection:
            if not await store.SET_EXPIRY.run(connection, tenant, name, now, expires):
                raise ResourceNotFound(f"no entity map {name}")

    async def delete(self, tenant: int, name: str) -> None:
        """Forget a map. Raises ResourceNotFound."""
        async with self._pool.acquire(timeout=10) as connection:
            if not await store.DELETE.run(connection, tenant, name, self._clock.now()):
                raise ResourceNotFound(f"no entity map {name}")


def until(now: datetime, lifetime: Any, member: str, usual: timedelta, longest: timedelta) -> datetime:
    """When something made now expires, `longest` from now at most. `lifetime`: an ISO 8601 duration.

    Raises BadRequestData for anything else, and for one of no length.
    """
    if lifetime is None:
        return now + usual
    if not isinstance(lifetime, str):
        raise BadRequestData(f"{member} must be a text")
    span = parse_duration(lifetime, member)
    if span.is_zero:
        raise BadRequestData(f"{member} must be longer than nothing")
    try:
        return min(span.after(now), now + longest)
    except BadRequestData:  # beyond the calendar
        return now + longest
