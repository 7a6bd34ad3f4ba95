"""Showing what the hub knows: entities as normalized, concise, simplified or GeoJSON documents.

Names are compacted with the reader's context. Values are shared with the stored entity: treat results as read-only.

Source: ETSI GS CIM 009 v1.9.1 clauses 4.5.1-4.5.5 (representations), 4.5.16-4.5.17 (GeoJSON), 4.15 (languages),
6.3.11 (system attributes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.entity import reads_as_value
from sejong.hub.ngsi.geojson import is_geometry
from sejong.hub.ngsi.languages import Languages, choose, parse_lang
from sejong.hub.ngsi.members import ENTITY_HEAD, LOCATION, PREVIOUS_MEMBERS, VALUE_MEMBER, Doc

Format = Literal["normalized", "concise", "simplified"]

_SHOWN: Final = frozenset(
    {"type", "value", "object", "languageMap", "json", "valueList", "objectList", "observedAt", "unitCode"}
    | {"datasetId", "instanceId", "lang"}
    | (PREVIOUS_MEMBERS - {"previousVocab"})
)
_SHOWN_WITH_TIMES: Final = _SHOWN | {"createdAt", "modifiedAt", "deletedAt", "expiresAt"}
_NAMING: Final = frozenset({"vocab", "objectType", "valueType", "previousVocab"})
_HEAD_TIMES: Final = ("createdAt", "modifiedAt", "deletedAt", "expiresAt")


def present(
    entity: Doc,
    ctx: Context,
    *,
    fmt: Format = "normalized",
    sys_attrs: bool = False,
    keep: frozenset[str] | None = None,
    drop: frozenset[str] | None = None,
    dataset_ids: frozenset[str] | None = None,
    lang: str | None = None,
) -> Doc:
    """One entity as a reader gets it, without `@context`.

    `keep` and `drop` hold attribute IRIs and the words id, type, scope, createdAt, modifiedAt, expiresAt: only what is
    kept and not dropped appears. `dataset_ids` (with `@none` for the default) leaves only those instances, and
    attributes without any vanish. `lang` is a `lang` parameter (BadRequestData if malformed). `sys_attrs` shows the
    times the hub keeps.
    """
    out: Doc = {}
    head(entity, ctx, sys_attrs, out)
    writer = Writer(ctx, fmt, sys_attrs=sys_attrs, languages=None if lang is None else parse_lang(lang))
    compact, attribute = ctx.compact, writer.attribute
    if keep is not None or drop:
        entity, out = projected(entity, keep, drop), projected(out, keep, drop)
    for key, instances in entity.items():
        if key in ENTITY_HEAD:
            continue
        if dataset_ids is not None:
            instances = [one for one in instances if one.get("datasetId", "@none") in dataset_ids]
            if not instances:
                continue
        out[compact(key)] = attribute(instances)
    return out


def projected(document: Doc, keep: frozenset[str] | None, drop: frozenset[str] | None) -> Doc:
    """The members of a document that are kept and not dropped."""
    return {
        key: value
        for key, value in document.items()
        if (keep is None or key in keep) and (drop is None or key not in drop)
    }


def head(entity: Doc, ctx: Context, sys_attrs: bool, out: Doc) -> None:
    """Write an entity's id, type, scope and, if asked for, times into `out`."""
    compact = ctx.compact
    if "id" in entity:
        out["id"] = entity["id"]
    types = entity.get("type")
    if types:
        out["type"] = compact(types[0]) if len(types) == 1 else [compact(one) for one in types]
    if "scope" in entity:
        scope = entity["scope"]
        out["scope"] = scope[0] if len(scope) == 1 else scope
    if sys_attrs:
        for key in _HEAD_TIMES:
            if key in entity:
                out[key] = entity[key]


