"""Data sets: declared by operators and packs, listed with their measured quality, taken home in every format."""

from __future__ import annotations

import csv
import io
import tempfile
from datetime import timedelta
from typing import Any

import duckdb
import httpx
import msgspec
import pytest
from pyld import jsonld

from sejong.hub.jobs import measure_data_sets
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.opendata.catalogue import Catalogue
from sejong.hub.opendata.dcat import CONTEXT
from sejong.hub.opendata.model import Inference, faults_of
from sejong.hub.service import Hub
from sejong.kit.city import City

from .conftest import BIKES, bike, tell

pytestmark = pytest.mark.anyio
SETS = "/data/v1/sets"


async def declare(web: httpx.AsyncClient, operator: dict[str, str], **changes: Any) -> None:
    answer = await web.post(SETS, json={**BIKES, **changes}, headers=operator)
    assert answer.status_code == 201, answer.text


async def test_the_life_of_a_data_set(web: httpx.AsyncClient, operator: dict[str, str], reader: dict[str, str]) -> None:
    assert (await web.post(SETS, json=BIKES)).status_code == 401
    assert (await web.post(SETS, json=BIKES, headers=reader)).status_code == 403
    made = await web.post(SETS, json=BIKES, headers=operator)
    assert (made.status_code, made.headers["location"]) == (201, f"{SETS}/bikes")
    assert (await web.post(SETS, json=BIKES, headers=operator)).status_code == 409
    shown = (await web.get(f"{SETS}/bikes")).json()
    assert {name: shown[name] for name in BIKES} == BIKES
    assert shown["quality"] is None
    assert shown["call"].startswith("/ngsi-ld/v1/entities?type=BikeHireDockingStation&pick=id,type,name")
    changed = {**BIKES, "theme": "ENVI"}
    assert (await web.put(f"{SETS}/bikes", json=changed, headers=operator)).status_code == 204
    assert [
        one["id"] for one in (await web.get(SETS, params={"theme": "ENVI", "q": "자전거 station"})).json()["sets"]
    ] == ["bikes"]
    assert (await web.get(SETS, params={"q": "비행기"})).json() == {"sets": []}
    assert (await web.delete(f"{SETS}/bikes", headers=operator)).status_code == 204
    for method in ("GET", "DELETE"):
        assert (await web.request(method, f"{SETS}/bikes", headers=operator)).status_code == 404
    assert (await web.put(f"{SETS}/bikes", json=changed, headers=operator)).status_code == 404
    await declare(web, operator)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": "Bikes"}, "id"), ({"id": "v1"}, "id"), ({"id": "a--b"}, "id"), ({"theme": "X"}, "theme"),
        ({"title": {"ko": "자"}}, "title.en"), ({"licence": "free"}, "licence"), ({"query": {}}, "query"),
        ({"query": {"type": "A", "q": "x>>"}}, "q"), ({"query": {"type": "A", "nonsense": 1}}, "nonsense"),
        ({"query": {"type": "A", "georel": "near"}}, ""), ({"access": "secret"}, "access"),
        ({"retention_days": 0}, "retention_days"), ({"validation": "reject"}, "model"), ({"more": 1}, "more"),
        ({"owner": "a\u0000b"}, "NUL"), ({"update_s": -1}, "update_s"), ({"source": 5}, "source"),
    ],
)  # fmt: skip
async def test_what_no_data_set_can_be(
    web: httpx.AsyncClient, operator: dict[str, str], changes: dict[str, Any], says: str
) -> None:
    answer = await web.post(SETS, json={**BIKES, **changes}, headers=operator)
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["detail"]
    assert (await web.get(SETS)).json() == {"sets": []}


@pytest.mark.parametrize("raw", [b"", b"[", b"[]", b"3", b"[" * 100_000])
async def test_bodies_that_are_no_data_set(web: httpx.AsyncClient, operator: dict[str, str], raw: bytes) -> None:
    assert (await web.post(SETS, content=raw, headers=operator)).status_code == 400


async def test_a_pack_declares_and_never_overrules_a_person(
    city: City, catalogue: Catalogue, web: httpx.AsyncClient, operator: dict[str, str]
) -> None:
    async def pack(*bodies: dict[str, Any]) -> int:
        async with city.record.act("load", "declare") as act:
            return await catalogue.declare(act, bodies)

    assert await pack(BIKES, {**BIKES, "id": "other"}) == 2
    assert await pack(BIKES) == 0
    assert await pack({**BIKES, "owner": "새 주인"}) == 1
    assert (await web.put(f"{SETS}/bikes", json={**BIKES, "owner": "사람"}, headers=operator)).status_code == 204
    assert (await web.delete(f"{SETS}/other", headers=operator)).status_code == 204
    assert await pack(BIKES, {**BIKES, "id": "other"}) == 0
    assert [one.data_set.owner for one in await catalogue.all()] == ["사람"]


