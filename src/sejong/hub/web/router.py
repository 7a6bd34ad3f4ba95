"""The NGSI-LD door: finds the operation, checks the request, answers errors exactly as the standard words them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sejong.hub.ngsi.errors import BadRequestData, InternalError
from sejong.hub.web.answers import problem_of
from sejong.hub.web.negotiate import JSON
from sejong.hub.web.operations import OPERATIONS, Handler, Operation
from sejong.hub.web.request import Refused, header_fields, opened, path_segments
from sejong.hub.web.router_root import ROOT
from sejong.kernel.errors import CityError, NotAuthenticated, TooManyRequests
from sejong.kit.http import BodyTooLarge, error_response
from sejong.kit.i18n import preferred
from sejong.kit.postgres import AWAY, DatabaseAway
from sejong.kit.service import resolve

if TYPE_CHECKING:
    from sejong.hub.opendata.keys import Keys
    from sejong.hub.service import Hub

log = structlog.get_logger("hub")
_ECHOED = (b"ngsild-tenant", b"ngsild-snapshot")


class NgsiRouter:
    """An ASGI application for everything below `/ngsi-ld/v1`."""

    def __init__(self, hub: Hub, keys: Keys | None = None) -> None:
        self.hub, self.keys = hub, keys
        self._tree = _Node()
        for operation in OPERATIONS:
            self._tree.add(operation, resolve(operation.handler))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if self.keys is not None:
                await self.keys.admit(scope)
            response = await self._answer(scope, receive)
        except (TooManyRequests, NotAuthenticated) as error:
            response = not_admitted(error, scope)
        except Refused as refused:
            response = refused.response
        except BodyTooLarge:
            response = Response(status_code=413)
        except CityError as error:
            response = problem(error)
        except (*AWAY, OSError) as error:
            response = problem(DatabaseAway(why=str(error) or type(error).__name__))
        except ClientDisconnect:
            return
        except Exception as error:
            log.error("ngsi_request_failed", path=scope["path"], exc_info=error)
            response = problem(InternalError("something went wrong inside the hub; it was logged"))
        response.raw_headers.extend(field for field in scope["headers"] if field[0] in _ECHOED)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        segments = path_segments(scope.get("raw_path") or quote(scope["path"]).encode())
        if segments and segments[-1] == "":
            segments.pop()
        node, path = self._tree.find(segments[3:])
        if node is None or not node.operations:
            return Response(status_code=404)
        method = scope["method"]
        scope["route"] = node
        if method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": node.allow})
        found = node.operations.get("GET" if method == "HEAD" else method)
        if found is None:
            return Response(status_code=405, headers={"Allow": node.allow})
        operation, handler = found
        if any(not value for value in path.values()):
            raise BadRequestData("an empty path segment where an id or a name belongs")
        return await handler(self.hub, await opened(self.hub, scope, receive, operation, path))


class _Node:
    """One place in the tree of paths."""

    def __init__(self, path: str = "") -> None:
        self.path = path
        self.children: dict[str, _Node] = {}
        self.wild: tuple[str, _Node] | None = None
        self.operations: dict[str, tuple[Operation, Handler]] = {}

    @property
    def allow(self) -> str:
        """The `Allow` header of this place."""
        verbs = sorted(self.operations)
        return ", ".join([*verbs, *(["HEAD"] if "GET" in verbs else []), "OPTIONS"])

    def add(self, operation: Operation, handler: Handler) -> None:
        """Grow the tree by one operation."""
        node = self
        for segment in operation.path.strip("/").split("/"):
            where = f"{node.path or ROOT}/{segment}"
            if segment.startswith("{"):
                if node.wild is None:
                    node.wild = (segment[1:-1], _Node(where))
                node = node.wild[1]
            else:
                node = node.children.setdefault(segment, _Node(where))
        node.operations[operation.method] = (operation, handler)

    def find(self, segments: list[str]) -> tuple[_Node | None, Mapping[str, str]]:
        """The place the segments lead to and what stood for the `{names}`."""
        node, path = self, {}
        for segment in segments:
            child = node.children.get(segment)
            if child is None:
                if node.wild is None:
                    return None, path
                name, child = node.wild
                path[name] = segment
            node = child
        return node, path


def not_admitted(error: CityError, scope: Scope) -> Response:
    """Too many requests, or a key nobody has: refused before the standard has anything to say, in both languages."""
    response = error_response(error, preferred(header_fields(scope).get("accept-language"), "en"))
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def problem(error: CityError) -> Response:
    """Any error as the ProblemDetails answer NGSI-LD clients expect."""
    return Response(msgspec.json.encode(problem_of(error)), error.status, dict(error.headers), JSON)
