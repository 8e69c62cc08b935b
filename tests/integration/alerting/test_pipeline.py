"""From a change to the outbox: silences, inhibition, groups, escalation, acknowledging."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner

from alerting import acknowledging, links, notifications, silences
from alerting.rules import Selector
from cli.alerts import alerts_app
from cli.silences import silences_app
from storage import secrets

RULE = [{"severity": "warning", "threshold": 80, "for_s": 30}]
BREACH = [(1.0 + 10 * n, 90.0) for n in range(4)]


@pytest.fixture
async def fleet(house):
    """Three servers whose CPU alert is about to fire, two in production, on a channel."""
    await house.only("cpu_usage", "memory_usage")
    await house.set_rule("cpu_usage", levels=RULE)
    await house.connection.execute("INSERT INTO channel (name, kind) VALUES ('ops', 'email')")
    for name in ("web-1", "web-2", "db"):
        server_id = await house.add_server(name)
        await house.add_cpu(server_id, BREACH)
    await house.connection.execute(
        "UPDATE server SET labels = '{\"env\": \"prod\"}' WHERE name LIKE 'web%'"
    )
    await house.listen_since()
    return house


async def silence(house, **parts) -> int:
    now = datetime.now(UTC)
    return await silences.add(
        house.connection,
        silences.Silence(
            starts_at=now - timedelta(hours=1),
            ends_at=now + timedelta(hours=1),
            author="ann",
            reason="deploy",
            **parts,
        ),
        by="ann",
    )


async def decisions(house) -> list[tuple]:
    rows = await house.connection.fetch(
        "SELECT s.name, h.change, h.detail ->> 'decision' AS decision, h.detail ->> 'reason' AS why"
        " FROM alert_history h JOIN server s ON s.id = h.server_id ORDER BY h.id, s.name"
    )
    return sorted(tuple(row) for row in rows)


async def messages(house) -> list[tuple]:
    """Return (channel, kind, servers) of what is in the outbox."""
    rows = await house.connection.fetch("SELECT channel, payload FROM notification ORDER BY id")
    told = [(row["channel"], notifications.from_json(row["payload"])) for row in rows]
    return [
        (channel, str(n.kind), sorted(m.server for m in n.members) or [n.server])
        for channel, n in told
    ]


async def test_what_fires_at_one_moment_is_one_message(fleet):
    await fleet.cycle()

    assert await messages(fleet) == [("ops", "fired", ["db", "web-1", "web-2"])]
    ids = await fleet.connection.fetchval("SELECT alert_ids FROM notification")
    assert len(ids) == 3


@pytest.mark.parametrize(("group_by", "count"), [("none", 3), ("server", 3), ("rule", 1)])
async def test_a_rule_says_how_its_messages_are_grouped(fleet, group_by, count):
    await fleet.set_rule("cpu_usage", group_by=group_by)

    await fleet.cycle()

    assert len(await messages(fleet)) == count


async def test_several_rules_of_one_server_are_one_message_where_they_say_so(fleet):
    for name in ("cpu_usage", "memory_usage"):
        await fleet.set_rule(name, group_by="server", levels=RULE)
    server_id = await fleet.connection.fetchval("SELECT id FROM server WHERE name = 'db'")
    await fleet.connection.executemany(
        "INSERT INTO memory (time, server_id, used_percent)"
        " VALUES (now() - make_interval(secs => $1), $2, $3)",
        [(ago, server_id, value) for ago, value in BREACH],
    )

    await fleet.cycle()

    found = await fleet.connection.fetch("SELECT payload FROM notification")
    members = [[m["rule"] for m in row["payload"]["members"]] for row in found]
    assert sorted(map(sorted, members)) == [[], [], ["cpu_usage", "memory_usage"]]


async def test_pagerduty_gets_every_alert_by_itself(fleet):
    await fleet.connection.execute("UPDATE channel SET kind = 'pagerduty'")

    await fleet.cycle()

    rows = await fleet.connection.fetch("SELECT payload ->> 'thread' AS thread FROM notification")
    assert len({row["thread"] for row in rows}) == 3


async def test_a_silence_by_label_mutes_only_those_and_says_so(fleet):
    number = await silence(fleet, selector=Selector(labels={"env": "prod"}))

    await fleet.cycle()

    why = f"silence {number} by ann: deploy"
    assert await messages(fleet) == [("ops", "fired", ["db"])]
    assert await decisions(fleet) == [
        ("db", "fired", "told", "nothing mutes it"),
        ("web-1", "fired", "silenced", why),
        ("web-2", "fired", "silenced", why),
    ]


async def test_what_still_fires_when_a_silence_ends_is_announced(fleet):
    number = await silence(fleet)
    await fleet.cycle()
    muted = await messages(fleet)
    await silences.end(fleet.connection, number, who="bob")

    await fleet.cycle()
    await fleet.cycle()

    assert muted == []
    assert await messages(fleet) == [("ops", "announced", ["db", "web-1", "web-2"])]


async def test_an_offline_server_mutes_its_other_alerts_and_nobody_elses(fleet):
    await fleet.only("cpu_usage", "agent_offline")
    await fleet.connection.execute(
        "UPDATE server SET last_seen = now() - interval '70 s' WHERE name = 'db'"
    )
    await fleet.cycle()
    await fleet.connection.execute("DELETE FROM notification")
    await fleet.connection.execute("DELETE FROM alert_history")
    await fleet.connection.execute("DELETE FROM alert WHERE severity = 'warning'")

    await fleet.cycle()

    assert await messages(fleet) == [("ops", "fired", ["web-1", "web-2"])]
    assert ("db", "fired", "inhibited", "agent_offline is firing for this server") in (
        await decisions(fleet)
    )


async def test_without_a_channel_that_is_the_decision(fleet):
    await fleet.connection.execute("DELETE FROM channel")

    await fleet.cycle()

    assert {decision for _, _, decision, _ in await decisions(fleet)} == {"no_channel"}


async def test_what_nobody_took_on_goes_to_the_next_channel_and_its_end_to_both(fleet):
    await fleet.connection.execute("INSERT INTO channel (name, kind) VALUES ('boss', 'email')")
    await fleet.set_rule(
        "cpu_usage",
        channels=["ops"],
        escalate_channels=["boss"],
        escalate_after_s=600,
        server_selector={"names": ["db"]},
    )
    await fleet.cycle()
    await fleet.connection.execute("UPDATE alert SET fired_at = fired_at - interval '600 s'")
    await fleet.cycle()
    server_id = await fleet.connection.fetchval("SELECT id FROM server WHERE name = 'db'")
    await fleet.add_cpu(server_id, [(0.0, 10.0)])

    await fleet.cycle()

    assert await messages(fleet) == [
        ("ops", "fired", ["db"]),
        ("boss", "escalated", ["db"]),
        ("boss", "resolved", ["db"]),
        ("ops", "resolved", ["db"]),
    ]


async def alert_of(house, server: str) -> int:
    return await house.connection.fetchval(
        "SELECT a.id FROM alert a JOIN server s ON s.id = a.server_id WHERE s.name = $1", server
    )


async def test_who_acknowledged_stands_in_the_history_and_is_not_asked_again(fleet):
    await fleet.set_rule("cpu_usage", repeat_interval_s=60)
    await fleet.cycle()
    alert_id = await alert_of(fleet, "db")

    first = await acknowledging.acknowledge(fleet.connection, alert_id, who="cli:ann")
    second = await acknowledging.acknowledge(fleet.connection, alert_id, who="cli:bob")
    await fleet.connection.execute("UPDATE alert SET notified_at = now() - interval '61 s'")
    await fleet.cycle()

    assert (first, second) == (acknowledging.Answer.DONE, acknowledging.Answer.ALREADY)
    assert (await messages(fleet))[1:] == [("ops", "repeated", ["web-1", "web-2"])]
    who = await fleet.connection.fetchval(
        "SELECT detail ->> 'by' FROM alert_history WHERE change = 'acknowledged'"
    )
    assert who == "cli:ann"


async def test_an_acknowledgement_during_a_cycle_is_not_lost(fleet):
    await fleet.cycle()
    alert_id = await alert_of(fleet, "db")
    await acknowledging.acknowledge(fleet.connection, alert_id, who="ann")
    server_id = await fleet.connection.fetchval("SELECT id FROM server WHERE name = 'db'")
    await fleet.set_rule("cpu_usage", recovery_threshold=50)
    await fleet.set_rule("cpu_usage", keep_firing_for_s=600)
    await fleet.add_cpu(server_id, [(0.0, 10.0)])

    await fleet.cycle()

    assert (
        await fleet.connection.fetchval("SELECT acknowledged_by FROM alert WHERE id = $1", alert_id)
        == "ann"
    )


async def test_an_acknowledgement_ends_with_its_firing(fleet):
    await fleet.cycle()
    alert_id = await alert_of(fleet, "db")
    server_id = await fleet.connection.fetchval("SELECT id FROM server WHERE name = 'db'")
    await acknowledging.acknowledge(fleet.connection, alert_id, who="ann")
    await fleet.add_cpu(server_id, [(0.0, 10.0)])
    await fleet.cycle()
    await fleet.connection.execute("DELETE FROM cpu WHERE server_id = $1", server_id)
    await fleet.add_cpu(server_id, BREACH)

    await fleet.cycle()

    row = await fleet.connection.fetchrow(
        "SELECT firing_number, acknowledged_at, acknowledged_by FROM alert WHERE id = $1", alert_id
    )
    assert tuple(row) == (2, None, None)


async def test_what_is_over_cannot_be_acknowledged(fleet):
    await fleet.cycle()
    alert_id = await alert_of(fleet, "db")
    await fleet.connection.execute("UPDATE alert SET state = 'resolved', severity = NULL")

    answers = [
        await acknowledging.acknowledge(fleet.connection, alert_id, who="ann"),
        await acknowledging.acknowledge(fleet.connection, 999_999, who="ann"),
    ]

    assert answers == [acknowledging.Answer.NOT_OPEN, acknowledging.Answer.UNKNOWN]


async def test_a_pager_hears_of_an_acknowledgement(fleet):
    await fleet.connection.execute("UPDATE channel SET kind = 'pagerduty'")
    await fleet.cycle()
    alert_id = await alert_of(fleet, "db")

    await acknowledging.acknowledge(fleet.connection, alert_id, who="ann")

    kinds = await fleet.connection.fetch(
        "SELECT kind, payload ->> 'thread' AS thread FROM notification WHERE alert_id = $1"
        " ORDER BY id",
        alert_id,
    )
    assert [row["kind"] for row in kinds] == ["fired", "acknowledged"]
    assert len({row["thread"] for row in kinds}) == 1


async def test_a_link_is_good_for_seven_days_and_for_its_own_message(fleet):
    await fleet.cycle()
    payload = await fleet.connection.fetchval("SELECT payload FROM notification")
    box = secrets.SecretBox(Fernet.generate_key().decode())
    told, now = notifications.from_json(payload), datetime.now(UTC)

    url = links.make(box, "https://pulse.example.org/", told, now)
    token = url.removeprefix("https://pulse.example.org/ack/")

    assert links.read(box, token, now + timedelta(days=6, hours=23)) == told.dedup_key
    for other, moment in ((token, now + timedelta(days=7)), (token[:-9] + "AAAAAAAA=", now)):
        with pytest.raises(links.UnusableLink):
            links.read(box, other, moment)


async def test_silences_are_added_listed_and_ended_by_command(fleet, monkeypatch, database):
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", database)
    monkeypatch.setenv("COLUMNS", "200")

    async def run(app, *arguments):
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments))

    added = await run(
        silences_app,
        *("add", "--reason", "backup", "--for", "2h", "--server", "env=prod", "--on", "mon-fri"),
        *("--at", "22:00", "--zone", "Europe/Berlin", "--author", "ann"),
    )
    listed = await run(silences_app, "list")
    wrong = await run(silences_app, "add", "--reason", "x", "--for", "2h", "--rule", "no_such")
    ended = await run(silences_app, "end", "1")
    again = await run(silences_app, "end", "1")
    await fleet.cycle()
    acked = await run(alerts_app, "ack", str(await alert_of(fleet, "db")))
    history = await run(alerts_app, "history", str(await alert_of(fleet, "db")))

    assert added.exit_code == 0, added.output
    assert "servers with env=prod" in listed.output
    assert "mon,tue,wed,thu,fri from 22:00 Europe/Berlin for 120 min" in listed.output
    assert (wrong.exit_code, "rule must be one of agent_offline" in wrong.output) == (2, True)
    assert (ended.exit_code, again.exit_code) == (0, 2)
    assert "acknowledged" in acked.output
    assert "nothing mutes it" in history.output
