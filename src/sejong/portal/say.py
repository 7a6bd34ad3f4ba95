"""How values, ages and places are written for people, in Korean and English."""

from __future__ import annotations

from datetime import datetime, tzinfo
from math import isfinite
from typing import Any

from sejong.kernel.units import symbol
from sejong.kit.i18n import Translate
from sejong.portal.words import KIND, MEASURES, N_, VALUES, Measure

AGE_WORDS = (N_("방금"), N_("{n}초 전"), N_("{n}분 전"), N_("{n}시간 전"), N_("{n}일 전"))
"""Also given to `static/page.js`, which keeps ages true while a page stays open."""

NOTHING = "–"
_UNLABELLED = Measure("")


def type_label(type: str, _: Translate) -> str:
    """What a type is called; a type the portal has no word for keeps its short name."""
    kind = KIND.get(type)
    return _(kind.label) if kind else type


def attribute_label(name: str, _: Translate) -> str:
    """What an attribute is called; one the portal has no word for keeps its short name."""
    measure = MEASURES.get(name)
    return _(measure.label) if measure else name


def plain_number(value: float, decimals: int | None = None) -> str:
    """A number with thousands marks; without `decimals` three significant digits, never an exponent.

    >>> [plain_number(v) for v in (0.01234, 3.14159, 1234.5, 7)], plain_number(1234.5, 1)
    (['0.0123', '3.14', '1,234', '7'], '1,234.5')
    """
    if decimals is None:
        if isinstance(value, int) or value == int(value):
            decimals = 0
        else:
            size = abs(value)
            decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 4
            text = f"{value:,.{decimals}f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:,.{decimals}f}"


def scaled(name: str, value: float) -> float:
    """The number a page shows: a share in percent, anything else as it is."""
    return value * 100 if MEASURES.get(name, _UNLABELLED).share else value


def value_text(name: str, value: Any, _: Translate) -> str:
    """A value as a person reads it, without its unit."""
    if value is None:
        return NOTHING
    word = VALUES.get(f"{name}={value}") or (VALUES.get(value) if isinstance(value, str) else None)
    if word:
        return _(word)
    if isinstance(value, bool):
        return _("예") if value else _("아니요")
    if isinstance(value, (int, float)):
        if not isfinite(value):
            return NOTHING
        measure = MEASURES.get(name, _UNLABELLED)
        return plain_number(scaled(name, value), measure.decimals)
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(value_text(name, item, _) for item in value)
    if isinstance(value, dict):
        if "@value" in value:
            return str(value["@value"])
        return ", ".join(str(part) for part in value.values() if isinstance(part, (str, int, float)))
    return str(value)


def unit_text(name: str, unit_code: str | None) -> str:
    """The unit a page writes behind a value: the reading's own, else the attribute's usual one."""
    measure = MEASURES.get(name, _UNLABELLED)
    return "%" if measure.share else symbol(unit_code or measure.unit)


def fact_text(name: str, value: Any, total: Any, _: Translate) -> str:
    """A fact of a list line: `7 / 20`, `32 km/h`, `켜짐`."""
    text = value_text(name, value, _)
    if isinstance(total, (int, float)):
        return f"{text} / {value_text(name, total, _)}"
    unit = unit_text(name, None)
    return f"{text} {unit}" if unit and text != NOTHING else text


def age_text(then: datetime | None, now: datetime, _: Translate) -> str:
    """How long ago something was measured; an instant in the future is `방금`."""
    if then is None:
        return NOTHING
    seconds = int((now - then).total_seconds())
    for step, words in ((86400, 4), (3600, 3), (60, 2), (10, 1)):
        if seconds >= step:
            return _(AGE_WORDS[words], n=seconds if words == 1 else seconds // step)
    return _(AGE_WORDS[0])


def clock_text(at: datetime, zone: tzinfo, now: datetime) -> str:
    """Local time of the city, with the day when it is not today's."""
    local = at.astimezone(zone)
    same_day = local.date() == now.astimezone(zone).date()
    return f"{local:%H:%M:%S}" if same_day else f"{local:%Y-%m-%d %H:%M}"


def distance_text(metres: float) -> str:
    """A distance somebody walks or rides."""
    return f"{round(metres / 10) * 10:,.0f} m" if metres < 1000 else f"{metres / 1000:,.1f} km"
