"""Sejong as shipped: what the files hold is what the city has, and every entity is well formed."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sejong.citypack.api import CONTEXT_FILE, CityPack, open_pack
from sejong.kernel.units import UNITS

CORE = Path(__file__).parents[2] / "src/sejong/hub/ngsi/contexts/ngsi-ld-core-context-v1.9.jsonld"
URN = re.compile(r"urn:ngsi-ld:([A-Za-z]+):([a-z][a-z0-9-]*):([A-Za-z0-9._~!$'()*+,;=@%-]+)")
MEMBERS = {
    "Property": {"value", "unitCode"},
    "GeoProperty": {"value"},
    "Relationship": {"object"},
    "ListRelationship": {"objectList"},
    "LanguageProperty": {"languageMap"},
}
DEPTH = {"Point": 0, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}


def places(coordinates: Any, depth: int) -> Iterator[tuple[float, float]]:
    if depth:
        assert coordinates
        for inner in coordinates:
            yield from places(inner, depth - 1)
    else:
        lon, lat = coordinates
        assert type(lon) is float or type(lon) is int
        yield lon, lat


def check_instance(instance: dict[str, Any], where: str) -> None:
    """An attribute instance of normalized NGSI-LD: a known type, its value member, nothing foreign."""
    kind = instance["type"]
    subs = {k: v for k, v in instance.items() if isinstance(v, dict) and "type" in v and k not in ("value",)}
    assert set(instance) - {"type"} - set(subs) <= MEMBERS[kind], where
    for name, sub in subs.items():
        check_instance(sub, f"{where}.{name}")
    match kind:
        case "Property":
            assert instance["value"] is not None, where
            assert not (isinstance(instance["value"], str) and not instance["value"]), where
            assert instance.get("unitCode", "MTR") in UNITS, where
        case "GeoProperty":
            shape = instance["value"]
            assert shape.keys() == {"type", "coordinates"}, where
            for lon, lat in places(shape["coordinates"], DEPTH[shape["type"]]):
                assert abs(lon) <= 180, where
                assert abs(lat) <= 90, where
        case "Relationship":
            assert URN.fullmatch(instance["object"]), where
        case "ListRelationship":
            assert all(URN.fullmatch(o["object"]) for o in instance["objectList"]), where
        case "LanguageProperty":
            assert set(instance["languageMap"]) >= {"ko", "en"}, where
            assert all(instance["languageMap"].values()), where


def check_entity(entity: dict[str, Any], city: str) -> None:
    found = URN.fullmatch(entity["id"])
    assert found, entity["id"]
    assert (found[1], found[2]) == (entity["type"], city)
    for name in ("name", "source", "dataProvider"):
        assert name in entity, f"{entity['id']} has no {name}"
    assert "@context" not in entity
    for name, instance in entity.items():
        if name not in ("id", "type"):
            check_instance(instance, f"{entity['id']} {name}")


@pytest.mark.parametrize("name", ["sejong", "testville"])
def test_every_entity_is_well_formed_and_points_at_entities_that_exist(name: str) -> None:
    entities = list(open_pack(name).entities())
    ids = [entity["id"] for entity in entities]
    assert len(set(ids)) == len(ids)
    known = set(ids)
    for entity in entities:
        check_entity(entity, name)
        for attribute, instance in entity.items():
            if isinstance(instance, dict) and "object" in instance:
                assert instance["object"] in known, f"{entity['id']} {attribute}"


def test_the_city_has_what_the_files_hold(sejong_entities: list[dict[str, Any]]) -> None:
    counts = Counter(entity["type"] for entity in sejong_entities)
    assert counts["BikeHireDockingStation"] == 618
    assert counts["TransportStation"] == 1433 + 2 + 2  # stops, terminals, rail stations
    assert counts["OffStreetParking"] == 56
    assert counts["RoadSegment"] == 4829
    assert counts["Sidewalk"] == 2405
    assert counts["AdministrativeArea"] == 33 + 20
    assert (counts["School"], counts["University"], counts["PointOfInterest"], counts["TaxiStand"]) == (
        48,
        4,
        19,
        34,
    )
    assert counts["BusLine"] == 11
    assert 6000 <= counts["Streetlight"] <= 9000
    assert (counts["AirQualityObserved"], counts["WaterQualityObserved"]) == (12, 8)
    assert (counts["NoiseLevelObserved"], counts["WeatherObserved"]) == (10, 4)
    assert 15_000 <= len(sejong_entities) <= 25_000


def test_only_the_reconstructed_core_has_a_shape_and_says_so(sejong_entities: list[dict[str, Any]]) -> None:
    links = [entity for entity in sejong_entities if entity["type"] == "RoadSegment"]
    shaped = [link for link in links if "location" in link]
    assert len(shaped) == 2507
    assert all(link["location"]["reconstructed"]["value"] is True for link in shaped)


def test_nothing_of_the_shipped_files_is_refused(sejong_pack: CityPack) -> None:
    assert sejong_pack.rejected == ()


def test_a_station_s_cells_arrive_unchanged(sejong_pack: CityPack) -> None:
    stations = {e["stationCode"]["value"]: e for e in sejong_pack.entities({"BikeHireDockingStation"})}
    with (sejong_pack.folder / "data/eoulling_stations.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            entity = stations[row["station_id"]]
            assert entity["name"]["languageMap"]["ko"] == row["name"]
            assert entity["location"]["value"]["coordinates"] == [float(row["lon"]), float(row["lat"])]
            assert entity["status"]["value"] == ("working" if row["in_use"] == "Y" else "outOfService")
            assert entity["geofenceRadius"]["value"] == int(row["geofence_m"])


def test_ridership_is_joined_to_its_stops(sejong_entities: list[dict[str, Any]]) -> None:
    riders = [e for e in sejong_entities if e["type"] == "TransportStation" and "boardings" in e]
    assert len(riders) == 263
    stop = next(e for e in riders if e["stationCode"]["value"] == "293064151")
    assert (stop["boardings"]["value"], stop["alightings"]["value"], stop["transfers"]["value"]) == (
        10375,
        24251,
        604,
    )


def test_everything_lies_in_the_box_but_the_operator_s_test_row(sejong_pack: CityPack) -> None:
    assert [entity["id"] for entity in sejong_pack.outside()] == ["urn:ngsi-ld:BikeHireDockingStation:sejong:SM_00001"]


def test_things_know_their_dong(sejong_entities: list[dict[str, Any]]) -> None:
    names = {e["id"]: e["name"]["languageMap"]["ko"] for e in sejong_entities if e["type"] == "AdministrativeArea"}
    bikes = [e for e in sejong_entities if e["type"] == "BikeHireDockingStation" and "containedInPlace" in e]
    assert len(bikes) >= 610
    agree = [names[e["containedInPlace"]["object"]] in e["areaServed"]["value"] for e in bikes]
    assert sum(agree) / len(agree) > 0.9  # two sources that know nothing of each other
    assert all(id.split(":")[-1].startswith("legal-") for id in {e["containedInPlace"]["object"] for e in bikes})


def test_the_shipped_files_are_the_extracted_ones(sejong_pack: CityPack, same_document: Callable[..., bool]) -> None:
    upstream = Path(__file__).parents[2] / "../shared/data/sejong"
    if not upstream.is_dir():
        pytest.skip("../shared/data is not here (it lies beside the founders' checkout only)")
    files = sorted(path for path in upstream.iterdir() if path.suffix in (".csv", ".geojson"))
    assert [f.name for f in files] == sorted(f.name for f in (sejong_pack.folder / "data").iterdir())
    for path in files:
        assert same_document(path, sejong_pack.folder / "data" / path.name), path.name


@pytest.fixture
def same_document() -> Callable[[Path, Path], bool]:
    """Whether two files say the same; white space in JSON does not count."""

    def same(a: Path, b: Path) -> bool:
        if a.suffix == ".geojson":
            return msgspec.json.decode(a.read_bytes()) == msgspec.json.decode(b.read_bytes())
        return a.read_bytes() == b.read_bytes()

    return same


def test_every_shipped_file_has_its_source_written_down(sejong_pack: CityPack) -> None:
    sources = (sejong_pack.folder / "SOURCES.md").read_text(encoding="utf-8")
    for path in (sejong_pack.folder / "data").iterdir():
        assert f"`{path.name}`" in sources, path.name


# ── The context ──


def terms(file: Path) -> dict[str, Any]:
    return msgspec.json.decode(file.read_bytes())["@context"]


def test_the_context_gives_every_name_an_iri_and_touches_no_core_term() -> None:
    ours, core = terms(CONTEXT_FILE), terms(CORE)
    assert not set(ours) & set(core)
    assert len(set(ours.values())) == len(ours), "two names for one meaning could not be told apart on the way out"
    for term, iri in ours.items():
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", term)
        assert re.match(r"https://smartdatamodels\.org/|https://schema\.org/|urn:sejong:ns:", iri), term


@pytest.mark.parametrize("name", ["sejong", "testville"])
def test_every_name_the_pack_uses_is_in_the_context(name: str) -> None:
    known = set(terms(CONTEXT_FILE)) | set(terms(CORE))
    used: set[str] = set()
    for entity in open_pack(name).entities():
        used |= {entity["type"], *entity}
        for instance in entity.values():
            if isinstance(instance, dict):
                used |= {k for k, v in instance.items() if isinstance(v, dict) and k != "value"}
    assert used - known == set()


def test_an_entity_expands_as_json_ld(testville: CityPack) -> None:
    from pyld import jsonld

    core = {"contextUrl": None, "documentUrl": "core", "document": msgspec.json.decode(CORE.read_bytes())}
    bike = next(testville.entities({"BikeHireDockingStation"}))
    document = {**bike, "@context": [terms(CONTEXT_FILE), "core:context"]}
    jsonld.set_document_loader(lambda url, options: core)
    (expanded,) = jsonld.expand(document)
    sdm, ngsi = "https://smartdatamodels.org/", "https://uri.etsi.org/ngsi-ld/"
    assert expanded["@type"] == [f"{sdm}dataModel.Transportation/BikeHireDockingStation"]
    slots = expanded[f"{sdm}dataModel.Transportation/totalSlotNumber"][0]
    assert slots[f"{ngsi}hasValue"] == [{"@value": 20}]
    assert slots["urn:sejong:ns:synthetic"][0][f"{ngsi}hasValue"] == [{"@value": True}]
    assert {f"{ngsi}location", f"{ngsi}status", f"{sdm}name"} <= set(expanded)
