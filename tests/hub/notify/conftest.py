"""A city with its door open, a receiver, and short ways to subscribe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from tests.hub.notify.receiver import Receiver
from tests.hub.web.conftest import Door, web

__all__ = ["ask", "receiver", "web"]


@pytest.fixture
def ask(web: httpx.AsyncClient) -> Door:
    """The door of a city whose record is empty."""
    return Door(web)


@pytest.fixture
async def receiver(anyio_backend: str) -> AsyncIterator[Receiver]:
    """A receiver that takes everything."""
    async with Receiver().listening() as listening:
        yield listening


async def subscribe(ask: Any, uri: str, name: str = "1", **members: Any) -> str:
    """Make a subscription to lamps; its path."""
    endpoint = {"uri": uri, **members.pop("endpoint", {})}
    notification = {"endpoint": endpoint, **members.pop("notification", {})}
    members.setdefault("entities", [{"type": "Lamp"}])
    headers = members.pop("headers", None)
    body = {"id": f"urn:s:{name}", "type": "Subscription", "notification": notification, **members}
    await ask("POST", "/subscriptions", 201, json=body, headers=headers)
    return f"/subscriptions/urn:s:{name}"


async def until(holds: Callable[[], Any], seconds: float = 8) -> Any:
    """Wait until something holds (a coroutine function may look it up)."""
    async with asyncio.timeout(seconds):
        while True:
            found = holds()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.03)
