"""Silences: what they match, and when, also where clocks change."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from alerting import silences
from alerting.rules import Selector
from alerting.silences import Recurrence, Silence
from hostpulse import errors

START = datetime(2026, 1, 1, tzinfo=UTC)
ALWAYS = Silence(
    starts_at=START, ends_at=START + timedelta(days=365), author="ann", reason="deploy"
)
BERLIN = ZoneInfo("Europe/Berlin")


def nightly(hour: int, minutes: int, *days: int) -> Recurrence:
    return Recurrence(
        zone="Europe/Berlin",
        weekdays=days or (1, 2, 3, 4, 5, 6, 7),
        from_local=time(hour, 30),
        lasts_s=60 * minutes,
    )


@pytest.mark.parametrize(
    ("recurrence", "moment", "expected"),
    [
        pytest.param(nightly(22, 60), "2026-01-05T21:30Z", True, id="winter: the first moment"),
        pytest.param(nightly(22, 60), "2026-01-05T22:30Z", False, id="the end is excluded"),
        pytest.param(nightly(22, 60), "2026-07-06T20:30Z", True, id="summer: an hour earlier"),
        pytest.param(nightly(22, 60), "2026-07-06T21:30Z", False, id="summer: over"),
        pytest.param(nightly(23, 120, 1), "2026-01-06T00:15Z", True, id="into the next day"),
        pytest.param(nightly(23, 120, 1), "2026-01-06T22:45Z", False, id="not on that day"),
        # 2026-03-29 02:30 is skipped in Berlin (01:00Z); 2026-10-25 02:30 comes twice.
        pytest.param(nightly(2, 60, 7), "2026-03-29T01:29Z", False, id="before 03:30 in its place"),
        pytest.param(nightly(2, 60, 7), "2026-03-29T01:30Z", True, id="from 03:30 on"),
        pytest.param(nightly(2, 60, 7), "2026-03-29T02:30Z", False, id="lasts no longer for it"),
        pytest.param(nightly(2, 60, 7), "2026-10-25T00:30Z", True, id="the first of two 02:30"),
        pytest.param(nightly(2, 60, 7), "2026-10-25T01:30Z", False, id="not the second of them"),
        pytest.param(
            nightly(0, 7 * 24 * 60, 1), "2026-01-11T22:00Z", True, id="a week from Monday on"
        ),
    ],
)
def test_windows_begin_at_the_local_time_and_last_in_real_time(recurrence, moment, expected):
    assert recurrence.covers(datetime.fromisoformat(moment)) is expected


def test_one_that_is_over_or_to_come_does_not_mute():
    ended = dataclasses.replace(ALWAYS, ended_at=START + timedelta(hours=1))

    assert ALWAYS.is_active(START)
    assert not ALWAYS.is_active(START - timedelta(seconds=1))
    assert not ALWAYS.is_active(ALWAYS.ends_at)
    assert ended.is_active(START)
    assert not ended.is_active(START + timedelta(hours=1))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param({}, True, id="everything"),
        pytest.param({"rule_names": ("disk_usage",)}, True, id="its rule"),
        pytest.param({"rule_names": ("load",)}, False, id="another rule"),
        pytest.param({"selector": Selector(names=("web",))}, True, id="its server"),
        pytest.param({"selector": Selector(names=("db",))}, False, id="another server"),
        pytest.param({"selector": Selector(labels={"env": "prod"})}, True, id="its label"),
        pytest.param({"selector": Selector(labels={"env": "test"})}, False, id="another label"),
        pytest.param({"label_filter": {"mount": ("/", "/var")}}, True, id="its series"),
        pytest.param({"label_filter": {"mount": ("/home",)}}, False, id="another series"),
        pytest.param({"label_filter": {"device": ("sda",)}}, False, id="a label that it lacks"),
    ],
)
def test_it_is_about_what_all_of_its_parts_match(parts, expected):
    silence = dataclasses.replace(ALWAYS, **parts)

    assert silence.matches("disk_usage", "web", {"env": "prod"}, {"mount": "/"}) is expected


def test_a_silence_of_servers_is_not_about_the_whole_fleet():
    chosen = dataclasses.replace(ALWAYS, selector=Selector(labels={"env": "prod"}))

    assert not chosen.matches("agent_offline", None, {}, {"scope": "ingest"})
    assert ALWAYS.matches("agent_offline", None, {}, {"scope": "ingest"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("daily", (1, 2, 3, 4, 5, 6, 7)),
        ("mon", (1,)),
        ("Mon-Fri", (1, 2, 3, 4, 5)),
        ("sat,sun", (6, 7)),
        ("fri-mon", (1, 5, 6, 7)),
    ],
)
def test_days_are_read(text, expected):
    assert silences.weekdays(text) == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ends_at": START}, "end must be after"),
        ({"reason": " "}, "reason must be 1 to 500"),
        ({"author": ""}, "author must be not empty"),
        (
            {"recurrence": dataclasses.replace(nightly(1, 60), zone="Mars/Base")},
            "zone must be a time zone like Europe/Berlin",
        ),
        ({"recurrence": dataclasses.replace(nightly(1, 60), weekdays=())}, "on must be some of"),
        ({"recurrence": dataclasses.replace(nightly(1, 60), lasts_s=5)}, "for must be between"),
    ],
)
def test_a_silence_that_cannot_be_is_refused(change, words):
    with pytest.raises(errors.ConfigError, match=words):
        silences.check(dataclasses.replace(ALWAYS, **change))
