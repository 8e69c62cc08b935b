"""From samples in the database to a message in a mailbox, and back to well again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from alerting import app, settings

if TYPE_CHECKING:
    from pathlib import Path


async def test_sustained_load_sends_one_mail_and_its_end_another(
    house, mail_server, tmp_path: Path
) -> None:
    server_id = await house.add_server("web")
    await house.only("cpu_usage")
    await house.set_rule(
        "cpu_usage", levels=[{"severity": "warning", "threshold": 20, "for_s": 30}]
    )
    await house.connection.execute(
        "INSERT INTO channel (name, kind, config) VALUES ('ops', 'email', $1)",
        {"to": ["ops@example.org"]},
    )
    chosen = settings.load(
        {
            "database_url": house.dsn,
            "smtp_url": mail_server.url,
            "data_dir": tmp_path,
            "alert_interval_s": 1,
        }
    )
    stop = asyncio.Event()
    worker = asyncio.create_task(app.run(chosen, environment={}, stop=stop))

    await house.add_cpu(server_id, [(ago, 91.0) for ago in (31, 21, 11, 1)])
    async with asyncio.timeout(15):
        await mail_server.arrived.wait()
    mail_server.arrived.clear()
    await house.add_cpu(server_id, [(0, 3.0)])
    async with asyncio.timeout(15):
        await mail_server.arrived.wait()
    stop.set()
    await worker

    fired, resolved = mail_server.messages
    assert fired["Subject"] == "[WARNING] cpu usage on web"
    assert "91.0 %" in fired.get_body(("plain",)).get_content()
    assert resolved["Subject"] == "[RESOLVED] cpu usage on web"
    assert fired["References"] == resolved["References"]
    assert await house.alerts() == [("cpu_usage", "web", "resolved", None)]
    assert await house.changes() == ["fired", "resolved"]
    assert await house.notifications() == [("fired", "sent"), ("resolved", "sent")]
