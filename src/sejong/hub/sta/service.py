"""Answering SensorThings requests from the record: addresses, pages, expanded entities.

Source: OGC 18-088 §8 (sensing entities), §9.2 (resource paths), §9.3 (query options).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import asyncpg
import msgspec

from sejong.hub.indexing import SYSTEM
from sejong.hub.service import Hub
from sejong.hub.sta.compile import LINKS, Compiler
from sejong.hub.sta.fault import NoSuchResource, NotUnderstood, TakesTooLong
from sejong.hub.sta.options import Options, read_options
from sejong.hub.sta.show import SHOWN, Shower, identity_of
from sejong.hub.store import sta as store
from sejong.hub.store.sta import ID_BITS, Row
from sejong.kit.postgres import Connection

Doc = dict[str, Any]
REMEMBER_S = 60.0
"""Seconds for which is remembered what is measured in this city. Chosen: new kinds of sensors are rare."""
MOST_ENTITIES = 20_000
"""Entities one answer holds at most, expanded ones included. Chosen."""
_SEGMENT = re.compile(r"(\$?\w+)(?:\((.*)\))?")
_OBSERVATION = re.compile(r"(\d{1,10})-(\d{1,10})-(-?\d{1,18})-(\d{1,18})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Place(msgspec.Struct, frozen=True):
    """Where an address leads: an entity set narrowed down, one entity of it, or one of its properties."""

    entity_set: str
    where: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    """Bound from $4 on."""
    single: bool = False
    path: tuple[str, ...] = ()
    """Property, `$value`, `$ref` or `$count` behind it."""


class SensorThings:
    """The facade over one process's hub."""

    def __init__(self, hub: Hub, base: str) -> None:
        self.hub, self.base = hub, base
        self._measured: tuple[float, list[int]] = (-1.0, [])

    async def answer(self, path: str, given: Mapping[str, str], language: str) -> Any:
        """What an address below the root shows. Raises NotUnderstood, NoSuchResource, TakesTooLong."""
        options = read_options(given)
        try:
            async with self._looking() as (connection, known):
                place = await self._find(connection, known, path)
                asking = _Asking(self, connection, known, await self._shower(language))
                return await asking.answer(place, options, given, path)
        except asyncpg.DataError as error:
            raise NotUnderstood(why=str(error)) from error
        except asyncpg.QueryCanceledError as error:
            raise TakesTooLong() from error

    @asynccontextmanager
    async def _looking(self) -> AsyncIterator[tuple[Connection, tuple[Any, ...]]]:
        """A connection for one request, which gives up after ten seconds, and the first three values of each query."""
        async with self.hub.pool.acquire(timeout=10) as connection, connection.transaction(readonly=True):
            await store.PATIENCE.run(connection)
            numbers = await self.measured(connection)
            yield connection, (self.hub.clock.now(), numbers, [str(number) for number in numbers])

    async def _shower(self, language: str) -> Shower:
        return Shower(self.base, await self.hub.context(), self.hub.shape, language)

    async def measured(self, connection: Connection) -> list[int]:
        """Numbers of the attributes that somebody measures: numeric ones that carry a time of observation.

        Looked for among the newest things of each type, and remembered for a minute.
        """
        hub = self.hub
        now = hub.clock.monotonic()
        until, numbers = self._measured
        if now < until:
            return numbers
        found: set[str] = set()
        for sample in await store.SAMPLES.all(connection):
            for key, instances in msgspec.json.decode(sample.doc).items():
                if key not in SYSTEM and any(_is_measured(one) for one in instances):
                    found.add(key)
        await hub.terms.look_up(connection, found)
        numbers = sorted(no for iri in found if (no := hub.terms.number.get(iri)) is not None and no < 1 << ID_BITS)
        self._measured = (now + REMEMBER_S, numbers)
        return numbers

    # --- addresses ------------------------------------------------------------------------------------------------

    async def _find(self, connection: Connection, known: tuple[Any, ...], path: str) -> Place:
        segments = [part for part in path.split("/") if part]
        place: Place | None = None
        for number, segment in enumerate(segments):
            match = _SEGMENT.fullmatch(segment)
            if match is None:
                raise NoSuchResource(what=segment[:80])
            name, key = match[1], match[2]
            if place is None:
                if name not in LINKS:
                    raise NoSuchResource(what=segment[:80])
                place = Place(name)
            elif place.single and name in LINKS[place.entity_set]:
                place = await self._follow(connection, known, place, name)
            else:
                return msgspec.structs.replace(place, path=tuple(segments[number:]))
            if key is not None:
                if place.single:
                    raise NoSuchResource(what=segment[:80])
                place = _keyed(place, key)
        if place is None:
            raise NoSuchResource(what=path[:80])
        return place

    async def _follow(self, connection: Connection, known: tuple[Any, ...], place: Place, name: str) -> Place:
        rows = await store.fetch(connection, place.entity_set, (*known, *place.values), place.where, (), 1, 0)
        if not rows:
            raise NoSuchResource(what=place.entity_set)
        return linked(place.entity_set, rows[0], name)


