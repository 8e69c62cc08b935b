"""Every admin route and command writes one audit row, in the transaction of what it does.

The tables name all routes that change something and all commands. One that is missing fails the
test: add it to ROUTES or COMMANDS with a call that succeeds, or to the ones that change nothing
that is an admin's, with the reason.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest
import typer.main
from cryptography.fernet import Fernet
from typer.testing import CliRunner

from alerting import channel_tests, links, notifications
from api import sessions
from cli.commands import app as commands
from storage import config_scopes, configs, enrollments, keys, maintenance, secrets, web_sessions
from tests.integration.gateway.test_who_may_do_what import found_routes
from tests.told import CPU

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLES = ("api_key", "enrollment", "alert_rule", "inhibition", "channel", "silence", "alert",
          "server", "setting", "config_revision", "server_config", "web_session",
          "sign_in_link", "notification")  # fmt: skip
CHANGING = {"POST", "PUT", "PATCH", "DELETE"}
FUTURE = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
RULE = {"metric": "cpu.usage_percent", "operator": ">",
        "levels": [{"severity": "warning", "threshold": 70, "for": "1m"}]}  # fmt: skip

# Route: the request's path (with what `Ready` made), its body, and the audited action.
ROUTES = {
    "POST /api/v1/keys": ("/api/v1/keys", {"role": "reader"}, "key.create"),
    "POST /api/v1/keys/{prefix}/rotate": ("/api/v1/keys/{prefix}/rotate", {}, "key.rotate"),
    "DELETE /api/v1/keys/{prefix}": ("/api/v1/keys/{prefix}", None, "key.revoke"),
    "POST /api/v1/enrollments/{number:int}/approve": (
        "/api/v1/enrollments/{enrollment}/approve",
        None,
        "enrollment.approve",
    ),
    "POST /api/v1/enrollments/{number:int}/deny": (
        "/api/v1/enrollments/{enrollment}/deny",
        None,
        "enrollment.deny",
    ),
    "POST /api/v1/alerts/{alert_id:int}/ack": ("/api/v1/alerts/{alert}/ack", None, "alert.ack"),
    "POST /ack/{token}": ("{ack}", None, "alert.ack"),
    "POST /api/v1/silences": (
        "/api/v1/silences",
        {"reason": "r", "ends_at": FUTURE},
        "silence.add",
    ),
    "DELETE /api/v1/silences/{silence_id:int}": (
        "/api/v1/silences/{silence}",
        None,
        "silence.end",
    ),
    "PUT /api/v1/config/{scope:path}": ("/api/v1/config/all", {"fields": {}}, "config.set"),
    "POST /api/v1/config/{scope:path}/rollback": (
        "/api/v1/config/server:web/rollback",
        {},
        "config.set",
    ),
    "PUT /api/v1/rules/{name}": ("/api/v1/rules/cpu_usage", RULE, "rule.apply"),
    "DELETE /api/v1/rules/{name}": ("/api/v1/rules/{off}", None, "rule.remove"),
    "PUT /api/v1/servers/{name:path}/labels": (
        "/api/v1/servers/web/labels",
        {"labels": {"env": "prod"}},
        "server.label",
    ),
    "POST /api/v1/channels": (
        "/api/v1/channels",
        {"name": "new", "kind": "email", "config": {"to": ["a@example.org"]}},
        "channel.add",
    ),
    "PUT /api/v1/channels/{name}": (
        "/api/v1/channels/ops",
        {"config": {"to": ["a@example.org"]}, "enabled": False},
        "channel.change",
    ),
    "DELETE /api/v1/channels/{name}": ("/api/v1/channels/ops", None, "channel.remove"),
    "POST /api/v1/channels/{name}/test": ("/api/v1/channels/ops/test", None, "channel.test"),
    "POST /api/v1/session": ("/api/v1/session", {"link": "{link}"}, "session.begin"),
    "DELETE /api/v1/session": ("/api/v1/session", None, "session.end"),
}
NOT_ADMINS = {
    "POST /api/v1/metrics": "samples",
    "POST /api/v1/rules/{name}/test": "reads what is stored, and changes nothing",
}

# Command: its arguments and the audited action.
COMMANDS = {
    "key create": ("--role reader", "key.create"),
    "key rotate": ("{prefix} --grace 1h", "key.rotate"),
    "key revoke": ("{prefix}", "key.revoke"),
    "server forget": ("web", "server.forget"),
    "server label": ("web env=e{number}", "server.label"),
    "config set": ("all process_top_n=3", "config.set"),
    "config rollback": ("server:web", "config.set"),
    "server approve": ("{enrollment}", "enrollment.approve"),
    "server deny": ("{enrollment}", "enrollment.deny"),
    "rule set": ("cpu_usage --level warning:70:1m", "rule.set"),
    "rule enable": ("cpu_usage", "rule.set"),
    "rule disable": ("cpu_usage", "rule.set"),
    "rule remove": ("{off}", "rule.remove"),
    "rule apply": ("{rules}", "rule.apply"),
    "channel add email": ("new --to a@example.org", "channel.add"),
    "channel add discord": ("new --url https://discord.com/api/webhooks/1/x", "channel.add"),
    "channel add slack": ("new --url https://hooks.slack.com/services/x", "channel.add"),
    "channel add pagerduty": ("new --key 0123456789abcdef0123456789abcdef", "channel.add"),
    "channel add webhook": ("new --url https://example.org/", "channel.add"),
    "channel set": ("ops --to b@example.org", "channel.change"),
    "channel enable": ("ops", "channel.change"),
    "channel disable": ("ops", "channel.change"),
    "channel remove": ("ops", "channel.remove"),
    "alert ack": ("{alert}", "alert.ack"),
    "silence add": ("--reason r --for 1h", "silence.add"),
    "silence end": ("{silence}", "silence.end"),
    "db retention set": ("raw=8d", "retention.set"),
    "sign-in": ("--key {prefix}", "session.link"),
}
AUDITED_ELSEWHERE = {
    "channel test": "needs a server to send to: test_alerting_commands.py",
    "db move": "needs a second database: test_moving.py",
    "doctor replay": "one row for batches of several transactions: test_parked.py",
}
ELSEWHERE = ("tls init", "tls gateway", "tls agent")  # files on this machine, no database
READING = (
    "version", "up", "top", "gateway", "agent", "alerting", "migrate", "loss", "audit",
    "doctor parked", "db status", "db url", "db retention", "key list", "server list",
    "server show", "server enrollments", "rule list", "rule show", "rule test", "channel list",
    "alert list", "alert history", "silence list", "doctor", "config show", "config history",
    "config diff",
)  # fmt: skip


class Ready:
    """A database in which everything that can be changed is there to be changed."""

    def __init__(self, connection, folder) -> None:
        self._connection = connection
        self._folder = folder
        self._numbers = itertools.count()
        self.names: dict[str, object] = {}

    async def prepare(self) -> None:
        """Make one of each anew; names say which."""
        c, n = self._connection, next(self._numbers)
        key = await keys.create(c, role=keys.Role.READER, created_by="test")
        prefix = keys.prefix_of(key)
        key_id = await c.fetchval("SELECT id FROM api_key WHERE prefix = $1", prefix)
        assert await web_sessions.add_link(c, f"link-{n}", key_prefix=prefix, made_by="test")
        token = await enrollments.create_token(
            c,
            uses=1,
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            server_name=None,
            note=None,
            created_by="test",
        )
        await c.execute(
            "INSERT INTO server (name, machine_id, watch_offline) VALUES ('web', 'm', true)"
            " ON CONFLICT (name) DO UPDATE SET machine_id = 'm'"
        )
        asker = enrollments.Asker(
            server_name="web", hostname="h", machine_id=f"m{n}", agent_version="1"
        )
        assert isinstance(await enrollments.enroll(c, token, asker), enrollments.Pending)
        for top in (3, 4):
            await configs.change(
                c,
                config_scopes.parse("server:web"),
                lambda _, top=top: {"process_top_n": top},
                author="test",
            )
        await c.execute("DELETE FROM alert")
        alert = await c.fetchval(
            "INSERT INTO alert (rule_id, server_id, state, severity, value, fired_at,"
            " firing_number) SELECT r.id, s.id, 'firing', 'warning', 91, now(), 1"
            " FROM alert_rule r, server s WHERE r.name = 'cpu_usage' AND s.name = 'web'"
            " RETURNING id"
        )
        off = await c.fetchval(
            "INSERT INTO alert_rule (name, metric, operator, levels, enabled) VALUES"
            " ('off-' || $1, 'cpu.usage_percent', '>', $2, false) RETURNING name",
            str(n),
            [{"severity": "warning", "threshold": 80, "for_s": 60}],
        )
        await c.execute("DELETE FROM channel")
        await c.execute("INSERT INTO channel (name, kind) VALUES ('ops', 'email')")
        silence = await c.fetchval(
            "INSERT INTO silence (starts_at, ends_at, author, reason)"
            " VALUES (now(), now() + interval '1 h', 'a', 'r') RETURNING id"
        )
        (self._folder / "rules").mkdir(exist_ok=True)
        (self._folder / "rules/a.toml").write_text(
            f'[[rule]]\nname = "mine"\nmetric = "cpu.usage_percent"\noperator = ">"\n'
            f'levels = [{{severity = "warning", threshold = {50 + n}, for = "1m"}}]\n'
        )
        self.names = {
            "prefix": prefix,
            "enrollment": (await enrollments.list_all(c))[-1].id,
            "alert": alert,
            "silence": silence,
            "rules": self._folder / "rules",
            "number": n,
            "off": off,
            "ack": await self._link(alert, n),
            "link": f"link-{n}",
            "session": await web_sessions.begin(c, key_id, actor="test"),
        }

    async def _link(self, alert: int, n: int) -> str:
        """Return the path of a message's link that acknowledges the alert."""
        told = dataclasses.replace(CPU, dedup_key=f"key-{n}", alert_id=alert)
        await self._connection.execute(
            "INSERT INTO notification (created_at, alert_id, alert_ids, queue, channel, kind,"
            " dedup_key, payload, next_attempt_at) VALUES (now(), $1, $2, 'q', 'ops', 'fired', $3,"
            " $4, now())",
            alert,
            [alert],
            told.dedup_key,
            notifications.to_json(told),
        )
        box = secrets.SecretBox.load({}, self._folder)
        return links.make(box, "http://gateway", told, datetime.now(UTC))

    async def state(self) -> list[str]:
        """Return everything that an admin may change, as text."""
        return [
            await self._connection.fetchval(
                f"SELECT coalesce(string_agg(t::text, E'\n' ORDER BY t::text), '') FROM {table} t"
                + (" WHERE t.key NOT LIKE '%outcome'" if table == "setting" else "")
            )
            for table in TABLES
        ]

    async def audited(self) -> list[tuple[str, str]]:
        rows = await self._connection.fetch("SELECT actor, action FROM audit ORDER BY id")
        return [tuple(row) for row in rows]

    async def break_audit(self, *, broken: bool) -> None:
        """Let nothing be written into the audit log, or again."""
        await self._connection.execute("DROP TRIGGER IF EXISTS broken ON audit")
        if broken:
            await self._connection.execute(
                "CREATE TRIGGER broken BEFORE INSERT ON audit FOR EACH ROW"
                " EXECUTE FUNCTION hostpulse_internal.keep_audit()"
            )


