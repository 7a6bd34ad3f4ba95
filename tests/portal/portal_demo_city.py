"""A small hand-made city that answers `CityView` from memory: what the portal's tests look at.

Everything is computed from indices and the clock, so a test knows every value beforehand. `DemoCity.set` changes
an attribute the way a reading would, `move_buses` lets the buses drive on.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from sejong.kernel.clock import Clock
from sejong.kernel.geo import BBox, haversine_m
from sejong.portal.city_view import Card, DeadLetter, Found, Indicator, Replayed, Scalar, SilentDevice, Suspect

CENTRE = (127.2660, 36.4930)
NASTY = '<script>alert("x")</script>&\'"'


class DemoFace(msgspec.Struct, frozen=True):
    """What `citypack.City` tells the pages."""

    name_ko: str = "세종"
    name_en: str = "Sejong"
    centre: tuple[float, float] = CENTRE
    bbox: BBox = BBox(127.12, 36.40, 127.42, 36.74)
    timezone: str = "Asia/Seoul"


def prop(value: Any, at: datetime | None = None, unit: str = "", simulated: bool = True) -> dict[str, Any]:
    """A Property as the hub compacts it."""
    out: dict[str, Any] = {"type": "Property", "value": value}
    if at:
        out["observedAt"] = at.isoformat().replace("+00:00", "Z")
        if simulated:
            out["simulated"] = {"type": "Property", "value": True}
    if unit:
        out["unitCode"] = unit
    return out


def point(lon: float, lat: float) -> dict[str, Any]:
    return {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [lon, lat]}}


def named(ko: str, en: str) -> dict[str, Any]:
    return {"type": "LanguageProperty", "languageMap": {"ko": ko, "en": en}}


class DemoCity:
    """An in-memory `CityView`."""

    def __init__(self, clock: Clock, crowd: int = 0) -> None:
        self.clock = clock
        self.made_at = clock.now()
        self.entities: dict[str, dict[str, Any]] = {}
        self.numbers: dict[str, int] = {}
        self.histories: dict[tuple[str, str], list[tuple[datetime, Scalar]]] = {}
        self.letters = list(letters(clock.now()))
        self._listeners: set[asyncio.Queue[list[int]]] = set()
        for entity in (*made(clock.now()), *crowded(clock.now(), crowd)):
            self.add(entity)

    def add(self, entity: dict[str, Any]) -> None:
        """Put one more thing into the record."""
        now = self.clock.now().isoformat().replace("+00:00", "Z")
        entity.setdefault("createdAt", now)
        entity.setdefault("modifiedAt", now)
        self.entities[entity["id"]] = entity
        self.numbers.setdefault(entity["id"], len(self.numbers) + 1)

    def set(self, entity_id: str, name: str, value: Scalar, unit: str = "") -> None:
        """A reading arrives."""
        now = self.clock.now()
        past = self._past(entity_id, name)
        self.entities[entity_id][name] = prop(value, now, unit)
        past.append((now, value))
        self.tell([self.numbers[entity_id]])

    def remove(self, entity_id: str) -> None:
        """A thing is deleted."""
        del self.entities[entity_id]
        self.tell([self.numbers[entity_id]])

    def tell(self, numbers: list[int]) -> None:
        """Let everyone who follows the changes know."""
        for queue in self._listeners:
            queue.put_nowait(numbers)

    def move_buses(self, seconds: float) -> None:
        """Every bus drives on around its circle."""
        moved: list[int] = []
        for entity in self.entities.values():
            if entity["type"] == "Vehicle":
                index = int(entity["id"].rpartition("-")[2])
                entity["location"] = point(*bus_place(index, self.clock.now().timestamp() + seconds))
                moved.append(self.numbers[entity["id"]])
        self.tell(moved)

    def _past(self, entity_id: str, name: str) -> list[tuple[datetime, Scalar]]:
        """A day of values that ends at the one measured when the city was made; then what was `set` since."""
        key = (entity_id, name)
        if key not in self.histories:
            attribute = self.entities[entity_id].get(name, {})
            last = attribute.get("value")
            measured = "observedAt" in attribute and isinstance(last, (int, float)) and not isinstance(last, bool)
            steps = range(288, -1, -1) if measured else ()
            self.histories[key] = [(self.made_at - timedelta(minutes=5 * n), wave(last, n)) for n in steps]
        return self.histories[key]

    def card_of(self, entity: dict[str, Any]) -> Card:
        """An entity as a card."""
        facts = {k: v["value"] for k, v in entity.items() if isinstance(v, dict) and v.get("type") == "Property"}
        facts.pop("source", None)
        synthetic = bool(facts.pop("synthetic", False))
        live = [v for v in entity.values() if isinstance(v, dict) and "observedAt" in v]
        lon, lat = middle(entity.get("location", {}).get("value"))
        names = entity.get("name", {}).get("languageMap", {})
        return Card(
            no=self.numbers[entity["id"]],
            id=entity["id"],
            type=entity["type"],
            name_ko=names.get("ko", ""),
            name_en=names.get("en", ""),
            lon=lon,
            lat=lat,
            facts=facts,
            observed_at=max((datetime.fromisoformat(v["observedAt"]) for v in live), default=None),
            synthetic=synthetic,
            simulated=any("simulated" in v for v in live),
        )

    async def search(
        self,
        text: str | None,
        types: Sequence[str],
        near: tuple[float, float] | None,
        bbox: BBox | None,
        limit: int,
        offset: int,
    ) -> Found:
        cards = [self.card_of(entity) for entity in self.entities.values()]
        wanted = (text or "").lower()
        cards = [c for c in cards if not types or c.type in types]
        cards = [c for c in cards if wanted in f"{c.name_ko} {c.name_en} {c.id}".lower()]
        if bbox:
            cards = [c for c in cards if c.lon is not None and c.lat is not None and bbox.contains(c.lon, c.lat)]
        if near:
            placed = [c for c in cards if c.lon is not None and c.lat is not None]
            cards = sorted(placed, key=lambda c: haversine_m(*near, c.lon or 0.0, c.lat or 0.0))
        return Found(cards[offset : offset + limit], len(cards))

    async def entity(self, entity_id: str) -> dict[str, Any] | None:
        return self.entities.get(entity_id)

    async def history(
        self, entity_id: str, attribute: str, since: datetime, until: datetime, max_points: int
    ) -> list[tuple[datetime, Scalar]]:
        kept = [(t, v) for t, v in self._past(entity_id, attribute) if since <= t <= until]
        return kept[:: max(1, len(kept) // max_points)]

    async def incoming(self, entity_id: str) -> list[Card]:
        return [
            self.card_of(entity)
            for entity in self.entities.values()
            if any(isinstance(v, dict) and v.get("object") == entity_id for v in entity.values())
        ]

    async def card(self, entity_id: str) -> Card | None:
        entity = self.entities.get(entity_id)
        return self.card_of(entity) if entity else None

    async def cards(self, numbers: Sequence[int]) -> list[Card]:
        wanted = set(numbers)
        return [self.card_of(e) for i, e in self.entities.items() if self.numbers[i] in wanted]

    async def in_view(self, types: Sequence[str], bbox: BBox, limit: int) -> list[Card]:
        cards = (self.card_of(e) for e in self.entities.values() if e["type"] in types)
        inside = [c for c in cards if c.lon is not None and c.lat is not None and bbox.contains(c.lon, c.lat)]
        return inside[:limit]

    async def changes(self) -> AsyncIterator[list[int]]:
        queue: asyncio.Queue[list[int]] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    async def tiles(self) -> Mapping[str, Indicator]:
        now = self.clock.now() - timedelta(seconds=20)
        bikes = [e["availableBikeNumber"]["value"] for e in self.entities.values() if "availableBikeNumber" in e]
        return {
            "speed": Indicator(34.2, 351, now, True),
            "bikes": Indicator(float(sum(bikes)), len(bikes), now, True),
            "pm25_median": Indicator(12.0, 4, now, True),
            "pm25_worst": Indicator(41.0, 4, now, True),
            "pm10_median": Indicator(28.0, 4, now, True),
            "pm10_worst": Indicator(66.0, 4, now, True),
            "power": Indicator(1834.6, 120, now, True),
            "water": Indicator(96.4, 118, now, True),
        }

    async def ingest_rate(self, minutes: int) -> list[tuple[datetime, int]]:
        start = self.clock.now().replace(second=0, microsecond=0)
        return [
            (start - timedelta(minutes=m), round(4200 + 900 * math.sin(m / 6)) if m else 1260)
            for m in range(minutes - 1, -1, -1)
        ]

    async def silent_devices(self, limit: int) -> list[SilentDevice]:
        now = self.clock.now()
        return [
            SilentDevice(
                id=f"urn:ngsi-ld:Streetlight:demo:{n}",
                type="Streetlight",
                name_ko=f"가로등 {n}",
                name_en=f"Street light {n}",
                last_seen=now - timedelta(hours=7 - n),
            )
            for n in range(1, 6)
        ][:limit]

    async def suspects(self, limit: int) -> list[Suspect]:
        now = self.clock.now()
        common = {"type": "AirQualityObserved", "name_ko": "공기 측정소 4", "name_en": "Air station 4", "n": 14}
        here = "urn:ngsi-ld:AirQualityObserved:demo:A3"
        return [
            Suspect(id=here, attribute="pm25", kind="range", last=now, value=-7.0, low=0.0, high=800.0, **common),
            Suspect(id=here, attribute="o3", kind="stuck", last=now - timedelta(minutes=9), value=0.031, **common),
        ][:limit]

    async def dead_letters(self, limit: int, offset: int, reason: str | None = None) -> tuple[list[DeadLetter], int]:
        kept = [letter for letter in self.letters if reason in {None, letter.reason}]
        return kept[offset : offset + limit], len(kept)

    async def dead_letter_reasons(self) -> Mapping[str, int]:
        reasons: dict[str, int] = {}
        for letter in self.letters:
            reasons[letter.reason] = reasons.get(letter.reason, 0) + 1
        return reasons

    async def replay(self, numbers: Sequence[int] | None) -> Replayed:
        chosen = [letter for letter in self.letters if numbers is None or letter.no in numbers]
        mended = [letter for letter in chosen if letter.reason == "UnknownUnit"]
        self.letters = [letter for letter in self.letters if letter not in mended]
        return Replayed(len(mended), len(chosen) - len(mended))


def wave(last: float, step: int) -> float:
    """A day's rhythm that ends at the present value."""
    value = last * (1 + 0.35 * math.sin(step / 46) - 0.08 * math.cos(step / 5) + 0.08)
    return round(value) if isinstance(last, int) else round(value, 2)


