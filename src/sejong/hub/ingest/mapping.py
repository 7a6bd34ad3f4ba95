"""Device models: how foreign payloads are read, as data. Adding a device model is adding a row, never code.

A model says which topic its devices use, in which format they write, how the id of the thing is made, where the time
is, and which field becomes which attribute. Its rows produce objects of the default payload, which are then read like
any other. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from sejong.hub.ingest import formats, topics
from sejong.hub.ingest import refusals as no
from sejong.hub.ingest.formats import Doc, FormatFault, Row
from sejong.hub.ingest.reading import LONGEST_UNIT
from sejong.hub.ingest.refusals import Refusal, shown
from sejong.hub.ngsi.context import RESERVED_IRIS, Context
from sejong.hub.ngsi.errors import NgsiLdError
from sejong.hub.ngsi.members import SCOPE
from sejong.kernel.errors import CityError

Format = Literal["json", "csv", "senml", "ultralight"]
TimeFormat = Literal["iso", "epoch_s", "epoch_ms"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}").fullmatch
_STEP = re.compile(r"([^.\[\]{}|]+)((?:\[\d+\])*)").fullmatch
_PLACE = re.compile(r"\{([^{}|]+)(\|lower|\|upper)?\}")
_URN_SAFE = "-._~!$'()*+,;=@:"


class TimeField(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which field holds the time of observation, and how it is written."""

    field: str
    format: TimeFormat = "iso"


class AttributeRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One field that becomes an attribute: `value · scale + offset`, or the word that `values` gives for it.

    `lon` and `lat` instead of `path` make a point. A field that is absent is passed over unless `required`.
    """

    name: str
    path: str = ""
    lon: str = ""
    lat: str = ""
    unit: str | None = None
    scale: float | None = None
    offset: float | None = None
    values: dict[str, Any] | None = None
    required: bool = False


class DeviceModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the payloads of one kind of device are read: one row of `hub.device_model`."""

    name: str
    format: Format
    id: str
    attributes: tuple[AttributeRow, ...] = msgspec.field(name="attribute")
    topic: str = ""
    """MQTT filter; empty for a model that is named in the HTTP request or at `sejong ingest`."""
    type: str | None = None
    each: str = ""
    """JSON only: path of the array that holds the rows."""
    time: TimeField | None = None
    columns: tuple[str, ...] = ()
    separator: str = ","
    simulated: bool = False


class BadModel(CityError):
    """A device model that could not work, with everything that is wrong in it."""

    status = 400
    ko = "기기 모델 {model}이(가) 올바르지 않습니다: {faults_ko}"
    en = "The device model {model} is not valid: {faults_en}"

    def __init__(self, model: str, faults: Sequence[tuple[str, str]]) -> None:
        self.faults = list(faults)
        super().__init__(
            model=model, faults_ko="; ".join(ko for ko, _ in faults), faults_en="; ".join(en for _, en in faults)
        )


def read_models(document: Any) -> list[DeviceModel]:
    """The models of a `devices.toml` (`[[model]]` tables). Raises BadModel at the first that has the wrong shape."""
    rows = document.get("model") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows or set(document) - {"model"}:
        raise BadModel("?", [("[[model]] 표가 필요합니다", "[[model]] tables are expected")])
    return [read_model(row) for row in rows]


def read_model(declared: Any) -> DeviceModel:
    """One model from plain data. Raises BadModel when a member is missing, unknown or of the wrong kind."""
    try:
        return msgspec.convert(declared, DeviceModel)
    except msgspec.ValidationError as error:
        name = declared.get("name", "?") if isinstance(declared, dict) else "?"
        raise BadModel(str(name), [(str(error), str(error))]) from None


def declared(model: DeviceModel) -> Doc:
    """A model as plain data, the inverse of `read_model`."""
    return msgspec.to_builtins(model)


def check_model(
    model: DeviceModel, context: Context, knows_type: Callable[[str], bool], others: Sequence[DeviceModel] = ()
) -> None:
    """Raises BadModel with every fault: what cannot work is not saved."""
    faults = [*_topic_faults(model, others), *_id_faults(model), *_type_faults(model, context, knows_type)]
    if not model.attributes:
        faults.append(("[[model.attribute]]가 하나도 없습니다", "there is no [[model.attribute]]"))
    seen: set[str] = set()
    for row in model.attributes:
        faults.extend((f"{row.name}: {ko}", f"{row.name}: {en}") for ko, en in _row_faults(model, row, context, seen))
    faults.extend(_format_faults(model))
    if faults:
        raise BadModel(model.name, faults)


