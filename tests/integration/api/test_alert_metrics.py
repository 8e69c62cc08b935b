"""What alert workers count shows in every gateway's /metrics."""

from __future__ import annotations

import asyncio

from cryptography.fernet import Fernet
from prometheus_client.parser import text_string_to_metric_families

from alerting import channels, worker
from alerting.outbox import Outbox
from hostpulse import errors
from storage import secrets


class Refusing:
    name = "ops"

    async def send(self, notification) -> None:
        raise errors.Permanent("the other side answered 404")


async def samples(api) -> dict[tuple[str, ...], float]:
    text = (await api.client.get("/metrics")).text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_show_what_evaluation_costs_and_what_became_of_messages(
    api, pool, connection
):
    server_id = await connection.fetchval(
        "INSERT INTO server (name, watch_offline, status, last_seen, machine_id)"
        " VALUES ('web', true, 'online', now(), 'm') RETURNING id"
    )
    await connection.execute(
        "INSERT INTO cpu (time, server_id, usage_percent) SELECT now() - make_interval(secs => 10"
        " * n), $1, 99 FROM generate_series(0, 40) n",
        server_id,
    )
    await channels.add(connection, channels.StoredChannel(name="ops", kind="email", config={}))
    stop = asyncio.Event()
    evaluating = worker.Worker(pool, interval_s=10, stop=stop)
    while await evaluating.run_once() is not None:
        pass
    waiting = await samples(api)
    opener = channels.ChannelOpener(
        box=secrets.SecretBox(Fernet.generate_key().decode()), environment={}
    )
    outbox = Outbox(pool, opener=opener, notifiers={"email": lambda _: Refusing()}, stop=stop)
    assert await outbox.drain("ops") == 1
    sent = await samples(api)

    assert waiting["hostpulse_alert_evaluations_total", "cpu"] == 1
    assert waiting["hostpulse_alert_evaluation_rules", "cpu"] == 2
    assert waiting["hostpulse_alert_evaluation_findings", "cpu"] == 1
    assert 0 < waiting["hostpulse_alert_last_evaluation_seconds", "cpu"] < 10
    assert (
        waiting["hostpulse_alert_evaluation_seconds_total", "cpu"]
        == waiting["hostpulse_alert_last_evaluation_seconds", "cpu"]
    )
    assert ("hostpulse_alert_evaluations_total", "liveness") in waiting
    assert waiting["hostpulse_alerts", "firing"] == 1
    assert waiting["hostpulse_alert_outbox_messages", "no"] == 1
    assert sent["hostpulse_alert_outbox_messages", "no"] == 0
    assert sent["hostpulse_alert_sends_total", "email", "failed"] == 1


async def test_metrics_are_answered_without_those_of_alerting_while_its_tables_are_locked(
    api, pool, connection
):
    async with connection.transaction():
        await connection.execute("LOCK TABLE alert_work IN ACCESS EXCLUSIVE MODE")
        answer = await api.client.get("/metrics")

    assert answer.status_code == 200
    assert "hostpulse_alert" not in answer.text