async def test_quality_is_measured_not_stated(
    city: City, catalogue: Catalogue, web: httpx.AsyncClient, operator: dict[str, str]
) -> None:
    await tell(
        city,
        bike(city, 1, 3, 10, status="working"),
        bike(city, 2, 4, 20),
        bike(city, 3, 5, 3600, status="broken"),
        bike(city, 4),
    )
    model = {"properties": {"status": {"enum": ["working"]}}, "required": ["availableBikeNumber"]}
    await declare(web, operator, model=model, validation="report")
    async with city.record.act("work", "job") as act:
        await measure_data_sets(city, act)
    quality = (await web.get(f"{SETS}/bikes")).json()["quality"]
    assert quality["entities"] == 4
    assert quality["completeness"] == pytest.approx((4 + 4 + 3 + 2) / 16)
    assert quality["freshness"] == 0.5
    assert quality["conformity"] == 0.5
    assert quality["gaps"] == 1
    assert quality["gap_s"] == pytest.approx(3600, abs=60)
    assert quality["median_age_s"] == pytest.approx(20, abs=20)
    told = (await web.get(f"{SETS}/bikes/quality")).json()
    assert len(told["measurements"]) == 1
    assert {(f["attribute"], f["why"], f["n"]) for f in told["faults"]} == {
        ("status", "is none of the listed values", 1),
        ("availableBikeNumber", "is missing", 1),
    }
    again = await web.post(f"{SETS}/bikes/quality", headers=operator)
    assert again.status_code == 200
    assert (await web.post(f"{SETS}/bikes/quality")).status_code == 401


