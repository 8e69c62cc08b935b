"""`hostpulse rule`, `channel` and `alert` against a real database."""

from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from cli.alerts import alerts_app
from cli.channels import channels_app
from cli.rules import rules_app
from cli.silences import silences_app

WEBHOOK = "https://discord.com/api/webhooks/1/s3cr3t-token"


@pytest.fixture
def command(database, monkeypatch, tmp_path):
    """Run a command in a thread, for it starts a loop of its own."""
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", database)
    monkeypatch.setenv("HOSTPULSE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")

    async def run(app, *arguments: str):
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments))

    return run


async def test_a_level_is_changed_and_the_others_stay(command):
    done = await command(rules_app, "set", "cpu_usage", "--level", "warning:20:30s")
    shown = await command(rules_app, "show", "cpu_usage", "--json")

    assert done.exit_code == 0, done.output
    rule = json.loads(shown.output)
    assert {"severity": "warning", "threshold": 20.0, "for_s": 30.0} in rule["levels"]
    assert {"severity": "critical", "threshold": 95, "for_s": 60} in rule["levels"]
    assert rule["edited_at"] is not None


async def test_everything_of_a_rule_can_be_set(command):
    await command(channels_app, "add", "email", "ops", "--to", "a@example.org")

    done = await command(
        rules_app,
        *("set", "load", "--metric", "cpu.load5", "--operator", ">=", "--recovery", "3"),
        *("--level", "warning:none", "--level", "critical:4:1m", "--no-data", "alert"),
        *("--channels", "ops", "--repeat", "2h", "--json"),
    )

    assert done.exit_code == 0, done.output
    rule = json.loads(done.output)
    assert rule["levels"] == [{"severity": "critical", "threshold": 4.0, "for_s": 60.0}]
    assert rule["metric"] == "cpu.load5"
    assert (rule["recovery_threshold"], rule["no_data"], rule["channels"]) == (
        3.0,
        "alert",
        ["ops"],
    )
    assert rule["repeat_interval_s"] == 7200


REFUSED = [
    (["set", "cpu_usage", "--level", "warning:x:30s"], "threshold must be a number, got 'x'"),
    (["set", "cpu_usage", "--level", "warning:80:soon"], "for must be a time like 30s"),
    (["set", "cpu_usage", "--level", "bad:80:1m"], "level must be severity:threshold:for"),
    (["set", "cpu_usage", "--level", "warning:99:1m"], "threshold of critical must be not below"),
    (["set", "cpu_usage", "--metric", "cpu.heat"], "metric must be a metric of the catalog"),
    (["set", "cpu_usage", "--no-data", "page"], "no_data must be one of keep, ok, alert"),
    (["set", "cpu_usage", "--channels", "nobody"], "channels must be names of channels"),
    (["set", "no_such", "--level", "warning:1:1m"], "rule must be one of agent_offline"),
    (["enable", "no_such"], "rule must be one of agent_offline"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED, ids=[" ".join(r[0]) for r in REFUSED])
async def test_a_wrong_rule_is_refused_with_status_2(command, arguments, words):
    done = await command(rules_app, *arguments)

    assert done.exit_code == 2
    assert words in done.output


async def test_a_rule_is_disabled_and_enabled(command):
    await command(rules_app, "disable", "load")
    disabled = json.loads((await command(rules_app, "show", "load", "--json")).output)
    await command(rules_app, "enable", "load")
    rules = json.loads((await command(rules_app, "list", "--json")).output)

    assert disabled["enabled"] is False
    assert len(rules) == 13
    assert all(rule["enabled"] for rule in rules)


async def test_rules_are_listed_for_people(command):
    listed = await command(rules_app, "list")

    assert "> 80.0 %" in listed.output


async def test_a_webhook_is_stored_encrypted_and_never_shown(command, connection):
    done = await command(channels_app, "add", "discord", "chat", "--url", WEBHOOK)
    listed = await command(channels_app, "list", "--json")

    stored = await connection.fetchval("SELECT secret FROM channel WHERE name = 'chat'")
    assert done.exit_code == 0, done.output
    assert b"s3cr3t" not in stored
    assert "s3cr3t" not in done.output + listed.output
    assert json.loads(listed.output)[0]["secret"] == "stored, encrypted"


async def test_a_webhook_may_stay_in_a_variable(command, connection):
    await command(channels_app, "add", "discord", "chat", "--url", "env:DISCORD_URL")
    tested = await command(channels_app, "test", "chat")

    row = await connection.fetchrow("SELECT secret, secret_env FROM channel")
    assert tuple(row) == (None, "DISCORD_URL")
    assert tested.exit_code == 1
    assert "DISCORD_URL, which is not set" in tested.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "email", "ops", "--to", "nobody"], "--to must be 1 to 50 e-mail addresses"),
        (["add", "email", "a b", "--to", "a@example.org"], "name must be 1 to 63"),
        (
            ["add", "discord", "chat", "--url", "http://example.org/s3cr3t"],
            "--url must be an http",
        ),
        (["add", "discord", "chat", "--url", "env:a b"], "--url must be env: and"),
        (["remove", "nobody"], "channel must be one of"),
    ],
    ids=["address", "name", "plain http", "variable", "unknown"],
)
async def test_a_wrong_channel_is_refused_with_status_2(command, arguments, words):
    done = await command(channels_app, *arguments)

    assert done.exit_code == 2
    assert words in done.output
    assert "s3cr3t" not in done.output


