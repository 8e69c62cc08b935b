"""Errors as people and programs can use them: RFC 9457 problem details that name the field."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEDIA_TYPE = "application/problem+json"
GOT_MAX_CHARACTERS = 100
FIELDS_MAX = 20  # a body of nonsense is answered briefly


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing that is wrong with a request; `got` is written as JSON, cut to 100 characters."""

    field: str
    expected: str
    got: str


class Problem(Exception):
    """An error that is answered as problem JSON.

    Args:
        status: of HTTP.
        detail: one sentence about this case.
        errors: what is wrong with which field.
        headers: to send with it.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


def wrong(field: str, *, expected: str, got: object) -> FieldError:
    """Describe a wrong field."""
    return FieldError(field=field, expected=expected, got=shown(got))


def wrong_query(field: str, *, expected: str, got: object) -> Problem:
    """Make the problem of one wrong parameter of the query."""
    error = wrong(field, expected=expected, got=got)
    return Problem(
        HTTPStatus.BAD_REQUEST,
        f"{field} must be {expected}, got {error.got}",
        errors=[error],
    )


def shown(value: object) -> str:
    """Write what came, as JSON where it can be, cut to 100 characters."""
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if isinstance(value, int) and value.bit_length() > 300:
        return "a number of more than 90 digits"  # writing it out could take for ever
    if isinstance(value, list | dict):
        kind = "an array" if isinstance(value, list) else "an object"
        return f"{kind} of {len(value)}"
    if isinstance(value, str):
        value = value[: GOT_MAX_CHARACTERS + 1]
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= GOT_MAX_CHARACTERS else text[: GOT_MAX_CHARACTERS - 1] + "…"


def response(problem: Problem) -> Response:
    """Render a problem."""
    content: dict[str, object] = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": problem.detail,
    }
    if problem.errors:
        content["errors"] = [
            {"field": error.field, "expected": error.expected, "got": error.got}
            for error in problem.errors[:FIELDS_MAX]
        ]
    return Response(
        json.dumps(content),
        status_code=problem.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )
