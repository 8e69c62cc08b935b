"""What is no metric goes when its time is over, in pieces."""

from __future__ import annotations

import pytest

from storage import expiry

# What makes a row of each table, aged by the interval in $1.
ROWS = {
    "event": "INSERT INTO event (time, server_id, kind) VALUES (now() - $1::interval, 1, 'boot')",
    "audit": (
        "INSERT INTO audit (time, actor, action, allowed)"
        " VALUES (now() - $1::interval, 'a', 'b.c', true)"
    ),
    "alert_history": (
        "INSERT INTO alert_history (time, alert_id, rule_name, labels, change, from_state,"
        " to_state, firing_number) VALUES (now() - $1::interval, 1, 'r', '{}', 'fired', 'ok',"
        " 'firing', 1)"
    ),
    "late_firing": (
        "INSERT INTO late_firing (learned_at, rule_name, server_id, labels, severity, fired_at)"
        " VALUES (now() - $1::interval, 'r', 1, '{}', 'warning', clock_timestamp())"
    ),
    "silence": (
        "INSERT INTO silence (starts_at, ends_at, author, reason) VALUES"
        " (now() - $1::interval - interval '1 h', now() - $1::interval, 'a', 'b')"
    ),
    "notification": (
        "INSERT INTO notification (created_at, alert_id, channel, kind, dedup_key, payload,"
        " next_attempt_at) VALUES (now() - $1::interval, 1, 'c', 'fired',"
        " gen_random_uuid()::text, '{}', now())"
    ),
    "posted_message": (
        "INSERT INTO posted_message (channel, thread, place, posted_at)"
        " VALUES ('c', gen_random_uuid()::text, '{}', now() - $1::interval)"
    ),
    "dead_letter": (
        "INSERT INTO dead_letter (parked_at, server_id, epoch, seq, batch, error)"
        " VALUES (now() - $1::interval, 1, 1, 1, '', 'e')"
    ),
    "ingest_gap": (
        "INSERT INTO ingest_gap (recorded_at, server_id, epoch, seqs, reason)"
        " VALUES (now() - $1::interval, 1, 1, '{[1,2)}', 'spool_full')"
    ),
    "enrollment": (
        "INSERT INTO enrollment (token_id, server_name, machine_id, fingerprint, agent_version,"
        " state, asked_at) VALUES (1, gen_random_uuid()::text, 'm', 'f', '1', 'denied',"
        " now() - $1::interval)"
    ),
    "late_arrival": (
        "INSERT INTO late_arrival (learned_at, evaluated_at, server_id, from_time, to_time)"
        " VALUES (now() - $1::interval, now(), 1, now(), now())"
    ),
    "http_request": (
        "INSERT INTO http_request (received_at, server_id, idempotency_key, body_sha256, status,"
        " response) VALUES (now() - $1::interval, 1, gen_random_uuid()::text, '', 202, '{}')"
    ),
}


async def count(connection, table: str) -> int:
    return await connection.fetchval(f"SELECT count(*) FROM {table}")


@pytest.mark.parametrize("table", ROWS)
async def test_what_is_too_old_goes_and_what_is_not_stays(connection, table):
    (kept,) = [each for each in expiry.KEPT if each.table == table]
    before = await count(connection, table)
    for _ in range(7):
        await connection.execute(ROWS[table], kept.age * 1.01)
    await connection.execute(ROWS[table], kept.age * 0.99)

    gone = await expiry.expire(connection, piece_rows=3)

    assert gone == {table: 7}
    assert await count(connection, table) == before + 1


async def test_a_table_that_takes_too_long_is_gone_on_with_at_the_next_call(connection):
    for _ in range(5):
        await connection.execute(ROWS["event"], expiry.YEAR * 2)
    clock = iter(n * expiry.TABLE_MAX_S for n in range(100))

    first = await expiry.expire(connection, piece_rows=3, monotonic=lambda: next(clock))
    rest = await expiry.expire(connection, piece_rows=3)

    assert (first, rest) == ({"event": 3}, {"event": 2})


async def test_a_silence_that_was_ended_early_goes_a_year_after_that(connection):
    await connection.execute(
        "INSERT INTO silence (starts_at, ends_at, ended_at, ended_by, author, reason) VALUES"
        " (now() - interval '3 years', now() + interval '9 years', now() - interval '2 years',"
        " 'x', 'a', 'b')"
    )

    assert await expiry.expire(connection) == {"silence": 1}


async def test_attempts_go_with_their_notification(connection):
    await connection.execute(ROWS["notification"], expiry.YEAR)
    await connection.execute(
        "INSERT INTO notification_attempt (notification_id, attempt, outcome)"
        " SELECT id, 1, 'sent' FROM notification"
    )

    await expiry.expire(connection)

    assert await count(connection, "notification_attempt") == 0


def test_every_table_that_expires_is_tested():
    assert set(ROWS) == {kept.table for kept in expiry.KEPT}
