"""What people call the things of the city: types, attributes, values and map layers, in tables.

Adding a type or an attribute to the portal is adding a row. Korean is the source; `locale/en.po` translates.
A type or attribute without a row is shown by its own short name.
"""

from __future__ import annotations

import msgspec


def N_(sentence: str) -> str:
    """Marks a sentence of a table for translation without translating it yet."""
    return sentence


class Kind(msgspec.Struct, frozen=True):
    """One type of thing: its name, the shape that stands for it everywhere, and its map layer."""

    type: str
    label: str
    shape: str = "dot"
    layer: str = ""
    """Key of the live layer it moves or changes in; empty: found by search only."""
    facts: tuple[str, ...] = ()
    """Attributes a list line shows, most important first."""
    of: str = ""
    """Attribute with the total the first fact is out of."""
    size: int = 20
    """How large it is drawn on the map at street level. Units: CSS pixels."""


KINDS: tuple[Kind, ...] = (
    Kind(
        "BikeHireDockingStation", N_("자전거 대여소"), "circle", "bike", ("availableBikeNumber",), "totalSlotNumber", 18
    ),
    Kind("Vehicle", N_("버스"), "arrow", "bus", ("speed", "occupancyLevel"), size=24),
    Kind("RoadSegment", N_("도로 구간"), "line", "road", ("averageVehicleSpeed",)),
    Kind("OffStreetParking", N_("주차장"), "square", "parking", ("availableSpotNumber",), "totalSpotNumber"),
    Kind("ParkingSpot", N_("주차면"), "square", "parking", ("status",), size=10),
    Kind("AirQualityObserved", N_("공기 측정소"), "hexagon", "air", ("pm25", "pm10")),
    Kind("WeatherObserved", N_("날씨 관측소"), "pentagon", "air", ("temperature", "relativeHumidity")),
    Kind("NoiseLevelObserved", N_("소음 측정소"), "triangle", "air", ("LAeq",)),
    Kind("WaterQualityObserved", N_("수질 측정소"), "drop", "water", ("pH", "turbidity")),
    Kind("WaterConsumptionObserved", N_("수도 계량기"), "drop", "water", ("flow", "waterConsumption")),
    Kind("ACMeasurement", N_("전력 계량기"), "star", "energy", ("totalActivePower",)),
    Kind("Streetlight", N_("가로등"), "diamond", "light", ("powerState",), size=11),
    Kind("TransportStation", N_("정류장"), "bar", "stop", (), size=12),
    Kind("BusLine", N_("버스 노선"), "line"),
    Kind("TaxiStand", N_("택시 승차장"), "dot"),
    Kind("School", N_("학교"), "dot"),
    Kind("University", N_("대학교"), "dot"),
    Kind("PointOfInterest", N_("명소"), "dot"),
    Kind("AdministrativeArea", N_("행정구역"), "area"),
    Kind("Sidewalk", N_("보도"), "line"),
    Kind("Device", N_("장치"), "dot"),
)

KIND: dict[str, Kind] = {kind.type: kind for kind in KINDS}


class Layer(msgspec.Struct, frozen=True):
    """One switch of the live map."""

    key: str
    label: str
    shape: str
    shown: bool
    """Whether it is on when a visitor has chosen nothing."""
    good: str
    fair: str
    bad: str
    """What the three states mean in this layer; empty: this layer has no such state."""


LAYERS: tuple[Layer, ...] = (
    Layer("bike", N_("자전거"), "circle", True, N_("넉넉함"), N_("1–3대"), N_("없음")),
    Layer("bus", N_("버스"), "arrow", True, N_("운행"), N_("5분 넘게 늦음"), ""),
    Layer("road", N_("도로 소통"), "line", True, N_("원활"), N_("서행"), N_("정체")),
    Layer("parking", N_("주차"), "square", True, N_("빈자리"), N_("10% 미만"), N_("만차")),
    Layer("air", N_("공기·날씨"), "hexagon", True, N_("좋음"), N_("보통"), N_("나쁨")),
    Layer("water", N_("물"), "drop", False, N_("정상"), "", N_("기준 벗어남")),
    Layer("energy", N_("전기"), "star", False, N_("측정 중"), "", ""),
    Layer("light", N_("가로등"), "diamond", False, N_("켜짐"), "", N_("고장")),
    Layer("stop", N_("정류장"), "bar", False, "", "", ""),
)

