"""Rows for the routes that name one, so that fuzzing gets past "there is none of this name"."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from alerting import channels, silences
from storage import config_scopes, configs, enrollments, keys

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from storage.database import Connection

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "9"))  # of each operation
COUNT = 5 * EXAMPLES  # of what a call uses up
ODD_NAME = "röck 1/2 %41'\""  # a server's name may have all of this


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a parameter of a path may name: the beginning of the path to names that are there."""

    names: Mapping[str, Sequence[object]]

    def choose(self, path: str, chance: random.Random) -> object | None:
        """Return a name for the parameter of this path; None where it names nothing."""
        for begin, names in self.names.items():
            if path.startswith(f"{begin}/{{"):
                return chance.choice(names)
        return None


async def seed(connection: Connection) -> Known:
    """Fill a database that has the seeded rules only."""
    now = datetime.now(UTC)
    servers = ["web-1", "web-2", ODD_NAME]
    ids = [
        await connection.fetchval(
            "INSERT INTO server (name, machine_id, labels, last_seen, status, watch_offline)"
            " VALUES ($1, $1, '{\"env\": \"prod\"}', now(), 'online', true) RETURNING id",
            name,
        )
        for name in servers
    ]
    for statement in SAMPLES:
        await connection.execute(statement, ids)
    alerts = await connection.fetch(ALERTS, ids)
    await connection.execute(HISTORY)
    await connection.execute(DISABLED, COUNT)
    rules = [row["name"] for row in await connection.fetch("SELECT name FROM alert_rule")]
    for number in range(COUNT):
        channel = channels.StoredChannel(
            name=f"mail-{number}", kind="email", config={"to": ["ops@example.org"]}
        )
        assert await channels.add(connection, channel)
    return Known(
        names={
            "/api/v1/servers": servers,
            "/api/v1/rules": rules,
            "/api/v1/channels": [f"mail-{number}" for number in range(COUNT)],
            "/api/v1/alerts": [row["id"] for row in alerts],
            "/api/v1/silences": [await _silence(connection, now) for _ in range(COUNT)],
            "/api/v1/keys": [await _key(connection) for _ in range(COUNT)],
            "/api/v1/enrollments": [
                await _enrollment(connection, servers) for _ in range(2 * COUNT)
            ],
            "/api/v1/config": [await _config(connection, scope) for scope in SCOPES],
        }
    )


async def _silence(connection: Connection, now: datetime) -> int:
    silence = silences.Silence(
        starts_at=now, ends_at=now + timedelta(hours=1), author="fuzz", reason="fuzz"
    )
    return await silences.add(connection, silence, by="fuzz")


async def _key(connection: Connection) -> str:
    key = await keys.create(connection, role=keys.Role.READER, created_by="fuzz")
    prefix = keys.prefix_of(key)
    assert prefix is not None
    return prefix


async def _enrollment(connection: Connection, servers: Sequence[str]) -> int:
    """Ask for a name that another machine has."""
    token = await enrollments.create_token(
        connection,
        uses=1,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        server_name=None,
        note=None,
        created_by="fuzz",
    )
    asker = enrollments.Asker(
        server_name=servers[0], hostname="h", machine_id=token[-8:], agent_version="1"
    )
    assert isinstance(await enrollments.enroll(connection, token, asker), enrollments.Pending)
    return await connection.fetchval("SELECT max(id) FROM enrollment")


async def _config(connection: Connection, scope: str) -> str:
    for interval_s in (10, 20):
        await configs.change(
            connection,
            config_scopes.parse(scope),
            lambda _, each=interval_s: {"interval_s": each},
            author="fuzz",
            priority=1 if scope.startswith("labels:") else None,
        )
    return scope


SCOPES = ("all", "labels:env=prod", "server:web-1", f"server:{ODD_NAME}")
SAMPLES = (
    "INSERT INTO cpu (time, server_id, usage_percent, core_usage_percent)"
    " SELECT now() - make_interval(secs => n * 10), id, n, ARRAY[1, 'NaN', n]::real[]"
    " FROM unnest($1::int[]) id, generate_series(1, 90) n",
    "INSERT INTO disk_usage (time, server_id, mount, device, used_percent, total_bytes, used_bytes)"
    " SELECT now() - make_interval(secs => n * 60), id, '/', 'sda', 80 + n % 9, 1000, 800 + n"
    " FROM unnest($1::int[]) id, generate_series(1, 15) n",
    "INSERT INTO process (time, server_id, pid, name, cpu_percent, cpu_rank)"
    " SELECT now() - make_interval(secs => n * 10), id, n, 'p', n, 1"
    " FROM unnest($1::int[]) id, generate_series(1, 90) n",
)
ALERTS = """
    INSERT INTO alert (rule_id, server_id, state, severity, value, run_started_at, fired_at,
      firing_number)
    SELECT r.id, s, 'firing', 'warning', 91, now() - interval '5 min', now(), 1
    FROM unnest($1::int[]) s, alert_rule r RETURNING id
"""
DISABLED = """
    INSERT INTO alert_rule (name, metric, operator, levels, enabled)
    SELECT 'off-' || n, metric, operator, levels, false
    FROM alert_rule, generate_series(1, $1) n WHERE name = 'cpu_usage'
"""  # the only ones that can be removed
HISTORY = """
    INSERT INTO alert_history (time, alert_id, rule_name, server_id, labels, change, from_state,
      to_state, severity, value, firing_number)
    SELECT now(), a.id, r.name, a.server_id, a.labels, 'fired', 'ok', 'firing', 'warning', 91, 1
    FROM alert a JOIN alert_rule r ON r.id = a.rule_id
"""
