from __future__ import annotations

import resource

import pytest

from collector_gateway import descriptors

UNLIMITED = resource.RLIM_INFINITY


@pytest.fixture
def limit(monkeypatch):
    """The limits of a process that is none."""
    now = {}
    monkeypatch.setattr(resource, "getrlimit", lambda _which: now["limit"])
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limit: now.update(limit=limit))
    return now


@pytest.mark.parametrize(
    ("before", "after", "connections"),
    [
        ((1024, 524_288), (65_536, 524_288), 21_000),
        ((1024, 4096), (4096, 4096), 3096),
        ((256, 256), (256, 256), 128),
        ((100_000, UNLIMITED), (100_000, UNLIMITED), 21_000),
        ((1024, UNLIMITED), (65_536, UNLIMITED), 21_000),
        ((UNLIMITED, UNLIMITED), (UNLIMITED, UNLIMITED), 21_000),
    ],
)
def test_the_limit_is_raised_and_agents_leave_some_over(limit, before, after, connections):
    limit["limit"] = before

    descriptors.raise_limit()

    assert limit["limit"] == after
    assert descriptors.agents_connections() == connections
