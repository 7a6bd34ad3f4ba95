"""Writing histories directly: adding instances, replacing and removing them, forgetting attributes and whole entities.

Every function makes a step for the Writer. What it does to the history and what that makes of the present is one
commit. Source: ETSI GS CIM 009 v1.9.1 clauses 5.6.11-5.6.16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from sejong.hub import shapes
from sejong.hub.history import INSTANCE_ID, as_written
from sejong.hub.ngsi.change import UPDATED, live
from sejong.hub.ngsi.errors import BadRequestData, ResourceNotFound
from sejong.hub.ngsi.evolution import Evolved, Which, add_instances, present_of, set_present, unsettled
from sejong.hub.ngsi.grammar import instant_key
from sejong.hub.ngsi.instants import format_instant, parse_instant
from sejong.hub.ngsi.members import SCOPE, Doc
from sejong.hub.store import evolution as store
from sejong.hub.store import rollups
from sejong.hub.store.entities import Locked
from sejong.hub.store.history import DELETED, Instance
from sejong.hub.store.terms import Dictionary
from sejong.hub.writer import Informed, Outcome, Place
from sejong.kit.postgres import Connection

Types = Callable[[Doc], bool] | None
"""Whether an entity is of the type a request names; None when it names none."""


class Past:
    """The steps that write histories, for one process's view of the record."""

    def __init__(self, terms: Dictionary, shape_book: Dictionary, shape: Callable[[int | None], Doc | None]) -> None:
        self._terms, self._shapes, self._shape = terms, shape_book, shape

    def adding(self, entity_id: str, new: Doc, *, create: bool, types: Types = None) -> Informed:
        """Add the instances of an expanded evolution. `Outcome.answer`: whether the evolution is new.

        Raises ResourceNotFound when there is none and `create` is not asked for.
        """

        async def run(connection: Connection, row: Locked | None, alive: Doc | None, now: str) -> Outcome:
            old = None if alive is None else live(alive, now)
            known = row is not None and (not row.deleted or await store.EXISTS.value(connection, row.no))
            if not known or row is None:
                if not create:
                    raise ResourceNotFound(f"no entity {entity_id}")
                evolved = add_instances(None, new, now, {}, None)
                return Outcome(evolved.entity, evolved.ops, evolved.past, True)
            _match(row, alive, types, entity_id)
            told, ended = {"id": entity_id, **new}, None
            if old is None:
                remains = msgspec.json.decode(row.doc)
                ended = remains["modifiedAt"] if row.deleted else now
                told["type"] = list(dict.fromkeys([*remains["type"], *new.get("type", ())]))
            newest = await self._newest(connection, row.no, unsettled(old, told))
            evolved = add_instances(old, told, now, newest, ended)
            places = await self._make_room(connection, row, evolved)
            entity = alive if evolved.entity is old else evolved.entity
            return Outcome(entity, evolved.ops, evolved.past, False, places)

        return Informed(run)

    def forgetting(self, entity_id: str, types: Types = None) -> Informed:
        """Remove an entity with all it ever was. Raises ResourceNotFound."""

        async def run(connection: Connection, row: Locked | None, alive: Doc | None, now: str) -> Outcome:
            row = await _known(connection, row, alive, types, entity_id)
            await store.REMOVE_ALL.run(connection, row.no)
            await rollups.FORGET.run(connection, row.no, None, None)
            return Outcome(None)

        return Informed(run)

    def forgetting_attribute(
        self, entity_id: str, attribute: str, dataset: str | None, *, every: bool, types: Types = None
    ) -> Informed:
        """Remove one series of an attribute (or `every` one) from past and present. Raises ResourceNotFound."""

        async def run(connection: Connection, row: Locked | None, alive: Doc | None, now: str) -> Outcome:
            row = await _known(connection, row, alive, types, entity_id)
            old = None if alive is None else live(alive, now)
            ano, ds = await self._numbers(connection, (attribute, dataset))
            scope = (row.no, ano, None if every else ds)
            gone = (
                0 if ano is None or (ds is None and not every) else await store.REMOVE_ATTRIBUTE.run(connection, *scope)
            )
            if gone:
                await rollups.FORGET.run(connection, *scope)
            datasets = {one.get("datasetId") for one in (old or {}).get(attribute, ())} if every else {dataset}
            present = [which for one in datasets or {None} if present_of(old, which := (attribute, one)) is not None]
            if not gone and not present:
                raise ResourceNotFound(f"{entity_id} has never had the attribute {attribute} in that dataset")
            if old is None or not present:
                return Outcome(alive)
            return Outcome(_without(old, present, now))

        return Informed(run)

    def replacing(self, entity_id: str, attribute: str, number: int, new: Doc, types: Types = None) -> Informed:
        """State one instance of the past anew; it keeps its number and createdAt. Raises ResourceNotFound."""

        async def run(connection: Connection, row: Locked | None, alive: Doc | None, now: str) -> Outcome:
            row = await _known(connection, row, alive, types, entity_id)
            before = await self._instance(connection, row, attribute, number)
            old = None if alive is None else live(alive, now)
            dataset = self._terms.text[before.ds] if before.ds else None
            if new.get("datasetId", dataset) != dataset:
                raise BadRequestData(f"{attribute}: an instance cannot move to another datasetId")
            which = attribute, dataset
            was_present = self._is_present(old, which, before)
            await self._take_out(connection, row, before)
            created = before.created or before.modified
            made = {**new, "createdAt": format_instant(created), "modifiedAt": now}
            if dataset is not None:
                made["datasetId"] = dataset
            places: dict[Place, tuple[int, datetime]] = {(*which, made.get("observedAt")): (number, created)}
            happened = instant_key(made["observedAt"]) if "observedAt" in made else format_instant(created)
            last = await store.LAST.one(connection, row.no, before.ano, before.ds)
            newest = last is None or (happened, number) >= (format_instant(_aware(last.t)), last.no)
            if newest and old is not None:
                entity = dict(old)
                set_present(entity, which, made)
                entity["modifiedAt"] = now
                return Outcome(entity, [(*which, made, UPDATED)], places=places)
            if was_present and old is not None:
                alive = await self._settled(connection, old, which, last, now)
            return Outcome(alive, late=[(*which, made, UPDATED)], places=places)

        return Informed(run)

    def removing(self, entity_id: str, attribute: str, number: int, types: Types = None) -> Informed:
        """Remove one instance of the past; was it the present, the newest that is left takes its place.

        Raises ResourceNotFound.
        """

        async def run(connection: Connection, row: Locked | None, alive: Doc | None, now: str) -> Outcome:
            row = await _known(connection, row, alive, types, entity_id)
            before = await self._instance(connection, row, attribute, number)
            old = None if alive is None else live(alive, now)
            which = attribute, self._terms.text[before.ds] if before.ds else None
            was_present = self._is_present(old, which, before)
            await self._take_out(connection, row, before)
            if old is None or not was_present:
                return Outcome(alive)
            last = await store.LAST.one(connection, row.no, before.ano, before.ds)
            return Outcome(await self._settled(connection, old, which, last, now))

        return Informed(run)

    # --- inside ---------------------------------------------------------------------------------------------

    async def _numbers(self, connection: Connection, which: Which) -> tuple[int | None, int | None]:
        attribute, dataset = which
        await self._terms.look_up(connection, [attribute, *([dataset] if dataset else [])])
        return self._terms.number.get(attribute), self._terms.number.get(dataset) if dataset else 0

    async def _known_numbers(self, connection: Connection, asked: Sequence[Which]) -> dict[tuple[int, int], Which]:
        """Those of these series that the dictionary knows, by their numbers."""
        found = {await self._numbers(connection, which): which for which in asked}
        return {(ano, ds): which for (ano, ds), which in found.items() if ano is not None and ds is not None}

    async def _newest(self, connection: Connection, eno: int, asked: Sequence[Which]) -> dict[Which, str]:
        known = await self._known_numbers(connection, asked)
        if not known:
            return {}
        rows = await store.NEWEST_OF.all(connection, eno, [ano for ano, _ in known], [ds for _, ds in known])
        return {known[row.ano, row.ds]: format_instant(_aware(row.t)) for row in rows}

    async def _make_room(
        self, connection: Connection, row: Locked, evolved: Evolved
    ) -> Mapping[Place, tuple[int, datetime]]:
        """Take out what the new instances take the place of: same attribute, dataset and observedAt."""
        timed = [op for op in (*evolved.ops, *evolved.past) if "observedAt" in op[2]]
        known = await self._known_numbers(connection, list(dict.fromkeys((op[0], op[1]) for op in timed)))
        numbers = {which: pair for pair, which in known.items()}
        keys = {
            (*numbers[op[0], op[1]], parse_instant(op[2]["observedAt"])): (op[0], op[1], op[2]["observedAt"])
            for op in timed
            if (op[0], op[1]) in numbers
        }
        if not keys:
            return {}
        moments = [t for _, _, t in keys]
        gone = await store.TAKE_OUT.all(
            connection, row.no, *map(list, zip(*keys, strict=True)), min(moments), max(moments)
        )
        places: dict[Place, tuple[int, datetime]] = {}
        for one in sorted(gone, key=lambda one: one.no, reverse=True):
            places[keys[one.ano, one.ds, _aware(one.t)]] = (one.no, one.created)
        return places

    async def _instance(self, connection: Connection, row: Locked, attribute: str, number: int) -> Instance:
        ano, _ = await self._numbers(connection, (attribute, None))
        found = None if ano is None else await store.ONE.one(connection, row.no, ano, number)
        if found is None:
            raise ResourceNotFound(f"{row.id} has no instance {INSTANCE_ID}{number} of {attribute}")
        if found.ds and found.ds not in self._terms.text:
            await self._terms.refresh(connection)
        await self._know_shape(connection, found)
        return found

    async def _know_shape(self, connection: Connection, row: Instance) -> None:
        if row.shape is not None and row.shape not in self._shapes.text:
            await self._shapes.refresh(connection)

    async def _take_out(self, connection: Connection, row: Locked, instance: Instance) -> None:
        key = (instance.eno, instance.ano, instance.t, instance.no)
        await store.REMOVE_ONE.run(connection, *key)
        if row.rolled is not None and instance.observed and _aware(instance.t) < row.rolled:
            await rollups.MARK_STALE.run(
                connection, [instance.eno], [instance.ano], [instance.ds], [_aware(instance.t)]
            )

    def _is_present(self, old: Doc | None, which: Which, row: Instance) -> bool:
        """Whether the present of a series is this very instance."""
        current = present_of(old, which)
        if current is None or row.op == DELETED:
            return False
        if which[0] == SCOPE:
            body = shapes.join(row.num, self._shape(row.shape), row.val)
            return body["value"] == current["value"]
        if "observedAt" in current:
            return row.observed and parse_instant(current["observedAt"]) == _aware(row.t)
        return not row.observed and parse_instant(current["modifiedAt"]) == row.modified

    async def _settled(self, connection: Connection, old: Doc, which: Which, last: Instance | None, now: str) -> Doc:
        """The entity with the newest instance that is left as the present of a series."""
        if last is None or last.op == DELETED:
            return _without(old, [which], now)
        await self._know_shape(connection, last)
        made = shapes.join(last.num, self._shape(last.shape), last.val)
        if last.observed:
            made["observedAt"] = as_written(last.t)
        if which[1] is not None:
            made["datasetId"] = which[1]
        made["createdAt"] = format_instant(last.created or last.modified)
        made["modifiedAt"] = format_instant(last.modified)
        entity = dict(old)
        set_present(entity, which, made)
        entity["modifiedAt"] = now
        return entity


async def _known(connection: Connection, row: Locked | None, alive: Doc | None, types: Types, entity_id: str) -> Locked:
    if row is None or (row.deleted and not await store.EXISTS.value(connection, row.no)):
        raise ResourceNotFound(f"no entity {entity_id}")
    _match(row, alive, types, entity_id)
    return row


def _match(row: Locked, alive: Doc | None, types: Types, entity_id: str) -> None:
    if types is not None and not types(alive if alive is not None else msgspec.json.decode(row.doc)):
        raise ResourceNotFound(f"no entity {entity_id} of that type")


def _without(old: Doc, series_: Sequence[Which], now: str) -> Doc:
    entity: dict[str, Any] = dict(old)
    for which in series_:
        set_present(entity, which, None)
    entity["modifiedAt"] = now
    return entity


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
