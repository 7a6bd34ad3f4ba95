"""The catalogue as other catalogues read it. Pure. Source: DCAT-AP 3.0, W3C DCAT 3, W3C DQV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sejong.hub.opendata.catalogue import Listed
from sejong.hub.opendata.dataset import DataSet, Place
from sejong.hub.opendata.export import FORMATS
from sejong.hub.opendata.quality import Quality

_EU = "http://publications.europa.eu/resource/authority"
_ACCESS = {"public": "PUBLIC", "key": "RESTRICTED", "consent": "NON_PUBLIC"}
_FILES = {
    "csv": ("CSV", "text/csv"),
    "geojson": ("GEOJSON", "application/geo+json"),
    "ndjson": ("JSONL", "application/x-ndjson"),
    "parquet": ("PARQUET", "application/vnd.apache.parquet"),
}
_FREQUENCY = ((60, "UPDATE_CONT"), (3600, "HOURLY"), (86_400, "DAILY"), (604_800, "WEEKLY"), (2_700_000, "MONTHLY"))
CONTEXT: dict[str, Any] = {
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "vcard": "http://www.w3.org/2006/vcard/ns#",
    "dqv": "http://www.w3.org/ns/dqv#",
    "prov": "http://www.w3.org/ns/prov#",
    "locn": "http://www.w3.org/ns/locn#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "gsp": "http://www.opengis.net/ont/geosparql#",
}


def catalogue(listed: Sequence[Listed], base: str, place: Place) -> dict[str, Any]:
    """The whole catalogue as one JSON-LD document."""
    publisher = {"@type": "foaf:Agent", "@id": f"{base}/#publisher", "foaf:name": _texts(place.names)}
    newest = max((one.changed for one in listed), default=None)
    return {
        "@context": CONTEXT,
        "@id": f"{base}/data/catalog.jsonld",
        "@type": "dcat:Catalog",
        "dct:title": [
            {"@value": f"{place.names['ko']} 열린 데이터", "@language": "ko"},
            {"@value": f"Open data of {place.names['en']}", "@language": "en"},
        ],
        "dct:description": [
            {"@value": "도시의 살아 있는 기록에서 나오는 데이터셋", "@language": "ko"},
            {"@value": "Data sets from the living record of the city", "@language": "en"},
        ],
        "dct:publisher": publisher,
        "foaf:homepage": {"@id": f"{base}/data"},
        "dct:language": [{"@id": f"{_EU}/language/KOR"}, {"@id": f"{_EU}/language/ENG"}],
        **({} if newest is None else {"dct:modified": _time(newest)}),
        "dct:spatial": _spatial(place),
        "dcat:themeTaxonomy": {"@id": f"{_EU}/data-theme"},
        "dcat:service": [_service(base, listed, *row) for row in _SERVICES],
        "dcat:dataset": [data_set(one, base, place) for one in listed],
    }


_SERVICES = (
    ("/ngsi-ld/v1", "NGSI-LD", "https://www.etsi.org/deliver/etsi_gs/CIM/001_099/009/", "/openapi.json"),
    ("/sta/v1.1", "OGC SensorThings", "https://docs.ogc.org/is/18-088/18-088.html", "/sta/v1.1"),
)


def _service(
    base: str, listed: Sequence[Listed], path: str, name: str, standard: str, described: str
) -> dict[str, Any]:
    return {
        "@id": f"{base}{path}#service",
        "@type": "dcat:DataService",
        "dct:title": {"@value": name, "@language": "en"},
        "dcat:endpointURL": {"@id": f"{base}{path}"},
        "dcat:endpointDescription": {"@id": f"{base}{described}"},
        "dct:conformsTo": {"@id": standard},
        "dcat:servesDataset": [{"@id": _address(base, one.data_set)} for one in listed],
    }


def data_set(one: Listed, base: str, place: Place) -> dict[str, Any]:
    """One data set with its files."""
    said = one.data_set
    frequency = _frequency(said.update_s)
    found: dict[str, Any] = {
        "@id": _address(base, said),
        "@type": "dcat:Dataset",
        "dct:identifier": said.id,
        "dct:title": _texts(said.title),
        "dct:description": _texts(said.description),
        "dcat:theme": {"@id": f"{_EU}/data-theme/{said.theme}"},
        "dcat:keyword": [{"@value": word} for word in said.keywords],
        "dct:publisher": {"@type": "foaf:Agent", "foaf:name": said.owner},
        "dct:accessRights": {"@id": f"{_EU}/access-right/{_ACCESS[said.access]}"},
        "dct:accrualPeriodicity": {"@id": f"{_EU}/frequency/{frequency}"},
        "dct:issued": _time(one.created),
        "dct:modified": _time(one.changed if one.quality is None else one.quality.newest or one.changed),
        "dct:spatial": _spatial(place),
        "dcat:landingPage": {"@id": f"{base}/data/{said.id}"},
        "dcat:distribution": [_file(said, base, ending) for ending in FORMATS],
    }
    if said.source:
        found["dct:source"] = said.source
        found["dct:provenance"] = {"@type": "dct:ProvenanceStatement", "dct:description": said.source}
    if said.contact:
        found["dcat:contactPoint"] = {"@type": "vcard:Kind", "vcard:fn": said.owner, **_contact(said.contact)}
    if one.quality is not None:
        found["dqv:hasQualityMeasurement"] = _measurements(one.quality)
    return found


def _address(base: str, said: DataSet) -> str:
    return f"{base}/data/{said.id}#dataset"


def _file(said: DataSet, base: str, ending: str) -> dict[str, Any]:
    name, media = _FILES[ending]
    url = f"{base}/data/v1/sets/{said.id}.{ending}"
    return {
        "@id": f"{url}#distribution",
        "@type": "dcat:Distribution",
        "dct:title": {"@value": f"{said.title_in('en')} ({name})", "@language": "en"},
        "dcat:accessURL": {"@id": f"{base}/data/{said.id}"},
        "dcat:downloadURL": {"@id": url},
        "dcat:mediaType": {"@id": f"http://www.iana.org/assignments/media-types/{media}"},
        "dct:format": {"@id": f"{_EU}/file-type/{name}"},
        "dct:license": {"@id": said.licence},
        **({"dct:rights": said.licence_note} if said.licence_note else {}),
    }


def _contact(text: str) -> dict[str, Any]:
    if "@" in text and ":" not in text:
        text = f"mailto:{text}"
    return {"vcard:hasEmail" if text.startswith("mailto:") else "vcard:hasURL": {"@id": text}} if ":" in text else {}


def _frequency(update_s: float | None) -> str:
    if update_s is None:
        return "IRREG"
    return next((name for most, name in _FREQUENCY if update_s <= most), "ANNUAL")


def _measurements(quality: Quality) -> list[dict[str, Any]]:
    values = {
        "completeness": quality.completeness,
        "freshness": quality.freshness,
        "conformity": quality.conformity,
        "entities": quality.entities,
        "gaps": quality.gaps,
    }
    return [
        {
            "@type": "dqv:QualityMeasurement",
            "dqv:isMeasurementOf": {"@id": f"urn:sejong:metric:{name}"},
            "dqv:value": value,
            "prov:generatedAtTime": _time(quality.measured),
        }
        for name, value in values.items()
        if value is not None
    ]


def _spatial(place: Place) -> dict[str, Any]:
    west, south, east, north = place.bbox
    ring = f"{west} {south}, {east} {south}, {east} {north}, {west} {north}, {west} {south}"
    return {
        "@type": "dct:Location",
        "dcat:bbox": {"@value": f"POLYGON(({ring}))", "@type": "gsp:wktLiteral"},
    }


def _texts(by_language: dict[str, str]) -> list[dict[str, str]]:
    return [{"@value": text, "@language": language} for language, text in sorted(by_language.items())]


def _time(moment: Any) -> dict[str, str]:
    return {"@value": moment.isoformat(timespec="seconds"), "@type": "xsd:dateTime"}
