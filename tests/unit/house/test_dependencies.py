from __future__ import annotations

import json

import pytest

from tests.house.dependencies import NOT_CHECKED, judge

CLEAN = {"name": "asyncpg", "version": "0.32.0", "vulns": []}
FLAWED = {
    "name": "starlette",
    "version": "0.1.0",
    "vulns": [
        {"id": "PYSEC-2026-1", "fix_versions": ["0.1.1", "0.2.0"], "aliases": []},
        {"id": "PYSEC-2026-2", "fix_versions": [], "aliases": []},
    ],
}
UNKNOWN = {
    "name": "structlog",
    "skip_reason": "Dependency not found on PyPI and could not be audited: structlog (26.1.0)",
}


def judged(*dependencies):
    return judge(json.dumps({"dependencies": dependencies, "fixes": []}), "")


def test_versions_that_nobody_warns_of_pass():
    verdict = judged(CLEAN)

    assert verdict.text == "dependencies: no known vulnerability"
    assert verdict.status == 0


def test_versions_that_somebody_warns_of_fail_with_the_list():
    verdict = judged(CLEAN, FLAWED, UNKNOWN)

    assert verdict.status == 1
    assert "starlette 0.1.0: PYSEC-2026-1 (mended in 0.1.1, 0.2.0)" in verdict.text
    assert "starlette 0.1.0: PYSEC-2026-2 (mended in no version yet)" in verdict.text
    assert "asyncpg" not in verdict.text


def test_an_index_that_knows_no_advisories_is_no_clean_bill():
    verdict = judged(UNKNOWN, UNKNOWN)

    assert verdict.text == NOT_CHECKED == "dependencies: not checked: no advisory data"
    assert verdict.status == 0


def test_what_was_not_looked_at_is_named_beside_what_was():
    verdict = judged(CLEAN, UNKNOWN)

    assert verdict.text.startswith("dependencies: no known vulnerability; not checked")
    assert "structlog" in verdict.text
    assert verdict.status == 0


def test_without_a_network_nothing_is_checked_and_it_says_so():
    verdict = judge("", "Traceback\nrequests.exceptions.ConnectionError: HTTPSConnectionPool(…)")

    assert verdict.text.startswith(NOT_CHECKED)
    assert "HTTPSConnectionPool" in verdict.text
    assert verdict.status == 0


@pytest.mark.parametrize("complaint", ["No module named pip_audit", "ERROR: invalid requirements"])
def test_a_check_that_does_not_work_is_no_pass(complaint):
    with pytest.raises(ValueError, match="pip-audit has failed"):
        judge("", complaint)
