"""What an enrolment left: this agent's key, its name, and whom to trust, for the next start.

Two files of the data directory: `enrollment.json`, for its owner only, because it holds the key,
and `gateway-ca.pem` beside it. They count as settings that everything else overrides.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, cast

from agent import options, sources
from hostpulse import errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NAME = "enrollment.json"
AUTHORITY_NAME = "gateway-ca.pem"
FIELDS = ("gateway", "server_name", "api_key", "tls_ca")


def read(data_dir: Path) -> Mapping[str, sources.Given]:
    """Return the settings that an enrolment left; none where there was none.

    Raises:
        ConfigError: the file can't be read or is damaged.
    """
    path = data_dir / NAME
    document = _document(path)
    parsers = {each.name: each.parse for each in options.OPTIONS}
    return {
        name: sources.Given(
            field=f"{path}: {name}", value=parsers[name](f"{path}: {name}", document[name])
        )
        for name in FIELDS
        if name in document
    }


def token_of(data_dir: Path) -> str | None:
    """Return the prefix of the token that this agent was enrolled with.

    Raises:
        ConfigError: as `read`.
    """
    prefix = _document(data_dir / NAME).get("token")
    return prefix if isinstance(prefix, str) else None


def write(
    data_dir: Path,
    *,
    token: str,
    gateways: Sequence[str],
    server_name: str,
    api_key: str,
    authority: bytes | None,
) -> None:
    """Keep what the gateway gave, whole or not at all.

    Raises:
        ConfigError: the data directory can't be written.
    """
    document: dict[str, object] = {
        "token": token,
        "gateway": list(gateways),
        "server_name": server_name,
        "api_key": api_key,
    }
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if authority:
            _write(data_dir / AUTHORITY_NAME, authority)
            document["tls_ca"] = str(data_dir / AUTHORITY_NAME)
        _write(data_dir / NAME, json.dumps(document, indent=1).encode() + b"\n")
    except OSError as error:
        raise _unusable(data_dir, error) from error


def check_writable(data_dir: Path) -> None:
    """Refuse a data directory that can't keep a key, before a token is used up for nothing.

    Raises:
        ConfigError: it can't.
    """
    probe = data_dir / f"{NAME}.probe"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(probe, b"")
        probe.unlink()
    except OSError as error:
        raise _unusable(data_dir, error) from error


def _unusable(data_dir: Path, error: OSError) -> errors.ConfigError:
    expectation = f"a directory that can be written ({error.strerror}): it keeps the agent's key"
    return errors.ConfigError("HOSTPULSE_DATA_DIR", expectation=expectation, value=str(data_dir))


def _document(path: Path) -> Mapping[str, object]:
    """Read the file; empty where there is none."""
    expectation = "as an enrolment wrote it (remove it and enrol again)"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # what came may be the key: it is not shown
        raise errors.ConfigError(str(path), expectation=expectation, value="(hidden)") from error
    if not isinstance(document, dict):
        raise errors.ConfigError(str(path), expectation=expectation, value="(hidden)")
    return cast("dict[str, object]", document)


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