async def test_files_hold_exactly_what_the_query_means(
    city: City, web: httpx.AsyncClient, operator: dict[str, str]
) -> None:
    many = [bike(city, n, n % 7, status="=1+1" if n == 5 else "working") for n in range(1, 1203)]
    many[3]["availableBikeNumber"]["simulated"] = {"type": "Property", "value": True}
    await tell(city, *many, {"id": "urn:x:1", "type": "Other", "size": 1})
    await declare(web, operator)
    ids = [one["id"] for one in many]
    plain = await web.get(f"{SETS}/bikes.csv", headers={"accept-encoding": "identity"})
    assert plain.content.startswith("\ufeff".encode())
    zipped = await web.get(f"{SETS}/bikes.csv", headers={"accept-encoding": "gzip"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.content == plain.content
    rows = list(csv.DictReader(io.StringIO(plain.text.lstrip("\ufeff"))))
    assert [row["id"] for row in rows] == ids
    assert list(rows[4]) == [
        "id",
        "type",
        "name_ko",
        "name_en",
        "availableBikeNumber",
        "status",
        "lon",
        "lat",
        "synthetic",
        "simulated",
        "observedAt",
    ]
    assert [rows[n]["simulated"] for n in (3, 4)] == ["true", "false"]
    assert rows[3]["synthetic"] == "false"
    assert (rows[4]["name_ko"], rows[4]["availableBikeNumber"], rows[4]["status"]) == ("대여소 5", "5", "'=1+1")
    lines = (await web.get(f"{SETS}/bikes.ndjson")).text.splitlines()
    first = msgspec.json.decode(lines[0])
    assert len(lines) == 1202
    assert first["availableBikeNumber"]["value"] == 1
    assert set(first) == {"id", "type", "name", "location", "availableBikeNumber", "status"}
    simple = (await web.get(f"{SETS}/bikes.ndjson", params={"format": "simplified"})).text.splitlines()
    assert msgspec.json.decode(simple[0])["availableBikeNumber"] == 1
    drawn = (await web.get(f"{SETS}/bikes.geojson")).json()
    assert [f["id"] for f in drawn["features"]] == ids
    assert drawn["features"][0]["geometry"]["coordinates"] == [127.001, 36.001]
    assert [f["properties"].get("simulated") for f in drawn["features"][2:5]] == [None, True, None]
    table = (await web.get(f"{SETS}/bikes.parquet")).content
    assert parquet(table) == (1202,)
    assert parquet(table, "sum(availableBikeNumber), min(observedAt) is not null") == (
        sum(n % 7 for n in range(1, 1203)), True)  # fmt: skip
    found = await web.get("/data/v1/export.ndjson", params={"type": "Other", "q": "size==1"})
    assert msgspec.json.decode(found.content)["id"] == "urn:x:1"


def parquet(content: bytes, what: str = "count(*)") -> tuple[Any, ...]:
    """Something about a Parquet file, as DuckDB reads it."""
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        file.write(content)
        file.flush()
        return duckdb.sql(f"select {what} from read_parquet('{file.name}')").fetchall()[0]


async def test_empty_files_are_whole_files(web: httpx.AsyncClient, operator: dict[str, str]) -> None:
    await declare(web, operator)
    assert (await web.get(f"{SETS}/bikes.geojson")).json() == {"type": "FeatureCollection", "features": []}
    assert (await web.get(f"{SETS}/bikes.ndjson")).content == b""
    assert (await web.get(f"{SETS}/bikes.csv")).text.startswith("\ufeffid,type,name")
    assert parquet((await web.get(f"{SETS}/bikes.parquet")).content) == (0,)
    assert parquet((await web.get(f"{SETS}/bikes/history.parquet")).content) == (0,)
    assert (await web.get(f"{SETS}/bikes/history.geojson")).json()["features"] == []


async def test_a_history_is_taken_home_whole(
    city: City, web: httpx.AsyncClient, operator: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sejong.hub.opendata.export.HISTORY_ROWS", 7)
    monkeypatch.setattr("sejong.hub.opendata.export.THINGS", 2)
    for n in range(12):
        await tell(city, *(bike(city, k, n, 600 - n * 30) for k in (1, 2, 3)))
    await declare(web, operator, query={"type": "BikeHireDockingStation", "attrs": ["availableBikeNumber"]})
    rows = [msgspec.json.decode(line) for line in (await web.get(f"{SETS}/bikes/history.ndjson")).text.splitlines()]
    assert [(row["id"][-1], row["number"]) for row in rows] == [(str(k), n) for k in (1, 2, 3) for n in range(12)]
    assert rows[0]["attribute"] == "availableBikeNumber"
    assert rows[0]["unitCode"] == "C62"
    assert not any(row["simulated"] for row in rows)
    assert rows[0]["observedAt"] < rows[1]["observedAt"]
    since = format_instant(city.clock.now() - timedelta(seconds=600 - 5.5 * 30))
    late = await web.get(f"{SETS}/bikes/history.csv", params={"since": since})
    assert len(list(csv.DictReader(io.StringIO(late.text)))) == 18
    drawn = (await web.get(f"{SETS}/bikes/history.geojson")).json()["features"]
    assert len(drawn) == 36
    assert drawn[0]["geometry"]["coordinates"] == [127.001, 36.001]
    assert parquet((await web.get(f"{SETS}/bikes/history.parquet")).content) == (36,)
    wrong = await web.get(f"{SETS}/bikes/history.csv", params={"since": "yesterday"})
    assert wrong.status_code == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/data/v1/sets/none.csv", 404), ("/data/v1/sets/no%00ne", 404), ("/data/v1/sets/Bikes.csv", 404),
        ("/data/v1/export.xlsx?type=A", 404), ("/data/v1/export.csv", 400), ("/data/v1/export.csv?type=A&foo=1", 400),
        ("/data/v1/export.csv?type=A&q=%00", 400), ("/data/v1/export.csv?type=((", 400),
        ("/data/v1/export.ndjson?type=A&format=xml", 400), ("/data/v1/sets?theme=NOPE", 400),
    ],
)  # fmt: skip
async def test_odd_addresses(web: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await web.get(path)
    assert answer.status_code == status
    assert answer.json()["detail"]


async def test_access(city: City, web: httpx.AsyncClient, operator: dict[str, str], reader: dict[str, str]) -> None:
    await tell(city, bike(city, 1, 3))
    await declare(web, operator, id="keyed", access="key")
    await declare(web, operator, id="about-people", access="consent")
    for path in ("keyed.csv", "keyed/history.ndjson", "keyed/model"):
        assert (await web.get(f"{SETS}/{path}")).status_code == 401
        assert (await web.get(f"{SETS}/{path}", headers=reader)).status_code == 200
        refused = await web.get(f"{SETS}/{path.replace('keyed', 'about-people')}", headers=reader)
        assert refused.status_code == 403
        assert "동의" in refused.json()["detail_ko"]
    assert (await web.get(f"{SETS}/about-people")).status_code == 200


async def test_the_catalogue_is_json_ld_that_others_can_read(
    city: City, catalogue: Catalogue, web: httpx.AsyncClient, operator: dict[str, str]
) -> None:
    await tell(city, bike(city, 1, 3))
    await declare(web, operator, contact="data@example.org", source="원자료")
    await catalogue.measure((await catalogue.one("bikes")).data_set)
    answer = await web.get("/data/catalog.jsonld")
    assert answer.headers["content-type"] == "application/ld+json"
    (node,) = jsonld.expand(answer.json())
    dcat, dct = CONTEXT["dcat"], CONTEXT["dct"]
    assert node["@type"] == [f"{dcat}Catalog"]
    for name in ("title", "description", "publisher"):
        assert node[dct + name]
    (data_set,) = node[f"{dcat}dataset"]
    files = {file[f"{dcat}downloadURL"][0]["@id"].rpartition(".")[2] for file in data_set[f"{dcat}distribution"]}
    assert files == {"csv", "geojson", "ndjson", "parquet"}
    for file in data_set[f"{dcat}distribution"]:
        assert file[f"{dct}license"] == [{"@id": BIKES["licence"]}]
        path = file[f"{dcat}downloadURL"][0]["@id"].removeprefix("http://localhost:8000")
        assert (await web.get(path)).status_code == 200
    assert data_set[f"{dct}accessRights"][0]["@id"].endswith("/access-right/PUBLIC")
    assert data_set[f"{dct}accrualPeriodicity"][0]["@id"].endswith("/frequency/UPDATE_CONT")
    measured = data_set[f"{CONTEXT['dqv']}hasQualityMeasurement"]
    of = {one[f"{CONTEXT['dqv']}isMeasurementOf"][0]["@id"] for one in measured}
    assert of >= {"urn:sejong:metric:completeness", "urn:sejong:metric:freshness"}


async def test_a_model_is_proposed_from_what_is_there(
    city: City, web: httpx.AsyncClient, operator: dict[str, str]
) -> None:
    await tell(city, *(bike(city, n, n, status="working" if n % 2 else "closed") for n in range(1, 41)), bike(city, 41))
    await declare(web, operator, query={"type": "BikeHireDockingStation"})
    answer = await web.get(f"{SETS}/bikes/model")
    assert (answer.headers["x-model"], answer.headers["content-type"]) == ("inferred", "application/schema+json")
    model = answer.json()
    assert model["properties"]["status"] == {"type": "string", "enum": ["closed", "working"]}
    assert model["properties"]["availableBikeNumber"] == {"type": "integer", "minimum": 0}
    assert model["required"] == ["id", "type", "location", "name"]
    hub = city.part(Hub)
    assert hub.now()
    for line in (await web.get(f"{SETS}/bikes.ndjson", params={"format": "simplified"})).text.splitlines():
        assert faults_of(msgspec.json.decode(line), model) == []


@pytest.mark.parametrize(
    ("value", "schema", "fits"),
    [
        (3, {"type": "integer", "minimum": 3, "maximum": 3}, True), (3.0, {"type": "integer"}, True),
        (True, {"type": "number"}, False), (3, {"exclusiveMaximum": 3}, False), (2, {"minimum": 3}, False),
        ("a", {"type": ["string", "null"], "pattern": "^b"}, False), ("a", {"pattern": "("}, True),
        ("abc", {"maxLength": 2}, False), ([1, "x"], {"items": {"type": "number"}}, False),
        ([1], {"minItems": 2}, False), ({"b": 1}, {"properties": {"b": {"const": 2}}}, False),
        (5, {"anyOf": [{"type": "string"}, {"minimum": 6}]}, False), (5, {"$ref": "#/$defs/n"}, True),
        ("5", {"$ref": "#/$defs/n"}, False), (5, {"allOf": [{"type": "number"}, {"maximum": 4}]}, False),
        (5, {"$ref": "https://elsewhere.example/x"}, True), (5, {"oneOf": [{"$ref": "#/$defs/n"}]}, True),
    ],
)  # fmt: skip
def test_models(value: Any, schema: dict[str, Any], fits: bool) -> None:
    root = {"properties": {"a": schema}, "$defs": {"n": {"type": "number"}}}
    assert (faults_of({"a": value}, root) == []) is fits


def test_a_model_that_refers_to_itself_ends() -> None:
    assert faults_of({"a": {"a": {}}}, {"$ref": "#"}) == []


def test_an_inferred_model_fits_what_it_was_inferred_from() -> None:
    seen = [{"id": "1", "type": "T", "a": v, "b": "x"} for v in (1, 2.5, None, "t", [1], {"k": 1}, True)]
    inference = Inference()
    for one in seen:
        inference.see(one)
    model = inference.proposal("T")
    assert [faults_of(one, model) for one in seen] == [[]] * len(seen)
