"""docs/http-api.md has every route of the application, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from api.app import create
from collector_gateway.services import Services

DOCUMENT = (Path(__file__).parents[3] / "docs/http-api.md").read_text(encoding="utf-8")
NOT_IN_OPENAPI = "GET /openapi.json"
NOTHING = cast("Any", None)  # routes are listed, not called


# They say all in their path, and read no body.
BODILESS = {
    "POST /api/v1/alerts/{alert_id}/ack",
    "POST /api/v1/channels/{name}/test",
    "POST /api/v1/enrollments/{number}/approve",
    "POST /api/v1/enrollments/{number}/deny",
}


def operations() -> dict[str, Any]:
    """Return what the document says of each route."""
    services = Services(
        query_pool=NOTHING,
        authenticator=NOTHING,
        store=NOTHING,
        readiness=NOTHING,
        registry=NOTHING,
        clock=NOTHING,
    )

    paths = create(services).openapi()["paths"]

    return {
        re.sub(r":\w+}", "}", f"{method.upper()} {path}"): operation
        for path, methods in paths.items()
        for method, operation in methods.items()
    }


def test_every_route_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"^\| `((?:GET|POST|PUT|DELETE|PATCH) \S+)` \|", DOCUMENT, re.M))
    assert documented == {*operations(), NOT_IN_OPENAPI}


def test_every_body_has_a_schema() -> None:
    silent = {
        route
        for route, operation in operations().items()
        if route.split()[0] in {"POST", "PUT", "PATCH"} and "requestBody" not in operation
    }

    assert silent == BODILESS
