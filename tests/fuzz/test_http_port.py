"""Requests made of the OpenAPI document, and of what it forbids."""

from __future__ import annotations

import os
import random
import re
from collections import Counter, defaultdict
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode

from tests.e2e.processes import say
from tests.fuzz import spoiling
from tests.fuzz.known import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

    from tests.fuzz.conftest import Target

SPOILED = EXAMPLES // 2  # of each right request
OF_KNOWN = 0.8  # of the calls that name something, how many name what is there
BEHIND_LEAST = 0.3  # of them, how many must get behind the look-up: some use up what they name
OK = frozenset({200, 201, 202, 204})
PATIENCE_S = 20.0
# Endless by nature, or their work is tested where somebody listens.
STREAMS = ("/api/v1/events",)
WAITING = ("/api/v1/channels/{name}/test",)  # half a minute for a worker that is not there


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


class Attempts:
    """Sends requests, mostly about things that are there, and remembers the answers."""

    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.chance = random.Random(seed)
        self.base = f"http://127.0.0.1:{target.gateway.http_port}"
        self.headers = {"Authorization": f"Bearer {target.key}"}
        self.answered: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.defects: list[str] = []

    def generated(self, case: Case) -> None:
        """Send what schemathesis made of the document."""
        parameters = case.path_parameters
        if parameters and self.chance.random() < OF_KNOWN:
            known = self.target.rows.choose(case.path, self.chance)
            if known is not None and case.path not in WAITING:
                (name,) = parameters
                parameters[name] = quote(str(known), safe="")
        found = len(self.defects)
        answer = case.call(base_url=self.base, headers=self.headers, timeout=PATIENCE_S)
        media_type = answer.headers.get("content-type", [""])[0]
        self.look(case.method, case.path, answer.status_code, answer.text, media_type)
        if len(self.defects) > found:
            say(case.as_curl_command())

    def send(self, client: httpx.Client, made: spoiling.Request) -> None:
        """Send a request of ours."""
        known = self.target.rows.choose(made.path, self.chance)
        path = re.sub(r"{\w+}", lambda _: quote(str(known), safe=""), made.path)
        headers = {"Origin": self.base, "X-Hostpulse-Page": "1"}  # as the page has them
        answer = client.request(
            made.method, path, params=made.query, content=made.data(), headers=headers
        )
        media_type = answer.headers.get("content-type", "")
        detail = f"{path} {made.query} {(made.data() or b'')[:500]!r}\n{answer.text}"
        self.look(made.method, made.path, answer.status_code, detail, media_type)

    def look(self, method: str, path: str, status: int, text: str, media_type: str) -> None:
        """Count an answer, and see whether it is one."""
        self.answered[f"{method} {path}"][status] += 1
        if status >= 500 or "Traceback" in text or 'File "/' in text:
            self.defects.append(f"{status} {method} {path}: {text[:1000]}")
        if status >= 400 and status != 405:
            assert media_type == "application/problem+json", f"{status} {method} {path} {text}"


@pytest.mark.timeout(400)
def test_no_request_makes_a_defect_or_shows_our_insides(target: Target) -> None:
    seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(10**6))
    say(f"seed: FUZZ_SEED={seed}")
    attempts = Attempts(target, seed)
    schema = schemathesis.openapi.from_url(
        f"{attempts.base}/openapi.json", headers=attempts.headers
    )
    now = datetime.now(UTC)
    span = ((now - timedelta(hours=1)).isoformat(), now.isoformat())
    with httpx.Client(
        base_url=attempts.base,
        headers=attempts.headers | {"Content-Type": "application/json"},
        timeout=PATIENCE_S,
    ) as client:
        for right in spoiling.requests(*span):
            attempts.send(client, right)
            for _ in range(SPOILED):
                attempts.send(client, right.spoiled(attempts.chance))
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in STREAMS:
            continue
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            throw(operation.as_strategy(generation_mode=mode), attempts.generated)

    for operation, counts in sorted(attempts.answered.items()):
        say(f"{operation}: {dict(counts)}")
    assert not attempts.defects, "\n\n".join(attempts.defects[:5])
    assert "Traceback" not in target.log
    assert len(attempts.answered) > 40
    for operation, counts in attempts.answered.items():
        method, _, path = operation.partition(" ")
        if target.rows.choose(path, attempts.chance) is None or path in WAITING:
            continue
        behind = sum(count for status, count in counts.items() if status != 404)
        assert behind >= counts.total() * BEHIND_LEAST, f"{operation} finds nothing: {counts}"
        assert method == "GET" or counts.keys() & OK, f"{operation} is never right: {counts}"
