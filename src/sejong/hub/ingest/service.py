"""Ingest in one process: keys, device models, the collector and what is noticed of the devices, kept together.

A city may run any number of these; they share nothing but the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import msgspec
import structlog

from sejong.hub.ingest import health, mapping
from sejong.hub.ingest.collector import Collector
from sejong.hub.ingest.health import THROTTLED, Health
from sejong.hub.ingest.keys import DeviceKey, Keyring
from sejong.hub.ingest.letters import columns, throttled_letter
from sejong.hub.ingest.mapping import DeviceModel
from sejong.hub.ingest.needs import Limits, Needs, limits_of
from sejong.hub.ingest.reading import Decoder, Doc, Refused, Understood, decode_json
from sejong.hub.ingest.reception import Reception
from sejong.hub.ingest.refusals import BadName, Refusal, Throttled
from sejong.hub.ingest.source import Source
from sejong.hub.ingest.throttle import Bucket, cost
from sejong.hub.ngsi.context import CORE, Context, MissingDocument, compile_context
from sejong.hub.ngsi.errors import NgsiLdError
from sejong.hub.ngsi.members import DEFAULT_CONTEXT
from sejong.hub.store import ingest as store
from sejong.kernel.errors import NotFound
from sejong.kit.act import Act
from sejong.kit.postgres import Connection
from sejong.kit.telemetry import DEAD_LETTERS, READINGS

log = structlog.get_logger("ingest")

FLUSH_S = 3.0
"""Seconds between two looks at keys and models, and two notes of what was noticed. Chosen."""
TRIM_EVERY = 20
"""Flushes between two clean-ups: a minute."""
STRANGER = "?"
"""Who sent what no key is known for."""


class Ingest:
    """The doors' common part in one process. Entered with `running`; the doors call `receive`."""

    def __init__(self, hub: Needs, limits: Limits | None = None) -> None:
        self.hub = hub
        self.limits = limits or limits_of(hub.settings)
        self.keys = Keyring(self.limits.device_rate, self.limits.device_burst)
        self.health = Health(hub.clock.now())
        self.collector = Collector(hub, self.health, backlog=self.limits.backlog)
        self.reception = Reception(Decoder(CORE, self._knows_type), self.limits)
        self.models: list[DeviceModel] = []
        self._document: Any = None
        self._city_iris: frozenset[str] = frozenset()
        self._throttled: dict[tuple[str, str], _Throttled] = {}
        self._strangers = Bucket(self.limits.device_rate, self.limits.device_burst, hub.clock.monotonic())
        self._model_rows: list[store.ModelRow] = []
        self._flushes = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Ingest]:
        """Read keys and models, take readings until the block ends, then write what waits."""
        async with self.hub.pool.acquire(timeout=10) as connection:
            await self.refresh(connection)
            await self.health.load(connection)
        self.collector.start()
        flusher = asyncio.create_task(self._keep_flushing(), name="ingest-flush")
        try:
            yield self
        finally:
            flusher.cancel()
            with suppress(asyncio.CancelledError):
                await flusher
            await self.collector.stop()
            with suppress(Exception):  # what could not be noted is lost with the process; readings are not
                async with asyncio.timeout(2):
                    await self.flush()

    # -- messages ------------------------------------------------------------------------------------------------

    def admit(self, key: DeviceKey | None) -> bool:
        """Whether this key may send another message just now; asked before anything of it is decoded."""
        bucket = self._strangers if key is None else key.bucket
        return bucket.is_open(self.hub.clock.monotonic())

    def receive(self, source: Source, key: DeviceKey | None, *, urgent: bool = False) -> None:
        """Understand a message, charge its key and put it on its way; `source.settled` is called when it is kept."""
        understood = self.understand(source, key)
        self.charge(key, len(understood.readings), len(source.raw), source.arrived)
        self.collector.offer(source, understood, urgent=urgent)

    def understand(self, source: Source, key: DeviceKey | None) -> Understood:
        """What a message means, in the city's names."""
        if self.hub.city_context_document is not self._document:
            self._learn_names()
        return self.reception.understand(source, None if key is None else key.allowed)

    def understand_thing(self, thing: Doc, source: Source) -> Understood:
        """What an object of the default payload means that a door has put together."""
        if self.hub.city_context_document is not self._document:
            self._learn_names()
        return self.reception.decoder.document(thing, self.reception.when(source), source, None)

    async def understand_names(self, source: Source, key: DeviceKey | None) -> Understood:
        """As `understand`, for doors where entities may bring their own @context."""
        if b'"@context"' not in source.raw or source.topic:
            return self.understand(source, key)
        allowed, when, out = None if key is None else key.allowed, self.reception.when(source), Understood([], [])
        try:
            body = decode_json(source.raw)
        except Refusal as error:
            return Understood([], [Refused(error)])
        for thing in body if isinstance(body, list) else [body]:
            decoder, bare = self.reception.decoder, thing
            if isinstance(thing, dict) and "@context" in thing:
                bare = {key: value for key, value in thing.items() if key != "@context"}
                try:
                    decoder = Decoder(await self.hub.contexts.get(thing["@context"]), self._knows_type)
                except NgsiLdError as error:
                    refused = BadName(name="@context", why=error.detail)
                    out.refused.append(Refused(refused, msgspec.json.encode(thing)))
                    continue
            decoder.thing(bare, when, source, allowed, out)
        return out

    def charge(self, key: DeviceKey | None, readings: int, size: int, at: datetime) -> None:
        """Take what a message cost from the bucket of its key."""
        bucket = self._strangers if key is None else key.bucket
        bucket.spend(cost(readings, size), self.hub.clock.monotonic())
        if key is not None:
            self.keys.note_seen(key.name, at)

    def throttled(self, source: Source, key: DeviceKey | None) -> None:
        """A message was not looked at because its key sent too much: counted, one letter a minute."""
        minute = source.arrived.replace(second=0, microsecond=0).isoformat()
        row = self._throttled.get((source.sender, minute))
        if row is None:
            rate = (self._strangers if key is None else key.bucket).rate
            row = self._throttled[source.sender, minute] = _Throttled(Throttled(key=source.sender, rate=rate), source)
        row.last = source.arrived
        row.n += 1

    def refuse(self, source: Source, understood: Understood, *, size: int | None = None) -> None:
        """Put a message aside that never was understood."""
        self.collector.offer(source, understood, size=size)

    # -- names, keys, models ----------------------------------------------------------------------------------------

    def _learn_names(self) -> None:
        """The city pack brought its names (or new ones)."""
        document = self.hub.city_context_document
        value = document.get("@context") if isinstance(document, dict) else None
        try:
            context = compile_context(value, {})
        except MissingDocument:
            return  # names that lie elsewhere are fetched by the next refresh
        self._use_names(context, document)

    def _use_names(self, context: Context, document: Any) -> None:
        value = document.get("@context") if isinstance(document, dict) else None
        parts = value if isinstance(value, list) else [value]
        terms = [term for part in parts if isinstance(part, dict) for term in part if not term.startswith("@")]
        self._document = document
        self._city_iris = frozenset(context.expand(term) for term in terms)
        self.reception.decoder = Decoder(context, self._knows_type)

    def _knows_type(self, iri: str) -> bool:
        return iri in self._city_iris or (iri in self.hub.terms.number and not iri.startswith(DEFAULT_CONTEXT))

    async def refresh(self, connection: Connection) -> None:
        """Learn of changed names, keys and device models."""
        document = self.hub.city_context_document
        if document is not self._document:
            self._use_names(await self.hub.context(), document)
        await self.keys.refresh(connection, self.hub.clock.monotonic())
        rows = await store.MODELS.all(connection)
        if rows != self._model_rows:
            self._model_rows = rows
            self.models = [mapping.read_model(row.declared) for row in rows]
            self.reception.use_models(self.models)

    async def save_models(self, act: Act, models: Sequence[DeviceModel]) -> list[str]:
        """Keep device models, all or none; the names of those that are new or changed. Raises BadModel."""
        saved: list[str] = []
        if self.hub.city_context_document is not self._document:
            self._learn_names()
        context = await self.hub.context()
        known = {row.name: mapping.read_model(row.declared) for row in await store.MODELS.all(act.connection)}
        for model in models:
            mapping.check_model(model, context, self._knows_type, list(known.values()))
            known[model.name] = model
            if await store.SAVE_MODEL.run(act.connection, model.name, mapping.declared(model), act.now):
                saved.append(model.name)
        return saved

    async def remove_model(self, act: Act, name: str) -> None:
        """Forget a device model; its topic becomes unknown. Raises NotFound."""
        if not await store.REMOVE_MODEL.run(act.connection, name):
            raise NotFound(what=f"device model {name}")

    # -- what is noticed --------------------------------------------------------------------------------------------

    async def _keep_flushing(self) -> None:
        away = False
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
                away = False
            except Exception as error:  # noqa: BLE001 - asyncpg tells of a torn connection in many ways
                if not away:
                    log.warning("ingest_notes_wait", why=str(error) or type(error).__name__)
                away = True

    async def flush(self) -> None:
        """Write down what was noticed, and learn what others changed."""
        now = self.hub.clock.now()
        async with self.hub.pool.acquire(timeout=5) as connection:
            await self.refresh(connection)
            await self._flush_throttled(connection)
            await self.keys.save_seen(connection)
            await self.health.flush(connection)
            self._flushes += 1
            if self._flushes % TRIM_EVERY == 1:
                await health.trim(connection, now, self.limits)
                limits = self.limits
                await store.TRIM_LETTERS.run(connection, limits.letters_of_a_kind, limits.letters, limits.letter_bytes)

    async def _flush_throttled(self, connection: Connection) -> None:
        counted = {key: row.n for key, row in self._throttled.items()}
        rows = [self._throttled[key] for key in counted]
        letters = [throttled_letter(row.error, row.sample, row.last, row.n) for row in rows]
        if not letters:
            return
        await store.PUT_LETTERS.run(connection, *columns(letters))
        for (key, n), row in zip(counted.items(), rows, strict=True):
            row.n -= n
            if not row.n:
                del self._throttled[key]
            DEAD_LETTERS.labels(row.error.code).inc(n)
            READINGS.labels(row.sample.door, "throttled").inc(n)
            self.health.count(row.sample.door, row.sample.arrived, THROTTLED, n)


class _Throttled:
    """What one key sent too much in one minute."""

    __slots__ = ("error", "last", "n", "sample")

    def __init__(self, error: Refusal, sample: Source) -> None:
        self.error = error
        self.sample = sample
        self.last = sample.arrived
        self.n = 0
