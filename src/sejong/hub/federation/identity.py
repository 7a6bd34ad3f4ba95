"""Who this hub is among other hubs. Source: ETSI GS CIM 009 v1.9.1 clauses 5.15, 5.2.40 and 6.3.18 (Via)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from sejong.hub.ngsi.instants import Duration, format_duration
from sejong.hub.service import Hub

_VIA = re.compile(r"\s*(?:[\w.!#$%&'*+^`|~-]+/)?[\w.!#$%&'*+^`|~-]+\s+([^\s,()]+)")


def alias_of(hub: Hub, tenant_name: str = "") -> str:
    """The name other hubs know this one by: the setting, or host and port of the public address."""
    alias = hub.settings.source_alias or urlsplit(hub.settings.public_url).netloc
    return f"{alias}+{quote(tenant_name, safe='')}" if tenant_name else alias


def uptime(hub: Hub) -> str:
    """How long this process has been answering, as an ISO 8601 duration of whole seconds."""
    seconds = int((hub.clock.now() - hub.opened).total_seconds())
    return format_duration(Duration(microseconds=max(0, seconds) * 1_000_000))


def passed_through(headers: Mapping[str, str]) -> list[str]:
    """The aliases of the hubs a request has come through, first one first. Source: RFC 9110 §7.6.3.

    >>> passed_through({"via": "1.1 sejong.example, HTTP/1.1 osong:9090 (sejong)"})
    ['sejong.example', 'osong:9090']
    """
    return [found.group(1) for part in headers.get("via", "").split(",") if (found := _VIA.match(part))]
