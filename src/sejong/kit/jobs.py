"""Work that can wait: jobs put aside by acts (`act.later`) and done by `sejong work`, with retries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import procrastinate
from procrastinate.retry import RetryStrategy

from sejong.kit.city import City

Job = Callable[..., Awaitable[None]]
"""`async (city, act, **arguments) -> None`"""

RETRIES = RetryStrategy(max_attempts=8, exponential_wait=2)
"""A failed job comes again after 2, 4, 8 … s, eight times. Chosen."""


def worker_app(city: City, dsn: str, jobs: Mapping[str, Job], periodic: Mapping[str, str]) -> procrastinate.App:
    """A procrastinate application that knows the city's jobs; each runs inside an act of its own.

    The job's `key` is the act's idempotency key: a job that was done and comes again does nothing.
    """
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn, min_size=1, max_size=4))
    for name, function in jobs.items():
        _declare(app, city, name, function, periodic.get(name))
    return app


def _declare(app: procrastinate.App, city: City, name: str, job: Job, cron: str | None) -> None:
    async def run(**arguments: Any) -> None:
        stamp = arguments.pop("timestamp", None)
        key = arguments.pop("key", None) or (f"{name}@{stamp}" if stamp is not None else None)
        async with city.record.act("worker", name, key=key) as act:
            if not act.replayed:
                await job(city, act, **arguments)

    task = app.task(name=name, queue="city", retry=RETRIES)(run)
    if cron is not None:
        app.periodic(cron=cron)(task)  # type: ignore[arg-type]  # `run` takes any argument, `timestamp` among them
