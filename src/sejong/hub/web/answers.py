"""Answers of the NGSI-LD API: the context's place, pages, counts, and the two kinds of partial success."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from starlette.responses import Response

from sejong.hub.ngsi.change import Change
from sejong.hub.ngsi.context import CORE_URL
from sejong.hub.ngsi.errors import NgsiLdError
from sejong.hub.web.negotiate import GEO_JSON, JSON, LD_JSON, link_to_context
from sejong.hub.web.request import NgsiRequest, context_url
from sejong.hub.web.router_root import ROOT
from sejong.kernel.errors import CityError

_encode = msgspec.json.encode


def no_content() -> Response:
    """204: done, nothing to say."""
    return Response(status_code=204)


def created(location: str) -> Response:
    """201 with the place of what was made."""
    return Response(status_code=201, headers={"Location": location})


class Answer(Response):
    """A 200 whose header fields are written already (starlette's way of making them costs as much as the body)."""

    def __init__(self, body: bytes, fields: list[tuple[bytes, bytes]]) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), *fields]

    def again(self) -> Answer:
        """The same answer for another request, whose header fields may become others."""
        twin = Answer.__new__(Answer)
        twin.status_code, twin.background, twin.body = self.status_code, None, self.body
        twin.raw_headers = [*self.raw_headers]
        return twin


def answer(request: NgsiRequest, body: Any, *, links: Sequence[str] = (), **headers: str) -> Answer:
    """A successful answer in the media type the client chose, its context where that type wants it."""
    fields = [(b"content-type", request.media.encode())]
    found = list(links)
    if request.media == LD_JSON or (request.media == GEO_JSON and request.prefer.get("body") != "json"):
        body = _with_context(body, request.context.source or CORE_URL)
    else:
        found.insert(0, _context_link(context_url(request.context.source)))
    if found:
        fields.append((b"link", ", ".join(found).encode("latin-1")))
    fields.extend((name.lower().encode(), value.encode("latin-1")) for name, value in headers.items())
    return Answer(_encode(body), fields)


@lru_cache(maxsize=1000)
def _context_link(url: str) -> str:
    """The link to a context, in its address what is not ASCII percent-encoded as headers want it."""
    return link_to_context(quote(url, safe="%/:?#[]@!$&'()*+,;=~"))


def _with_context(body: Any, source: Any) -> Any:
    if isinstance(body, list):
        return [{**item, "@context": source} for item in body]
    return {**body, "@context": source}


def page_links(request: NgsiRequest, limit: int, offset: int, *, more: bool) -> list[str]:
    """`rel="next"` and `rel="prev"` links that keep every other parameter of the query."""
    links: list[str] = []
    if more:
        links.append(_page(request, limit, offset + limit, "next"))
    if offset > 0 and limit > 0:
        links.append(_page(request, limit, max(0, offset - limit), "prev"))
    return links


def _page(request: NgsiRequest, limit: int, offset: int, rel: str) -> str:
    others = {k: v for k, v in request.params.items() if k not in ("limit", "offset")}
    query = urlencode({**others, "limit": limit, "offset": offset})
    return f'<{request.scope["path"]}?{query}>; rel="{rel}"; type="{request.media}"'


def update_result(request: NgsiRequest, change: Change) -> Response:
    """204 when everything was written, else 207 with what was not and why."""
    if not change.not_updated:
        return no_content()
    refused = [{"attributeName": name, "reason": reason} for name, reason in change.not_updated]
    wrong = {name for name, _ in change.not_updated}
    body = {"updated": [name for name in change.updated if name not in wrong], "notUpdated": refused}
    return Response(_encode(body), 207, media_type=JSON)


def batch_result(success: Sequence[str], errors: Sequence[tuple[Any, CityError]]) -> Response:
    """207: which entities were written, and for each other one the reason."""
    body = {
        "success": success,
        "errors": [
            {"entityId": entity_id, "error": problem_of(error), **_registration(error)} for entity_id, error in errors
        ],
    }
    return Response(_encode(body), 207, media_type=JSON)


def _registration(error: CityError) -> dict[str, Any]:
    source = error.values.get("registration_id")
    return {} if source is None else {"registrationId": source}


def problem_of(error: CityError) -> dict[str, Any]:
    """Any error in the standard's words."""
    if isinstance(error, NgsiLdError):
        return error.problem()
    return error.problem() | {"type": "https://uri.etsi.org/ngsi-ld/errors/InternalError"}


def entity_location(entity_id: str, *, temporal: bool = False) -> str:
    """Where an entity can be retrieved: its id is one segment of the path, whatever it consists of."""
    return f"{ROOT}{'/temporal' if temporal else ''}/entities/{quote(entity_id, safe=_IN_SEGMENT)}"


_IN_SEGMENT = ":@!$&'()*+,;=~"
"""What a segment of a path may contain as it is. Source: RFC 3986 §3.3."""
