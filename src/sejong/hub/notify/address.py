"""Which addresses notifications may be sent to: a subscriber must not use the hub to reach what only the hub can reach.

The address that was checked is the one that is connected to, so a name that answers differently the second time gains
nothing. Sources: OWASP SSRF prevention; `context_egress` does the same for contexts.
"""

from __future__ import annotations

from sejong.hub.egress import AddressRefused, reachable_addresses


class DeliveryFailed(Exception):
    """A notification did not reach its subscriber; the text says why."""


async def allowed_address(host: str, port: int, egress: str) -> str:
    """An IP address of `host` that may be connected to. Raises DeliveryFailed, also when the name is unknown."""
    try:
        return (await reachable_addresses(host, port, egress, "receivers"))[0]
    except AddressRefused as refused:
        raise DeliveryFailed(str(refused)) from refused
