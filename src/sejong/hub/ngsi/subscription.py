"""What somebody wants to be told about the city: a Subscription, checked, kept, changed and shown again.

A `Definition` holds the body as its author wrote it and, per member, the IRIs its names stood for in that moment, so
that no context has to be fetched again to know what is meant.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.2.12 to 5.2.15, 5.2.22, 5.5.8, 5.8.1 to 5.8.5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.fault import shown
from sejong.hub.ngsi.geo import parse_geo
from sejong.hub.ngsi.grammar import instant_key, is_uri, known_instant
from sejong.hub.ngsi.languages import parse_lang
from sejong.hub.ngsi.members import NULL, Doc
from sejong.hub.ngsi.patterns import compile_pattern
from sejong.hub.ngsi.projection import parse_dataset_ids, parse_projection
from sejong.hub.ngsi.q import link_depth, parse_q, render
from sejong.hub.ngsi.scope import parse_scope_q
from sejong.hub.ngsi.subscription_endpoint import check_endpoint
from sejong.hub.ngsi.typeselect import parse_types
from sejong.hub.ngsi.versions import downgrade

Status = Literal["active", "paused", "expired"]
TRIGGERS: Final = frozenset(
    {"entityCreated", "entityUpdated", "entityDeleted", "attributeCreated", "attributeUpdated", "attributeDeleted"}
)
DEFAULT_TRIGGERS: Final = ("attributeCreated", "attributeUpdated")
DEEPEST_JOIN: Final = 5
"""Links a notification follows at most, as queries. Chosen."""
_OUTPUT_ONLY: Final = frozenset({"status", "createdAt", "modifiedAt"})
_NOTIFICATION_OUTPUT: Final = frozenset(
    {"status", "timesSent", "timesFailed", "lastNotification", "lastSuccess", "lastFailure"}
)
_MANDATORY: Final = ("id", "type", "notification")
_NAMED: Final = ("attributes", "pick", "omit")
"""Members of a notification that hold names of attributes."""


class Definition(Struct, frozen=True):
    """A subscription as it is kept: the body as written, and what the names in each member stand for."""

    body: Doc
    names: dict[str, dict[str, str]]
    """Member of the body → name as written → IRI."""
    tenant_name: str = ""
    inline_context: Any = None
    """The context it came with, where that has no one address; told to those who take JSON-LD."""

    @property
    def id(self) -> str:
        """Its URI."""
        return self.body["id"]

    @property
    def context_url(self) -> str:
        """The context its notifications are written in."""
        return self.body["jsonldContext"]

    def expander(self, member: str) -> Callable[[str], str]:
        """The meaning of the names in a member of the body."""
        names = self.names.get(member, {})
        return lambda name: names.get(name, name)

    def status(self, now: str) -> Status:
        """Whether it is told anything at `now` (27-character text). Source: clause 5.2.12."""
        expires = self.body.get("expiresAt")
        if expires is not None and instant_key(expires) <= now:
            return "expired"
        return "active" if self.body.get("isActive", True) else "paused"


def read_subscription(body: Any, ctx: Context, context_url: str, *, now: str, tenant: str = "") -> Definition:
    """A new subscription; `id` and `jsonldContext` (by default `context_url`) are settled. Raises BadRequestData."""
    if not isinstance(body, dict):
        raise BadRequestData("a subscription is one JSON object")
    if "id" not in body:
        raise BadRequestData("id: required")
    said = _said(body)
    inline = None if "jsonldContext" in said or isinstance(ctx.source, str | None) else ctx.source
    said.setdefault("jsonldContext", context_url)
    checked = _Reader(ctx, now, {}).whole(said, said)
    return Definition(said, checked.names, tenant, inline)


def patched(old: Definition, fragment: Any, ctx: Context, *, now: str) -> Definition:
    """The subscription with a fragment laid over it: members are replaced, null removes optional ones (clause 5.5.8).

    A `notification` without `endpoint` is laid over the old one; one with an endpoint replaces it.
    Raises BadRequestData.
    """
    if not isinstance(fragment, dict) or not fragment:
        raise BadRequestData("the body must be one JSON object with at least one member")
    if fragment.get("id", old.id) != old.id:
        raise BadRequestData(f"id: {shown(fragment['id'])} is not the id of the path")
    said = _said(fragment)
    body = dict(old.body)
    for member, value in said.items():
        if value is None or value == NULL:
            if member in (*_MANDATORY, "jsonldContext"):
                raise BadRequestData(f"{member}: it cannot be removed")
            body.pop(member, None)
        elif member == "notification" and isinstance(value, dict):
            body[member] = _laid_over(old.body["notification"], value)
        else:
            body[member] = value
    names = {member: known for member, known in old.names.items() if member not in said}
    fresh = {member: value for member, value in body.items() if member in said}
    reader = _Reader(ctx, now, names, old.names)
    notification = said.get("notification")
    reader.renamed = not isinstance(notification, dict) or any(m in notification for m in ("endpoint", *_NAMED))
    inline = None if "jsonldContext" in said else old.inline_context
    return Definition(body, reader.whole(body, fresh).names, old.tenant_name, inline)


def _said(body: Doc) -> Doc:
    """What the author may say; what only the hub says is left out."""
    said = {member: value for member, value in body.items() if member not in _OUTPUT_ONLY and member != "@context"}
    notification = said.get("notification")
    if isinstance(notification, dict):
        said["notification"] = {m: value for m, value in notification.items() if m not in _NOTIFICATION_OUTPUT}
    return said


def _laid_over(old: Doc, new: Doc) -> Doc:
    laid = {} if "endpoint" in new else dict(old)
    for member, value in new.items():
        if value is None or value == NULL:
            laid.pop(member, None)
        else:
            laid[member] = value
    return laid


class _Reader:
    """Checks one body; `names` gathers what its names stand for."""

    def __init__(
        self,
        ctx: Context,
        now: str,
        names: dict[str, dict[str, str]],
        known: Mapping[str, dict[str, str]] | None = None,
    ) -> None:
        self.ctx, self.now, self.names = ctx, now, names
        self.known = known or {}
        self.member = ""
        self.renamed = True
        """Whether the notification's names are new, and not those it had before."""

    def expand(self, name: str) -> str:
        """The IRI of a name, remembered for the member that is being read."""
        iri = self.names[self.member][name] = self.ctx.attribute(name)
        return iri

    def kept(self, name: str) -> str:
        """The IRI of a name of a part that is laid over: what it stood for before, where it was there before."""
        before = self.known.get(self.member, {}).get(name)
        if before is None or name in self.names[self.member]:
            return self.expand(name)
        self.names[self.member][name] = before
        return before

    def whole(self, body: Doc, fresh: Doc) -> _Reader:
        """Check the members that are new, then what all members are together."""
        for member, value in fresh.items():
            check = _MEMBERS.get(member)
            if check is None:
                raise BadRequestData(f"a subscription has no member {shown(member)}")
            self.member = member
            self.names[member] = {}
            check(self, value)
            if not self.names[member]:
                del self.names[member]
        for member in ("q", "geoQ"):
            if member in body and (member in fresh or {"expandValues", "jsonKeys"} & fresh.keys()):
                self._language(member, body, fresh)
        _check_together(body)
        return self

    def _language(self, member: str, body: Doc, fresh: Doc) -> None:
        """The members whose meaning depends on others."""
        self.member = member
        expand = self.expand if member in fresh else self.kept
        self.names.setdefault(member, {})
        if member == "q":
            query = parse_q(body["q"], expand, expand_values=body.get("expandValues"), json_keys=body.get("jsonKeys"))
            if link_depth(query):
                raise BadRequestData("q: the q of a subscription cannot look into linked entities")
        else:
            geo = body["geoQ"]
            for name in ("georel", "geometry", "geoproperty"):
                if not isinstance(geo.get(name), str | None):
                    raise BadRequestData(f"geoQ: {name} must be a text")
            parse_geo(geo.get("georel"), geo.get("geometry"), geo.get("coordinates"), geo.get("geoproperty"), expand)


