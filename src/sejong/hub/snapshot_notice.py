"""Telling the endpoint of a snapshot that it is ready. Source: ETSI GS CIM 009 v1.9.1 clauses 5.3.4, 5.16, 6.3.8."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx
import msgspec

from sejong.hub.egress import AddressRefused, check_address
from sejong.hub.ngsi.context import CORE_URL
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.store.snapshots import SnapshotRow
from sejong.kernel.ids import urn

LONGEST_WAIT = 10.0
"""Seconds an endpoint has to answer unless it states its own `timeout` (milliseconds). Chosen."""
_OURS = frozenset(
    {"content-type", "content-length", "transfer-encoding", "host", "connection", "ngsild-tenant", "link"}
)
_LD = "application/ld+json"


class NotDelivered(Exception):
    """The endpoint could not be told; the text says why."""


async def tell(egress: str, row: SnapshotRow, tenant: str, now: datetime) -> None:
    """Send the SnapshotNotification of a snapshot; `egress`: where notifications may go. Raises NotDelivered."""
    endpoint = row.asked["endpoint"]
    headers = {
        pair["key"]: pair["value"]
        for pair in (*row.asked.get("receiverInfo", ()), *endpoint.get("receiverInfo", ()))
        if pair["key"].lower() not in _OURS
    }
    body = notification(row, now)
    if endpoint.get("accept") == _LD:
        headers["Content-Type"] = _LD
        body["@context"] = CORE_URL
    else:
        headers["Content-Type"] = "application/json"
        headers["Link"] = f'<{CORE_URL}>; rel="http://www.w3.org/ns/json-ld#context"; type="{_LD}"'
    if tenant:
        headers["NGSILD-Tenant"] = tenant
    wait = min(endpoint.get("timeout", LONGEST_WAIT * 1000) / 1000, 60.0)
    try:
        await check_address(endpoint["uri"], egress, "receivers")
        async with httpx.AsyncClient(timeout=wait, trust_env=False) as client:
            answer = await client.post(endpoint["uri"], content=msgspec.json.encode(body), headers=headers)
    except AddressRefused as refused:
        raise NotDelivered(str(refused)) from refused
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise NotDelivered(str(error) or type(error).__name__) from error
    if not answer.is_success:
        raise NotDelivered(f"it answered {answer.status_code}")


def notification(row: SnapshotRow, now: datetime) -> dict[str, Any]:
    """The SnapshotNotification: which snapshot, what became of it."""
    # The same id every time it is tried, so that an endpoint that hears it twice can notice.
    return {
        "id": urn("SnapshotNotification", row.no),
        "type": "SnapshotNotification",
        "snapshotId": row.id,
        "notifiedAt": format_instant(now),
        "snapshotStatus": row.status,
        "expiresAt": format_instant(row.expires),
        **row.details,
    }
