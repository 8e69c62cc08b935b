"""What an alert is about: a rule, a server and the labels of a series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

Labels = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The name of an alert; `server_id` None stands for the whole fleet."""

    rule_id: int
    server_id: int | None
    labels: Labels = ()

    @classmethod
    def of(cls, rule_id: int, server_id: int | None, labels: Mapping[str, str | None]) -> Self:
        """Name a series by its labels in any order."""
        return cls(rule_id=rule_id, server_id=server_id, labels=tuple(sorted(labels.items())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A series with the name of its server, for people."""

    series: Series
    server: str | None
