"""Whatever TimescaleDB the tests run on, each test gets a database of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

if TYPE_CHECKING:
    from tests.timescale.fixtures import Timescale


def ask(dsn: str, sql: str) -> list[Any]:
    """Run one statement on a connection of its own; returns the first column."""

    async def fetch() -> list[Any]:
        connection = await asyncpg.connect(dsn)
        try:
            return [row[0] for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    return asyncio.run(fetch())


def test_an_empty_one_has_the_extension_and_no_table(timescale: Timescale):
    for _ in range(2):
        with timescale.database() as dsn:
            extensions = ask(dsn, "SELECT extname FROM pg_extension ORDER BY 1")
            assert extensions == ["plpgsql", "timescaledb"]
            assert ask(dsn, "SELECT to_regclass('left_behind') IS NULL") == [True]
            ask(dsn, "CREATE TABLE left_behind ()")


def test_a_template_is_prepared_once_and_copied_with_its_jobs(timescale: Timescale):
    prepared: list[str] = []

    def prepare(dsn: str) -> None:
        prepared.append(dsn)
        ask(dsn, "CREATE TABLE reading (time timestamptz NOT NULL)")
        ask(dsn, "SELECT create_hypertable('reading', by_range('time'))::text")
        ask(dsn, "INSERT INTO reading VALUES ('2026-03-01'), ('2026-03-20')")
        ask(dsn, "SELECT add_retention_policy('reading', INTERVAL '1 day')")

    for _ in range(2):
        with timescale.database("with a job", prepare) as dsn:
            assert ask(dsn, "SELECT count(*) FROM reading") == [2]
            job, *others = ask(
                dsn, "SELECT job_id FROM timescaledb_information.jobs WHERE job_id >= 1000"
            )
            assert not others
            scheduled = f"SELECT scheduled FROM timescaledb_information.jobs WHERE job_id = {job}"
            assert ask(dsn, scheduled) == [True]
            ask(dsn, f"CALL run_job({job})")
            assert ask(dsn, "SELECT count(*) FROM reading") == [0]
    assert len(prepared) == 1


def test_a_template_that_nobody_can_prepare_is_an_error(timescale: Timescale):
    with pytest.raises(ValueError, match="say how to prepare"), timescale.database("unheard of"):
        pass
