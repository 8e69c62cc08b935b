"""A simulation: workers die between any two statements, and nothing is lost, doubled or made up.

Time is the database's, and a table says what it is. In each tick samples come, some of them late,
somebody edits the rule or acknowledges; then two workers try at once and die at a statement drawn
at random, and a third one finishes what they left. The outbox dies in the same way between taking
a message, sending it and writing down that it was sent. A slow oracle says what must come of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from cryptography.fernet import Fernet

from alerting import acknowledging, channels, cycle, records, work
from alerting.outbox import Outbox
from hostpulse import backoff, errors
from storage import database as storage_database
from storage import secrets
from tests.integration.alerting import story

SEEDS = [0, 28, 56]  # of many, those in which most happens
STATEMENTS = {"fetch", "fetchrow", "fetchval", "execute", "executemany", "copy_records_to_table"}
DEATHS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    work.LeaseLost,
)
AT_ONCE = backoff.BackoffPolicy(initial_s=0, maximum_s=0, minimum_s=0)
# Found before pg_catalog's: the database's time is what the table says.
CLOCK = """
    CREATE SCHEMA sim;
    CREATE TABLE sim.clock AS SELECT $1::timestamptz AS time;
    CREATE FUNCTION sim.now() RETURNS timestamptz STABLE LANGUAGE sql
      RETURN (SELECT time FROM sim.clock);
    CREATE FUNCTION sim.clock_timestamp() RETURNS timestamptz STABLE LANGUAGE sql
      RETURN (SELECT time FROM sim.clock);
"""


class Life:
    """So many statements, and the server ends the session; None: for ever."""

    def __init__(self, killer, statements: int | None) -> None:
        self._killer = killer
        self._left = statements
        self._lock = asyncio.Lock()

    @property
    def is_mortal(self) -> bool:
        return self._left is not None

    async def spend(self, connection) -> None:
        if self._left is None:
            return
        self._left -= 1
        if self._left < 0:
            async with self._killer.lock:
                pid = connection.get_server_pid()
                await self._killer.connection.execute("SELECT pg_terminate_backend($1, 2000)", pid)


class Killer:
    def __init__(self, connection) -> None:
        self.connection = connection
        self.lock = asyncio.Lock()


class Mortal:
    """A connection that spends a life on each statement, and on each COMMIT."""

    def __init__(self, connection, life: Life) -> None:
        self._connection = connection
        self._life = life

    def __getattr__(self, name: str):
        given = getattr(self._connection, name)
        if name not in STATEMENTS:
            return given

        async def statement(*arguments, **options):
            await self._life.spend(self._connection)
            return await given(*arguments, **options)

        return statement

    @contextlib.asynccontextmanager
    async def transaction(self, **options):
        async with self._connection.transaction(**options):
            yield
            await self._life.spend(self._connection)


class MortalPool:
    """Opens a connection for each who asks, all of one life."""

    def __init__(self, dsn: str, life: Life) -> None:
        self._dsn = dsn
        self._life = life

    @contextlib.asynccontextmanager
    async def acquire(self, *, timeout: float):
        connection = await storage_database.connect(self._dsn, "mortal")
        try:
            yield Mortal(connection, self._life)
        finally:
            connection.terminate()


class Phone:
    """Takes messages; now and then it is busy, after it has taken one."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.got: list[tuple[str, str]] = []

    def of(self, channel: channels.Channel):
        phone = self

        class Line:
            name = channel.name

            async def send(self, notification) -> None:
                phone.got.append((channel.name, notification.dedup_key))
                if phone._chance.random() < 0.1:
                    raise errors.Retryable("busy")

        return Line()


class Stage:
    """A house whose time stands still between ticks."""

    def __init__(self, house, server_id: int, seed: int) -> None:
        self.house = house
        self.server_id = server_id
        self.chance = random.Random(seed)
        self.phone = Phone(self.chance)
        self.killer = Killer(house.connection)

    async def arrange(self, n: int, tick: story.Tick, *, edited: bool) -> None:
        """Let happen what happens before the workers look."""
        connection = self.house.connection
        await connection.execute("UPDATE sim.clock SET time = time + make_interval(secs => 10)")
        await connection.execute("UPDATE server SET last_seen = now()")
        await self.house.add_cpu(
            self.server_id, [(story.TICK_S * (n - at), v) for at, v in tick.arriving.items()]
        )
        if edited:
            await self.house.set_rule(
                "cpu_usage",
                levels=[
                    {"severity": severity, "threshold": threshold, "for_s": for_s}
                    for severity, (threshold, for_s) in tick.edition.levels.items()
                ],
                recovery_threshold=tick.edition.recovery,
                enabled=tick.edition.enabled,
                server_selector={"names": list(tick.edition.names)},
            )
        if tick.acknowledged:
            alert = await connection.fetchval("SELECT id FROM alert WHERE severity IS NOT NULL")
            if alert is not None:
                await acknowledging.acknowledge(connection, alert, who="ann")
        await connection.execute("UPDATE alert_work SET due_at = now()")

    async def evaluate(self, statements: int | None) -> None:
        """Let one worker take what is due and do it, or die."""
        life = Life(self.killer, statements)
        async with MortalPool(self.house.dsn, life).acquire(timeout=5) as mortal:
            try:
                taken = await work.take(mortal, uuid.uuid4(), interval_s=10)
                if taken is not None:
                    long_ago = datetime.now(UTC) - timedelta(days=1)
                    await cycle.run(mortal, work=taken, database_started_at=long_ago)
            except DEATHS:
                assert life.is_mortal

    async def expire_leases(self) -> None:
        ago = "now() - interval '1 ms'"
        for table in ("alert_work", "notification"):
            await self.house.connection.execute(
                f"UPDATE {table} SET leased_until = {ago} WHERE leased_until IS NOT NULL"
            )

    async def send(self, statements: int | None) -> None:
        """Let the outbox send, or die."""
        life = Life(self.killer, statements)
        box = secrets.SecretBox(Fernet.generate_key().decode())
        outbox = Outbox(
            MortalPool(self.house.dsn, life),
            opener=channels.ChannelOpener(box=box, environment={}),
            notifiers={"phone": self.phone.of},
            stop=asyncio.Event(),
            retry=AT_ONCE,
        )
        try:
            for channel in ("ops", "boss"):
                await outbox.drain(channel)
        except DEATHS:
            assert life.is_mortal


