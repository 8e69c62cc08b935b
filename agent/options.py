"""Every setting of the agent by name, with the way it is written and read.

One name makes the flag, the variable and the key: `process_top_n` is `--process-top-n`,
HOSTPULSE_PROCESS_TOP_N and `process_top_n` in the file's [agent] table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

from agent.redaction import RedactionMode
from hostpulse import errors, patterns
from hostpulse.numbers import finite
from hostpulse.v1 import telemetry_pb2

MIN_INTERVAL_S = 5.0
MAX_INTERVAL_S = 60.0
PORT_MAX = 65_535

COLLECTED: Mapping[str, telemetry_pb2.Family] = {
    "cpu": telemetry_pb2.FAMILY_CPU,
    "memory": telemetry_pb2.FAMILY_MEMORY,
    "disk_usage": telemetry_pb2.FAMILY_DISK_USAGE,
    "disk_io": telemetry_pb2.FAMILY_DISK_IO,
    "network": telemetry_pb2.FAMILY_NETWORK,
    "tcp": telemetry_pb2.FAMILY_TCP,
    "process": telemetry_pb2.FAMILY_PROCESS,
    "pressure": telemetry_pb2.FAMILY_PRESSURE,
    "agent_health": telemetry_pb2.FAMILY_AGENT_HEALTH,
}

Parsed: TypeAlias = str | float | int | Path | tuple[str, ...] | Mapping[str, float]
Parser: TypeAlias = Callable[[str, object], Parsed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting: its name, how its text becomes a value, one line of help.

    `secret` ones have no flag, because everybody on the host can read a command line.
    """

    name: str
    parse: Parser
    help: str
    secret: bool = False

    @property
    def flag(self) -> str:
        """The flag, `--like-this`."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "HOSTPULSE_" + self.name.upper()


def text(field: str, raw: object) -> str:
    """Accept text that is not empty."""
    if not isinstance(raw, str) or not raw.strip():
        raise errors.ConfigError(field, expectation="text", value=raw)
    return raw.strip()


def secret(field: str, raw: object) -> str:
    """Accept visible ASCII, which is what a header can carry; never repeat it in an error."""
    value = raw.strip() if isinstance(raw, str) else ""
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise errors.ConfigError(field, expectation="visible ASCII characters", value="(hidden)")
    return value


def path(field: str, raw: object) -> Path:
    """Accept a path; a leading `~` is the home directory."""
    return Path(text(field, raw)).expanduser()


def names(field: str, raw: object) -> tuple[str, ...]:
    """Accept a list of texts, or one text with commas."""
    entries = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(entries, list):
        raise errors.ConfigError(field, expectation="a list of names", value=raw)
    return tuple(text(field, each) for each in cast("list[object]", entries))


def families(field: str, raw: object) -> tuple[str, ...]:
    """Accept a list of families."""
    chosen = names(field, raw)
    for each in chosen:
        if each not in COLLECTED:
            expectation = f"any of {', '.join(COLLECTED)}"
            raise errors.ConfigError(field, expectation=expectation, value=each)
    return chosen


def addresses(field: str, raw: object) -> tuple[str, ...]:
    """Accept one or more host:port; an IPv6 address stands in brackets."""
    chosen = names(field, raw)
    for each in chosen:
        host, _, port = each.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        known = port.isascii() and port.isdigit() and 0 < int(port) <= PORT_MAX
        if not known or not bare or (":" in bare) != (host != bare) or "/" in each:
            expectation = "host:port, several with commas"
            raise errors.ConfigError(field, expectation=expectation, value=each)
    return chosen


def redaction_mode(field: str, raw: object) -> str:
    """Accept a mode of redaction."""
    if raw not in list(RedactionMode):
        expectation = f"any of {', '.join(RedactionMode)}"
        raise errors.ConfigError(field, expectation=expectation, value=raw)
    return RedactionMode(cast("str", raw))


def redaction_patterns(field: str, raw: object) -> tuple[str, ...]:
    """Accept regular expressions that can't hang the agent; as one text, one a line."""
    entries = raw.splitlines() if isinstance(raw, str) else raw
    if not isinstance(entries, list):
        raise errors.ConfigError(field, expectation="a list of regular expressions", value=raw)
    chosen = tuple(text(field, each) for each in cast("list[object]", entries))
    patterns.compile_all(field, chosen)
    return chosen


def number(low: float, high: float, unit: str) -> Parser:
    """Accept a number between two bounds."""

    def parse(field: str, raw: object) -> float:
        value = _float(raw)
        if value is None or not low <= value <= high:
            expectation = f"between {low:g} and {high:g} {unit}"
            raise errors.ConfigError(field, expectation=expectation, value=raw)
        return value

    return parse


