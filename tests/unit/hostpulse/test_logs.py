from __future__ import annotations

import io
import json
import logging

import pytest

from hostpulse import errors, logs


@pytest.fixture
def log():
    """A logger that writes into `log.lines()` in the format given to it."""

    class Written:
        def __init__(self):
            self._stream = io.StringIO()
            self.logger = logging.getLogger("hostpulse.test_logs")

        def use(self, formatter):
            handler = logging.StreamHandler(self._stream)
            handler.setFormatter(formatter)
            self.logger.handlers = [handler]
            self.logger.propagate = False
            return self.logger

        def lines(self):
            return self._stream.getvalue().splitlines()

    written = Written()
    yield written
    written.logger.handlers = []
    written.logger.propagate = True


def test_console_lines_are_event_and_facts(log):
    log.use(logs.ConsoleFormatter()).warning(
        "stream_failed", extra={"gateway": "a:1", "error": "not there = gone", "delay_s": 0.25}
    )

    (line,) = log.lines()
    _, level, logger, rest = line.split(" ", 3)
    assert (level, logger) == ("WARNING", "hostpulse.test_logs")
    assert rest == 'stream_failed gateway=a:1 error="not there = gone" delay_s=0.25'


def test_a_line_break_in_a_fact_does_not_start_a_line(log):
    log.use(logs.ConsoleFormatter()).warning("event", extra={"error": "one\n2026 INFO forged"})

    assert len(log.lines()) == 1


def test_json_lines_are_objects_and_facts_keep_their_types(log):
    log.use(logs.JsonFormatter()).warning("stored", extra={"batches": 3, "path": object})

    (line,) = log.lines()
    entry = json.loads(line)
    assert (entry["event"], entry["level"], entry["batches"]) == ("stored", "WARNING", 3)
    assert entry["time"].endswith("Z")


@pytest.mark.parametrize("formatter", [logs.ConsoleFormatter(), logs.JsonFormatter()], ids=str)
def test_tracebacks_are_written(log, formatter):
    try:
        raise LookupError("gone")
    except LookupError:
        log.use(formatter).exception("crashed")

    assert "LookupError: gone" in "\n".join(log.lines())


def test_defaults_are_info_on_the_console():
    assert logs.parse_settings(level=None, format="") == logs.LogSettings(
        level="INFO", format=logs.LogFormat.CONSOLE
    )


def test_spelling_is_forgiving():
    assert logs.parse_settings(level="debug", format="JSON") == logs.LogSettings(
        level="DEBUG", format=logs.LogFormat.JSON
    )


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"level": "loud", "format": None}, "HOSTPULSE_LOG_LEVEL"),
        ({"level": None, "format": "xml"}, "HOSTPULSE_LOG_FORMAT"),
    ],
    ids=["level", "format"],
)
def test_unknown_values_name_the_setting(given, field):
    with pytest.raises(errors.ConfigError, match=field):
        logs.parse_settings(**given)


def test_configure_sends_everything_to_one_stream_and_filters_by_level():
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    root.handlers = []
    try:
        logs.configure(logs.LogSettings(level="WARNING"), stream=stream)
        logging.getLogger("agent").info("quiet")
        logging.getLogger("agent").warning("loud")
    finally:
        root.handlers, root.level = before, level

    assert [line.split()[3] for line in stream.getvalue().splitlines()] == ["loud"]
