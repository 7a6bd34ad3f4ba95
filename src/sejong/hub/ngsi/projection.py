"""Which parts of an entity an answer shows: ``pick``, ``omit``, the older ``attrs``, and ``datasetId``.

The projection is literal: ``pick=name`` shows nothing but ``name``, not even id and type. Parts of linked
entities are named in braces, ``pick=name,isIn{name,location}``. Only ``attrs`` also chooses entities: those
that have one of them. Source: ETSI GS CIM 009 V1.9.1 clauses 4.21, 5.7.1 and 5.7.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct, field

from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.grammar import is_uri
from sejong.hub.ngsi.names import Cursor, Expand
from sejong.hub.ngsi.sql import Bind, Draft, Fragment, TermNo, exact

SYSTEM_NAMES: Final = frozenset({"id", "type", "scope", "createdAt", "modifiedAt", "deletedAt", "expiresAt"})
"""Members of an entity that are no attributes; they are picked and omitted by these names."""
MAX_NAMES: Final = 200
_HEAD: Final = SYSTEM_NAMES

Listed = str | Iterable[str] | None
"""A parameter of names: a string with ``,`` or ``|`` (URL), or an array of strings (body)."""


class Projection(Struct, frozen=True):
    """What of an entity is shown: only ``keep`` (None: all) but ``drop`` (IRIs and SYSTEM_NAMES).

    ``linked``: the projection of the entity behind a Relationship (by IRI). ``required``: the entity must
    have at least one of these attributes.
    """

    keep: frozenset[str] | None = None
    drop: frozenset[str] = frozenset()
    linked: dict[str, Projection] = field(default_factory=dict)
    required: frozenset[str] = frozenset()

    @property
    def is_whole(self) -> bool:
        """Whether everything is shown."""
        return self.keep is None and not self.drop and not self.linked

    def shows(self, key: str) -> bool:
        """Whether an attribute (IRI) or member of an entity is shown."""
        return key not in self.drop and (self.keep is None or key in self.keep)

    def admits(self, entity: Mapping[str, Any]) -> bool:
        """Whether the entity has an attribute that ``attrs`` demands."""
        return not self.required or not self.required.isdisjoint(entity)

    def of_link(self, key: str) -> Projection:
        """The projection of the entity behind the Relationship."""
        return self.linked.get(key, WHOLE)


WHOLE: Final = Projection()
_Tree = dict[str, "_Tree | None"]
"""Names of one level; None where the name stands alone, else what its braces hold."""


def parse_projection(pick: Listed, omit: Listed, attrs: Listed, expand: Expand, *, join_level: int = 0) -> Projection:
    """The projection of a request. ``join_level``: how deep it joins linked entities (0: not at all).

    Raises BadRequestData: attrs with pick or omit, the same member in pick and omit, empty items, doubled
    separators, unbalanced, doubled or empty braces, other characters, braces without join or deeper than
    joinLevel. TooComplexQuery above 200 names.
    """
    if attrs is not None:
        if pick is not None or omit is not None:
            raise BadRequestData("attrs cannot be combined with pick or omit")
        return _of_attrs(_read(attrs, "attrs", expand, 0))
    picked = None if pick is None else _read(pick, "pick", expand, join_level)
    omitted = {} if omit is None else _read(omit, "omit", expand, join_level)
    if picked:
        _refuse_overlap(picked, omitted)
    return _joined(picked, omitted)


def _of_attrs(tree: _Tree) -> Projection:
    return Projection(keep=_HEAD | tree.keys(), required=frozenset(tree.keys() - SYSTEM_NAMES))


def _joined(picked: _Tree | None, omitted: _Tree) -> Projection:
    nested = {key for tree in (picked or {}, omitted) for key, parts in tree.items() if parts is not None}
    return Projection(
        keep=None if picked is None else frozenset(picked),
        drop=frozenset(key for key, parts in omitted.items() if parts is None),
        linked={key: _joined((picked or {}).get(key), omitted.get(key) or {}) for key in sorted(nested)},
    )


def _refuse_overlap(picked: _Tree, omitted: _Tree) -> None:
    for key in picked.keys() & omitted.keys():
        inner_pick, inner_omit = picked[key], omitted[key]
        if inner_omit is None:
            raise BadRequestData(f"{key} is in pick and in omit")
        if inner_pick is not None:
            _refuse_overlap(inner_pick, inner_omit)


# --- reading ---


def _read(given: Listed, parameter: str, expand: Expand, levels: int) -> _Tree:
    tree: _Tree = {}
    texts = [given] if isinstance(given, str) else list(given or ())
    if not texts:
        raise BadRequestData(f"{parameter}: it must not be empty")
    for text in texts:
        if not isinstance(text, str):
            raise BadRequestData(f"{parameter}: {text!r} is not a name")
        reader = _Reader(Cursor(text, parameter, expand))
        _unite(tree, reader.terms(levels, levels))
        if not reader.at.at_end:
            reader.at.fail("expected , or | or the end")
    return tree


def _unite(tree: _Tree, more: _Tree) -> None:
    for key, parts in more.items():
        known = tree.get(key)
        if known is not None and parts is not None:
            _unite(known, parts)
        else:
            tree[key] = parts if parts is not None else known


class _Reader:
    def __init__(self, at: Cursor) -> None:
        self.at: Cursor = at
        self.count: int = 0

    def terms(self, levels: int, allowed: int) -> _Tree:
        tree: _Tree = {}
        while True:
            _unite(tree, self.term(levels, allowed))
            if not (self.at.take(",") or self.at.take("|")):
                return tree

    def term(self, levels: int, allowed: int) -> _Tree:
        self.count += 1
        if self.count > MAX_NAMES:
            self.at.too_complex(f"more than {MAX_NAMES} names")
        name = self.at.name(SYSTEM_NAMES)
        opened = self.at.pos
        if not self.at.take("{"):
            return {name.key: None}
        if name.key in SYSTEM_NAMES:
            self.at.fail(f"{name.term} is no Relationship", opened)
        if not levels:
            why = f"only {allowed} levels are joined (joinLevel)" if allowed else "linked entities need join"
            self.at.fail(why, opened)
        inner = self.terms(levels - 1, allowed)
        if not self.at.take("}"):
            self.at.fail("expected , or | or }")
        return {name.key: inner}


# --- applying ---


def project(entity: Mapping[str, Any], projection: Projection) -> dict[str, Any]:
    """The shown part of an expanded entity (instances are shared with it). Empty when nothing is left."""
    return {key: value for key, value in entity.items() if projection.shows(key)}


def required_sql(
    projection: Projection, term_no: TermNo, bind: Bind, *, prefix: str = "", with_sure: bool = True
) -> Fragment:
    """The demand of ``attrs`` as an exact condition on column ``q``: the entity has one of the attributes."""
    draft = Draft()
    numbers = [str(number) for iri in sorted(projection.required) if (number := term_no(iri)) is not None]
    if not projection.required:
        return exact("true")
    if not numbers:
        return exact("false")
    return draft.bound(exact(f"({prefix}q ?| {draft.value(numbers)}::text[])"), bind, with_sure=with_sure)


def parse_dataset_ids(given: Listed) -> frozenset[str] | None:
    """The dataset ids a request is limited to (URIs, ``@none`` for default instances), or None for all.

    Raises BadRequestData for an empty list or anything that is no URI.
    """
    if given is None:
        return None
    ids = given.split(",") if isinstance(given, str) else list(given)
    for one in ids:
        if not (one == "@none" or is_uri(one)):
            raise BadRequestData(f"datasetId: {one!r} is neither a URI nor @none")
    if not ids:
        raise BadRequestData("datasetId: it must not be empty")
    return frozenset(ids)


def only_datasets(entity: Mapping[str, Any], wanted: frozenset[str]) -> dict[str, Any]:
    """The entity with only those attribute instances; attributes without one disappear."""
    shown: dict[str, Any] = {}
    for key, value in entity.items():
        if key in SYSTEM_NAMES or not isinstance(value, list):
            shown[key] = value
            continue
        kept = [instance for instance in value if instance.get("datasetId", "@none") in wanted]
        if kept:
            shown[key] = kept
    return shown
