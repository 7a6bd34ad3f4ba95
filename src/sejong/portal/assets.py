"""Stylesheets, scripts, fonts and pictures: read and compressed once at start-up, served for ever."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources.abc import Traversable

import brotli
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sejong.kernel.errors import CityError, NotFound

MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webp": "image/webp",
    "woff2": "font/woff2",
    "json": "application/json",
    "webmanifest": "application/manifest+json",
}
FOR_EVER = "public, max-age=31536000, immutable"
BEST_BELOW = 200_000
"""Files under this many bytes get brotli's best quality; for larger ones it would delay the start by seconds."""


class BrowserPartsMissing(CityError):
    """The vendored browser files are not where the build hook puts them."""

    ko = "브라우저 부품이 없습니다. `python hatch_build.py`를 한 번 실행하세요."
    en = "The browser parts are missing. Run `python hatch_build.py` once."


class Asset(msgspec.Struct, frozen=True):
    """One file as it is sent."""

    media_type: str
    plain: bytes
    brotli: bytes | None
    gzip: bytes | None
    etag: str


class Assets:
    """Every static file of every service, found by `<service>/<path>`, with one hash per folder in its address."""

    def __init__(self, folders: Mapping[str, Traversable]) -> None:
        self._files: dict[str, Asset] = {}
        self._hashes: dict[str, str] = {}
        for name, folder in folders.items():
            found = {f"{name}/{path}": data for path, data in read_folder(folder) if usable(path)}
            seen = hashlib.sha256()
            for path in sorted(found):
                seen.update(path.encode() + b"\0" + hashlib.sha256(found[path]).digest())
            self._hashes[name] = seen.hexdigest()[:12]
            self._files.update({path: packed(path, data) for path, data in found.items()})

    def url(self, path: str) -> str:
        """The address of `portal/portal.css`; it changes when any file of that folder does.

        Raises KeyError for a file that is not there, so that a template's typing mistake is found at once.
        """
        if path not in self._files:
            raise KeyError(path)
        name, _, rest = path.partition("/")
        return f"/static/{self._hashes[name]}/{name}/{rest}"

    def folder_url(self, name: str) -> str:
        """The address under which a folder's files lie, without a slash at the end."""
        return f"/static/{self._hashes[name]}/{name}"

    def sizes(self, *paths: str) -> dict[str, int]:
        """Bytes on the wire of these files, compressed where they are."""
        return {path: len(self._files[path].brotli or self._files[path].plain) for path in paths}

    async def serve(self, request: Request) -> Response:
        """One file. An old hash gets today's file too, but is not kept."""
        path = request.path_params["path"]
        asset = self._files.get(path)
        if asset is None:
            raise NotFound(what=path)
        fresh = request.path_params["hash"] == self._hashes[path.partition("/")[0]]
        headers = {
            "Cache-Control": FOR_EVER if fresh else "no-cache",
            "ETag": asset.etag,
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        if asset.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        body, encoding = best_body(asset, request.headers.get("accept-encoding", ""))
        if encoding:
            headers["Content-Encoding"] = encoding
        return Response(body, headers=headers, media_type=asset.media_type)

    def route(self) -> Route:
        """The one route all static files are served from."""
        return Route("/static/{hash}/{path:path}", self.serve, name="static")


def best_body(asset: Asset, accepted: str) -> tuple[bytes, str]:
    """The smallest form the browser understands, and its encoding's name."""
    if asset.brotli and "br" in accepted:
        return asset.brotli, "br"
    if asset.gzip and "gzip" in accepted:
        return asset.gzip, "gzip"
    return asset.plain, ""


def usable(path: str) -> bool:
    """Whether a file is for browsers (notes, licences and manifests are not)."""
    return path.rpartition(".")[2] in MEDIA_TYPES and not path.startswith((".", "vendor/"))


def read_folder(folder: Traversable, under: str = "") -> list[tuple[str, bytes]]:
    """Every file below a folder with its path."""
    found: list[tuple[str, bytes]] = []
    for item in folder.iterdir():
        path = f"{under}{item.name}"
        found += read_folder(item, f"{path}/") if item.is_dir() else [(path, item.read_bytes())]
    return found


@lru_cache(maxsize=200)
def packed(path: str, data: bytes) -> Asset:
    """A file with its compressed forms; fonts and pictures are compressed already."""
    ending = path.rpartition(".")[2]
    squeezed = ending not in {"woff2", "png", "webp"} and len(data) > 256
    squeezer = zlib.compressobj(6, wbits=31)
    return Asset(
        media_type=MEDIA_TYPES[ending],
        plain=data,
        brotli=brotli.compress(data, quality=11 if len(data) < BEST_BELOW else 9) if squeezed else None,
        gzip=squeezer.compress(data) + squeezer.flush() if squeezed else None,
        etag=f'"{hashlib.sha256(data).hexdigest()[:20]}"',
    )


def portal_folders(portal: Traversable) -> dict[str, Traversable]:
    """The portal's own files and the vendored ones. Raises BrowserPartsMissing when the build hook has not run."""
    static = portal / "static"
    if not (static / "vendor" / "manifest.json").is_file():
        raise BrowserPartsMissing()
    return {"portal": static, "vendor": static / "vendor"}
