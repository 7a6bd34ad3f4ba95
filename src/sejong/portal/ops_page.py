"""`/ops/data`: how readings come in, which devices fell silent, and what was not understood."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sejong.portal.asked import PAGE_SIZE, WrongAddress, page_asked, require_own_form
from sejong.portal.face import Face
from sejong.portal.find_page import window
from sejong.portal.words import DOORS, SIGNS

RATE_MINUTES = 60
SHOWN = 20
MOST_PICKED = 1000


class OpsPage:
    """Endpoints of `/ops/data`."""

    def __init__(self, face: Face) -> None:
        self.face = face

    async def page(self, request: Request) -> Response:
        """The page, or only the dead letters when htmx filters them."""
        view, page = self.face.view, page_asked(request)
        reason = request.query_params.get("reason") or None
        reasons = await view.dead_letter_reasons()
        if reason is not None and reason not in reasons:
            reason = None
        letters, total = await view.dead_letters(PAGE_SIZE, (page - 1) * PAGE_SIZE, reason)
        pages = max(1, -(-total // PAGE_SIZE))
        values: dict[str, Any] = {
            "letters": letters,
            "total": total,
            "reason": reason,
            "reasons": reasons,
            "page": page,
            "pages": pages,
            "around": window(min(page, pages), pages),
            "doors": DOORS,
            "replayed": replayed(request),
        }
        if request.headers.get("hx-target", "").endswith("#letters"):
            return self.face.pages.answer(request, "portal/_letters.html", values)
        rate = await view.ingest_rate(RATE_MINUTES)
        values |= {
            "rate": rate,
            "rate_data": rate_data(rate),
            "per_minute": round(sum(n for _, n in rate) / len(rate)) if rate else 0,
            "last_minute": rate[-1][1] if rate else 0,
            "silent": await view.silent_devices(SHOWN),
            "suspects": await view.suspects(SHOWN),
            "signs": SIGNS,
        }
        return self.face.pages.answer(request, "portal/ops_data.html", values)

    async def replay(self, request: Request) -> Response:
        """Send chosen (or all) dead letters through their door again, then show the page with what came of it."""
        require_own_form(request)
        form = await request.form(max_fields=MOST_PICKED + 10)
        numbers = None if form.get("all") else picked([str(value) for value in form.getlist("no")])
        done = await self.face.view.replay(numbers)
        query = urlencode({"ok": done.n_ok, "failed": done.n_failed})
        return RedirectResponse(f"/ops/data?{query}#letters", 303, {"Cache-Control": "no-store"})


def picked(raw: list[str]) -> list[int]:
    """The numbers of the ticked letters. Raises WrongAddress."""
    wrong = next((text for text in raw if not (text.isascii() and text.isdigit() and len(text) < 16)), None)
    if wrong is not None or len(raw) > MOST_PICKED:
        raise WrongAddress(name="no", value=(wrong or str(len(raw)))[:60])
    return [int(text) for text in raw]


def replayed(request: Request) -> tuple[int, int] | None:
    """What the last replay came to, from the address it led to."""
    ok, failed = (request.query_params.get(name, "") for name in ("ok", "failed"))
    if not (ok.isdecimal() and failed.isdecimal() and len(ok) < 10 and len(failed) < 10):
        return None
    return int(ok), int(failed)


def rate_data(rate: list[tuple[datetime, int]]) -> str:
    """Seconds and counts as the chart island reads them."""
    return msgspec.json.encode([[round(at.timestamp()) for at, _ in rate], [n for _, n in rate]]).decode()
