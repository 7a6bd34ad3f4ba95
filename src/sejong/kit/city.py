"""One running city: its settings, clock, chance, record and services. Handed to routes, handlers and jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from sejong.kernel.chance import Chance
from sejong.kernel.clock import Clock
from sejong.kit.act import Record
from sejong.kit.i18n import Translator
from sejong.kit.migrate import Migration, kit_migrations, migrations_in
from sejong.kit.postgres import Pool
from sejong.kit.service import Service, resolve

Part = TypeVar("Part")


class City:
    """What a process holds of the city.

    `parts` are the living objects services put there when they start (the hub, the city pack, …), found
    again by their type: `city.part(Hub)`.
    """

    def __init__(self, *, settings: Any, clock: Clock, chance: Chance, pool: Pool, services: Sequence[Service]) -> None:
        self.settings = settings
        self.clock = clock
        self.chance = chance
        self.pool = pool
        self.services = services
        self.record = Record(pool, clock)
        self.translator = Translator.from_folders(service.folder() for service in services)
        self._parts: dict[type, Any] = {}

    def put(self, part: object) -> None:
        """Make a living object findable by its type."""
        self._parts[type(part)] = part

    def part(self, kind: type[Part]) -> Part:
        """The living object of this type. Raises LookupError when its service has not started."""
        try:
            return self._parts[kind]
        except KeyError:
            raise LookupError(f"no {kind.__name__} in this city; is its service started?") from None

    @asynccontextmanager
    async def started(self) -> AsyncIterator[City]:
        """Start every service in order; stop them in reverse when the block ends."""
        async with AsyncExitStack() as stack:
            for service in self.services:
                if service.start:
                    await stack.enter_async_context(resolve(service.start)(self))
            yield self


def migrations_of(services: Sequence[Service]) -> list[Migration]:
    """Every step of the kit and of these services, in start order."""
    steps = kit_migrations()
    for service in services:
        steps.extend(migrations_in(service.name, service.folder() / "migrations"))
    return steps
