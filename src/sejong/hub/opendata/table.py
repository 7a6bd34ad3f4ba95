"""Entities and histories as rows and columns, for programs that know no documents. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec

from sejong.hub.indexing import SYSTEM
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.geo import place_of
from sejong.hub.ngsi.members import LOCATION

Doc = Mapping[str, Any]
Kind = Literal["text", "number", "boolean", "time"]
LANGUAGES = ("ko", "en")
MARKS = ("synthetic", "simulated")
"""What says that a thing stands on no list, and that a value was never measured (`docs/guides/city-pack.md`)."""
_VALUES = ("value", "object", "json", "valueList", "objectList", "vocab", "languageMap")


class Column(msgspec.Struct, frozen=True):
    """One column: its heading, what it holds, and which attribute (IRI) it is read from."""

    name: str
    kind: Kind
    iri: str = ""
    language: str = ""
    """One language of a LanguageProperty."""


class Layout(msgspec.Struct, frozen=True):
    """The columns of a table of entities; place and time stand behind the attributes."""

    columns: tuple[Column, ...]
    placed: bool
    attributes: frozenset[str] | None
    """Attributes (IRIs) that are shown; None: all."""

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks that are columns of their own: nobody shall take home what was made up without being told."""
        named = {column.name for column in self.columns}
        return tuple(mark for mark in MARKS if mark not in named)

    def heads(self) -> list[Column]:
        """Every column with its heading."""
        tail = [Column("lon", "number"), Column("lat", "number")] if self.placed else []
        tail += [Column(mark, "boolean") for mark in self.marks]
        return [Column("id", "text"), Column("type", "text"), *self.columns, *tail, Column("observedAt", "time")]

    def row(self, entity: Doc, context: Context) -> list[Any]:
        """One entity, in the order of the headings."""
        cells: list[Any] = [entity["id"], "/".join(context.compact(kind) for kind in entity["type"])]
        cells.extend(cell(entity, column) for column in self.columns)
        if self.placed:
            place = place_of(entity) if LOCATION in entity else None
            cells += (None, None) if place is None else (place.lon, place.lat)
        cells.extend(bears(entity, context.expand(mark), self.attributes) for mark in self.marks)
        cells.append(newest(entity, self.attributes))
        return cells


def layout(
    types: Mapping[str, Collection[str]], sample: Sequence[Doc], context: Context, attributes: Sequence[str]
) -> Layout:
    """The columns for entities. `types`: attribute IRI → JSON types its values have in the record (`null`: no scalar).

    `attributes` (IRIs) chooses and orders them; empty: all, by name.
    """
    kinds: dict[str, set[str]] = {}
    for entity in sample:
        for key, instances in entity.items():
            if key not in SYSTEM:
                kinds.setdefault(key, set()).update(one["type"] for one in instances)
    wanted = list(attributes) or sorted(types, key=context.compact)
    columns: list[Column] = []
    for iri in wanted:
        name = context.compact(iri)
        if kinds.get(iri) == {"LanguageProperty"}:
            columns += [Column(f"{name}_{language}", "text", iri, language) for language in LANGUAGES]
        elif iri == LOCATION:
            if any(entity.get(LOCATION, [{}])[0].get("value", {}).get("type", "Point") != "Point" for entity in sample):
                columns.append(Column(name, "text", iri))
        else:
            columns.append(Column(name, _kind(types.get(iri, ())), iri))
    shown = frozenset(attributes) or None
    return Layout(tuple(columns), LOCATION in types and (shown is None or LOCATION in shown), shown)


def _kind(types: Collection[str]) -> Kind:
    if set(types) == {"number"}:
        return "number"
    return "boolean" if set(types) == {"boolean"} else "text"


def cell(entity: Doc, column: Column) -> Any:
    """What a cell holds: a scalar, or JSON text where the value is more than that; of several instances the first."""
    instances = entity.get(column.iri)
    if not instances:
        return None
    value = value_of(instances[0])
    if column.language:
        return value.get(column.language) if isinstance(value, dict) else None
    if column.kind == "number":
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if column.kind == "boolean":
        return value if isinstance(value, bool) else None
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict) and "@value" in value:
        return str(value["@value"])
    return msgspec.json.encode(value).decode()


def value_of(instance: Doc) -> Any:
    """The value of an attribute instance, whatever kind of attribute it is."""
    return next((instance[name] for name in _VALUES if name in instance), None)


def bears(entity: Doc, mark: str, attributes: frozenset[str] | None) -> bool:
    """Whether a mark (IRI) is set on an entity or on one of (these) attributes of it."""
    if is_marked(entity, mark):
        return True
    return any(
        is_marked(one, mark)
        for key, instances in entity.items()
        if key not in SYSTEM and (attributes is None or key in attributes)
        for one in instances
    )


def is_marked(thing: Doc, mark: str) -> bool:
    """Whether a mark (IRI) such as `simulated` is set on an entity or an attribute instance itself."""
    return any(one.get("value") is True for one in thing.get(mark, ()))


def newest(entity: Doc, attributes: frozenset[str] | None) -> str | None:
    """The newest `observedAt` of (these) attributes."""
    found = ""
    for key, instances in entity.items():
        if key not in SYSTEM and (attributes is None or key in attributes):
            found = max(found, *(one.get("observedAt", "") for one in instances))
    return found or None


HISTORY = (
    Column("id", "text"),
    Column("type", "text"),
    Column("attribute", "text"),
    Column("observedAt", "time"),
    Column("number", "number"),
    Column("value", "text"),
    Column("unitCode", "text"),
    Column("datasetId", "text"),
    Column("simulated", "boolean"),
    Column("recordedAt", "time"),
)
"""The columns of a history: one row for each value at each time."""


def safe_cell(value: Any) -> Any:
    """A cell no spreadsheet takes for a formula. Source: OWASP CSV Injection."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value
