"""The fixed words of the NGSI-LD data model: kinds of attribute, their members, and the IRIs the hub treats specially.

Source: ETSI GS CIM 009 v1.9.1 clauses 4.5 and 5.2, core @context (annex B).
"""

from __future__ import annotations

from typing import Any, Final

Doc = dict[str, Any]
"""A JSON object: an entity, an attribute instance, a context."""

NULL: Final = "urn:ngsi-ld:null"
"""NGSI-LD Null: what a fragment writes where something is to be removed."""

NGSILD: Final = "https://uri.etsi.org/ngsi-ld/"
DEFAULT_CONTEXT: Final = NGSILD + "default-context/"
SCOPE: Final = NGSILD + "scope"
LOCATION: Final = NGSILD + "location"
GEO_ONLY: Final = frozenset({LOCATION, NGSILD + "observationSpace", NGSILD + "operationSpace"})
"""Attributes that can only be GeoProperties."""

VALUE_MEMBER: Final[dict[str, str]] = {
    "Property": "value",
    "GeoProperty": "value",
    "Relationship": "object",
    "LanguageProperty": "languageMap",
    "VocabProperty": "vocab",
    "JsonProperty": "json",
    "ListProperty": "valueList",
    "ListRelationship": "objectList",
}
"""The eight kinds of attribute, each with the member that carries its value."""

KIND_OF_MEMBER: Final[dict[str, str]] = {member: kind for kind, member in VALUE_MEMBER.items() if kind != "GeoProperty"}
"""Which kind of attribute a value member announces when no type is given."""

PREVIOUS_MEMBERS: Final = frozenset("previous" + member[0].upper() + member[1:] for member in KIND_OF_MEMBER)
"""Members only notifications may carry."""

METADATA: Final = frozenset({"observedAt", "unitCode", "datasetId", "expiresAt", "objectType", "valueType"})
"""Members of an attribute that are neither its value nor a sub-attribute."""

SYSTEM_TIMES: Final = frozenset({"createdAt", "modifiedAt", "deletedAt"})
ENTITY_HEAD: Final = frozenset({"id", "type", "scope", "expiresAt", "createdAt", "modifiedAt", "deletedAt"})
"""Members of a stored entity that are not attributes."""

RESERVED_TERMS: Final = frozenset(
    {
        *KIND_OF_MEMBER,
        *PREVIOUS_MEMBERS,
        *METADATA,
        *SYSTEM_TIMES,
        "instanceId",
        "entity",
        "entityList",
        "id",
        "type",
    }
)
"""Core terms that can never be the name of an attribute (clause 4.5.1)."""

_ONLY_RELATIONSHIPS: Final = frozenset({"objectType"})
_ONLY_PROPERTIES: Final = frozenset({"unitCode", "valueType"})
FORBIDDEN: Final[dict[str, frozenset[str]]] = {
    "Property": _ONLY_RELATIONSHIPS,
    "GeoProperty": _ONLY_RELATIONSHIPS,
    "ListProperty": _ONLY_RELATIONSHIPS,
    "LanguageProperty": _ONLY_RELATIONSHIPS | {"unitCode"},
    "VocabProperty": _ONLY_RELATIONSHIPS | _ONLY_PROPERTIES,
    "JsonProperty": _ONLY_RELATIONSHIPS | _ONLY_PROPERTIES,
    "Relationship": _ONLY_PROPERTIES,
    "ListRelationship": _ONLY_PROPERTIES,
}
"""Metadata that makes no sense on a kind of attribute (a relationship has no unit) and is refused there."""


def is_null(instance: Doc) -> bool:
    """True if an expanded instance says "remove this attribute" (its value is the NGSI-LD Null)."""
    return instance.get(VALUE_MEMBER.get(instance.get("type", "Property"), "value")) == NULL
