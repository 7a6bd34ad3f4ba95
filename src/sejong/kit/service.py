"""What a service of the city declares about itself, and the order in which services start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import msgspec

from sejong.kernel.errors import CityError


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One service's manifest: the only thing its `__init__.py` holds.

    `routes`, `on`, `jobs`, `start` and the like name functions as `"sejong.hub.web:routes"`; they are imported
    only when the city starts, so reading a manifest costs nothing and cannot make a cycle.
    """

    name: str
    element: str
    """Which of the seven elements or strategies of the city it serves, in a few words."""
    depends: tuple[str, ...] = ()
    package: str = ""
    """Python package it lives in; `sejong.<name>` when empty."""
    routes: str | None = None
    """`(city) -> list[starlette.routing.BaseRoute]`"""
    on: Mapping[str, str] = {}
    """Event name → `async (city, act, payload) -> None`, run by `sejong work`."""
    jobs: Mapping[str, str] = {}
    """Job name → `async (city, act, **arguments) -> None`, run by `sejong work`."""
    periodic: Mapping[str, str] = {}
    """Job name → cron expression, in UTC."""
    work: tuple[str, ...] = ()
    """`async (city, stop: anyio.Event) -> None`: what `sejong work` keeps running (a subscription, say)."""
    start: str | None = None
    """`async (city) -> AsyncContextManager` entered while a process serves (caches, listeners)."""
    restored: tuple[str, ...] = ()
    """`Sql` statements for a database that was just made from a backup (it counts transactions anew)."""

    @property
    def home(self) -> str:
        """The Python package of the service."""
        return self.package or f"sejong.{self.name}"

    def folder(self) -> Traversable:
        """Where its files (migrations, templates, locale) lie."""
        return files(self.home)


class BrokenManifest(CityError):
    """Services that name each other wrongly."""

    ko = "서비스 선언이 잘못되었습니다: {why}"
    en = "The services are declared wrongly: {why}"


def resolve(name: str) -> Callable[..., Any]:
    """The function behind `"package.module:function"`. Raises BrokenManifest when it is not there."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BrokenManifest(why=f"{name}: {error}") from error


def in_start_order(services: Iterable[Service]) -> list[Service]:
    """Services so that each comes after those it depends on; ties by name. Raises BrokenManifest."""
    by_name: dict[str, Service] = {}
    for service in services:
        if service.name in by_name:
            raise BrokenManifest(why=f"two services are called {service.name}")
        by_name[service.name] = service
    for service in by_name.values():
        for needed in service.depends:
            if needed not in by_name:
                raise BrokenManifest(why=f"{service.name} depends on {needed}, which is not there")
    sorter = TopologicalSorter({n: sorted(s.depends) for n, s in sorted(by_name.items())})
    try:
        return [by_name[name] for name in sorter.static_order()]
    except CycleError as error:
        raise BrokenManifest(why=" → ".join(error.args[1]) + " is a circle") from error


def outside_services() -> Sequence[Service]:
    """Services other packages bring, by the entry point group `sejong.services`."""
    found: list[Service] = []
    for point in entry_points(group="sejong.services"):
        service = point.load()
        if not isinstance(service, Service):
            raise BrokenManifest(why=f"{point.value} is not a Service")
        found.append(service)
    return found
