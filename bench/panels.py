"""The statements of the Grafana dashboards, as questions for bench/query.py."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bench.history import SERIES
from tests.integration.dashboards import grafana

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage import engines

BACK = {"1 h": timedelta(hours=1), "24 h": timedelta(days=1)}  # all that bench/history.py fills


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A statement, how far it looks back, and whose servers it is about."""

    asked: grafana.Asked
    back: timedelta

    @property
    def of_fleet(self) -> bool:
        """Whether it is about all servers."""
        return self.asked.board == "main"

    def sql(self, server_id: int, engine: engines.Engine) -> str:
        """Return what Grafana would send now, with everything chosen that there is to choose."""
        now = datetime.now(UTC)
        view = grafana.View(
            start=now - self.back,
            end=now,
            timescaledb=engine.name == "timescale",
            variables=grafana.constants(f"{self.asked.board}.json")
            | {
                "server": str(server_id),
                "interface": [str(row[0]) for row in SERIES["network"][1]],
                "mount": [str(row[0]) for row in SERIES["disk_usage"][1]],
            },
        )
        return grafana.expand(self.asked, view)


def panels() -> Iterator[tuple[str, Panel]]:
    """Give every statement with its name; those without a range once, the others for each."""
    for asked in grafana.statements():
        spans = BACK if "$__time" in asked.sql else {"now": BACK["1 h"]}
        for name, back in spans.items():
            yield f"{asked.board}: {asked.where}, {name}", Panel(asked=asked, back=back)
