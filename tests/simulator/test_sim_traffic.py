"""Traffic follows the day, the taxis' speeds, the rain and its neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sejong.simulator.curves import ROAD
from sejong.simulator.traffic import TAXI_HOURS, Links, Loops


def grid(town: Any, n: int = 12, lanes: int = 2, speed: float = 35.0) -> list[dict[str, Any]]:
    """A grid of links about 300 m long, both directions, around the middle of the town."""
    out = []
    for i in range(n):
        for j in range(n):
            here = (127.25 + 0.0035 * i, 36.475 + 0.0027 * j)
            for k, there in enumerate(((here[0] + 0.0035, here[1]), (here[0], here[1] + 0.0027))):
                for back in (False, True):
                    places = [there, here] if back else [here, there]
                    name = f"{i}-{j}-{k}-{int(back)}"
                    out.append(
                        town.line(
                            "RoadSegment",
                            name,
                            places,
                            totalLaneNumber=lanes,
                            maximumAllowedSpeed=50,
                            taxiMeanSpeed=speed,
                        )
                    )
    return out


def speeds(family: Any, m: Any) -> Any:
    family.advance(m)
    return family.speed.copy()


def test_rush_hour_is_slower_than_night_and_weekend(town: Any) -> None:
    links = town.family(Links, grid(town))
    night, morning, noon, evening = (speeds(links, town.at(h, day=1)).mean() for h in (3, 8, 11, 18))
    assert morning < noon < night
    assert evening < noon
    assert morning < 0.85 * night
    assert speeds(links, town.at(8, day=5)).mean() > 1.1 * morning  # Saturday


def test_the_mean_over_the_taxis_hours_is_the_taxis_speed(town: Any) -> None:
    links = town.family(Links, grid(town, speed=33.0))
    weights = [ROAD.weekday.hourly[h] for h in TAXI_HOURS]
    slowness = sum(
        w / speeds(links, town.at(h, day)) for day in range(1, 4) for h, w in zip(TAXI_HOURS, weights, strict=True)
    )
    mean = 3 * sum(weights) / slowness
    assert mean.mean() == pytest.approx(33.0, rel=0.06)


def test_into_town_is_slow_in_the_morning_and_out_of_town_in_the_evening(town: Any) -> None:
    links = town.family(Links, grid(town))
    inward, outward = links._inward > 0.8, links._inward < -0.8
    morning, evening = speeds(links, town.at(8)), speeds(links, town.at(18))
    assert morning[inward].mean() < morning[outward].mean()
    assert evening[inward].mean() > evening[outward].mean()


def test_neighbours_are_alike_and_strangers_are_not(town: Any) -> None:
    links = town.family(Links, grid(town))
    rows = []
    for hour in np.arange(7, 20, 0.25):
        links.advance(town.at(hour, day=1))
        rows.append(np.log(links.load / links._usual_load(hour, False)))
    series = np.stack(rows)
    like = np.corrcoef(series.T)
    ends = links._ends
    shared = (ends[:, None, :, None] == ends[None, :, None, :]).any(axis=(2, 3))
    off_diagonal = ~np.eye(len(like), dtype=bool)
    assert like[shared & off_diagonal].mean() > like[~shared].mean() + 0.2


def test_rain_slows_the_city(town: Any) -> None:
    links = town.family(Links, grid(town))
    sky = links.world.sky
    wet = next(m for d in range(-150, 0) if sky.rain(m := town.at(13, d)) > 6 and not m.weekend)
    dry = next(m for d in range(-150, 0) if sky.rain(m := town.at(13, d)) == 0 and not m.weekend)
    assert speeds(links, wet).mean() < 0.95 * speeds(links, dry).mean()


def test_loops_count_what_drives_by(town: Any) -> None:
    loops = town.family(Loops, grid(town, lanes=4))
    loops.advance(town.at(18))
    assert ((loops.occupancy >= 0) & (loops.occupancy <= 0.95)).all()
    assert loops.intensity.max() <= 4 * 850 * 1.05
    rush, crowded = loops.intensity.mean(), loops.occupancy.mean()
    loops.advance(town.at(3))
    assert loops.intensity.mean() < 0.15 * rush
    assert loops.occupancy.mean() < 0.15 * crowded


def test_each_link_belongs_to_one_family(town: Any) -> None:
    broad, narrow = grid(town, 1, lanes=3)[0], grid(town, 1, lanes=2)[0]
    no_taxi = town.line("RoadSegment", "n", [(127.2, 36.4), (127.3, 36.4)], totalLaneNumber=4)
    no_shape = town.entity("RoadSegment", "t", totalLaneNumber=4, taxiMeanSpeed=40)
    for entity, link, loop in ((broad, 0, 1), (narrow, 1, 0), (no_taxi, 0, 0), (no_shape, 1, 0)):
        assert (Links.chosen(entity), Loops.chosen(entity)) == (bool(link), bool(loop))


def test_links_known_only_by_their_nodes_have_speeds_too(town: Any) -> None:
    entities = [
        town.entity("RoadSegment", f"t{i}", fromNode=f"n{i}", toNode=f"n{i + 1}", taxiMeanSpeed=40) for i in range(5)
    ]
    links = town.family(Links, entities)
    assert (speeds(links, town.at(8)) > 4).all()
    assert links._ends[0, 1] == links._ends[1, 0]