Faults = list[tuple[str, str]]


def _topic_faults(model: DeviceModel, others: Sequence[DeviceModel]) -> Faults:
    faults: Faults = []
    if not _NAME(model.name):
        faults.append(("name은 글자, 숫자, -_. 만 쓸 수 있습니다", "name may hold letters, digits and -_. only"))
    if not model.topic:
        return faults
    if not topics.is_filter(model.topic):
        what = repr(model.topic)
        faults.append((f"topic {what}은(는) MQTT 필터가 아닙니다", f"topic {what} is not an MQTT filter"))
    elif topics.overlap(model.topic, topics.DEFAULT):
        faults.append(
            (f"topic이 기본 토픽 {topics.DEFAULT}과 겹칩니다", f"topic overlaps the default topic {topics.DEFAULT}")
        )
    for other in others:
        if other.name != model.name and other.topic and topics.overlap(model.topic, other.topic):
            ko = f"topic이 모델 {other.name}의 {other.topic}과 겹칩니다"
            faults.append((ko, f"topic overlaps {other.topic} of {other.name}"))
    return faults


def _id_faults(model: DeviceModel) -> Faults:
    faults: Faults = []
    bare = _PLACE.sub("", model.id)
    if "{" in bare or "}" in bare or not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", bare):
        faults.append(
            (
                f"id {model.id!r}은(는) urn:…:{{필드}} 꼴이어야 합니다",
                f"id {model.id!r} must look like urn:…:{{field}}",
            )
        )
    if not _PLACE.search(model.id):
        faults.append(("id에 {필드}가 없어 모든 기기가 같아집니다", "id has no {field}, so all devices would be one"))
    paths = [place[0] for place in _PLACE.findall(model.id)]
    if model.time is not None:
        paths.append(model.time.field)
    for path in [*paths, *([model.each] if model.each else [])]:
        faults.extend(_path_faults(model, path))
    return faults


def _path_faults(model: DeviceModel, path: str) -> Faults:
    steps = path.split(".")
    if not path or not all(_STEP(step) for step in steps):
        return [(f"경로 {path!r}을(를) 읽을 수 없습니다", f"the path {path!r} cannot be read")]
    found = _topic_level(path)
    levels = model.topic.split("/") if model.topic else []
    if found is not None and found >= len(levels) and "#" not in levels:
        return [(f"topic에 {found}번째 단계가 없습니다(0부터)", f"the topic has no level {found} (counted from 0)")]
    if model.format == "csv" and found is None and path not in model.columns:
        return [(f"columns에 {path}이(가) 없습니다", f"{path} is not among the columns")]
    return []


def _type_faults(model: DeviceModel, context: Context, knows_type: Callable[[str], bool]) -> Faults:
    if model.type is None:
        return []
    try:
        known = knows_type(context.attribute(model.type))
    except NgsiLdError:
        known = False
    if known:
        return []
    return [(f"이 도시에 없는 유형입니다: {model.type}", f"this city knows no type {model.type}")]


def _row_faults(model: DeviceModel, row: AttributeRow, context: Context, seen: set[str]) -> Faults:
    faults: Faults = []
    try:
        iri = context.attribute(row.name)
        if iri in RESERVED_IRIS or iri == SCOPE or row.name in ("id", "type", "at", "units", "simulated"):
            faults.append(("NGSI-LD가 쓰는 이름입니다", "NGSI-LD uses this name itself"))
    except NgsiLdError as error:
        iri = row.name
        faults.append((error.detail, error.detail))
    if iri in seen:
        faults.append(("두 번 나옵니다", "it appears twice"))
    seen.add(iri)
    point = bool(row.lon or row.lat)
    if point == bool(row.path) or bool(row.lon) != bool(row.lat):
        faults.append(("path 하나, 또는 lon과 lat가 필요합니다", "either path, or lon and lat, is needed"))
    for path in filter(None, (row.path, row.lon, row.lat)):
        faults.extend(_path_faults(model, path))
    if row.unit is not None and not (row.unit.isascii() and row.unit.isalnum() and len(row.unit) <= LONGEST_UNIT):
        faults.append((f"단위 {row.unit!r}은(는) UN/CEFACT 코드가 아닙니다", f"{row.unit!r} is not a UN/CEFACT code"))
    if row.scale is not None and (not isfinite(row.scale) or row.scale == 0):
        faults.append(("scale은 0이 아닌 수여야 합니다", "scale must be a number other than 0"))
    if row.offset is not None and not isfinite(row.offset):
        faults.append(("offset은 수여야 합니다", "offset must be a number"))
    if (row.values is not None or point) and (row.scale is not None or row.offset is not None):
        ko = "values나 점에는 scale과 offset을 쓸 수 없습니다"
        faults.append((ko, "scale and offset do not go with values or a point"))
    if row.values is not None and not row.values:
        faults.append(("values가 비어 있습니다", "values is empty"))
    return faults


