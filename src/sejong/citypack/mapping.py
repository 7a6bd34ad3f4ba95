"""From rows to entities: the attribute rows of city.toml compiled once, then applied to every row of a file.

Pure: everything comes in as arguments, refusals go into the list the caller gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sejong.citypack.declaration import AttributeRow, Dataset, Declaration
from sejong.citypack.domain import CellRefused, Entity, Rejected, prop, urn_maker
from sejong.citypack.readers import GEOMETRY, Row, Table
from sejong.citypack.romanise import english_name

Make = Callable[[int, Row], dict[str, Any] | None]
"""Makes one attribute instance of a row, or None when the value is not known. Raises CellRefused."""

_FIELD = re.compile(r"\{([^{}|]+)(?:\|(\w+))?\}")
_NOT_IN_SLUG = re.compile(r"[^a-z0-9]+")


class Mapper:
    """The compiled mapping of one dataset."""

    def __init__(self, declared: Declaration, dataset: Dataset) -> None:
        self._city = declared.id
        self._glossary = declared.glossary
        self._zone = ZoneInfo(declared.timezone)
        self._dataset = dataset
        self._id = self._template(dataset.id)
        self._urn = urn_maker(dataset.type, declared.id)
        self._english: dict[str, str] = {}
        self._attributes = [(row.name, row.required, self._compile(row)) for row in dataset.attributes]

    def columns(self) -> tuple[str, ...]:
        """The columns the mapping reads."""
        named = [_FIELD.findall(self._dataset.id)]
        found: list[str] = []
        for row in self._dataset.attributes:
            named.append(_FIELD.findall(row.template or ""))
            found += [row.column] if row.column else list((row.columns or {}).values())
        found += [column for fields in named for column, _ in fields if column != "row"]
        return tuple(dict.fromkeys(found))

    def entities(self, table: Table, rejected: list[Rejected]) -> Iterator[Entity]:
        """The entities of a table, in its order; refused rows go to `rejected`."""
        seen: set[str] = set()

        def refuse(number: int, why: CellRefused, kept: bool) -> None:
            found = str(why.found)[:120]
            rejected.append(Rejected(table.file, number, why.column, found, why.expected, kept))

        for number, row in table:
            try:
                entity = self._entity(number, row, refuse)
                if entity["id"] in seen:
                    raise CellRefused(self._dataset.id, entity["id"], "unique")
            except CellRefused as why:
                refuse(number, why, False)
                continue
            seen.add(entity["id"])
            yield entity

    def _entity(self, number: int, row: Row, refuse: Callable[[int, CellRefused, bool], None]) -> Entity:
        """The entity of a row. A bad cell costs the whole row only where the attribute is required."""
        kind = self._dataset.type
        entity: Entity = {"id": self._urn(self._id(number, row)), "type": kind}
        for name, required, make in self._attributes:
            try:
                instance = make(number, row)
            except CellRefused as why:
                if required:
                    raise
                refuse(number, why, True)
                continue
            if instance is not None:
                entity[name] = instance
        entity["source"] = prop(self._dataset.source)
        entity["dataProvider"] = prop(self._dataset.provider)
        return entity

    def _compile(self, row: AttributeRow) -> Make:
        if row.kind == "LanguageProperty":
            return self._language(row)
        if row.kind == "GeoProperty":
            return _geo(row)
        value = self._value(row)
        target = urn_maker(row.target, self._city) if row.target else None

        def make(number: int, cells: Row) -> dict[str, Any] | None:
            known = value(number, cells)
            if known is None:
                return None
            if target:
                return {"type": "Relationship", "object": target(str(known))}
            return prop([known] if row.as_list else known, row.unit, **row.marks)

        return make

    def _value(self, row: AttributeRow) -> Callable[[int, Row], Any]:
        """Where a Property or Relationship gets its value: constant, template, several cells or one."""
        if row.value is not None:
            return lambda number, cells: deepcopy(row.value)
        if row.template is not None:
            return self._template(row.template)
        if row.columns is not None:
            parts = [(member, self._cell(row, column)) for member, column in row.columns.items()]

            def together(number: int, cells: Row) -> Any:
                known = {member: cell(cells) for member, cell in parts}
                return {k: v for k, v in known.items() if v is not None} or _otherwise(row, "")

            return together
        cell = self._cell(row, row.column or "")
        return lambda number, cells: _or_default(row, cell(cells))

    def _cell(self, row: AttributeRow, column: str) -> Callable[[Row], Any]:
        missing, replace, values, cast = row.missing, row.replace, row.values, self._cast(row, column)

        def read(cells: Row) -> Any:
            text = cells.get(column)
            text = "" if text is None else str(text)
            for old, new in replace:
                text = text.replace(old, new)
            if text in missing:
                return None
            if values is None:
                return cast(text)
            if text not in values:
                raise CellRefused(column, text, "listed")
            return values[text]

        return read

    def _cast(self, row: AttributeRow, column: str) -> Callable[[str], Any]:
        zone = self._zone

        def cast(text: str) -> Any:
            try:
                return _CASTS[row.cast](text, zone)
            except (ValueError, KeyError) as fault:
                raise CellRefused(column, text, row.cast) from fault

        return (lambda text: text) if row.cast == "text" else cast

    def _language(self, row: AttributeRow) -> Make:
        assert row.columns is not None
        cells = {language: self._cell(row, column) for language, column in row.columns.items()}

        def make(number: int, row_cells: Row) -> dict[str, Any] | None:
            known = {language: text for language, cell in cells.items() if (text := cell(row_cells)) is not None}
            if "ko" not in known:
                known = _otherwise(row, row.columns["ko"] if row.columns else "")
            elif row.romanise and "en" not in known:
                known["en"] = self._name(known["ko"])
            return None if known is None else {"type": "LanguageProperty", "languageMap": dict(known)}

        return make

    def _name(self, korean: str) -> str:
        """The English form, worked out once: a road's name stands on many links."""
        if korean not in self._english:
            self._english[korean] = english_name(korean, self._glossary)
        return self._english[korean]

    def _template(self, template: str) -> Callable[[int, Row], str]:
        """`stop-{name|slug}` with the cells of a row; `{row}` is the row's number, five digits wide."""
        fields = [(found.span(), found[1], found[2]) for found in _FIELD.finditer(template)]

        def fill(number: int, cells: Row) -> str:
            out, at = [], 0
            for (start, end), column, form in fields:
                text = f"{number:05}" if column == "row" else str(cells.get(column) or "")
                if not text:
                    raise CellRefused(column, "", "value")
                out += [template[at:start], slug(text, self._glossary) if form == "slug" else text]
                at = end
            return "".join((*out, template[at:]))

        return fill


