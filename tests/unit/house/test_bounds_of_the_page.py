"""ARCHITECTURE.md states the bounds that the web page has."""

from __future__ import annotations

from pathlib import Path

import pytest

from api import fleet, overview, sessions, streams
from storage import history, web_sessions

DOCUMENT = (Path(__file__).parents[3] / "ARCHITECTURE.md").read_text(encoding="utf-8")
NS = 1_000_000_000


def count(number: int) -> str:
    """Write a number as the document does: 20 000."""
    return f"{number:,}".replace(",", " ")


STATED = {
    "streams": f"| streams of events | {overview.STREAMS_MAX}, one message deep, "
    f"{streams.STALLED_S:g} s for",
    "overview": f"| every {fleet.LIVES_S:g} s, and {100 / fleet.SHARE:g} % of the time",
    "chart": f"| {count(history.POINTS_MAX)} points, {history.SERIES_MAX} series |",
    "sessions": f"| {web_sessions.IDLE.total_seconds() / 3600:g} h without use, "
    f"{web_sessions.LIFETIME.days} days; {count(sessions.REMEMBERED_MAX)} in memory, looked up "
    f"again after {sessions.RECHECK_NS // NS} s |",
    "links": f"| one use, {web_sessions.LINK_LIFETIME.total_seconds() / 60:g} minutes |",
}


@pytest.mark.parametrize("name", STATED)
def test_a_bound_of_the_page_is_stated_as_it_is(name: str) -> None:
    assert STATED[name] in DOCUMENT
