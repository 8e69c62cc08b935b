"""The agent's settings: one frozen value, complete and valid, or a ConfigError."""

from __future__ import annotations

import os
import re
import socket
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from agent import enrollment_file, options, sources
from agent.buffer import SPOOL, BufferBounds
from agent.collectors import CollectorSettings, NameFilter
from agent.plan import Plan
from agent.redaction import RedactionMode
from hostpulse import errors, logs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent import enrolling
    from hostpulse.v1 import telemetry_pb2

T = TypeVar("T")

DEFAULT_GATEWAY = "127.0.0.1:50051"
DEFAULT_INTERVAL_S = 10.0
DEFAULT_INTERVALS_S = {"disk_usage": 60.0}  # where it is not the general one
SERVER_NAME_MAX = 253
PUBLIC_AUTHORITIES = "public"
NO_NAMES: tuple[str, ...] = ()
LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|\[::1\]")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that does not show itself in logs and tracebacks; `file` is where it came from."""

    value: str = field(repr=False)
    file: Path | None = None

    def current(self) -> str:
        """Return the key as its file has it now: rotated, or a token renewed, without a restart.

        A file that can't be read, or holds no key, leaves the one that was there at the start.
        """
        if self.file is None:
            return self.value
        try:
            return options.secret(str(self.file), self.file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, errors.ConfigError):
            return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsMaterial:
    """PEM bytes; no `authority` means the public ones, no certificate means no mutual TLS.

    Attributes:
        files: Where each of the others was read, by its name.
    """

    authority: bytes | None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    files: Mapping[str, Path] = field(default_factory=dict[str, "Path"], compare=False)

    def reread(self) -> TlsMaterial:
        """Return what the files hold now, for a new connection; the same where one is missing."""
        try:
            return replace(self, **{name: path.read_bytes() for name, path in self.files.items()})
        except OSError:
            return self


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Everything the agent is told from outside.

    Attributes:
        gateways: host:port, tried in turn.
        intervals_s: Seconds between two readings, for every family that is on.
        tls: None is plaintext.
        spool: How much is kept on disk.
        buffer: How much is kept in memory where the disk does not serve.
    """

    gateways: Sequence[str]
    server_name: str
    api_key: ApiKey
    tls: TlsMaterial | None
    data_dir: Path
    log: logs.LogSettings
    intervals_s: Mapping[telemetry_pb2.Family, float]
    collectors: CollectorSettings
    spool: BufferBounds
    buffer: BufferBounds

    @property
    def plan(self) -> Plan:
        """The part that a gateway may change."""
        return Plan(intervals_s=self.intervals_s, collectors=self.collectors, spool=self.spool)


def load(argv: Sequence[str], environ: Mapping[str, str]) -> AgentSettings:
    """Read flags, environment and file, and refuse what can't work.

    Raises:
        ConfigError: It names the field, what is expected there, and what came.
        UsageError: The command line can't be understood.
    """
    given = _Given(sources.read(argv, environ))
    data_dir = given.get("data_dir", default_data_dir(environ))
    if not any(name in given for name in sources.KEY_NAMES):
        given = given.over(enrollment_file.read(data_dir))
    gateways = given.get("gateway", (DEFAULT_GATEWAY,))
    tls = _tls(given)
    if tls is None:
        _check_plaintext(given, gateways)
    return AgentSettings(
        gateways=gateways,
        server_name=_server_name(given),
        api_key=_api_key(given),
        tls=tls,
        data_dir=data_dir,
        log=_log(given),
        intervals_s=_intervals(given),
        collectors=_collectors(given),
        spool=_bounds(given, "spool", SPOOL),
        buffer=_bounds(given, "buffer", BufferBounds()),
    )


def load_enrollment(
    argv: Sequence[str], environ: Mapping[str, str]
) -> enrolling.EnrollmentSettings | None:
    """Read how to get a key; None where no token is given, or it has been exchanged already.

    Raises:
        ConfigError: As `load`.
        UsageError: As `load`.
    """
    from agent import enrolling  # most starts have no token

    given = _Given(sources.read(argv, environ))
    if "enroll" not in given:
        return None
    token = enrolling.parse_token(given.field("enroll"), given.get("enroll", ""))
    data_dir = given.get("data_dir", default_data_dir(environ))
    if enrollment_file.token_of(data_dir) == token.prefix:
        return None
    gateways = given.get("gateway", (DEFAULT_GATEWAY,))
    tls = _tls(given)
    if tls is None and not token.authority_sha256:
        _check_plaintext(given, gateways)
    return enrolling.EnrollmentSettings(
        token=token,
        gateways=gateways,
        server_name=_server_name(given) if "server_name" in given else "",
        tls=tls,
        data_dir=data_dir,
        log=_log(given),
    )


def default_data_dir(environ: Mapping[str, str], *, platform: str = sys.platform) -> Path:
    """Return /var/lib/hostpulse for root, else the platform's place for a user's data."""
    if platform != "win32" and os.geteuid() == 0:
        return Path("/var/lib/hostpulse")
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "hostpulse"
    if platform == "darwin":
        return Path.home() / "Library/Application Support/hostpulse"
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "hostpulse"


class _Given:
    """What the sources gave, by name, with the type that its option parses to."""

    def __init__(self, found: Mapping[str, sources.Given]) -> None:
        self._found = found

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def get(self, name: str, default: T) -> T:
        """Return a value; the options' parsers guarantee that it is of the default's type."""
        given = self._found.get(name)
        return default if given is None else given.value  # pyright: ignore[reportReturnType]

    def over(self, others: Mapping[str, sources.Given]) -> _Given:
        """Return this with others for what it lacks."""
        return _Given({**others, **self._found})

    def field(self, name: str) -> str:
        """Return what the user calls a setting; where nothing was given, its variable."""
        given = self._found.get(name)
        return "HOSTPULSE_" + name.upper() if given is None else given.field


def _log(given: _Given) -> logs.LogSettings:
    return logs.parse_settings(
        level=given.get("log_level", ""),
        format=given.get("log_format", ""),
        level_field=given.field("log_level"),
        format_field=given.field("log_format"),
    )


def _server_name(given: _Given) -> str:
    name = given.get("server_name", "") or socket.gethostname()
    if not 0 < len(name) <= SERVER_NAME_MAX or not name.isprintable():
        expectation = f"1 to {SERVER_NAME_MAX} printable characters"
        raise errors.ConfigError(given.field("server_name"), expectation=expectation, value=name)
    return name


def _api_key(given: _Given) -> ApiKey:
    """Take the key from the file where one is named, else as it is given."""
    if "api_key_file" in given:
        path = given.get("api_key_file", Path())
        text = _read(given.field("api_key_file"), path).decode("utf-8", "replace")
        return ApiKey(options.secret(f"{given.field('api_key_file')} ({path})", text), path)
    if "api_key" in given:
        return ApiKey(given.get("api_key", ""))
    raise errors.ConfigError(
        "HOSTPULSE_API_KEY or HOSTPULSE_API_KEY_FILE",
        expectation="set (or enrol with --enroll TOKEN)",
        value=None,
    )


def _tls(given: _Given) -> TlsMaterial | None:
    names = ("tls_cert", "tls_key")
    for one, other in (names, names[::-1]):
        if one in given and other not in given:
            expectation = f"set together with {given.field(one)}"
            raise errors.ConfigError(given.field(other), expectation=expectation, value=None)
    authority = given.get("tls_ca", "")
    if not authority:
        if "tls_cert" in given:
            expectation = f"a PEM file or `{PUBLIC_AUTHORITIES}` where a certificate is set"
            raise errors.ConfigError(given.field("tls_ca"), expectation=expectation, value=None)
        return None
    paths = {name: given.get(name, Path()) for name in names if name in given}
    if authority != PUBLIC_AUTHORITIES:
        paths["tls_ca"] = Path(authority).expanduser()
    pem = {name: _read(given.field(name), path) for name, path in paths.items()}
    fields = {"tls_ca": "authority", "tls_cert": "certificate", "tls_key": "key"}
    return TlsMaterial(
        authority=pem.get("tls_ca"),
        certificate=pem.get("tls_cert"),
        key=pem.get("tls_key"),
        files={fields[name]: path for name, path in paths.items()},
    )


def _check_plaintext(given: _Given, gateways: Sequence[str]) -> None:
    allowed = given.get("plaintext", "")
    if allowed not in ("", "loopback", "allow"):
        field = given.field("plaintext")
        raise errors.ConfigError(field, expectation="`allow` or `loopback`", value=allowed)
    for gateway in gateways:
        if allowed != "allow" and not LOOPBACK.fullmatch(gateway.rpartition(":")[0]):
            raise errors.ConfigError(
                given.field("gateway"),
                expectation="on this machine, or reached with TLS (set HOSTPULSE_TLS_CA; "
                "HOSTPULSE_PLAINTEXT=allow sends the key and all data unencrypted)",
                value=gateway,
            )


def _bounds(given: _Given, of: str, default: BufferBounds) -> BufferBounds:
    return BufferBounds(
        max_bytes=given.get(f"{of}_max_bytes", default.max_bytes),
        max_age_s=given.get(f"{of}_max_age_s", default.max_age_s),
    )


def _read(field: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        expectation = f"a file that can be read ({error.strerror})"
        raise errors.ConfigError(field, expectation=expectation, value=str(path)) from error


def _intervals(given: _Given) -> Mapping[telemetry_pb2.Family, float]:
    general = given.get("interval_s", DEFAULT_INTERVAL_S)
    disabled = given.get("disabled_families", NO_NAMES)
    intervals = {
        family: given.get(f"{name}_interval_s", DEFAULT_INTERVALS_S.get(name, general))
        for name, family in options.COLLECTED.items()
        if name not in disabled
    }
    if not intervals:
        expectation = "a list that leaves at least one family on"
        raise errors.ConfigError(
            given.field("disabled_families"), expectation=expectation, value=",".join(disabled)
        )
    return intervals


def _collectors(given: _Given) -> CollectorSettings:
    default = CollectorSettings()

    def names(kind: str, otherwise: NameFilter) -> NameFilter:
        include, exclude = f"{kind}_include", f"{kind}_exclude"
        if include not in given and exclude not in given:
            return otherwise
        return NameFilter(
            include=given.get(include, NO_NAMES), exclude=given.get(exclude, NO_NAMES)
        )

    speeds: Mapping[str, float] = {}
    return CollectorSettings(
        mounts=names("mounts", default.mounts),
        filesystems=names("filesystems", default.filesystems),
        devices=names("devices", default.devices),
        interfaces=names("interfaces", default.interfaces),
        interface_speeds_mbps=given.get("interface_speeds_mbps", speeds),
        process_top_n=given.get("process_top_n", default.process_top_n),
        redaction=RedactionMode(given.get("redaction", str(default.redaction))),
        redaction_patterns=given.get("redaction_patterns", NO_NAMES),
    )
