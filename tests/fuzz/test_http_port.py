"""Requests made of the OpenAPI document, and of what it forbids."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode

from tests.e2e.processes import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

    from tests.fuzz.conftest import Target

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))  # of each operation
PATIENCE_S = 20.0
# Endless by nature, or their work is tested where somebody listens.
STREAMS = ("/api/v1/events",)


def throw(cases: SearchStrategy[Case], check: Callable[[Case], None]) -> None:
    """Make some cases and try each; an operation without anything to get wrong has none."""

    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def try_one(case: Case) -> None:
        check(case)

    with suppress(Unsatisfiable):
        try_one()


@pytest.mark.timeout(400)
def test_no_request_makes_a_defect_or_shows_our_insides(target: Target) -> None:
    seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(10**6))
    say(f"seed: FUZZ_SEED={seed}")
    base = f"http://127.0.0.1:{target.gateway.http_port}"
    headers = {"Authorization": f"Bearer {target.key}"}
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json", headers=headers)
    answered: dict[str, dict[int, int]] = {}
    defects: list[str] = []

    def check(case: Case) -> None:
        answer = case.call(base_url=base, headers=headers, timeout=PATIENCE_S)
        counts = answered.setdefault(f"{case.method} {case.path}", {})
        counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
        text = answer.text
        if answer.status_code >= 500 or "Traceback" in text or 'File "/' in text:
            defects.append(f"{answer.status_code} {case.as_curl_command()}\n{text[:500]}")
        if answer.status_code >= 400 and answer.status_code != 405:
            media_type = answer.headers["content-type"][0]
            assert media_type == "application/problem+json", case.as_curl_command()

    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in STREAMS:
            continue
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            throw(operation.as_strategy(generation_mode=mode), check)

    for operation, counts in sorted(answered.items()):
        say(f"{operation}: {counts}")
    assert not defects, "\n\n".join(defects[:5])
    assert "Traceback" not in target.log
    assert len(answered) > 15
