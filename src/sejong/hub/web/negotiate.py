"""What a request sends and wants: media types, the context link, tenant and preference headers.

Source: ETSI GS CIM 009 v1.9.1 clauses 6.3.4 to 6.3.6, 6.3.14; RFC 9110 §12.5.1; RFC 8288.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

JSON: Final = "application/json"
LD_JSON: Final = "application/ld+json"
GEO_JSON: Final = "application/geo+json"
MERGE_PATCH: Final = "application/merge-patch+json"
CONTEXT_REL: Final = "http://www.w3.org/ns/json-ld#context"

_QUALITY = re.compile(r"^q\s*=\s*([01](?:\.\d{1,3})?)$")
_LINK = re.compile(r"<([^>]*)>((?:\s*;\s*[^,;=\s]+\s*=\s*(?:\"[^\"]*\"|[^,;\"\s]+))*)")
_LINK_PARAMETER = re.compile(r";\s*([^,;=\s]+)\s*=\s*(?:\"([^\"]*)\"|([^,;\"\s]+))")


def best_media(accept: str | None, offered: Sequence[str]) -> str | None:
    """The offered media type the client likes best; earlier offers win ties. None: nothing fits (406).

    >>> best_media("application/*;q=0.5, application/ld+json", (JSON, LD_JSON))
    'application/ld+json'
    """
    if accept is None or not accept.strip():
        return offered[0]
    ranges = [parsed for part in accept.split(",") if (parsed := _range(part)) is not None]
    best: tuple[float, str] | None = None
    for media in offered:
        quality = _quality_for(media, ranges)
        if quality > 0 and (best is None or quality > best[0]):
            best = (quality, media)
    return None if best is None else best[1]


def _range(part: str) -> tuple[str, str, float] | None:
    pieces = [piece.strip() for piece in part.split(";")]
    main, _, sub = pieces[0].lower().partition("/")
    if not main or not sub:
        return None
    quality = 1.0
    for piece in pieces[1:]:
        match = _QUALITY.match(piece.lower())
        if match:
            quality = min(1.0, float(match.group(1)))
    return main, sub, quality


def _quality_for(media: str, ranges: list[tuple[str, str, float]]) -> float:
    main, _, sub = media.partition("/")
    found, precision = 0.0, -1
    for r_main, r_sub, quality in ranges:
        if r_main not in ("*", main) or r_sub not in ("*", sub):
            continue
        exact = (r_main != "*") + (r_sub != "*")
        if exact > precision:
            found, precision = quality, exact
    return found


def media_of(content_type: str | None) -> str:
    """The bare media type of a Content-Type header, lower case."""
    return (content_type or "").partition(";")[0].strip().lower()


def context_link(headers: Sequence[str]) -> list[str]:
    """Targets of the JSON-LD context links in `Link` headers, in order."""
    found: list[str] = []
    for header in headers:
        for target, parameters in _LINK.findall(header):
            for name, quoted, bare in _LINK_PARAMETER.findall(parameters):
                if name.lower() == "rel" and CONTEXT_REL in (quoted or bare).split():
                    found.append(target.strip())
                    break
    return found


def link_to_context(url: str) -> str:
    """The `Link` header value that names the context of a plain JSON answer."""
    return f'<{url}>; rel="{CONTEXT_REL}"; type="{LD_JSON}"'


def preferences(headers: Sequence[str]) -> dict[str, str]:
    """The preferences of `Prefer` headers by lower-case name. Source: RFC 7240 §2."""
    found: dict[str, str] = {}
    for header in headers:
        for part in header.split(","):
            name, _, value = part.partition(";")[0].partition("=")
            if name.strip():
                found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found
