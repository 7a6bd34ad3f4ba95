"""Which addresses notifications may be sent to: a subscriber must not use the hub to reach what only the hub can reach.

The address that was checked is the one that is connected to, so a name that answers differently the second time gains
nothing. Sources: OWASP SSRF prevention; `context_egress` does the same for contexts.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket


class DeliveryFailed(Exception):
    """A notification did not reach its subscriber; the text says why."""


async def allowed_address(host: str, port: int, egress: str) -> str:
    """An IP address of `host` that may be connected to. Raises DeliveryFailed, also when the name is unknown."""
    if egress == "deny":
        raise DeliveryFailed("this city sends no notifications outside")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DeliveryFailed(f"{host}: {error}") from error
    addresses = [str(address[0]) for *_, address in found]
    if egress == "public":
        for one in addresses:
            if not ipaddress.ip_address(one.partition("%")[0]).is_global:
                raise DeliveryFailed(f"{host}: this city sends no notifications to private addresses")
    if not addresses:
        raise DeliveryFailed(f"{host} has no address")
    return addresses[0]