@pytest.fixture
async def ready(connection, tmp_path, monkeypatch):
    monkeypatch.setenv("HOSTPULSE_DATA_DIR", str(tmp_path))
    return Ready(connection, tmp_path)


def test_every_changing_route_is_in_a_table():
    changing = {each for each in found_routes() if each.split()[0] in CHANGING}

    assert changing == set(ROUTES) | set(NOT_ADMINS)


def test_every_command_is_in_a_table():
    def names(group: object, path: tuple[str, ...] = ()) -> Iterator[str]:
        for name, command in getattr(group, "commands", {}).items():
            if hasattr(command, "commands"):
                if getattr(command, "invoke_without_command", False):
                    yield " ".join((*path, name))
                yield from names(command, (*path, name))
            else:
                yield " ".join((*path, name))

    found = sorted(names(typer.main.get_command(commands)))

    assert found == sorted({*COMMANDS, *AUDITED_ELSEWHERE, *ELSEWHERE, *READING})


async def check(ready: Ready, act, action: str) -> str | None:
    """Say what is wrong with how something is audited; None if nothing is."""
    await ready.prepare()
    before = await ready.state()
    await ready.break_audit(broken=True)
    await act()
    await ready.break_audit(broken=False)
    if await ready.state() != before:
        return "it was done although it could not be audited"
    audited = len(await ready.audited())
    answer = await act()
    rows = (await ready.audited())[audited:]
    if [row[1] for row in rows] != [action]:
        return f"expected one row of {action}, got {rows}; {answer}"
    return None


