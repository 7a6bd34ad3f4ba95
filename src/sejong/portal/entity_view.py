"""One NGSI-LD entity, read for a page: what it is, what it measures now, what it points to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from sejong.kit.i18n import Translate
from sejong.portal.say import attribute_label, scaled, unit_text, value_text
from sejong.portal.words import LIFE_SIGNS

_MEMBERS = frozenset({"id", "type", "scope", "@context", "createdAt", "modifiedAt", "expiresAt", "deletedAt"})
_VALUE_MEMBER = {
    "Property": "value",
    "GeoProperty": "value",
    "Relationship": "object",
    "LanguageProperty": "languageMap",
    "VocabProperty": "vocab",
    "JsonProperty": "json",
    "ListProperty": "valueList",
    "ListRelationship": "objectList",
}


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One attribute instance as a line of the page."""

    name: str
    label: str
    text: str
    unit: str
    raw: Any
    shown: float | None
    """The number on the page and in the chart; none when it is not a number."""
    observed_at: datetime | None
    simulated: bool
    synthetic: bool
    """The value was made by a declared rule, even though the thing itself is real."""
    dataset: str


class Link(msgspec.Struct, frozen=True):
    """One relationship of the thing."""

    name: str
    label: str
    targets: tuple[str, ...]


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """An entity as its page shows it."""

    id: str
    type: str
    name: str
    other_name: str
    live: tuple[Value, ...]
    """Attributes with a moment of measurement."""
    facts: tuple[Value, ...]
    """Attributes without one."""
    links: tuple[Link, ...]
    places: dict[str, Any]
    """Attribute name → GeoJSON geometry."""
    synthetic: bool
    simulated: bool
    source: str
    provider: str
    created_at: datetime | None
    modified_at: datetime | None

    @property
    def charted(self) -> tuple[Value, ...]:
        """The live attributes whose history makes a chart."""
        return tuple(value for value in self.live if value.shown is not None and not value.dataset)


def instances(attribute: Any) -> Iterator[dict[str, Any]]:
    """An attribute's instances, one or many; anything else is none."""
    for instance in attribute if isinstance(attribute, list) else (attribute,):
        if isinstance(instance, dict):
            yield instance


def first(attribute: Any) -> dict[str, Any]:
    """The default instance, or an empty one."""
    return next(instances(attribute), {})


def held(instance: dict[str, Any]) -> Any:
    """What an instance says, whichever kind of attribute it is."""
    return instance.get(_VALUE_MEMBER.get(str(instance.get("type")), "value"))


def moment(text: Any) -> datetime | None:
    """An NGSI-LD DateTime, or none."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def in_language(value: Any, language: str) -> str:
    """A LanguageProperty's words in this language, else in any."""
    if not isinstance(value, dict):
        return str(value) if value is not None else ""
    words = value.get(language) or next((v for v in value.values() if v), "")
    return ", ".join(words) if isinstance(words, list) else str(words)


def flagged(attribute: Any) -> bool:
    """Whether a mark such as `synthetic` is set."""
    return first(attribute).get("value") is True


def read_entity(entity: dict[str, Any], _: Translate) -> Thing:
    """The page's view of a normalized entity with short names."""
    language = _.language
    live: list[Value] = []
    facts: list[Value] = []
    links: list[Link] = []
    places: dict[str, Any] = {}
    for name, attribute in entity.items():
        if name in _MEMBERS or name in LIFE_SIGNS:
            continue
        kind = str(first(attribute).get("type"))
        if kind in {"Relationship", "ListRelationship"}:
            links.append(Link(name, attribute_label(name, _), tuple(targets(attribute))))
            continue
        if kind == "GeoProperty":
            places[name] = first(attribute).get("value")
            continue
        for instance in instances(attribute):
            value = value_of(name, instance, _)
            (live if value.observed_at else facts).append(value)
    types = entity.get("type", "")
    names = first(entity.get("name"))
    return Thing(
        id=entity["id"],
        type=types[0] if isinstance(types, list) else types,
        name=in_language(held(names), language) or entity["id"],
        other_name=in_language(held(names), "en" if language == "ko" else "ko"),
        live=tuple(live),
        facts=tuple(facts),
        links=tuple(links),
        places=places,
        synthetic=flagged(entity.get("synthetic")),
        simulated=any(value.simulated for value in live),
        source=in_language(held(first(entity.get("source"))), language),
        provider=in_language(held(first(entity.get("dataProvider"))), language),
        created_at=moment(entity.get("createdAt")),
        modified_at=moment(entity.get("modifiedAt")),
    )


def value_of(name: str, instance: dict[str, Any], _: Translate) -> Value:
    """One instance as a line."""
    raw = held(instance)
    if instance.get("type") == "LanguageProperty":
        raw = in_language(raw, _.language)
    number = raw if isinstance(raw, (int, float)) and not isinstance(raw, bool) else None
    return Value(
        name=name,
        label=attribute_label(name, _),
        text=value_text(name, raw, _),
        unit=unit_text(name, instance.get("unitCode")) if number is not None else "",
        raw=raw,
        shown=None if number is None else scaled(name, number),
        observed_at=moment(instance.get("observedAt")),
        simulated=flagged(instance.get("simulated")),
        synthetic=flagged(instance.get("synthetic")),
        dataset=str(instance.get("datasetId") or ""),
    )


def targets(attribute: Any) -> Iterator[str]:
    """Every URN a relationship points to."""
    for instance in instances(attribute):
        held_by = held(instance)
        for item in held_by if isinstance(held_by, list) else (held_by,):
            target = item.get("object") if isinstance(item, dict) else item
            if isinstance(target, str):
                yield target
