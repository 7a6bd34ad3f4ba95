"""A process that prepares snapshots in small portions, to be killed: `python preparing.py DSN`."""

from __future__ import annotations

import asyncio
import sys

from sejong.hub import freezing
from sejong.hub.service import Hub
from sejong.kernel.clock import SystemClock
from sejong.kit.postgres import open_pool
from sejong.settings import Settings


async def main(dsn: str) -> None:
    freezing.PORTION = 20
    pool = await open_pool(dsn, size=5)
    hub = Hub(pool, SystemClock(), Settings(database_url=dsn))
    await hub.open()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
