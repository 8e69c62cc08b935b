"""JSON that is long and alike: compressed for who takes it."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

WORTH_IT_BYTES = 1024
LEVEL = 4  # 350 kB of numbers in 5 ms


def encode(content: object) -> bytes:
    """Write JSON without spaces."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def compress(body: bytes) -> bytes:
    """Compress, the same in the same way."""
    return gzip.compress(body, LEVEL, mtime=0)


def takes_gzip(request: Request) -> bool:
    """Whether a client takes gzip."""
    return "gzip" in request.headers.get("accept-encoding", "")


def respond(request: Request, content: object) -> Response:
    """Answer with JSON."""
    body = encode(content)
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if len(body) > WORTH_IT_BYTES and takes_gzip(request):
        headers["Content-Encoding"] = "gzip"
        body = compress(body)
    return Response(body, media_type="application/json", headers=headers)