class Writer:
    """Writes attributes for one reader: their context, format, languages, and whether they see the hub's times."""

    __slots__ = ("attribute", "compact", "instance", "languages", "shown")

    def __init__(
        self, ctx: Context, fmt: Format, *, sys_attrs: bool = False, languages: Languages | None = None
    ) -> None:
        self.compact = ctx.compact
        self.languages = languages
        self.shown = _SHOWN_WITH_TIMES if sys_attrs else _SHOWN
        self.attribute: Callable[[list[Doc]], Any]
        self.instance: Callable[[Doc], Any]
        if fmt == "normalized":
            self.attribute, self.instance = self._attribute, self.normalized
        elif fmt == "concise":
            self.attribute, self.instance = self._concise_attribute, self._concise_members
        else:
            self.attribute, self.instance = self._simplified_attribute, self.simplified

    def _attribute(self, instances: list[Doc]) -> Any:
        if len(instances) == 1:
            return self.normalized(instances[0])
        return [self.normalized(one) for one in instances]

    def normalized(self, instance: Doc) -> Doc:
        """An instance with all its members under short names."""
        if self.languages is not None and "languageMap" in instance:
            instance = self.in_language(instance)
        shown = self.shown
        out: Doc = {}
        for key, value in instance.items():
            if key in shown:
                out[key] = value
            elif ":" in key:
                out[self.compact(key)] = self.attribute(value)
            elif key in _NAMING:
                out[key] = self._names(value)
        return out

    def _names(self, value: Any) -> Any:
        return [self.compact(one) for one in value] if isinstance(value, list) else self.compact(value)

    def in_language(self, instance: Doc) -> Doc:
        """A LanguageProperty as the Property the reader's languages make of it; anything else as it is."""
        texts = instance.get("languageMap")
        if self.languages is None or not isinstance(texts, dict) or not texts:
            return instance
        tag, text = choose(texts, self.languages)
        rest = {key: value for key, value in instance.items() if key not in ("type", "languageMap")}
        return {"type": "Property", "value": text, "lang": tag, **rest}

    def _concise_attribute(self, instances: list[Doc]) -> Any:
        if len(instances) > 1:
            return [self._concise_members(one) for one in instances]
        out = self._concise_members(instances[0])
        if len(out) == 1 and "value" in out and (is_geometry(out["value"]) or reads_as_value(out["value"])):
            return out["value"]
        return out

    def _concise_members(self, instance: Doc) -> Doc:
        out = self.normalized(instance)
        if out["type"] != "Property" or not is_geometry(out["value"]):
            del out["type"]
        return out

    def _simplified_attribute(self, instances: list[Doc]) -> Any:
        if len(instances) == 1:
            return self.simplified(instances[0])
        return {"dataset": {one.get("datasetId", "@none"): self.simplified(one) for one in instances}}

    def simplified(self, instance: Doc) -> Any:
        """Only the value of an instance, wrapped where a bare one would be mistaken for something else."""
        if self.languages is not None and "languageMap" in instance:
            instance = self.in_language(instance)
        kind = instance["type"]
        member = VALUE_MEMBER[kind]
        value = instance[member]
        if kind == "ListRelationship":
            return [one["object"] for one in value] if isinstance(value, list) else value
        if kind == "VocabProperty":
            return {member: self._names(value)}
        if kind in ("LanguageProperty", "JsonProperty"):
            return {member: value}
        return value


# --- GeoJSON ---------------------------------------------------------------------------------------------------------


def feature(
    entity: Doc,
    ctx: Context,
    *,
    geometry_property: str = LOCATION,
    fmt: Format = "normalized",
    sys_attrs: bool = False,
    keep: frozenset[str] | None = None,
    drop: frozenset[str] | None = None,
    dataset_ids: frozenset[str] | None = None,
    lang: str | None = None,
) -> Doc:
    """One entity as a GeoJSON Feature for a map; `geometry_property` is the IRI of the GeoProperty that draws it.

    The geometry is null where there is none, or where the property is dropped; `keep` does not hide it.
    """
    properties = present(
        entity, ctx, fmt=fmt, sys_attrs=sys_attrs, keep=keep, drop=drop, dataset_ids=dataset_ids, lang=lang
    )
    out: Doc = {"id": properties.pop("id")} if "id" in properties else {}
    hidden = drop is not None and geometry_property in drop
    geometry = None if hidden else _geometry(entity.get(geometry_property, []), dataset_ids)
    return {**out, "type": "Feature", "geometry": geometry, "properties": properties}


def _geometry(instances: list[Doc], dataset_ids: frozenset[str] | None) -> Doc | None:
    """The geometry of the instance asked for: a chosen dataset, else the default one, else the only one."""
    wanted = frozenset({"@none"}) if dataset_ids is None else dataset_ids
    chosen = [one for one in instances if one.get("datasetId", "@none") in wanted]
    if not chosen and dataset_ids is None and len(instances) == 1:
        chosen = instances
    for instance in chosen:
        if instance["type"] == "GeoProperty" and isinstance(instance["value"], dict):
            return instance["value"]
    return None


def feature_collection(features: list[Doc]) -> Doc:
    """Several Features for one map."""
    return {"type": "FeatureCollection", "features": features}
