"""Answering together: entities of this hub and of others as one. A source that fails never fails the answer.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.7.1, 5.7.2 (distributed retrieval and query), 4.5.5.3 (merging).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from sejong.hub.calls import SourceFault
from sejong.hub.federation.journey import Journey
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.errors import BadRequestData, ResourceNotFound
from sejong.hub.ngsi.gathering import Told, read_told, unite
from sejong.hub.ngsi.members import ENTITY_HEAD, Doc
from sejong.hub.ngsi.q import Query, link_depth, render, terms
from sejong.hub.ngsi.qtree import Name, OneOf, Range, Value
from sejong.hub.ngsi.scope import render_scope_q
from sejong.hub.ngsi.sourcing import ANYTHING, Names, Part, Source, Wanted
from sejong.hub.registry import Match
from sejong.hub.selection import Selection, Who

PAGE = 1000
"""Entities asked of a source at once at most: the largest page most hubs give. Chosen."""
MOST_FROM_ONE = 10_000
"""Entities taken from one source for one answer at most. Chosen."""
IDS_AT_ONCE = 80
"""Ids in the address of one call at most, so that it stays below what servers accept. Chosen."""
_QUERY = ("queryEntity", "queryBatch")
_RETRIEVE = ("retrieveEntity", *_QUERY)


class Asked(Struct, frozen=True, kw_only=True):
    """A query and what of its entities will be looked at (`names`: attributes, None: all)."""

    selection: Selection
    names: Names | None
    limit: int
    offset: int
    count: bool = False
    split: bool = False
    """Whether parts of one entity may lie in several hubs, so that only the whole of it can be tested."""
    csf: Query | None = None


class Gathered(Struct):
    """A page of united entities (one more than wanted if there are more), and how many there are if asked."""

    entities: list[Doc]
    total: int | None


class _Answered(Struct):
    """What one source knows; `complete`: it has no more."""

    entities: dict[str, Doc]
    complete: bool


# --- one entity -------------------------------------------------------------------------------------------------------


async def retrieve(journey: Journey, entity_id: str, types: Names | None, names: Names | None) -> Doc:
    """The entity as this hub and all sources know it. Raises ResourceNotFound when none does."""
    who = (Wanted(ids=frozenset({entity_id}), types=types),)
    matches = journey.sources(who, names, _RETRIEVE)

    async def ask(match: Match) -> Doc | None:
        return await _one(journey, match, entity_id)

    local, told = await asyncio.gather(_local(journey, entity_id), journey.ask_all(matches, ask))
    parts = [Told(local)] if local is not None else []
    parts += [Told(entity, source.mode == "auxiliary") for source, entity in told if entity is not None]
    if not parts:
        raise ResourceNotFound(f"no entity {entity_id}")
    return unite(parts)


async def _local(journey: Journey, entity_id: str) -> Doc | None:
    try:
        return await journey.hub.retrieve(journey.tenant, entity_id)
    except ResourceNotFound:
        return None


async def _one(journey: Journey, match: Match, entity_id: str) -> Doc | None:
    source, part = match
    ctx = await journey.naming(source)
    if "retrieveEntity" not in source.operations:
        found = await _page(journey, source, ctx, parameters(part.who[0], part.names, ctx), 1, 0)
        return found.get(entity_id)
    params = {"options": "sysAttrs", **_attrs(part.names, ctx)}
    reply = await journey.call(source, "GET", f"/entities/{quote(entity_id, safe='')}", params)
    if reply.status == 404:
        return None
    entity = _read(journey, source, reply.body, ctx)
    if entity is not None and entity["id"] != entity_id:
        raise SourceFault(source, "invalid", "it answered with another entity")
    return entity


def _read(journey: Journey, source: Source, body: Any, ctx: Context) -> Doc | None:
    """An entity as a source tells it, without what it never registered to know; None when nothing is left."""
    try:
        entity = read_told(body, ctx, journey.hub.now())
    except BadRequestData as error:
        raise SourceFault(source, "invalid", f"what it answered is no entity: {error.detail}") from error
    if entity is None:
        return None
    part = source.part((Wanted(frozenset({entity["id"]}), None, frozenset(entity["type"])),), None)
    if part is None:
        return None
    if part.names is None:
        return entity
    kept = {key: value for key, value in entity.items() if key in ENTITY_HEAD or key in part.names}
    return kept if kept.keys() - ENTITY_HEAD else None


# --- many entities ----------------------------------------------------------------------------------------------------


async def query(journey: Journey, asked: Asked) -> Gathered | None:
    """A page over the entities of this hub and of all sources; None when no source is concerned.

    Ours come first in the order of their creation, then those only others have, source by source.
    """
    who = wanted_of_selection(asked.selection)
    matches = journey.sources(who, asked.names, _QUERY, asked.csf)
    if not matches:
        return None
    push = None if asked.split else filters_of(asked.selection)
    everything = asked.split or asked.count or push is None
    need = MOST_FROM_ONE if everything else min(MOST_FROM_ONE, asked.offset + asked.limit + 1)

    async def ask(match: Match) -> _Answered:
        return await _query_one(journey, match, push or {}, need)

    if asked.split or push is None:
        return await _split(journey, asked, await journey.ask_all(matches, ask), matches)
    local, told = await asyncio.gather(
        journey.hub.query(journey.tenant, asked.selection, asked.limit + 1, asked.offset),
        journey.ask_all(matches, ask),
    )
    return await _paged(journey, asked, local[0], told, matches)


async def candidates(journey: Journey, asked: Asked) -> dict[str, list[str]]:
    """Every entity a query may mean and who knows of it: `@none` for this hub, else ids of registrations.

    This is what an entity map holds (clause 5.14); at most MOST_FROM_ONE entities of each source.
    """
    matches = journey.sources(wanted_of_selection(asked.selection), asked.names, _QUERY, asked.csf)
    push = None if asked.split else filters_of(asked.selection)

    async def ask(match: Match) -> _Answered:
        return await _query_one(journey, match, push or {}, MOST_FROM_ONE)

    wide = asked.selection if push is not None else Selection(who=asked.selection.who)
    ids, told = await asyncio.gather(journey.hub.ids_of(journey.tenant, wide), journey.ask_all(matches, ask))
    found = {one: ["@none"] for part in ids for one in part}
    for source, answered in told:
        for one in answered.entities:
            found.setdefault(one, []).append(source.id)
    return found


async def united(journey: Journey, ids: Sequence[str], asked: Asked) -> list[Doc]:
    """These entities as all hubs know them, in this order, those left out that a query no longer means."""
    who = tuple(Wanted(frozenset(ids), one.pattern, one.types) for one in wanted_of_selection(asked.selection))
    matches = journey.sources(who, asked.names, _QUERY, asked.csf)

    async def ask(match: Match) -> _Answered:
        return await _query_one(journey, match, {}, MOST_FROM_ONE)

    ours, told = await asyncio.gather(journey.hub.found(journey.tenant, ids), journey.ask_all(matches, ask))
    test = asked.selection.test()
    whole = [unite(parts) for one in ids if (parts := _parts(ours.get(one), one, told))]
    return [entity for entity in whole if test(entity)]


def wanted_of_selection(selection: Selection) -> tuple[Wanted, ...]:
    """The entities a query means as far as ids and types say, in the words of registrations."""
    return tuple(map(_wanted, selection.who)) or ANYTHING


def _wanted(who: Who) -> Wanted:
    types = None if who.types is None or who.types.every_type else who.types.types
    return Wanted(None if who.ids is None else frozenset(who.ids), who.pattern, types)


def filters_of(selection: Selection) -> dict[str, Any] | None:
    """The filters of a query as a source can apply them by itself; None when it could misread them."""
    found: dict[str, Any] = {}
    if selection.q is not None:
        words = any(value.word is not None for term in terms(selection.q.root) for value in _values(term.operand))
        if words or selection.q.json_keys or link_depth(selection.q):
            return None
        found["q"] = selection.q
    if selection.geo is not None:
        geo = selection.geo
        relation: str = geo.georel
        if geo.max_distance is not None:
            relation += f";maxDistance=={geo.max_distance:g}"
        elif geo.min_distance is not None:
            relation += f";minDistance=={geo.min_distance:g}"
        found["georel"], found["geometry"] = relation, geo.geometry["type"]
        found["coordinates"] = msgspec.json.encode(geo.geometry["coordinates"]).decode()
        found["geoproperty"] = geo.geoproperty
    if selection.scope is not None:
        found["scopeQ"] = render_scope_q(selection.scope)
    return found


def _values(operand: Any) -> Sequence[Value]:
    if isinstance(operand, Value):
        return (operand,)
    if isinstance(operand, Range):
        return (operand.low, operand.high)
    return operand.values if isinstance(operand, OneOf) else ()


async def _query_one(journey: Journey, match: Match, push: Mapping[str, Any], need: int) -> _Answered:
    """What a source has, up to `need` entities."""
    source, part = match
    ctx = await journey.naming(source)
    entities: dict[str, Doc] = {}
    complete = True
    for wanted in joined(part.who):
        params = parameters(wanted, part.names, ctx) | spelled(push, ctx)
        offset = 0
        while len(entities) < need:
            size = min(PAGE, need - len(entities))
            found = await _page(journey, source, ctx, params, size, offset)
            entities.update((key, entity) for key, entity in found.items() if key not in entities)
            offset += size
            if len(found) < size:
                break
        else:
            complete = False
    return _Answered(entities, complete)


def joined(who: Sequence[Wanted]) -> list[Wanted]:
    """The same entities in fewer descriptions: types asked for alike are asked for together, many ids in parts."""
    by_rest: dict[tuple[Names | None, str | None], set[str] | None] = {}
    for wanted in who:
        key = (wanted.ids, wanted.pattern)
        known = by_rest.setdefault(key, set())
        by_rest[key] = None if wanted.types is None or known is None else known | wanted.types
    found: list[Wanted] = []
    for (ids, pattern), types in by_rest.items():
        kinds = None if types is None else frozenset(types)
        if ids is None:
            found.append(Wanted(None, pattern, kinds))
            continue
        listed = sorted(ids)
        parts = (frozenset(listed[n : n + IDS_AT_ONCE]) for n in range(0, len(listed), IDS_AT_ONCE))
        found += [Wanted(some, pattern, kinds) for some in parts]
    return found


def parameters(wanted: Wanted, names: Names | None, ctx: Context) -> dict[str, str]:
    """Some entities and attributes as the parameters of a query."""
    params = {"options": "sysAttrs"}
    if wanted.ids is not None:
        params["id"] = ",".join(sorted(wanted.ids))
    if wanted.pattern is not None:
        params["idPattern"] = wanted.pattern
    if wanted.types is not None:
        params["type"] = ",".join(sorted(ctx.compact(one) for one in wanted.types))
    return params | _attrs(names, ctx)


def _attrs(names: Names | None, ctx: Context) -> dict[str, str]:
    return {} if names is None else {"attrs": ",".join(sorted(ctx.compact(name) for name in names))}


def spelled(push: Mapping[str, Any], ctx: Context) -> dict[str, str]:
    """Filters as the parameters of a query, in the names of a source."""

    def spell(name: Name) -> str:
        return ctx.compact(name.key)

    out = {name: value for name, value in push.items() if isinstance(value, str)}
    if "q" in push:
        out["q"] = render(push["q"], spell)
    if "geoproperty" in push:
        out["geoproperty"] = ctx.compact(push["geoproperty"])
    return out


async def _page(
    journey: Journey, source: Source, ctx: Context, params: Mapping[str, str], limit: int, offset: int
) -> dict[str, Doc]:
    page = {"limit": str(limit), **({"offset": str(offset)} if offset else {})}
    if "queryEntity" in source.operations:
        reply = await journey.call(source, "GET", "/entities", {**params, **page})
    else:
        options = {"options": params.get("options", "")}
        reply = await journey.call(source, "POST", "/entityOperations/query", {**options, **page}, _posted(params))
    if reply.status == 404:
        return {}
    if not isinstance(reply.body, list):
        raise SourceFault(source, "invalid", "its answer is no list of entities")
    read = (_read(journey, source, body, ctx) for body in reply.body)
    return {entity["id"]: entity for entity in read if entity is not None}


def _posted(params: Mapping[str, str]) -> Doc:
    """The parameters of a query as the body of POST /entityOperations/query."""
    body: Doc = {"type": "Query"}
    info: Doc = {name: params[name] for name in ("type", "idPattern") if name in params}
    if "id" in params:
        info["id"] = params["id"].split(",")
    if info:
        body["entities"] = [info]
    if "attrs" in params:
        body["attrs"] = params["attrs"].split(",")
    if "q" in params:
        body["q"] = params["q"]
    if "scopeQ" in params:
        body["scopeQ"] = params["scopeQ"]
    if "georel" in params:
        geo = {name: params[name] for name in ("georel", "geometry", "geoproperty") if name in params}
        body["geoQ"] = {**geo, "coordinates": msgspec.json.decode(params["coordinates"])}
    return body


# --- putting it together ----------------------------------------------------------------------------------------------

_Told = Sequence[tuple[Source, _Answered]]


async def _paged(journey: Journey, asked: Asked, local: list[Doc], told: _Told, matches: Sequence[Match]) -> Gathered:
    """The page, each source having filtered for itself (entities are not split between hubs, clause 5.7.2)."""
    hub, test = journey.hub, asked.selection.test()
    foreign = list(dict.fromkeys(one for _, answered in told for one in answered.entities))
    kept = await hub.found(journey.tenant, foreign)
    ours = {one for one, entity in kept.items() if test(entity)}
    others: list[Doc] = []
    for one in foreign:
        if one not in ours:
            parts = _parts(kept.get(one), one, told)
            entity = unite(parts)
            if len(parts) == 1 or test(entity):
                others.append(entity)
    before = asked.offset + len(local)
    total = None
    if asked.count or not local:
        _, total = await hub.query(journey.tenant, asked.selection, 0, 0, count=True)
        before = total or 0
    page = list(local)
    if len(local) <= asked.limit:
        start = max(0, asked.offset - before)
        page += others[start : start + asked.limit + 1 - len(local)]
    told = await _completed(journey, [entity["id"] for entity in page[: asked.limit]], told, matches)
    united = [unite(_parts(entity, entity["id"], told)) for entity in page]
    return Gathered(united, (total or 0) + len(others) if asked.count else None)


def _parts(first: Doc | None, entity_id: str, told: _Told) -> list[Told]:
    parts = [Told(first)] if first is not None else []
    for source, answered in told:
        entity = answered.entities.get(entity_id)
        if entity is not None:
            parts.append(Told(entity, source.mode == "auxiliary"))
    return parts


async def _completed(journey: Journey, ids: list[str], told: _Told, matches: Sequence[Match]) -> _Told:
    """The same, with what sources that had more to say know of the entities of this page."""
    parts = {source.id: part for source, part in matches}
    lacking = {
        source.id: missing
        for source, answered in told
        if not answered.complete and (missing := frozenset(ids).difference(answered.entities))
    }
    again: list[Match] = []
    for source, _ in told:
        if source.id in lacking:
            part = parts[source.id]
            again.append((source, Part(tuple(_only(part.who, lacking[source.id])), part.names)))

    async def ask(match: Match) -> _Answered:
        return await _query_one(journey, match, {}, MOST_FROM_ONE)

    more = {source.id: answered for source, answered in await journey.ask_all([m for m in again if m[1].who], ask)}
    return [
        (source, _Answered({**answered.entities, **more[source.id].entities}, True) if source.id in more else answered)
        for source, answered in told
    ]


def _only(who: Sequence[Wanted], ids: Names) -> list[Wanted]:
    narrowed = (Wanted(ids if one.ids is None else ids & one.ids, one.pattern, one.types) for one in who)
    return [one for one in narrowed if one.ids]


async def _split(journey: Journey, asked: Asked, told: _Told, matches: Sequence[Match]) -> Gathered:
    """The page, only whole entities being tested: everything that may be meant is gathered first."""
    hub, test = journey.hub, asked.selection.test()
    wide = Selection(who=asked.selection.who)
    local, _ = await hub.query(journey.tenant, wide, MOST_FROM_ONE, 0)
    ours = {entity["id"]: entity for entity in local}
    ids = list(dict.fromkeys([*ours, *(one for _, answered in told for one in answered.entities)]))
    united = [unite(_parts(ours.get(one), one, told)) for one in ids]
    meant = [entity for entity in united if test(entity)]
    page = meant[asked.offset : asked.offset + asked.limit + 1]
    return Gathered(page, len(meant) if asked.count else None)
