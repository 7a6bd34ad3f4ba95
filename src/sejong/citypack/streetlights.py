"""Street lights along the road links. Pure.

A link is one direction of a road; both directions share their centre line, so each pair is lit once: lamps
stand on the verge right and left of the whole carriageway. Traffic keeps to the right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from sejong.citypack.domain import (
    Entity,
    local_id,
    name_of,
    names,
    point,
    prop,
    relation,
    synthetic,
    urn_maker,
)
from sejong.citypack.rules import LampClass, StreetLights
from sejong.kernel.chance import Chance
from sejong.kernel.geo import bearing_deg, haversine_m, move_m

METRES_PER_DEGREE = 111_195.0
"""Of latitude. Source: mean Earth radius × π / 180."""


def street_lights(rule: StreetLights, city: str, links: Sequence[Entity], chance: Chance) -> Iterator[Entity]:
    """The lamps of every lit road, link by link; a link narrower than every class stays dark."""
    shaped = [link for link in links if "location" in link]
    by_ends = {(link["fromNode"]["value"], link["toNode"]["value"]): link for link in shaped}
    lit: set[str] = set()
    number: dict[str, int] = {}
    for link in shaped:
        back = by_ends.get((link["toNode"]["value"], link["fromNode"]["value"]))
        if link["id"] in lit:
            continue
        lit.add(link["id"])
        if back is not None:
            lit.add(back["id"])
        yield from _lamps_of(rule, city, link, back, chance, number)


def _lamps_of(
    rule: StreetLights, city: str, link: Entity, back: Entity | None, chance: Chance, number: dict[str, int]
) -> Iterator[Entity]:
    right, left = _verges(rule, link, back)
    wider = max(_lanes(link), _lanes(back) if back else 0)
    how = next((c for c in rule.classes if wider >= c.lanes_at_least), None)
    if how is None:
        return
    luck = chance.stream("lamp", local_id(link["id"]))
    led = luck.random() < rule.led_share
    ko, en = name_of(link), name_of(link, "en")
    shape = link["location"]["value"]["coordinates"]
    name_it = urn_maker("Streetlight", city)
    for index, (lon, lat, bearing) in enumerate(_poles(how, shape, right, left), start=1):
        number[ko] = number.get(ko, 0) + 1
        yield {
            "id": name_it(f"{local_id(link['id'])}-{index}"),
            "type": "Streetlight",
            "name": names(f"{ko} 가로등 {number[ko]}", f"{en} Street Light {number[ko]}"),
            "location": point(lon, lat),
            "bearing": prop(round(bearing), "DD"),
            "refRoadSegment": relation(link["id"]),
            "circuit": prop(_circuit(rule, lon, lat)),
            "lanternHeight": prop(how.height_m, "MTR"),
            "powerRating": prop(how.power_w, "WTT"),
            "lampTechnology": prop("LED" if led else "SON"),
            "synthetic": synthetic(),
            "source": prop(rule.source),
            "dataProvider": prop("sejong"),
        }


def _verges(rule: StreetLights, link: Entity, back: Entity | None) -> tuple[float, float]:
    """Metres from the centre line to the poles, right and left of the link's direction."""
    own = _lanes(link) * rule.lane_width_m
    if back is None:
        return own / 2 + rule.verge_m, own / 2 + rule.verge_m
    return own + rule.verge_m, _lanes(back) * rule.lane_width_m + rule.verge_m


def _lanes(link: Entity) -> int:
    return int(link["totalLaneNumber"]["value"])


def _poles(how: LampClass, shape: list[list[float]], right: float, left: float) -> Iterator[tuple[float, float, float]]:
    """Position of each pole and the direction in which its lamp shines (across the road, degrees)."""
    to_go = how.spacing_m / 2
    on_right = True
    for a, b in pairwise(shape):
        length, bearing = haversine_m(*a, *b), bearing_deg(*a, *b)
        while to_go <= length:
            share = to_go / length
            centre = a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share
            if on_right or how.arrangement != "staggered":
                yield *move_m(*centre, bearing + 90.0, right), (bearing + 270.0) % 360.0
            if how.arrangement == "opposite" or (how.arrangement == "staggered" and not on_right):
                yield *move_m(*centre, bearing - 90.0, left), (bearing + 90.0) % 360.0
            on_right = not on_right
            to_go += how.spacing_m
        to_go -= length


def _circuit(rule: StreetLights, lon: float, lat: float) -> str:
    """The cabinet a lamp hangs on: one per square of the declared size."""
    side = rule.circuit_m / METRES_PER_DEGREE
    return f"C{int(lon / side)}-{int(lat / side)}"
