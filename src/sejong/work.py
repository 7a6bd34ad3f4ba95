"""`sejong work`: everything the city does without being asked, in one process (start several to share the load)."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

import asyncpg
import structlog

from sejong.app import dsn_of, handlers_of, open_city
from sejong.kernel.errors import CityError
from sejong.kit.city import City
from sejong.kit.events import deliver
from sejong.kit.jobs import worker_app
from sejong.kit.postgres import connect
from sejong.kit.service import resolve
from sejong.settings import Settings

log = structlog.get_logger("work")

LOOK_ANYWAY = 2.0
"""Seconds after which events are looked for even without a notification. Chosen."""


async def work(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Do jobs, deliver events and keep the services' own tasks running until told to stop."""
    ending = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, ValueError):
            loop.add_signal_handler(number, ending.set)
    async with open_city(settings) as city:
        tasks = [
            asyncio.create_task(_kept("jobs", _jobs, city, ending)),
            asyncio.create_task(_kept("events", _events, city, ending)),
            *(
                asyncio.create_task(_kept(name, resolve(name), city, ending))
                for service in city.services
                for name in service.work
            ),
        ]
        log.info("working", tasks=len(tasks))
        await ending.wait()
        _, late = await asyncio.wait(tasks, timeout=1.5)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _kept(name: str, task, city: City, stop: asyncio.Event) -> None:  # noqa: ANN001 - any (city, stop) coroutine
    """Run a task again when it fails, with growing pauses, saying so once per failure."""
    pause = 0.5
    while not stop.is_set():
        started = city.clock.monotonic()
        try:
            await task(city, stop)
            if stop.is_set():
                return
        except asyncio.CancelledError:
            raise
        except (CityError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            log.warning("task_failed", task=name, why=str(error) or type(error).__name__)
        except Exception as error:
            log.error("task_broken", task=name, exc_info=error)
        pause = 0.5 if city.clock.monotonic() - started > 30 else min(pause * 2, 10.0)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()


async def _jobs(city: City, stop: asyncio.Event) -> None:
    """Do deferred and periodic jobs."""
    jobs = {name: resolve(function) for service in city.services for name, function in service.jobs.items()}
    periodic = {name: cron for service in city.services for name, cron in service.periodic.items()}
    app = worker_app(city, dsn_of(city.settings), jobs, periodic)
    async with app.open_async():
        worker = asyncio.create_task(
            app.run_worker_async(
                queues=["city"], concurrency=4, install_signal_handlers=False, delete_jobs="successful"
            )
        )
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({worker, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not worker.done():
            worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker


async def _events(city: City, stop: asyncio.Event) -> None:
    """Deliver events to their handlers as soon as they are committed."""
    handlers = handlers_of(city)
    if not handlers:
        await stop.wait()
        return
    wake = asyncio.Event()
    listener = await connect(dsn_of(city.settings), name="sejong work: events")
    try:
        await listener.add_listener("kit_event", lambda *_: wake.set())
        # A lost listener ends the task, and `_kept` starts it anew.
        while not stop.is_set() and not listener.is_closed():
            wake.clear()
            await deliver(city.record, handlers)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_ANYWAY):
                    await wake.wait()
    finally:
        await listener.close()
