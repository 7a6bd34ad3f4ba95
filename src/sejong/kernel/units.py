"""Units of measured things: UN/CEFACT codes as NGSI-LD `unitCode` carries them, with what people read."""

from __future__ import annotations

import msgspec


class Unit(msgspec.Struct, frozen=True):
    """One unit: its code, the symbol on a page, and its name in Korean and English."""

    code: str
    symbol: str
    ko: str
    en: str


_TABLE = (
    Unit("KMH", "km/h", "시속 킬로미터", "kilometres per hour"),
    Unit("MTS", "m/s", "초속 미터", "metres per second"),
    Unit("MTR", "m", "미터", "metres"),
    Unit("KMT", "km", "킬로미터", "kilometres"),
    Unit("MMT", "mm", "밀리미터", "millimetres"),
    Unit("DD", "°", "도", "degrees"),
    Unit("CEL", "°C", "섭씨", "degrees Celsius"),
    Unit("KEL", "K", "켈빈", "kelvins"),
    Unit("P1", "%", "퍼센트", "percent"),
    Unit("C62", "", "개", "units"),
    Unit("SEC", "s", "초", "seconds"),
    Unit("MIN", "min", "분", "minutes"),
    Unit("HUR", "h", "시간", "hours"),
    Unit("WTT", "W", "와트", "watts"),
    Unit("KWT", "kW", "킬로와트", "kilowatts"),
    Unit("WHR", "Wh", "와트시", "watt hours"),
    Unit("KWH", "kWh", "킬로와트시", "kilowatt hours"),
    Unit("VLT", "V", "볼트", "volts"),
    Unit("AMP", "A", "암페어", "amperes"),
    Unit("HTZ", "Hz", "헤르츠", "hertz"),
    Unit("JOU", "J", "줄", "joules"),
    Unit("LUX", "lx", "럭스", "lux"),
    Unit("LUM", "lm", "루멘", "lumens"),
    Unit("KGM", "kg", "킬로그램", "kilograms"),
    Unit("GQ", "µg/m³", "세제곱미터당 마이크로그램", "micrograms per cubic metre"),
    Unit("GP", "mg/m³", "세제곱미터당 밀리그램", "milligrams per cubic metre"),
    Unit("59", "ppm", "피피엠", "parts per million"),
    Unit("61", "ppb", "피피비", "parts per billion"),
    Unit("2N", "dB", "데시벨", "decibels"),
    Unit("LTR", "L", "리터", "litres"),
    Unit("MTQ", "m³", "세제곱미터", "cubic metres"),
    Unit("MQH", "m³/h", "시간당 세제곱미터", "cubic metres per hour"),
    Unit("MQS", "m³/s", "초당 세제곱미터", "cubic metres per second"),
    Unit("L2", "L/min", "분당 리터", "litres per minute"),
    Unit("E32", "L/h", "시간당 리터", "litres per hour"),
    Unit("G51", "L/s", "초당 리터", "litres per second"),
    Unit("M1", "mg/L", "리터당 밀리그램", "milligrams per litre"),
    Unit("Q30", "pH", "수소이온농도", "pH"),
    Unit("NTU", "NTU", "탁도", "nephelometric turbidity units"),
    Unit("G42", "µS/cm", "센티미터당 마이크로지멘스", "microsiemens per centimetre"),
    Unit("D10", "S/m", "미터당 지멘스", "siemens per metre"),
    Unit("PAL", "Pa", "파스칼", "pascals"),
    Unit("A97", "hPa", "헥토파스칼", "hectopascals"),
    Unit("H67", "mm/h", "시간당 밀리미터", "millimetres per hour"),
    Unit("KRW", "₩", "원", "won"),
)

UNITS: dict[str, Unit] = {unit.code: unit for unit in _TABLE}
"""Units by code. Source: UN/CEFACT Recommendation 20; NTU and KRW are not in it (SDM usage and ISO 4217)."""


def symbol(code: str | None) -> str:
    """What a page writes behind a number; an unknown code is shown as it is, none as nothing."""
    if not code:
        return ""
    unit = UNITS.get(code)
    return unit.symbol if unit else code
