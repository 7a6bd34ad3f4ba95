"""Reading what a sender says about the city: checking an entity and turning it into the form the hub keeps.

Accepts the normalized, the concise and, where it can be told apart, the simplified representation, mixed at will. The
result is a new document: full IRIs instead of names, every attribute a list of instances with the default one first.
Faults are BadRequestData whose detail starts with the path, as in `speed[0].observedAt: ...`.

Source: ETSI GS CIM 009 v1.9.1 clauses 4.5 (representations), 5.2 (data types), 5.5.4 (validation), 5.5.8 and 5.5.12
(fragments). `createdAt`, `modifiedAt`, `deletedAt` and `instanceId` of senders are ignored.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from sejong.hub.ngsi.context import RESERVED_IRIS, Context
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.fault import Fault, shown
from sejong.hub.ngsi.geojson import check_geometry, is_geometry
from sejong.hub.ngsi.grammar import instant_key, is_scope, is_uri, known_instant
from sejong.hub.ngsi.members import (
    FORBIDDEN,
    GEO_ONLY,
    KIND_OF_MEMBER,
    METADATA,
    NULL,
    PREVIOUS_MEMBERS,
    SCOPE,
    VALUE_MEMBER,
    Doc,
    is_null,
)
from sejong.hub.ngsi.values import CHECKS, MAX_DEPTH, Rules

Mode = Literal["create", "replace", "append", "update", "merge", "partial", "temporal"]

_RULES: Final[dict[Mode, Rules]] = {
    "create": Rules(),
    "replace": Rules(),
    "append": Rules(),
    "update": Rules(null=True),
    "merge": Rules(null=True, deep_null=True, fragment=True),
    "partial": Rules(null=True, fragment=True),
    "temporal": Rules(history=True),
}
_IGNORED: Final = frozenset({"createdAt", "modifiedAt", "deletedAt", "instanceId"})
_ENTITY_MEMBERS: Final = frozenset({"id", "@id", "type", "@type", "@context", "createdAt", "modifiedAt", "deletedAt"})
_SPECIAL: Final = frozenset(
    {
        *METADATA,
        *KIND_OF_MEMBER,
        *PREVIOUS_MEMBERS,
        *_IGNORED,
        "type",
        "@type",
        "@context",
        "entity",
        "entityList",
    }
)


def expand_entity(body: Any, ctx: Context, *, now: str, mode: Mode = "create") -> Doc:
    """A whole entity as the hub keeps it; `id` and `type` are required. `now` (ISO, microseconds) judges expiresAt.

    Raises BadRequestData. The body is not changed; values are shared with the result.
    """
    return _checked(body, ctx, now, mode, whole=True)


def expand_fragment(body: Any, ctx: Context, *, now: str, mode: Mode) -> Doc:
    """Part of an entity (what append, update, merge and replace send); `id` and `type` appear only if they were given.

    Raises BadRequestData, also for an empty object. In the modes merge and partial an instance whose kind the sender
    left open has no `type`: what is stored decides. Nulls stay in place as markers for the change to carry out.
    """
    return _checked(body, ctx, now, mode, whole=False)


def expand_attribute(body: Any, name: str, ctx: Context, *, now: str, mode: Mode) -> tuple[str, list[Doc]]:
    """One attribute named in the path of a request: its IRI and the instances of the body (usually one).

    Raises BadRequestData; `scope` is no attribute here (clauses 5.6.4, 5.6.19).
    """
    reader = _Reader(ctx, _RULES[mode], now)
    try:
        iri = reader.name(name)
        if iri == SCOPE:
            raise Fault("scope cannot be changed as an attribute")
        if body.__class__ is dict and not body.keys() - {"@context"}:
            raise Fault("the attribute is empty")
        if body.__class__ is dict and ("@context" in body or reader.rules.fragment):
            body = {key: value for key, value in body.items() if key != "@context"}
            instances = [reader.instance(body, 0, bare=not reader.rules.fragment)]
        else:
            instances = reader.instances(body, 0)
        _check_geo_only(iri, instances)
    except Fault as fault:
        raise BadRequestData(detail=str(fault.within(name))) from None
    return iri, instances


def _checked(body: Any, ctx: Context, now: str, mode: Mode, *, whole: bool) -> Doc:
    try:
        return _Reader(ctx, _RULES[mode], now).entity(body, whole=whole)
    except Fault as fault:
        raise BadRequestData(detail=str(fault)) from None


class _Reader:
    """Reads one message: the context it names things in, the rules of the operation and the moment it arrived."""

    __slots__ = ("ctx", "now", "rules")

    def __init__(self, ctx: Context, rules: Rules, now: str) -> None:
        self.ctx = ctx
        self.rules = rules
        self.now = now

    def entity(self, body: Any, *, whole: bool) -> Doc:
        if body.__class__ is not dict:
            raise Fault("an entity is a JSON object")
        out: Doc = {}
        self._identity(body, out, whole)
        for key, value in body.items():
            if key in _ENTITY_MEMBERS:
                continue
            if key == "scope":
                out["scope"] = self._scope(value)
            elif key == "expiresAt":
                out["expiresAt"] = self._expiry(value, "expiresAt")
            else:
                self._attribute(key, value, out)
        if not out:
            raise Fault("there is nothing in it")
        return out

    def _identity(self, body: Doc, out: Doc, whole: bool) -> None:
        identifier = body["id"] if "id" in body else body.get("@id")
        if identifier is not None or whole or "id" in body:
            if not is_uri(identifier) or identifier == NULL:
                raise Fault("required" if identifier is None else f"{shown(identifier)} is not a URI", "id")
            out["id"] = identifier
        types = body["type"] if "type" in body else body.get("@type")
        if types is not None or whole or "type" in body:
            out["type"] = self._types(types)

    def _types(self, value: Any) -> list[str]:
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list) or not given:
            raise Fault("required: the name of a type, or several", "type")
        if not all(isinstance(name, str) for name in given):
            raise Fault(f"{shown(value)} is not a name", "type")
        return list(dict.fromkeys(self._plain_name(name, "type") for name in given))

    def _plain_name(self, name: str, *member: str) -> str:
        if name == NULL:
            raise Fault(f"{NULL} is not allowed here", *member)
        try:
            return self.ctx.attribute(name)
        except BadRequestData as refused:
            raise Fault(refused.detail, *member) from None

    def name(self, name: str) -> str:
        try:
            iri = self.ctx.attribute(name)
        except BadRequestData as refused:
            raise Fault(refused.detail) from None
        if iri in RESERVED_IRIS or iri == NULL:
            raise Fault("is a word of NGSI-LD and cannot name an attribute")
        return iri

    def _scope(self, value: Any) -> Any:
        if value == NULL and self.rules.null:
            return NULL
        given = value if isinstance(value, list) else [value]
        if not given:
            raise Fault("an array of scopes must not be empty", "scope")
        for one in given:
            if not is_scope(one):
                raise Fault(f"{shown(one)} is not a scope such as /Sejong/Nasung", "scope")
        return list(dict.fromkeys(given))

    def _expiry(self, value: Any, *path: str) -> str:
        if value == NULL and self.rules.null:
            return NULL
        if not isinstance(value, str) or not known_instant(value):
            raise Fault(f"{shown(value)} is not a UTC DateTime (YYYY-MM-DDThh:mm:ss[.ffffff]Z)", *path)
        if instant_key(value) < self.now:
            raise Fault(f"{value} has already passed", *path)
        return value

    def _attribute(self, key: str, value: Any, out: Doc) -> None:
        try:
            iri = self.name(key)
            if iri == SCOPE:
                out["scope"] = self._scope(value)
                return
            if iri in out:
                raise Fault("given twice, under two names")
            instances = self.instances(value, 0)
            if iri in GEO_ONLY:
                _check_geo_only(iri, instances)
        except Fault as fault:
            raise fault.within(key) from None
        out[iri] = instances

    def instances(self, value: Any, depth: int) -> list[Doc]:
        """The instances of one attribute, in whatever representation they were written."""
        if value.__class__ is dict:
            if len(value) == 1 and "dataset" in value and _is_dataset_map(value["dataset"]):
                return self._from_dataset_map(value["dataset"])
            return [self.instance(value, depth)]
        if value.__class__ is list and any(map(_is_instance, value)):
            return self._several(value, depth)
        return [self._bare(value)]

    def _several(self, values: list[Any], depth: int) -> list[Doc]:
        found: list[Doc] = []
        datasets: set[str | None] = set()
        for number, value in enumerate(values):
            try:
                if value.__class__ is not dict:
                    raise Fault("must be an attribute instance like its neighbours")
                instance = self.instance(value, depth, bare=False)
                dataset = instance.get("datasetId")
                if dataset in datasets and not self.rules.history:
                    raise Fault(f"a second {'default instance' if dataset is None else 'instance of ' + dataset}")
            except Fault as fault:
                raise fault.within(f"[{number}]") from None
            datasets.add(dataset)
            found.append(instance)
        found.sort(key=_has_dataset)
        return found

    def _from_dataset_map(self, datasets: Doc) -> list[Doc]:
        found: list[Doc] = []
        for dataset, value in datasets.items():
            try:
                instance = self.instances(value, 0)[0] if value.__class__ is dict else self._bare(value)
            except Fault as fault:
                raise fault.within(dataset) from None
            if dataset != "@none":
                instance["datasetId"] = dataset
            found.append(instance)
        found.sort(key=_has_dataset)
        return found

    def instance(self, given: Doc, depth: int, *, bare: bool = True) -> Doc:
        """One instance; `bare` says whether an object without any known member may be the value itself."""
        kind: Any = given.get("type")
        member = VALUE_MEMBER.get(kind) if kind.__class__ is str else None
        if member is not None:
            out: Doc = {"type": kind}
        else:
            kind = self._kind(given, bare)
            if kind is None:
                return self._bare(given)
            member = VALUE_MEMBER.get(kind, "value")
            out = {} if member == "value" and self.rules.fragment else {"type": kind}
        key = ""
        try:
            for key, value in given.items():
                if key == member:
                    out[key] = self._value(kind or "Property", value)
                elif key == "type":
                    pass
                elif key == "observedAt":
                    out[key] = self._moment(value)
                elif key == "unitCode" and kind == "Property" and value.__class__ is str and value and value != NULL:
                    out[key] = value
                elif key in _SPECIAL:
                    self._special(kind, key, value, out)
                else:
                    self._sub_attribute(key, value, out, depth + 1)
        except Fault as fault:
            raise fault.within(key) from None
        if member not in out and not self.rules.fragment:
            raise Fault(f"a {kind} needs {member}")
        return out

    def _sub_attribute(self, key: str, value: Any, out: Doc, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise Fault(f"sub-attributes nested more than {MAX_DEPTH} levels deep")
        iri = self.name(key)
        if iri in out:
            raise Fault("given twice, under two names")
        out[iri] = self.instances(value, depth)

    def _kind(self, given: Doc, bare: bool) -> str | None:
        """The kind of an instance without a usable type: a kind, "" if left open, None if it is a bare value."""
        if "type" in given or "@type" in given:
            stated = given.get("type", given.get("@type"))
            if isinstance(stated, str) and stated in VALUE_MEMBER:
                return stated
            if bare and is_geometry(given):
                return None
            raise Fault(f"{shown(stated)} is not a kind of attribute", "type")
        for member, kind in KIND_OF_MEMBER.items():
            if member in given:
                return "GeoProperty" if member == "value" and is_geometry(given[member]) else kind
        has_metadata = not METADATA.isdisjoint(given)
        if self.rules.fragment and (not bare or not given or has_metadata or all(map(_is_part, given.values()))):
            return ""
        if has_metadata or not given or not bare:
            raise Fault("has neither a type nor a value")
        return None

    def _bare(self, value: Any) -> Doc:
        """A value written without anything around it."""
        out: Doc = {} if self.rules.fragment else {"type": "Property"}
        if is_geometry(value):
            if not self.rules.fragment:
                out["type"] = "GeoProperty"
            out["value"] = check_geometry(value)
        else:
            out["value"] = self._value("Property", value)
        return out

    def _value(self, kind: str, value: Any) -> Any:
        cls = value.__class__
        if cls is str:
            if value == NULL:
                if not self.rules.null:
                    raise Fault(f"{NULL} is not allowed here")
                return NULL
            if kind == "Property":
                return value
        elif kind == "Property" and (cls is int or cls is float or cls is bool):
            return value
        return CHECKS[kind](value, self.ctx, self.rules)

    def _moment(self, value: Any) -> str:
        if value.__class__ is str and (known_instant(value) or (value == NULL and self.rules.null)):
            return value
        raise Fault(f"{shown(value)} is not a UTC DateTime (YYYY-MM-DDThh:mm:ss[.ffffff]Z)")

    def _special(self, kind: str, key: str, value: Any, out: Doc) -> None:
        """A member with a fixed meaning that is not this kind's value."""
        if key in _IGNORED or key == "@type":
            return
        if key not in METADATA or (kind and key in FORBIDDEN[kind]):
            raise Fault(f"does not belong into a {kind or 'fragment of an attribute'}")
        if key == "datasetId":
            if value == "@none":
                return
            if not is_uri(value) or value == NULL:
                raise Fault(f"{shown(value)} is not a URI")
            out[key] = value
        elif value == NULL and self.rules.null:
            out[key] = NULL
        elif key == "expiresAt":
            out[key] = self._expiry(value)
        elif key == "unitCode":
            out[key] = _text(value)
        elif key == "objectType":
            out[key] = self._object_types(value)
        else:
            out[key] = self._value_type(kind, value)

    def _object_types(self, value: Any) -> Any:
        if isinstance(value, list) and value:
            return [self._plain_name(_text(name), f"[{number}]") for number, name in enumerate(value)]
        return self._plain_name(_text(value))

    def _value_type(self, kind: str, value: Any) -> str:
        if kind == "LanguageProperty" and value != "langString":
            raise Fault("the valueType of a LanguageProperty is langString")
        return self.ctx.expand(_text(value))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or value == NULL:
        raise Fault(f"{shown(value)} is not a text")
    return value


def _has_dataset(instance: Doc) -> bool:
    return "datasetId" in instance


def _is_instance(value: Any) -> bool:
    if value.__class__ is not dict:
        return False
    kind = value.get("type")
    if isinstance(kind, str) and kind in VALUE_MEMBER:
        return True
    return not KIND_OF_MEMBER.keys().isdisjoint(value)


def reads_as_value(value: Any) -> bool:
    """True if a Property's value, written bare in concise form, would be read back as that value."""
    if isinstance(value, list):
        return not any(map(_is_instance, value))
    if not isinstance(value, dict):
        return True
    return bool(value) and _BARE_TRAPS.isdisjoint(value)


_BARE_TRAPS: Final = frozenset({*METADATA, *KIND_OF_MEMBER, "type", "@type", "dataset"})


def _is_part(value: Any) -> bool:
    return value == NULL or _is_instance(value)


def _is_dataset_map(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(key == "@none" or is_uri(key) for key in value)


def _check_geo_only(iri: str, instances: list[Doc]) -> None:
    if iri in GEO_ONLY:
        for instance in instances:
            if instance.get("type", "GeoProperty") != "GeoProperty" and not is_null(instance):
                raise Fault("must be a GeoProperty")
