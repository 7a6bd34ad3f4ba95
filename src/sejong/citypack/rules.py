"""The rules by which a pack invents what no open data lists, with every number, as city.toml has them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0)]
Between = tuple[Count, Count]
"""Smallest and largest whole number, both possible."""


class _Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="rule"):
    pass


class DrawClass(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A range for things whose Korean name holds one of these words; the first class that fits counts."""

    words: tuple[str, ...]
    between: Between


class Draw(_Declared, frozen=True, tag="draw"):
    """Give one attribute of real things an invented whole number, marked `synthetic` on the attribute."""

    type: str
    attribute: str
    otherwise: Between
    classes: tuple[DrawClass, ...] = ()


class LampClass(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How roads of at least this many lanes (wider direction) are lit."""

    lanes_at_least: Count
    spacing_m: Positive
    arrangement: Literal["single", "staggered", "opposite"]
    height_m: Positive
    power_w: Positive


class StreetLights(_Declared, frozen=True, tag="street-lights"):
    """Lamps along every road link that has a shape."""

    source: str
    classes: tuple[LampClass, ...]
    """Widest first."""
    lane_width_m: Positive
    verge_m: Positive
    """From the edge of the carriageway to the pole."""
    led_share: Annotated[float, Meta(ge=0, le=1)]
    circuit_m: Positive
    """Lamps in one square of this size hang on one cabinet."""


class ParkingBays(_Declared, frozen=True, tag="parking-bays"):
    """Single bays of some car parks, as many as `totalSpotNumber` says, laid out in rows around the point."""

    source: str
    car_parks: tuple[str, ...]
    """Local ids of OffStreetParking."""
    width_m: Positive
    length_m: Positive
    aisle_m: Positive
    per_row: Annotated[int, Meta(ge=1)]


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that says how much of something each area gets."""

    file: str
    area: str
    weight: str


class HouseholdMeters(_Declared, frozen=True, tag="household-meters"):
    """Blocks of homes near the bus stops of each area, with one electricity and one water meter each."""

    source: str
    blocks: Count
    weights: Weights
    offset_m: Between
    """How far from the stop a block may lie."""
    households: Between
    """Homes behind one meter; never so few that one home could be told apart."""


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a station stands: in an `area`, on a `road` (middle of its longest link), or at `lon`, `lat`."""

    ko: str = ""
    en: str = ""
    area: str = ""
    road: str = ""
    lon: float | None = None
    lat: float | None = None


class Stations(_Declared, frozen=True, tag="stations"):
    """Measuring stations of one kind, one per place."""

    source: str
    type: str
    prefix: str
    """Local ids are prefix-01, prefix-02, …"""
    ko: str
    en: str
    """What stands after the place's name."""
    places: tuple[Place, ...]
    attributes: dict[str, Any] = {}
    """Constant Properties of every station of this kind."""


class Fleet(_Declared, frozen=True, tag="fleet"):
    """Vehicles of every bus line: as many as keep the headway at the mean speed, spread evenly."""

    source: str
    prefix: str
    headway_min: Positive
    speed_kmh: Positive
    """Mean speed with stops."""
    capacity: Count


Rule = Draw | StreetLights | ParkingBays | HouseholdMeters | Stations | Fleet
