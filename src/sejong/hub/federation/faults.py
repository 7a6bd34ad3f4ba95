"""How a request fails at another hub. Source: ETSI GS CIM 009 v1.9.1 clauses 5.5.2, 6.3.2 and 4.3.6."""

from __future__ import annotations

from sejong.hub.calls import SourceFault
from sejong.hub.ngsi.errors import Conflict, NgsiLdError


class LoopDetected(NgsiLdError):
    """The request has come through a hub that it came to again."""

    title = "Loop detected"
    status = 508
    ko = "요청이 같은 허브를 다시 지나갑니다: {detail}"
    en = "The request goes round in a circle: {detail}"


class BadGateway(NgsiLdError):
    """The hub that holds this cannot be reached, or answered with a failure of its own."""

    title = "A context source failed"
    status = 502
    ko = "이 자료를 가진 다른 허브가 실패했습니다: {detail}"
    en = "The hub that holds this failed: {detail}"


class GatewayTimeout(NgsiLdError):
    """The hub that holds this did not answer in time."""

    title = "A context source did not answer in time"
    status = 504
    ko = "이 자료를 가진 다른 허브가 제때 답하지 않았습니다: {detail}"
    en = "The hub that holds this did not answer in time: {detail}"


def failure_of(fault: SourceFault) -> NgsiLdError:
    """What whoever sent the request hears of a source's fault."""
    detail = f"{fault.source.id}: {fault.text}"
    if fault.why == "timeout":
        return GatewayTimeout(detail)
    if fault.why == "loop":
        return LoopDetected(detail)
    return Conflict(detail) if fault.status == 409 else BadGateway(detail)
