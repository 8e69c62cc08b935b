"""Settings of the alert worker: wrong ones end it at once."""

from __future__ import annotations

import logging

import pytest
import structlog

from alerting import settings
from alerting.__main__ import main
from hostpulse import errors

URL = "postgresql://u:pa55word@localhost/x"


def test_the_environment_is_read(monkeypatch):
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", URL)
    monkeypatch.setenv("HOSTPULSE_ALERT_INTERVAL_S", "5")
    monkeypatch.setenv("HOSTPULSE_SMTP_URL", "")

    chosen = settings.load()

    assert chosen.alert_interval_s == 5
    assert chosen.smtp_url is None
    assert "pa55word" not in repr(chosen)


WRONG = [
    ({}, "HOSTPULSE_DATABASE_URL"),
    ({"HOSTPULSE_DATABASE_URL": "mysql://u:pa55word@x/y"}, "HOSTPULSE_DATABASE_URL"),
    ({"HOSTPULSE_DATABASE_URL": URL, "HOSTPULSE_ALERT_INTERVAL_S": "0.5"}, "ALERT_INTERVAL_S"),
    ({"HOSTPULSE_DATABASE_URL": URL, "HOSTPULSE_ALERT_INTERVAL_S": "61"}, "ALERT_INTERVAL_S"),
    ({"HOSTPULSE_DATABASE_URL": URL, "HOSTPULSE_ALERT_INTERVAL_S": "nan"}, "ALERT_INTERVAL_S"),
    ({"HOSTPULSE_DATABASE_URL": URL, "HOSTPULSE_SMTP_URL": "smtp:pa55word"}, "SMTP_URL"),
    ({"HOSTPULSE_DATABASE_URL": URL, "HOSTPULSE_LOG_LEVEL": "loud"}, "LOG_LEVEL"),
]


@pytest.mark.parametrize(
    ("variables", "named"), WRONG, ids=[w[1] + str(n) for n, w in enumerate(WRONG)]
)
def test_a_wrong_setting_is_status_2_and_one_line_that_names_it(
    monkeypatch, capsys, variables, named
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    status = main([])

    said = capsys.readouterr().err
    assert status == 2
    assert named in said
    assert said.count("\n") == 1
    assert "pa55word" not in said


@pytest.fixture
def logs_as_before():
    """Take back what a process does to logging when it starts."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("logs_as_before")
def test_a_wrong_secret_key_is_status_2(monkeypatch, capsys):
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", URL)
    monkeypatch.setenv("HOSTPULSE_SECRET_KEY", "pa55word")

    assert main([]) == 2
    assert "pa55word" not in capsys.readouterr().err


def test_load_raises_config_errors_only(monkeypatch):
    monkeypatch.delenv("HOSTPULSE_DATABASE_URL", raising=False)

    with pytest.raises(errors.ConfigError):
        settings.load()