def _keyed(place: Place, key: str) -> Place:
    where, values = key_condition(place.entity_set, key, 4 + len(place.values))
    return msgspec.structs.replace(place, where=(*place.where, *where), values=(*place.values, *values), single=True)


def key_condition(entity_set: str, key: str, first: int) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """The condition an id stands for. Raises NoSuchResource for what no id can be."""
    if entity_set == "Observations":
        match = _OBSERVATION.fullmatch(key[1:-1]) if key[:1] == key[-1:] == "'" else None
        if match is None:
            raise NoSuchResource(what=key[:80])
        eno, ano, micros, no = map(int, match.groups())
        try:
            at = _EPOCH + timedelta(microseconds=micros)
        except OverflowError:
            raise NoSuchResource(what=key[:80]) from None
        if max(eno, ano) >= 1 << 31:
            raise NoSuchResource(what=key[:80])
        names = (f"h0.eno = ${first}", f"h0.ano = ${first + 1}", f"h0.t = ${first + 2}", f"h0.no = ${first + 3}")
        return names, (eno, ano, at, no)
    text = key[1:-1] if key[:1] == key[-1:] == "'" and len(key) > 1 else key
    if not (text.isascii() and text.isdigit() and len(text) < 17):
        raise NoSuchResource(what=key[:80])
    number = int(text)
    if entity_set in ("Datastreams", "Sensors"):
        eno, ano = number >> ID_BITS, number & ((1 << ID_BITS) - 1)
        if eno >= 1 << 31:
            raise NoSuchResource(what=key[:80])
        return (f"e0.no = ${first}", f"p0.no = ${first + 1}"), (eno, ano)
    if number >= 1 << 31:
        raise NoSuchResource(what=key[:80])
    return ((f"{'p0' if entity_set == 'ObservedProperties' else 'e0'}.no = ${first}"),), (number,)


def linked(entity_set: str, row: Row, name: str) -> Place:
    """What a navigation from one entity leads to."""
    target, many, _ = LINKS[entity_set][name]
    if target == "ObservedProperties":
        return Place(target, ("p0.no = $4",), (row.ano,), single=not many)
    if target == "Observations":
        if entity_set == "Datastreams":
            return Place(target, ("h0.eno = $4", "h0.ano = $5"), (row.eno, row.ano))
        return Place(target, ("h0.eno = $4",), (row.eno,))
    if target in ("Datastreams", "Sensors"):
        if entity_set == "ObservedProperties":
            return Place(target, ("p0.no = $4",), (row.ano,))
        if entity_set in ("Datastreams", "Sensors", "Observations"):
            return Place(target, ("e0.no = $4", "p0.no = $5"), (row.eno, row.ano), single=not many)
    return Place(target, ("e0.no = $4",), (row.eno,), single=not many)


def _is_measured(instance: Doc) -> bool:
    value = instance.get("value")
    return "observedAt" in instance and isinstance(value, (int, float)) and not isinstance(value, bool)


