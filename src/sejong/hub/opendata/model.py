"""Whether an entity fits a model, and which model fits what arrives. Pure.

Models are JSON Schemas of the simplified (key-value) entity, as the Smart Data Models initiative publishes them. Of
JSON Schema 2020-12 what such models use is understood: type, enum, const, required, properties, items, minimum,
maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength, minItems, maxItems, pattern, allOf, anyOf, oneOf.
`$ref` leads inside the document only; an unknown keyword is passed over.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

Schema = Mapping[str, Any]
DEEPEST = 30
MOST_VALUES = 12
"""Different texts up to which an inferred model lists them. Chosen."""
ENOUGH = 20
"""Entities from which on a list of texts is taken for the whole list. Chosen."""
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


def faults_of(entity: Mapping[str, Any], schema: Schema) -> list[tuple[str, str]]:
    """(attribute, what is wrong) for everything in which an entity does not fit; empty: it fits."""
    return list(_check(entity, schema, schema, "", 0))


def faults_in(value: Any, schema: Schema, root: Schema, name: str) -> list[tuple[str, str]]:
    """What is wrong with one value; `root` is the model that inner references are about."""
    return list(_check(value, schema, root, name, 0))


def _check(value: Any, schema: Any, root: Schema, place: str, depth: int) -> Iterator[tuple[str, str]]:
    if schema is True or not isinstance(schema, Mapping) or depth > DEEPEST:
        return
    if "$ref" in schema:
        yield from _check(value, _inside(root, schema["$ref"]), root, place, depth + 1)
    for part in schema.get("allOf", ()):
        yield from _check(value, part, root, place, depth + 1)
    for name in ("anyOf", "oneOf"):
        if name in schema and all(any(_check(value, part, root, place, depth + 1)) for part in schema[name]):
            yield place, f"fits none of {name}"
    kinds = schema.get("type")
    if kinds is not None and not _is(value, [kinds] if isinstance(kinds, str) else kinds):
        yield place, f"is not {kinds if isinstance(kinds, str) else ' or '.join(kinds)}"
        return
    yield from ((place, why) for why in _limits(value, schema))
    if isinstance(value, Mapping):
        yield from ((name, "is missing") for name in schema.get("required", ()) if name not in value)
        for name, part in schema.get("properties", {}).items():
            if name in value:
                yield from _check(value[name], part, root, name if not place else f"{place}.{name}", depth + 1)
    elif isinstance(value, list) and "items" in schema:
        for item in value:
            yield from _check(item, schema["items"], root, place, depth + 1)


def _is(value: Any, kinds: Iterable[str]) -> bool:
    for kind in kinds:
        if isinstance(value, bool) and kind in ("number", "integer"):
            continue
        if isinstance(value, _TYPES.get(kind, (object,))) or (
            kind == "integer" and isinstance(value, float) and value.is_integer()
        ):
            return True
    return False


def _limits(value: Any, schema: Schema) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield "is none of the listed values"
    if "const" in schema and value != schema["const"]:
        yield f"is not {schema['const']!r}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            yield f"is below {schema['minimum']}"
        if value > schema.get("maximum", value):
            yield f"is above {schema['maximum']}"
        if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
            yield f"is not above {schema['exclusiveMinimum']}"
        if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
            yield f"is not below {schema['exclusiveMaximum']}"
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield "is too short or too long"
        if "pattern" in schema and (pattern := _pattern(schema["pattern"])) is not None and not pattern.search(value):
            yield "does not have the pattern"
    if isinstance(value, list) and not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield "has too few or too many items"


@lru_cache(maxsize=500)
def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:
        return None


def _inside(root: Schema, reference: Any) -> Any:
    """What an inner reference (`#/…`) leads to; anything goes where it leads nowhere."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return True
    found: Any = root
    for part in reference[1:].strip("/").split("/"):
        if part:
            found = found.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, Mapping) else {}
    return found or True


class Inference:
    """Collects simplified entities and proposes the model they share."""

    def __init__(self) -> None:
        self.seen = 0
        self._types: Counter[str] = Counter()
        self._columns: dict[str, _Column] = {}

    def see(self, entity: Mapping[str, Any]) -> None:
        """One more entity (its unit codes and times are not looked at)."""
        self.seen += 1
        kind = entity.get("type")
        self._types[kind if isinstance(kind, str) else "/".join(kind or ())] += 1
        for name, value in entity.items():
            if name not in ("id", "type", "scope"):
                self._columns.setdefault(name, _Column()).see(value)

    def proposal(self, title: str) -> dict[str, Any]:
        """A JSON Schema that everything seen fits; required is what every entity had."""
        properties: dict[str, Any] = {
            "id": {"type": "string"},
            "type": {"enum": sorted(self._types)} if self._types else {"type": "string"},
        }
        properties |= {name: column.schema(self.seen) for name, column in sorted(self._columns.items())}
        always = [name for name, column in sorted(self._columns.items()) if column.n == self.seen]
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": title,
            "type": "object",
            "properties": properties,
            "required": ["id", "type", *always],
        }


class _Column:
    def __init__(self) -> None:
        self.n = 0
        self._kinds: set[str] = set()
        self._low: float | None = None
        self._high: float | None = None
        self._texts: set[str] = set()

    def see(self, value: Any) -> None:
        self.n += 1
        kind = next((name for name in ("boolean", *_TYPES) if _is(value, [name])), "null")
        self._kinds.add("integer" if kind == "number" and _is(value, ["integer"]) else kind)
        if kind == "number":
            self._low = value if self._low is None else min(self._low, value)
            self._high = value if self._high is None else max(self._high, value)
        if kind == "string" and len(self._texts) <= MOST_VALUES:
            self._texts.add(value)

    def schema(self, seen: int) -> dict[str, Any]:
        kinds = self._kinds - {"integer"} if "number" in self._kinds else self._kinds
        found: dict[str, Any] = {"type": min(kinds) if len(kinds) == 1 else sorted(kinds)}
        if self._low is not None and self._low >= 0:
            found["minimum"] = 0
        few = len(self._texts) <= MOST_VALUES and self.n >= ENOUGH and len(self._texts) * 4 <= self.n
        if kinds == {"string"} and few:
            found["enum"] = sorted(self._texts)
        return found
