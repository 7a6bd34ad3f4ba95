"""What the catalogue asks of the doors: keep out what does not fit a model, and remember who wrote what.

Both happen in memory as readings pass; every few seconds rules are read again and what was noticed is written down.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import asyncpg
import msgspec
import structlog

from sejong.hub.ingest import topics
from sejong.hub.ingest.apply import NEW, Fates
from sejong.hub.ingest.reading import Reading
from sejong.hub.ingest.reception import MODEL
from sejong.hub.ingest.refusals import DoesNotFit, Refusal
from sejong.hub.ingest.service import Ingest
from sejong.hub.ingest.source import Source
from sejong.hub.ngsi.context import Context
from sejong.hub.opendata.catalogue import Catalogue
from sejong.hub.opendata.dataset import DataSet
from sejong.hub.opendata.model import Schema, faults_in
from sejong.hub.opendata.table import value_of
from sejong.hub.store import provenance as store
from sejong.kernel.errors import CityError

log = structlog.get_logger("ingest")
EVERY_S = 5.0
MOST_SERIES = 200_000
"""Attributes whose writers are remembered in memory; beyond that all are looked at anew. Chosen: some 30 MB."""
OWN_PAYLOAD = "sejong/v1"
"""The mapping of the default payload, which needs none."""


class Rule(msgspec.Struct, frozen=True):
    """What a data set says about one attribute of a type."""

    data_set: str
    name: str
    schema: Any
    root: Schema


class Writer(msgspec.Struct, frozen=True):
    """Who wrote: through which door, as whom, and by which mapping and version."""

    door: str
    sender: str
    mapping: str
    version: str


class Doorkeeper:
    """Stands at the doors of one process."""

    def __init__(self, catalogue: Catalogue, ingest: Ingest) -> None:
        self._catalogue, self._ingest = catalogue, ingest
        self._rules: Mapping[str, Mapping[str, list[Rule]]] = {}
        self._context: Context | None = None
        self._writers: dict[tuple[str, str, str], Writer] = {}
        self._known: dict[tuple[str, str], Writer] = {}
        self._fresh: dict[tuple[str, str], tuple[Writer, datetime]] = {}
        self._models: Any = None
        self._task: asyncio.Task[None] | None = None

    # --- at the door ----------------------------------------------------------------------------------------------

    def guard(self, reading: Reading) -> Refusal | None:
        """Why a reading may not pass; None: it may."""
        for kind in self._types(reading):
            for rule in self._rules.get(kind, {}).get(reading.attribute, ()):
                found = faults_in(value_of(reading.instance), rule.schema, rule.root, rule.name)
                if found:
                    attribute, why = found[0]
                    return DoesNotFit(data_set=rule.data_set, attribute=attribute, why=why)
        return None

    def _types(self, reading: Reading) -> list[str]:
        """Its types; where the sender left them out, the one its name tells (`urn:ngsi-ld:Type:…`)."""
        if reading.types is not None or self._context is None:
            return reading.types or []
        parts = reading.entity.split(":", 3)
        return [self._context.expand(parts[2])] if len(parts) == 4 and parts[2] else []

    def witness(self, fates: Fates) -> None:
        """Remember who wrote, where somebody else did before."""
        for reading, fate in zip(fates.readings, fates.fates, strict=True):
            if fate == NEW:
                source: Source = reading.source
                key = (reading.entity, reading.attribute)
                writer = self._writers.get((source.door, source.sender, source.topic)) or self._met(source)
                if self._known.get(key) is not writer:
                    self._known[key] = writer
                    self._fresh[key] = (writer, source.arrived)

    def _met(self, source: Source) -> Writer:
        mapping, version = self._mapping(source)
        made = Writer(source.door, source.sender, mapping, version)
        self._writers[source.door, source.sender, source.topic] = made
        return made

    def _mapping(self, source: Source) -> tuple[str, str]:
        named = source.topic.removeprefix(MODEL) if source.topic.startswith(MODEL) else None
        for model in self._ingest.models:
            if model.name == named or (named is None and model.topic and topics.matches(model.topic, source.topic)):
                return model.name, hashlib.sha256(msgspec.json.encode(model)).hexdigest()[:12]
        return OWN_PAYLOAD, ""

    # --- in the background ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read the rules and stand at the doors."""
        await self._learn_safely()
        self._ingest.collector.guard, self._ingest.collector.witness = self.guard, self.witness
        self._task = asyncio.create_task(self._keep_going(), name="doorkeeper")

    async def stop(self) -> None:
        """Write down the rest."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(Exception):  # who wrote last is noticed again with the next reading after a start
            async with asyncio.timeout(2):
                await self.flush()

    async def _keep_going(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self._learn_safely()
            try:
                await self.flush()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                log.warning("writers_not_noted", why=str(error) or type(error).__name__)

    async def _learn_safely(self) -> None:
        try:
            await self.learn()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, CityError) as error:
            log.warning("models_not_read", why=str(error) or type(error).__name__)

    async def learn(self) -> None:
        """Read the models of the data sets that refuse at the door."""
        context = self._context = await self._catalogue.hub.context()
        rules: dict[str, dict[str, list[Rule]]] = {}
        for one in await self._catalogue.all():
            if one.data_set.validation == "reject":
                add_rules(rules, one.data_set, context)
        self._rules = rules
        if self._models is not self._ingest.models:
            self._models = self._ingest.models
            self._writers.clear()  # a mended mapping is another version
        if len(self._known) > MOST_SERIES:
            self._known.clear()

    async def flush(self) -> None:
        """Write down who wrote what since the last time."""
        fresh, self._fresh = self._fresh, {}
        if not fresh:
            return
        rows = [
            (entity, attribute, w.door, w.sender, w.mapping, w.version, at)
            for (entity, attribute), (w, at) in sorted(fresh.items(), key=lambda item: item[0])
        ]
        try:
            async with self._catalogue.hub.pool.acquire(timeout=5) as connection:
                await store.NOTE_WRITERS.run(connection, *map(list, zip(*rows, strict=True)))
        except BaseException:
            self._fresh = {**fresh, **self._fresh}
            raise


def add_rules(rules: dict[str, dict[str, list[Rule]]], said: DataSet, context: Context) -> None:
    """What a data set says about attributes, by type. Only a data set that is all of a type can refuse at the door."""
    model, query = said.model, said.query
    if model is None or query.type is None or query.q is not None or query.georel is not None:
        return
    kinds = query.selection(context).types()
    for name, schema in model.get("properties", {}).items():
        if name not in ("id", "type", "@context"):
            for kind in kinds:
                rule = Rule(said.id, name, schema, model)
                rules.setdefault(kind, {}).setdefault(context.expand(name), []).append(rule)
