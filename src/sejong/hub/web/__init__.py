"""The hub's HTTP face: NGSI-LD under `/ngsi-ld/v1`, the city's own @context, and the doors for readings."""

from __future__ import annotations

from sejong.hub.web.routes import routes

__all__ = ["routes"]