def middle(geometry: dict[str, Any] | None) -> tuple[float | None, float | None]:
    """A place on a point or line."""
    if not geometry:
        return None, None
    place = geometry["coordinates"]
    while isinstance(place[0], list):
        place = place[len(place) // 2]
    return place[0], place[1]


def bus_place(index: int, seconds: float) -> tuple[float, float]:
    """Where a bus is on its circle at a moment."""
    turn = seconds / 240 + index
    return round(CENTRE[0] + 0.012 * math.cos(turn), 6), round(CENTRE[1] + 0.009 * math.sin(turn), 6)


def base(type_: str, key: str, ko: str, en: str, lon: float, lat: float) -> dict[str, Any]:
    return {
        "id": f"urn:ngsi-ld:{type_}:demo:{key}",
        "type": type_,
        "name": named(ko, en),
        "location": point(round(lon, 6), round(lat, 6)),
        "source": prop("세종특별자치시 공공데이터 (시험용)"),
    }


def made(now: datetime) -> list[dict[str, Any]]:
    """The city's things."""
    lon, lat = CENTRE
    at = now - timedelta(seconds=25)
    out: list[dict[str, Any]] = []
    for n in range(48):
        x, y = lon + ((n * 7) % 13 - 6) * 0.0026, lat + ((n * 5) % 11 - 5) * 0.0021
        bike = base(
            "BikeHireDockingStation", f"SJ_{n:05}", f"어울링 {n + 1}번 나성동", f"Eoulling {n + 1} Naseong", x, y
        )
        bike |= {"availableBikeNumber": prop((n * 3) % 14, at), "freeSlotNumber": prop(20 - (n * 3) % 14, at)}
        bike |= {"totalSlotNumber": prop(20)}
        out.append(bike)
    for n in range(6):
        bus = base(
            "Vehicle", f"brt-B1-{n}", f"B1 간선급행버스 {n}호", f"BRT B1 bus {n}", *bus_place(n, now.timestamp())
        )
        bus |= {"speed": prop(31 + n, at, "KMH"), "occupancyLevel": prop("보통", at), "synthetic": prop(True)}
        bus |= {"delay": prop(400 if n == 5 else 30, at, "SEC")}
        bus |= {"refPublicTransportRoute": {"type": "Relationship", "object": "urn:ngsi-ld:BusLine:demo:B1"}}
        out.append(bus)
    line = base("BusLine", "B1", "간선급행버스 B1", "BRT B1", lon, lat)
    line["location"] = {
        "type": "GeoProperty",
        "value": {"type": "LineString", "coordinates": [[lon - 0.012, lat], [lon, lat + 0.009], [lon + 0.012, lat]]},
    }
    out.append(line)
    for n in range(5):
        lot = base(
            "OffStreetParking",
            f"P{n}",
            f"나성동 공영주차장 {n + 1}",
            f"Naseong public car park {n + 1}",
            lon + n * 0.003,
            lat - 0.004,
        )
        lot |= {"availableSpotNumber": prop((0, 4, 22, 61, 90)[n], at), "totalSpotNumber": prop(100)}
        out.append(lot)
    for n in range(4):
        air = base(
            "AirQualityObserved",
            f"A{n}",
            f"공기 측정소 {n + 1}",
            f"Air station {n + 1}",
            lon - 0.006 + n * 0.004,
            lat + 0.006,
        )
        air |= {"pm25": prop((8, 12, 22, 41)[n], at, "GQ"), "pm10": prop((19, 28, 45, 66)[n], at, "GQ")}
        air |= {"o3": prop(0.031, at, "59"), "synthetic": prop(True)}
        out.append(air)
    for n in range(30):
        light = base("Streetlight", str(n), f"가로등 {n}", f"Street light {n}", lon + (n - 15) * 0.0007, lat + 0.002)
        light |= {"powerState": prop("on" if n % 7 else "off", at), "synthetic": prop(True)}
        light |= {"refRoadSegment": {"type": "Relationship", "object": "urn:ngsi-ld:RoadSegment:demo:3630000001"}}
        out.append(light)
    road = base("RoadSegment", "3630000001", "한누리대로", "Hannuri-daero", lon, lat)
    road["location"] = {
        "type": "GeoProperty",
        "value": {"type": "LineString", "coordinates": [[lon - 0.01, lat], [lon + 0.01, lat + 0.002]]},
    }
    road |= {
        "averageVehicleSpeed": prop(22.0, at, "KMH"),
        "maximumAllowedSpeed": prop(50, unit="KMH"),
        "totalLaneNumber": prop(3),
    }
    out.append(road)
    stop = base(
        "TransportStation", "S1", "정부세종청사남측", "Government Complex Sejong South", lon + 0.002, lat + 0.001
    )
    out.append(stop)
    water = base("WaterQualityObserved", "W1", "금강 수질 측정소", "Geumgang water station", lon + 0.004, lat - 0.008)
    water |= {"pH": prop(7.42, at), "turbidity": prop(3.1, at, "NTU"), "synthetic": prop(True)}
    meter = base("ACMeasurement", "M1", "첫마을 3단지 전력량계", "Cheotmaeul block 3 meter", lon - 0.005, lat - 0.003)
    meter |= {"totalActivePower": prop(212.4, at, "KWT"), "synthetic": prop(True)}
    nasty = base("PointOfInterest", "X", NASTY, NASTY, lon + 0.001, lat - 0.001)
    nasty |= {"category": prop([NASTY, "공원"]), "seeAlso": prop("javascript:alert(1)"), "description": prop(NASTY)}
    park = base("PointOfInterest", "lake", "세종호수공원", "Sejong Lake Park", lon + 0.006, lat + 0.003)
    return [*out, water, meter, nasty, park]


def crowded(now: datetime, count: int) -> list[dict[str, Any]]:
    """Many more street lights, for measuring."""
    lon, lat = CENTRE
    out: list[dict[str, Any]] = []
    for n in range(count):
        x, y = lon + (n % 200 - 100) * 0.0002, lat + (n // 200 - count // 400) * 0.0002
        light = base("Streetlight", f"crowd-{n}", f"가로등 무리 {n}", f"Crowd light {n}", x, y)
        light["powerState"] = prop("on" if n % 3 else "off")
        out.append(light)
    return out


def letters(now: datetime) -> list[DeadLetter]:
    """What was not understood."""
    reasons = (
        ("UnknownUnit", "단위 'degF'를 알 수 없습니다.", "The unit 'degF' is not known."),
        ("NotJson", "JSON이 아닙니다: 3번째 글자에서 멈췄습니다.", "Not JSON: stopped at letter 3."),
        ("NoSuchThing", "이 장치는 등록되어 있지 않습니다.", "This device is not registered."),
    )
    return [
        DeadLetter(
            no=n + 1,
            arrived=now - timedelta(minutes=3 * n),
            door=("mqtt", "http", "file")[n % 3],
            sender=f"gateway-{n % 4}",
            reason=reasons[n % 3][0],
            detail_ko=reasons[n % 3][1],
            detail_en=reasons[n % 3][2],
            payload='{"id":"urn:ngsi-ld:WeatherObserved:demo:7","temperature":71.2,"units":{"temperature":"degF"}}'
            if n % 3 == 0
            else NASTY,
        )
        for n in range(46)
    ]