def slug(text: str, glossary: Mapping[str, str] | None = None) -> str:
    """A name fit for an id: romanised, lower case, words joined by hyphens."""
    return _NOT_IN_SLUG.sub("-", english_name(text, glossary).lower()).strip("-")


def _or_default(row: AttributeRow, known: Any) -> Any:
    return known if known is not None else _otherwise(row, row.column or "")


def _otherwise(row: AttributeRow, column: str) -> Any:
    if row.default is None and row.required:
        raise CellRefused(column or row.name, "", "value")
    return row.default


def _number(text: str, zone: ZoneInfo) -> float | int:
    value = float(text)
    if value - value != 0.0:  # inf and nan are floats but no measurements
        raise ValueError(text)
    return value


_ONE_DIGIT_HOUR = re.compile(r"(?<=[ T])(\d)(?=:)")


def _instant(text: str, zone: ZoneInfo) -> str:
    when = datetime.fromisoformat(_ONE_DIGIT_HOUR.sub(r"0\1", text))
    local = when if when.tzinfo else when.replace(tzinfo=zone)
    return local.astimezone(ZoneInfo("UTC")).strftime("%Y-%m-%dT%H:%M:%SZ")


_YES_NO = {
    "y": True,
    "yes": True,
    "true": True,
    "1": True,
    "n": False,
    "no": False,
    "false": False,
    "0": False,
}

_CASTS: dict[str, Callable[[str, ZoneInfo], Any]] = {
    "integer": lambda text, zone: int(text),
    "number": _number,
    "boolean": lambda text, zone: _YES_NO[text.lower()],
    "datetime": _instant,
}


def _geo(row: AttributeRow) -> Make:
    """A GeoProperty from two number columns, or from the shape of a GeoJSON row."""
    if row.columns is None:
        return lambda number, cells: _shape(row, cells.get(row.column or GEOMETRY))
    lon_column, lat_column = row.columns["lon"], row.columns["lat"]

    def make(number: int, cells: Row) -> dict[str, Any] | None:
        raw = str(cells.get(lon_column) or ""), str(cells.get(lat_column) or "")
        if raw[0] in row.missing and raw[1] in row.missing:
            return _otherwise(row, lon_column)
        try:
            place = [float(raw[0]), float(raw[1])]
        except ValueError:
            place = [999.0, 999.0]
        if not _on_earth(place):
            raise CellRefused(f"{lon_column}, {lat_column}", ", ".join(raw), "coordinates")
        return _located({"type": "Point", "coordinates": place}, row)

    return make


_DEPTH = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
_LEAST = {"LineString": 2, "MultiLineString": 2, "Polygon": 4, "MultiPolygon": 4}
"""Fewest places of a line or ring. Source: RFC 7946 §3.1."""


def _shape(row: AttributeRow, shape: Any) -> dict[str, Any] | None:
    if shape is None or shape == "":
        return _otherwise(row, row.column or GEOMETRY)
    kind = shape.get("type") if isinstance(shape, dict) else None
    if kind not in _DEPTH or not _nested(shape.get("coordinates"), _DEPTH[kind], _LEAST.get(kind, 1)):
        raise CellRefused(row.column or GEOMETRY, str(shape)[:60], "geometry")
    return _located({"type": kind, "coordinates": shape["coordinates"]}, row)


def _located(shape: dict[str, Any], row: AttributeRow) -> dict[str, Any]:
    marks = {name: {"type": "Property", "value": mark} for name, mark in row.marks.items()}
    return {"type": "GeoProperty", "value": shape, **marks}


def _nested(places: Any, depth: int, least: int) -> bool:
    if depth == 0:
        return isinstance(places, list) and len(places) >= 2 and _on_earth(places)
    if not isinstance(places, list) or len(places) < (least if depth == 1 else 1):
        return False
    return all(_nested(place, depth - 1, least) for place in places)


def _on_earth(place: list[Any]) -> bool:
    lon, lat = place[0], place[1]
    return type(lon) in (int, float) and type(lat) in (int, float) and -180 <= lon <= 180 and -90 <= lat <= 90