def _format_faults(model: DeviceModel) -> Faults:
    faults: Faults = []
    if (model.format == "csv") != bool(model.columns):
        faults.append(("columns는 csv에 반드시, csv에만 있어야 합니다", "columns belong to csv, and csv needs them"))
    if model.each and model.format != "json":
        faults.append(("each는 json에만 쓸 수 있습니다", "each belongs to json only"))
    if len(model.separator) != 1 or model.separator in '"\r\n':
        faults.append(("separator는 한 글자여야 합니다", "separator must be one character"))
    return faults


# --- reading a payload -----------------------------------------------------------------------------------------------


class Mapped(msgspec.Struct):
    """The objects of the default payload that a foreign message means, and what in it could not be used."""

    things: list[Doc]
    refused: list[Refusal]


Find = Callable[[Row, Sequence[str]], Any]
_ABSENT: Any = object()


class Reader:
    """Reads the payloads of one device model."""

    def __init__(self, model: DeviceModel) -> None:
        self.model = model
        self._id = _template(model.id)
        self._each = _walker(model.each) if model.each else None
        self._time = None if model.time is None else _finder(model.time.field)
        self._rows = [(row, _value_finder(row)) for row in model.attributes]

    def message(self, raw: bytes, topic: str, now: str) -> Mapped:
        """What the message means. Never raises for anything a sender can do."""
        try:
            rows = self._split(raw, now)
        except Refusal as error:
            return Mapped([], [error])
        except (FormatFault, msgspec.MsgspecError) as fault:
            return Mapped([], [no.NotThisFormat(model=self.model.name, format=self.model.format, why=str(fault))])
        levels = topic.split("/")
        out = Mapped([], [])
        for row in rows:
            try:
                thing = self._thing(row, levels, out.refused)
            except Refusal as error:
                out.refused.append(error)
            else:
                if thing is not None:
                    out.things.append(thing)
        return out

    def _split(self, raw: bytes, now: str) -> list[Row]:
        model = self.model
        if model.format == "json":
            return formats.json_rows(raw, self._each)
        if model.format == "csv":
            return formats.csv_rows(raw, list(model.columns), model.separator)
        return formats.senml_rows(raw, now) if model.format == "senml" else formats.ultralight_rows(raw)

    def _thing(self, row: Row, levels: Sequence[str], refused: list[Refusal]) -> Doc | None:
        model = self.model
        thing: Doc = {"id": self._identity(row, levels)}
        if model.type is not None:
            thing["type"] = model.type
        at = self._moment(row, levels)
        if at is not None:
            thing["at"] = at
        if model.simulated:
            thing["simulated"] = True
        units: dict[str, str] = {}
        before, faults = len(thing), len(refused)
        for declared_row, find in self._rows:
            try:
                value = self._value(declared_row, find(row, levels))
            except Refusal as error:
                refused.append(error)
                continue
            if value is _ABSENT:
                continue
            thing[declared_row.name] = value
            unit = declared_row.unit or row.units.get(declared_row.path)
            if unit is not None:
                units[declared_row.name] = unit
        if len(thing) == before:
            if len(refused) == faults:
                refused.append(no.NoReadings(id=thing["id"]))
            return None
        if units:
            thing["units"] = units
        return thing

    def _identity(self, row: Row, levels: Sequence[str]) -> str:
        text = ""
        for fixed, find, path, fold in self._id:
            text += fixed
            if find is None:
                continue
            value = find(row, levels)
            if value is _ABSENT or isinstance(value, (dict, list)) or value is None or value == "":
                raise no.FieldMissing(model=self.model.name, path=path)
            part = quote(str(value), safe=_URN_SAFE)
            text += part.lower() if fold == "|lower" else part.upper() if fold == "|upper" else part
        return text

    def _moment(self, row: Row, levels: Sequence[str]) -> Any:
        if self._time is None or self.model.time is None:
            return row.at
        value = self._time(row, levels)
        if value is _ABSENT or value is None:
            if row.at is not None:
                return row.at
            raise no.FieldMissing(model=self.model.name, path=self.model.time.field)
        if self.model.time.format == "iso":
            return value
        if isinstance(value, str):
            value = formats.scalar(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
            raise no.BadTime(at=shown(value), why_ko="초 단위 숫자가 아닙니다", why_en="it is not a number of seconds")
        try:
            return formats.epoch(value / 1000 if self.model.time.format == "epoch_ms" else value)
        except FormatFault:
            raise no.BadTime(at=shown(value), why_ko="없는 시각입니다", why_en="there is no such time") from None

    def _value(self, row: AttributeRow, value: Any) -> Any:
        if value is _ABSENT or value is None:
            if row.required:
                raise no.FieldMissing(model=self.model.name, path=row.path or f"{row.lon}, {row.lat}")
            return _ABSENT
        if row.values is not None:
            word = row.values.get(_key(value), _ABSENT)
            if word is _ABSENT:
                known = ", ".join(row.values)
                raise no.BadValue(attribute=row.name, why=f"{shown(value)} is not one of {known}")
            return word
        if row.scale is None and row.offset is None:
            return value
        if isinstance(value, str):
            value = formats.scalar(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise no.BadValue(attribute=row.name, why=f"{shown(value)} is not a number")
        # Twelve digits: 215 · 0.1 is 21.5, not 21.500000000000004; no sensor measures more.
        return float(f"{value * (1.0 if row.scale is None else row.scale) + (row.offset or 0.0):.12g}")


def _key(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _topic_level(path: str) -> int | None:
    found = re.fullmatch(r"topic\[(\d+)\]", path)
    return int(found[1]) if found else None


def _walker(path: str) -> Callable[[Any], Any]:
    """A function that follows a path such as `rxInfo[0].rssi` into a JSON value; _ABSENT where it leads nowhere."""
    steps: list[str | int] = []
    for step in path.split("."):
        found = _STEP(step)
        if found is None:
            raise BadModel("?", [(path, path)])
        steps.append(found[1])
        steps.extend(int(index) for index in re.findall(r"\d+", found[2]))

    def walk(value: Any) -> Any:
        for step in steps:
            if isinstance(step, str):
                if not isinstance(value, dict) or step not in value:
                    return _ABSENT
                value = value[step]
            elif not isinstance(value, list) or step >= len(value):
                return _ABSENT
            else:
                value = value[step]
        return value

    return walk


def _finder(path: str) -> Find:
    level = _topic_level(path)
    if level is not None:
        return lambda _, levels: levels[level] if level < len(levels) else _ABSENT
    walk = _walker(path)

    def find(row: Row, _: Sequence[str]) -> Any:
        if path in row.fields:
            return row.fields[path]
        value = walk(row.fields)
        return walk(row.root) if value is _ABSENT and row.root is not row.fields else value

    return find


def _value_finder(row: AttributeRow) -> Find:
    if row.path:
        return _finder(row.path)
    lon, lat = _finder(row.lon), _finder(row.lat)

    def point(at: Row, levels: Sequence[str]) -> Any:
        place = lon(at, levels), lat(at, levels)
        if _ABSENT in place or None in place:
            return _ABSENT
        return {"type": "Point", "coordinates": list(place)}

    return point


def _template(text: str) -> list[tuple[str, Find | None, str, str]]:
    parts: list[tuple[str, Find | None, str, str]] = []
    end = 0
    for place in _PLACE.finditer(text):
        parts.append((text[end : place.start()], _finder(place[1]), place[1], place[2] or ""))
        end = place.end()
    parts.append((text[end:], None, "", ""))
    return parts
