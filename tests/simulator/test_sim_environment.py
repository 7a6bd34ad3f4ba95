"""Air, water, noise and weather stations: possible values, the rhythm of their day, neighbours alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from sejong.simulator.air import AirStations
from sejong.simulator.noise import Microphones
from sejong.simulator.water import WaterProbes, in_river
from sejong.simulator.weather import WeatherStations


def spots(town: Any, kind: str, n: int, apart: float = 0.004) -> list[dict[str, Any]]:
    return [town.entity(kind, f"{kind}{i}", 127.2 + apart * i, 36.49) for i in range(n)]


def over(town: Any, family: Any, what: str, hours: Any, days: range = range(1, 30)) -> Any:
    """Mean over all stations of a value at these hours of weekdays."""
    rows = []
    for day in days:
        for hour in hours:
            m = town.at(hour, day)
            if not m.weekend:
                family.advance(m)
                rows.append(np.mean(getattr(family, what)))
    return np.mean(rows)


def test_air_is_possible_at_every_hour(town: Any) -> None:
    air = town.family(AirStations, spots(town, "AirQualityObserved", 8))
    for hour in range(0, 24 * 365, 41):
        air.advance(town.at(hour))
        assert ((air.pm25 > 0.2) & (air.pm25 < 250)).all()
        assert (air.pm10 > air.pm25).all()
        assert ((air.no2 > 0.002) & (air.no2 < 0.2)).all()
        assert ((air.o3 >= 0.001) & (air.o3 < 0.2)).all()


def test_a_years_mean_of_fine_dust_is_a_korean_citys(town: Any) -> None:
    air = town.family(AirStations, spots(town, "AirQualityObserved", 4))
    values = []
    for hour in range(0, 24 * 365, 31):
        air.advance(town.at(hour))
        values.append(air.pm25.mean())
    assert 13 < np.mean(values) < 28
    assert np.quantile(values, 0.98) > 35  # bad days exist


def test_ozone_follows_the_sun_and_flees_the_rush_hour(town: Any) -> None:
    air = town.family(AirStations, spots(town, "AirQualityObserved", 4))
    summer = range(-160, -130)
    assert over(town, air, "o3", [15], summer) > 1.5 * over(town, air, "o3", [8], summer)
    assert over(town, air, "no2", [8]) > 1.5 * over(town, air, "no2", [3])
    assert over(town, air, "o3", [15], summer) > over(town, air, "o3", [15])


def test_dust_is_thick_in_the_morning_and_thin_in_the_afternoon_and_in_rain(town: Any) -> None:
    air = town.family(AirStations, spots(town, "AirQualityObserved", 4))
    assert over(town, air, "pm25", [8]) > over(town, air, "pm25", [15])
    sky, ratio = air.world.sky, []
    for day in range(-200, 0):
        m, before = town.at(12, day), town.at(9, day)
        if sky.rain(m) > 5 and sky.rain(before) == 0:
            air.advance(before)
            dry = air.pm25.mean()
            air.advance(m)
            ratio.append(air.pm25.mean() / dry)
    assert ratio
    assert np.mean(ratio) < 0.8


def test_neighbouring_stations_are_more_alike_than_distant_ones(town: Any) -> None:
    near = [town.entity("AirQualityObserved", f"n{i}", 127.2 + 0.002 * i, 36.49) for i in range(4)]
    far = [town.entity("AirQualityObserved", f"f{i}", 127.2 + 0.15 * (i + 1), 36.49) for i in range(4)]
    air = town.family(AirStations, near + far)
    rows = []
    for hour in range(0, 24 * 30, 2):
        air.advance(town.at(hour))
        rows.append(np.log(air.pm25))
    series = np.stack(rows)
    like = np.corrcoef((series - series[:, 4:].mean(axis=1, keepdims=True)).T)
    assert like[:4, :4][~np.eye(4, dtype=bool)].mean() > 0.6
    assert like[:4, 4:].mean() < 0.3
    assert np.corrcoef(series[:-1, 0], series[1:, 0])[0, 1] > 0.8  # two hours later it still is that air


def test_tap_water_is_drinkable_and_a_river_is_not(town: Any) -> None:
    river = {"type": "LanguageProperty", "languageMap": {"ko": "금강(합강)", "en": "Geumgang River (Hapgang)"}}
    entities = [
        *spots(town, "WaterQualityObserved", 20),
        {**town.entity("WaterQualityObserved", "r1"), "name": river},
        town.entity("WaterQualityObserved", "r2", waterBody="Miho"),
    ]
    water = town.family(WaterProbes, entities)
    assert [in_river(e) for e in entities] == [False] * 20 + [True] * 2
    for hour in range(0, 24 * 365, 67):
        water.advance(town.at(hour))
        tap, stream = slice(0, 20), slice(20, 22)
        assert ((water.ph[tap] > 5.8) & (water.ph[tap] < 8.5)).all()
        assert (water.turbidity[tap] < 0.5).all()
        assert ((water.chlorine[tap] > 0.1) & (water.chlorine[tap] < 4)).all()
        assert np.isnan(water.chlorine[stream]).all()
        assert (water.turbidity[stream] > 1).all()
        assert (water.temperature > 0).all()
        assert ((water.conductivity > 50) & (water.conductivity < 600)).all()


def test_old_water_and_warm_water_hold_less_chlorine(town: Any) -> None:
    water = town.family(WaterProbes, spots(town, "WaterQualityObserved", 20))
    water.advance(town.at(12))
    order = np.argsort(water._age_h)
    assert water.chlorine[order[:5]].mean() > 1.2 * water.chlorine[order[-5:]].mean()
    winter = water.chlorine.mean()
    water.advance(town.at(12, day=-110))
    assert water.chlorine.mean() < winter


def test_streets_are_louder_by_day(town: Any) -> None:
    noise = town.family(Microphones, spots(town, "NoiseLevelObserved", 20))
    day, night = over(town, noise, "mean_level", [8, 12, 18]), over(town, noise, "mean_level", [2, 3])
    assert day > night + 6
    assert 50 < day < 72
    assert (noise.peak_level >= noise.mean_level + 11).all()


def test_weather_stations_see_one_sky_each_a_little_differently(town: Any) -> None:
    stations = town.family(WeatherStations, spots(town, "WeatherObserved", 10))
    for hour in range(0, 24 * 90, 13):
        m = town.at(hour)
        stations.advance(m)
        sky = stations.world.sky.at(m)
        assert np.abs(stations.temperature - sky.temperature).max() < 2
        assert ((stations.rain > 0) == (sky.rain > 0)).all()
        assert ((stations.humidity > 0.1) & (stations.humidity <= 1)).all()
        assert ((stations.wind_from >= 0) & (stations.wind_from < 360)).all()
        assert (stations.sunshine > 0).all() == (sky.sunshine > 0)
    assert len(set(np.round(stations.temperature, 3))) == 10