@pytest.fixture
async def set_stage(house):
    """Arrange a house with a clock of its own; `set_stage(seed)`."""
    start = datetime.now(UTC).replace(microsecond=0)
    name = house.dsn.rpartition("/")[2].partition("?")[0]
    for statement in CLOCK.replace("$1", f"'{start.isoformat()}'").split(";")[:-1]:
        await house.connection.execute(statement)
    path = "sim, pg_catalog, public"
    await house.connection.execute(f"ALTER DATABASE {name} SET search_path = {path}")
    await house.connection.execute(f"SET search_path = {path}")

    async def run(seed: int) -> Stage:
        await house.only("cpu_usage")
        await house.set_rule(
            "cpu_usage",
            repeat_interval_s=story.REPEAT_S,
            channels=["ops"],
            escalate_channels=["boss"],
            escalate_after_s=story.ESCALATE_S,
        )
        await house.connection.execute(
            "INSERT INTO channel (name, kind) VALUES ('ops', 'phone'), ('boss', 'phone')"
        )
        server_id = await house.add_server("web", interval_s=story.TICK_S)
        await work.prepare(house.connection)
        key = work.key_of("cpu.usage_percent")
        await house.connection.execute("DELETE FROM alert_work WHERE key <> $1", key)
        long_ago = start - timedelta(hours=1)
        beat = records.Heartbeat(time=start, heard_since=long_ago, stalled=False)
        await records.save_heartbeat(house.connection, beat, f"{records.HEARTBEAT} {key}")
        return Stage(house, server_id, seed)

    return run


def test_the_stories_are_worth_playing():
    stories = [story.draw(seed) for seed in SEEDS]

    told = [each for ticks in stories for each in story.oracle(ticks)]
    assert {each.change for each in told} == {
        *("fired", "severity_changed", "repeated", "escalated", "resolved", "withdrawn"),
    }
    assert {each.channels for each in told} == {("ops",), ("boss",), ("boss", "ops")}
    for ticks in stories:
        assert any(min(tick.arriving, default=n) < n for n, tick in enumerate(ticks))


@pytest.mark.parametrize("seed", SEEDS)
async def test_killed_workers_change_nothing_of_what_is_decided_and_told(set_stage, seed):
    stage = await set_stage(seed)
    connection, chance = stage.house.connection, stage.chance
    start = await connection.fetchval("SELECT now()") + timedelta(seconds=story.TICK_S)
    ticks = story.draw(seed)

    edition = None
    for n, tick in enumerate(ticks):
        await stage.arrange(n, tick, edited=tick.edition != edition)
        edition = tick.edition
        await asyncio.gather(*(stage.evaluate(chance.randrange(24)) for _ in range(2)))
        await stage.expire_leases()
        await stage.evaluate(None)
        await stage.send(chance.randrange(16))
        await stage.expire_leases()
    await stage.send(None)

    def tick_of(moment: datetime) -> int:
        return round((moment - start).total_seconds() / story.TICK_S)

    expected = story.oracle(ticks)
    decided = await connection.fetch(
        "SELECT time, change, severity, firing_number, detail ->> 'decision' AS decision,"
        " detail -> 'notified' AS notified FROM alert_history"
        " WHERE detail ? 'decision' ORDER BY id"
    )
    assert [
        story.Told(tick_of(row["time"]), row["change"], row["severity"], tuple(row["notified"]))
        for row in decided
    ] == expected
    assert {row["decision"] for row in decided} == {"told"}

    rows = await connection.fetch(
        "SELECT created_at, kind, channel, dedup_key, state FROM notification ORDER BY id"
    )
    assert sorted((tick_of(row["created_at"]), row["kind"], row["channel"]) for row in rows) == (
        sorted((each.tick, each.change, channel) for each in expected for channel in each.channels)
    )
    # One key for a change, whichever channel hears of it; and of no other change.
    keys = {(row["created_at"], row["kind"]): row["dedup_key"] for row in rows}
    assert {(row["created_at"], row["kind"], row["dedup_key"]) for row in rows} == {
        (*change, key) for change, key in keys.items()
    }
    assert len(set(keys.values())) == len(keys) == len(expected)
    assert {row["state"] for row in rows} == {"sent"}
    assert set(stage.phone.got) == {(row["channel"], row["dedup_key"]) for row in rows}
    assert len(stage.phone.got) > len(rows)  # some were sent again, with the same key
