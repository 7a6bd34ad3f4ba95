"""Bringing a city pack into the living record."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from sejong.citypack import store
from sejong.citypack.basemap import BaseMap, build_basemap
from sejong.citypack.service import CONTEXT_FILE, CityPack, open_pack
from sejong.hub.api import Catalogue, Change, Hub, Place, Step, expand_entity, merging_pack
from sejong.kernel.errors import CityError
from sejong.kit.city import City

AT_ONCE = 1000
"""Entities written in one commit. Chosen."""
Progress = Callable[[int], None]


class LoadReport(msgspec.Struct, frozen=True):
    """What came of loading a pack."""

    city: str
    entities: int
    rejected: int
    skipped: bool
    """The very same pack was loaded before."""


class PackRefused(CityError):
    """The record did not take an entity of the pack."""

    status = 422
    ko = "도시 자료의 {entity}을(를) 기록하지 못했습니다: {why}"
    en = "The record did not take {entity} of the pack: {why}"


@asynccontextmanager
async def start(city: City) -> AsyncIterator[None]:
    """Teach the hub the city's words."""
    city.part(Hub).name_with(msgspec.json.decode(CONTEXT_FILE.read_bytes()))
    pack = open_pack(city.settings.city)
    city.put(pack)
    said, box = pack.city, pack.city.bbox
    names = {"ko": said.name_ko, "en": said.name_en}
    city.part(Catalogue).place = Place(names, (box.west, box.south, box.east, box.north))
    yield


async def load(city: City, name: str | Path, *, again: bool = False, progress: Progress | None = None) -> LoadReport:
    """Write every entity of the pack into the record. Measured values that are there already stay.

    Skipped when the same pack was loaded before, unless `again`. Raises PackError, PackRefused, DatabaseAway.
    """
    pack = open_pack(name)
    version = fingerprint(pack)
    async with city.record.look("load") as look:
        before = await store.LOADED.one(look.connection, pack.city.id)
    if before is not None and before.version == version and not again:
        return LoadReport(pack.city.id, before.entities, before.rejected, skipped=True)
    hub = city.part(Hub)
    context = await hub.context()
    count = 0
    for chunk in _chunks(pack.entities()):
        steps: list[tuple[str, Step]] = []
        for entity in chunk:
            new = expand_entity(entity, context, now=hub.now())
            steps.append((new["id"], merging_pack(new)))
        for (entity_id, _), result in zip(steps, await hub.change_all(0, steps), strict=True):
            if not isinstance(result, Change):
                raise PackRefused(entity=entity_id, why=str(result))
        count += len(chunk)
        if progress:
            progress(count)
    rejected = len(pack.rejected)
    async with city.record.act("operator", "citypack.load") as act:
        await city.part(Catalogue).declare(act, pack.data_sets())
        await store.NOTE_LOADED.run(act.connection, pack.city.id, version, act.now, count, rejected)
    return LoadReport(pack.city.id, count, rejected, skipped=False)


def fingerprint(pack: CityPack) -> str:
    """SHA-256 over the pack's files and the code that reads them."""
    digest = hashlib.sha256()
    code = Path(__file__).parent
    for root in (pack.folder, code):
        for file in sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
            digest.update(file.relative_to(root).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _chunks(entities: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(entities, AT_ONCE)):
        yield chunk


def prepare_basemap(name: str | Path, state: Path) -> BaseMap:
    """Draw the pack's base map into the state folder, unless the one there is still true."""
    state.mkdir(parents=True, exist_ok=True)
    return build_basemap(open_pack(name), basemap_path(state))


def basemap_path(state: Path) -> Path:
    """Where the base map of a running city lies."""
    return state / "basemap.mbtiles"
