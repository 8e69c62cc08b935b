"""Settings of the alert worker.

Wrong ones are refused at the start with the variable, what was expected and what came; secrets are
never repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from alerting.notifiers import email, webhooks
from hostpulse import errors
from storage import settings as storage_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERVAL_MIN_S = 1.0
INTERVAL_MAX_S = 60.0
DSN_SCHEMES = {"postgresql", "postgres"}


class AlertingSettings(storage_settings.ServerSettings):
    """What the alert worker can be told."""

    database_url: SecretStr = Field(description="postgresql://user:password@host:port/database")
    smtp_url: SecretStr | None = Field(default=None, description=email.EXPECTATION)
    secret_key: SecretStr | None = Field(default=None, description="encrypts channel secrets")
    public_url: str | None = Field(
        default=None, description="https://host[:port] at which people reach the gateway"
    )
    heartbeat_url: SecretStr | None = Field(
        default=None, description="an https:// address that is told every minute that all is well"
    )
    alert_interval_s: float = Field(
        default=10.0,
        ge=INTERVAL_MIN_S,
        le=INTERVAL_MAX_S,
        allow_inf_nan=False,
        description="seconds between two evaluations",
    )

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, url: SecretStr) -> SecretStr:
        """Refuse what is no address of a PostgreSQL database."""
        if urlsplit(url.get_secret_value()).scheme not in DSN_SCHEMES:
            raise ValueError("postgresql://user:password@host:port/database")
        return url

    @field_validator("smtp_url", "secret_key", "public_url", "heartbeat_url", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        """Let an empty variable mean that there is none."""
        return None if value == "" else value

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, url: str | None) -> str | None:
        """Refuse what is no address of a web server."""
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
                raise ValueError("http://host[:port] or https://host[:port]")
        return url

    @field_validator("heartbeat_url")
    @classmethod
    def _check_heartbeat_url(cls, url: SecretStr | None) -> SecretStr | None:
        """Refuse what can't be posted to safely."""
        if url is not None:
            try:
                webhooks.check_url(url.get_secret_value())
            except errors.ConfigError as error:
                raise ValueError(error.expectation) from error
        return url

    @field_validator("smtp_url")
    @classmethod
    def _check_smtp_url(cls, url: SecretStr | None) -> SecretStr | None:
        """Refuse what is no address of a mail server."""
        if url is not None:
            try:
                email.parse_url(url.get_secret_value())
            except errors.ConfigError as error:
                raise ValueError(error.expectation) from error
        return url


def load(flags: Mapping[str, object] | None = None) -> AlertingSettings:
    """Read flags, the environment and the TOML file, in that order.

    Raises:
        ConfigError: a setting is missing or wrong.
    """
    return storage_settings.load(AlertingSettings, flags)
