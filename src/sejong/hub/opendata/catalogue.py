"""The use cases of data sets: declare, change, withdraw, look into, measure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.present import present
from sejong.hub.opendata.dataset import DataSet, Place, checked, is_id, read_data_set
from sejong.hub.opendata.keys import OPERATOR, Key
from sejong.hub.opendata.model import Inference
from sejong.hub.opendata.quality import DAY, LATE, Quality, Tally
from sejong.hub.selection import Selection
from sejong.hub.service import Hub
from sejong.hub.store import datasets as store
from sejong.hub.store import provenance
from sejong.hub.store.selecting import Search
from sejong.kernel.errors import CityError, NotAuthenticated, NotFound
from sejong.kit.act import Act
from sejong.kit.postgres import Connection

Doc = dict[str, Any]
SLICE = 500
"""Entities read at once. Chosen: a megabyte or so."""
KEEP_QUALITY = timedelta(days=90)
MOST_FAULTS = 200
"""Different faults noted of one data set at one measuring. Chosen."""
INFER_FROM = 2000
"""Entities a model is inferred from. Chosen: a second of work."""


class NoSuchDataSet(NotFound):
    """The catalogue has no data set of this id."""

    ko = "'{what}' 데이터셋은 없습니다."
    en = "There is no data set '{what}'."


class DataSetExists(CityError):
    """A data set of this id is in the catalogue already."""

    status = 409
    ko = "'{what}' 데이터셋이 이미 있습니다."
    en = "There is a data set '{what}' already."


class ConsentNeeded(CityError):
    """The data set is about people who have to agree first."""

    status = 403
    ko = "'{what}' 데이터셋은 당사자의 동의가 있어야 볼 수 있습니다. 동의 확인 기능이 열리면 이용할 수 있습니다."
    en = "The data set '{what}' needs the consent of the people it is about; it opens once consents can be checked."


class Listed(msgspec.Struct, frozen=True):
    """One line of the catalogue."""

    data_set: DataSet
    changed: datetime
    created: datetime
    origin: str
    quality: Quality | None


class Catalogue:
    """The data sets of a city, in one process."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.place = Place()
        """The city; the pack says which."""
        self.api_paths: Mapping[str, Any] = {}
        """OpenAPI paths of everything programs may ask; the routes say which."""

    # --- reading --------------------------------------------------------------------------------------------------

    async def all(self) -> list[Listed]:
        """Every data set with its latest quality, by id."""
        async with self.hub.pool.acquire(timeout=10) as connection:
            rows = await store.SETS.all(connection)
            latest = {row.data_set: quality_of(row) for row in await store.LATEST_QUALITY.all(connection, None)}
        return [listed(row, latest.get(row.id)) for row in rows]

    async def one(self, set_id: str) -> Listed:
        """One data set with its latest quality. Raises NoSuchDataSet."""
        if not is_id(set_id):
            raise NoSuchDataSet(what=set_id[:80])
        async with self.hub.pool.acquire(timeout=10) as connection:
            row = await store.ONE_SET.one(connection, set_id)
            found = await store.LATEST_QUALITY.one(connection, set_id)
        if row is None:
            raise NoSuchDataSet(what=set_id[:80])
        return listed(row, None if found is None else quality_of(found))

    async def past(self, set_id: str, most: int = 200) -> list[Quality]:
        """How its quality was, newest first."""
        async with self.hub.pool.acquire(timeout=10) as connection:
            return [quality_of(row) for row in await store.PAST_QUALITY.all(connection, set_id, most)]

    async def faults(self, set_id: str, most: int = 20) -> list[store.Fault]:
        """What does not fit its model, the most frequent first."""
        async with self.hub.pool.acquire(timeout=10) as connection:
            return await store.FAULTS.all(connection, set_id, most)

    async def writers(self, numbers: Sequence[int]) -> list[provenance.WriterRow]:
        """Who writes the attributes of these things: door, sender, mapping and its version. Names are short."""
        context = await self.hub.context()
        async with self.hub.pool.acquire(timeout=10) as connection:
            rows = await provenance.WRITERS.all(connection, list(numbers))
        return [msgspec.structs.replace(row, attribute=context.compact(row.attribute)) for row in rows]

    async def selection(self, data_set: DataSet) -> Selection:
        """Its query, ready to be asked."""
        return data_set.query.selection(await self.hub.context())

    async def entities(self, selection: Selection, *, most: int | None = None) -> AsyncIterator[list[tuple[int, Doc]]]:
        """All entities of a selection with their numbers, in slices; no connection is held between two slices."""
        after: int | None = 0
        left = most
        while after is not None and (left is None or left > 0):
            async with self.hub.pool.acquire(timeout=10) as connection:
                search = await self.search(connection, selection)
                found, after = await search.some(connection, after, SLICE)
            if left is not None:
                found = found[:left]
                left -= len(found)
            if found:
                yield found

    async def search(self, connection: Connection, selection: Selection) -> Search:
        """A selection ready to be looked for through this connection."""
        hub = self.hub
        await hub.terms.look_up(connection, selection.names())
        return await Search(0, hub.clock.now(), selection, hub.terms.number.get).prepare(connection)

    async def count(self, selection: Selection) -> int:
        """How many entities a selection means."""
        async with self.hub.pool.acquire(timeout=10) as connection:
            return await (await self.search(connection, selection)).count(connection)

    # --- changing -------------------------------------------------------------------------------------------------

    async def create(self, act: Act, body: Any) -> DataSet:
        """A new data set. Raises DataSetWrong, DataSetExists."""
        new = checked(read_data_set(body), await self.hub.context())
        if not await store.ADD_SET.run(act.connection, new.id, msgspec.to_builtins(new), act.who, act.now):
            raise DataSetExists(what=new.id)
        return new

    async def change(self, act: Act, set_id: str, body: Any) -> DataSet:
        """Another declaration for a data set. Raises DataSetWrong, NoSuchDataSet."""
        named = {**body, "id": set_id} if isinstance(body, dict) else body
        new = checked(read_data_set(named), await self.hub.context())
        if not await store.CHANGE_SET.run(act.connection, set_id, msgspec.to_builtins(new), act.who, act.now):
            raise NoSuchDataSet(what=set_id[:80])
        return new

    async def withdraw(self, act: Act, set_id: str) -> None:
        """Take a data set out of the catalogue; its entities stay. Raises NoSuchDataSet."""
        if not is_id(set_id) or not await store.WITHDRAW_SET.run(act.connection, set_id, act.now):
            raise NoSuchDataSet(what=set_id[:80])

    async def declare(self, act: Act, bodies: Sequence[Any]) -> int:
        """What a city pack declares: new ones, and new words for those nobody but the pack has spoken of."""
        context = await self.hub.context()
        changed = 0
        for body in bodies:
            new = checked(read_data_set(body), context)
            changed += await store.DECLARE_SET.run(act.connection, new.id, msgspec.to_builtins(new), act.now)
        return changed

    # --- measuring ------------------------------------------------------------------------------------------------

    async def measure(self, data_set: DataSet) -> Quality:
        """Measure a data set now and keep the result."""
        hub = self.hub
        context, now = await hub.context(), hub.clock.now()
        expected = [context.expand(name) for name in data_set.query.attrs]
        tally = Tally(now, expected, data_set.update_s, data_set.model)
        async for found in self.entities(data_set.query.selection(context)):
            for no, entity in found:
                tally.see(no, entity, None if data_set.model is None else simplified(entity, context))
        async with hub.pool.acquire(timeout=10) as connection, connection.transaction():
            gaps = store.Gaps(0, 0.0)
            if data_set.update_s is not None and tally.sample:
                await hub.terms.look_up(connection, tally.measured)
                numbers = [no for iri in tally.measured if (no := hub.terms.number.get(iri)) is not None]
                asked = (tally.sample, numbers, now - DAY, now, data_set.update_s * LATE)
                gaps = await store.GAPS.one(connection, *asked) or gaps
            quality = tally.result(gaps.gaps, gaps.gap_s)
            await store.ADD_QUALITY.run(connection, data_set.id, *_columns(quality))
            await self._note_faults(connection, data_set, tally)
        return quality

    async def _note_faults(self, connection: Connection, data_set: DataSet, tally: Tally) -> None:
        await store.CLEAR_FAULTS.run(connection, data_set.id)
        now = self.hub.clock.now()
        rows = [
            (data_set.id, attribute or "*", why, tally.example[attribute, why], now, n)
            for (attribute, why), n in tally.faults.most_common(MOST_FAULTS)
        ]
        await store.ADD_FAULT.many(connection, rows)

    async def proposal(self, data_set: DataSet) -> dict[str, Any]:
        """A model (JSON Schema) inferred from what is there now."""
        context = await self.hub.context()
        inference = Inference()
        async for found in self.entities(data_set.query.selection(context), most=INFER_FROM):
            for _, entity in found:
                inference.see(simplified(entity, context))
        return inference.proposal(data_set.title_in("en"))


