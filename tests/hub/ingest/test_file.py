"""Files go in by steps, go on after an interruption, and never twice."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from tests.hub.ingest.helpers import BIKES, bike, history, letters, said, value_of

from sejong.hub.ingest import file as module
from sejong.hub.ingest.file import CannotReadFile, Progress, ingest_file
from sejong.hub.ingest.mapping import read_model
from sejong.hub.ingest.service import Ingest
from sejong.hub.service import Hub
from sejong.kernel.clock import ManualClock
from sejong.kit.act import Record

pytestmark = pytest.mark.anyio

CSV = f"""id,type,at,availableBikeNumber,speed[KMH],status,simulated,lon,lat
{bike(1)},BikeHireDockingStation,2026-11-22T08:00:00Z,7,30.5,open,true,127.28,36.48
{bike(2)},BikeHireDockingStation,2026-11-22T17:00:00+09:00,8,,,,,

{bike(3)},BikeHireDockingStation,2026-11-22T08:00:00Z,nan,,open,,,
{bike(4)},BikeHireDockingStation,yesterday,1,,,,,
{bike(5)},too,few
"""


async def test_csv_by_its_header(ingest: Ingest, hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "bikes.csv"
    path.write_text("\ufeff" + CSV)
    done = await ingest_file(ingest, path)
    assert (done.records, done.accepted, done.refused, done.finished) == (5, 6, 3, True)
    entity = await hub.retrieve(0, bike(1))
    assert entity[BIKES][0]["value"] == 7
    assert entity["https://uri.etsi.org/ngsi-ld/location"][0]["value"]["coordinates"] == [127.28, 36.48]
    (speed,) = [parts[0] for key, parts in entity.items() if key.endswith("/speed")]
    assert (speed["value"], speed["unitCode"]) == (30.5, "KMH")
    assert "urn:sejong:ns:simulated" in speed
    assert sorted(reason for reason, _, _ in await letters(hub.pool)) == ["BadTime", "NaN", "NotThisFormat"]
    again = await ingest_file(ingest, path)
    assert (again.before, again.accepted) == (5, 6)
    assert len(await history(hub.pool)) == 6


@pytest.mark.parametrize("packed", [False, True])
async def test_lines_packed_or_not(ingest: Ingest, hub: Hub, tmp_path: Path, packed: bool) -> None:
    text = "\n".join(json.dumps(said(n, n)) for n in range(30)).encode()
    path = tmp_path / ("r.ndjson.gz" if packed else "r.ndjson")
    path.write_bytes(gzip.compress(text) if packed else text)
    told: list[Progress] = []
    done = await ingest_file(ingest, path, progress=told.append)
    assert (done.accepted, done.bytes_done) == (30, path.stat().st_size)
    assert told[-1] == done


async def test_geojson_features(ingest: Ingest, hub: Hub, tmp_path: Path) -> None:
    point = {"type": "Point", "coordinates": [127.2, 36.5]}
    features = [
        {"type": "Feature", "id": bike(1), "geometry": point, "properties": {"availableBikeNumber": 3, "note": None}},
        {"type": "Feature", "geometry": None, "properties": {"id": bike(2), "availableBikeNumber": 4}},
        {"type": "Feature", "geometry": point, "properties": {"availableBikeNumber": 5}},
    ]
    path = tmp_path / "bikes.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    done = await ingest_file(ingest, path, kind="BikeHireDockingStation")
    assert (done.accepted, done.refused) == (3, 1)
    assert (await value_of(hub, 1), await value_of(hub, 2)) == (3, 4)
    assert [reason for reason, _, _ in await letters(hub.pool)] == ["NoId"]


async def test_interrupted_file_goes_on_where_it_stopped(
    ingest: Ingest, hub: Hub, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after a step was committed but before that was noted: the step comes again and changes nothing."""
    monkeypatch.setattr(module, "STEP", 10)
    path = tmp_path / "r.ndjson"
    # without times: the moment of the first start stands for them, also after the interruption
    path.write_text("\n".join(json.dumps(said(n, n, None)) for n in range(45)))

    class Killed(Exception):
        pass

    def kill(told: Progress) -> None:
        if told.records == 30:
            raise Killed

    with pytest.raises(Killed):
        await ingest_file(ingest, path, progress=kill)
    async with hub.pool.acquire() as connection:
        await connection.execute("update hub.ingest_file set done = 20")
    clock.advance(3600)
    done = await ingest_file(ingest, path)
    assert (done.before, done.records, done.duplicates) == (20, 45, 10)
    found = await history(hub.pool)
    assert len(found) == len(set(found)) == 45
    assert {t for _, t, _ in found} == {"09:00:00.000000"}


async def test_file_may_be_read_anew(ingest: Ingest, hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    path.write_text(json.dumps(said(1, 1)))
    await ingest_file(ingest, path)
    again = await ingest_file(ingest, path, anew=True)
    assert (again.before, again.accepted, again.duplicates) == (0, 0, 1)


async def test_lines_by_a_device_model(ingest: Ingest, hub: Hub, tmp_path: Path, record: Record) -> None:
    model = read_model(
        {
            "name": "log",
            "format": "csv",
            "columns": ["t", "s", "n"],
            "id": "urn:ngsi-ld:BikeHireDockingStation:sejong:{s}",
            "type": "BikeHireDockingStation",
            "time": {"field": "t", "format": "epoch_s"},
            "attribute": [{"name": "availableBikeNumber", "path": "n"}],
        }
    )
    async with record.act("operator", "hub.device_model.save") as act:
        await ingest.save_models(act, [model])
    await ingest.flush()
    path = tmp_path / "log.txt"
    path.write_text("1795336000,SJ_00001,4\n1795336060,SJ_00001,5\nbroken\n")
    done = await ingest_file(ingest, path, model="log")
    assert (done.accepted, done.refused) == (2, 1)
    assert await value_of(hub, 1) == 5


async def test_old_records_are_welcome_in_files(ingest: Ingest, hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    path.write_text(json.dumps(said(1, 1, "1987-06-10T00:00:00Z")))
    assert (await ingest_file(ingest, path)).accepted == 1


@pytest.mark.parametrize("name", ["missing.csv", "r.xlsx", "r", "r.gz"])
async def test_files_that_cannot_be_read(ingest: Ingest, tmp_path: Path, name: str) -> None:
    if name != "missing.csv":
        (tmp_path / name).write_text("x")
    with pytest.raises(CannotReadFile):
        await ingest_file(ingest, tmp_path / name)


@pytest.mark.parametrize(("name", "content"), [("e.csv", ""), ("e.ndjson", ""), ("e.csv", "id,type\n")])
async def test_empty_files(ingest: Ingest, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    done = await ingest_file(ingest, tmp_path / name)
    assert (done.records, done.finished) == (0, True)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"features": 7}'])
async def test_geojson_that_is_none(ingest: Ingest, tmp_path: Path, content: str) -> None:
    (tmp_path / "x.geojson").write_text(content)
    with pytest.raises(CannotReadFile):
        await ingest_file(ingest, tmp_path / "x.geojson")
