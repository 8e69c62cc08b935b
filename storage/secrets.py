"""Secrets at rest: passwords and webhook addresses, encrypted with keys outside the database.

The keys come from `HOSTPULSE_SECRET_KEY` (several, comma-separated: the first one encrypts, all
decrypt, so that a key can be replaced) or from `<data dir>/secret.key`, which is made at need.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from hostpulse import errors
from storage.location import write_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIABLE = "HOSTPULSE_SECRET_KEY"
FILE_NAME = "secret.key"
ENV_PREFIX = "env:"


class UnreadableSecret(errors.HostpulseError):
    """A secret was encrypted with a key that is not here."""


class MissingVariable(errors.HostpulseError):
    """A secret is kept in a variable that is not set."""


class SecretBox:
    """Encrypts and decrypts; the keys never show in its repr.

    Args:
        keys: Fernet keys (32 bytes, URL-safe base64); the first one encrypts.
        source: where they come from, for errors.

    Raises:
        ConfigError: there is no key, or one is none.
    """

    def __init__(self, keys: str, *, source: str = VARIABLE) -> None:
        parts = [part.strip() for part in keys.split(",") if part.strip()]
        expectation = "keys of 32 bytes in URL-safe base64, separated by commas"
        if not parts:
            raise errors.ConfigError(source, expectation=expectation, value="")
        try:
            self._fernet = MultiFernet([Fernet(part) for part in parts])
        except ValueError:
            # The cause and the value would print the key.
            raise errors.ConfigError(source, expectation=expectation, value="***") from None

    @classmethod
    def load(cls, environment: Mapping[str, str], data_dir: Path) -> Self:
        """Take the keys of the environment, else those of the data directory, else make one.

        Raises:
            ConfigError: the keys are none, or the file can't be read or made.
        """
        if configured := environment.get(VARIABLE):
            return cls(configured)
        path = data_dir / FILE_NAME
        try:
            if not path.exists():
                if not data_dir.exists():
                    data_dir.mkdir(parents=True, exist_ok=True)
                    data_dir.chmod(0o711)  # PostgreSQL's account passes through it
                _make_key(path)
            return cls(path.read_text(encoding="ascii"), source=str(path))
        except OSError as error:
            expectation = f"set, or {path} readable or possible to make ({error.strerror})"
            raise errors.ConfigError(VARIABLE, expectation=expectation, value="") from error

    def encrypt(self, secret: str) -> bytes:
        """Return what may be stored."""
        return self._fernet.encrypt(secret.encode())

    def decrypt(self, stored: bytes) -> str:
        """Return the secret.

        Raises:
            UnreadableSecret: no key fits.
        """
        try:
            return self._fernet.decrypt(stored).decode()
        except InvalidToken as error:
            raise UnreadableSecret(
                f"no key of {VARIABLE} or {FILE_NAME} fits: add the old key behind the new one,"
                " or set the secret again"
            ) from error


def _make_key(path: Path) -> None:
    """Make the file of a key; of processes that do so at once, the first."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # held while a file is written
        if not path.exists():
            write_private(path, Fernet.generate_key().decode() + "\n")
    finally:
        os.close(descriptor)


def resolve(
    box: SecretBox,
    *,
    stored: bytes | None,
    variable: str | None,
    environment: Mapping[str, str],
) -> str | None:
    """Return a secret that is stored encrypted or named as a variable; None where there is none.

    Raises:
        UnreadableSecret: no key fits.
        MissingVariable: the variable is not set here.
    """
    if variable is not None:
        if not environment.get(variable):
            raise MissingVariable(f"the secret is kept in {variable}, which is not set here")
        return environment[variable]
    return None if stored is None else box.decrypt(stored)