# --- each member by itself ----------------------------------------------------------------------------------------


def _text(reader: _Reader, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise BadRequestData(f"{reader.member}: {shown(value)} is not a text")


def _flag(reader: _Reader, value: Any) -> None:
    if not isinstance(value, bool):
        raise BadRequestData(f"{reader.member}: {shown(value)} is neither true nor false")


def _id(_: _Reader, value: Any) -> None:
    if not is_uri(value) or value == NULL:
        raise BadRequestData(f"id: {shown(value)} is not a URI")


def _type(_: _Reader, value: Any) -> None:
    if value != "Subscription":
        raise BadRequestData(f'type: it must be "Subscription", not {shown(value)}')


def _seconds(reader: _Reader, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise BadRequestData(f"{reader.member}: {shown(value)} is not a number of seconds above 0")


def _expiry(reader: _Reader, value: Any) -> None:
    if not isinstance(value, str) or not known_instant(value):
        raise BadRequestData(f"expiresAt: {shown(value)} is not a UTC DateTime")
    if instant_key(value) <= reader.now:
        raise BadRequestData(f"expiresAt: {value} has already passed")


def _texts(reader: _Reader, value: Any) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise BadRequestData(f"{reader.member}: a list of at least one text is needed")
    return value


def _attribute_names(reader: _Reader, value: Any) -> None:
    for name in _texts(reader, value):
        reader.expand(name)


def _names_or_text(reader: _Reader, value: Any) -> None:
    for name in value.split(",") if isinstance(value, str) else _texts(reader, value):
        reader.expand(name)


def _triggers(reader: _Reader, value: Any) -> None:
    for word in _texts(reader, value):
        if word not in TRIGGERS:
            raise BadRequestData(f"notificationTrigger: {shown(word)} is not one of {', '.join(sorted(TRIGGERS))}")


def _datasets(reader: _Reader, value: Any) -> None:
    parse_dataset_ids(_texts(reader, value))


def _language(reader: _Reader, value: Any) -> None:
    _text(reader, value)
    parse_lang(value)


def _scope(reader: _Reader, value: Any) -> None:
    parse_scope_q(value)


def _geo(reader: _Reader, value: Any) -> None:
    if not isinstance(value, dict) or not value:
        raise BadRequestData("geoQ: it must be an object with georel, geometry and coordinates")
    unknown = value.keys() - {"georel", "geometry", "coordinates", "geoproperty"}
    if unknown:
        raise BadRequestData(f"geoQ has no member {sorted(unknown)[0]!r}")


def _version(reader: _Reader, value: Any) -> None:
    _text(reader, value)
    downgrade([], value)


def _context(_: _Reader, value: Any) -> None:
    if not is_uri(value):
        raise BadRequestData(f"jsonldContext: {shown(value)} is not a URI")


def _entities(reader: _Reader, value: Any) -> None:
    if not isinstance(value, list) or not value:
        raise BadRequestData("entities: a list with at least one item is needed")
    for item in value:
        if not isinstance(item, dict):
            raise BadRequestData("entities: every item is an object with a type")
        unknown = item.keys() - {"id", "idPattern", "type"}
        if unknown:
            raise BadRequestData(f"entities: an item has no member {sorted(unknown)[0]!r}")
        ids = item.get("id")
        given = [ids] if isinstance(ids, str) else ids
        if "id" in item and not (isinstance(given, list) and given and all(is_uri(one) for one in given)):
            raise BadRequestData("entities: id is a URI or a list of URIs")
        if "type" not in item:
            raise BadRequestData("entities: every item needs a type")
        parse_types(item["type"], reader.expand, "entities: type")
        if "idPattern" in item:
            if not isinstance(item["idPattern"], str):
                raise BadRequestData("entities: idPattern is a text")
            compile_pattern(item["idPattern"])


def _notification(reader: _Reader, value: Any) -> None:
    if not isinstance(value, dict):
        raise BadRequestData("notification: it must be an object with an endpoint")
    unknown = value.keys() - _NOTIFICATION
    if unknown:
        raise BadRequestData(f"notification has no member {sorted(unknown)[0]!r}")
    if "endpoint" not in value:
        raise BadRequestData("notification: an endpoint is needed")
    check_endpoint(value["endpoint"])
    form = value.get("format", "normalized")
    if form not in ("normalized", "concise", "simplified", "keyValues"):
        raise BadRequestData(f"notification: {shown(form)} is not a format")
    for name in ("sysAttrs", "showChanges"):
        if not isinstance(value.get(name, False), bool):
            raise BadRequestData(f"notification: {name} is true or false")
    if value.get("showChanges") and form in ("simplified", "keyValues"):
        raise BadRequestData("notification: showChanges is not possible in the simplified format")
    level = _join_level(value)
    for name in _NAMED:
        if name in value and not (isinstance(value[name], list) and value[name]):
            raise BadRequestData(f"notification: {name} is a list with at least one name")
    expand = reader.expand if reader.renamed else reader.kept
    parse_projection(value.get("pick"), value.get("omit"), value.get("attributes"), expand, join_level=level)


def _join_level(value: Doc) -> int:
    join, level = value.get("join"), value.get("joinLevel")
    if join not in (None, "flat", "inline", "@none"):
        raise BadRequestData(f"notification: join is flat, inline or @none, not {shown(join)}")
    if join in (None, "@none"):
        if level is not None:
            raise BadRequestData("notification: joinLevel makes sense only with join flat or inline")
        return 0
    if level is None:
        return 1
    if isinstance(level, bool) or not isinstance(level, int) or not 1 <= level <= DEEPEST_JOIN:
        raise BadRequestData(f"notification: joinLevel is a whole number from 1 to {DEEPEST_JOIN}")
    return level


_NOTIFICATION: Final = frozenset(
    {"endpoint", "attributes", "pick", "omit", "format", "join", "joinLevel", "sysAttrs", "showChanges"}
)
_MEMBERS: Final[dict[str, Callable[[_Reader, Any], Any]]] = {
    "id": _id,
    "type": _type,
    "subscriptionName": _text,
    "description": _text,
    "entities": _entities,
    "watchedAttributes": _attribute_names,
    "notificationTrigger": _triggers,
    "timeInterval": _seconds,
    "throttling": _seconds,
    "q": _text,
    "geoQ": _geo,
    "scopeQ": _scope,
    "csf": _text,
    "lang": _language,
    "datasetId": _datasets,
    "isActive": _flag,
    "expiresAt": _expiry,
    "jsonldContext": _context,
    "localOnly": _flag,
    "splitEntities": _flag,
    "expandValues": _names_or_text,
    "jsonKeys": _names_or_text,
    "ngsildConformance": _version,
    "notification": _notification,
}


def _check_together(body: Doc) -> None:
    """Rules about several members. Raises BadRequestData."""
    for member in _MANDATORY:
        if member not in body:
            raise BadRequestData(f"{member}: required")
    if "entities" not in body and "watchedAttributes" not in body and not body.get("localOnly"):
        raise BadRequestData("entities or watchedAttributes (or localOnly) is needed")
    if "timeInterval" in body:
        for member in ("watchedAttributes", "throttling"):
            if member in body:
                raise BadRequestData(f"timeInterval and {member} exclude each other")
        if "entities" not in body:
            raise BadRequestData("timeInterval needs entities")


# --- showing ------------------------------------------------------------------------------------------------------


class Telling(Struct, frozen=True):
    """How telling a subscriber has gone so far (clause 5.2.14.2); moments as text."""

    sent: int = 0
    failed: int = 0
    last_notification: str | None = None
    last_success: str | None = None
    last_failure: str | None = None

    def members(self) -> Doc:
        """The output members of `notification`; none before the first attempt."""
        if not self.sent:
            return {}
        ok = self.last_failure is None or (self.last_success is not None and self.last_success >= self.last_failure)
        said = {
            "status": "ok" if ok else "failed",
            "timesSent": self.sent,
            "timesFailed": self.failed,
            "lastNotification": self.last_notification,
            "lastSuccess": self.last_success,
            "lastFailure": self.last_failure,
        }
        return {member: value for member, value in said.items() if value is not None}


def present_subscription(
    definition: Definition, ctx: Context, telling: Telling, *, now: str, times: tuple[str, str] | None = None
) -> Doc:
    """The subscription as a reader gets it, names in the reader's words (`times`: createdAt, modifiedAt, if asked)."""
    out: Doc = {}
    for member, value in definition.body.items():
        names = definition.names.get(member)
        out[member] = value if not names else _SHOW.get(member, _as_it_is)(value, names, ctx)
        if member == "notification":
            out[member] = {**out[member], **telling.members()}
    out["status"] = definition.status(now)
    if times is not None:
        out["createdAt"], out["modifiedAt"] = times
    return out


_WORD: Final = re.compile(r"(?:https?://|urn:)[^\s=!<>~;|&(),\[\]{}\"]+|[^\W\d_]\w*(?::[^\W\d_]\w*)?")


def _spelled(text: str, names: Mapping[str, str], ctx: Context) -> str:
    """A list of names or types with its names in the reader's words."""

    def word(found: re.Match[str]) -> str:
        iri = names.get(found[0])
        return found[0] if iri is None else ctx.compact(iri)

    return _WORD.sub(word, text)


def _as_it_is(value: Any, names: Mapping[str, str], ctx: Context) -> Any:
    return value


def _list(value: Any, names: Mapping[str, str], ctx: Context) -> Any:
    return _spelled(value, names, ctx) if isinstance(value, str) else [_spelled(one, names, ctx) for one in value]


def _shown_entities(value: Any, names: Mapping[str, str], ctx: Context) -> Any:
    return [{m: _spelled(given, names, ctx) if m == "type" else given for m, given in one.items()} for one in value]


def _shown_geo(value: Any, names: Mapping[str, str], ctx: Context) -> Any:
    return {m: ctx.compact(names[given]) if m == "geoproperty" else given for m, given in value.items()}


def _shown_notification(value: Any, names: Mapping[str, str], ctx: Context) -> Any:
    return {m: _list(given, names, ctx) if m in _NAMED else given for m, given in value.items()}


def _shown_q(value: Any, names: Mapping[str, str], ctx: Context) -> Any:
    if all(ctx.compact(iri) == name for name, iri in names.items()):
        return value
    return render(parse_q(value, lambda name: names.get(name, name)), lambda name: ctx.compact(name.key))


_SHOW: Final[dict[str, Callable[[Any, Mapping[str, str], Context], Any]]] = {
    "entities": _shown_entities,
    "watchedAttributes": _list,
    "q": _shown_q,
    "geoQ": _shown_geo,
    "notification": _shown_notification,
    "expandValues": _list,
    "jsonKeys": _list,
}
