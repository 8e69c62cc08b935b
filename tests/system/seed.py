"""Fills databases: a small fleet with two months behind it, and a big one with half an hour.

Values are waves with a little noise, made in SQL: the same at each run, but for the clock.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage import engines

if TYPE_CHECKING:
    from storage.database import Connection

MAIN = "web-01"
BIG = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    name: str
    labels: dict[str, str]
    cpu: float  # the middle of its wave
    memory: float
    disk: float
    status: str = "online"
    reason: str | None = None
    silent: str = "0"  # an interval


FLEET = (
    Host(name=MAIN, labels={"role": "web", "env": "prod"}, cpu=46, memory=58, disk=83),
    Host(name="web-02", labels={"role": "web", "env": "prod"}, cpu=41, memory=55, disk=61),
    Host(name="web-03", labels={"role": "web", "env": "staging"}, cpu=8, memory=31, disk=44),
    Host(name="db-01", labels={"role": "db", "env": "prod"}, cpu=35, memory=97, disk=71),
    Host(name="db-02", labels={"role": "db", "env": "prod"}, cpu=22, memory=78, disk=70),
    Host(name="api-01", labels={"role": "api", "env": "prod"}, cpu=88, memory=49, disk=38),
    Host(name="api-02", labels={"role": "api", "env": "prod"}, cpu=52, memory=47, disk=36),
    Host(
        name="cache-01", labels={"role": "cache"}, cpu=12, memory=66, disk=20, silent="23 minutes"
    ),
    Host(
        name="batch-01",
        labels={"role": "batch"},
        cpu=3,
        memory=18,
        disk=52,
        status="stopped",
        reason="shutdown",
        silent="3 hours",
    ),
    Host(name="build-07.eu-west.internal.example.org", labels={}, cpu=64, memory=40, disk=77),
    Host(name="mail-01", labels={"role": "mail", "env": "prod"}, cpu=6, memory=29, disk=33),
    Host(name="vpn-01", labels={"role": "net"}, cpu=4, memory=22, disk=12),
)

SERVER = """
INSERT INTO server (name, labels, status, status_reason, watch_offline, last_seen, agent_version,
  hostname, os_name, os_version, kernel_version, architecture, cpu_model, cpu_cores_logical,
  cpu_cores_physical, memory_total_bytes, boot_time)
VALUES ($1, $2, $3, $4, true, now() - $5::text::interval, '0.1.0', $1, 'Debian GNU/Linux', '12',
  '6.1.0-28-amd64', 'x86_64', 'Intel(R) Xeon(R) E-2288G', 8, 8, 34359738368,
  now() - interval '41 days')
