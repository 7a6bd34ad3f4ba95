"""No test leaves this machine: one that tries must fail, whatever door it takes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import httpx
import pytest

ELSEWHERE = "192.0.2.1"
"""An address that belongs to nobody. Source: RFC 5737 (TEST-NET-1)."""


def test_a_connection_elsewhere_fails_at_once() -> None:
    with pytest.raises(AssertionError, match="tried to reach"):
        socket.create_connection((ELSEWHERE, 80), timeout=0.5)


def test_a_connection_that_only_returns_a_number_fails_too() -> None:
    with socket.socket() as opened, pytest.raises(AssertionError, match="tried to reach"):
        opened.settimeout(0.5)
        opened.connect_ex((ELSEWHERE, 80))


def test_a_datagram_elsewhere_fails_at_once() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened,
        pytest.raises(AssertionError, match="tried to reach"),
    ):
        opened.sendto(b"x", (ELSEWHERE, 53))


@pytest.mark.parametrize("name", ["example.org", "registry.npmjs.org"])
def test_not_even_a_name_is_looked_up(name: str) -> None:
    with pytest.raises(AssertionError, match="tried to reach"):
        socket.getaddrinfo(name, 443)


def test_a_web_client_cannot_leave() -> None:
    with pytest.raises(AssertionError, match="tried to reach"):
        httpx.get(f"http://{ELSEWHERE}/", timeout=0.5)


async def fetched(host: str) -> None:
    async with httpx.AsyncClient(timeout=0.5) as client:
        await client.get(f"http://{host}/")


async def opened(host: str) -> None:
    await asyncio.wait_for(asyncio.open_connection(host, 80), 1)


@pytest.mark.anyio
@pytest.mark.parametrize("host", [ELSEWHERE, "example.org"])
@pytest.mark.parametrize("attempt", [fetched, opened])
async def test_an_asynchronous_client_cannot_leave(host: str, attempt: Callable[[str], Awaitable[None]]) -> None:
    with pytest.raises((AssertionError, BaseExceptionGroup)) as caught:
        await attempt(host)
    reason: BaseException = caught.value
    while isinstance(reason, BaseExceptionGroup):
        reason = reason.exceptions[0]
    assert isinstance(reason, AssertionError)
    assert f"tried to reach {host}" in str(reason)


@pytest.mark.anyio
async def test_this_machine_can_be_reached() -> None:
    """The guard is no wall against the tests' own brokers and servers."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for host in ("127.0.0.1", "localhost"):
        _, writer = await asyncio.open_connection(host, port, family=socket.AF_INET)
        writer.close()
        await writer.wait_closed()
    server.close()
    await server.wait_closed()
