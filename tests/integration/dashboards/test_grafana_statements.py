"""Every statement of the Grafana dashboards is run as Grafana runs it, on both engines."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest

from migrations import run
from storage import catalog, engines, reader
from storage.database import connect
from storage.engines import rollup
from tests.integration.dashboards import grafana
from tests.integration.dashboards.filling import fill_raw, fill_rollup
from tests.postgres import COPYING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from storage.database import Connection

ASKED = list(grafana.statements())
OVER_TIME = [each for each in ASKED if "$__interval_ms" in each.sql]
BUDGET_S = 0.5
RAW = timedelta(minutes=80)
MINUTES = timedelta(hours=26)
HOURS = timedelta(days=30)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SERVERS = {"postgres": 6, "timescale": 2}
SUBJECT = 1
GIB = 1 << 30
TOTAL, FREE, BUFFERS, CACHED = 16 * GIB, 3 * GIB, GIB, 4 * GIB


async def seed(connection: Connection, servers: int) -> None:
    """Live for a month: samples of the last hour, minutes of a day, hours before; some trouble."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    engine = await engines.of(connection)
    await connection.execute(
        "INSERT INTO server (name, watch_offline, status, last_seen)"
        " SELECT 'server-' || n, true, 'online', now() FROM generate_series(1, $1::int) n",
        servers,
    )
    await connection.execute(
        "INSERT INTO family_interval (server_id, family, interval_s)"
        " SELECT id, 'cpu', 10 FROM server"
    )
    begin = (now - RAW).replace(minute=0)
    await engine.maintain(connection, now)
    for table in catalog.TABLES.values():
        async with connection.transaction():
            await fill_raw(connection, table, begin, now)
            late = {(table.name, n + 1, now) for n in range(servers)}
            await engine.note_late(connection, sorted(late))
        for tier, back in zip(rollup.TIERS, (MINUTES, HOURS), strict=True):
            oldest = (now - back).replace(minute=0)
            await fill_rollup(connection, table, tier, oldest, begin)
    await connection.execute(
        "UPDATE memory SET total_bytes = $1, free_bytes = $2, buffers_bytes = $3,"
        " cached_bytes = $4",
        TOTAL,
        FREE,
        BUFFERS,
        CACHED,
    )
    await engine.roll_up(connection)
    await connection.execute(
        "UPDATE process SET cpu_rank = pid + 1, memory_rank = 10 - pid, cpu_percent = 10 * pid"
    )
    # One is silent, one is in trouble that nobody looks after, one was.
    await connection.execute("UPDATE server SET last_seen = now() - interval '1 h' WHERE id = 2")
    alert_id = await connection.fetchval(
        "INSERT INTO alert (rule_id, server_id, labels, state, severity, fired_at)"
        " SELECT id, $1, '{\"mount\": \"/\"}', 'firing', 'critical', now() - interval '10 min'"
        " FROM alert_rule WHERE name = 'disk_usage' RETURNING id",
        SUBJECT,
    )
    await connection.execute(
        "INSERT INTO alert (rule_id, server_id, state, severity, fired_at, acknowledged_at,"
        " acknowledged_by) SELECT id, 1, 'firing', 'warning', now(), now(), 'ops'"
        " FROM alert_rule WHERE name = 'load'"
    )
    await connection.executemany(
        "INSERT INTO alert_history (time, alert_id, rule_name, server_id, labels, change, severity,"
        " from_state, to_state, firing_number) VALUES (now() - $1::interval, $2, 'disk_usage', $3,"
        " '{\"mount\": \"/\"}', $4, 'critical', $5, $6, 1)",
        [
            (timedelta(minutes=40), alert_id, SUBJECT, "fired", "pending", "firing"),
            (timedelta(minutes=30), alert_id, SUBJECT, "resolved", "firing", "resolved"),
            (timedelta(minutes=10), alert_id, SUBJECT, "fired", "pending", "firing"),
        ],
    )
    await connection.execute(
        "INSERT INTO event (time, server_id, kind, detail)"
        " VALUES (now() - interval '20 min', $1, 'boot', '{}')",
        SUBJECT,
    )
    await connection.execute("ANALYZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A database with a month in it, and how its reader logs in."""

    engine: str
    owner: str
    login: reader.Login
    logs_in: bool

    @asynccontextmanager
    async def as_reader(self) -> AsyncGenerator[asyncpg.Connection]:
        """Connect as the role of Grafana's data source."""
        dsn = self.login.dsn(self.owner) if self.logs_in else self.owner
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            if not self.logs_in:
                await connection.execute(f'SET ROLE "{self.login.role}"')
            yield connection
        finally:
            if not self.logs_in:
                await connection.execute("RESET ROLE")
            await connection.close(timeout=10)

    def view(self, back: timedelta, until: timedelta = timedelta(0)) -> grafana.View:
        """Look at a range of the subject, with everything chosen that there is to choose."""
        now = datetime.now(UTC)
        return grafana.View(
            start=now - back,
            end=now - until,
            timescaledb=self.engine == "timescale",
            variables=grafana.constants("server.json")
            | {
                "server": str(SUBJECT),
                "interface": ["eth0", "eth1"],
                "mount": ["/", "/data"],
            },
        )


@pytest.fixture(scope="module", params=["postgres", "timescale"])
def watched(request: pytest.FixtureRequest) -> Generator[Watched]:
    engine: str = request.param

    async def prepare(owner: str) -> reader.Login:
        connection = await connect(owner, "test", statement_timeout_s=120)
        await seed(connection, SERVERS[engine])
        login = await reader.ensure(connection)
        await connection.close()
        return login

    if engine == "timescale":
        timescale = request.getfixturevalue("timescale")
        with timescale.database("migrated", run.upgrade) as owner:
            login = asyncio.run(prepare(owner))
            logs_in = timescale.several_backends
            yield Watched(engine=engine, owner=owner, login=login, logs_in=logs_in)
        return
    template: str = request.getfixturevalue("template")
    base = template.rpartition("/")[0]
    name = f"test_{uuid.uuid4().hex[:12]}"

    async def administer(sql: str) -> None:
        connection = await asyncpg.connect(f"{base}/postgres")
        await connection.execute(sql)
        await connection.close()

    asyncio.run(administer(f"CREATE DATABASE {name} TEMPLATE template_hostpulse {COPYING}"))
    owner = f"{base}/{name}"
    yield Watched(engine=engine, owner=owner, login=asyncio.run(prepare(owner)), logs_in=True)
    asyncio.run(administer(f"DROP DATABASE {name} WITH (FORCE)"))


def test_every_panel_has_statements_and_nothing_is_asked_for_twice() -> None:
    for name in ("main.json", "server.json"):
        for panel in grafana.load(name)["panels"]:
            assert panel["type"] == "row" or panel["targets"], panel["title"]
    assert len(ASKED) == len({(each.board, each.where) for each in ASKED}) > 35


@pytest.mark.parametrize("asked", ASKED, ids=str)
async def test_the_reader_gets_rows_within_the_budget(
    asked: grafana.Asked, watched: Watched
) -> None:
    async with watched.as_reader() as connection:
        for back in (HOUR, DAY, HOURS):
            sql = grafana.expand(asked, watched.view(back))
            taken = []
            for _ in range(2):  # the first one fills the caches
                started = time.perf_counter()
                rows = await connection.fetch(sql)
                taken.append(time.perf_counter() - started)
            assert rows, f"nothing in {back}:\n{sql}"
            names = list(rows[0].keys())
            if asked.shape == "time_series":
                assert names[0] == "time"
                assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
                assert any(row[name] is not None for row in rows for name in names[1:])
            if watched.engine == "postgres":
                assert min(taken) < BUDGET_S, f"{min(taken):.2f} s for {back}:\n{sql}"


@pytest.mark.parametrize("asked", OVER_TIME, ids=str)
async def test_rows_are_read_from_one_tier_only(asked: grafana.Asked, watched: Watched) -> None:
    fleet = asked.board == "main"
    ranges = {
        "raw": (HOUR, timedelta(0)),
        "1m": (DAY, timedelta(hours=23 if fleet else 3)),
        "1h": (HOURS + DAY, timedelta(days=8)),
    }
    if fleet or asked.shortest_ms >= 60_000:  # never so short an interval
        del ranges["raw"]
    async with watched.as_reader() as connection:
        for tier, (back, until) in ranges.items():
            sql = grafana.expand(asked, watched.view(back, until))
            conditions = re.findall(r"WHERE (.+)\n +AND ", sql)
            held = [await connection.fetchval(f"SELECT {each}") for each in conditions]
            assert sum(held) == 1, sql
            if watched.engine == "timescale":
                continue  # names of chunks say nothing of their tier
            plan = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}"))
            assert set(read(plan[0]["Plan"])) == {tier}, sql


