"""Telling those who watch registrations: what matches now, what changed, what matches no more.

A notification is written in the very transaction that changes the registration, and stays until it was delivered or
tried often enough: nothing is lost at a crash. Source: ETSI GS CIM 009 v1.9.1 clauses 5.11.7, 5.3.2, 6.3.8.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import httpx
import msgspec
import structlog

from sejong.hub.egress import AddressRefused, check_address
from sejong.hub.ngsi.context import CORE_URL
from sejong.hub.ngsi.errors import LdContextNotAvailable
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.ngsi.members import Doc
from sejong.hub.ngsi.registration import present_registration
from sejong.hub.ngsi.source_query import SourceQuery
from sejong.hub.ngsi.source_subscription import is_active, query_of
from sejong.hub.ngsi.sourcing import reduced, source_of
from sejong.hub.service import Hub
from sejong.hub.store import registry as store
from sejong.hub.store.registry import RegistryRow, Waiting
from sejong.kernel.ids import new_id, urn
from sejong.kit.postgres import Connection

log = structlog.get_logger("hub")
PATIENCE = 5
"""Times a notification is tried before it is given up. Chosen."""
TIMEOUT = 5.0
"""Seconds a receiver may take unless its subscription says otherwise. Chosen."""
LEASE = 60.0
"""Seconds after which a notification whose sender died is taken by another. Chosen."""
LOOK_ANYWAY = 5.0
AT_ONCE = 4
"""Notifications under way at once per process. Chosen."""
LINK = '<{}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'


async def announce(
    hub: Hub, connection: Connection, tenant: int, old: Doc | None, new: Doc | None, now: datetime
) -> None:
    """Write down a notification for every subscriber whom the change of a registration concerns."""
    moment = format_instant(now)
    for row in await store.SUBSCRIPTIONS.all(connection, tenant):
        doc = msgspec.json.decode(row.doc)
        if "timeInterval" in doc or not is_active(doc, moment):
            continue
        query = query_of(doc)
        before, after = _met(query, old, moment), _met(query, new, moment)
        if after:
            assert new is not None
            reason, said = "updated" if before else "newlyMatching", new
        elif before:
            assert old is not None
            reason, said = "noLongerMatching", old
        else:
            continue
        await tell(hub, connection, row, doc, reason, [said], now)


def _met(query: SourceQuery, doc: Doc | None, now: str) -> bool:
    if doc is None:
        return False
    return query.admits(source_of(doc), {"createdAt": now, "modifiedAt": now})


async def tell_all(hub: Hub, connection: Connection, row: RegistryRow, doc: Doc, reason: str, now: datetime) -> None:
    """Write down one notification of all registrations that match; none when none does."""
    query = query_of(doc)
    matching: list[Doc] = []
    for known in await store.OF_TENANT.all(connection, row.tenant, now):
        times = {"createdAt": format_instant(known.created), "modifiedAt": format_instant(known.modified)}
        source = msgspec.json.decode(known.doc)
        if query.admits(source_of(source), times):
            matching.append(source)
    if matching:
        await tell(hub, connection, row, doc, reason, matching, now)


async def tell(
    hub: Hub, connection: Connection, row: RegistryRow, doc: Doc, reason: str, docs: list[Doc], now: datetime
) -> None:
    """Write down one notification; it goes out when the transaction is committed."""
    query = query_of(doc)
    try:
        context = await hub.contexts.get(doc.get("@context"))
    except LdContextNotAvailable:
        context = hub.contexts.core  # full names are understood everywhere
    body = {
        "id": urn("ContextSourceNotification", new_id(hub.clock)),
        "type": "ContextSourceNotification",
        "subscriptionId": row.id,
        "notifiedAt": format_instant(now),
        "triggerReason": reason,
        "data": [present_registration(reduced(one, query.who, query.names), context, {}) for one in docs],
    }
    if doc["notification"]["endpoint"].get("accept") == "application/ld+json":
        body["@context"] = context.source or CORE_URL
    due = now
    if "throttling" in doc and row.last_success is not None:
        due = max(due, row.last_success + timedelta(seconds=doc["throttling"]))
    await store.WAIT.run(connection, row.tenant, row.id, msgspec.json.encode(body), due)
    await store.TELL_WAITING.run(connection)


class Messenger:
    """Delivers what waits, in every process; each notification is taken by one of them."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._wake = asyncio.Event()
        self._client: httpx.AsyncClient | None = None
        self._tasks: list[asyncio.Task[None]] = []
        hub.bell.on("hub_source_notification", self._heard)

    def start(self) -> None:
        """Begin to deliver."""
        self._tasks = [asyncio.create_task(self._run(), name=f"hub-messenger-{n}") for n in range(AT_ONCE)]

    async def stop(self) -> None:
        """Deliver no more; what waits is delivered by another process or later."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        if self._client is not None:
            await self._client.aclose()

    async def _heard(self, _: str) -> None:
        self._wake.set()

    async def _run(self) -> None:
        while True:
            try:
                pause = await self._deliver_one()
            except Exception as error:  # noqa: BLE001 - delivering must go on whatever one notification brings
                log.warning("source_notification_failed", why=str(error) or type(error).__name__)
                pause = 1.0
            if pause:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                self._wake.clear()

    async def _deliver_one(self) -> float:
        """Deliver the notification that is due first; how long to wait for the next (0: look again at once)."""
        hub = self._hub
        now = hub.clock.now()
        async with hub.pool.acquire(timeout=10) as connection:
            async with connection.transaction():
                for row in await store.PERIODIC.all(connection, now):
                    doc = msgspec.json.decode(row.doc)
                    if is_active(doc, format_instant(now)):
                        await tell_all(hub, connection, row, doc, "updated", now)
            waiting = await store.TAKE.one(connection, now, now + timedelta(seconds=LEASE))
            if waiting is None:
                due = await store.NEXT_DUE.value(connection)
                pause = LOOK_ANYWAY if due is None else (due - now).total_seconds()
                return min(LOOK_ANYWAY, max(0.02, pause))
        failure = await self._send(waiting)
        await self._note(waiting, failure)
        return 0.0

    async def _send(self, waiting: Waiting) -> str | None:
        """Send one notification; what went wrong, or None."""
        doc = msgspec.json.decode(waiting.doc)
        endpoint = doc["notification"]["endpoint"]
        headers = _headers(doc, endpoint, waiting.tenant_name)
        timeout = endpoint["timeout"] / 1000 if "timeout" in endpoint else TIMEOUT
        try:
            async with asyncio.timeout(timeout):
                await check_address(endpoint["uri"], self._hub.settings.source_egress, "receivers")
                if self._client is None:
                    self._client = httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=False)
                answer = await self._client.post(endpoint["uri"], content=waiting.body, headers=headers)
        except AddressRefused as refused:
            return str(refused)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:  # TimeoutError is an OSError
            return str(error) or type(error).__name__
        return None if answer.is_success else f"it answered {answer.status_code}"

    async def _note(self, waiting: Waiting, failure: str | None) -> None:
        now, key = self._hub.clock.now(), (waiting.tenant, waiting.subscription)
        async with self._hub.pool.acquire(timeout=10) as connection, connection.transaction():
            if failure is None:
                await store.NOTE_SENT.run(connection, *key, now)
                await store.DONE.run(connection, waiting.no)
                return
            await store.NOTE_FAILED.run(connection, *key, now)
            if waiting.tries < PATIENCE:
                await store.LATER.run(connection, waiting.no, now + timedelta(seconds=2 ** (waiting.tries - 1)))
                return
            await store.DONE.run(connection, waiting.no)
        log.warning("source_notification_given_up", subscription=waiting.subscription, why=failure)


def _headers(doc: Doc, endpoint: dict[str, Any], tenant_name: str) -> dict[str, str]:
    accept = endpoint.get("accept", "application/json")
    headers = {pair["key"]: pair["value"] for pair in endpoint.get("receiverInfo", ())}
    headers["Content-Type"] = accept
    if accept == "application/json":
        source = doc.get("@context")
        headers["Link"] = LINK.format(source if isinstance(source, str) else CORE_URL)
    if tenant_name:
        headers["NGSILD-Tenant"] = tenant_name
    return headers