class _Asking:
    """One request on its way through the record."""

    def __init__(self, facade: SensorThings, connection: Connection, known: tuple[Any, ...], shower: Shower) -> None:
        self._hub, self._connection, self._known, self._shower = facade.hub, connection, known, shower
        self._left = MOST_ENTITIES

    async def answer(self, place: Place, options: Options, given: Mapping[str, str], path: str) -> Any:
        """The body for an address."""
        if place.path == ("$count",) and not place.single:
            return await self._count(place, options)
        if place.single:
            body = await self._single(place, options)
            return _property(body, place.path)
        if place.path not in ((), ("$ref",)):
            raise NoSuchResource(what="/".join(place.path)[:80])
        if options.data_array and place.entity_set != "Observations":
            raise NotUnderstood(why="$resultFormat=dataArray is for Observations")
        body = await self._collection(place, options, f"{self._shower.base}/{path.strip('/')}", given)
        if place.path == ("$ref",):
            return {**body, "value": [{"@iot.selfLink": one["@iot.selfLink"]} for one in body["value"]]}
        return body

    async def _count(self, place: Place, options: Options) -> int:
        values, where, _ = self._compiled(place, options)
        return await store.count(self._connection, place.entity_set, values, where)

    def _compiled(self, place: Place, options: Options) -> tuple[list[Any], list[str], list[str]]:
        values: list[Any] = [*self._known, *place.values]

        def bind(value: Any) -> str:
            values.append(value)
            return f"${len(values)}"

        compiler = Compiler(place.entity_set, bind)
        where = [*place.where]
        if options.filter is not None:
            where.append(compiler.condition(options.filter))
        counted = len(values)
        order = [compiler.order(node, down) for node, down in options.order]
        # Every value must occur in the statement that only counts as well.
        where.extend(f"{_typed(values[n], n + 1)} is not null" for n in range(counted, len(values)))
        return values, where, order

    async def _single(self, place: Place, options: Options) -> Doc:
        rows = await self._rows(place, Options(), 1)
        if not rows:
            raise NoSuchResource(what=place.entity_set)
        (body,) = await self._bodies(place.entity_set, rows, options)
        return body

    async def _rows(self, place: Place, options: Options, limit: int) -> list[Row]:
        values, where, order = self._compiled(place, options)
        rows = await store.fetch(self._connection, place.entity_set, values, where, order, limit, options.skip)
        if any(row.shape is not None and row.shape not in self._hub.shapes.text for row in rows):
            await self._hub.shapes.refresh(self._connection)
        self._left -= len(rows)
        if self._left < 0:
            raise TakesTooLong()
        return rows

    async def _collection(self, place: Place, options: Options, link: str, given: Mapping[str, str]) -> Doc:
        body: Doc = {}
        if options.count:
            body["@iot.count"] = await self._count(place, options)
        rows = await self._rows(place, options, options.top + 1)
        if len(rows) > options.top > 0:
            following = {**given, "$top": str(options.top), "$skip": str(options.skip + options.top)}
            body["@iot.nextLink"] = f"{link}?{urlencode(following, quote_via=quote, safe='$(),=;/:')}"
        rows = rows[: options.top]
        if options.data_array:
            return {**body, "value": self._arrays(rows, options)}
        return {**body, "value": await self._bodies(place.entity_set, rows, options)}

    async def _bodies(self, entity_set: str, rows: Sequence[Row], options: Options) -> list[Doc]:
        for name in options.select:
            if name not in SHOWN[entity_set] and name not in LINKS[entity_set]:
                raise NotUnderstood(why=f"$select: {entity_set} have no {name[:60]}")
        for name, _ in options.expand:
            if name not in LINKS[entity_set]:
                raise NotUnderstood(why=f"$expand: {entity_set} have no {name[:60]}")
        found: list[Doc] = []
        for row in rows:
            body = self._shower.entity(entity_set, row)
            own = _selected(body, options.select) if options.select else body
            for name, inner in options.expand:
                own.pop(f"{name}@iot.navigationLink", None)
                own |= await self._expanded(entity_set, row, name, inner)
            found.append(own)
        return found

    async def _expanded(self, entity_set: str, row: Row, name: str, options: Options) -> Doc:
        place = linked(entity_set, row, name)
        if place.single:
            rows = await self._rows(place, Options(), 1)
            return {name: (await self._bodies(place.entity_set, rows, options))[0] if rows else None}
        own = self._shower.entity(entity_set, row)["@iot.selfLink"]
        body = await self._collection(place, options, f"{own}/{name}", dict(options.given))
        extra = {f"{name}@{key[1:]}": value for key, value in body.items() if key.startswith("@")}
        return {name: body["value"], **extra}

    def _arrays(self, rows: Sequence[Row], options: Options) -> list[Doc]:
        """Observations as rows of a table for each Datastream. Source: OGC 18-088 §12 (data array extension)."""
        components = list(options.select) or ["id", "phenomenonTime", "result", "resultTime"]
        if not SHOWN["Observations"].issuperset(components):
            raise NotUnderstood(why="$select: Observations have no such property")
        groups: dict[int, Doc] = {}
        for row in rows:
            stream = int(identity_of("Datastreams", row))
            group = groups.setdefault(
                stream,
                {
                    "Datastream@iot.navigationLink": f"{self._shower.base}/Datastreams({stream})",
                    "components": components,
                    "dataArray@iot.count": 0,
                    "dataArray": [],
                },
            )
            body = self._shower.entity("Observations", row)
            body["id"] = body["@iot.id"]
            group["dataArray"].append([body[name] for name in components])
            group["dataArray@iot.count"] += 1
        return list(groups.values())


def _typed(value: Any, place: int) -> str:
    kind = {float: "float8", str: "text", datetime: "timestamptz"}[type(value)]
    return f"${place}::{kind}"


def _selected(body: Doc, names: Sequence[str]) -> Doc:
    """The chosen properties and navigations."""
    keys = [{"id": "@iot.id"}.get(name, name) for name in names]
    links = [f"{name}@iot.navigationLink" for name in names]
    return {key: body[key] for key in (*keys, *links) if key in body}


def _property(body: Doc, path: tuple[str, ...]) -> Any:
    """A property of an entity (`/name`), its bare value (`/name/$value`), or the entity's address (`/$ref`)."""
    if not path:
        return body
    if path == ("$ref",):
        return {"@iot.selfLink": body["@iot.selfLink"]}
    bare = path[-1] == "$value"
    names = path[:-1] if bare else path
    value: Any = body
    for name in names:
        if not isinstance(value, dict) or name not in value or "@" in name:
            raise NoSuchResource(what=name[:80])
        value = value[name]
    if not names:
        raise NoSuchResource(what="$value")
    return value if bare else {names[-1]: value}
