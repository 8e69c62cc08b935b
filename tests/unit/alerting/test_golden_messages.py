"""Messages of all channels as they were reviewed; set UPDATE_GOLDEN=1 to write them anew."""

from __future__ import annotations

import dataclasses
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from alerting import notifications, rules
from alerting.notifications import Kind, Member
from alerting.notifiers import discord, email, pagerduty, rendering, slack, webhook
from tests import told

FOLDER = Path(__file__).parent / "golden"
AT = told.DISK.at
FIRED = dataclasses.replace(
    told.CPU,
    dedup_key=told.DISK.dedup_key,
    thread=told.DISK.thread,
    severity=rules.Severity.CRITICAL,
    threshold=95.0,
    server="web-1",
    server_id=7,
    alert_id=42,
    value=98.2,
    since=AT - timedelta(seconds=70),
    fired_at=AT,
    annotations={"runbook": "https://example.org/cpu"},
    evidence=("ffmpeg (app, pid 7): 380 % CPU, 1 GiB", "python (app, pid 9): 20 % CPU, 310 MiB"),
    sparkline="▁▁▁▂▁▁▇███  20.0 % to 98.2 % in the last hour",
    ack_url="https://pulse.example.org/ack/token",
)
OVER = {"is_open": False, "evidence": (), "sparkline": None, "ack_url": None}
DISK = dataclasses.replace(
    FIRED,
    rule="disk_usage",
    metric="disk_usage.used_percent",
    labels={"mount": "/var/<b>"},
    threshold=90.0,
    value=95.3,
    evidence=("grows by 1 GiB an hour over the last 6 h: full in about 10 h",),
)
OFFLINE = dataclasses.replace(
    FIRED,
    rule="agent_offline",
    metric="server.offline",
    unit="s",
    threshold=60.0,
    for_s=0.0,
    value=75.0,
    evidence=(),
    sparkline=None,
)
MEMBERS = tuple(
    Member(
        alert_id=n,
        firing_number=1,
        severity="critical" if n < 2 else "warning",
        value=99.0 - n,
        rule="cpu_usage",
        unit="percent",
        server=f"web-{n}",
    )
    for n in range(4)
)
MESSAGES = {
    "fired": FIRED,
    "disk": DISK,
    "severity_changed": dataclasses.replace(FIRED, kind=Kind.SEVERITY_CHANGED),
    "announced": dataclasses.replace(FIRED, kind=Kind.ANNOUNCED),
    "escalated": dataclasses.replace(FIRED, kind=Kind.ESCALATED),
    "repeated": dataclasses.replace(FIRED, kind=Kind.REPEATED, flapping=True),
    "resolved": dataclasses.replace(FIRED, kind=Kind.RESOLVED, value=41.0, **OVER),
    "no_data": dataclasses.replace(FIRED, kind=Kind.NO_DATA, cause="reboot"),
    "withdrawn": dataclasses.replace(FIRED, kind=Kind.WITHDRAWN, **OVER),
    "offline": OFFLINE,
    "stalled": dataclasses.replace(OFFLINE, server=None, labels={"scope": "ingest"}),
    "fleet": dataclasses.replace(OFFLINE, server=None, labels={"scope": "fleet"}),
    "many": dataclasses.replace(
        FIRED, members=MEMBERS, member_count=57, evidence=(), sparkline=None
    ),
}


def as_json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def rendered(n: notifications.Notification) -> dict[str, str]:
    return {
        "txt": f"{rendering.title(n)}\n\n{rendering.text(n)}",
        "html": rendering.html_page(n) + "\n",
        "discord.json": as_json(discord.embed(n)),
        "slack.json": as_json(slack.message(n)),
        "pagerduty.json": as_json(pagerduty.event(n, "R" * 32)),
        "webhook.json": as_json(json.loads(webhook.body(n))),
    }


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_are_as_they_were_reviewed(name: str) -> None:
    for ending, text in rendered(MESSAGES[name]).items():
        path = FOLDER / f"{name}.{ending}"
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), path.name


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_fits_what_the_other_side_takes(name: str) -> None:
    n = MESSAGES[name]

    (embed,) = discord.embed(n)["embeds"]
    assert len(embed["title"]) <= discord.TITLE_MAX
    assert len(email.compose(n, sender="a@example.org", recipients=["b@example.org"])["Subject"])
    (attachment,) = slack.message(n)["attachments"]
    assert len(attachment["blocks"]) <= 50
    assert "\n" not in rendering.title(n)


def test_the_longest_message_fits_everywhere_and_keeps_its_link() -> None:
    n = dataclasses.replace(
        MESSAGES["many"],
        members=tuple(
            dataclasses.replace(MEMBERS[0], server="s" * 253, labels={"mount": "/`" * 200})
            for _ in range(30)
        ),
        annotations={f"note {i}": "x" * 3000 for i in range(30)},
        evidence=("e" * 5000,),
        sparkline="s" * 500,
        ack_url="https://pulse.example.org/ack/" + "t" * 300,
    )

    (embed,) = discord.embed(n)["embeds"]
    texts = [embed["title"], embed["description"], embed["footer"]["text"]]
    texts += [field[key] for field in embed["fields"] for key in ("name", "value")]
    assert sum(map(len, texts)) <= 6000
    assert embed["description"].endswith("t)")
    assert embed["description"].count("```") % 2 == 0
    blocks = slack.message(n)["attachments"][0]["blocks"]
    assert len(blocks) <= 50
    sections = [
        block["text"]["text"] for block in blocks if block["type"] == "section" and "text" in block
    ]
    assert max(map(len, sections)) <= 3000
    assert any(block["type"] == "actions" for block in blocks)
    assert len(json.dumps(pagerduty.event(n, "R" * 32))) < 512_000
    mail = email.compose(n, sender="a@example.org", recipients=["b@example.org"]).as_bytes()
    assert max(map(len, mail.split(b"\n"))) <= 998