def allow(data_set: DataSet, key: Key | None) -> None:
    """Whether this key may read the data set. Raises NotAuthenticated, ConsentNeeded."""
    if data_set.access == "consent" and (key is None or key.role != OPERATOR):
        raise ConsentNeeded(what=data_set.id)
    if data_set.access == "key" and key is None:
        raise NotAuthenticated(why="X-API-Key · /dev")


def looked_for(one: Listed, text: str, theme: str | None) -> bool:
    """Whether a data set is meant by these words (all of them, anywhere) and this theme."""
    said = one.data_set
    if theme is not None and said.theme != theme:
        return False
    parts = (said.id, *said.title.values(), *said.description.values(), *said.keywords, said.owner, said.source)
    where = " ".join((*parts, said.query.type or "", *said.query.attrs)).lower()
    return all(word in where for word in text.lower().split())


def simplified(entity: Doc, context: Context) -> Doc:
    """An entity as key-values, in the city's short names."""
    return present(entity, context, fmt="simplified")


def listed(row: store.SetRow, quality: Quality | None) -> Listed:
    """A stored data set as the catalogue shows it."""
    return Listed(msgspec.convert(row.declared, DataSet), row.changed, row.created, row.origin, quality)


def quality_of(row: store.QualityRow) -> Quality:
    """A stored quality."""
    values = msgspec.structs.asdict(row)
    del values["data_set"]
    return Quality(**values)


def _columns(quality: Quality) -> tuple[Any, ...]:
    return (
        quality.measured,
        quality.entities,
        quality.completeness,
        quality.freshness,
        quality.conformity,
        quality.newest,
        quality.median_age_s,
        quality.gaps,
        quality.gap_s,
    )
