"""Faulty sensors give a sign, sound ones none, however lively the city is."""

from __future__ import annotations

import random

import pytest

from sejong.hub.ingest.quality import JUMP_AFTER, Sign, Watch

PM25 = "https://smartdatamodels.org/dataModel.Environment/pm25"
BIKES = "https://smartdatamodels.org/dataModel.Transportation/availableBikeNumber"
POWER = "https://smartdatamodels.org/dataModel.Streetlighting/powerConsumption"
chance = random.Random(7)


def station(n: int, kind: str = "AirQualityObserved") -> str:
    return f"urn:ngsi-ld:{kind}:sejong:{n}"


class Air:
    """Twelve stations whose value wanders a little."""

    def __init__(self) -> None:
        self.watch = Watch()
        self.value = [20.0 + n for n in range(12)]

    def round(self, *, broken: int = -1, shown: float | None = None) -> dict[int, list[Sign]]:
        found: dict[int, list[Sign]] = {}
        for n, value in enumerate(self.value):
            self.value[n] = max(1.0, value + chance.gauss(0, 0.5))
            said = shown if n == broken and shown is not None else round(self.value[n], 1)
            signs = self.watch.see(station(n), PM25, said, "GQ")
            if signs:
                found[n] = signs
        return found


def test_sound_stations_give_no_sign_in_a_thousand_rounds() -> None:
    air = Air()
    assert [air.round() for _ in range(1000)] == [{}] * 1000


@pytest.mark.parametrize("value", [-1.0, 999.9])
def test_values_that_cannot_exist(value: float) -> None:
    air = Air()
    assert [sign.kind for sign in air.round(broken=3, shown=value)[3]] == ["range"]


def test_another_unit_is_not_measured_by_the_same_range() -> None:
    watch = Watch()
    assert watch.see(station(1), PM25, 1.5, "GP") == []
    assert watch.see(station(1, "Weather"), "https://x/temperature", 95.0, "FAH") == []
    assert [sign.kind for sign in watch.see(station(2), "https://x/temperature", 95.0, None)] == ["range"]


def test_jump_of_one_station_is_a_sign() -> None:
    air = Air()
    for _ in range(JUMP_AFTER + 5):
        air.round()
    (sign,) = air.round(broken=3, shown=200.0)[3]
    assert sign.kind == "jump"
    assert sign.high is not None
    assert sign.high < 200.0


def test_jump_of_all_stations_is_the_city_not_the_sensor() -> None:
    watch = Watch()
    for round_ in range(200):
        evening = round_ >= 150
        signs = [
            watch.see(station(n, "Streetlight"), POWER, (90.0 if evening else 0.5) + chance.random(), "WTT")
            for n in range(200)
        ]
        if evening:  # the first few lamps may be noted before it shows that all of them went on
            assert sum(map(len, signs)) < 12


def test_stuck_sensor_among_lively_neighbours() -> None:
    air = Air()
    for _ in range(50):
        air.round()
    rounds = [air.round(broken=5, shown=23.4) for _ in range(40)]
    assert all(set(found) <= {5} for found in rounds)
    assert [sign.kind for sign in rounds[-1][5]] == ["stuck"]
    assert air.round() == {}  # it moves again


def test_quiet_counter_is_not_a_stuck_one() -> None:
    watch = Watch()
    busy = dict.fromkeys(range(8), 10)
    found: list[Sign] = []
    for round_ in range(3000):
        for n in busy:
            busy[n] += chance.choice((-1, 1))
            watch.see(station(n, "Bike"), BIKES, busy[n] % 30, None)
        quiet = 5 + (round_ // 300) % 2  # changes once in 300 readings, as it always did
        found += watch.see(station(99, "Bike"), BIKES, quiet, None)
    assert found == []


def test_busy_counter_that_stops_is_stuck() -> None:
    watch = Watch()
    found: list[Sign] = []
    for round_ in range(1000):
        for n in range(8):
            watch.see(station(n, "Bike"), BIKES, abs((round_ + n) % 30 - 15), None)
        found += watch.see(station(99, "Bike"), BIKES, abs(round_ % 30 - 15) if round_ < 500 else 7, None)
    assert {sign.kind for sign in found} == {"stuck"}


def test_sensor_without_neighbours_is_not_judged_by_them() -> None:
    watch = Watch()
    assert [sign for _ in range(500) for sign in watch.see(station(1), PM25, 20.0, "GQ")] == []
