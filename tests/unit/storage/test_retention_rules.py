from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from storage import lateness, retention
from storage.chunks import Chunk
from storage.retention import InvalidRetention, Retention

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def chunk(tier: str, days_old: float) -> Chunk:
    end = NOW - timedelta(days=days_old)
    return Chunk(
        relation="cpu",
        tier=tier,
        name="p",
        begin=end - timedelta(days=1),
        end=end,
        heap_bytes=1,
        index_bytes=1,
        toast_bytes=1,
        rows=1,
        compressed=False,
    )


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(days=14)),
        ("1y", timedelta(days=365)),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, span: timedelta):
    assert retention.parse(text) == span


@pytest.mark.parametrize("text", ["", "7", "0d", "-1d", "1.5d", "7 days", "7m", "999999d"])
def test_what_is_no_duration_is_refused_with_an_example(text: str):
    with pytest.raises(InvalidRetention, match="like 12h, 7d, 2w or 1y"):
        retention.parse(text)


@pytest.mark.parametrize("days", [6, 6.5, 7, 30, 365, 730])
def test_a_written_duration_reads_back(days: float):
    span = timedelta(days=days)

    assert retention.parse(retention.write(span)) == span


def test_the_defaults_keep_the_chain():
    Retention().check()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["raw=6d"], r"refresh from < raw retention - 1 chunk, but refresh from is 6 days, 12:00"),
        (["raw=160h"], r"is 6 days, 12:00:00 and raw .* is 6 days, 12:00:00"),
        (["1m=7d", "raw=8d"], r"raw <= 1m <= 1h, but they are raw=8d 1m=7d 1h=1y"),
        (["1h=20d"], r"raw <= 1m <= 1h"),
        (["1h=200y"], r"at most 100y, got 200y"),
        (["2m=20d"], r"expected each of raw=…, 1m=…, 1h=… at most once, got '2m=20d'"),
        (["raw=8d", "raw=9d"], r"at most once, got 'raw=9d'"),
        (["raw"], r"got 'raw'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_retention_that_would_lose_more_than_it_says_is_refused(wanted, message):
    with pytest.raises(InvalidRetention, match=message):
        retention.change(Retention(), wanted)


def test_tiers_that_are_not_named_stay_as_they_are():
    before = Retention(raw=timedelta(days=10))

    assert retention.change(before, ["1h=2y"]) == Retention(
        raw=timedelta(days=10), hour=timedelta(days=730)
    )


def test_the_chain_is_unbroken_from_one_hour_above_its_least():
    least = lateness.REFRESH_FROM + lateness.RAW_CHUNK

    assert lateness.broken_rule(least) is not None
    assert lateness.broken_rule(least + timedelta(hours=1)) is None


def test_a_shorter_retention_dooms_what_the_old_one_kept_and_nothing_else():
    chunks = [chunk("raw", days) for days in (6.9, 7, 8, 10, 11)] + [chunk("1m", 9)]

    doomed = retention.doomed(
        chunks,
        before=Retention(raw=timedelta(days=10)),
        after=Retention(),
        now=NOW,
    )

    assert doomed == [chunks[1], chunks[2]]
