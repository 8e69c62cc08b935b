"""Settings of the alert worker, from the environment.

Wrong ones are refused at the start with the variable, what was expected and what came; secrets are
never repeated.
"""

from __future__ import annotations

import math
from pathlib import Path  # noqa: TC003 - pydantic reads the annotation
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from alerting.notifiers import email
from hostpulse import errors
from storage import location

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "HOSTPULSE_"
INTERVAL_MIN_S = 1.0
INTERVAL_MAX_S = 60.0
DSN_SCHEMES = {"postgresql", "postgres"}
EXPECTATIONS = {
    "alert_interval_s": f"a number of seconds from {INTERVAL_MIN_S:g} to {INTERVAL_MAX_S:g}",
    "database_url": "set to postgresql://user:password@host:port/database",
    "log_level": "one of debug, info, warning, error",
    "log_format": "console or json",
}


class Settings(BaseSettings):
    """What the alert worker can be told."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True
    )

    database_url: SecretStr
    smtp_url: SecretStr | None = None
    secret_key: SecretStr | None = None
    data_dir: Path = Field(default_factory=location.data_dir)
    alert_interval_s: float = Field(default=10.0, ge=INTERVAL_MIN_S, le=INTERVAL_MAX_S)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"

    @classmethod
    def load(cls, overrides: Mapping[str, object] | None = None) -> Self:
        """Read the environment; `overrides` (flags) win.

        Raises:
            ConfigError: a setting is missing or wrong.
        """
        try:
            settings = cls(**(overrides or {}))  # pyright: ignore[reportArgumentType] - pydantic checks
        except ValidationError as error:
            raise _first(error) from None  # the original would print the values
        settings.check()
        return settings

    def check(self) -> None:
        """Refuse what pydantic can't see.

        Raises:
            ConfigError: a setting is wrong.
        """
        scheme = urlsplit(self.database_url.get_secret_value()).scheme
        if scheme not in DSN_SCHEMES:
            expectation = EXPECTATIONS["database_url"]
            value = f"{scheme}://***" if scheme else "***"
            raise errors.ConfigError("HOSTPULSE_DATABASE_URL", expectation=expectation, value=value)
        if self.smtp_url is not None:
            email.parse_url(self.smtp_url.get_secret_value())
        if not math.isfinite(self.alert_interval_s):
            raise errors.ConfigError(
                "HOSTPULSE_ALERT_INTERVAL_S",
                expectation=EXPECTATIONS["alert_interval_s"],
                value=self.alert_interval_s,
            )


def _first(error: ValidationError) -> errors.ConfigError:
    """Turn pydantic's first complaint into ours."""
    complaint = error.errors()[0]
    name = str(complaint["loc"][0])
    variable = name if name.startswith(PREFIX) else f"{PREFIX}{name.upper()}"
    field = variable.removeprefix(PREFIX).lower()
    is_missing = complaint["type"] == "missing"
    is_secret = field in {"database_url", "smtp_url", "secret_key"}
    value = "" if is_missing else "***" if is_secret else complaint["input"]
    return errors.ConfigError(
        variable, expectation=EXPECTATIONS.get(field, complaint["msg"]), value=value
    )
