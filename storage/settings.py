"""Settings that every server-side process has, and how they are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError
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

    from pydantic_core import ErrorDetails

PREFIX = "HOSTPULSE_"
CONFIG_VARIABLE = "HOSTPULSE_CONFIG"  # the TOML file; keys are the variables in lower case

S = TypeVar("S", bound="ServerSettings")


def _lower_case(value: object) -> object:
    """Take INFO for info, as the agent does."""
    return value.lower() if isinstance(value, str) else value


class ServerSettings(BaseSettings):
    """What gateway and alerting share."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    data_dir: Path = Field(default_factory=data_dir, description="where secrets and spools live")
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], BeforeValidator(_lower_case)
    ] = "info"
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
            try:
                Path(path).open().close()  # a file that is missing would count as empty
                sources.append(TomlConfigSettingsSource(settings_cls, Path(path)))
            except (OSError, ValueError) as error:
                expectation = f"a readable TOML file ({error})"
                raise ConfigError(CONFIG_VARIABLE, expectation=expectation, value=path) from error
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
        raise _explain(settings, error.errors(include_url=False)[0]) from error


def _explain(settings: type[ServerSettings], fault: ErrorDetails) -> ConfigError:
    """Name the variable, what is expected and, unless it is a secret, what came."""
    name = str(fault["loc"][0])
    secret = "Secret" in str(settings.model_fields[name].annotation)
    expectation = fault["msg"][:1].lower() + fault["msg"][1:]
    for opening in ("value error, ", "input should be ", "input should ", "string should "):
        expectation = expectation.removeprefix(opening)
    missing = fault["type"] == "missing"
    return ConfigError(
        f"{PREFIX}{name.upper()}",
        expectation="set" if missing else expectation,
        value=None if missing else "a secret" if secret else fault["input"],
    )
