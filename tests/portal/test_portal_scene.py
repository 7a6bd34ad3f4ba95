"""The scene: what viewers are told, told once, and not told in vain."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from portal_demo_city import CENTRE, DemoFace

from sejong.portal.city_view import Card
from sejong.portal.frames import grid_over
from sejong.portal.scene import Scene, View, Viewport
from sejong.portal.words import KINDS, LAYER_KEYS

LON, LAT = CENTRE
GRID = grid_over(DemoFace().bbox)
HERE = Viewport((LON - 0.01, LAT - 0.01, LON + 0.01, LAT + 0.01), LAYER_KEYS)
ELSEWHERE = Viewport((LON + 0.05, LAT, LON + 0.06, LAT + 0.01), LAYER_KEYS)


def bike(no: int, free: int = 5, lon: float = LON, lat: float = LAT) -> Card:
    return Card(
        no=no,
        id=f"urn:ngsi-ld:BikeHireDockingStation:x:{no}",
        type="BikeHireDockingStation",
        name_ko="",
        name_en="",
        lon=lon,
        lat=lat,
        facts={"availableBikeNumber": free},
    )


def road(no: int, speed: float | None) -> Card:
    facts = {} if speed is None else {"averageVehicleSpeed": speed}
    return Card(
        no=no, id=f"urn:ngsi-ld:RoadSegment:x:36300{no}", type="RoadSegment", name_ko="", name_en="", facts=facts
    )


def scene_of(*cards: Card) -> Scene:
    scene = Scene(GRID, room=2)
    scene.apply(cards)
    return scene


def test_a_newcomer_gets_everything_in_view_once() -> None:
    scene = scene_of(bike(1), bike(2, 0), bike(3, lon=LON + 0.055, lat=LAT + 0.005))
    view = View(scene)
    first = view.frame(HERE)
    assert first
    assert first.forget
    assert first.put.tolist() == [1, 2]
    assert first.state.tolist() == [1, 3]
    assert view.frame(HERE) is None


def test_a_newcomer_is_answered_even_when_nothing_is_there() -> None:
    first = View(scene_of()).frame(HERE)
    assert first
    assert first.forget
    assert not len(first.put)


def test_only_what_changed_is_told() -> None:
    scene = scene_of(bike(1), bike(2))
    view = View(scene)
    view.frame(HERE)
    assert scene.apply([bike(2, 0)], asked=[2])
    told = view.frame(HERE)
    assert told
    assert not told.forget
    assert told.put.tolist() == [2]
    assert told.state.tolist() == [3]


def test_a_change_nobody_could_see_is_no_news() -> None:
    scene = scene_of(bike(1, 5))
    assert not scene.apply([bike(1, 6)], asked=[1])
    assert not scene.apply([], asked=[99])


def test_what_leaves_the_view_or_the_record_is_gone() -> None:
    scene = scene_of(bike(1), bike(2), bike(3))
    view = View(scene)
    view.frame(HERE)
    scene.apply([bike(1, lon=LON + 0.055)], asked=[1, 2])
    told = view.frame(HERE)
    assert told
    assert sorted(told.gone.tolist()) == [1, 2]
    assert not len(told.put)


def test_looking_elsewhere_swaps_only_the_difference() -> None:
    scene = scene_of(bike(1), bike(3, lon=LON + 0.055, lat=LAT + 0.005))
    view = View(scene)
    view.frame(HERE)
    told = view.frame(ELSEWHERE)
    assert told
    assert (told.put.tolist(), told.gone.tolist()) == ([3], [1])


def test_a_layer_switched_off_is_gone() -> None:
    scene = scene_of(bike(1))
    view = View(scene)
    view.frame(HERE)
    told = view.frame(msgspec.structs.replace(HERE, layers=("bus",)))
    assert told
    assert told.gone.tolist() == [1]


def test_a_thing_that_comes_back_is_put_again() -> None:
    scene = scene_of(bike(1))
    view = View(scene)
    view.frame(HERE)
    scene.apply([], asked=[1])
    view.frame(HERE)
    scene.apply([bike(1)], asked=[1])
    told = view.frame(HERE)
    assert told
    assert told.put.tolist() == [1]


def test_things_without_a_place_a_layer_or_a_known_kind_are_not_shown() -> None:
    nowhere = msgspec.structs.replace(bike(1), lon=None)
    school = msgspec.structs.replace(bike(2), type="School")
    dragon = msgspec.structs.replace(bike(3), type="Dragon")
    first = View(scene_of(nowhere, school, dragon)).frame(HERE)
    assert first
    assert not len(first.put)


def test_roads_are_told_by_link_and_only_when_their_flow_changes() -> None:
    scene = scene_of(road(1, 40), road(2, 10))
    view = View(scene)
    assert view.roads(HERE) == {"363001": 1, "363002": 3}
    assert view.roads(HERE) is None
    scene.apply([road(1, 20), road(2, 11)], asked=[1, 2])
    assert view.roads(HERE) == {"363001": 2}
    without = msgspec.structs.replace(HERE, layers=("bike",))
    assert view.roads(without) is None
    assert view.roads(HERE) == {"363001": 2, "363002": 3}
    scene.apply([], asked=[1])
    assert view.roads(HERE) == {"363001": 0}


steps = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(["put", "empty", "away", "gone"]), st.booleans()), max_size=40
)


@given(steps)
@settings(deadline=None)
def test_a_viewer_who_skips_ticks_still_sees_the_present(story: list[tuple[int, str, bool]]) -> None:
    scene = Scene(GRID, room=2)
    view, seen = View(scene), {}
    present: dict[int, int] = {}
    for no, what, looks in story:
        if what == "gone":
            scene.apply([], asked=[no])
            present.pop(no, None)
        else:
            card = bike(no, 0 if what == "empty" else 5, lon=LON + (0.05 if what == "away" else 0))
            scene.apply([card], asked=[no])
            present[no] = 0 if what == "away" else (3 if what == "empty" else 1)
        if looks:
            follow(view, seen)
    follow(view, seen)
    assert seen == {no: state for no, state in present.items() if state}


def follow(view: View, seen: dict[int, int]) -> None:
    """What a browser does with a frame."""
    frame = view.frame(HERE)
    if frame is None:
        return
    if frame.forget:
        seen.clear()
    for number in frame.gone.tolist():
        seen.pop(number)
    seen.update(zip(frame.put.tolist(), frame.state.tolist(), strict=True))


def test_every_live_kind_has_a_layer_that_exists() -> None:
    assert {kind.layer for kind in KINDS} - {""} == set(LAYER_KEYS)


@pytest.mark.slow
def test_a_thousand_viewers_of_twenty_thousand_things_cost_less_than_a_core() -> None:
    cards = [bike(n, lon=LON + (n % 200) * 1e-4, lat=LAT + n // 200 * 1e-4) for n in range(20_000)]
    scene = scene_of(*cards)
    views = [View(scene) for _ in range(100)]
    for view in views:
        view.frame(HERE)
    scene.apply([bike(n, 0, cards[n].lon or 0, cards[n].lat or 0) for n in range(0, 20_000, 10)])
    began = time.process_time()
    for view in views:
        view.frame(HERE)
    assert time.process_time() - began < 0.25
