"""A hub that knows the city's names, and an ingest process in it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import START

from sejong.hub.ingest.needs import Limits
from sejong.hub.ingest.reading import Decoder, Moment, moment
from sejong.hub.ingest.service import Ingest
from sejong.hub.ngsi.context import Context, compile_context
from sejong.hub.ngsi.members import DEFAULT_CONTEXT
from sejong.hub.service import Hub
from sejong.kernel.clock import ManualClock
from sejong.kit.act import Record
from sejong.kit.postgres import Pool
from sejong.settings import Settings

CITY_CONTEXT = Path(__file__).parents[3] / "src" / "sejong" / "citypack" / "context" / "city.jsonld"
DOCUMENT: dict[str, Any] = json.loads(CITY_CONTEXT.read_text())


@pytest.fixture(scope="session")
def context() -> Context:
    return compile_context(DOCUMENT["@context"], {})


@pytest.fixture
def decoder(context: Context) -> Decoder:
    return Decoder(context, lambda iri: not iri.startswith(DEFAULT_CONTEXT))


@pytest.fixture
def now() -> Moment:
    return moment(START, ahead_h=24, earliest="2000-01-01T00:00:00.000000Z")


@pytest.fixture
async def hub(pool: Pool, clock: ManualClock, settings: Settings) -> AsyncIterator[Hub]:
    made = Hub(pool, clock, settings)
    made.name_with(DOCUMENT)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def ingest(hub: Hub) -> AsyncIterator[Ingest]:
    async with Ingest(hub, Limits(device_rate=1000, device_burst=5000, backlog=5000)).running() as running:
        yield running


@pytest.fixture
def record(hub: Hub) -> Record:
    return Record(hub.pool, hub.clock)
