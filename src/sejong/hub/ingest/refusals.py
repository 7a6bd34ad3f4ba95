"""Why a reading is set aside, so that whoever looks after the device knows what to mend."""

from __future__ import annotations

from typing import Any

from sejong.kernel.errors import CityError


class Refusal(CityError):
    """A message, or part of one, that cannot become a reading. Kept as a dead letter, never dropped."""

    status = 400
    ko = "이 측정값을 이해할 수 없습니다."
    en = "This reading cannot be understood."


class NotJson(Refusal):
    """The payload is not JSON."""

    ko = "JSON이 아닙니다: {why}"
    en = "This is not JSON: {why}"


class NotAReading(Refusal):
    """JSON, but neither an object nor an array of objects."""

    ko = "측정값은 JSON 객체 또는 객체의 배열이어야 하는데 {what}이(가) 왔습니다."
    en = "A reading is a JSON object or an array of them, but this is {what}."


class NoId(Refusal):
    """The object does not say what it is about."""

    ko = '"id"가 없습니다.'
    en = 'There is no "id".'


class BadId(Refusal):
    """The id is not a URI that could name a thing."""

    ko = "id {id}은(는) URI가 아니거나 너무 깁니다(최대 {most}바이트)."
    en = "The id {id} is not a URI, or too long (at most {most} bytes)."


class NotThisKey(Refusal):
    """The key may not speak for this thing."""

    status = 403
    ko = "키 {key}은(는) {id}의 값을 보낼 수 없습니다. 허용된 id: {allowed}"
    en = "The key {key} may not send values of {id}. Allowed ids: {allowed}"


class BadTime(Refusal):
    """The time of observation cannot be read."""

    ko = "시각 {at}을(를) 읽을 수 없습니다: {why_ko}"
    en = "The time {at} cannot be read: {why_en}"


class TimeInFuture(Refusal):
    """Observed later than the city's clock allows."""

    ko = "관측 시각 {at}이(가) 도시 시각보다 {hours:g}시간 넘게 앞서 있습니다. 기기의 시계를 확인하세요."
    en = "The time {at} is more than {hours:g} hours ahead of the city's clock. Check the device's clock."


class ClockNotSet(Refusal):
    """Observed so long ago that the device's clock was never set."""

    ko = "관측 시각 {at}은(는) {earliest}보다 이릅니다. 기기의 시계가 맞춰지지 않은 것 같습니다."
    en = "The time {at} is before {earliest}: the device's clock seems never to have been set."


class UnknownType(Refusal):
    """A type this city does not know."""

    ko = "이 도시에 없는 유형입니다: {type}"
    en = "This city knows no such type: {type}"


class UnknownEntity(Refusal):
    """Nothing with this id is in the record, and no type was given to create it."""

    status = 404
    ko = "{id}은(는) 기록에 없고, 새로 만들 유형도 주어지지 않았습니다."
    en = "{id} is not in the record, and no type was given to create it."


class BadName(Refusal):
    """Something that cannot be the name of an attribute."""

    ko = "속성 이름으로 쓸 수 없습니다: {name} ({why})"
    en = "This cannot be the name of an attribute: {name} ({why})"


class BadValue(Refusal):
    """A value that the attribute cannot have."""

    ko = "{attribute}의 값이 올바르지 않습니다: {why}"
    en = "The value of {attribute} is not valid: {why}"


class BadUnit(Refusal):
    """A unit that is not a unit code."""

    ko = "{attribute}의 단위 {unit}은(는) UN/CEFACT 단위 코드가 아닙니다."
    en = "The unit {unit} of {attribute} is not a UN/CEFACT unit code."


class NaN(Refusal):
    """Not a number, or an infinite one: the sensor measured nothing."""

    ko = "{attribute}의 값이 숫자가 아니거나 무한대입니다."
    en = "The value of {attribute} is not a number, or infinite."


class NoReadings(Refusal):
    """Understood, but without any value in it."""

    ko = "{id}의 측정값이 하나도 없습니다."
    en = "There is no value of {id} in it."


class TooLarge(Refusal):
    """Larger than one message may be."""

    status = 413
    ko = "너무 큽니다: {what} {size:,} (최대 {most:,})"
    en = "Too large: {what} {size:,} (at most {most:,})"


class TooDeep(Refusal):
    """Nested more deeply than any reading."""

    ko = "JSON이 너무 깊게 중첩되어 있습니다."
    en = "The JSON is nested too deeply."


class OwnContext(Refusal):
    """Brings names of its own to a door that speaks the city's."""

    ko = "이 문에서는 자체 @context를 쓸 수 없습니다. 도시의 이름을 쓰거나 HTTP로 보내세요."
    en = "This door takes no @context of the sender's own. Use the city's names, or send by HTTP."


class UnknownTopic(Refusal):
    """No device model listens to this topic."""

    status = 404
    ko = "토픽 {topic}에 맞는 기기 모델이 없습니다."
    en = "No device model matches the topic {topic}."


class UnknownModel(Refusal):
    """A device model of this name does not exist."""

    status = 404
    ko = "기기 모델 {model}이(가) 없습니다."
    en = "There is no device model {model}."


class UnknownKey(Refusal):
    """No device key of this name exists, or it was revoked."""

    status = 401
    ko = "기기 키 {key}이(가) 없거나 취소되었습니다."
    en = "There is no device key {key}, or it was revoked."


class Throttled(Refusal):
    """More than the key may send; counted, the first of each minute kept as a sample."""

    status = 429
    ko = "키 {key}이(가) 허용된 초당 {rate:g}건보다 많이 보냈습니다."
    en = "The key {key} sent more than the {rate:g} readings a second it may."


class FieldMissing(Refusal):
    """A field the device model needs is not in the message."""

    ko = "기기 모델 {model}에 필요한 {path}이(가) 메시지에 없습니다."
    en = "The message lacks {path}, which the device model {model} needs."


class NotThisFormat(Refusal):
    """The payload is not in the format its device model declares."""

    ko = "기기 모델 {model}의 형식({format})이 아닙니다: {why}"
    en = "This is not in the format of the device model {model} ({format}): {why}"


class CannotStore(Refusal):
    """Understood, but the database refuses it."""

    status = 500
    ko = "이해했지만 저장할 수 없습니다: {why}"
    en = "Understood, but it cannot be stored: {why}"


def shown(value: Any, most: int = 80) -> str:
    """A value as a message shows it: readable, short, without line breaks."""
    text = repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"


class DoesNotFit(Refusal):
    """A data set with a model refuses the value at the door."""

    ko = "{data_set} 데이터셋의 모델에 맞지 않습니다: {attribute} {why}"
    en = "This does not fit the model of the data set {data_set}: {attribute} {why}"
