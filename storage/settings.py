"""Settings that every server-side process has, and how they are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from hostpulse.errors import ConfigError
from storage.location import data_dir

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "HOSTPULSE_"
CONFIG_VARIABLE = "HOSTPULSE_CONFIG"  # the TOML file; keys are the variables in lower case

S = TypeVar("S", bound="ServerSettings")


class ServerSettings(BaseSettings):
    """What gateway and alerting share."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    data_dir: Path = Field(default_factory=data_dir, description="where secrets and spools live")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read flags, then the environment, then the TOML file that HOSTPULSE_CONFIG names."""
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if path := os.environ.get(CONFIG_VARIABLE):
            if not Path(path).is_file():
                raise ConfigError(CONFIG_VARIABLE, expectation="a readable TOML file", value=path)
            sources.append(TomlConfigSettingsSource(settings_cls, Path(path)))
        return tuple(sources)


def load(settings: type[S], flags: Mapping[str, object] | None = None) -> S:
    """Read settings.

    Args:
        settings: the class to fill.
        flags: values from the command line; None entries were not given.

    Raises:
        ConfigError: naming the variable, what is expected and (unless secret) what came.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return settings(**given)  # pyright: ignore[reportArgumentType]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=True)[0]
        if not first["loc"]:
            raise ConfigError("settings", expectation=first["msg"], value="these") from error
        name = f"{PREFIX}{str(first['loc'][0]).upper()}"
        field = settings.model_fields.get(str(first["loc"][0]))
        secret = field is not None and "Secret" in str(field.annotation)
        value = "nothing" if first["type"] == "missing" else first.get("input")
        raise ConfigError(
            name,
            expectation=first["msg"][:1].lower() + first["msg"][1:],
            value="a secret" if secret and value != "nothing" else value,
        ) from error
