"""What a write does to an entity: every provision operation as a pure function from the old entity to the new one.

All functions take expanded entities (see `entity.py`), never change them, and return a `Change`: the new entity,
exactly the instances history has to keep, and what an UpdateResult answers. `now` is the moment of the write as UTC
ISO text with microseconds; everything one write touches carries it. Expired things count as absent.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.5.8 (partial update), 5.5.12 (merge), 5.6.1-5.6.10, 5.6.17-5.6.21.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from sejong.hub.ngsi.errors import BadRequestData, ResourceNotFound
from sejong.hub.ngsi.grammar import instant_key
from sejong.hub.ngsi.members import ENTITY_HEAD, GEO_ONLY, NULL, SCOPE, Doc, is_null
from sejong.hub.ngsi.merging import completed, merged, partly_updated, stored, suited, tombstone

CREATED: Final = 1
UPDATED: Final = 2
DELETED: Final = 3

Op = tuple[str, str | None, Doc, int]
"""One line of history: attribute IRI, datasetId (None: default), the instance to keep, CREATED, UPDATED or DELETED."""


class Change(Struct, frozen=True):
    """The outcome of one write.

    `entity` is the new state, None when the entity is gone, and the very same object as before when nothing changed.
    `ops` holds the instances for history; a deletion is a tombstone (the Null as value, `deletedAt`). A changed scope
    is told as an instance of the attribute `https://uri.etsi.org/ngsi-ld/scope`. `updated` and `not_updated` name
    attributes by IRI, as UpdateResult does.
    """

    entity: Doc | None
    ops: list[Op] = []
    not_updated: list[tuple[str, str]] = []
    updated: list[str] = []


def create(new: Doc, now: str) -> Change:
    """A thing enters the record. `new` needs `id` and `type` (BadRequestData); its times are set to `now`."""
    if "id" not in new or "type" not in new:
        raise BadRequestData(detail=f"{'type' if 'id' in new else 'id'}: required to create an entity")
    entity: Doc = {"id": new["id"], "type": new["type"]}
    if "scope" in new:
        entity["scope"] = new["scope"]
    entity["createdAt"] = entity["modifiedAt"] = now
    if "expiresAt" in new:
        entity["expiresAt"] = new["expiresAt"]
    ops: list[Op] = []
    updated: list[str] = []
    for key, instances in new.items():
        if key in ENTITY_HEAD:
            continue
        kept = [stored(instance, now) for instance in instances if not is_null(instance)]
        if kept:
            _check_place(key, kept)
            entity[key] = kept
            updated.append(key)
            ops.extend([(key, instance.get("datasetId"), instance, CREATED) for instance in kept])
    if "scope" in entity:
        ops.append((SCOPE, None, _scope_instance(entity["scope"], now, now), CREATED))
    return Change(entity, ops, [], updated)


def replace_entity(old: Doc, new: Doc, now: str) -> Change:
    """The sender states the whole thing anew: what is not in `new` vanishes; createdAt stays, types too if unsaid.

    Raises ResourceNotFound if the old entity has expired.
    """
    return _replaced(_present(old, now), new, now)


def _replaced(old: Doc, new: Doc, now: str) -> Change:
    # The path of every batch upsert: written out instead of going instance by instance through a draft.
    entity: Doc = {"id": old["id"], "type": new.get("type", old["type"])}
    scope, before = new.get("scope", NULL), old.get("scope")
    if scope != NULL:
        entity["scope"] = scope
    entity["createdAt"], entity["modifiedAt"] = old["createdAt"], now
    if "expiresAt" in new:
        entity["expiresAt"] = new["expiresAt"]
    ops: list[Op] = []
    gone: list[tuple[str, Doc]] = []
    updated: dict[str, None] = {}
    for key, instances in new.items():
        if key in ENTITY_HEAD:
            continue
        olds = old.get(key, ())
        if key in GEO_ONLY:
            _check_place(key, instances)
        entity[key] = kept = []
        updated[key] = None
        for instance in instances:
            dataset, current = instance.get("datasetId"), None
            for one in olds:
                if one.get("datasetId") == dataset:
                    current = one
                    break
            done = stored(instance, now, current)
            kept.append(done)
            ops.append((key, dataset, done, CREATED if current is None else UPDATED))
        if len(olds) > 1 or (olds and ops[-1][3] == CREATED):
            said = {instance.get("datasetId") for instance in instances}
            gone.extend((key, one) for one in olds if one.get("datasetId") not in said)
    gone.extend((key, one) for key, instances in old.items() if key not in ENTITY_HEAD and key not in new
                for one in instances)  # fmt: skip
    for key, one in gone:
        ops.append(_burial(key, one, now))
        updated[key] = None
    if scope != (NULL if before is None else before):
        updated[SCOPE] = None
        if scope == NULL:
            ops.append(_burial(SCOPE, _scope_instance(old["scope"], None, now), now))
        else:
            instance = _scope_instance(scope, now if before is None else None, now)
            ops.append((SCOPE, None, instance, CREATED if before is None else UPDATED))
    return Change(entity, ops, [], list(updated))


def append_attrs(old: Doc, fragment: Doc, now: str, *, no_overwrite: bool = False) -> Change:
    """Attributes are added; existing instances are overwritten, or kept and reported with `no_overwrite`.

    Types are united; the scope is overwritten, or united with `no_overwrite`.
    """
    draft = _Draft.of(old, fragment, now)
    for attribute, instance in _attributes(fragment):
        current = draft.find(attribute, instance.get("datasetId"))
        if is_null(instance):
            draft.remove(attribute, current, instance.get("datasetId"))
        elif current is not None and no_overwrite:
            draft.refuse(attribute, "it exists already and noOverwrite was asked for")
        else:
            draft.put(attribute, stored(instance, now, current))
    if "scope" in fragment:
        scope = fragment["scope"]
        if no_overwrite and scope != NULL:
            scope = list(dict.fromkeys([*draft.entity.get("scope", ()), *scope]))
        draft.set_scope(scope)
    return draft.done()


def update_attrs(old: Doc, fragment: Doc, now: str) -> Change:
    """Attributes are stated anew, each instance as a whole; absent ones are added, Null removes an instance.

    The scope changes only if the entity has one (clause 5.6.2).
    """
    draft = _Draft.of(old, fragment, now)
    for attribute, instance in _attributes(fragment):
        current = draft.find(attribute, instance.get("datasetId"))
        if is_null(instance):
            draft.remove(attribute, current, instance.get("datasetId"))
        else:
            draft.put(attribute, stored(instance, now, current))
    if "scope" in fragment:
        if "scope" in draft.entity:
            draft.set_scope(fragment["scope"])
        else:
            draft.refuse(SCOPE, "the entity has no scope")
    return draft.done()


def merge(
    old: Doc,
    fragment: Doc,
    now: str,
    *,
    simplified: bool = False,
    lang: str | None = None,
    observed_at: str | None = None,
) -> Change:
    """The fragment is laid over the entity, member by member, into sub-attributes and compound values; Null removes.

    `simplified`: bare values take the kind of what is stored. `lang`: a text given for a LanguageProperty changes only
    that language. `observed_at`: the moment for attributes that had one and whose fragment brings none.
    Raises BadRequestData when an attribute would change its kind.
    """
    draft = _Draft.of(old, fragment, now)
    for attribute, instance in _attributes(fragment):
        current = draft.find(attribute, instance.get("datasetId"))
        if is_null(instance):
            if current is not None:
                draft.remove(attribute, current, None)
        elif current is None:
            new = stored(completed(instance, attribute), now)
            if new.get("languageMap") != {}:
                draft.put(attribute, new)
        else:
            patch = suited(instance, current, simplified=simplified, lang=lang)
            result = merged(current, patch, now, observed_at, attribute)
            if result is None:
                draft.remove(attribute, current, None)
            else:
                draft.put(attribute, result)
    if "scope" in fragment:
        draft.set_scope(fragment["scope"])
    return draft.done()


def partial_update_attr(old: Doc, attribute: str, instances: list[Doc], now: str) -> Change:
    """Members of existing instances are overwritten; the others stay. A Null value removes the instance.

    Raises ResourceNotFound where there is no such instance, BadRequestData when the kind would change.
    """
    draft = _Draft.of(old, {}, now)
    for patch in instances:
        current = draft.required(attribute, patch.get("datasetId"))
        if is_null(patch):
            draft.remove(attribute, current, None)
        else:
            draft.put(attribute, partly_updated(current, patch, now, attribute))
    return draft.done()


def replace_attr(old: Doc, attribute: str, instances: list[Doc], now: str) -> Change:
    """Existing instances are stated anew, keeping createdAt. Raises ResourceNotFound where there is none."""
    draft = _Draft.of(old, {}, now)
    for instance in instances:
        current = draft.required(attribute, instance.get("datasetId"))
        draft.put(attribute, stored(instance, now, current))
    return draft.done()


def delete_attr(
    old: Doc, attribute: str, now: str, *, dataset_id: str | None = None, delete_all: bool = False
) -> Change:
    """One instance of an attribute goes (the default one unless `dataset_id` names another), or all of them.

    `attribute` may be the IRI of scope. Raises ResourceNotFound when nothing matches.
    """
    draft = _Draft.of(old, {}, now)
    if attribute == SCOPE:
        if "scope" not in draft.entity:
            raise ResourceNotFound(detail=f"{old['id']} has no scope")
        draft.set_scope(NULL)
        return draft.done()
    if delete_all:
        gone = list(draft.entity.get(attribute, ()))
        if not gone:
            raise ResourceNotFound(detail=f"{old['id']} has no attribute {attribute}")
    else:
        gone = [draft.required(attribute, None if dataset_id == "@none" else dataset_id)]
    for instance in gone:
        draft.remove(attribute, instance, None)
    return draft.done()


def delete_entity(old: Doc, now: str) -> Change:
    """A thing leaves the record: its history ends with a tombstone for every instance (and for its scope)."""
    old = _present(old, now)
    ops = [_burial(attribute, instance, now) for attribute, instance in _attributes(old)]
    if "scope" in old:
        ops.append(_burial(SCOPE, _scope_instance(old["scope"], None, now), now))
    return Change(None, ops, [], list(_names(old)))


def purge_attrs(
    old: Doc, now: str, *, keep: frozenset[str] | None = None, drop: frozenset[str] | None = None
) -> Change:
    """Attributes go: all but those in `keep`, or those in `drop` (IRIs; `scope` by name or IRI)."""
    draft = _Draft.of(old, {}, now)

    def goes(*names: str) -> bool:
        if keep is not None and keep.isdisjoint(names):
            return True
        return drop is not None and not drop.isdisjoint(names)

    for attribute in [name for name in _names(draft.entity) if goes(name)]:
        for instance in list(draft.entity[attribute]):
            draft.remove(attribute, instance, None)
    if "scope" in draft.entity and goes("scope", SCOPE):
        draft.set_scope(NULL)
    return draft.done()


def upsert_replace(old: Doc | None, new: Doc, now: str) -> Change:
    """Batch upsert in its default manner: create what is unknown, replace what exists."""
    current = None if old is None else live(old, now)
    return create(new, now) if current is None else _replaced(current, new, now)


def upsert_update(old: Doc | None, new: Doc, now: str, *, no_overwrite: bool = False) -> Change:
    """Batch upsert with `options=update`: create what is unknown, append to what exists."""
    current = None if old is None else live(old, now)
    return create(new, now) if current is None else append_attrs(current, new, now, no_overwrite=no_overwrite)


# --- what time has taken ---------------------------------------------------------------------------------------------


def live(entity: Doc, now: str) -> Doc | None:
    """The entity as it stands at `now`: without expired attributes and sub-attributes; None if it expired itself.

    The same object if nothing has expired.
    """
    if not _can_expire(entity):
        return entity
    return None if _expired(entity, now) else _without_expired(entity, now)


def earliest_expiry(entity: Doc) -> str | None:
    """The first moment (27-character text) at which something in the entity expires, or None: `live` is idle before."""
    moments = [instant_key(entity["expiresAt"])] if "expiresAt" in entity else []
    for key, parts in entity.items():
        if ":" in key:
            moments.extend(moment for part in parts if (moment := earliest_expiry(part)) is not None)
    return min(moments, default=None)


def _can_expire(thing: Doc) -> bool:
    """False if nothing in it expires: the quick answer for nearly every entity (a value may look like an expiry)."""
    if "expiresAt" in thing:
        return True
    for parts in thing.values():
        if parts.__class__ is list:
            for part in parts:
                if part.__class__ is dict and _can_expire(part):
                    return True
    return False


def _expired(thing: Doc, now: str) -> bool:
    return "expiresAt" in thing and instant_key(thing["expiresAt"]) < now


def _without_expired(thing: Doc, now: str) -> Doc:
    changed: Doc | None = None
    for key, parts in thing.items():
        if ":" not in key:
            continue
        left = [_without_expired(part, now) for part in parts if not _expired(part, now)]
        if len(left) != len(parts) or any(map(_is_not, left, parts)):
            changed = dict(thing) if changed is None else changed
            if left:
                changed[key] = left
            else:
                del changed[key]
    return thing if changed is None else changed


def _is_not(one: object, other: object) -> bool:
    return one is not other


def _present(old: Doc, now: str) -> Doc:
    alive = live(old, now)
    if alive is None:
        raise ResourceNotFound(detail=f"{old['id']} has expired")
    return alive


# --- the entity being changed ----------------------------------------------------------------------------------------


class _Draft:
    """A copy of the entity on which one write is carried out, with the traces it leaves."""

    def __init__(self, entity: Doc, now: str) -> None:
        self.entity = entity
        self.before = entity
        self.now = now
        self.ops: list[Op] = []
        self.updated: dict[str, None] = {}
        self.refused: list[tuple[str, str]] = []
        self.touched = False

    @classmethod
    def of(cls, old: Doc, fragment: Doc, now: str) -> _Draft:
        """A draft of what is still alive of `old`, with the types and the expiry a fragment brings."""
        alive = _present(old, now)
        draft = cls(dict(alive), now)
        draft.before = alive
        added = [kind for kind in fragment.get("type", ()) if kind not in alive["type"]]
        if added:
            draft.entity["type"] = [*alive["type"], *added]
            draft.touched = True
        expiry = fragment.get("expiresAt")
        if expiry is not None and expiry != alive.get("expiresAt", NULL):
            draft.touched = True
            if expiry == NULL:
                del draft.entity["expiresAt"]
            else:
                draft.entity["expiresAt"] = expiry
        return draft

    def find(self, attribute: str, dataset: str | None) -> Doc | None:
        return _find(self.entity, attribute, dataset)

    def required(self, attribute: str, dataset: str | None) -> Doc:
        current = self.find(attribute, dataset)
        if current is None:
            which = "" if dataset is None else f" with datasetId {dataset}"
            raise ResourceNotFound(detail=f"{self.entity['id']} has no attribute {attribute}{which}")
        return current

    def put(self, attribute: str, instance: Doc) -> None:
        """Set one instance in the place its datasetId names."""
        dataset = instance.get("datasetId")
        if attribute in GEO_ONLY:
            _check_place(attribute, (instance,))
        existed = attribute in self.before and _find(self.before, attribute, dataset) is not None
        self.entity[attribute] = _placed(self.entity.get(attribute, []), instance, dataset)
        self.ops.append((attribute, dataset, instance, UPDATED if existed else CREATED))
        self.updated[attribute] = None
        self.touched = True

    def remove(self, attribute: str, current: Doc | None, dataset: str | None) -> None:
        """Take one instance away, leaving a tombstone in history; report it if there was none."""
        if current is None:
            which = "" if dataset is None else f" with datasetId {dataset}"
            self.refuse(attribute, f"there is no such attribute{which} to remove")
            return
        left = [other for other in self.entity[attribute] if other is not current]
        if left:
            self.entity[attribute] = left
        else:
            del self.entity[attribute]
        self.bury(attribute, current)

    def bury(self, attribute: str, instance: Doc) -> None:
        self.ops.append(_burial(attribute, instance, self.now))
        self.updated[attribute] = None
        self.touched = True

    def refuse(self, attribute: str, reason: str) -> None:
        self.refused.append((attribute, reason))

    def set_scope(self, scope: Any) -> None:
        before = self.before.get("scope")
        if scope == NULL:
            self.entity.pop("scope", None)
            if before is not None:
                self.bury(SCOPE, _scope_instance(before, None, self.now))
            return
        self.entity["scope"] = scope
        if scope == before:
            return
        self.updated[SCOPE] = None
        self.touched = True
        instance = _scope_instance(scope, self.now if before is None else None, self.now)
        self.ops.append((SCOPE, None, instance, CREATED if before is None else UPDATED))

    def done(self) -> Change:
        if not self.touched:
            return Change(self.before, self.ops, self.refused, list(self.updated))
        self.entity["modifiedAt"] = self.now
        return Change(_in_order(self.entity), self.ops, self.refused, list(self.updated))


def _in_order(entity: Doc) -> Doc:
    """Head members first, so that a stored document reads as people expect."""
    head = {key: entity[key] for key in _HEAD_ORDER if key in entity}
    return {**head, **entity}


_HEAD_ORDER: Final = ("id", "type", "scope", "createdAt", "modifiedAt", "expiresAt")


def _attributes(entity: Doc) -> Iterable[tuple[str, Doc]]:
    for key, instances in entity.items():
        if key not in ENTITY_HEAD:
            for instance in instances:
                yield key, instance


def _names(entity: Doc) -> Iterable[str]:
    return (key for key in entity if key not in ENTITY_HEAD)


def _find(entity: Doc, attribute: str, dataset: str | None) -> Doc | None:
    for instance in entity.get(attribute, ()):
        if instance.get("datasetId") == dataset:
            return instance
    return None


def _placed(instances: list[Doc], new: Doc, dataset: str | None) -> list[Doc]:
    """The instances with `new` among them: in the place of its datasetId, else last (first if it is the default)."""
    for position, other in enumerate(instances):
        if other.get("datasetId") == dataset:
            return [*instances[:position], new, *instances[position + 1 :]]
    return [new, *instances] if dataset is None else [*instances, new]


def _check_place(attribute: str, instances: Iterable[Doc]) -> None:
    if attribute in GEO_ONLY and any(instance["type"] != "GeoProperty" for instance in instances):
        raise BadRequestData(detail=f"{attribute}: must be a GeoProperty")


def _burial(attribute: str, instance: Doc, now: str) -> Op:
    return attribute, instance.get("datasetId"), tombstone(instance, now), DELETED


def _scope_instance(scope: list[str], created: str | None, now: str) -> Doc:
    times = {"modifiedAt": now} if created is None else {"createdAt": created, "modifiedAt": now}
    return {"type": "Property", "value": scope, **times}
