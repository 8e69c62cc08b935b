"""What makes two POSTs the same: the client's key, or what they say."""

from __future__ import annotations

import hashlib
import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from api import problems

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from storage import requests

HEADER = "Idempotency-Key"
KEY_MAX_CHARACTERS = 255
KEY = f"1 to {KEY_MAX_CHARACTERS} visible ASCII characters"


def key_of(request: Request, digest: bytes) -> str:
    """Return the key of a request; without one of the client's it is what the body says.

    The body names server and time, so that only a true repeat has the same.

    Raises:
        Problem: the key can't be one.
    """
    given = request.headers.getlist(HEADER)
    if not given:
        return f"body {digest.hex()}"
    key = given[0]
    if len(given) > 1 or not 1 <= len(key) <= KEY_MAX_CHARACTERS or not _is_visible(key):
        raise problems.Problem(
            HTTPStatus.BAD_REQUEST,
            f"{HEADER} must be {KEY}, got {problems.shown(', '.join(given))}",
            errors=[problems.wrong(HEADER, expected=KEY, got=", ".join(given))],
        )
    return f"key {key}"


def digest_of(document: object) -> bytes:
    """Return what tells bodies apart: what they say, however it is written."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).digest()


def answer(stored: requests.Request, digest: bytes) -> Response:
    """Answer a repeat as the first time.

    Raises:
        Problem: 422, the key was used for another body.
    """
    if stored.body_sha256 != digest:
        raise problems.Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"this {HEADER} was used for another body within the last 24 hours",
            errors=[
                problems.FieldError(
                    field=HEADER, expected="a new key for a new body", got="a used key"
                )
            ],
        )
    return JSONResponse(stored.response, stored.status)


def _is_visible(key: str) -> bool:
    return key.isascii() and key.isprintable() and key == key.strip()
