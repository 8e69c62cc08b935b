from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from cli import keys as key_commands
from cli import servers as server_commands
from cli.commands import app as commands
from hostpulse import machines
from storage import database as storage_database
from storage import enrollments, keys, servers
from tests.authority import Authority

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def run(database, monkeypatch):
    """Run a command against the test's database; returns status and both outputs."""
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", database)
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(app: typer.Typer, *arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == status, result.output
        return result.stdout if status == 0 else result.output

    return invoke


def ask(dsn, work):
    async def connected():
        connection = await storage_database.connect(dsn, "test")
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(connected())


def test_a_key_is_printed_once_listed_without_its_secret_and_revoked(run, database):
    app = key_commands.keys_app

    printed = run(app, "create", "--role", "agent", "--server", "web-1", "--note", "[red] rack")
    plaintext = printed.strip()
    listed = run(app, "list")
    as_json = json.loads(run(app, "list", "--json"))
    found = ask(database, lambda connection: keys.verify(connection, plaintext))
    revoked = run(app, "revoke", found.prefix)
    after = ask(database, lambda connection: keys.verify(connection, plaintext))

    assert keys.prefix_of(plaintext) == found.prefix == as_json[0]["prefix"]
    assert plaintext[-43:] not in listed + json.dumps(as_json) + revoked
    assert "[red] rack" in listed
    assert "valid" in listed
    assert as_json[0]["server_names"] == ["web-1"]
    assert as_json[0]["created_by"].startswith("cli")
    assert found.prefix in revoked
    assert after is None
    assert "revoked" in run(app, "list")


def test_a_key_can_be_had_as_json_and_with_an_end(run):
    app = key_commands.keys_app

    created = json.loads(
        run(app, "create", "--role", "writer", "--server", "a", "--server", "b",
            "--expires", "30d", "--json")
    )  # fmt: skip
    [listed] = json.loads(run(app, "list", "--json"))

    assert keys.prefix_of(created["key"]) == created["prefix"]
    assert listed["server_names"] == ["a", "b"]
    ends = datetime.fromisoformat(listed["expires_at"])
    assert timedelta(days=29) < ends - datetime.now(UTC) <= timedelta(days=30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "--role", "agent"), "server_names"),
        (("create", "--role", "boss"), "boss"),
        (("create", "--role", "admin", "--expires", "soon"), "soon"),
        (("revoke", "00000000"), "00000000"),
    ],
    ids=["agent without server", "unknown role", "bad end", "unknown prefix"],
)
def test_what_makes_no_sense_ends_with_status_2_and_a_reason(run, arguments, message):
    assert message in run(key_commands.keys_app, *arguments, status=2)


def test_servers_are_listed_and_shown(run, database):
    app = server_commands.servers_app
    name = "web-[1]"
    ask(
        database,
        lambda connection: servers.find_or_create(connection, name, watch_offline=False),
    )

    listed = run(app, "list")
    [described] = json.loads(run(app, "list", "--json"))
    shown = run(app, "show", name)

    assert name in listed
    assert "never" in listed
    assert described == json.loads(run(app, "show", name, "--json"))
    assert described["status"] == "new"
    assert name in shown
    assert "nobody" in run(app, "show", "nobody", status=2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOW + timedelta(minutes=90)),
        ("12h", NOW + timedelta(hours=12)),
        ("30d", NOW + timedelta(days=30)),
        ("2026-02-01T00:00:00+01:00", datetime(2026, 1, 31, 23, tzinfo=UTC)),
    ],
)
def test_an_end_is_a_duration_or_a_time(text, expected):
    assert key_commands.parse_expiry(text, now=NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "0d", "-1d", "1w", "2026-02-01T00:00:00", "2025-12-31T00:00:00Z"]
)
def test_another_end_is_refused(text):
    with pytest.raises(typer.BadParameter, match="--expires must be"):
        key_commands.parse_expiry(text, now=NOW)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, "never"), (-5, "0 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7200, "2 h ago")],
)
def test_last_seen_is_said_as_people_say_it(seconds, expected):
    moment = None if seconds is None else NOW - timedelta(seconds=seconds)

    assert server_commands.ago(moment, now=NOW) == expected


def test_a_token_names_the_private_authority_of_the_gateways(run, tmp_path, monkeypatch):
    authority = Authority()
    certificate, _ = authority.issue("gateway")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "chain.pem").write_bytes(certificate + authority.pem)
    (tmp_path / "leaf.pem").write_bytes(certificate)
    (tmp_path / "nothing.pem").write_text("nothing")
    create = ("create", "--enroll", "--uses", "3", "--expires", "2h")
    app = key_commands.keys_app

    named = run(app, *create, "--ca", str(tmp_path / "ca.pem")).split()[0]
    monkeypatch.setenv("HOSTPULSE_TLS_CERT", str(tmp_path / "chain.pem"))
    found = run(app, *create, "--server", "web-1").split()[0]
    monkeypatch.setenv("HOSTPULSE_TLS_CERT", str(tmp_path / "leaf.pem"))
    public = run(app, *create).split()[0]
    monkeypatch.setenv("HOSTPULSE_TLS_CERT", str(tmp_path / "nothing.pem"))
    refused = run(app, *create, status=2)

    assert [token.partition(".")[2] for token in (named, found, public)] == [
        authority.sha256,
        authority.sha256,
        "",
    ]
    assert all(enrollments.prefix_of(token) for token in (named, found, public))
    assert "nothing.pem" in refused
    listed = json.loads(run(app, "list", "--json"))
    assert [each["uses_left"] for each in listed] == [3, 3, 3]
    assert listed[1]["server_names"] == ["web-1"]
    assert "3 uses left" in run(app, "list")


def test_pending_machines_are_shown_and_answered(run, database):
    app = server_commands.servers_app

    async def two_machines(connection):
        token = await enrollments.create_token(
            connection,
            uses=2,
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            server_name=None,
            note=None,
            created_by="test",
        )
        for machine in ("m1", "m2"):
            asker = enrollments.Asker(
                server_name="web-1", hostname="h", machine_id=machine, agent_version="1"
            )
            await enrollments.enroll(connection, token, asker)

    ask(database, two_machines)

    [pending] = json.loads(run(app, "enrollments", "--json"))
    shown = run(app, "enrollments")
    approved = run(app, "approve", str(pending["id"]))
    twice = run(app, "deny", str(pending["id"]), status=2)

    assert pending["fingerprint"] == machines.fingerprint("m2")
    assert pending["fingerprint"] in shown
    assert pending["fingerprint"] in approved
    assert "pending enrolment" in twice
    assert json.loads(run(app, "enrollments", "--json")) == []


def test_the_audit_log_is_shown_by_time_actor_and_action(run, database):
    created = run(key_commands.keys_app, "create", "--role", "reader").strip()
    run(key_commands.keys_app, "rotate", created[3:11], "--grace", "1h")
    run(key_commands.keys_app, "revoke", created[3:11])

    everything = json.loads(run(commands, "audit", "--json"))
    narrow = json.loads(run(commands, "audit", "--action", "key.rotate", "--json"))
    by_actor = json.loads(run(commands, "audit", "--actor", "nobody", "--json"))
    lately = json.loads(run(commands, "audit", "--since", "1h", "--action", "key", "--json"))
    shown = run(commands, "audit")

    assert [each["action"] for each in everything] == ["key.create", "key.rotate", "key.revoke"]
    assert everything == lately
    assert narrow == everything[1:2]
    assert by_actor == []
    assert "key.revoke" in shown
    assert created[-43:] not in shown + json.dumps(everything)
    run(commands, "audit", "--since", "soon", status=2)
