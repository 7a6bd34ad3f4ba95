"""`GET /hub/v1/dead-notifications`: what subscribers could not be told, and why. Not part of the standard.

Without what would have been said: that is for the subscriber alone, and stays in `hub.dead_notification`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sejong.hub.service import Hub
from sejong.hub.store.subscriptions import DEAD
from sejong.kernel.errors import Invalid
from sejong.kit.http import json_response

MOST = 1000
DEFAULT = 100
PATH = "/hub/v1/dead-notifications"


async def dead_notifications(hub: Hub, request: Request) -> Response:
    """The newest first; `subscription` limits it to one, `before` (a number) gives the next page, `limit` its size."""
    asked = request.query_params
    limit, before = _number(asked.get("limit"), "limit") or DEFAULT, _number(asked.get("before"), "before")
    async with hub.pool.acquire(timeout=10) as connection:
        rows = await DEAD.all(connection, asked.get("subscription"), before, min(limit, MOST))
    body: list[dict[str, Any]] = [msgspec.to_builtins(row) for row in rows]
    return json_response(body)


def _number(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Invalid(why=f"{name}: {text!r}")
    return int(text)
