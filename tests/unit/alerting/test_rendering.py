"""Messages in words."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest

from alerting import notifications, rules
from alerting.notifications import Kind
from alerting.notifiers import discord, email, rendering
from hostpulse import errors
from tests import told

SAMPLE = dataclasses.replace(
    told.CPU,
    for_s=300.0,
    value=91.46,
    since=told.CPU.at - timedelta(minutes=5),
    fired_at=told.CPU.at,
    annotations={"runbook": "https://example.org/cpu"},
)
OFFLINE = dataclasses.replace(
    SAMPLE,
    rule="agent_offline",
    metric="server.offline",
    unit="s",
    threshold=60.0,
    for_s=0.0,
    value=75.0,
    severity=rules.Severity.CRITICAL,
)
STALLED = dataclasses.replace(OFFLINE, server=None, labels={"scope": "ingest"})


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (91.46, "percent", "91.5 %"),
        (524_288_000, "bytes", "500 MiB"),
        (512, "bytes", "512 B"),
        (1536 * 1024, "bytes_per_s", "1.5 MiB/s"),
        (10_001, "1", "10,001"),
        (2.25, "1", "2.25"),
        (123.4, "ms", "123 ms"),
        (940, "mbps", "940 Mbit/s"),
        (3725, "s", "1 h 2 min"),
        (None, "percent", "unknown"),
    ],
)
def test_amounts_carry_their_unit(value, unit, expected):
    assert rendering.amount(value, unit) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (75, "1 min 15 s"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
    ],
)
def test_durations_are_short(seconds, expected):
    assert rendering.duration(seconds) == expected


TITLES = [
    (SAMPLE, Kind.FIRED, "[WARNING] cpu usage on web"),
    (SAMPLE, Kind.REPEATED, "[STILL WARNING] cpu usage on web"),
    (SAMPLE, Kind.RESOLVED, "[RESOLVED] cpu usage on web"),
    (SAMPLE, Kind.NO_DATA, "[NO DATA] cpu usage on web"),
    (SAMPLE, Kind.TEST, "[TEST] cpu usage on web"),
    (OFFLINE, Kind.FIRED, "[CRITICAL] agent offline on web"),
    (
        dataclasses.replace(OFFLINE, server=None),
        Kind.FIRED,
        "[CRITICAL] ingest stalled on all servers",
    ),
]


@pytest.mark.parametrize(("sample", "kind", "expected"), TITLES, ids=[t[2] for t in TITLES])
def test_titles_say_how_bad_what_and_where(sample, kind, expected):
    assert rendering.title(dataclasses.replace(sample, kind=kind)) == expected


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("sample", [SAMPLE, OFFLINE], ids=["metric", "silence"])
def test_every_kind_of_message_can_be_written_in_every_form(kind, sample):
    notification = dataclasses.replace(sample, kind=kind)

    text, page = rendering.text(notification), rendering.html_page(notification)
    body = discord.embed(notification)

    assert rendering.sentence(notification) in text
    assert "hostpulse rule show" in text
    assert "https://example.org/cpu" in page
    assert json.loads(json.dumps(body)) == body


def test_markup_in_names_stays_text():
    page = rendering.html_page(dataclasses.replace(SAMPLE, server="<script>"))

    assert "<script>" not in page


def test_a_line_break_in_a_name_forges_no_header():
    hostile = dataclasses.replace(SAMPLE, labels={"mount": "/a\nBcc: x@example.org"})

    message = email.compose(hostile, sender="a@example.org", recipients=["b@example.org"])

    assert "Bcc" not in message
    assert b"\nBcc:" not in message.as_bytes().partition(b"\n\n")[0]


def test_a_message_survives_the_outbox():
    stored = json.loads(json.dumps(notifications.to_json(SAMPLE)))

    assert notifications.from_json(stored | {"of a newer version": 1}) == SAMPLE


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.org", ("mail.example.org", 587, False, None)),
        ("smtps://u%40x:p%2Fw@mail.example.org", ("mail.example.org", 465, True, "p/w")),
        ("smtp://u:p@[::1]:2525?from=a@example.org", ("::1", 2525, False, "p")),
    ],
)
def test_a_mail_servers_address_is_read(url, expected):
    server = email.parse_url(url)

    assert (server.host, server.port, server.tls, server.password) == expected
    assert "p/w" not in repr(server)


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.org",
        "http://u:pa55@x",
        "smtp://",
        "smtp://u:pa55@x:port",
        "smtp://x?from=pa55",
    ],
)
def test_a_wrong_address_of_a_mail_server_is_refused_and_not_repeated(url):
    with pytest.raises(errors.ConfigError, match="HOSTPULSE_SMTP_URL must be smtp://") as caught:
        email.parse_url(url)

    assert "pa55" not in str(caught.value)