def read(node: dict) -> list[str]:
    """Return the tiers that rows came from."""
    found = [tier for child in node.get("Plans", []) for tier in read(child)]
    name = node.get("Relation Name")
    if name and node["Actual Rows"] * node["Actual Loops"] and not name.startswith("rollup_"):
        suffix = re.search(r"_(1m|1h)_", f"{name}_")
        found.append(suffix[1] if suffix else "raw")
    return found


async def test_an_old_range_is_answered_by_a_tier_that_still_has_it(watched: Watched) -> None:
    asked = next(each for each in OVER_TIME if each.where == "Load A")
    async with watched.as_reader() as connection:
        for days, at_most in ((10, 61), (29.5, 61), (31, 2)):
            back = timedelta(days=days)
            view = watched.view(back, back - HOUR)
            sql = grafana.expand(asked, view)
            conditions = re.findall(r"WHERE (.+)\n  AND t\.server_id", sql)
            chosen = [await connection.fetchval(f"SELECT {each}") for each in conditions]
            assert chosen == ([False, True, False] if days < 30 else [False, False, True])
            assert len(await connection.fetch(sql)) <= at_most


async def test_what_is_used_is_what_neither_free_nor_buffers_nor_cache_is(watched: Watched) -> None:
    asked = next(each for each in OVER_TIME if str(each) == "server: Memory A")
    async with watched.as_reader() as connection:
        rows = await connection.fetch(grafana.expand(asked, watched.view(HOUR)))

    assert list(rows[0].keys()) == ["time", "used", "buffers", "cached", "free"]  # from below
    assert rows[-1]["used"] == TOTAL - FREE - BUFFERS - CACHED
    assert sum(rows[-1][name] for name in ("used", "buffers", "cached", "free")) == TOTAL


