"""Adding a device model is adding a row: three makers' payloads, and what is said about a row that cannot work."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

from sejong.hub.ingest.mapping import (
    BadModel,
    DeviceModel,
    Mapped,
    Reader,
    check_model,
    declared,
    read_model,
    read_models,
)
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.members import DEFAULT_CONTEXT

NOW = "2026-11-22T09:00:00.000000Z"

DEVICES = """
[[model]]                       # a LoRaWAN network server publishes the uplinks of air stations
name = "lorawan-air"
topic = "application/+/device/+/event/up"
format = "json"
id = "urn:ngsi-ld:AirQualityObserved:sejong:{deviceInfo.devEui|lower}"
type = "AirQualityObserved"
time = { field = "time" }
[[model.attribute]]
name = "pm25"
path = "object.pm2_5"
unit = "GQ"
scale = 0.1
required = true
[[model.attribute]]
name = "temperature"
path = "object.temp"
unit = "CEL"
scale = 0.01
offset = -40
[[model.attribute]]
name = "status"
path = "object.state"
values = { 0 = "ok", 1 = "broken", true = "ok" }
[[model.attribute]]
name = "rssi"
path = "rxInfo[0].rssi"
[[model.attribute]]
name = "location"
lon = "rxInfo[0].location.longitude"
lat = "rxInfo[0].location.latitude"

[[model]]                       # weather masts that write SenML
name = "senml-mast"
topic = "masts/+/senml"
format = "senml"
id = "urn:ngsi-ld:WeatherObserved:sejong:{topic[1]}"
type = "WeatherObserved"
[[model.attribute]]
name = "temperature"
path = "temp"
[[model.attribute]]
name = "windSpeed"
path = "wind"
unit = "MTS"

