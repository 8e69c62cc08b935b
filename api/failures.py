"""What becomes of an exception: it leaves as problem JSON, with nothing of our insides."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import asyncpg
import structlog
from starlette.exceptions import HTTPException

from api import limiting, problems
from collector_gateway.buckets import Limited
from hostpulse import errors

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

RETRY_AFTER_S = 5  # where nobody said how long

log = structlog.get_logger(__name__)

# The database is away, shutting down, full, or too slow for this query; OSError includes
# TimeoutError.
UNAVAILABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
)


def install(app: FastAPI) -> None:
    """Teach an application to answer failures."""
    app.add_exception_handler(problems.Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Limited, _limited)
    app.add_exception_handler(errors.Retryable, _retryable)
    app.add_exception_handler(errors.Permanent, _permanent)
    app.add_exception_handler(asyncpg.CharacterNotInRepertoireError, _no_text)
    for kind in UNAVAILABLE:
        app.add_exception_handler(kind, _unavailable)
    app.add_exception_handler(Exception, _unexpected)


def retry_later(detail: str, after_s: float | None) -> problems.Problem:
    """Make the problem of something that may work later."""
    seconds = max(1, round(after_s if after_s is not None else RETRY_AFTER_S))
    return problems.Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(seconds)}
    )


async def _problem(_request: Request, error: Exception) -> Response:
    """Answer what was made to be answered."""
    assert isinstance(error, problems.Problem)  # noqa: S101 - for the type checker
    return problems.response(error)


async def _http(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker
    status = HTTPStatus(error.status_code)
    details = {
        HTTPStatus.NOT_FOUND: "there is nothing at this path",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not allowed here",
    }
    return problems.response(
        problems.Problem(status, details.get(status, status.description), headers=error.headers)
    )


async def _limited(_request: Request, error: Exception) -> Response:
    """Answer who goes too fast."""
    assert isinstance(error, Limited)  # noqa: S101 - for the type checker
    return problems.response(limiting.too_fast(error))


async def _retryable(_request: Request, error: Exception) -> Response:
    """Answer what may work later."""
    assert isinstance(error, errors.Retryable)  # noqa: S101 - for the type checker
    return problems.response(retry_later(str(error), error.after_s))


async def _permanent(_request: Request, error: Exception) -> Response:
    """Answer what the database refused for good."""
    return problems.response(problems.Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)))


async def _no_text(_request: Request, _error: Exception) -> Response:
    """Answer a NUL in a path or a query: no text of the database has one."""
    return problems.response(
        problems.Problem(HTTPStatus.BAD_REQUEST, "path and query must be texts without NUL")
    )


async def _unavailable(request: Request, error: Exception) -> Response:
    """Answer while the database can't be asked."""
    slow = isinstance(error, asyncpg.QueryCanceledError)
    log.warning("request_failed", path=request.url.path, error=type(error).__name__)
    return problems.response(
        retry_later(
            "the query took too long: choose a shorter range or a step"
            if slow
            else "the database can't be asked just now",
            None,
        )
    )


async def _unexpected(_request: Request, _error: Exception) -> Response:
    """Answer a defect of ours; the server logs the traceback, the client gets none."""
    return problems.response(
        problems.Problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "this is a defect of the gateway; see its log"
        )
    )
