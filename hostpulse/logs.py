"""Logging with the standard library: an event in snake_case, facts as `extra`, two formats.

log.info("stream_opened", extra={"gateway": "127.0.0.1:50051"})

2026-02-02T14:30:00.000Z INFO agent.uplink stream_opened gateway=127.0.0.1:50051
{"time":"2026-02-02T14:30:00.000Z","level":"INFO","logger":"agent.uplink","event":"stream_opened",…}
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO

from hostpulse import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_STANDARD_ATTRIBUTES = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
}


class LogFormat(StrEnum):
    """How a line is written."""

    CONSOLE = "console"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged and how; HOSTPULSE_LOG_LEVEL and HOSTPULSE_LOG_FORMAT."""

    level: str = "INFO"
    format: LogFormat = LogFormat.CONSOLE


def parse_settings(
    *,
    level: str | None,
    format: str | None,
    level_field: str = "HOSTPULSE_LOG_LEVEL",
    format_field: str = "HOSTPULSE_LOG_FORMAT",
) -> LogSettings:
    """Read the two settings as users write them; None or empty is the default.

    Raises:
        ConfigError: One of them is unknown.
    """
    chosen_level = (level or LogSettings().level).upper()
    if chosen_level not in LEVELS:
        raise errors.ConfigError(
            level_field, expectation=f"one of {', '.join(LEVELS)}", value=level
        )
    try:
        chosen_format = LogFormat((format or LogSettings().format).lower())
    except ValueError as error:
        expectation = f"one of {', '.join(LogFormat)}"
        raise errors.ConfigError(format_field, expectation=expectation, value=format) from error
    return LogSettings(level=chosen_level, format=chosen_format)


def configure(settings: LogSettings, *, stream: TextIO | None = None) -> None:
    """Send everything to `stream` (stderr) in the chosen format, replacing earlier handlers."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(FORMATTERS[settings.format]())
    logging.basicConfig(level=settings.level, handlers=[handler], force=True)


def facts(record: logging.LogRecord) -> Mapping[str, object]:
    """Return what was given as `extra`, in the order it was given."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD_ATTRIBUTES}


class ConsoleFormatter(logging.Formatter):
    """Lines for people: time, level, logger, event, key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as a line, and a traceback below it where there is one."""
        pairs = [f"{key}={_console_value(value)}" for key, value in facts(record).items()]
        head = [_time(record), record.levelname, record.name, record.getMessage()]
        line = " ".join([*head, *pairs])
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """Lines for machines: one JSON object each."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as a JSON object; what JSON does not know is written as text."""
        entry: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            **facts(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False, separators=(",", ":"))


FORMATTERS: Mapping[LogFormat, type[logging.Formatter]] = {
    LogFormat.CONSOLE: ConsoleFormatter,
    LogFormat.JSON: JsonFormatter,
}


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _console_value(value: object) -> str:
    """Write a value so that it is one word; a line break in it must not start a line of its own."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if text and text.isprintable() and not any(each in text for each in ' "='):
        return text
    return json.dumps(text, ensure_ascii=False)
