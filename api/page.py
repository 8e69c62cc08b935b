"""The web page: files that `make web` built, served as they are.

Names of assets hold a hash of what is in them, so browsers keep them for ever; the pages themselves
are asked for each time. What was compressed at build time is sent to who takes it.
"""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import HTMLResponse, Response

from api import problems

BUILT = Path(__file__).parent / "static"
PAGES = {"/": "index.html", "/docs": "docs.html", "/favicon.svg": "favicon.svg"}
ASSETS = "/assets/"
ENCODINGS = {"br": ".br", "gzip": ".gz"}  # the better one first
FOREVER = "public, max-age=31536000, immutable"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}
_NOT_BUILT = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>hostpulse</title></head>'
    "<body><h1>The page is not built</h1><p>hostpulse is running, and its API answers. To have the"
    " page, run <code>make web</code> in the checkout, which says what is missing, and start the"
    " gateway again.</p></body></html>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file, as it is and compressed."""

    media_type: str
    plain: bytes
    encoded: dict[str, bytes] = field(default_factory=dict[str, bytes])
    etag: str = ""


def load(folder: Path) -> dict[str, File]:
    """Read what was built, by its path below the folder; nothing where it was not built."""
    suffixes = tuple(ENCODINGS.values())
    return {
        path.relative_to(folder).as_posix(): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in suffixes
    }


def is_open(path: str) -> bool:
    """Whether a path belongs to the page, which needs no key: it has nothing to tell."""
    return path in PAGES or path.startswith(ASSETS)


def router(folder: Path = BUILT) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()
    files = load(folder)

    async def get_page(request: Request) -> Response:
        """Return a page."""
        found = files.get(PAGES[request.url.path])
        if found is None:
            return HTMLResponse(
                _NOT_BUILT, HTTPStatus.SERVICE_UNAVAILABLE, {**HEADERS, "Cache-Control": "no-store"}
            )
        return _respond(request, found, "no-cache")

    async def get_asset(request: Request) -> Response:
        """Return a part of a page."""
        found = files.get(request.url.path.removeprefix("/"))
        if found is None:
            raise problems.Problem(HTTPStatus.NOT_FOUND, "there is nothing at this path")
        return _respond(request, found, FOREVER)

    for path in PAGES:
        routes.add_api_route(path, get_page, methods=["GET", "HEAD"], include_in_schema=False)
    routes.add_api_route(
        f"{ASSETS}{{name:path}}", get_asset, methods=["GET", "HEAD"], include_in_schema=False
    )
    return routes


def _read(path: Path) -> File:
    """Read a file and its compressed forms."""
    plain = path.read_bytes()
    forms = {name: path.with_name(path.name + suffix) for name, suffix in ENCODINGS.items()}
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return File(
        media_type="text/javascript" if path.suffix == ".js" else media_type,
        plain=plain,
        encoded={name: form.read_bytes() for name, form in forms.items() if form.is_file()},
        etag=f'"{hashlib.sha256(plain).hexdigest()[:20]}"',
    )


def _respond(request: Request, file: File, cache: str) -> Response:
    """Send a file in the best form that the client takes."""
    headers = {**HEADERS, "Cache-Control": cache, "ETag": file.etag}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    taken = {each.strip() for each in request.headers.get("accept-encoding", "").split(",")}
    encoding = next((name for name in file.encoded if name in taken), None)
    if encoding:
        headers["Content-Encoding"] = encoding
    body = file.encoded[encoding] if encoding else file.plain
    return Response(body, media_type=file.media_type, headers=headers)
