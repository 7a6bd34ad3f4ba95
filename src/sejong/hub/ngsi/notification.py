"""The words of a notification: how a subscriber wants to see entities, and the envelope they come in.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.3.1 (Notification), 5.8.6 (behaviour), 6.3.8 (HTTP), 7.2 (MQTT).
"""

from __future__ import annotations

from typing import Any, Final, cast

from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.members import NULL, Doc
from sejong.hub.ngsi.present import Format, feature, feature_collection, present
from sejong.hub.ngsi.projection import Projection, parse_dataset_ids, parse_projection
from sejong.hub.ngsi.subscription import Definition
from sejong.hub.ngsi.subscription_endpoint import GEO_JSON, JSON, LD_JSON, pairs
from sejong.hub.ngsi.versions import downgrade

CONTEXT_REL: Final = "http://www.w3.org/ns/json-ld#context"
_SAID_BY_US: Final = frozenset({"content-type", "link", "ngsild-tenant"})


class Style:
    """How one subscriber wants to see entities. Has the form `joining.Shown` asks for."""

    def __init__(self, definition: Definition, context: Context) -> None:
        body = definition.body
        notification = body["notification"]
        self.definition, self.context = definition, context
        self.accept: str = notification["endpoint"].get("accept", JSON)
        self.geo = self.accept == GEO_JSON
        form = notification.get("format", "normalized")
        self.format: str = "simplified" if form == "keyValues" else form
        self.join: str | None = notification.get("join")
        self.join_level: int = 0 if self.join in (None, "@none") else notification.get("joinLevel", 1)
        self.projection: Projection = parse_projection(
            notification.get("pick"),
            notification.get("omit"),
            notification.get("attributes"),
            definition.expander("notification"),
            join_level=self.join_level,
        )
        self.datasets = parse_dataset_ids(body.get("datasetId"))
        self.version: str | None = body.get("ngsildConformance")
        self._options: dict[str, Any] = {
            "fmt": cast(Format, self.format),
            "sys_attrs": notification.get("sysAttrs", False),
            "dataset_ids": self.datasets,
            "lang": body.get("lang"),
        }

    def show(self, entity: Doc, projection: Projection | None = None) -> Doc:
        """One entity as the subscriber wants it; empty when the projection leaves nothing of it."""
        if not self.geo:
            return self.plain(entity, projection)
        part = projection or self.projection
        out = feature(entity, self.context, keep=part.keep, drop=part.drop, **self._options)
        self._say_nulls(entity, out["properties"])
        if "deletedAt" in entity:
            out.setdefault("id", entity["id"])
            out["properties"] |= {"type": self._types(entity), "deletedAt": entity["deletedAt"]}
        return out

    def plain(self, entity: Doc, projection: Projection | None = None) -> Doc:
        """The same, not as a Feature of a map."""
        part = projection or self.projection
        out = present(entity, self.context, keep=part.keep, drop=part.drop, **self._options)
        self._say_nulls(entity, out)
        if "deletedAt" in entity:
            out = {"id": entity["id"], "type": self._types(entity), "deletedAt": entity["deletedAt"]} | out
        return out

    def _say_nulls(self, entity: Doc, out: Doc) -> None:
        """In the simplified format a deleted attribute of any kind is the bare Null."""
        if self.format != "simplified":
            return
        for key, instances in entity.items():
            if ":" in key and len(instances) == 1 and "deletedAt" in instances[0]:
                name = self.context.compact(key)
                if name in out:
                    out[name] = NULL

    def _types(self, entity: Doc) -> Any:
        names = [self.context.compact(one) for one in entity["type"]]
        return names[0] if len(names) == 1 else names

    def something(self, body: Doc) -> bool:
        """Whether the projection left anything of an entity."""
        if not self.geo:
            return bool(body)
        return bool(body.get("properties")) or "id" in body or body.get("geometry") is not None


def envelope(style: Style, notification_id: str, at: str, shown: list[Doc]) -> Doc:
    """The Notification around entities that are shown already; `at` is the moment of the change."""
    data: Any = shown
    if style.version is not None:
        data = downgrade(data, style.version, cast(Format, style.format))
    if style.geo:
        data = feature_collection(data)
    body: Doc = {
        "id": notification_id,
        "type": "Notification",
        "subscriptionId": style.definition.id,
        "notifiedAt": at,
        "data": data,
    }
    if style.accept == LD_JSON:
        body["@context"] = style.context.source or style.definition.context_url
    elif style.geo and not _links(style):
        body["data"]["@context"] = style.definition.context_url
    return body


def _links(style: Style) -> bool:
    """Whether the context is named by a Link: for plain JSON, and for GeoJSON where the receiver prefers it."""
    if style.accept == JSON:
        return True
    info = pairs(style.definition.body["notification"]["endpoint"], "receiverInfo")
    return style.geo and any(name.lower() == "prefer" and "body=json" in value.replace(" ", "") for name, value in info)


def headers(style: Style) -> dict[str, str]:
    """The header fields of a notification over HTTP, and the metadata of one over MQTT."""
    said = {"Content-Type": style.accept}
    if _links(style):
        said["Link"] = f'<{style.definition.context_url}>; rel="{CONTEXT_REL}"; type="{LD_JSON}"'
    if style.definition.tenant_name:
        said["NGSILD-Tenant"] = style.definition.tenant_name
    info = pairs(style.definition.body["notification"]["endpoint"], "receiverInfo")
    return said | {name: value for name, value in info if name.lower() not in _SAID_BY_US}
