"""What messages say is to blame, from stored samples."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from cryptography.fernet import Fernet

from alerting import channels, evidence, notifications, rules
from alerting.notifiers import email
from alerting.outbox import Outbox
from storage import secrets


def fired(metric: str, server_id: int | None, **more) -> notifications.Notification:
    return notifications.Notification(
        **{
            "kind": notifications.Kind.FIRED,
            "dedup_key": "key",
            "thread": "thread",
            "rule": "a_rule",
            "metric": metric,
            "unit": "percent",
            "operator": ">",
            "severity": rules.Severity.WARNING,
            "threshold": 80.0,
            "for_s": 60.0,
            "at": datetime.now(UTC),
            "server": "web",
            "server_id": server_id,
            "value": 91.0,
        }
        | more
    )


async def test_a_cpu_alert_names_the_processes_and_shows_the_hour(house):
    server_id = await house.add_server("web")
    await house.add_cpu(server_id, [(10.0 * n, 90.0 if n < 60 else 20.0) for n in range(360)])
    await house.connection.executemany(
        "INSERT INTO process (time, server_id, pid, name, username, cpu_percent,"
        " memory_rss_bytes, cpu_rank) VALUES (now() - make_interval(secs => $1), $2, $3, $4,"
        " 'app', $5, 1073741824, $6)",
        [
            (5.0, server_id, 7, "ffmpeg", 380.0, 1),
            (5.0, server_id, 9, "python", 20.0, 2),
            (95.0, server_id, 1, "older", 100.0, 1),
        ],
    )

    told = await evidence.add(house.connection, fired("cpu.usage_percent", server_id))

    assert told.evidence == (
        "ffmpeg (app, pid 7): 380 % CPU, 1 GiB",
        "python (app, pid 9): 20 % CPU, 1 GiB",
    )
    assert told.sparkline is not None
    assert told.sparkline.startswith("▁▁▁")
    assert "20.0 % to 90.0 % in the last hour" in told.sparkline
    assert told.chart is not None
    assert told.chart.startswith(b"\x89PNG")


async def test_a_disk_alert_says_when_it_is_full_for_its_own_mount(house):
    server_id = await house.add_server("web")
    await house.connection.execute(
        "INSERT INTO disk_usage (time, server_id, mount, used_percent, used_bytes, free_bytes)"
        " SELECT now() - make_interval(mins => n), $1, mount, 90, used, 1073741824 * 10::bigint"
        " FROM generate_series(0, 300) n, LATERAL (VALUES"
        "   ('/', 100 * 1073741824::bigint - n * 17895698::bigint), ('/flat', 5::bigint)"
        " ) AS m(mount, used)",
        server_id,
    )

    grows = await evidence.add(
        house.connection,
        fired("disk_usage.used_percent", server_id, labels={"mount": "/"}),
    )
    flat = await evidence.add(
        house.connection,
        fired("disk_usage.used_percent", server_id, labels={"mount": "/flat"}),
    )

    assert grows.evidence == ("grows by 1 GiB an hour over the last 6 h: full in about 10 h",)
    assert flat.evidence == ()


async def test_without_samples_the_message_is_as_it_was(house):
    plain = fired("cpu.usage_percent", 12345)

    assert await evidence.add(house.connection, plain) == plain


async def test_a_mail_carries_the_chart_beside_its_html(house, pool, mail_server):
    server_id = await house.add_server("web")
    await house.add_cpu(server_id, [(10.0 * n, 90.0) for n in range(30)])
    told = fired("cpu.usage_percent", server_id, at=datetime.now(UTC) + timedelta(seconds=1))
    box = secrets.SecretBox(Fernet.generate_key().decode())
    await channels.add(
        house.connection,
        channels.StoredChannel(name="ops", kind="email", config={"to": ["a@example.org"]}),
    )
    await house.connection.execute(
        "INSERT INTO notification (created_at, alert_id, queue, channel, kind, dedup_key, payload,"
        " next_attempt_at) VALUES (now(), 1, 'alert 1', 'ops', 'fired', 'key', $1, now())",
        notifications.to_json(told),
    )
    outbox = Outbox(
        pool,
        opener=channels.ChannelOpener(
            box=box,
            environment={},
            smtp_url=mail_server.url,
            public_url="https://pulse.example.org",
        ),
        notifiers={"email": email.EmailNotifier.of_channel},
        stop=asyncio.Event(),
    )

    await outbox.drain("ops")

    (message,) = mail_server.messages
    html = message.get_body(("html",)).get_content()
    (image,) = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert "cid:chart@hostpulse" in html
    assert image["Content-ID"] == "<chart@hostpulse>"
    assert image.get_content().startswith(b"\x89PNG")
    assert "https://pulse.example.org/ack/" in html
    assert "in the last hour" in message.get_body(("plain",)).get_content()
