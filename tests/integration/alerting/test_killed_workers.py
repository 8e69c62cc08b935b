"""A simulation: workers die between any two statements, and nothing is lost, doubled or made up.

A slow oracle says from the whole series what should have happened. After each sample several
workers try in turn; each but the last loses its connection at a statement drawn at random.
"""

from __future__ import annotations

import random
import uuid

import asyncpg
import pytest

from alerting import cycle, work
from storage import database as storage_database

TICK_S = 10.0
FOR_S = 30.0
LIMIT, RECOVERY = 80.0, 70.0
FIRINGS_BEFORE_HELD = 3  # the third within half an hour is held firing
STATEMENTS = {"fetch", "fetchrow", "fetchval", "execute", "executemany", "copy_records_to_table"}


class Mortal:
    """A connection whose session is ended by the server after so many statements."""

    def __init__(self, connection, killer, lives: int) -> None:
        self._connection = connection
        self._killer = killer
        self._lives = lives

    def __getattr__(self, name: str):
        given = getattr(self._connection, name)
        if name not in STATEMENTS:
            return given

        async def statement(*arguments, **options):
            self._lives -= 1
            if self._lives < 0:
                pid = self._connection.get_server_pid()
                await self._killer.execute("SELECT pg_terminate_backend($1, 2000)", pid)
            return await given(*arguments, **options)

        return statement


def oracle(values: list[float]) -> list[str]:
    """Say what happens, by looking back over the whole series at each sample."""
    changes, fired, is_open = [], 0, False
    for index, value in enumerate(values):
        run = 0
        while run <= index and values[index - run] > LIMIT:
            run += 1
        if not is_open and run and (run - 1) * TICK_S >= FOR_S:
            is_open, fired = True, fired + 1
            changes.append("fired")
        elif is_open and value <= RECOVERY and fired < FIRINGS_BEFORE_HELD:
            is_open = False
            changes.append("resolved")
    return changes


async def attempt(house, draw: random.Random, lives: int | None) -> None:
    """Let one worker take what is due and do it, or die."""
    connection = await storage_database.connect(house.dsn, "mortal")
    mortal = connection if lives is None else Mortal(connection, house.connection, lives)
    try:
        taken = await work.take(mortal, uuid.uuid4(), interval_s=10)
        if taken is not None:
            await cycle.run(mortal, work=taken)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        assert lives is not None
    finally:
        connection.terminate()
    await house.connection.execute(
        "UPDATE alert_work SET leased_until = now() - interval '1 ms' WHERE worker IS NOT NULL"
    )


@pytest.mark.parametrize("seed", [1, 6, 9])  # series that do something
async def test_killed_workers_change_nothing_of_what_is_decided_and_told(house, seed):
    draw = random.Random(seed)
    await house.only("cpu_usage")
    await house.set_rule(
        "cpu_usage",
        levels=[{"severity": "warning", "threshold": LIMIT, "for_s": FOR_S}],
        recovery_threshold=RECOVERY,
    )
    await house.connection.execute("INSERT INTO channel (name, kind) VALUES ('ops', 'email')")
    server_id = await house.add_server("web", interval_s=TICK_S)
    await house.listen_since()
    await work.prepare(house.connection)
    key = work.key_of("cpu.usage_percent")
    await house.connection.execute("DELETE FROM alert_work WHERE key <> $1", key)
    values, value = [], 60.0
    for _ in range(28):
        value = draw.choice([60.0, 75.0, 90.0]) if draw.random() < 0.3 else value
        values.append(value)
        await house.connection.execute("UPDATE cpu SET time = time - make_interval(secs => 10)")
        await house.add_cpu(server_id, [(1.0, value)])
        await house.connection.execute("UPDATE alert_work SET due_at = now()")
        for lives in (draw.randrange(16), draw.randrange(16), None):
            await attempt(house, draw, lives)

    told = await house.connection.fetch(
        "SELECT change, detail ->> 'decision' AS decision FROM alert_history"
        " WHERE change IN ('fired', 'resolved') ORDER BY id"
    )
    sent = await house.connection.fetch("SELECT kind, dedup_key FROM notification ORDER BY id")
    assert [row["change"] for row in told] == oracle(values)
    assert {row["decision"] for row in told} <= {"told"}
    assert [row["kind"] for row in sent] == oracle(values)
    assert len({row["dedup_key"] for row in sent}) == len(sent)