async def test_programs_are_ordered_by_what_they_took(watched: Watched) -> None:
    asked = next(each for each in OVER_TIME if each.where == "Top 10 by CPU A")
    async with watched.as_reader() as connection:
        rows = await connection.fetch(grafana.expand(asked, watched.view(HOUR)))

    assert [(row["process"], row["average"]) for row in rows[:2]] == [("app9", 90), ("app8", 80)]


async def test_states_and_alerts_are_what_they_are(watched: Watched) -> None:
    by_name = {str(each): each for each in ASKED}
    view = watched.view(HOUR)
    async with watched.as_reader() as connection:

        async def ask(name: str) -> list[asyncpg.Record]:
            return await connection.fetch(grafana.expand(by_name[name], view))

        servers = await ask("main: Servers A")
        numbers = {
            name: (await ask(f"main: {name} A"))[0][0]
            for name in ("Well", "Offline", "Alerts firing", "Not acknowledged")
        }
        bands = await ask("server: annotation Alerts")

    states = {row["server"]: row["state"] for row in servers}
    assert states["server-1"] == "critical"
    assert states["server-2"] == "offline"
    assert numbers == {
        "Well": SERVERS[watched.engine] - 2,
        "Offline": 1,
        "Alerts firing": 2,
        "Not acknowledged": 1,
    }
    newest, older = bands
    assert newest["text"] == "disk_usage /"
    assert older["timeend"] - older["time"] == timedelta(minutes=10)
    assert newest["timeend"] - newest["time"] >= timedelta(minutes=10)


async def test_nothing_chosen_is_no_error(watched: Watched) -> None:
    view = watched.view(HOUR)
    nothing = {"server": "", "interface": [], "mount": []}
    empty = grafana.View(
        start=view.start,
        end=view.end,
        timescaledb=view.timescaledb,
        variables={**view.variables, **nothing},
    )
    async with watched.as_reader() as connection:
        for asked in ASKED:
            if asked.board == "server" and asked.where != "$server":
                assert await connection.fetch(grafana.expand(asked, empty)) == [], asked
