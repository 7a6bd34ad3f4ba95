"""`/dev`: a key in one click, the first call, a console over our own API. For people who write programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sejong.kernel.errors import CityError
from sejong.portal.asked import require_own_form
from sejong.portal.builders import Builders, calls
from sejong.portal.face import Face
from sejong.portal.pages import PRIVATE

SECRET = PRIVATE
"""Pages with a key on them are kept nowhere. (No stricter Referrer-Policy: forms would lose their origin.)"""


class DevPage:
    """Endpoints of `/dev`."""

    def __init__(self, face: Face, builders: Builders) -> None:
        self.face, self.builders = face, builders
        self.calls = calls(builders.paths)

    async def page(self, request: Request) -> Response:
        """How to begin, what is allowed, and the console."""
        return self._answer(request)

    async def make(self, request: Request) -> Response:
        """A new key, shown once."""
        require_own_form(request)
        form = await request.form(max_fields=5)
        _ = self.face.pages.visitor(request).say
        name = str(form.get("name", "")).strip() or _("내 프로그램")
        keys = self.builders.keys
        try:
            keys.admit_maker(keys.address(request.scope))
            async with self.builders.record.act("visitor", "api_key.make") as act:
                made = await keys.make(act, name)
        except CityError as error:
            return self._refused(request, error, "make")
        return self._answer(request, {"made": made}, status=201, headers=SECRET)

    async def use(self, request: Request) -> Response:
        """What a key may do and has done; the key is in the body, never in an address."""
        require_own_form(request)
        secret = str((await request.form(max_fields=5)).get("key", "")).strip()
        try:
            use = await self.builders.keys.use_of(secret)
        except CityError as error:
            return self._refused(request, error, "use")
        return self._answer(request, {"use": use, "secret": secret}, headers=SECRET)

    async def revoke(self, request: Request) -> Response:
        """The key stops working."""
        require_own_form(request)
        secret = str((await request.form(max_fields=5)).get("key", "")).strip()
        try:
            async with self.builders.record.act("visitor", "api_key.revoke") as act:
                name = await self.builders.keys.revoke(act, secret)
        except CityError as error:
            return self._refused(request, error, "use")
        return self._answer(request, {"revoked": name}, headers=SECRET)

    def _refused(self, request: Request, error: CityError, where: str) -> Response:
        visitor = self.face.pages.visitor(request)
        values = {"error": error.message(visitor.lang), "error_at": where}
        return self._answer(request, values, status=error.status, headers=SECRET)

    def _answer(
        self,
        request: Request,
        values: Mapping[str, Any] | None = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        keys = self.builders.keys
        every: dict[str, Any] = {
            "made": None,
            "use": None,
            "secret": "",
            "revoked": "",
            "error": "",
            "error_at": "",
            "calls": self.calls,
            "limits": {
                "anonymous_rate": keys.visitors.rate,
                "anonymous_burst": keys.visitors.burst,
                "rate": keys.rate,
                "burst": keys.burst,
                "daily": keys.daily,
            },
        }
        return self.face.pages.answer(
            request, "portal/dev.html", {**every, **(values or {})}, status=status, headers=headers
        )
