"""Which types and attributes other hubs have. Source: ETSI GS CIM 009 v1.9.1 clauses 5.7.5-5.7.10."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from msgspec import Struct, field

from sejong.hub.calls import SourceFault
from sejong.hub.federation.journey import Journey
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.sourcing import ANYTHING, Wanted
from sejong.hub.registry import Match
from sejong.hub.service import Use

PAGE = {"limit": "1000"}


class Elsewhere(Struct):
    """What other hubs have: uses of types and attributes, kinds of attributes (by IRI), and how many entities."""

    uses: list[Use] = field(default_factory=list)
    kinds: dict[str, set[str]] = field(default_factory=dict)
    count: int = 0


_Read = Callable[[Any, Context], Elsewhere]


async def types(journey: Journey, *, details: bool) -> Elsewhere:
    """The types other hubs have, with `details` also which attributes."""
    operation = "retrieveEntityTypeDetails" if details else "retrieveEntityTypes"
    read: _Read = _type_details if details else _type_list
    return await _gathered(journey, ANYTHING, None, operation, read, lambda _: "/types", details)


async def one_type(journey: Journey, iri: str) -> Elsewhere:
    """What other hubs have of one type."""
    who = (Wanted(types=frozenset({iri})),)
    return await _gathered(journey, who, None, "retrieveEntityTypeInfo", _one_type, lambda c: _place("types", iri, c))


async def attributes(journey: Journey, *, details: bool) -> Elsewhere:
    """The attributes other hubs have, with `details` also of which types."""
    operation = "retrieveAttrTypeDetails" if details else "retrieveAttrTypes"
    read: _Read = _attribute_details if details else _attribute_list
    return await _gathered(journey, ANYTHING, None, operation, read, lambda _: "/attributes", details)


async def one_attribute(journey: Journey, iri: str) -> Elsewhere:
    """What other hubs have of one attribute."""
    return await _gathered(
        journey,
        ANYTHING,
        frozenset({iri}),
        "retrieveAttrTypeInfo",
        _one_attribute,
        lambda c: _place("attributes", iri, c),
    )


def _place(kind: str, iri: str, ctx: Context) -> str:
    return f"/{kind}/{quote(ctx.compact(iri), safe='')}"


async def _gathered(
    journey: Journey,
    who: Sequence[Wanted],
    names: frozenset[str] | None,
    operation: str,
    read: _Read,
    path: Callable[[Context], str],
    details: bool | None = None,
) -> Elsewhere:
    params = {} if details is None else {**PAGE, **({"details": "true"} if details else {})}

    async def ask(match: Match) -> Elsewhere:
        source = match[0]
        ctx = await journey.naming(source)
        reply = await journey.call(source, "GET", path(ctx), params)
        if reply.status == 404:
            return Elsewhere()
        try:
            return read(reply.body, ctx)
        except (KeyError, TypeError, AttributeError, ValueError, BadRequestData) as error:
            raise SourceFault(source, "invalid", "its answer is none to this question") from error

    whole = Elsewhere()
    for _, part in await journey.ask_all(journey.sources(who, names, (operation,)), ask):
        whole.uses += part.uses
        whole.count += part.count
        for name, kinds in part.kinds.items():
            whole.kinds.setdefault(name, set()).update(kinds)
    return whole


def _use(type_iri: str, attribute: str = "", count: int = 0) -> Use:
    return Use(type_iri, attribute, count, count, second=True)


def _type_list(body: Any, ctx: Context) -> Elsewhere:
    return Elsewhere([_use(ctx.attribute(name)) for name in body["typeList"]])


def _type_details(body: Any, ctx: Context) -> Elsewhere:
    found: list[Use] = []
    for item in body:
        iri = ctx.attribute(item["typeName"])
        found += [_use(iri), *(_use(iri, ctx.attribute(name)) for name in item["attributeNames"])]
    return Elsewhere(found)


def _one_type(body: Any, ctx: Context) -> Elsewhere:
    iri, count = ctx.attribute(body["typeName"]), int(body["entityCount"])
    kinds = {
        ctx.attribute(one["attributeName"]): set(map(str, one["attributeTypes"])) for one in body["attributeDetails"]
    }
    return Elsewhere([_use(iri), *(_use(iri, name) for name in kinds)], kinds, count)


def _attribute_list(body: Any, ctx: Context) -> Elsewhere:
    return Elsewhere([_use("", ctx.attribute(name)) for name in body["attributeList"]])


def _attribute_details(body: Any, ctx: Context) -> Elsewhere:
    found: list[Use] = []
    for item in body:
        iri = ctx.attribute(item["attributeName"])
        found += [_use(ctx.attribute(name), iri) for name in item["typeNames"]]
    return Elsewhere(found)


def _one_attribute(body: Any, ctx: Context) -> Elsewhere:
    iri = ctx.attribute(body["attributeName"])
    uses = [_use(ctx.attribute(name), iri) for name in body["typeNames"]]
    return Elsewhere(uses, {iri: set(map(str, body["attributeTypes"]))}, int(body["attributeCount"]))
