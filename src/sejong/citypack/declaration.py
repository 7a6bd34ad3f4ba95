"""`city.toml`: everything a city says about itself and its files, read strictly into frozen structs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sejong.citypack.domain import City, PackDeclarationWrong
from sejong.citypack.rules import Rule
from sejong.kernel.geo import BBox

Kind = Literal["Property", "GeoProperty", "Relationship", "LanguageProperty"]
Cast = Literal["text", "integer", "number", "boolean", "datetime"]


class AttributeRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the mapping: which column(s) become which attribute.

    Exactly one of `column`, `columns`, `template`, `value` says where the value comes from.
    """

    name: str
    kind: Kind = "Property"
    column: str | None = None
    columns: dict[str, str] | None = None
    """Property: member → column (an address); LanguageProperty: language → column; GeoProperty: lon, lat."""
    template: str | None = None
    value: Any = None
    cast: Cast = "text"
    unit: str | None = None
    """UN/CEFACT code."""
    values: dict[str, Any] | None = None
    """Translation of what stands in the file (Y → working); anything else is refused."""
    missing: tuple[str, ...] = ("",)
    """Cell texts that mean "not known"."""
    default: Any = None
    """Used when the value is not known; without it the attribute is left out."""
    required: bool = False
    """Refuse the row when the value is not known and there is no default."""
    replace: tuple[tuple[str, str], ...] = ()
    """Text replacements, in order, before anything else."""
    romanise: bool = False
    """LanguageProperty: write the English form from the Korean one where the file has none."""
    as_list: bool = False
    target: str | None = None
    """Relationship: entity type the cell's local id belongs to."""
    marks: dict[str, Any] = {}
    """Sub-properties that qualify the value (reconstructed = true)."""


class Join(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Columns taken from a second file: the row whose `key` equals this file's `on`."""

    file: str
    key: str
    on: str


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the pack and what its rows become."""

    file: str
    type: str
    id: str
    """Template of the local id, for example `{station_id}` or `terminal-{name|slug}`."""
    source: str
    provider: str
    attributes: tuple[AttributeRow, ...]
    rows: int | None = None
    """How many rows the file should have; a difference is reported."""
    join: tuple[Join, ...] = ()


class Lines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bus lines from a table of stop sequences; their paths are found along the road links."""

    file: str
    source: str
    provider: str
    route: str
    order: str
    stop: str
    name: str
    short: str
    """Regular expression whose first group is the short name of the line."""
    network: str = "RoadSegment"
    stops: str = "TransportStation"
    type: str = "BusLine"
    snap_m: Annotated[float, Meta(gt=0)] = 150.0
    """A stop further than this from every node is off the network and joined by a straight segment."""
    detour: Annotated[float, Meta(gt=1)] = 3.0
    """A path longer than this many times the straight distance is not believed: a straight segment."""
    replace: tuple[tuple[str, str], ...] = ()


class Areas(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which areas things are said to lie in (`containedInPlace`)."""

    type: str = "AdministrativeArea"
    category: str = "legalDong"


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which entities put their name on the base map: of a type, if given with a value in an attribute."""

    kind: str
    type: str
    attribute: str = ""
    value: str = ""


class BaseMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the base map names besides roads and areas; earlier kinds are more important."""

    labels: tuple[Label, ...] = ()


class Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of city.toml."""

    id: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]*$")]
    names: dict[str, str]
    timezone: str
    language: str
    centre: tuple[float, float]
    bbox: tuple[float, float, float, float]
    """west, south, east, north."""
    seed: int
    dataset: tuple[Dataset, ...]
    glossary: dict[str, str] = {}
    """Korean words of this city with their English, for romanised names."""
    areas: Areas = Areas()
    lines: Lines | None = None
    synthetic: tuple[Rule, ...] = ()
    basemap: BaseMap = BaseMap()

    def city(self) -> City:
        """The city as the rest of the house knows it."""
        return City(
            id=self.id,
            name_ko=self.names["ko"],
            name_en=self.names["en"],
            centre=self.centre,
            bbox=BBox(*self.bbox),
            timezone=self.timezone,
            language=self.language,
        )


def read_declaration(folder: Path) -> Declaration:
    """Read and check `city.toml` of a pack. Raises PackDeclarationWrong with the place of the fault."""
    file = folder / "city.toml"
    try:
        declared = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), Declaration)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as fault:
        raise PackDeclarationWrong(file=str(file), why=str(fault)) from fault
    for fault in _faults(declared):
        raise PackDeclarationWrong(file=str(file), why=fault)
    return declared


def read_data_sets(folder: Path) -> list[dict[str, Any]]:
    """The `[[data_set]]` tables of `datasets.toml`; none where a pack has no such file. Raises PackDeclarationWrong."""
    file = folder / "datasets.toml"
    if not file.is_file():
        return []
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
        return msgspec.convert(found.pop("data_set", []), list[dict[str, Any]])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as fault:
        raise PackDeclarationWrong(file=str(file), why=str(fault)) from fault


def _faults(declared: Declaration) -> list[str]:
    """What msgspec cannot see: rows that contradict themselves."""
    found = [f"names.{language} is missing" for language in ("ko", "en") if not declared.names.get(language)]
    box = BBox(*declared.bbox)
    if box.west >= box.east or box.south >= box.north or not box.contains(*declared.centre):
        found.append("bbox must be west, south, east, north and hold the centre")
    for dataset in declared.dataset:
        for row in dataset.attributes:
            found += [f"dataset {dataset.file}: attribute {row.name}: {why}" for why in _row_faults(row)]
    return found


def _row_faults(row: AttributeRow) -> list[str]:
    givers = [row.column, row.columns, row.template, row.value]
    if sum(giver is not None for giver in givers) != 1:
        return ["exactly one of column, columns, template, value is needed"]
    if row.kind == "Relationship" and not row.target:
        return ["a Relationship needs a target type"]
    if row.kind == "LanguageProperty" and (row.columns is None or "ko" not in row.columns):
        return ["a LanguageProperty needs columns = { ko = … }"]
    if row.kind == "GeoProperty" and row.column is None and set(row.columns or ()) != {"lon", "lat"}:
        return ["a GeoProperty needs a geometry column, or columns = { lon = …, lat = … }"]
    return []
