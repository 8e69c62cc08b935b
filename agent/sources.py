"""Where settings come from: flags first, then the environment, then a TOML file.

In the file the [agent] table is the agent's; keys above all tables are shared with the other
processes of hostpulse, and the [agent] table wins over them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

import hostpulse
from agent import options
from hostpulse import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CONFIG_VARIABLE = "HOSTPULSE_CONFIG"
KEY_NAMES = ("api_key", "api_key_file")  # two ways to say one thing: a nearer source ends both
# Of the other processes: an agent that shares their file passes them by.
OTHER_TABLES = ("alerting", "api", "db", "gateway", "up")
OTHER_KEYS = (
    "alert_interval_s",
    "database_url",
    "db_port",
    "grpc_listen",
    "heartbeat_url",
    "http_listen",
    "http_requests_per_s",
    "http_tls",
    "jwt_audience",
    "jwt_issuer",
    "jwt_jwks",
    "jwt_max_lifetime_s",
    "jwt_public_key",
    "public_url",
    "secret_key",
    "server_bytes_per_s",
    "smtp_url",
    "tls_client_ca",
    "trusted_proxies",
)


class UsageError(errors.HostpulseError):
    """The command line can't be understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A setting as the user gave it, and what to call it in an error."""

    field: str
    value: options.Parsed


class _ArgumentParser(argparse.ArgumentParser):
    """Reports a wrong command line as an error, not by leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def read(argv: Sequence[str], environ: Mapping[str, str]) -> Mapping[str, Given]:
    """Return all settings that were given, parsed, by name; the nearer source wins.

    Raises:
        ConfigError: A value is wrong, a key is unknown, or the file can't be read.
        UsageError: A flag is unknown or lacks its value.
    """
    flags = cast("dict[str, str | None]", vars(_parser().parse_args(argv)))
    parsers = {each.name: each.parse for each in options.OPTIONS}
    config = flags.get("config") or environ.get(CONFIG_VARIABLE)
    found: dict[str, Given] = {}
    for entries in (
        _file_entries(Path(config)) if config else (),
        # An empty variable is an absent one.
        ((o.name, o.variable, raw) for o in options.OPTIONS if (raw := environ.get(o.variable))),
        ((o.name, o.flag, raw) for o in options.OPTIONS if (raw := flags.get(o.name)) is not None),
    ):
        layer = {
            name: Given(field=field, value=parsers[name](field, raw))
            for name, field, raw in entries
        }
        if any(name in layer for name in KEY_NAMES):
            for name in KEY_NAMES:
                found.pop(name, None)
        found |= layer
    return found


def _parser() -> argparse.ArgumentParser:
    parser = _ArgumentParser(
        prog="hostpulse agent",
        description="Read this machine's metrics and send them to a gateway.",
        epilog="Each flag is also a variable (--server-name: HOSTPULSE_SERVER_NAME) and a key of "
        "the configuration file's [agent] table (server_name). HOSTPULSE_API_KEY has no flag.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=hostpulse.__version__)
    parser.add_argument("--config", metavar="FILE", help="a TOML file with settings")
    for option in options.OPTIONS:
        if option.secret:
            continue
        parser.add_argument(option.flag, metavar="VALUE", help=option.help)
    return parser


def _file_entries(path: Path) -> Iterator[tuple[str, str, object]]:
    """Yield (name, field, raw value); shared keys first, so that [agent] wins."""
    document = _document(path)
    known = {each.name for each in options.OPTIONS}
    table = document.pop("agent", {})
    for key, raw in document.items():
        if key in OTHER_KEYS or (isinstance(raw, dict) and key in OTHER_TABLES):
            continue
        yield _known(key, known, field=f"{path}: {key}"), f"{path}: {key}", raw
    if not isinstance(table, dict):
        raise errors.ConfigError(f"{path}: agent", expectation="a table", value=table)
    for key, raw in cast("dict[str, object]", table).items():
        field = f"{path}: agent.{key}"
        yield _known(key, known, field=field), field, raw


def _known(key: str, known: set[str], *, field: str) -> str:
    if key not in known:
        expectation = f"one of the settings {', '.join(sorted(known))}"
        raise errors.ConfigError(field, expectation=expectation, value=key)
    return key


def _document(path: Path) -> dict[str, object]:
    import tomllib  # only the few agents that have a file pay for it

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise errors.ConfigError(
            "--config", expectation=f"a file that can be read ({error.strerror})", value=str(path)
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise errors.ConfigError(
            "--config", expectation=f"a TOML file ({error})", value=str(path)
        ) from error