async def test_every_admin_route_writes_one_row_or_does_nothing(
    api, ready, connection, monkeypatch
):
    run = functools.partial(channel_tests.run, wait_s=0.0)  # nobody sends here
    monkeypatch.setattr(channel_tests, "run", run)
    wrong = {}
    await api.client.get("/api/v1/keys")  # notes the use of the key, for a minute
    for route, (path, body, action) in ROUTES.items():
        method = route.split()[0]

        async def act(method=method, path=path, body=body):
            api.client.cookies.clear()
            cookie = f"{sessions.COOKIE}={ready.names['session']}"
            return await api.client.request(
                method,
                path.format(**ready.names),
                json={"link": ready.names["link"]} if body and "link" in body else body,
                headers={"X-Hostpulse-Page": "1", "Origin": "http://gateway", "Cookie": cookie},
            )

        if problem := await check(ready, act, action):
            wrong[route] = problem
    actors = {
        actor
        for actor, action in await ready.audited()
        if actor != "test" and not action.startswith("session.")  # of whose session it is
    }

    addresses = await connection.fetch("SELECT DISTINCT address FROM audit WHERE actor <> 'test'")

    assert wrong == {}
    assert actors == {f"key {keys.prefix_of(api.admin_key)}", "link"}
    assert [row["address"] for row in addresses] == ["127.0.0.1"]


