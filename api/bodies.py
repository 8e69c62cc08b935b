"""Reading a body: bounded in size and time, and strict about what JSON is."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from api import problems

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_BYTES = 256 * 1024
TIMEOUT_S = 10.0
CLOSE = {"Connection": "close"}  # what is still on its way is not waited for


async def read_json(request: Request, *, empty: object = None) -> object:
    """Return the JSON of a request's body; NaN and Infinity are left to be named with their field.

    An empty body is `empty`, where that is given.

    Raises:
        Problem: too big, too slow, encoded, or not JSON (RFC 8259, without repeated names).
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise problems.Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the body must not be compressed, got {problems.shown(encoding)}",
            headers={"Accept-Encoding": "identity"},
        )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            body = await _read(request)
    except TimeoutError as error:
        detail = f"the body must arrive within {TIMEOUT_S:g} s"
        raise problems.Problem(HTTPStatus.REQUEST_TIMEOUT, detail, headers=CLOSE) from error
    except ClientDisconnect as error:
        raise problems.Problem(HTTPStatus.BAD_REQUEST, "the body ended early") from error
    return empty if not body and empty is not None else _parse(body)


async def _read(request: Request) -> bytes:
    """Collect a body, and stop at the limit whatever its length was said to be."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:12]) > MAX_BYTES:
        raise _too_big()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise _too_big()
    return bytes(body)


def _parse(body: bytes) -> object:
    """Parse JSON."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start}"
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at line {error.lineno}, column {error.colno}"
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:
        reason = str(error)[: problems.GOT_MAX_CHARACTERS]
    raise problems.Problem(
        HTTPStatus.BAD_REQUEST,
        f"the body must be JSON: {reason}",
        errors=[problems.wrong("body", expected="JSON", got=body[:200].decode("utf-8", "replace"))],
    )


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object, and refuse a name that comes twice: one of its values would be lost."""
    made: dict[str, object] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"the name {problems.shown(name)} comes twice")
        made[name] = value
    return made


def _too_big() -> problems.Problem:
    return problems.Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body must be at most {MAX_BYTES} bytes",
        errors=[
            problems.FieldError(field="body", expected=f"at most {MAX_BYTES} bytes", got="more")
        ],
        headers=CLOSE,
    )