def whole(low: int, high: int, unit: str) -> Parser:
    """Accept a whole number between two bounds."""

    def parse(field: str, raw: object) -> int:
        value = _float(raw)
        if value is None or value != int(value) or not low <= value <= high:
            expectation = f"a whole number between {low} and {high} {unit}".strip()
            raise errors.ConfigError(field, expectation=expectation, value=raw)
        return int(value)

    return parse


def speeds(field: str, raw: object) -> Mapping[str, float]:
    """Accept a table of interface and megabits a second, or text like `eth0=1000,eth1=2500`."""
    expectation = "interface=megabits per second, several with commas"
    if isinstance(raw, str):
        pairs = [each.partition("=") for each in raw.split(",")]
        table: dict[str, object] = {name.strip(): speed for name, _, speed in pairs}
    elif isinstance(raw, dict):
        table = cast("dict[str, object]", raw)
    else:
        raise errors.ConfigError(field, expectation=expectation, value=raw)
    parsed: dict[str, float] = {}
    for name, speed in table.items():
        value = _float(speed)
        if not name or value is None or value <= 0:
            raise errors.ConfigError(field, expectation=expectation, value=raw)
        parsed[name] = value
    return parsed


def _float(raw: object) -> float | None:
    if not isinstance(raw, str):
        return finite(raw)
    try:
        return finite(float(raw))
    except ValueError:
        return None


_interval = number(MIN_INTERVAL_S, MAX_INTERVAL_S, "seconds")
_PATTERNS = "names, shell patterns; replaces the default filter"

OPTIONS: Sequence[Option] = (
    Option(name="gateway", parse=addresses, help="host:port of the gateways, tried in turn"),
    Option(name="server_name", parse=text, help="the name of this server (default: its hostname)"),
    Option(name="api_key", parse=secret, secret=True, help="this agent's key"),
    Option(name="api_key_file", parse=path, help="a file that holds this agent's key"),
    Option(
        name="enroll",
        parse=secret,
        help="a token of `hostpulse key create --enroll`, exchanged once for a key of its own",
    ),
    Option(
        name="tls_ca",
        parse=text,
        help="the gateway's authority: a PEM file, or `public` for the well-known ones",
    ),
    Option(name="tls_cert", parse=path, help="this agent's certificate, a PEM file"),
    Option(name="tls_key", parse=path, help="the key of that certificate, a PEM file"),
    Option(name="plaintext", parse=text, help="`allow` sends without TLS beyond this machine"),
    Option(name="data_dir", parse=path, help="where the agent keeps what must outlive it"),
    Option(name="log_level", parse=text, help="DEBUG, INFO, WARNING, ERROR or CRITICAL"),
    Option(name="log_format", parse=text, help="console or json"),
    Option(name="interval_s", parse=_interval, help="seconds between readings (default: 10)"),
    *(
        Option(name=f"{each}_interval_s", parse=_interval, help=f"the same for {each} alone")
        for each in COLLECTED
    ),
    Option(name="disabled_families", parse=families, help=f"any of {', '.join(COLLECTED)}"),
    Option(
        name="process_top_n",
        parse=whole(0, 100, ""),
        help="how many processes by CPU, and by memory (default: 10)",
    ),
    Option(
        name="redaction",
        parse=redaction_mode,
        help="what is sent of command lines: names, redacted (arguments without secrets) or full "
        "(default: names)",
    ),
    Option(
        name="redaction_patterns",
        parse=redaction_patterns,
        help="regular expressions, one a line: what they match in arguments is a secret, too",
    ),
    Option(name="mounts_include", parse=names, help=_PATTERNS),
    Option(name="mounts_exclude", parse=names, help=_PATTERNS),
    Option(name="filesystems_include", parse=names, help=_PATTERNS),
    Option(name="filesystems_exclude", parse=names, help=_PATTERNS),
    Option(name="devices_include", parse=names, help=_PATTERNS),
    Option(name="devices_exclude", parse=names, help=_PATTERNS),
    Option(name="interfaces_include", parse=names, help=_PATTERNS),
    Option(name="interfaces_exclude", parse=names, help=_PATTERNS),
    Option(
        name="interface_speeds_mbps",
        parse=speeds,
        help="speeds that drivers do not know, like eth0=1000",
    ),
    Option(
        name="spool_max_bytes",
        parse=whole(1024 * 1024, 64 * 1024**3, "bytes"),
        help="how much is kept on disk while no gateway answers (default: 268435456)",
    ),
    Option(
        name="spool_max_age_s",
        parse=number(60, 6 * 24 * 3600, "seconds"),
        help="how long it is kept there (default: 86400)",
    ),
    Option(
        name="buffer_max_bytes",
        parse=whole(1024 * 1024, 4 * 1024**3, "bytes"),
        help="how much is kept in memory where the disk does not serve (default: 33554432)",
    ),
    Option(
        name="buffer_max_age_s",
        parse=number(60, 6 * 24 * 3600, "seconds"),
        help="how long it is kept there (default: 86400)",
    ),
)

BY_NAME: Mapping[str, Option] = {each.name: each for each in OPTIONS}