LAYER_KEYS: tuple[str, ...] = tuple(layer.key for layer in LAYERS)

SHAPES: tuple[str, ...] = (
    *("circle", "arrow", "line", "square", "hexagon", "pentagon", "triangle", "drop", "star", "diamond", "bar", "dot"),
)
"""Shape names in the order of the numbers sent to the map; `static/fleet.js` draws them."""


def types_of(layers: tuple[str, ...]) -> tuple[str, ...]:
    """The types shown by these layers."""
    return tuple(kind.type for kind in KINDS if kind.layer in layers)


class Measure(msgspec.Struct, frozen=True):
    """One attribute: its name, the unit when the reading states none, and how finely it is worth showing."""

    label: str
    unit: str = ""
    """UN/CEFACT code."""
    decimals: int | None = None
    """Digits after the point; none: three significant digits."""
    share: bool = False
    """A share from 0 to 1, shown in percent."""


MEASURES: dict[str, Measure] = {
    "availableBikeNumber": Measure(N_("빌릴 수 있는 자전거"), "", 0),
    "freeSlotNumber": Measure(N_("빈 거치대"), "", 0),
    "totalSlotNumber": Measure(N_("거치대"), "", 0),
    "outOfServiceSlotNumber": Measure(N_("고장 난 거치대"), "", 0),
    "availableSpotNumber": Measure(N_("빈 주차면"), "", 0),
    "occupiedSpotNumber": Measure(N_("찬 주차면"), "", 0),
    "totalSpotNumber": Measure(N_("주차면 수"), "", 0),
    "extraSpotNumber": Measure(N_("추가 주차면"), "", 0),
    "occupancy": Measure(N_("점유율"), "", 0, share=True),
    "occupancyLevel": Measure(N_("혼잡도")),
    "passengers": Measure(N_("승객"), "", 0),
    "status": Measure(N_("상태")),
    "serviceStatus": Measure(N_("운행 상태")),
    "vehicleRunningStatus": Measure(N_("주행 상태")),
    "speed": Measure(N_("속도"), "KMH", 0),
    "heading": Measure(N_("진행 방향"), "DD", 0),
    "bearing": Measure(N_("방위"), "DD", 0),
    "delay": Measure(N_("지연"), "SEC", 0),
    "averageVehicleSpeed": Measure(N_("평균 속도"), "KMH", 0),
    "intensity": Measure(N_("교통량"), "", 0),
    "taxiMeanSpeed": Measure(N_("택시 평균 속도"), "KMH", 0),
    "taxiMeanCount": Measure(N_("택시 통행 수"), "", 0),
    "maximumAllowedSpeed": Measure(N_("제한 속도"), "KMH", 0),
    "totalLaneNumber": Measure(N_("차로 수"), "", 0),
    "congested": Measure(N_("정체 여부")),
    "length": Measure(N_("길이"), "MTR", 0),
    "width": Measure(N_("너비"), "MTR", 1),
    "pm25": Measure(N_("초미세먼지 PM2.5"), "GQ", 0),
    "pm10": Measure(N_("미세먼지 PM10"), "GQ", 0),
    "no2": Measure(N_("이산화질소 NO₂"), "59", 3),
    "o3": Measure(N_("오존 O₃"), "59", 3),
    "so2": Measure(N_("아황산가스 SO₂"), "59", 3),
    "co": Measure(N_("일산화탄소 CO"), "59", 2),
    "co2": Measure(N_("이산화탄소 CO₂"), "59", 0),
    "airQualityIndex": Measure(N_("통합대기환경지수"), "", 0),
    "airQualityLevel": Measure(N_("공기 등급")),
    "temperature": Measure(N_("기온"), "CEL", 1),
    "feelLikesTemperature": Measure(N_("체감 온도"), "CEL", 1),
    "relativeHumidity": Measure(N_("습도"), "", 0, share=True),
    "windSpeed": Measure(N_("풍속"), "MTS", 1),
    "gustSpeed": Measure(N_("돌풍"), "MTS", 1),
    "windDirection": Measure(N_("풍향"), "DD", 0),
    "precipitation": Measure(N_("강수량"), "MMT", 1),
    "atmosphericPressure": Measure(N_("기압"), "A97", 0),
    "illuminance": Measure(N_("조도"), "LUX", 0),
    "solarRadiation": Measure(N_("일사량"), "", 0),
    "visibility": Measure(N_("가시거리"), "MTR", 0),
    "weatherType": Measure(N_("날씨")),
    "LAeq": Measure(N_("등가소음도"), "2N", 1),
    "LAmax": Measure(N_("최고소음도"), "2N", 1),
    "LAS": Measure(N_("순간소음도"), "2N", 1),
    "pH": Measure(N_("수소이온농도 pH"), "", 2),
    "turbidity": Measure(N_("탁도"), "NTU", 2),
    "dissolvedOxygen": Measure(N_("용존산소"), "M1", 1),
    "conductivity": Measure(N_("전기전도도"), "G42", 0),
    "bod": Measure(N_("생물화학적 산소요구량"), "M1", 1),
    "cod": Measure(N_("화학적 산소요구량"), "M1", 1),
    "tss": Measure(N_("부유물질"), "M1", 1),
    "residualChlorine": Measure(N_("잔류염소"), "M1", 2),
    "flow": Measure(N_("유량"), "L2", 1),
    "volume": Measure(N_("부피"), "MTQ", 1),
    "waterConsumption": Measure(N_("물 사용량"), "", 2),
    "minFlow": Measure(N_("최소 유량"), "", 2),
    "maxFlow": Measure(N_("최대 유량"), "", 2),
    "waterBody": Measure(N_("물줄기")),
    "totalActivePower": Measure(N_("소비 전력"), "WTT", 0),
    "activePower": Measure(N_("상별 소비 전력"), "WTT", 0),
    "totalActiveEnergyImport": Measure(N_("누적 사용 전력량"), "KWH", 1),
    "totalActiveEnergyExport": Measure(N_("누적 공급 전력량"), "KWH", 1),
    "voltage": Measure(N_("전압"), "VLT", 1),
    "current": Measure(N_("전류"), "AMP", 2),
    "frequency": Measure(N_("주파수"), "HTZ", 2),
    "powerFactor": Measure(N_("역률"), "", 2),
    "powerState": Measure(N_("점등")),
    "illuminanceLevel": Measure(N_("밝기"), "", 0, share=True),
    "powerConsumption": Measure(N_("소비 전력"), "WTT", 0),
    "powerRating": Measure(N_("정격 전력"), "WTT", 0),
    "lampTechnology": Measure(N_("광원")),
    "lanternHeight": Measure(N_("등 높이"), "MTR", 1),
    "streetPoleNum": Measure(N_("가로등 번호")),
    "batteryLevel": Measure(N_("배터리"), "", 0, share=True),
    "population": Measure(N_("인구"), "", 0),
    "floatingPopulation": Measure(N_("생활 인구"), "", 0),
    "households": Measure(N_("가구 수"), "", 0),
    "boardings": Measure(N_("승차"), "", 0),
    "alightings": Measure(N_("하차"), "", 0),
    "transfers": Measure(N_("환승"), "", 0),
    "category": Measure(N_("분류")),
    "roadClass": Measure(N_("도로 종류")),
    "roadName": Measure(N_("도로 이름")),
    "roadRank": Measure(N_("도로 등급")),
    "stationType": Measure(N_("정류장 종류")),
    "stationCode": Measure(N_("정류장 번호")),
    "routeCode": Measure(N_("노선 번호")),
    "vehicleType": Measure(N_("차량 종류")),
    "fuelType": Measure(N_("연료")),
    "address": Measure(N_("주소")),
    "streetAddress": Measure(N_("주소")),
    "areaServed": Measure(N_("담당 지역")),
    "openingHours": Measure(N_("운영 시간")),
    "registered": Measure(N_("등록일")),
    "educationLevel": Measure(N_("학교급")),
    "owner": Measure(N_("운영 기관")),
    "source": Measure(N_("출처")),
    "dataProvider": Measure(N_("자료 제공")),
    "alternateName": Measure(N_("다른 이름")),
    "dateObserved": Measure(N_("관측 시각")),
    "refRoadSegment": Measure(N_("도로 구간")),
    "refParkingSite": Measure(N_("주차장")),
    "refParkingSpot": Measure(N_("주차면")),
    "refPublicTransportRoute": Measure(N_("버스 노선")),
    "refPublicTransportStops": Measure(N_("정류장")),
    "nextStop": Measure(N_("다음 정류장")),
    "refDevice": Measure(N_("장치")),
    "containedInPlace": Measure(N_("속한 곳")),
    "capacity": Measure(N_("정원"), "", 0),
    "geofenceRadius": Measure(N_("반납 반경"), "MTR", 0),
    "fromNode": Measure(N_("시작 노드")),
    "toNode": Measure(N_("끝 노드")),
    "circuit": Measure(N_("전기 회로")),
    "phaseType": Measure(N_("전기 방식")),
    "shortRouteCode": Measure(N_("노선 이름")),
    "transportationType": Measure(N_("교통수단 종류")),
    "areaCode": Measure(N_("행정 코드")),
    "routeSegments": Measure(N_("노선 구간")),
}

