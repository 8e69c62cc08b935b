"""The keys of this installation, as the gateway has them: it never makes any.

Keys that only the gateway knew would encrypt what the alert worker can't read.
"""

from __future__ import annotations

import os

from hostpulse import errors
from storage import location, secrets

EXPECTATION = (
    f"set for gateway and alert worker alike, or {secrets.FILE_NAME} in the data directory"
)


def find() -> secrets.SecretBox:
    """Return the keys.

    Raises:
        ConfigError: there are none, or they are no keys.
    """
    directory = location.data_dir()
    try:
        made = os.environ.get(secrets.VARIABLE) or (directory / secrets.FILE_NAME).exists()
    except OSError:
        made = False
    if not made:
        raise errors.ConfigError(secrets.VARIABLE, expectation=EXPECTATION, value=None)
    return secrets.SecretBox.load(os.environ, directory)
