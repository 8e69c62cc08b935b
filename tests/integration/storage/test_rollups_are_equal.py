from __future__ import annotations

import math
import random

import pytest

from storage import catalog, engines

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


@pytest.mark.timeout(240)
async def test_a_hard_week_is_rolled_up_as_python_does_it(connection, rows):
    await connection.execute("SET timezone = 'America/New_York'")
    engine = await engines.of(connection)
    await engine.maintain(connection, week.END)
    chance = random.Random(3)
    hours = sorted({row[0].replace(minute=0, second=0, microsecond=0) for row in rows["cpu"]})
    late = set(chance.sample(hours, 20))

    def part(*, is_late: bool):
        return {
            table: [
                row
                for row in stored
                if (row[0].replace(minute=0, second=0, microsecond=0) in late) == is_late
            ]
            for table, stored in rows.items()
        }

    await load(connection, part(is_late=False))
    await engine.roll_up(connection)
    await load(connection, part(is_late=True))
    await engine.roll_up(connection)

    await compare(connection, rows)
