"""Every NGSI-LD operation as one row of a table: method, path, parameters, what it reads and answers.

The router, the parameter check, the `Allow` headers and the OpenAPI document are all made from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

Handler = Callable[..., Awaitable[Any]]

_NONE: frozenset[str] = frozenset()
_LOCAL = frozenset({"local"})
_SINGLE = frozenset({"type", "local"})
_SHOWN = frozenset(
    [
        "options",
        "format",
        "attrs",
        "pick",
        "omit",
        "lang",
        "datasetId",
        "geometryProperty",
        "join",
        "joinLevel",
        "containedBy",
        "entityMap",
        "entityMapLifetime",
        "local",
        "type",
    ]
)
_FOUND = _SHOWN | frozenset(
    [
        "id",
        "idPattern",
        "q",
        "georel",
        "geometry",
        "coordinates",
        "geoproperty",
        "scopeQ",
        "csf",
        "expandValues",
        "jsonKeys",
        "orderBy",
        "orderFrom",
        "orderGeometry",
        "collation",
        "splitEntities",
        "limit",
        "offset",
        "count",
    ]
)
_TEMPORAL = frozenset(
    [
        "options",
        "format",
        "attrs",
        "pick",
        "omit",
        "lang",
        "datasetId",
        "timerel",
        "timeAt",
        "endTimeAt",
        "timeproperty",
        "lastN",
        "aggrMethods",
        "aggrPeriodDuration",
        "entityMap",
        "entityMapLifetime",
        "local",
        "type",
    ]
)
_TEMPORAL_FOUND = _TEMPORAL | frozenset(
    [
        "id",
        "idPattern",
        "q",
        "georel",
        "geometry",
        "coordinates",
        "geoproperty",
        "scopeQ",
        "csf",
        "expandValues",
        "jsonKeys",
        "orderBy",
        "limit",
        "offset",
        "count",
    ]
)
_FORMATS = frozenset({"normalized", "concise", "simplified", "keyValues"})
_TEMPORAL_FORMATS = frozenset({"normalized", "concise", "temporalValues", "aggregatedValues", "simplified"})
_PURGE = frozenset(
    [
        "id",
        "idPattern",
        "type",
        "q",
        "georel",
        "geometry",
        "coordinates",
        "geoproperty",
        "scopeQ",
        "csf",
        "expandValues",
        "jsonKeys",
        "local",
        "keep",
        "drop",
    ]
)
_PAGED = frozenset({"options", "format", "limit", "offset", "count", "local"})
_SUBSCRIPTIONS = frozenset({"options", "limit", "offset", "count", "local"})
FLAGS = frozenset({"count", "local", "details", "deleteAll", "splitEntities", "entityMap", "reload"})
"""Parameters that are true or false."""
LISTS = frozenset({"id", "type", "attrs", "pick", "omit", "datasetId", "options", "keep", "drop", "containedBy"})
"""Parameters that may be given several times, as several items of one list."""
_BATCH = frozenset({"options", "local"})
_SOURCES = frozenset(
    [
        "id",
        "idPattern",
        "type",
        "attrs",
        "q",
        "csf",
        "scopeQ",
        "datasetId",
        "georel",
        "geometry",
        "coordinates",
        "geoproperty",
        "timerel",
        "timeAt",
        "endTimeAt",
        "timeproperty",
        "options",
        "limit",
        "offset",
        "count",
        "local",
    ]
)
_MAPPED = frozenset({"entityMap", "entityMapLifetime"})
_CHOSEN = _FOUND - {"options", "format", "geometryProperty", "entityMap", "orderBy", "orderFrom", "orderGeometry",
                    "collation", "limit", "offset", "count"}  # fmt: skip
"""What makes an entity map: the filters of a query, and those of its parameters that decide nothing here."""
_TIMED = frozenset({"timerel", "timeAt", "endTimeAt", "timeproperty"})


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of the API."""

    method: str
    path: str
    """Template: literal segments and `{name}`; a name ending in `id` must be a URI."""
    handler: str
    summary: str
    params: frozenset[str] = _LOCAL
    options: frozenset[str] = frozenset()
    formats: frozenset[str] = frozenset()
    body: bool = False
    body_may_miss: bool = False
    many: bool = False
    """Whether the body is a list of entities, each with a context of its own."""
    answers: bool = False
    """Whether a POST answers with entities (and so honours Accept)."""
    geo: bool = False
    context: bool = True
    """Whether names in it mean something by an @context; otherwise none is read."""
    makes_tenant: bool = False
    ok: int = 200