[[model]]                       # small parking counters that write UltraLight 2.0
name = "ul-parking"
topic = "ul/+/attrs"
format = "ultralight"
id = "urn:ngsi-ld:OffStreetParking:sejong:{topic[1]}"
type = "OffStreetParking"
[[model.attribute]]
name = "availableSpotNumber"
path = "f"
"""

UPLINK = {
    "deviceInfo": {"devEui": "A84041FFFF1234"},
    "time": "2026-11-22T08:59:30.125+00:00",
    "fPort": 2,
    "object": {"pm2_5": 153, "temp": 5850, "state": 0},
    "rxInfo": [{"rssi": -97, "location": {"longitude": 127.28, "latitude": 36.48}}],
}


def models() -> dict[str, DeviceModel]:
    return {model.name: model for model in read_models(tomllib.loads(DEVICES))}


def known(iri: str) -> bool:
    return not iri.startswith(DEFAULT_CONTEXT)


def read(name: str, raw: Any, topic: str) -> Mapped:
    return Reader(models()[name]).message(raw if isinstance(raw, bytes) else json.dumps(raw).encode(), topic, NOW)


def uplink(**changed: Any) -> Mapped:
    return read("lorawan-air", {**UPLINK, **changed}, "application/1/device/a8/event/up")


def codes(mapped: Mapped) -> list[str]:
    return [error.code for error in mapped.refused]


def test_models_are_sound(context: Context) -> None:
    for model in models().values():
        check_model(model, context, known, list(models().values()))
        assert read_model(declared(model)) == model


def test_lorawan_uplink() -> None:
    found = uplink()
    assert found.refused == []
    assert found.things == [
        {
            "id": "urn:ngsi-ld:AirQualityObserved:sejong:a84041ffff1234",
            "type": "AirQualityObserved",
            "at": "2026-11-22T08:59:30.125+00:00",
            "pm25": 15.3,
            "temperature": 18.5,
            "status": "ok",
            "rssi": -97,
            "location": {"type": "Point", "coordinates": [127.28, 36.48]},
            "units": {"pm25": "GQ", "temperature": "CEL"},
        }
    ]


def test_lorawan_uplink_with_parts_missing_or_wrong() -> None:
    found = uplink(object={"temp": "hot", "state": 9}, rxInfo=[])
    assert codes(found) == ["FieldMissing", "BadValue", "BadValue"]
    assert found.things == []
    found = uplink(object={"pm2_5": "153"})  # a number in quotes is a number
    assert found.things[0]["pm25"] == 15.3
    assert codes(uplink(deviceInfo={})) == ["FieldMissing"]
    assert codes(uplink(time=None)) == ["FieldMissing"]
    assert codes(read("lorawan-air", b"{", "t")) == ["NotJson"]
    assert codes(read("lorawan-air", b"[]", "t")) == ["NotThisFormat"]


def test_senml_mast() -> None:
    pack = [
        {"bn": "urn:dev:x:", "bt": 1795337000, "n": "temp", "u": "Cel", "v": 3.25},
        {"n": "wind", "u": "m/s", "v": 4},
        {"n": "wind", "u": "m/s", "v": 5, "t": 10},
    ]
    found = read("senml-mast", pack, "masts/m-07/senml")
    assert found.refused == []
    assert found.things == [
        {
            "id": "urn:ngsi-ld:WeatherObserved:sejong:m-07",
            "type": "WeatherObserved",
            "at": "2026-11-22T08:43:20.000000Z",
            "temperature": 3.25,
            "windSpeed": 4,
            "units": {"temperature": "CEL", "windSpeed": "MTS"},
        },
        {
            "id": "urn:ngsi-ld:WeatherObserved:sejong:m-07",
            "type": "WeatherObserved",
            "at": "2026-11-22T08:43:30.000000Z",
            "windSpeed": 5,
            "units": {"windSpeed": "MTS"},
        },
    ]


def test_ultralight_counter() -> None:
    found = read("ul-parking", b"f|12|b|88#2026-11-22T08:00:00Z|f|13", "ul/p 1/attrs")
    assert [thing.get("at") for thing in found.things] == [None, "2026-11-22T08:00:00Z"]
    assert [thing["availableSpotNumber"] for thing in found.things] == [12, 13]
    assert found.things[0]["id"] == "urn:ngsi-ld:OffStreetParking:sejong:p%201"
    assert codes(read("ul-parking", b"b|88", "ul/p1/attrs")) == ["NoReadings"]
    assert codes(read("ul-parking", b"???", "ul/p1/attrs")) == ["NotThisFormat"]


def model(**changed: Any) -> DeviceModel:
    plain = {
        "name": "m",
        "topic": "m/+",
        "format": "json",
        "id": "urn:x:{id}",
        "type": "Device",
        "attribute": [{"name": "temperature", "path": "t"}],
        **changed,
    }
    return read_model({key: value for key, value in plain.items() if value is not None})


@pytest.mark.parametrize(
    ("unit", "raw", "at"),
    [
        ("epoch_s", 1795337000, "2026-11-22T08:43:20.000000Z"),
        ("epoch_ms", 1795337000250, "2026-11-22T08:43:20.250000Z"),
        ("epoch_s", "1795337000.5", "2026-11-22T08:43:20.500000Z"),
    ],
)
def test_times_of_devices(unit: str, raw: Any, at: str) -> None:
    reader = Reader(model(time={"field": "ts", "format": unit}))
    assert reader.message(json.dumps({"id": 1, "ts": raw, "t": 2}).encode(), "m/1", NOW).things[0]["at"] == at


@pytest.mark.parametrize("raw", [True, "soon", 1e300, [1], {"a": 1}])
def test_times_that_are_none(raw: Any) -> None:
    reader = Reader(model(time={"field": "ts", "format": "epoch_s"}))
    assert codes(reader.message(json.dumps({"id": 1, "ts": raw, "t": 2}).encode(), "m/1", NOW)) == ["BadTime"]


def test_rows_of_an_array_may_use_fields_of_the_whole_message() -> None:
    reader = Reader(model(each="data", id="urn:x:{gateway}:{id}"))
    raw = json.dumps({"gateway": "g", "data": [{"id": 1, "t": 5}, {"id": 2, "t": 6}, {"t": 7}]}).encode()
    found = reader.message(raw, "m/1", NOW)
    assert [(thing["id"], thing["temperature"]) for thing in found.things] == [("urn:x:g:1", 5), ("urn:x:g:2", 6)]
    assert codes(found) == ["FieldMissing"]


def test_decimal_scales_leave_no_dust() -> None:
    reader = Reader(model(attribute=[{"name": "temperature", "path": "t", "scale": 0.1}]))
    assert reader.message(b'{"id":1,"t":3}', "m/1", NOW).things[0]["temperature"] == 0.3


def test_csv_model() -> None:
    reader = Reader(model(format="csv", columns=["id", "t"]))
    assert reader.message(b"a,1.5\nb,2\n", "m/1", NOW).things == [
        {"id": "urn:x:a", "type": "Device", "temperature": 1.5},
        {"id": "urn:x:b", "type": "Device", "temperature": 2},
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "a b"}, "name may hold"),
        ({"topic": "a/#/b"}, "not an MQTT filter"),
        ({"topic": "sejong/v1/#"}, "overlaps the default topic"),
        ({"topic": "other/#"}, "overlaps other/x of other"),
        ({"id": "urn:x:all"}, "has no {field}"),
        ({"id": "{id}"}, "must look like urn"),
        ({"id": "urn:x:{id"}, "must look like urn"),
        ({"id": "urn:x:{a..b}"}, "path 'a..b' cannot be read"),
        ({"id": "urn:x:{topic[4]}"}, "no level 4"),
        ({"type": "Spaceship"}, "knows no type Spaceship"),
        ({"type": "a b"}, "knows no type a b"),
        ({"attribute": []}, "no [[model.attribute]]"),
        ({"attribute": [{"name": "value", "path": "t"}]}, "NGSI-LD uses this name"),
        ({"attribute": [{"name": "a b", "path": "t"}]}, "letters, digits and _"),
        ({"attribute": [{"name": "a", "path": "t"}, {"name": "a", "path": "u"}]}, "appears twice"),
        ({"attribute": [{"name": "a"}]}, "either path, or lon and lat"),
        ({"attribute": [{"name": "a", "lon": "x"}]}, "either path, or lon and lat"),
        ({"attribute": [{"name": "a", "path": "x[", "lat": ""}]}, "cannot be read"),
        ({"attribute": [{"name": "a", "path": "t", "unit": "km/h"}]}, "UN/CEFACT"),
        ({"attribute": [{"name": "a", "path": "t", "scale": 0}]}, "scale must be"),
        ({"attribute": [{"name": "a", "path": "t", "offset": float("inf")}]}, "offset must be"),
        ({"attribute": [{"name": "a", "path": "t", "values": {}}]}, "values is empty"),
        ({"attribute": [{"name": "a", "path": "t", "values": {"1": 2}, "scale": 2}]}, "do not go with values"),
        ({"format": "csv"}, "columns belong to csv"),
        ({"format": "csv", "columns": ["id"]}, "t is not among the columns"),
        ({"format": "csv", "columns": ["id", "t"], "separator": "::"}, "one character"),
        ({"format": "senml", "each": "a"}, "each belongs to json"),
    ],
)
def test_rows_that_cannot_work_say_why(context: Context, changed: dict[str, Any], said: str) -> None:
    others = [model(name="other", topic="other/x")]
    with pytest.raises(BadModel) as refused:
        check_model(model(**changed), context, known, others)
    assert said in refused.value.message("en")
    assert all(ko for ko, _ in refused.value.faults)


@pytest.mark.parametrize(
    "changed", [{"format": "xml"}, {"id": None}, {"colour": "red"}, {"attribute": [{"path": "t"}]}, {"attribute": None}]
)
def test_rows_of_the_wrong_shape_say_where(changed: dict[str, Any]) -> None:
    with pytest.raises(BadModel, match=r"model m is not valid"):
        model(**changed)


@pytest.mark.parametrize("document", [{}, {"model": []}, {"model": {}}, {"model": [{}], "more": 1}, {"model": [7]}, 7])
def test_files_that_are_no_models(document: Any) -> None:
    with pytest.raises(BadModel):
        read_models(document)
