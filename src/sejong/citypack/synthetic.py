"""Inventing what no open data lists, by the rules of city.toml. Pure: chance comes from the pack's seed.

Each thing draws from a stream of its own name, so one more car park never moves another's capacity. Every
invented entity carries `synthetic: true`; an invented value on a real thing carries it on that attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import ceil
from typing import Any

from sejong.citypack.domain import (
    Entity,
    Rejected,
    local_id,
    name_of,
    names,
    point,
    position,
    prop,
    relation,
    synthetic,
)
from sejong.citypack.lines import Route
from sejong.citypack.rules import (
    Draw,
    Fleet,
    HouseholdMeters,
    ParkingBays,
    Place,
    Rule,
    Stations,
    StreetLights,
)
from sejong.citypack.streetlights import street_lights
from sejong.citypack.world import World
from sejong.kernel.geo import bearing_deg, haversine_m, move_m
from sejong.kernel.ids import urn

AREA = "AdministrativeArea"
STOP = "TransportStation"


def needs(rule: Rule) -> frozenset[str]:
    """The entity types a rule reads."""
    match rule:
        case Draw():
            return frozenset((rule.type,))
        case StreetLights():
            return frozenset(("RoadSegment",))
        case ParkingBays():
            return frozenset(("OffStreetParking",))
        case HouseholdMeters():
            return frozenset((AREA, STOP))
        case Stations():
            roads = ("RoadSegment",) if any(place.road for place in rule.places) else ()
            return frozenset((AREA, STOP, *roads))
        case Fleet():
            return frozenset(("BusLine",))


def gives(rule: Rule) -> frozenset[str]:
    """The entity types a rule makes or completes."""
    match rule:
        case Draw() | Stations():
            return frozenset((rule.type,))
        case StreetLights():
            return frozenset(("Streetlight",))
        case ParkingBays():
            return frozenset(("ParkingSpot",))
        case HouseholdMeters():
            return frozenset(("ACMeasurement", "WaterConsumptionObserved"))
        case Fleet():
            return frozenset(("Vehicle",))


def apply(rule: Rule, world: World) -> None:
    """Let one rule add to the world."""
    makers: dict[type, Callable[[Any, World], Iterator[Entity]]] = {
        Draw: _draw,
        StreetLights: _lamps,
        ParkingBays: _bays,
        HouseholdMeters: _meters,
        Stations: _stations,
        Fleet: _fleet,
    }
    for entity in makers[type(rule)](rule, world):
        world.of(entity["type"]).append(entity)


def invented(kind: str, city: str, local: str, name: dict[str, Any], source: str) -> Entity:
    """The beginning of every invented entity."""
    return {
        "id": urn(kind, city, local),
        "type": kind,
        "name": name,
        "synthetic": synthetic(),
        "source": prop(source),
        "dataProvider": prop("sejong"),
    }


def _draw(rule: Draw, world: World) -> Iterator[Entity]:
    for entity in world.of(rule.type):
        name = name_of(entity)
        low, high = next((c.between for c in rule.classes if any(w in name for w in c.words)), rule.otherwise)
        drawn = world.chance.stream("draw", rule.attribute, entity["id"]).randint(low, high)
        entity[rule.attribute] = prop(drawn, synthetic=True)
    return iter(())


def _lamps(rule: StreetLights, world: World) -> Iterator[Entity]:
    return street_lights(rule, world.city, world.of("RoadSegment"), world.chance)


def _bays(rule: ParkingBays, world: World) -> Iterator[Entity]:
    parks = {local_id(park["id"]): park for park in world.of("OffStreetParking")}
    for local in rule.car_parks:
        park = parks.get(local)
        if park is None or "totalSpotNumber" not in park or position(park) is None:
            world.rejected.append(Rejected("city.toml", 0, "synthetic.car_parks", local, "known place"))
            continue
        yield from _bays_of(rule, world, local, park)


def _bays_of(rule: ParkingBays, world: World, local: str, park: Entity) -> Iterator[Entity]:
    """Rows of bays across a lot that lies in some direction, an aisle between every two rows."""
    centre = position(park)
    assert centre is not None
    total = park["totalSpotNumber"]["value"]
    bearing = world.chance.stream("bays", local).uniform(0.0, 180.0)
    rows = -(-total // rule.per_row)
    for number in range(total):
        row, column = divmod(number, rule.per_row)
        across = (column - (min(rule.per_row, total) - 1) / 2) * rule.width_m
        along = (row - (rows - 1) / 2) * rule.length_m + ((row + 1) // 2 - rows / 4) * rule.aisle_m
        place = move_m(*move_m(*centre, bearing, across), bearing + 90.0, along)
        name = names(f"{name_of(park)} {number + 1}번 면", f"{name_of(park, 'en')} Bay {number + 1}")
        yield {
            **invented("ParkingSpot", world.city, f"{local}-{number + 1:03}", name, rule.source),
            "location": point(*place),
            "category": prop(["offStreet"]),
            "width": prop(rule.width_m, "MTR"),
            "length": prop(rule.length_m, "MTR"),
            "refParkingSite": relation(park["id"]),
        }


def _meters(rule: HouseholdMeters, world: World) -> Iterator[Entity]:
    serial = 0
    for index, blocks in _shares(rule, world).items():
        area = world.areas.areas[index]
        for block in range(1, blocks + 1):
            serial += 1
            yield from _block(rule, world, serial, block, area, world.inside(area, STOP))


def _shares(rule: HouseholdMeters, world: World) -> dict[int, int]:
    """Blocks per area by weight; the largest remainders get what rounding left over."""
    table = world.table(rule.weights.file)
    table.demand(rule.weights.area, rule.weights.weight)
    weights: dict[int, float] = {}
    for number, row in table:
        index = world.areas.by_name.get(row[rule.weights.area])
        try:
            weight = float(row[rule.weights.weight])
        except ValueError:
            world.rejected.append(Rejected(table.file, number, rule.weights.weight, row[rule.weights.weight], "number"))
            continue
        if index is None:
            world.rejected.append(
                Rejected(table.file, number, rule.weights.area, row[rule.weights.area], "known place")
            )
        else:
            weights[index] = weight
    whole = sum(weights.values()) or 1.0
    exact = {index: rule.blocks * weight / whole for index, weight in weights.items()}
    shares = {index: int(value) for index, value in exact.items()}
    by_remainder = sorted(exact, key=lambda index: (shares[index] - exact[index], index))
    for index in by_remainder[: rule.blocks - sum(shares.values())]:
        shares[index] += 1
    return shares


def _block(
    rule: HouseholdMeters, world: World, serial: int, block: int, area: Entity, stops: list[Entity]
) -> Iterator[Entity]:
    """One block of homes: an electricity meter and a water meter at the same place."""
    if not stops:
        world.rejected.append(Rejected("city.toml", 0, "synthetic.household-meters", name_of(area), "known stop"))
        return
    luck = world.chance.stream("block", local_id(area["id"]), block)
    near = position(luck.choice(stops))
    assert near is not None
    place = point(*move_m(*near, luck.uniform(0.0, 360.0), luck.uniform(*rule.offset_m)))
    households = luck.randint(*rule.households)
    ko, en = name_of(area), name_of(area, "en")
    for kind, what, what_en, extra in (
        ("ACMeasurement", "전력량계", "Electricity Meter", {"phaseType": prop("threePhase")}),
        ("WaterConsumptionObserved", "수도계량기", "Water Meter", {}),
    ):
        name = names(f"{ko} {block}블록 {what}", f"{en} Block {block} {what_en}")
        yield {
            **invented(kind, world.city, f"block-{serial:04}", name, rule.source),
            "location": place,
            "households": prop(households),
            **extra,
        }


def _stations(rule: Stations, world: World) -> Iterator[Entity]:
    for number, place in enumerate(rule.places, start=1):
        found = _placed(rule, world, place)
        if found is None:
            wanted = place.area or place.road or place.ko
            world.rejected.append(Rejected("city.toml", 0, f"synthetic.{rule.prefix}", wanted, "known place"))
            continue
        ko, en, lon, lat = found
        local = f"{rule.prefix}-{number:02}"
        yield {
            **invented(rule.type, world.city, local, names(f"{ko} {rule.ko}", f"{en} {rule.en}"), rule.source),
            "location": point(lon, lat),
            **{name: prop(value) for name, value in rule.attributes.items()},
        }


def _placed(rule: Stations, world: World, place: Place) -> tuple[str, str, float, float] | None:
    """Name (ko, en) and position (lon, lat) of a declared place, None if the pack does not have it."""
    if place.lon is not None and place.lat is not None:
        return place.ko, place.en, place.lon, place.lat
    if place.road:
        links = [e for e in world.of("RoadSegment") if name_of(e) == place.road and "location" in e]
        if not links:
            return None
        longest = max(links, key=lambda link: (link["length"]["value"], link["id"]))
        lon, lat = position(longest) or (0.0, 0.0)
        return place.road, name_of(longest, "en"), lon, lat
    return _in_area(world, place.area)


def _in_area(world: World, area: str) -> tuple[str, str, float, float] | None:
    """Near the stop that lies nearest to the middle of the area."""
    areas = world.areas
    if area not in areas.by_name:
        return None
    index = areas.by_name[area]
    middle = areas.shapes[index].representative_point()
    entity = areas.areas[index]
    inside = [place for stop in world.inside(entity, STOP) if (place := position(stop))]
    lon, lat = min(
        inside,
        key=lambda place: (haversine_m(*place, middle.x, middle.y), place),
        default=(middle.x, middle.y),
    )
    return name_of(entity), name_of(entity, "en"), lon, lat


def _fleet(rule: Fleet, world: World) -> Iterator[Entity]:
    for route in world.routes:
        minutes = route.length_m / 1000.0 / rule.speed_kmh * 60.0
        n = max(1, ceil(minutes / rule.headway_min))
        for number in range(1, n + 1):
            lon, lat, bearing = along(route, route.length_m * (number - 1) / n)
            local = f"{rule.prefix}-{route.local_id}-{number}"
            name = names(f"{route.short} {number}호차", f"{route.short} Bus {number}")
            yield {
                **invented("Vehicle", world.city, local, name, rule.source),
                "location": point(lon, lat),
                "bearing": prop(round(bearing, 1), "DD"),
                "vehicleType": prop("bus"),
                "category": prop(["public"]),
                "capacity": prop(rule.capacity),
                "refPublicTransportRoute": relation(route.id),
            }


def along(route: Route, metres: float) -> tuple[float, float, float]:
    """The place `metres` along a line's path and the way it leads there: lon, lat, bearing in degrees."""
    left = metres
    a, b = route.path[0], route.path[1]
    for a, b in pairwise(route.path):
        step = haversine_m(*a, *b)
        if left <= step and step > 0:
            share = left / step
            return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, bearing_deg(*a, *b)
        left -= step
    return *b, bearing_deg(*a, *b)