_SYS = frozenset({"sysAttrs"})
E = "sejong.hub.web.entities"
R = "sejong.hub.web.reading"
B = "sejong.hub.web.batch"
T = "sejong.hub.web.temporal"
P = "sejong.hub.web.past"
D = "sejong.hub.web.discovery"
S = "sejong.hub.web.subscriptions"
C = "sejong.hub.web.hosted_contexts"
G = "sejong.hub.web.registrations"
N = "sejong.hub.web.registration_subscriptions"
M = "sejong.hub.web.maps"
Z = "sejong.hub.web.snapshots"

OPERATIONS: tuple[Operation, ...] = (
    Operation(method="POST", path="/entities", handler=f"{E}:create", summary="Create an entity",
              body=True, makes_tenant=True, ok=201),
    Operation(method="GET", path="/entities", handler=f"{R}:query", summary="Query entities",
              params=_FOUND, options=_SYS, formats=_FORMATS, geo=True),
    Operation(method="DELETE", path="/entities", handler=f"{E}:purge", summary="Purge entities", ok=204,
              params=_PURGE),
    Operation(method="GET", path="/entities/{id}", handler=f"{R}:retrieve", summary="Retrieve an entity",
              params=_SHOWN, options=_SYS, formats=_FORMATS, geo=True),
    Operation(method="DELETE", path="/entities/{id}", handler=f"{E}:delete", summary="Delete an entity",
              params=_SINGLE, ok=204),
    Operation(method="PUT", path="/entities/{id}", handler=f"{E}:replace", summary="Replace an entity",
              params=_SINGLE, body=True, ok=204),
    Operation(method="PATCH", path="/entities/{id}", handler=f"{E}:merge", summary="Merge an entity",
              params=_SINGLE | {"options", "format", "lang", "observedAt"},
              formats=frozenset({"simplified", "keyValues"}), body=True, ok=204),
    Operation(method="POST", path="/entities/{id}/attrs", handler=f"{E}:append", summary="Append attributes",
              params=_SINGLE | {"options"}, options=frozenset({"noOverwrite"}), body=True, ok=204),
    Operation(method="PATCH", path="/entities/{id}/attrs", handler=f"{E}:update", summary="Update attributes",
              params=_SINGLE, body=True, ok=204),
    Operation(method="PATCH", path="/entities/{id}/attrs/{attr}", handler=f"{E}:partial_update",
              summary="Partially update an attribute", params=_SINGLE, body=True, ok=204),
    Operation(method="PUT", path="/entities/{id}/attrs/{attr}", handler=f"{E}:replace_attribute",
              summary="Replace an attribute", params=_SINGLE, body=True, ok=204),
    Operation(method="DELETE", path="/entities/{id}/attrs/{attr}", handler=f"{E}:delete_attribute",
              summary="Delete an attribute", params=_SINGLE | {"datasetId", "deleteAll"}, ok=204),
    Operation(method="POST", path="/entityOperations/create", handler=f"{B}:create", summary="Create entities",
              params=_BATCH, body=True, many=True, makes_tenant=True, ok=201),
    Operation(method="POST", path="/entityOperations/upsert", handler=f"{B}:upsert",
              summary="Create or update entities",
              params=_BATCH, options=frozenset({"update", "replace"}), body=True, many=True, makes_tenant=True, ok=201),
    Operation(method="POST", path="/entityOperations/update", handler=f"{B}:update", summary="Update entities",
              params=_BATCH, options=frozenset({"noOverwrite", "replace"}), body=True, many=True, ok=204),
    Operation(method="POST", path="/entityOperations/merge", handler=f"{B}:merge", summary="Merge entities",
              params=_BATCH, body=True, many=True, ok=204),
    Operation(method="POST", path="/entityOperations/delete", handler=f"{B}:delete", summary="Delete entities",
              params=_BATCH, body=True, many=True, ok=204),
    Operation(method="POST", path="/entityOperations/query", handler=f"{R}:query_by_post",
              summary="Query entities by POST",
              params=_PAGED | _MAPPED | {"geometryProperty"}, options=_SYS, formats=_FORMATS,
              body=True, answers=True, geo=True),
    Operation(method="POST", path="/temporal/entities", handler=f"{P}:create",
              summary="Create or add to the history of an entity", body=True, makes_tenant=True, ok=201),
    Operation(method="DELETE", path="/temporal/entities/{id}", handler=f"{P}:delete",
              summary="Delete an entity with its history", params=_SINGLE, ok=204),
    Operation(method="POST", path="/temporal/entities/{id}/attrs", handler=f"{P}:add",
              summary="Add attribute instances to the history of an entity", params=_SINGLE, body=True, ok=204),
    Operation(method="DELETE", path="/temporal/entities/{id}/attrs/{attr}", handler=f"{P}:delete_attribute",
              summary="Delete an attribute with its history", params=_SINGLE | {"datasetId", "deleteAll"}, ok=204),
    Operation(method="PATCH", path="/temporal/entities/{id}/attrs/{attr}/{instance_id}", handler=f"{P}:replace",
              summary="Replace one instance in the history of an attribute", params=_SINGLE, body=True, ok=204),
    Operation(method="DELETE", path="/temporal/entities/{id}/attrs/{attr}/{instance_id}", handler=f"{P}:remove",
              summary="Delete one instance from the history of an attribute", params=_SINGLE, ok=204),
    Operation(method="GET", path="/temporal/entities/{id}", handler=f"{T}:retrieve",
              summary="Retrieve the history of an entity", params=_TEMPORAL, options=_SYS, formats=_TEMPORAL_FORMATS),
    Operation(method="GET", path="/temporal/entities", handler=f"{T}:query", summary="Query histories",
              params=_TEMPORAL_FOUND, options=_SYS, formats=_TEMPORAL_FORMATS),
    Operation(method="POST", path="/temporal/entityOperations/query", handler=f"{T}:query_by_post",
              summary="Query histories by POST",
              params=_PAGED | _MAPPED | {"lastN", "aggrMethods", "aggrPeriodDuration"}, options=_SYS,
              formats=_TEMPORAL_FORMATS, body=True, answers=True),
    Operation(method="GET", path="/types", handler=f"{D}:types", summary="Entity types in the record",
              params=frozenset({"details", "limit", "offset", "count", "local"})),
    Operation(method="GET", path="/types/{type}", handler=f"{D}:one_type", summary="One entity type"),
    Operation(method="GET", path="/attributes", handler=f"{D}:attributes", summary="Attributes in the record",
              params=frozenset({"details", "limit", "offset", "count", "local"})),
    Operation(method="GET", path="/attributes/{attr}", handler=f"{D}:one_attribute", summary="One attribute"),
    Operation(method="POST", path="/subscriptions", handler=f"{S}:create", summary="Create a subscription",
              body=True, makes_tenant=True, ok=201),
    Operation(method="GET", path="/subscriptions", handler=f"{S}:query", summary="Query subscriptions",
              params=_SUBSCRIPTIONS, options=_SYS),
    Operation(method="GET", path="/subscriptions/{id}", handler=f"{S}:retrieve", summary="Retrieve a subscription",
              params=frozenset({"options", "local"}), options=_SYS),
    Operation(method="PATCH", path="/subscriptions/{id}", handler=f"{S}:update", summary="Update a subscription",
              body=True, ok=204),
    Operation(method="DELETE", path="/subscriptions/{id}", handler=f"{S}:delete", summary="Delete a subscription",
              ok=204),
    Operation(method="POST", path="/jsonldContexts", handler=f"{C}:host", summary="Host an @context",
              params=_NONE, body=True, context=False, makes_tenant=True, ok=201),
    Operation(method="GET", path="/jsonldContexts", handler=f"{C}:contexts", summary="Contexts hosted or read",
              params=frozenset({"details", "kind"}), context=False),
    Operation(method="GET", path="/jsonldContexts/{contextName}", handler=f"{C}:one_context", summary="One @context",
              params=frozenset({"details"}), context=False),
    Operation(method="DELETE", path="/jsonldContexts/{contextName}", handler=f"{C}:remove",
              summary="Delete or reload an @context", params=frozenset({"reload"}), context=False, ok=204),
    Operation(method="POST", path="/csourceRegistrations", handler=f"{G}:create", summary="Register a context source",
              params=_NONE, body=True, makes_tenant=True, ok=201),
    Operation(method="GET", path="/csourceRegistrations", handler=f"{G}:query", summary="Discover context sources",
              params=_SOURCES, options=_SYS),
    Operation(method="GET", path="/csourceRegistrations/{id}", handler=f"{G}:retrieve", summary="One registration",
              params=frozenset({"options"}), options=_SYS),
    Operation(method="PATCH", path="/csourceRegistrations/{id}", handler=f"{G}:update", summary="Change a registration",
              params=_NONE, body=True, ok=204),
    Operation(method="DELETE", path="/csourceRegistrations/{id}", handler=f"{G}:delete",
              summary="Delete a registration", params=_NONE, ok=204),
    Operation(method="POST", path="/csourceSubscriptions", handler=f"{N}:create",
              summary="Subscribe to registrations", params=_NONE, body=True, makes_tenant=True, ok=201),
    Operation(method="GET", path="/csourceSubscriptions", handler=f"{N}:query",
              summary="Subscriptions to registrations",
              params=frozenset({"options", "limit", "offset", "count", "local"}), options=_SYS),
    Operation(method="GET", path="/csourceSubscriptions/{id}", handler=f"{N}:retrieve",
              summary="One subscription to registrations", params=frozenset({"options"}), options=_SYS),
    Operation(method="PATCH", path="/csourceSubscriptions/{id}", handler=f"{N}:update",
              summary="Change a subscription to registrations", params=_NONE, body=True, ok=204),
    Operation(method="DELETE", path="/csourceSubscriptions/{id}", handler=f"{N}:delete",
              summary="Delete a subscription to registrations", params=_NONE, ok=204),
    Operation(method="GET", path="/info/sourceIdentity", handler=f"{G}:identity", summary="Who this context source is",
              params=_NONE),
    Operation(method="GET", path="/entityMaps", handler=f"{M}:create", summary="Make an entity map",
              params=_CHOSEN, ok=201),
    Operation(method="POST", path="/entityMaps", handler=f"{M}:create_by_post", summary="Make an entity map by POST",
              params=_LOCAL | {"entityMapLifetime"}, body=True, answers=True, ok=201),
    Operation(method="GET", path="/temporal/entityMaps", handler=f"{T}:make_map",
              summary="Make an entity map of histories",
              params=_CHOSEN - {"join", "joinLevel", "containedBy"} | _TIMED, ok=201),
    Operation(method="POST", path="/temporal/entityMaps", handler=f"{T}:make_map_by_post",
              summary="Make an entity map of histories by POST",
              params=_LOCAL | {"entityMapLifetime"}, body=True, answers=True, ok=201),
    Operation(method="GET", path="/entityMaps/{id}", handler=f"{M}:retrieve", summary="Retrieve an entity map"),
    Operation(method="PATCH", path="/entityMaps/{id}", handler=f"{M}:update", summary="Prolong an entity map",
              body=True, ok=204),
    Operation(method="DELETE", path="/entityMaps/{id}", handler=f"{M}:delete", summary="Delete an entity map", ok=204),
    Operation(method="POST", path="/snapshots", handler=f"{Z}:create", summary="Make a snapshot", body=True, ok=201),
    Operation(method="GET", path="/snapshots", handler=f"{Z}:query", summary="List snapshots",
              params=frozenset({"limit", "offset", "count", "local"})),
    Operation(method="DELETE", path="/snapshots", handler=f"{Z}:purge", summary="Delete the snapshots a q means",
              params=frozenset({"q", "local"}), ok=204),
    Operation(method="GET", path="/snapshots/{id}", handler=f"{Z}:retrieve", summary="Retrieve a snapshot"),
    Operation(method="PATCH", path="/snapshots/{id}", handler=f"{Z}:update", summary="Change a snapshot", body=True),
    Operation(method="DELETE", path="/snapshots/{id}", handler=f"{Z}:delete", summary="Delete a snapshot", ok=204),
    Operation(method="POST", path="/snapshots/{id}/clone", handler=f"{Z}:clone", summary="Clone a snapshot",
              body=True, body_may_miss=True, ok=201),
)  # fmt: skip
