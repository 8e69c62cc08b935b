from __future__ import annotations

import math
import random

import pytest

from storage import catalog, engines
from storage.database import connect as open_connection

from . import week


@pytest.fixture(scope="module")
def rows():
    return week.samples()


async def load(connection, rows: dict[str, list[tuple]]) -> None:
    """Store as the gateway does: COPY, and word of what is late, in one transaction."""
    engine = await engines.of(connection)
    async with connection.transaction():
        for table, stored in rows.items():
            await connection.copy_records_to_table(
                table, records=stored, columns=catalog.TABLES[table].columns
            )
        late = {(t, row[1], row[0].replace(minute=0)) for t, s in rows.items() for row in s}
        await engine.note_late(connection, sorted(late))


def close(found, wanted) -> bool:
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(close, found, wanted))
    if isinstance(wanted, float) and isinstance(found, int | float):
        return math.isclose(found, wanted, rel_tol=1e-5, abs_tol=1e-9)
    return found == wanted


async def compare(connection, rows, since=week.BEGIN, until=week.END) -> None:
    """Compare every tier of every table with the reference, column by column."""
    for table in catalog.TABLES.values():
        for tier in week.TIERS:
            wanted = week.expected(rows, table, tier)
            found = {}
            for record in await connection.fetch(
                f"SELECT * FROM {table.name}_{tier} WHERE time >= $1 AND time < $2", since, until
            ):
                sample = dict(record)
                group = (sample["time"], sample["server_id"], *week.key(table, sample))
                assert group not in found, f"{table.name}_{tier} has {group} twice"
                found[group] = sample
            assert found.keys() == wanted.keys(), f"{table.name}_{tier}"
            for group, columns in wanted.items():
                for column, value in columns.items():
                    assert close(found[group][column], value), (
                        f"{table.name}_{tier} {group} {column}:"
                        f" {found[group][column]} instead of {value}"
                    )


def split(rows) -> tuple[dict[str, list[tuple]], dict[str, list[tuple]]]:
    """Return the samples that come in time, and those of twenty hours that come late."""
    hours = sorted({hour_of(row) for row in rows["cpu"]})
    late = set(random.Random(3).sample(hours, 20))
    return (
        {table: [r for r in stored if hour_of(r) not in late] for table, stored in rows.items()},
        {table: [r for r in stored if hour_of(r) in late] for table, stored in rows.items()},
    )


def hour_of(row: tuple):
    return row[0].replace(minute=0, second=0, microsecond=0)


@pytest.mark.timeout(240)
async def test_plain_postgresql_rolls_a_hard_week_up_as_python_does(connection, rows):
    await connection.execute("SET timezone = 'America/New_York'")
    engine = await engines.of(connection)
    await engine.maintain(connection, week.END)
    in_time, late = split(rows)

    await load(connection, in_time)
    await engine.roll_up(connection)
    await load(connection, late)
    await engine.roll_up(connection)

    await compare(connection, rows)


@pytest.mark.timeout(400)
async def test_timescaledb_rolls_a_hard_week_up_as_python_does(timescale_migrated, rows):
    """Half of the week is refreshed, and half is answered from raw samples in real time."""
    connection = await open_connection(timescale_migrated, "test", statement_timeout_s=300)
    await connection.execute("SET timezone = 'America/New_York'")
    engine = await engines.of(connection)
    assert engine.name == "timescale"
    in_time, late = split(rows)

    await load(connection, in_time)
    await refresh(connection)
    await load(connection, late)
    await refresh(connection)

    await compare(connection, rows)
    await connection.close()


async def refresh(connection) -> None:
    """Do what the refresh policies do, up to the middle of the week."""
    for table in catalog.TABLES:
        for tier in week.TIERS:
            await connection.execute(
                f"CALL refresh_continuous_aggregate('hostpulse_internal.{table}_{tier}_rollup',"
                " '2026-10-20', '2026-10-30')"
            )
