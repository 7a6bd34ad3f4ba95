"""How the SensorThings facade says no. Source: OGC 18-088 §9.3 (OData query options), OData 4.01 §9.4 (error body)."""

from __future__ import annotations

from sejong.kernel.errors import CityError


class NotUnderstood(CityError):
    """The request is not SensorThings as this facade reads it."""

    status = 400
    ko = "SensorThings 요청을 이해하지 못했습니다: {why}"
    en = "This SensorThings request is not understood: {why}"


class NoSuchResource(CityError):
    """Nothing is at this address."""

    status = 404
    ko = "이 주소에는 아무것도 없습니다: {what}"
    en = "There is nothing at this address: {what}"


class ReadOnly(CityError):
    """The facade shows the record; it is written through NGSI-LD."""

    status = 405
    ko = "SensorThings로는 읽기만 할 수 있습니다. 쓰기는 NGSI-LD(/ngsi-ld/v1)로 하세요."
    en = "SensorThings is for reading only here. Write through NGSI-LD (/ngsi-ld/v1)."


class TakesTooLong(CityError):
    """The question looks at more than fits into one answer."""

    status = 503
    ko = "너무 넓은 질의입니다. Datastreams(…)/Observations처럼 좁혀 물어보세요."
    en = "This question is too wide. Narrow it, for example to Datastreams(…)/Observations."
