"""What the record keeps findable of an entity: scalars for `q`, its place, its scopes, its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from sejong.hub.ngsi.geo import place_of
from sejong.hub.ngsi.instants import parse_instant
from sejong.hub.store.entities import EntityRow

LOCATION = "https://uri.etsi.org/ngsi-ld/location"
SPOKEN = frozenset({"name", "alternateName", "address", "description", "title", "stationCode", "category"})
"""Last parts of attribute names whose text a resident may search for. Chosen."""
LONGEST_WORDS = 600
"""Characters of searchable text kept per entity: names and addresses, not essays. Chosen."""

LONGEST_SCALAR = 200
"""Characters of a text that is compared inside the database. Chosen."""

SYSTEM = frozenset({"id", "type", "scope", "createdAt", "modifiedAt", "expiresAt", "deletedAt"})
_encode = msgspec.json.encode


def attributes(entity: Mapping[str, Any]) -> list[str]:
    """The attribute IRIs of an expanded entity."""
    return [key for key in entity if key not in SYSTEM]


def terms_of(entity: Mapping[str, Any]) -> list[str]:
    """Every IRI of the entity that the dictionary must know before it is stored: types and attributes."""
    return [*entity["type"], *(key for key in entity if key not in SYSTEM)]


def entity_row(entity: Mapping[str, Any], number_of: Callable[[str], int], no: int = 0) -> EntityRow:
    """The row of an expanded entity (`number_of`: IRI → dictionary number, known for all of `terms_of`)."""
    place = place_of(entity) if LOCATION in entity else None
    modified = parse_instant(entity["modifiedAt"])
    created = entity["createdAt"]
    scopes = entity.get("scope")
    expires = entity.get("expiresAt")
    return EntityRow(
        no=no,
        id=entity["id"],
        types=tuple(map(number_of, entity["type"])),
        doc=_encode(entity),
        q=_encode(scalars(entity, number_of)),
        lon=None if place is None else place.lon,
        lat=None if place is None else place.lat,
        box=None if place is None else place.box,
        scopes=tuple(scopes) if scopes else None,
        search=words(entity),
        created=modified if created == entity["modifiedAt"] else parse_instant(created),
        modified=modified,
        expires=parse_instant(expires) if expires else None,
    )


def scalars(entity: Mapping[str, Any], number_of: Callable[[str], int]) -> dict[str, Any]:
    """Attribute number → its one scalar value, or None where only the document can answer a query."""
    found: dict[str, Any] = {}
    for key, instances in entity.items():
        if key not in SYSTEM:
            found[str(number_of(key))] = scalar_of(instances)
    return found


def scalar_of(instances: Sequence[Mapping[str, Any]]) -> str | int | float | None:
    """The one scalar value of an attribute, or None where only the document can answer a query."""
    if len(instances) != 1:
        return None
    instance = instances[0]
    if "datasetId" in instance or "expiresAt" in instance:
        return None
    value = instance["value"] if "value" in instance else instance.get("object")
    return value if value.__class__ is float else _scalar(value)


def _scalar(value: Any) -> str | int | float | None:
    """The value if the database can compare it; None for anything else (a NUL cannot live in jsonb)."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_SCALAR and "\x00" not in value else None
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else None
    return value if isinstance(value, float) else None


def words(entity: Mapping[str, Any]) -> str:
    """The text a search looks through, lower case: names in every language, address, the id's own part."""
    found = [entity["id"].rpartition(":")[2]]
    for key, instances in entity.items():
        if not _is_spoken(key):
            continue
        for instance in instances:
            found.extend(_texts(instance.get("value", instance.get("languageMap"))))
    return " ".join(dict.fromkeys(w.strip() for w in found if w.strip())).lower().replace("\x00", "")[:LONGEST_WORDS]


@lru_cache(maxsize=20_000)
def _is_spoken(key: str) -> bool:
    return key not in SYSTEM and key[max(key.rfind("/"), key.rfind("#"), key.rfind(":")) + 1 :] in SPOKEN


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for part in value.values() for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return []
