"""How the city says no: one base error that knows its HTTP status and speaks Korean and English."""

from __future__ import annotations

from typing import Any, ClassVar


class CityError(Exception):
    """Something the city cannot do, said so that a person understands it.

    A subclass sets `status` (HTTP), `ko` and `en` (`str.format` templates) and is raised with the
    values the templates name: `LotFull(lot="나성동1")`. Values missing from the call are shown as `?`
    rather than hiding the error behind a KeyError.
    """

    status: ClassVar[int] = 500
    ko: ClassVar[str] = "도시 운영 중 오류가 생겼습니다."
    en: ClassVar[str] = "Something went wrong in the city."
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, **values: Any) -> None:
        self.values = values
        super().__init__(self.message("en"))

    @property
    def code(self) -> str:
        """The stable machine name of this error: its class name."""
        return type(self).__name__

    def message(self, language: str = "ko") -> str:
        """The sentence for a person, in `ko` or `en` (anything else is answered in English)."""
        template = self.ko if language == "ko" else self.en
        return template.format_map(_Forgiving(self.values))

    def problem(self) -> dict[str, Any]:
        """The error as an RFC 9457 problem document with both languages."""
        return {
            "type": f"urn:sejong:error:{self.code}",
            "title": self.code,
            "status": self.status,
            "detail": self.message("en"),
            "detail_ko": self.message("ko"),
        }


class _Forgiving(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


class NotFound(CityError):
    """What was asked for does not exist."""

    status = 404
    ko = "{what}을(를) 찾을 수 없습니다."
    en = "{what} was not found."


class Invalid(CityError):
    """What was sent cannot be understood."""

    status = 400
    ko = "보낸 내용이 올바르지 않습니다: {why}"
    en = "What was sent is not valid: {why}"


class TooManyRequests(CityError):
    """The sender must slow down; nothing of this request was kept."""

    status = 429
    ko = "요청이 너무 많습니다. {seconds}초 뒤에 다시 보내 주세요."
    en = "Too many requests. Please send again in {seconds} seconds."


class NotAllowed(CityError):
    """The one who asks may not do this."""

    status = 403
    ko = "이 일을 할 권한이 없습니다: {why}"
    en = "You are not allowed to do this: {why}"


class NotAuthenticated(CityError):
    """It is not known who asks."""

    status = 401
    ko = "누구인지 확인되지 않았습니다: {why}"
    en = "It is not known who you are: {why}"