RETURNING id
"""

HEARD = "UPDATE server SET last_seen = now() WHERE id = $1"

INTERVALS = """
INSERT INTO family_interval (server_id, family, interval_s)
SELECT $1, family, CASE family WHEN 'disk_usage' THEN 60 ELSE 10 END
FROM unnest('{cpu,memory,disk_usage,disk_io,network,tcp,process,pressure}'::text[]) family
"""

# $1 server, $2 from, $3 until (ages), $4 step, $5 middle of the wave
MOMENTS = """
WITH moments AS (
  SELECT m AS time, extract(epoch FROM m) AS s FROM generate_series(
    date_bin('60 s', now(), 'epoch') - $2::text::interval, now() - $3::text::interval,
    $4::text::interval) m
), waves AS (
  SELECT time, s, greatest(0.5, least(99.5, $5::float8
    + 9 * sin(s / 700) + 6 * sin(s / 83) + 16 * sin((s - 20000) / 13751.0)
    + 5 * (hashint8extended(s::bigint, $1)::float8 / 9.3e18))) AS v
  FROM moments
  WHERE NOT (time BETWEEN now() - interval '52 minutes' AND now() - interval '47 minutes')
)
"""

RAW = {
    "cpu": """
    INSERT INTO cpu (time, server_id, usage_percent, user_percent, system_percent, nice_percent,
      idle_percent, iowait_percent, irq_percent, softirq_percent, steal_percent, load1, load5,
      load15, load1_per_core, context_switches_per_s, interrupts_per_s, core_usage_percent)
    SELECT time, $1, v, v * 0.7, v * 0.25, 0, greatest(0, 96 - v), 3 + 2 * sin(s / 40), 0.1,
      v * 0.04, 0.2, v / 12, v / 13, v / 14, v / 96, v * 210, v * 120,
      ARRAY(SELECT greatest(0, least(100,
              v + 26 * sin(s / 300 + core) + 8 * sin(s / 31 * core)))::real
            FROM generate_series(1, 8) core)
    FROM waves""",
    "memory": """
    INSERT INTO memory SELECT time, $1, 34359738368, (34359738368 * u)::bigint, u * 100,
      (34359738368 * (1 - u))::bigint, 100 - u * 100, (34359738368 * (1 - u) * 0.35)::bigint,
      402653184, (34359738368 * (1 - u) * 0.6)::bigint, 4294967296,
      (4294967296 * greatest(0, u - 0.5))::bigint, greatest(0, u - 0.5) * 100,
      900 + 300 * sin(s / 60), greatest(0, 4 * sin(s / 200))
    FROM (SELECT time, s, greatest(0.02, least(0.985, $5::float8 / 100 + (v - $5) / 500)) AS u
          FROM waves) w""",
    "disk_usage": """
    INSERT INTO disk_usage SELECT time, $1, mount, device, 'ext4', total,
      (total * used)::bigint, (total * (1 - used))::bigint, used * 100, 6553600,
      (6553600 * used / 3)::bigint, used * 33
    FROM waves CROSS JOIN LATERAL (VALUES
      ('/', '/dev/sda1', 107374182400::bigint,
       $5::float8 / 100 - extract(epoch FROM now() - time) / 3e6),
      ('/var/lib/postgresql', '/dev/nvme0n1', 1099511627776::bigint, $5::float8 / 140),
      ('/boot', '/dev/sda2', 1073741824::bigint, 0.31)) d (mount, device, total, used)
    WHERE date_bin('60 s', time, 'epoch') = time""",
    "disk_io": """
    INSERT INTO disk_io SELECT time, $1, device, v * k * 60000, v * k * 90000, v * k, v * k * 2,
      CASE WHEN sin(s / 500) > -0.8 THEN 1 + v * k / 20 END, 1 + v * k / 30, 1 + v * k / 15,
      v * k / 60, least(100, v * k)
    FROM waves CROSS JOIN (VALUES ('nvme0n1', 1.0), ('sda', 0.3)) d (device, k)""",
    "network": """
    INSERT INTO network SELECT time, $1, interface, v * k * 90000, v * k * 130000, v * k * 120,
      v * k * 140, greatest(0, k * sin(s / 900) * 3 - 1), 0, 0, 0,
      greatest(0, k * sin(s / 900) * 0.05), 1000, v * k * 0.8
    FROM waves CROSS JOIN (VALUES ('eth0', 1.0), ('eth1', 0.25)) i (interface, k)""",
    "tcp": """
    INSERT INTO tcp SELECT time, $1, (v * 9)::bigint, (v * 5)::bigint, 1, 2, 3, 4,
      (v * 2.5)::bigint, 0, (v * 0.4)::bigint, 1, 24, 0 FROM waves""",
    "process": """
    INSERT INTO process SELECT time, $1, 1000 + rank * 7, name, account, path, v * share,
      size, size / 343597383.68, rank, rank() OVER (PARTITION BY time ORDER BY size DESC)
    FROM waves CROSS JOIN (VALUES
      (1, 'postgres', 'postgres', 'postgres: checkpointer', 1.9, 6442450944::bigint),
      (2, 'nginx', 'www-data', 'nginx: worker process', 1.2, 268435456),
      (3, 'python3', 'app', NULL, 0.9, 1610612736), (4, 'node', 'app', NULL, 0.6, 805306368),
      (5, 'redis-server', 'redis', NULL, 0.4, 2147483648),
      (6, 'systemd', 'root', NULL, 0.1, 16777216),
      (7, 'sshd', 'root', NULL, 0.06, 12582912), (8, 'kworker/0:1', 'root', NULL, 0.05, 0),
      (9, 'journald', 'root', NULL, 0.04, 67108864), (10, 'cron', 'root', NULL, 0.01, 4194304))
      p (rank, name, account, path, share, size)""",
    "pressure": """
    INSERT INTO pressure SELECT time, $1, v / 9, v / 30, v / 60, v / 20, v / 40 FROM waves""",
}
MIDDLE = {"memory": "memory", "disk_usage": "disk"}


async def add_host(connection: Connection, host: Host) -> int:
    """Make a server."""
    server_id = await connection.fetchval(
        SERVER, host.name, host.labels, host.status, host.reason, host.silent
    )
    await connection.execute(INTERVALS, server_id)
    return server_id


async def add_samples(
    connection: Connection, server_id: int, host: Host, *, begin: str, end: str, step: str
) -> None:
    """Add samples of every family between two ages."""
    for table, statement in RAW.items():
        middle = getattr(host, MIDDLE.get(table, "cpu"))
        await connection.execute(MOMENTS + statement, server_id, begin, end, step, middle)


async def go_on(connection: Connection) -> None:
    """Let ten seconds more have been heard from every server of the fleet that is online."""
    moments = MOMENTS.replace("date_bin('60 s'", "date_bin('10 s'")
    rows = await connection.fetch("SELECT id, name FROM server")
    ids = {row["name"]: row["id"] for row in rows}
    for host in FLEET:
        if host.silent != "0" or host.name not in ids:
            continue
        for table, statement in RAW.items():
            middle = getattr(host, MIDDLE.get(table, "cpu"))
            await connection.execute(
                moments + statement, ids[host.name], "0 s", "0 s", "1 d", middle
            )
        await connection.execute(
            "UPDATE server SET last_seen = now() WHERE id = $1", ids[host.name]
        )


async def add_hours(connection: Connection, server_id: int) -> None:
    """Put two months of hours into the archive, made like the hours that raw samples have."""
    for table in RAW:
        columns = await connection.fetchval(
            "SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute"
            " WHERE attrelid = $1::regclass AND attnum > 2",
            f"{table}_1h",
        )
        await connection.execute(f"""
            INSERT INTO hostpulse_internal.{table}_1h_archive (time, server_id, {columns})
            SELECT time - n * interval '1 day', server_id, {columns}
            FROM {table}_1h CROSS JOIN generate_series(1, 61) n
            WHERE server_id = {server_id}
              AND time >= date_bin('1 h', now(), 'epoch') - interval '24 h'
              AND time < date_bin('1 h', now(), 'epoch')
        """)
    busy = ("usage_percent", "user_percent", "system_percent", "iowait_percent", "softirq_percent")
    columns = ", ".join(f"{name} = {name} * share" for name in (*busy, "load1", "load5", "load15"))
    await connection.execute(f"""
        UPDATE hostpulse_internal.cpu_1h_archive a SET {columns}
        FROM (SELECT m AS time, 0.85 + 0.25 * sin(extract(epoch FROM m) / 172800) AS share
              FROM generate_series(now() - interval '70 days', now(), '1 h') h,
                date_bin('1 h', h, 'epoch') m) s
        WHERE a.server_id = {server_id} AND a.time = s.time
    """)  # no two days are the same
    await connection.execute(f"""
        UPDATE hostpulse_internal.disk_usage_1h_archive
        SET used_percent = used_percent - extract(epoch FROM now() - time) / 86400 / 3
        WHERE server_id = {server_id}
    """)


async def roll_up(connection: Connection, *, since: str) -> None:
    """Let the engine make rollups of what was just added."""
    await connection.execute(
        "UPDATE hostpulse_internal.rollup_state"
        " SET watermark = date_bin(width, now() - $1::text::interval, 'epoch')",
        since,
    )
    await engines.by_name("postgres").roll_up(connection)


async def add_alerts(connection: Connection, ids: dict[str, int]) -> None:
    """Add alerts as the worker writes them, with their history."""
    for rule, server, labels, severity, value, age, state in (
        ("disk_usage", MAIN, {"mount": "/"}, "warning", 83.1, "3 hours", "firing"),
        ("memory_usage", "db-01", {}, "critical", 97.2, "40 minutes", "firing"),
        ("cpu_usage", "api-01", {}, "warning", 88.4, "12 minutes", "firing"),
        ("agent_offline", "cache-01", {}, "critical", None, "22 minutes", "firing"),
        ("cpu_usage", MAIN, {}, "warning", 84.0, "95 minutes", "resolved"),
        ("packet_loss", "web-02", {"interface": "eth0"}, "warning", 2.4, "5 hours", "resolved"),
    ):
        alert_id = await connection.fetchval(
            """
            INSERT INTO alert (rule_id, server_id, labels, state, severity, told_severity, value,
              run_started_at, fired_at, resolved_at, firing_number, changed_at)
            SELECT r.id, $2, $3, $4, CASE WHEN $4 = 'firing' THEN $5 END,
              CASE WHEN $4 = 'firing' THEN $5 END, $6,
              now() - $7::text::interval - interval '5 min',
              now() - $7::text::interval,
              CASE WHEN $4 = 'resolved' THEN now() - $7::text::interval + interval '20 min' END, 1,
              now() - $7::text::interval + CASE WHEN $4 = 'resolved' THEN interval '20 min'
                ELSE interval '0' END
            FROM alert_rule r WHERE r.name = $1 RETURNING id
            """,
            *(rule, ids[server], labels, state, severity, value, age),
        )
        for change, before, after, later in (
            ("pending", "ok", "pending", "-5 min"),
            ("fired", "pending", "firing", "0 min"),
            *([("resolved", "firing", "resolved", "20 min")] if state == "resolved" else []),
        ):
            await connection.execute(
                """
                INSERT INTO alert_history (time, alert_id, rule_name, server_id, labels, change,
                  from_state, to_state, severity, value, firing_number)
                VALUES (now() - $1::text::interval + $2::text::interval, $3, $4, $5, $6, $7, $8, $9,
                  $10, $11, 1)
                """,
                *(age, later, alert_id, rule, ids[server], labels, change, before, after, severity),
                value,
            )


async def add_events(connection: Connection, server_id: int) -> None:
    """Add what happened to the main server."""
    for kind, age, detail in (
        ("boot", "47 minutes", {}),
        ("version_changed", "46 minutes", {"from": "0.0.9", "to": "0.1.0"}),
        ("config_applied", "20 minutes", {"revision": 3}),
    ):
        await connection.execute(
            "INSERT INTO event (time, server_id, kind, detail)"
            " VALUES (now() - $1::text::interval, $2, $3, $4)",
            *(age, server_id, kind, detail),
        )
    await connection.execute(
        """
        INSERT INTO ingest_gap (server_id, epoch, seqs, from_time, to_time, reason)
        VALUES ($1, 7, '{[100,131)}', now() - interval '52 min', now() - interval '47 min',
                'spool_full')
        """,
        server_id,
    )


async def fill_small(connection: Connection) -> None:
    """A fleet of twelve, of which one has two months behind it."""
    ids: dict[str, int] = {}
    for host in FLEET:
        ids[host.name] = await add_host(connection, host)
        main = host.name == MAIN
        if main:
            await add_samples(
                connection, ids[MAIN], host, begin="26 hours", end="125 minutes", step="60 s"
            )
        age = "2 hours" if main else "40 minutes"
        step = "10 s" if main else "60 s"
        await add_samples(connection, ids[host.name], host, begin=age, end=host.silent, step=step)
    await roll_up(connection, since="27 hours")
    await add_hours(connection, ids[MAIN])
    await add_alerts(connection, ids)
    await add_events(connection, ids[MAIN])
    await connection.execute("ANALYZE")


async def go_on_big(connection: Connection) -> None:
    """Let every server of a big fleet tell something new."""
    await connection.execute(
        "INSERT INTO cpu (time, server_id, usage_percent)"
        " SELECT now(), id, random() * 100 FROM server"
    )


async def fill_big(connection: Connection, servers: int = BIG) -> None:
    """A thousand servers, of which some are in trouble."""
    labels = json.dumps({"role": "node"})
    await connection.execute(
        """
        INSERT INTO server (name, labels, status, watch_offline, last_seen, agent_version)
        SELECT 'node-' || lpad(n::text, 4, '0'), $2::text::jsonb, 'online', true,
          now() + CASE WHEN n % 97 = 0 THEN interval '-20 min' ELSE interval '1 h' END, '0.1.0'
        FROM generate_series(1, $1) n
        """,
        servers,
        labels,
    )
    moments = """
      FROM server s CROSS JOIN generate_series(
        date_bin('60 s', now(), 'epoch') - interval '{minutes} minutes', now(), interval '60 s') m
    """
    for statement, minutes in (
        (
            "INSERT INTO cpu (time, server_id, usage_percent, load1_per_core) SELECT m, s.id,"
            " 40 + 30 * sin(s.id + extract(epoch FROM m) / 400), 0.4",
            35,
        ),
        (
            "INSERT INTO memory (time, server_id, used_percent) SELECT m, s.id,"
            " 50 + 30 * cos(s.id * 2 + extract(epoch FROM m) / 900)",
            35,
        ),
        (
            "INSERT INTO disk_usage (time, server_id, mount, used_percent)"
            " SELECT m, s.id, '/', s.id % 100",
            3,
        ),
        (
            "INSERT INTO network (time, server_id, interface, rx_bytes_per_s, tx_bytes_per_s)"
            " SELECT m, s.id, 'eth0', s.id * 900, s.id * 500",
            3,
        ),
    ):
        await connection.execute(statement + moments.format(minutes=minutes))
    await connection.execute(
        """
        INSERT INTO alert (rule_id, server_id, state, severity, value, fired_at, firing_number)
        SELECT r.id, s.id, 'firing', CASE WHEN s.id % 50 = 0 THEN 'critical' ELSE 'warning' END,
          90, now() - interval '9 minutes', 1
        FROM server s, alert_rule r WHERE r.name = 'cpu_usage' AND s.id % 25 = 0
        """
    )
    await roll_up(connection, since="1 hour")
    await connection.execute("ANALYZE")
