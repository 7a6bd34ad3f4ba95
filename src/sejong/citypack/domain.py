"""What a city pack is made of, and how it says that something in it is broken."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from sejong.kernel.errors import CityError
from sejong.kernel.geo import BBox
from sejong.kernel.ids import urn

Entity = dict[str, Any]
"""One entity as normalized NGSI-LD JSON with short names and no @context."""


class City(msgspec.Struct, frozen=True):
    """The city itself: its names, where it is and which clock its people live by."""

    id: str
    name_ko: str
    name_en: str
    centre: tuple[float, float]
    """(lon, lat) in degrees: where the map opens."""
    bbox: BBox
    """Generous box around everything the pack describes, in degrees."""
    timezone: str
    """IANA name, for example Asia/Seoul."""
    language: str
    """Language of the sources and of pages by default."""


EXPECTED: dict[str, tuple[str, str]] = {
    "value": ("값", "a value"),
    "integer": ("정수", "a whole number"),
    "number": ("숫자", "a number"),
    "boolean": ("예/아니오 값", "yes or no"),
    "datetime": ("날짜와 시각(YYYY-MM-DD HH:MM)", "a date and time (YYYY-MM-DD HH:MM)"),
    "coordinates": ("경도·위도", "longitude and latitude in degrees"),
    "geometry": ("GeoJSON 도형", "a GeoJSON geometry"),
    "listed": ("목록에 있는 값", "one of the listed values"),
    "columns": ("머리글과 같은 칸 수", "as many cells as the header"),
    "unique": ("중복되지 않는 번호", "an id used once"),
    "rows": ("선언된 행 수", "the declared number of rows"),
    "known stop": ("등록된 정류장", "a stop of this pack"),
    "known place": ("이 도시에 있는 곳", "a place of this pack"),
    "feature": ("GeoJSON Feature", "a GeoJSON Feature"),
}
"""What a cell should have held: key → (Korean, English)."""


class Rejected(msgspec.Struct, frozen=True):
    """A row or a cell the pack refused: where it is, what was there and what belongs there."""

    file: str
    row: int
    """Line of a CSV file, number of a GeoJSON feature (both from 1); 0 = the file as a whole."""
    column: str
    found: str
    expected: str
    """A key of EXPECTED."""
    kept: bool = False
    """Whether the thing is in the city all the same, only without this value."""

    def message(self, language: str = "ko") -> str:
        """The refusal as a sentence, in `ko` or `en`."""
        ko, en = EXPECTED[self.expected]
        if language == "ko":
            return f"{self.file} {self.row}행 '{self.column}': {ko}이(가) 필요한데 {self.found!r}입니다."
        return f"{self.file} row {self.row}, {self.column!r}: expected {en}, found {self.found!r}."


class CellRefused(Exception):
    """One cell cannot become a value; the mapper turns it into a `Rejected`. Never leaves the service."""

    def __init__(self, column: str, found: object, expected: str) -> None:
        self.column, self.found, self.expected = column, found, expected
        super().__init__(f"{column}: {found!r} is not {expected}")


class PackError(CityError):
    """A city pack is unusable as a whole."""

    status: ClassVar[int] = 500


class PackNotFound(PackError):
    """No pack of this name or path exists."""

    status = 404
    ko = "도시 꾸러미 '{name}'을(를) 찾을 수 없습니다. 찾아본 곳: {looked}"
    en = "There is no city pack '{name}'. Looked in: {looked}"


class PackFileMissing(PackError):
    """The declaration names a file that is not in the pack."""

    ko = "{pack}: city.toml에 적힌 파일 {file}이(가) 없습니다."
    en = "{pack}: city.toml names {file}, which does not exist."


class PackFileUnreadable(PackError):
    """A file of the pack is not what its name says."""

    ko = "{file}을(를) 읽을 수 없습니다: {why}"
    en = "{file} cannot be read: {why}"


class PackColumnMissing(PackError):
    """The declaration names a column that the file does not have."""

    ko = "{file}에 '{column}' 열이 없습니다. 있는 열: {columns}"
    en = "{file} has no column '{column}'. It has: {columns}"


class PackDeclarationWrong(PackError):
    """city.toml itself is not valid."""

    ko = "{file}이(가) 올바르지 않습니다: {why}"
    en = "{file} is not valid: {why}"


_SAFE = re.compile(r"[A-Za-z0-9._~!$'()*+,;=@-]*")


def urn_maker(kind: str, city: str) -> Callable[[str], str]:
    """A fast `kernel.ids.urn` for many ids of one type: most local ids need no quoting."""
    prefix = urn(kind, city, "")

    def make(local: str) -> str:
        return prefix + local if _SAFE.fullmatch(local) else urn(kind, city, local)

    return make


def prop(value: Any, unit: str | None = None, **marks: Any) -> dict[str, Any]:
    """A Property; `unit` is a UN/CEFACT code, `marks` become sub-Properties (synthetic=True)."""
    out: dict[str, Any] = {"type": "Property", "value": value}
    if unit:
        out["unitCode"] = unit
    for name, mark in marks.items():
        out[name] = {"type": "Property", "value": mark}
    return out


def point(lon: float, lat: float) -> dict[str, Any]:
    """A GeoProperty at one place; seven decimals are about a centimetre."""
    return {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [round(lon, 7), round(lat, 7)]}}


def geometry(value: dict[str, Any], **marks: Any) -> dict[str, Any]:
    """A GeoProperty with any GeoJSON geometry."""
    out: dict[str, Any] = {"type": "GeoProperty", "value": value}
    for name, mark in marks.items():
        out[name] = {"type": "Property", "value": mark}
    return out


def names(ko: str, en: str) -> dict[str, Any]:
    """A LanguageProperty in Korean and English."""
    return {"type": "LanguageProperty", "languageMap": {"ko": ko, "en": en}}


def relation(target: str) -> dict[str, Any]:
    """A Relationship to one entity."""
    return {"type": "Relationship", "object": target}


def synthetic() -> dict[str, Any]:
    """The mark of an invented thing."""
    return {"type": "Property", "value": True}


def name_of(entity: Entity, language: str = "ko") -> str:
    """The name of an entity in one language, empty if it has none."""
    return str(entity.get("name", {}).get("languageMap", {}).get(language, ""))


def local_id(urn: str) -> str:
    """The last part of an id: `urn:ngsi-ld:RoadSegment:sejong:413` → `413`."""
    return urn.rsplit(":", 1)[-1]


def position(entity: Entity) -> tuple[float, float] | None:
    """One place (lon, lat) that stands for the entity: its point or the middle of its line, else None."""
    location = entity.get("location")
    if location is None:
        return None
    shape = location["value"]
    coordinates = shape["coordinates"]
    if shape["type"] == "Point":
        return coordinates[0], coordinates[1]
    if shape["type"] == "LineString":
        a, b = coordinates[(len(coordinates) - 1) // 2], coordinates[len(coordinates) // 2]
        return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2
    return None
