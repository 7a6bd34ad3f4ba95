"""How the hub says no, in the words of NGSI-LD (ETSI GS CIM 009 v1.9.1, clauses 5.5.2 and 6.3.2)."""

from __future__ import annotations

from typing import Any, ClassVar

from sejong.kernel.errors import CityError

ERROR_TYPES = "https://uri.etsi.org/ngsi-ld/errors/"


class NgsiLdError(CityError):
    """A request to the city's record that cannot be carried out.

    `name` is the standard's error name, `title` its short English reading; `detail` is free text that
    names what was wrong and where.
    """

    name: ClassVar[str] = "InternalError"
    title: ClassVar[str] = "Internal error"
    status = 500
    ko = "도시 기록을 처리하지 못했습니다: {detail}"
    en = "The city's record could not do this: {detail}"

    def __init__(self, detail: str = "", **values: Any) -> None:
        super().__init__(detail=detail or self.title, **values)

    @property
    def detail(self) -> str:
        """What exactly was wrong, in English, for the builder who sent the request."""
        return self.values["detail"]

    def problem(self) -> dict[str, Any]:
        """The error as the ProblemDetails body every NGSI-LD client expects (clause 5.5.3)."""
        return {
            "type": ERROR_TYPES + self.name,
            "title": self.title,
            "detail": self.detail,
            "status": self.status,
        }


class BadRequestData(NgsiLdError):
    """The JSON is readable, but breaks a rule of the data model, a query language or the context."""

    name = "BadRequestData"
    title = "Bad request data"
    status = 400
    ko = "보낸 자료가 규칙에 맞지 않습니다: {detail}"
    en = "The data sent breaks a rule: {detail}"


class InvalidRequest(NgsiLdError):
    """The request itself is malformed: no JSON, an unknown parameter, the wrong shape."""

    name = "InvalidRequest"
    title = "Invalid request"
    status = 400
    ko = "요청 형식이 올바르지 않습니다: {detail}"
    en = "The request is malformed: {detail}"


class ResourceNotFound(NgsiLdError):
    """The entity, attribute, instance or document asked for does not exist."""

    name = "ResourceNotFound"
    title = "Resource not found"
    status = 404
    ko = "찾을 수 없습니다: {detail}"
    en = "Not found: {detail}"


class NonexistentTenant(NgsiLdError):
    """The tenant named in the request was never created."""

    name = "NonexistentTenant"
    title = "Tenant does not exist"
    status = 404
    ko = "없는 테넌트입니다: {detail}"
    en = "This tenant does not exist: {detail}"


class AlreadyExists(NgsiLdError):
    """Something with this id is already in the record."""

    name = "AlreadyExists"
    title = "Already exists"
    status = 409
    ko = "이미 있습니다: {detail}"
    en = "Already exists: {detail}"


class Conflict(NgsiLdError):
    """The change collides with a registration or with what is stored."""

    name = "Conflict"
    title = "Conflict"
    status = 409
    ko = "다른 등록 또는 자료와 충돌합니다: {detail}"
    en = "This conflicts with what is registered or stored: {detail}"


class OperationNotSupported(NgsiLdError):
    """The operation exists, but not for this thing."""

    name = "OperationNotSupported"
    title = "Operation not supported"
    status = 422
    ko = "이 대상에는 쓸 수 없는 작업입니다: {detail}"
    en = "This operation is not supported here: {detail}"


class TooComplexQuery(NgsiLdError):
    """The query is beyond the published limits of complexity."""

    name = "TooComplexQuery"
    title = "Too complex query"
    status = 403
    ko = "질의가 너무 복잡합니다: {detail}"
    en = "The query is too complex: {detail}"


class TooManyResults(NgsiLdError):
    """The answer would be beyond the published limits of size."""

    name = "TooManyResults"
    title = "Too many results"
    status = 403
    ko = "결과가 너무 많습니다: {detail}"
    en = "The answer would be too large: {detail}"


class LdContextNotAvailable(NgsiLdError):
    """A remote @context could not be fetched."""

    name = "LdContextNotAvailable"
    title = "@context not available"
    status = 504
    ko = "@context 문서를 가져올 수 없습니다: {detail}"
    en = "The @context could not be fetched: {detail}"


class InternalError(NgsiLdError):
    """The hub itself failed; nothing of this request was kept."""
