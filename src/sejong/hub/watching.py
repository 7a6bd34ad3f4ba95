"""Who is to be told of a change: every subscription compiled once, found by type, attribute and id.

Most subscriptions care about few types and attributes, so an update looks into a handful of small tables instead of
asking ten thousand subscribers. Measured in `bench/subscriptions.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import structlog

from sejong.hub.ngsi.geo import parse_geo
from sejong.hub.ngsi.grammar import instant_key
from sejong.hub.ngsi.members import SCOPE
from sejong.hub.ngsi.projection import parse_dataset_ids
from sejong.hub.ngsi.q import parse_q
from sejong.hub.ngsi.scope import parse_scope_q
from sejong.hub.ngsi.subscription import DEFAULT_TRIGGERS, Definition
from sejong.hub.ngsi.told import (
    CREATED,
    DELETED,
    UPDATED,
    Changes,
    attributes_gone,
    changes,
    entity_gone,
    entity_now,
    flags,
    touched,
)
from sejong.hub.ngsi.typeselect import parse_types
from sejong.hub.selection import Selection, Test, Who, someone

Doc = dict[str, Any]
Key = tuple[str | None, str | None]
log = structlog.get_logger("hub")

_ENTITY_CREATED: Final = 8
_ENTITY_DELETED: Final = 16
_BITS: Final = {
    "attributeCreated": CREATED,
    "attributeUpdated": UPDATED,
    "attributeDeleted": DELETED,
    "entityUpdated": CREATED | UPDATED | DELETED,
    "entityCreated": _ENTITY_CREATED,
    "entityDeleted": _ENTITY_DELETED,
}


def selection_of(definition: Definition) -> Selection:
    """The entities a subscription means, as a query."""
    body, names = definition.body, definition.expander
    geo = body.get("geoQ", {})
    q = body.get("q")
    return Selection(
        who=_who(definition),
        q=None
        if q is None
        else parse_q(q, names("q"), expand_values=body.get("expandValues"), json_keys=body.get("jsonKeys")),
        geo=parse_geo(
            geo.get("georel"), geo.get("geometry"), geo.get("coordinates"), geo.get("geoproperty"), names("geoQ")
        ),
        scope=parse_scope_q(body["scopeQ"]) if "scopeQ" in body else None,
    )


def _who(definition: Definition) -> tuple[Who, ...]:
    expand = definition.expander("entities")
    found: list[Who] = []
    for item in definition.body.get("entities", ()):
        ids = item.get("id")
        found.append(someone(expand, [ids] if isinstance(ids, str) else ids, item.get("idPattern"), item["type"]))
    return tuple(found)


class Watch:
    """One subscription, ready to be asked about changes."""

    __slots__ = (
        "datasets",
        "definition",
        "expires",
        "keys",
        "mask",
        "no",
        "previous",
        "tenant",
        "tested",
        "watched",
    )

    def __init__(self, no: int, tenant: int, definition: Definition) -> None:
        self.no, self.tenant, self.definition = no, tenant, definition
        body = definition.body
        self.mask = 0
        for trigger in body.get("notificationTrigger", DEFAULT_TRIGGERS):
            self.mask |= _BITS[trigger]
        expand = definition.expander("watchedAttributes")
        names = body.get("watchedAttributes")
        self.watched = None if names is None else frozenset(map(expand, names))
        self.datasets = parse_dataset_ids(body.get("datasetId"))
        expires = body.get("expiresAt")
        self.expires: str | None = None if expires is None else instant_key(expires)
        self.previous: bool = body["notification"].get("showChanges", False)
        self.keys: list[tuple[str | None, Key]] = list(self._places())
        self.tested: Test | Literal[False] | None = False
        """The test of an entity (None: it passes); made when it is first needed, for most never are. False: not yet."""

    @property
    def test(self) -> Test | None:
        """What is left to test of an entity that was found by its type and attribute; None if nothing is."""
        if self.tested is False:
            self.tested = _test_of(selection_of(self.definition))
        return self.tested

    def _places(self) -> Iterator[tuple[str | None, Key]]:
        """Where it is to be found: (id of an entity, or (type, attribute)); None stands for any."""
        attributes = [None] if self.watched is None else sorted(self.watched)
        expand = self.definition.expander("entities")
        for item in self.definition.body.get("entities", ({},)):
            ids = item.get("id")
            if ids is not None:
                for entity_id in [ids] if isinstance(ids, str) else ids:
                    for attribute in attributes:
                        yield entity_id, (None, attribute)
                continue
            types = () if "type" not in item else parse_types(item["type"], expand).any_of
            for kind in [group[0] for group in types] or [None]:
                for attribute in attributes:
                    yield None, (kind, attribute)

    def told(self, before: Doc | None, after: Doc | None, changed: Changes, now: str) -> Doc | None:
        """What the subscriber hears of this change, as an expanded entity; None if nothing."""
        if self.expires is not None and self.expires <= now:
            return None
        watched, datasets = self.watched, self.datasets
        found, hit = 0, watched is None
        for key in changed if watched is None else watched:
            parts = changed.get(key)
            if parts is not None:
                hit = True
                found |= parts[0][0] if datasets is None and len(parts) == 1 else flags(parts, datasets)
        if not hit:
            return None
        found &= self.mask
        if after is None:
            assert before is not None
            return self._departure(before, changed, found, now)
        if before is None and self.mask & _ENTITY_CREATED:
            found |= CREATED
        holds = self.test
        if not found or not (
            holds is None
            or (found & (CREATED | UPDATED) and holds(after))
            or (found & DELETED and before is not None and holds(before))
        ):
            return None
        deletions = bool(self.mask & DELETED)
        if not (deletions or self.previous):
            return after
        return entity_now(after, changed, now, with_deleted=deletions, with_previous=self.previous)

    def _departure(self, before: Doc, changed: Changes, found: int, now: str) -> Doc | None:
        if self.test is not None and not self.test(before):
            return None
        if self.mask & _ENTITY_DELETED:
            return entity_gone(before, now, with_previous=self.previous)
        if found & DELETED:
            watched = self.watched
            mine = changed if watched is None else {key: parts for key, parts in changed.items() if key in watched}
            return attributes_gone(before, mine, now, with_previous=self.previous)
        return None


def _test_of(selection: Selection) -> Test | None:
    """What is left to test of an entity that was found by its type and attribute."""
    plain = all(
        who.ids is None and who.pattern is None and (who.types is None or all(len(g) == 1 for g in who.types.any_of))
        for who in selection.who
    )
    rest = Selection(who=() if plain else selection.who, q=selection.q, geo=selection.geo, scope=selection.scope)
    if not rest.who and rest.q is None and rest.geo is None and rest.scope is None:
        return None
    return rest.test()


class _Tenant:
    """The watches of one tenant."""

    def __init__(self) -> None:
        self.by_id: dict[Key, dict[int, Watch]] = {}
        self.by_type: dict[Key, dict[int, Watch]] = {}
        self.count = 0

    def put(self, watch: Watch) -> None:
        self.count += 1
        for entity_id, key in watch.keys:
            table, place = (self.by_type, key) if entity_id is None else (self.by_id, (entity_id, key[1]))
            table.setdefault(place, {})[watch.no] = watch

    def drop(self, watch: Watch) -> None:
        self.count -= 1
        for entity_id, key in watch.keys:
            table, place = (self.by_type, key) if entity_id is None else (self.by_id, (entity_id, key[1]))
            _discard(table, place, watch.no)

    def candidates(self, entity_id: str, types: list[str], keys: list[str]) -> dict[int, Watch]:
        """Watches that may care."""
        found: list[dict[int, Watch]] = []
        by_id, by_type = self.by_id, self.by_type
        for attribute in (*keys, None):
            found.extend([hit for kind in types if (hit := by_type.get((kind, attribute))) is not None])
            if (hit := by_type.get((None, attribute))) is not None:
                found.append(hit)
            if (hit := by_id.get((entity_id, attribute))) is not None:
                found.append(hit)
        if len(found) == 1:
            return found[0]
        return {no: watch for part in found for no, watch in part.items()}


def _discard(table: dict[Any, dict[int, Watch]], key: Any, no: int) -> None:
    part = table.get(key)
    if part is not None:
        part.pop(no, None)
        if not part:
            del table[key]


class WatchIndex:
    """All subscriptions of the record that are active, found by what they watch."""

    def __init__(self, *, on_fault: Callable[[int, Exception], None] | None = None) -> None:
        self.watches: dict[int, Watch] = {}
        """Every subscription by number, also the paused and the periodic ones, which no change finds."""
        self._tenants: dict[int, _Tenant] = {}
        self._found: set[int] = set()
        self._on_fault = on_fault or _say

    def put(self, watch: Watch) -> None:
        """Add a subscription, or replace what is known of it."""
        self.drop(watch.no)
        self.watches[watch.no] = watch
        body = watch.definition.body
        if body.get("isActive", True) and "timeInterval" not in body:
            self._found.add(watch.no)
            self._tenants.setdefault(watch.tenant, _Tenant()).put(watch)

    def drop(self, no: int) -> None:
        """Forget a subscription."""
        watch = self.watches.pop(no, None)
        if watch is not None and no in self._found:
            self._found.discard(no)
            self._tenants[watch.tenant].drop(watch)

    def watches_over(self, tenant: int) -> bool:
        """Whether any change in a tenant can be of interest."""
        known = self._tenants.get(tenant)
        return known is not None and known.count > 0

    def match(self, tenant: int, before: Doc | None, after: Doc | None, now: str) -> list[tuple[Watch, Doc]]:
        """Who is to be told of one change, and what. A subscription that cannot be asked is passed over and said."""
        known = self._tenants.get(tenant)
        state = after or before
        if known is None or state is None:
            return []
        keys = touched(before, after)
        if state.get("scope") is not None or (before is not None and "scope" in before):
            keys.append(SCOPE)
        watches = known.candidates(state["id"], state["type"], keys)
        if not watches:
            return []
        changed = changes(before, after, keys)
        if not changed and before is not None and after is not None:
            return []
        found: list[tuple[Watch, Doc]] = []
        for no, watch in watches.items():
            try:
                told = watch.told(before, after, changed, now)
            except Exception as fault:  # noqa: BLE001 - one subscription's fault is nobody else's, least of all the writer's
                self._on_fault(no, fault)
                continue
            if told is not None:
                found.append((watch, told))
        return found


def _say(no: int, fault: Exception) -> None:
    log.error("subscription_cannot_be_asked", subscription=no, error=repr(fault))
