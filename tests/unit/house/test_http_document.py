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


def test_every_route_is_documented_and_no_other() -> None:
    services = Services(
        query_pool=NOTHING,
        authenticator=NOTHING,
        store=NOTHING,
        readiness=NOTHING,
        registry=NOTHING,
        clock=NOTHING,
    )

    paths = create(services).openapi()["paths"]

    found = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    documented = set(re.findall(r"^\| `((?:GET|POST|PUT|DELETE|PATCH) \S+)` \|", DOCUMENT, re.M))
    assert documented == {re.sub(r":\w+}", "}", each) for each in found} | {NOT_IN_OPENAPI}
