"""The operations a context source can offer, by the names registrations use. Source: CIM 009 v1.9.1 clause 4.20."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_DISCOVERY: Final = frozenset(
    {"retrieveEntityTypes", "retrieveEntityTypeDetails", "retrieveEntityTypeInfo"}
    | {"retrieveAttrTypes", "retrieveAttrTypeDetails", "retrieveAttrTypeInfo"}
)
_SUBSCRIPTIONS: Final = frozenset(f"{verb}Subscription" for verb in ("create", "update", "retrieve", "query", "delete"))
_ENTITY_MAPS: Final = frozenset(f"{verb}EntityMap" for verb in ("create", "update", "retrieve", "delete"))
_RETRIEVE: Final = frozenset({"retrieveEntity", "queryEntity", "queryBatch"})
_UPDATE: Final = frozenset({"updateEntity", "updateAttrs", "replaceEntity", "replaceAttrs"})
_WRITE: Final = _UPDATE | {"createEntity", "appendAttrs", "deleteAttrs", "deleteEntity", "mergeEntity"}
_BATCH: Final = frozenset({"createBatch", "upsertBatch", "updateBatch", "deleteBatch", "mergeBatch", "purgeEntity"})
_IDENTITY: Final = frozenset({"retrieveContextSourceIdentity"})

_TEMPORAL: Final = frozenset({"retrieveTemporal", "queryTemporal"})

READS: Final = _RETRIEVE | _DISCOVERY | _SUBSCRIPTIONS | _ENTITY_MAPS | _IDENTITY | _TEMPORAL
"""What leaves a source unchanged: all that an auxiliary registration may offer."""
GROUPS: Final[dict[str, frozenset[str]]] = {
    "federationOps": _RETRIEVE | _DISCOVERY | _SUBSCRIPTIONS | _ENTITY_MAPS | _IDENTITY,
    "associationOps": _RETRIEVE | _SUBSCRIPTIONS | _IDENTITY,
    "updateOps": _UPDATE,
    "retrieveOps": _RETRIEVE,
    "redirectionOps": _RETRIEVE | _WRITE | _DISCOVERY | _ENTITY_MAPS | _IDENTITY,
}
READ_GROUPS: Final = frozenset({"federationOps", "associationOps", "retrieveOps"})
DEFAULT: Final = ("federationOps",)
_KNOWN: Final = READS | _WRITE | _BATCH
_FAMILIES: Final = re.compile(
    r"(?:create|upsert|update|append|merge|delete|retrieve|query)(?:Attrs?|Attr[A-Z]\w*|Entity|Batch)?"
    r"(?:Temporal|InstanceTemporal|EntityMap|EntityMapTemporal|TemporalEntityMap)"
)


def is_operation(name: object) -> bool:
    """Whether a registration may list this word: an operation or a group of operations."""
    return isinstance(name, str) and (name in _KNOWN or name in GROUPS or _FAMILIES.fullmatch(name) is not None)


def is_read(name: str) -> bool:
    """Whether an operation, or every operation of a group, leaves a source unchanged."""
    return name in READS or name in READ_GROUPS or (name.startswith(("retrieve", "query")) and name not in _WRITE)


def offered(names: Iterable[str]) -> frozenset[str]:
    """All operations behind a list of operations and groups."""
    found: set[str] = set()
    for name in names:
        found |= GROUPS.get(name, frozenset({name}))
    return frozenset(found)
