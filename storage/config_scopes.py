"""Whom a config is for, and what comes of several: the nearer wins, field by field.

all  <  labels:env=prod (by priority)  <  server:db-01
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hostpulse.errors import ConfigError
from storage import config_fields, labels, servers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

EXPECTED = "`all`, `labels:key=value,…` or `server:NAME`"
LABEL = re.compile(rf"({labels.KEY})=([^,=]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """All servers, those with some labels, or one.

    Attributes:
        labels: All of them must be there; empty unless it is a scope of labels.
        server: The name of one; None unless it is the scope of one.
    """

    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    server: str | None = None

    def __str__(self) -> str:
        """Write it as `parse` reads it; labels are in order, so that equal scopes are the same."""
        if self.server is not None:
            return f"server:{self.server}"
        if self.labels:
            return "labels:" + ",".join(f"{k}={v}" for k, v in sorted(self.labels.items()))
        return "all"

    @property
    def nearness(self) -> int:
        """Rise from all to one."""
        return 2 if self.server is not None else 1 if self.labels else 0

    def holds_for(self, name: str, of: Mapping[str, str]) -> bool:
        """Say whether a server of this name and these labels is meant."""
        if self.server is not None:
            return self.server == name
        return all(of.get(key) == value for key, value in self.labels.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """What was set for a scope, as a whole, once."""

    revision: int
    scope: Scope
    priority: int
    fields: Mapping[str, object]
    author: str
    time: datetime
    comment: str | None


def parse(text: str) -> Scope:
    """Read a scope.

    Raises:
        ConfigError: It is none.
    """
    kind, _, rest = text.partition(":")
    if text == "all":
        return Scope()
    if kind == "server":
        try:
            servers.check_name(rest)
        except servers.InvalidName as error:
            raise ConfigError("scope", expectation=EXPECTED, value=text[:300]) from error
        return Scope(server=rest)
    if kind == "labels":
        found = [LABEL.fullmatch(each.strip()) for each in rest.split(",")]
        pairs = [(each[1], each[2]) for each in found if each is not None]
        if len(pairs) == len(found) == len(dict(pairs)):
            return Scope(labels=labels.check(dict(pairs)))
    raise ConfigError("scope", expectation=EXPECTED, value=text[:300])


def merge(
    revisions: Iterable[Revision], *, name: str, of: Mapping[str, str]
) -> dict[str, tuple[object, int]]:
    """Return the fields in force for a server, each with the revision that it comes from."""
    merged: dict[str, tuple[object, int]] = {}
    for each in sorted(revisions, key=lambda r: (r.scope.nearness, r.priority, r.revision)):
        if each.scope.holds_for(name, of):
            for key, value in config_fields.expand(each.fields).items():
                merged[key] = (value, each.revision)
    return dict(sorted(merged.items()))
