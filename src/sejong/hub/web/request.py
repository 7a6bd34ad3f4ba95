"""One NGSI-LD request, its parts checked in the order that surprises clients least (reference section 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope

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
from sejong.hub.web.operations import FLAGS, LISTS, Operation

if TYPE_CHECKING:
    from sejong.hub.service import Hub

_decode = msgspec.json.decode
LONGEST_TENANT = 200
"""Characters of a tenant's name at most. Chosen."""


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

    def __init__(self, scope: Scope, operation: Operation, path: Mapping[str, str]) -> None:
        self.scope = scope
        self.operation = operation
        self.path = path
        self.headers = header_fields(scope)
        self.media = JSON
        self.params: dict[str, str] = {}
        self.options: frozenset[str] = frozenset()
        self.tenant = 0
        """Number of the tenant; operations that make tenants ask for it with `own_tenant`, when all else is well."""
        self.tenant_name = ""
        self.in_snapshot = False
        """Whether `tenant` is the hidden one of a snapshot."""
        self.body: Any = None
        self.context: Context
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


def header_fields(scope: Scope) -> dict[str, str]:
    """The header fields of a request; of one that comes several times, the values as one list (RFC 9110 §5.3)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = str(raw_name, "latin-1"), str(raw_value, "latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


async def opened(
    hub: Hub, scope: Scope, receive: Receive, operation: Operation, path: Mapping[str, str]
) -> NgsiRequest:
    """Check everything about a request that does not depend on what is stored."""
    request = NgsiRequest(scope, operation, path)
    headers = request.headers
    has_body = operation.body and not (operation.body_may_miss and _is_bodiless(headers))
    if has_body:
        _check_body_headers(headers, scope, operation)
    request.media = _check_accept(headers.get("accept"), operation)
    if query := scope["query_string"]:
        _read_parameters(request, query, operation)
    if "prefer" in headers:
        request.prefer = preferences([headers["prefer"]])
    await _find_tenant(hub, request)
    if has_body:
        _read_body(request, await _body(receive))
    if operation.context:
        await _find_context(hub, request)
    else:
        request.context = await hub.contexts.get(None)
    for name, value in path.items():
        if name.endswith("id") and not is_uri(value):
            raise BadRequestData(f"{value!r} is not a URI")
    return request


def _is_bodiless(headers: Mapping[str, str]) -> bool:
    return headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers


def _check_body_headers(headers: Mapping[str, str], scope: Mapping[str, Any], operation: Operation) -> None:
    sized = "content-length" in headers or "transfer-encoding" in headers
    if not sized and scope.get("http_version", "1.1").startswith("1"):
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
        pairs = parse_qsl(query.decode(), keep_blank_values=True, max_num_fields=100, errors="strict")
    except ValueError as error:
        raise InvalidRequest(f"the query string cannot be read: {error}") from error
    params = request.params
    for name, value in pairs:
        if name not in operation.params:
            raise InvalidRequest(f"this operation has no parameter {name!r}")
        if "\x00" in value:
            raise BadRequestData(f"{name} contains a NUL character")
        if name in params and name not in LISTS:
            raise InvalidRequest(f"{name} is given twice")
        params[name] = f"{params[name]},{value}" if name in params else value
    if "options" in params:
        words = [word.strip() for word in params["options"].split(",")]
        for word in words:
            if word not in operation.options and word not in operation.formats:
                raise InvalidRequest(f"this operation has no option {word!r}")
        request.options = frozenset(words)
    chosen = params.get("format")
    if chosen is not None and chosen not in operation.formats:
        raise InvalidRequest(f"this operation has no format {chosen!r}")
    for name in params.keys() & FLAGS:
        request.flag(name)


async def _find_tenant(hub: Hub, request: NgsiRequest) -> None:
    snapshot = request.headers.get("ngsild-snapshot")
    name = request.headers.get("ngsild-tenant", "").strip()
    if len(name) > LONGEST_TENANT:
        raise BadRequestData(f"the name of a tenant has at most {LONGEST_TENANT} characters")
    request.tenant_name = name
    if name and (snapshot is not None or not request.operation.makes_tenant):
        request.tenant = await hub.tenant(name)
    if snapshot is not None:
        if request.operation.path.startswith("/snapshots"):
            raise BadRequestData("snapshots are not kept inside snapshots: leave the header NGSILD-Snapshot away")
        request.tenant, request.in_snapshot = await hub.snapshots.use(request.tenant, snapshot), True


async def _body(receive: Receive) -> bytes:
    """The whole body. Raises ClientDisconnect if the client leaves before its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _read_body(request: NgsiRequest, raw: bytes) -> None:
    request.body_is_ld = media_of(request.headers.get("content-type")) == LD_JSON
    try:
        request.body = _decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}" if raw else "the body is empty") from error


async def _find_context(hub: Hub, request: NgsiRequest) -> None:
    links = context_link([request.headers["link"]]) if "link" in request.headers else []
    if len(links) > 1:
        raise BadRequestData("more than one Link header names an @context")
    body = request.body
    if not request.body_is_ld:
        if isinstance(body, dict) and "@context" in body:
            raise BadRequestData("an application/json body must not carry an @context; use a Link header")
        request.context = await hub.contexts.get(links[0] if links else None)
        if links:
            hub.library.used(request.tenant_name, links[0])
        return
    if links:
        raise BadRequestData("with application/ld+json the @context belongs in the body, not in a Link header")
    if request.operation.many:
        request.context = await hub.contexts.get(None)
        return
    if not isinstance(body, dict) or "@context" not in body:
        raise BadRequestData("an application/ld+json body is an object with an @context")
    request.context = await hub.contexts.get(body["@context"])
    hub.library.used(request.tenant_name, body["@context"])
    request.body = {key: value for key, value in body.items() if key != "@context"}


async def own_tenant(hub: Hub, request: NgsiRequest) -> int:
    """The tenant a write belongs to, made if it is new. To be asked for when nothing else can be wrong any more."""
    if request.in_snapshot or not request.tenant_name:
        return request.tenant
    return await hub.tenant(request.tenant_name, create=True)


def path_segments(raw_path: bytes) -> list[str]:
    """The segments of a path, each percent-decoded exactly once (an id may contain an encoded slash).

    Raises BadRequestData when the bytes are no UTF-8.
    """
    try:
        parts = raw_path.decode().split("/")
        return [unquote(part, errors="strict") if "%" in part else part for part in parts]
    except UnicodeDecodeError as error:
        raise BadRequestData(f"the path is not UTF-8: {error}") from error


def context_url(source: Any) -> str:
    """The URL a plain JSON answer links to: the client's own, or the core's when it gave none or an inline one."""
    if isinstance(source, str):
        return source
    if isinstance(source, list):
        urls = [item for item in source if isinstance(item, str)]
        if urls:
            return urls[0]
    return CORE_URL