async def test_a_channel_is_changed_and_what_is_not_named_stays(command, connection):
    await command(channels_app, "add", "email", "ops", "--to", "a@example.org", "--from", "b@x.org")
    await command(channels_app, "add", "webhook", "hook", "--url", WEBHOOK, "--key", "sign")
    read = "SELECT config, secret, secret_env, enabled FROM channel WHERE name = $1"
    before = await connection.fetchval("SELECT secret FROM channel WHERE name = 'hook'")

    for app, *arguments in (
        (channels_app, "set", "ops", "--to", "c@example.org", "--to", "d@example.org"),
        (channels_app, "disable", "ops"),
        (channels_app, "set", "hook", "--url", "env:HOOK"),
    ):
        done = await command(app, *arguments)
        assert done.exit_code == 0, done.output

    config = {"to": ["c@example.org", "d@example.org"], "from": "b@x.org"}
    assert tuple(await connection.fetchrow(read, "ops")) == (config, None, None, False)
    assert before is not None
    assert tuple(await connection.fetchrow(read, "hook")) == ({}, None, "HOOK", True)

    await command(channels_app, "set", "ops", "--from", "")
    await command(channels_app, "enable", "ops")
    config = {"to": ["c@example.org", "d@example.org"]}
    assert tuple(await connection.fetchrow(read, "ops")) == (config, None, None, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("set", "ops"), "nothing to change"),
        (("set", "ops", "--to", "nobody"), "--to must be"),
        (
            ("set", "ops", "--url", WEBHOOK),
            "--url is not for a channel of kind email: --to, --from",
        ),
        (("set", "hook", "--key", "other"), "--url must be given with --key"),
        (("set", "hook", "--url", "http://elsewhere/s3cr3t-token"), "its secret must be"),
        (("set", "bot", "--channel", ""), "--channel must be"),
        (("set", "bot", "--token", "xoxb-s3cr3t", "--url", WEBHOOK), "only one of"),
        (("set", "other", "--to", "a@example.org"), "channel must be one of"),
        (("disable", "other"), "channel must be one of"),
    ],
)
async def test_a_wrong_change_of_a_channel_is_refused(command, connection, arguments, words):
    for added in (
        ("email", "ops", "--to", "a@example.org"),
        ("webhook", "hook", "--url", WEBHOOK),
        ("slack", "bot", "--token", "xoxb-s3cr3t-token", "--channel", "C0123456789"),
    ):
        assert (await command(channels_app, "add", *added)).exit_code == 0
    state = "SELECT array_agg(c::text ORDER BY name) FROM channel c"
    before = await connection.fetchval(state)

    done = await command(channels_app, *arguments)

    assert done.exit_code == 2
    assert words in done.output
    assert "s3cr3t" not in done.output
    assert await connection.fetchval(state) == before


async def test_a_test_message_really_arrives(command, mail_server, monkeypatch):
    monkeypatch.setenv("HOSTPULSE_SMTP_URL", mail_server.url)
    await command(channels_app, "add", "email", "ops", "--to", "a@example.org")
    twice = await command(channels_app, "add", "email", "ops", "--to", "a@example.org")

    tested = await command(channels_app, "test", "ops")
    removed = await command(channels_app, "remove", "ops")

    assert twice.exit_code == 2
    assert tested.exit_code == 0, tested.output
    assert mail_server.messages[0]["Subject"].startswith("[TEST]")
    assert removed.exit_code == 0


async def test_words_in_brackets_are_shown_as_they_are(command, house):
    words = "see [/wiki] and [red]"
    added = await command(
        silences_app, *("add", "--reason", words, "--for", "1h", "--label", "mount=/[/b]")
    )
    assert added.exit_code == 0, added.output
    assert (await command(rules_app, "set", "load", "--server", "[/]")).exit_code == 0
    web = await house.add_server("[/]")
    await house.connection.execute(
        "INSERT INTO alert (rule_id, server_id, labels, state, changed_at) SELECT id, $1, $2,"
        " 'pending', now() FROM alert_rule WHERE name = 'disk_usage'",
        web,
        {"mount": "/[/b]"},
    )

    silences = await command(silences_app, "list")
    rule = await command(rules_app, "show", "load")
    alerts = await command(alerts_app, "list")

    assert words in silences.output, silences.output
    assert '["[/]"]' in rule.output, rule.output
    assert "mount=/[/b]" in alerts.output, alerts.output


async def test_alerts_are_listed(command, house):
    server_id = await house.add_server("web")
    await house.only("cpu_usage")
    empty = await command(alerts_app, "list")
    await house.set_rule("cpu_usage", levels=[{"severity": "warning", "threshold": 80, "for_s": 0}])
    await house.add_cpu(server_id, [(1.0, 91.0)])
    await house.cycle()

    listed = await command(alerts_app, "list")
    as_json = json.loads((await command(alerts_app, "list", "--json")).output)

    assert "No alerts." in empty.output
    assert "firing" in listed.output
    assert [(a["rule"], a["server"], a["state"], a["value"]) for a in as_json] == [
        ("cpu_usage", "web", "firing", 91.0)
    ]
