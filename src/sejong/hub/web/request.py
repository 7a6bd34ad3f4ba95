"""One NGSI-LD request, its parts checked in the order that surprises clients least (reference section 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sejong.hub.ngsi.context import CORE_URL, Context
from sejong.hub.ngsi.errors import BadRequestData, InvalidRequest
from sejong.hub.ngsi.grammar import is_uri
from sejong.hub.web.negotiate import (
    GEO_JSON,
    JSON,
    LD_JSON,
    MERGE_PATCH,
    best_media,
    context_link,
    media_of,
    preferences,
)

if TYPE_CHECKING:
    from sejong.hub.service import Hub
    from sejong.hub.web.operations import Operation

_decode = msgspec.json.decode


class Refused(Exception):
    """A refusal the standard wants without a problem body (405, 411, 415, 406)."""

    def __init__(self, status: int, body: Any = None, **headers: str) -> None:
        super().__init__(status)
        self.response = Response(
            b"" if body is None else msgspec.json.encode(body),
            status,
            {name.replace("_", "-"): value for name, value in headers.items()},
            JSON if body is not None else None,
        )


class NgsiRequest:
    """What a handler needs of a request. Made by `opened`, which performs checks 2 to 7."""

    def __init__(self, raw: Request, operation: Operation, path: Mapping[str, str]) -> None:
        self.raw = raw
        self.operation = operation
        self.path = path
        self.media = JSON
        self.params: dict[str, str] = {}
        self.options: frozenset[str] = frozenset()
        self.tenant = 0
        self.tenant_name = ""
        self.body: Any = None
        self.context: Context
        self.link: str | None = None
        self.body_is_ld = False
        self.prefer: dict[str, str] = {}

    @property
    def format(self) -> str:
        """`normalized`, `concise` or `simplified` (or a temporal format), `format` winning over `options`."""
        named = self.params.get("format")
        if named is None:
            named = next((word for word in self.operation.formats if word in self.options), None)
        return {"keyValues": "simplified", None: "normalized"}.get(named, named or "normalized")

    def flag(self, name: str) -> bool:
        """A boolean parameter. Raises BadRequestData unless it is `true` or `false`."""
        text = self.params.get(name)
        if text is None:
            return name in self.options
        if text.lower() not in ("true", "false"):
            raise BadRequestData(f"{name} must be true or false, not {text!r}")
        return text.lower() == "true"

    def number(self, name: str, default: int) -> int:
        """A whole, non-negative number parameter. Raises BadRequestData."""
        text = self.params.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 12:
            raise BadRequestData(f"{name} must be a whole number of 0 or more, not {text!r}")
        return int(text)

    def words(self, name: str) -> list[str] | None:
        """A comma-separated list parameter, or None when absent. Raises BadRequestData for empty items."""
        text = self.params.get(name)
        if text is None:
            return None
        items = text.split(",")
        if any(not item.strip() for item in items):
            raise BadRequestData(f"{name} has an empty item")
        return [item.strip() for item in items]

    def uris(self, name: str) -> list[str] | None:
        """A list of URIs. Raises BadRequestData for one that is none."""
        items = self.words(name)
        for item in items or ():
            if not is_uri(item):
                raise BadRequestData(f"{name}: {item!r} is not a URI")
        return items


async def opened(hub: Hub, raw: Request, operation: Operation, path: Mapping[str, str]) -> NgsiRequest:
    """Check everything about a request that does not depend on what is stored."""
    request = NgsiRequest(raw, operation, path)
    headers = raw.headers
    _check_body_headers(raw, operation)
    request.media = _check_accept(headers.get("accept"), operation)
    _read_parameters(request, raw.scope["query_string"], operation)
    request.prefer = preferences(headers.getlist("prefer"))
    request.tenant_name = headers.get("ngsild-tenant", "").strip()
    request.tenant = await hub.tenant(request.tenant_name, create=operation.makes_tenant)
    await _read_body(hub, request)
    for name, value in path.items():
        if name.endswith("id") and not is_uri(value):
            raise BadRequestData(f"{value!r} is not a URI")
    return request


def _check_body_headers(raw: Request, operation: Operation) -> None:
    headers = raw.headers
    if not operation.body:
        return
    sized = "content-length" in headers or "transfer-encoding" in headers
    if not sized and raw.scope.get("http_version", "1.1").startswith("1"):
        raise Refused(411)
    allowed = {JSON, LD_JSON, MERGE_PATCH} if operation.method == "PATCH" else {JSON, LD_JSON}
    if media_of(headers.get("content-type")) not in allowed:
        raise Refused(415)


def _check_accept(accept: str | None, operation: Operation) -> str:
    if operation.method not in ("GET", "HEAD") and not operation.answers:
        return JSON
    offered = (JSON, LD_JSON, GEO_JSON) if operation.geo else (JSON, LD_JSON)
    media = best_media(accept, offered)
    if media is None:
        raise Refused(
            406,
            {
                "type": "https://uri.etsi.org/ngsi-ld/errors/InvalidRequest",
                "title": "Not acceptable",
                "detail": "available: " + ", ".join(offered),
                "status": 406,
            },
        )
    return media


def _read_parameters(request: NgsiRequest, query: bytes, operation: Operation) -> None:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=100, errors="strict")
    except (UnicodeDecodeError, ValueError) as error:
        raise InvalidRequest(f"the query string cannot be read: {error}") from error
    for name, value in pairs:
        if name not in operation.params:
            raise InvalidRequest(f"this operation has no parameter {name!r}")
        if "\x00" in value:
            raise BadRequestData(f"{name} contains a NUL character")
        request.params[name] = value
    options = request.params.get("options")
    if options is not None:
        words = [word.strip() for word in options.split(",")]
        for word in words:
            if word not in operation.options and word not in operation.formats:
                raise InvalidRequest(f"this operation has no option {word!r}")
        request.options = frozenset(words)
    chosen = request.params.get("format")
    if chosen is not None and chosen not in operation.formats:
        raise InvalidRequest(f"this operation has no format {chosen!r}")


async def _read_body(hub: Hub, request: NgsiRequest) -> None:
    links = context_link(request.raw.headers.getlist("link"))
    if len(links) > 1:
        raise BadRequestData("more than one Link header names an @context")
    request.link = links[0] if links else None
    request.body_is_ld = media_of(request.raw.headers.get("content-type")) == LD_JSON and request.operation.body
    if request.operation.body:
        raw = await request.raw.body()
        try:
            request.body = _decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"the body is not JSON: {error}" if raw else "the body is empty") from error
    await _find_context(hub, request)


async def _find_context(hub: Hub, request: NgsiRequest) -> None:
    body = request.body
    if request.body_is_ld and request.link is not None:
        raise BadRequestData("with application/ld+json the @context belongs in the body, not in a Link header")
    if request.body_is_ld and isinstance(body, dict):
        if "@context" not in body:
            raise BadRequestData("an application/ld+json body needs an @context")
        request.context = await hub.contexts.get(body["@context"])
        request.body = {key: value for key, value in body.items() if key != "@context"}
        return
    if isinstance(body, dict) and "@context" in body:
        raise BadRequestData("an application/json body must not carry an @context; use a Link header")
    request.context = await hub.contexts.get(request.link)


def path_segments(raw_path: bytes) -> list[str]:
    """The segments of a path, each percent-decoded exactly once (an id may contain an encoded slash).

    Raises BadRequestData when the bytes are no UTF-8.
    """
    try:
        return [unquote(part, errors="strict") for part in raw_path.decode("ascii").split("/")]
    except UnicodeDecodeError as error:
        raise BadRequestData(f"the path is not UTF-8: {error}") from error


def context_url(context: Context) -> str:
    """The URL a plain JSON answer links to: the client's own, or the core's when it gave none or an inline one."""
    source = context.source
    if isinstance(source, str):
        return source
    if isinstance(source, list):
        urls = [item for item in source if isinstance(item, str)]
        if urls:
            return urls[0]
    return CORE_URL
