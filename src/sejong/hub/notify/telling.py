"""Telling one subscriber one thing: the words, the way it is sent, and how many may be told at once.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.3.1, 5.8.6, 6.3.8, 7.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult

import msgspec

from sejong.hub.joining import Joining, shown_with_links
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.ngsi.notification import Style, envelope, headers
from sejong.hub.ngsi.subscription_endpoint import LD_JSON, place
from sejong.hub.notify.address import DeliveryFailed
from sejong.hub.notify.http import HttpSender
from sejong.hub.notify.line import Line
from sejong.hub.notify.mqtt import MqttSender, mqtt_message
from sejong.hub.service import Hub
from sejong.hub.subscriptions import MOST_ENTITIES, Message
from sejong.hub.watching import Watch, selection_of
from sejong.kernel.errors import CityError

Doc = dict[str, Any]
AT_ONCE_PER_RECEIVER = 16
AT_ONCE = 300
DOUBTFUL_AT_ONCE = 64
"""Deliveries under way at once: to one receiver; to all that took the last one; to all others, which may hang. Chosen
below the thousand open files a process usually may have."""


class Teller:
    """Words and sends notifications for a deliverer."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        egress = hub.settings.notification_egress
        self._http = HttpSender(hub.clock, egress)
        self._mqtt = MqttSender(egress)
        self._receivers: dict[str, asyncio.Semaphore] = {}
        self._sure = asyncio.Semaphore(AT_ONCE)
        self._doubtful = asyncio.Semaphore(DOUBTFUL_AT_ONCE)

    async def close(self) -> None:
        """Close the connections to receivers."""
        self._http.close()
        await self._mqtt.close()

    def tidy(self) -> None:
        """Let go of connections that are not used any more."""
        self._http.tidy()

    async def tell(self, line: Line, watch: Watch, message: Message) -> str | None:
        """Try once. None when it was delivered (or there is nothing to say), else why not."""
        endpoint = watch.definition.body["notification"]["endpoint"]
        seconds = endpoint.get("timeout", self._hub.settings.notification_timeout * 1000) / 1000
        parts = place(endpoint["uri"])
        receiver = self._receivers.setdefault(parts.netloc, asyncio.Semaphore(AT_ONCE_PER_RECEIVER))
        async with receiver, self._doubtful if line.failures else self._sure:
            try:
                async with asyncio.timeout(seconds):
                    style = await self._style(line, watch)
                    shown = await self._shown(watch, style, message.entities)
                    if shown:
                        body = envelope(style, message.id, format_instant(message.at), shown)
                        await self._send(parts, endpoint, style, body, seconds)
                return None
            except TimeoutError:
                return f"no answer within {seconds:g} seconds"
            except DeliveryFailed as failed:
                return str(failed)
            except CityError as error:
                return error.message("en")

    async def _send(self, parts: SplitResult, endpoint: Doc, style: Style, body: Doc, seconds: float) -> None:
        fields = headers(style)
        if parts.scheme in ("mqtt", "mqtts"):
            payload = msgspec.json.encode(mqtt_message(fields, body))
            await self._mqtt.publish(parts, endpoint, payload, seconds)
        else:
            await self._http.post(parts, fields, msgspec.json.encode(body))

    async def _style(self, line: Line, watch: Watch) -> Style:
        definition = watch.definition
        accept = definition.body["notification"]["endpoint"].get("accept")
        inline = definition.inline_context if accept == LD_JSON else None
        context = await self._hub.contexts.get(definition.context_url if inline is None else inline)
        style = line.style
        if style is None or style.context is not context or style.definition is not watch.definition:
            style = line.style = Style(watch.definition, context)
        return style

    async def _shown(self, watch: Watch, style: Style, entities: Sequence[Doc]) -> list[Doc]:
        if not style.join_level:
            bodies = [style.show(entity) for entity in entities]
        else:
            joining = Joining(style.join == "flat", style.join_level, frozenset())
            bodies = await shown_with_links(self._hub, watch.tenant, style, joining, entities)
        return [body for body in bodies if style.something(body)]

    async def everything(self, watch: Watch) -> list[list[Doc]]:
        """All entities a periodic subscription means, in portions of one notification each."""
        selection = selection_of(watch.definition)
        found: list[list[Doc]] = []
        for ids in await self._hub.ids_of(watch.tenant, selection):
            known = await self._hub.found(watch.tenant, ids)
            entities = [known[one] for one in ids if one in known]
            found.extend(entities[n : n + MOST_ENTITIES] for n in range(0, len(entities), MOST_ENTITIES))
        return [part for part in found if part]