VALUES: dict[str, str] = {
    "on": N_("켜짐"),
    "off": N_("꺼짐"),
    "low": N_("낮춤"),
    "ok": N_("정상"),
    "working": N_("정상"),
    "open": N_("열림"),
    "closed": N_("닫힘"),
    "free": N_("비어 있음"),
    "occupied": N_("차 있음"),
    "unknown": N_("알 수 없음"),
    "defectiveLamp": N_("등 고장"),
    "columnIssue": N_("기둥 이상"),
    "brokenLantern": N_("등기구 파손"),
    "outOfService": N_("운영 중지"),
    "inService": N_("운행 중"),
    "running": N_("달리는 중"),
    "stopped": N_("멈춤"),
    "waiting": N_("대기"),
    "bus": N_("버스"),
    "bus_stop": N_("버스 정류장"),
    "LED": N_("LED"),
    "SON": N_("나트륨등"),
    "threePhase": N_("3상"),
    "onRoute": N_("운행 중"),
    "parked": N_("차고 대기"),
    "motorway": N_("고속도로"),
    "trunk": N_("자동차전용도로"),
    "primary": N_("간선도로"),
    "secondary": N_("보조간선도로"),
    "tertiary": N_("집산도로"),
    "residential": N_("생활도로"),
    "public": N_("공영"),
    "terminal": N_("터미널"),
    "attraction": N_("관광명소"),
    "legalDong": N_("법정동"),
    "adminDong2021": N_("행정동 (2021년)"),
    "educationLevel=middle": N_("중학교"),
    "educationLevel=high": N_("고등학교"),
    "transportationType=3": N_("버스"),
}
"""What a value (or `attribute=value`) of an enumeration is called; others are shown as they are."""

LIFE_SIGNS = frozenset({"simulated", "synthetic", "source", "dataProvider", "reconstructed", "name", "alternateName"})
"""Attributes about the record itself; the entity page shows them apart from what is measured."""

SIGNS: dict[str, str] = {
    "range": N_("있을 수 없는 값"),
    "jump": N_("갑자기 튄 값"),
    "stuck": N_("오래 멈춘 값"),
}
"""What a sign of a faulty sensor is called."""

DOORS: dict[str, str] = {"mqtt": N_("MQTT"), "http": N_("HTTP"), "file": N_("파일")}
