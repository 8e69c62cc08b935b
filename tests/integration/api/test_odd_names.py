"""What a path names may be anything; no name makes a defect of ours."""

from __future__ import annotations

import re

import pytest

from tests.integration.gateway.test_who_may_do_what import found_routes

NAMED = sorted(route for route in found_routes() if "{" in route)


@pytest.mark.parametrize("name", ["a%00b", "%ff", "x" * 5000, "%ED%A0%80", "..%2F..", "%25"])
async def test_a_name_that_nothing_has_is_refused(api, name):
    answers = {}
    for route in NAMED:
        method, path = route.split()
        path = re.sub(r"{\w+:int}", "1", path)
        path = re.sub(r"{[^}]+}", name, path.replace("{scope:path}", f"server:{name}"))
        body = {} if method in {"PUT", "POST"} else None
        answers[route] = (await api.client.request(method, path, json=body)).status_code

    assert {route: status for route, status in answers.items() if status >= 500} == {}
