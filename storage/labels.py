"""Labels of servers: rules, silences and config choose servers by them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hostpulse.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,62}"
VALUE_MAX_CHARACTERS = 128
LABELS_MAX = 32

_KEY = re.compile(KEY)


def check(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels that can be stored and written in a selector.

    Raises:
        ConfigError: It names the label, what is expected, and what came.
    """
    if len(labels) > LABELS_MAX:
        raise ConfigError("labels", expectation=f"at most {LABELS_MAX}", value=len(labels))
    for key, value in labels.items():
        if not _KEY.fullmatch(key):
            expectation = "of letters, digits and _ . / -, at most 63"
            raise ConfigError("label", expectation=expectation, value=key[:100])
        good = len(value) <= VALUE_MAX_CHARACTERS and value.isprintable()
        if not good or "," in value or "=" in value:
            expectation = f"at most {VALUE_MAX_CHARACTERS} printable characters without , and ="
            raise ConfigError(f"label {key}", expectation=expectation, value=value[:100])
    return dict(labels)
