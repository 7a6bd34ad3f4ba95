"""Which addresses the hub may call: the guard against being used to reach what only the hub can reach (SSRF)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Literal
from urllib.parse import urlsplit

Egress = Literal["deny", "public", "any"]
"""Nowhere, only addresses everybody can reach, or also those of private networks and this machine."""


class AddressRefused(Exception):
    """The hub does not call this address; the text says why."""


async def check_address(url: str, egress: str, what: str) -> None:
    """Refuse an address the installation does not allow to be called (`what`: for which purpose, in the plural).

    Raises AddressRefused.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressRefused(f"{url} is not an http address") from error
    if parts.scheme not in ("http", "https") or not host:
        raise AddressRefused(f"{url} is not an http address")
    if egress == "deny":
        raise AddressRefused(f"{url}: this city calls no {what}")
    if egress == "any":
        return
    await reachable_addresses(host, port or 443, egress, what)


async def reachable_addresses(host: str, port: int, egress: str, what: str) -> list[str]:
    """The IP addresses of a host that may be called. Raises AddressRefused, also when the name is unknown."""
    if egress == "deny":
        raise AddressRefused(f"{host}: this city calls no {what}")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AddressRefused(f"{host}: {error}") from error
    addresses = [str(address[0]) for *_, address in found]
    if egress != "any" and not all(ipaddress.ip_address(one.partition("%")[0]).is_global for one in addresses):
        raise AddressRefused(f"{host}: this city calls no {what} at private addresses")
    return addresses
