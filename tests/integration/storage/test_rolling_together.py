"""How finished minutes lie on plain PostgreSQL: those of a server together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from storage import engines
from storage.engines import rolling

STORED = "hostpulse_internal.cpu_1m_rollup"


async def put(connection) -> datetime:
    """Store 41 minutes of samples of three servers; return the last one's."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    begin = now - timedelta(minutes=40)
    await connection.execute(
        "UPDATE hostpulse_internal.rollup_state SET watermark = $1", begin.replace(minute=0)
    )
    await connection.execute(
        "INSERT INTO cpu (time, server_id, usage_percent)"
        " SELECT t, s, 50 FROM generate_series($1::timestamptz, $2, INTERVAL '20 s') t,"
        " generate_series(1, 3) s",
        begin,
        now,
    )
    return now


async def test_minutes_are_finished_five_at_a_time_and_the_rest_is_answered_all_the_same(
    connection,
):
    engine = await engines.of(connection)
    now = await put(connection)
    await engine.roll_up(connection)

    finished = await connection.fetchval(f"SELECT max(time) FROM {STORED}")
    watermark = await connection.fetchval(
        "SELECT watermark FROM hostpulse_internal.rollup_state WHERE name = 'cpu_1m'"
    )
    assert watermark.minute % 5 == 0
    assert finished == watermark - timedelta(minutes=1)
    assert datetime.now(UTC) - watermark < timedelta(minutes=5) + rolling.SETTLED
    assert await engine.rollup_lag_s(connection) <= rolling.SETTLED.total_seconds()
    assert await connection.fetchval("SELECT max(time) FROM cpu_1m") == now
    assert await connection.fetchval("SELECT count(*) FROM cpu_1m") == 3 * 41


async def test_the_minutes_of_a_server_lie_side_by_side(connection):
    engine = await engines.of(connection)
    await put(connection)
    await engine.roll_up(connection)

    rows = await connection.fetch(f"SELECT server_id, time FROM {STORED} ORDER BY tableoid, ctid")

    places = [(row["server_id"], row["time"]) for row in rows]
    assert places == sorted(places)
