"""Entities of the record as SensorThings entities. Pure. Source: OGC 18-088 §8.2 (properties of each entity)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from sejong.hub.history import as_written
from sejong.hub.indexing import SYSTEM
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.ngsi.members import LOCATION
from sejong.hub.opendata.table import value_of
from sejong.hub.sta.compile import DESCRIPTION, LINKS, NAME
from sejong.hub.store.sta import ID_BITS, Row
from sejong.kernel.units import symbol

Doc = dict[str, Any]
MEASUREMENT = "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement"
COUNT = "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_CountObservation"
UNITS = "urn:un:unece:uncefact:codelist:standard:UNECE:Recommendation20"
GEOJSON = "application/geo+json"

_NAMED = frozenset({"@iot.id", "@iot.selfLink", "id", "name", "description"})
SHOWN: dict[str, frozenset[str]] = {
    "Things": _NAMED | {"properties"},
    "Locations": _NAMED | {"encodingType", "location"},
    "FeaturesOfInterest": _NAMED | {"encodingType", "feature"},
    "HistoricalLocations": frozenset({"@iot.id", "@iot.selfLink", "id", "time"}),
    "Datastreams": _NAMED | {"observationType", "unitOfMeasurement", "properties", "observedArea"},
    "Sensors": _NAMED | {"encodingType", "metadata"},
    "ObservedProperties": _NAMED | {"definition"},
    "Observations": frozenset(
        {"@iot.id", "@iot.selfLink", "id", "phenomenonTime", "result", "resultTime", "parameters"}
    ),
}
"""The properties an entity of a set may have; `$select` chooses among them."""


class Shower:
    """Writes SensorThings JSON for one reader."""

    def __init__(self, base: str, context: Context, shape: Callable[[int | None], Any], language: str) -> None:
        self.base, self._context, self._shape, self._language = base, context, shape, language

    def entity(self, entity_set: str, row: Row) -> Doc:
        """One entity of a set, with its links."""
        identity = identity_of(entity_set, row)
        link = f"{self.base}/{entity_set}({quoted(identity)})"
        body: Doc = {"@iot.id": identity, "@iot.selfLink": link}
        body |= getattr(self, f"_{entity_set.lower()}")(row)
        for name in LINKS[entity_set]:
            body[f"{name}@iot.navigationLink"] = f"{link}/{name}"
        return body

    def _things(self, row: Row) -> Doc:
        entity = _document(row)
        facts: Doc = {"id": entity["id"], "type": "/".join(map(self._context.compact, entity["type"]))}
        for key, instances in entity.items():
            value = value_of(instances[0]) if key not in SYSTEM else None
            if isinstance(value, (str, int, float, bool)) and "observedAt" not in instances[0]:
                facts[self._context.compact(key)] = value
        return {**self._named(entity), "properties": facts}

    def _locations(self, row: Row) -> Doc:
        entity = _document(row)
        return {**self._named(entity), "encodingType": GEOJSON, "location": _place(entity)}

    def _featuresofinterest(self, row: Row) -> Doc:
        entity = _document(row)
        return {**self._named(entity), "encodingType": GEOJSON, "feature": _place(entity)}

    def _historicallocations(self, row: Row) -> Doc:
        return {"time": _document(row)["modifiedAt"]}

    def _datastreams(self, row: Row) -> Doc:
        entity = _document(row)
        instance = entity.get(row.iri or "", [{}])[0]
        code, name = instance.get("unitCode"), self._context.compact(row.iri or "")
        found: Doc = {
            "name": f"{self._label(entity)}: {name}",
            "description": name,
            "observationType": COUNT if type(instance.get("value")) is int else MEASUREMENT,
            "unitOfMeasurement": {
                "name": code,
                "symbol": symbol(code) if code else None,
                "definition": f"{UNITS}:{code}" if code else None,
            },
            "properties": {"entity": entity["id"], "attribute": name},
        }
        place = _place(entity)
        if place is not None:
            found["observedArea"] = place
        return found

    def _sensors(self, row: Row) -> Doc:
        entity = _document(row)
        name = self._context.compact(row.iri or "")
        return {
            "name": f"{self._label(entity)}: {name}",
            "description": "The instrument is not described in the record; what is known stands in the entity.",
            "encodingType": "text/html",
            "metadata": f"{self.base.partition('/sta/')[0]}/e/{entity['id']}",
        }

    def _observedproperties(self, row: Row) -> Doc:
        name = self._context.compact(row.iri or "")
        return {"name": name, "definition": row.iri, "description": name}

    def _observations(self, row: Row) -> Doc:
        when = None if row.t is None else as_written(row.t)
        return {
            "phenomenonTime": when,
            "result": result_of(row, self._shape),
            "resultTime": when,
            "parameters": {"recordedAt": None if row.modified is None else format_instant(row.modified)},
        }

    def _named(self, entity: Doc) -> Doc:
        said = entity.get(DESCRIPTION, [{}])[0]
        text = said.get("languageMap", {}).get(self._language) or value_of(said)
        kind = "/".join(map(self._context.compact, entity["type"]))
        return {"name": self._label(entity), "description": text if isinstance(text, str) else kind}

    def _label(self, entity: Doc) -> str:
        said = entity.get(NAME, [{}])[0]
        names = said.get("languageMap") or {}
        found = names.get(self._language) or names.get("ko") or next(iter(names.values()), None) or said.get("value")
        return found if isinstance(found, str) else entity["id"]


def result_of(row: Row, shape: Callable[[int | None], Any]) -> float | int | None:
    """The number as it was written: 5 stays 5, and 5.0 stays 5.0."""
    kept = shape(row.shape)
    whole = kept is not None and type(kept.get("value")) is int
    return int(row.num) if whole and row.num is not None else row.num


def identity_of(entity_set: str, row: Row) -> int | str:
    """The id of an entity in its set. An Observation's says where in the history it stands."""
    if entity_set == "Observations":
        micros = 0 if row.t is None else round(row.t.timestamp() * 1_000_000)
        return f"{row.eno}-{row.ano}-{micros}-{row.no}"
    if entity_set in ("Datastreams", "Sensors"):
        return ((row.eno or 0) << ID_BITS) | (row.ano or 0)
    return row.ano or 0 if entity_set == "ObservedProperties" else row.eno or 0


def quoted(identity: int | str) -> str:
    """An id as it stands in an address."""
    return f"'{identity}'" if isinstance(identity, str) else str(identity)


def _document(row: Row) -> Doc:
    return msgspec.json.decode(row.doc or b"{}")


def _place(entity: Doc) -> Doc | None:
    return entity.get(LOCATION, [{}])[0].get("value")