async def test_every_admin_command_writes_one_row_or_does_nothing(
    ready, connection, database, monkeypatch
):
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", database)
    monkeypatch.setenv("HOSTPULSE_SECRET_KEY", Fernet.generate_key().decode())
    wrong = {}
    for command, (arguments, action) in COMMANDS.items():

        async def act(command=command, arguments=arguments):
            words = [*command.split(), *(a.format(**ready.names) for a in arguments.split())]
            result = await asyncio.to_thread(CliRunner().invoke, commands, words)
            return result.output

        if problem := await check(ready, act, action):
            wrong[command] = problem
    actors = {actor for actor, _ in await ready.audited() if actor != "test"}
    addresses = await connection.fetch("SELECT DISTINCT address FROM audit")

    assert wrong == {}
    assert all(actor.startswith("cli:") for actor in actors)
    assert [row["address"] for row in addresses] == [None]  # of a command


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "SET session_replication_role = 'replica'; DELETE FROM audit",
    ],
)
async def test_the_audit_log_can_only_grow(connection, statement):
    await keys.create(connection, role=keys.Role.ADMIN, created_by="test")

    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await connection.execute(statement)


async def test_upkeep_takes_what_is_older_than_a_year(connection):
    await connection.execute(
        "INSERT INTO audit (time, actor, action, allowed) VALUES"
        " (now() - interval '366 days', 'old', 'a.b', true),"
        " (now() - interval '364 days', 'young', 'a.b', true)"
    )

    await maintenance.maintain(connection)

    assert [row["actor"] for row in await connection.fetch("SELECT actor FROM audit")] == ["young"]
