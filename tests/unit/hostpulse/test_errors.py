from __future__ import annotations

import pytest

from hostpulse import errors


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.Permanent(), "It did not work and never will."),
        (errors.Retryable(), "It did not work now and may work later."),
        (errors.Retryable("connection refused", after_s=3.0), "connection refused"),
        (
            errors.ConfigError("--interval-s", expectation="between 5 and 60 seconds", value="2"),
            "--interval-s must be between 5 and 60 seconds, got '2'",
        ),
    ],
    ids=["bare permanent", "bare retryable", "retryable", "config"],
)
def test_an_error_says_what_happened_also_when_raised_bare(error, text):
    assert str(error) == text


def test_a_retryable_error_carries_what_the_server_asked_for():
    assert errors.Retryable("busy", after_s=3.0).after_s == 3.0
    assert errors.Retryable().after_s is None
