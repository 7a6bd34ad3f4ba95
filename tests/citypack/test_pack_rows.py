"""Rows and cells that are broken: each is refused with file, row, column, found and expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sejong.citypack.api import CityPack, Rejected
from sejong.citypack.domain import EXPECTED, PackColumnMissing, PackError, PackFileMissing, PackFileUnreadable

Town = Callable[..., CityPack]
R = Rejected
B1 = "urn:ngsi-ld:BikeHireDockingStation:testville:b1"
BIKES, STOPS, LINKS = "data/bikes.csv", "data/stops.csv", "data/links.csv"


def ids(pack: CityPack, kind: str) -> list[str]:
    return [entity["id"].rsplit(":", 1)[-1] for entity in pack.entities({kind})]


def one(pack: CityPack, local: str) -> dict[str, Any]:
    return next(e for e in pack.entities() if e["id"].endswith(f":{local}"))


def test_testville_itself_is_without_fault(testville: CityPack) -> None:
    assert testville.rejected == ()
    assert testville.outside() == []


@pytest.mark.parametrize(
    ("edit", "refusal"),
    [
        ((BIKES, "127.0003,36.0002", "here,36.0002"), R(BIKES, 2, "lon, lat", "here, 36.0002", "coordinates")),
        ((BIKES, "127.0003,36.0002", "127.0003,136.0"), R(BIKES, 2, "lon, lat", "127.0003, 136.0", "coordinates")),
        ((BIKES, "127.0003,36.0002", "nan,36.0"), R(BIKES, 2, "lon, lat", "nan, 36.0", "coordinates")),
        ((BIKES, "127.0003,36.0002", ","), R(BIKES, 2, "lon", "", "value")),
        ((BIKES, "b1,", ","), R(BIKES, 2, "id", "", "value")),
        ((BIKES, "b2,", "b1,"), R(BIKES, 3, "{id}", B1, "unique")),
        ((BIKES, "b1,햇살광장,", "b1,햇살광장,extra,"), R(BIKES, 2, "*", "8 ≠ 7", "columns")),
        ((BIKES, "b4,도서관", "b4,"), R(BIKES, 5, "name", "", "value")),
        ((LINKS, "l7,n4,n5,1", "l7,n4,n5,one"), R(LINKS, 8, "lanes", "one", "integer")),
        ((LINKS, "l7,n4,n5,1", "l7,n4,n5,1.5"), R(LINKS, 8, "lanes", "1.5", "integer")),
        ((LINKS, "30,503.7,21.0", "30,inf,21.0"), R(LINKS, 8, "metres", "inf", "number")),
        ((LINKS, "l7,n4,", "l7,,"), R(LINKS, 8, "from", "", "value")),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_left_out(town: Town, edit: tuple[str, str, str], refusal: Rejected) -> None:
    pack = town(edit)
    kind = "BikeHireDockingStation" if edit[0] == BIKES else "RoadSegment"
    assert refusal in pack.rejected
    lost = {BIKES: 4, LINKS: 12}[edit[0]] - len(ids(pack, kind))
    assert lost == 1
    assert {r.file for r in pack.rejected} == {edit[0]}


@pytest.mark.parametrize(
    ("edit", "local", "attribute", "refusal"),
    [
        ((BIKES, "햇살광장,Y", "햇살광장,?"), "b1", "status", R(BIKES, 2, "open", "?", "listed", True)),
        ((BIKES, "Y,yes", "Y,perhaps"), "b1", "serviceOnDuty", R(BIKES, 2, "lit", "perhaps", "boolean", True)),
        (
            (BIKES, "2024-03-01 09:00", "1 March"),
            "b1",
            "registered",
            R(BIKES, 2, "since", "1 March", "datetime", True),
        ),
        ((LINKS, "503.7,34.5", "503.7,fast"), "l1", "taxiMeanSpeed", R(LINKS, 2, "speed", "fast", "number", True)),
        ((LINKS, "3,103", "3,999"), "l1", "roadClass", R(LINKS, 2, "rank", "999", "listed", True)),
    ],
)  # fmt: skip
def test_a_bad_cell_costs_only_its_value(
    town: Town, edit: tuple[str, str, str], local: str, attribute: str, refusal: Rejected
) -> None:
    pack = town(edit)
    assert pack.rejected == (refusal,)
    assert attribute not in one(pack, local)


def test_what_is_not_known_is_left_out_or_gets_its_default(testville: CityPack) -> None:
    b3, s2, s1 = one(testville, "b3"), one(testville, "s2"), one(testville, "s1")
    assert "registered" not in b3
    assert b3["serviceOnDuty"]["value"] is False
    assert s2["stationType"]["value"] == ["bus"]
    assert s1["stationType"]["value"] == ["terminal"]
    assert s1["boardings"]["value"] == 120  # joined from another file
    assert "boardings" not in s2
    assert s1["name"]["languageMap"]["en"] == "Testville Terminal"  # the file's own English wins
    assert one(testville, "l11")["name"]["languageMap"] == {"ko": "이름 없는 길", "en": "Unnamed road"}
    assert "location" not in one(testville, "l11")
    assert "taxiMeanSpeed" not in one(testville, "l8")


def test_every_way_to_fill_an_attribute(testville: CityPack) -> None:
    park = one(testville, "sunlight-square-car-park")
    assert park["address"]["value"] == {"streetAddress": "남쪽대로 3", "postalCode": "30001"}
    assert one(testville, "bukjjok-car-park")["address"]["value"] == {"streetAddress": "북쪽길 12"}
    assert park["description"]["value"] == "햇살광장주차장 (남쪽대로 3)"
    assert park["refRoadSegment"] == {
        "type": "Relationship",
        "object": "urn:ngsi-ld:RoadSegment:testville:l1",
    }
    link = one(testville, "l5")
    assert link["name"]["languageMap"] == {"ko": "동쪽로", "en": "Dongjjok-ro"}  # "(계획)" replaced away
    assert link["length"] == {"type": "Property", "value": 1000.8, "unitCode": "MTR"}
    assert link["location"]["reconstructed"] == {"type": "Property", "value": True}
    assert one(testville, "b1")["registered"]["value"] == "2024-03-01T00:00:00Z"  # 09:00 in Seoul
    assert one(testville, "b2")["registered"]["value"] == "2024-03-01T00:30:00Z"  # "9:30" too
    assert one(testville, "path-00001")["width"]["value"] == 2.5


@pytest.mark.parametrize(
    "shape",
    [
        '{"type":"Circle","coordinates":[127,36]}',
        '{"type":"LineString","coordinates":[[127,36]]}',
        '{"type":"LineString","coordinates":[[127,36],[127,"36"]]}',
        '{"type":"LineString","coordinates":[[127,36],[227,36]]}',
        '{"type":"Point","coordinates":[[127,36]]}',
        '{"type":"LineString"}',
        "null",
        '"LINESTRING(127 36)"',
    ],
)
def test_a_shape_that_is_none_is_refused(town: Town, shape: str) -> None:
    good = '{"type":"LineString","coordinates":[[127.001,36.001],[127.002,36.004],[127.001,36.008]]}'
    pack = town(("data/paths.geojson", good, shape))
    assert [(r.file, r.row, r.column) for r in pack.rejected] == [("data/paths.geojson", 1, "geometry")]
    assert ids(pack, "Sidewalk") == []


def test_a_feature_that_is_none_and_a_wrong_count_are_said(town: Town) -> None:
    pack = town(("data/paths.geojson", '"geometry"', '"geometri"'))
    assert [(r.row, r.expected) for r in pack.rejected] == [(1, "feature"), (0, "rows")]


@pytest.mark.parametrize(
    ("edit", "error", "said"),
    [
        ((BIKES, "id,name", "nr,name"), PackColumnMissing, "'id'"),
        ((STOPS, "lon,lat", "x,y"), PackColumnMissing, "'lon'"),
        ((BIKES, "id,name", "id,id"), PackFileUnreadable, BIKES),
        ((BIKES, "햇살광장", '"햇살광장'), PackFileUnreadable, BIKES),
        (("data/areas.geojson", "}}", "}"), PackFileUnreadable, "areas.geojson"),
        (("data/areas.geojson", '"features"', '"feature"'), PackFileUnreadable, "FeatureCollection"),
        (("city.toml", "data/bikes.csv", "data/bike.csv"), PackFileMissing, "data/bike.csv"),
        (("city.toml", "data/bikes.csv", "data/../SOURCES.md"), PackFileUnreadable, ".md"),
        (("city.toml", 'key = "stop"', 'key = "halt"'), PackColumnMissing, "'halt'"),
        (("city.toml", 'weight = "people"', 'weight = "souls"'), PackColumnMissing, "'souls'"),
    ],
)
def test_a_file_that_cannot_be_used_at_all_stops_the_reading(
    town: Town, edit: tuple[str, str, str], error: type[PackError], said: str
) -> None:
    pack = town(edit)
    with pytest.raises(error) as fault:
        list(pack.entities())
    assert said in fault.value.message("en")
    assert said in fault.value.message("ko")


def test_bytes_that_are_not_utf8_are_said(town: Town) -> None:
    pack = town()
    path = pack.folder / BIKES
    path.write_bytes(path.read_text(encoding="utf-8").encode("cp949"))
    with pytest.raises(PackFileUnreadable, match="UTF-8"):
        list(pack.entities())


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(town: Town, testville: CityPack) -> None:
    pack = town()
    path = pack.folder / BIKES
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert list(pack.entities()) == list(testville.entities())


def test_a_refusal_speaks_both_languages(town: Town) -> None:
    (refusal,) = town((BIKES, "Y,yes", "Y,perhaps")).rejected
    assert refusal.message("en") == "data/bikes.csv row 2, 'lit': expected yes or no, found 'perhaps'."
    assert refusal.message("ko") == "data/bikes.csv 2행 'lit': 예/아니오 값이(가) 필요한데 'perhaps'입니다."
    assert all(ko and en for ko, en in EXPECTED.values())


def test_a_mended_file_shows_at_once(town: Town) -> None:
    pack = town((BIKES, "b1,", ","))
    assert len(ids(pack, "BikeHireDockingStation")) == 3
    path = pack.folder / BIKES
    path.write_text(path.read_text(encoding="utf-8").replace("\n,", "\nb1,"), encoding="utf-8")
    assert len(ids(pack, "BikeHireDockingStation")) == 4
