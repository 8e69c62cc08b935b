"""Any number of workers: leases, takeovers, and what a loss of many servers is called."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from alerting import cycle, work, worker
from storage import database as storage_database

RULE = [{"severity": "warning", "threshold": 80, "for_s": 30}]
BREACH = [(1.0 + 10 * n, 90.0) for n in range(4)]


@pytest.fixture
async def breaching(house):
    await house.only("cpu_usage", "agent_offline")
    await house.set_rule("cpu_usage", levels=RULE)
    await house.connection.execute("INSERT INTO channel (name, kind) VALUES ('ops', 'email')")
    for name in ("a", "b", "c"):
        await house.add_cpu(await house.add_server(name), BREACH)
    await work.prepare(house.connection)
    return house


async def test_each_piece_is_leased_once_and_due_again_after_an_interval(breaching):
    connection = breaching.connection
    ids = [uuid.uuid4(), uuid.uuid4()]
    taken = []
    while (one := await work.take(connection, ids[len(taken) % 2], interval_s=10)) is not None:
        taken.append(one)
    for each in taken:
        await each.finish(connection, rules=1, findings=0)

    due = await connection.fetch("SELECT due_at > now() AS later, leased_until FROM alert_work")
    assert len({each.key for each in taken}) == len(taken) == len(due)
    assert work.LIVENESS in {each.key for each in taken}
    assert {(row["later"], row["leased_until"]) for row in due} == {(True, None)}


async def test_a_dead_workers_lease_is_taken_over_and_the_dead_can_store_nothing(breaching):
    connection = breaching.connection
    key = work.key_of("cpu.usage_percent")
    await connection.execute("DELETE FROM alert_work WHERE key <> $1", key)
    dead = await work.take(connection, uuid.uuid4(), interval_s=10)
    before = await work.take(connection, uuid.uuid4(), interval_s=10)
    await connection.execute("UPDATE alert_work SET leased_until = now() - interval '1 ms'")
    heir = await work.take(connection, uuid.uuid4(), interval_s=10)

    with pytest.raises(work.LeaseLost):
        await cycle.run(connection, work=dead)
    nothing = await breaching.changes()
    await cycle.run(connection, work=heir)

    assert before is None
    assert nothing == []
    assert await breaching.changes() == ["fired"] * 3


async def test_three_workers_at_once_decide_each_change_once(breaching):
    async with storage_database.open_pool(
        breaching.dsn, "workers", max_size=3, statement_timeout_s=10
    ) as pool:
        workers = [worker.Worker(pool, interval_s=10, stop=asyncio.Event()) for _ in range(3)]
        for _ in range(4):
            await asyncio.gather(*(each.run_once() for each in workers))
            await breaching.connection.execute("UPDATE alert_work SET due_at = now()")
        for _ in range(4):
            await asyncio.gather(*(each.run_once() for each in workers))

    assert await breaching.changes() == ["fired"] * 3
    assert await breaching.notifications() == [("fired", "pending")]


@pytest.mark.parametrize(
    ("silent", "expected"),
    [
        pytest.param([40, 41, 42], [None], id="a fifth of fifteen within a minute"),
        pytest.param([70, 400, 800], ["s0", "s1", "s2"], id="three, but one by one"),
        pytest.param([70, 71], ["s0", "s1"], id="too few to blame anything else"),
        pytest.param([20, 21, 22], [], id="not silent for long enough"),
    ],
)
async def test_many_at_once_are_one_alert_about_the_gateway(house, silent, expected):
    await house.only("agent_offline")
    await house.listen_since()
    for n in range(15):
        await house.add_server(f"s{n}")
    for n, ago in enumerate(silent):
        await house.connection.execute(
            "UPDATE server SET last_seen = now() - make_interval(secs => $2) WHERE name = $1",
            f"s{n}",
            float(ago),
        )

    await house.cycle()

    assert [(s, state) for _, s, state, _ in await house.alerts()] == [
        (server, "firing") for server in expected
    ]


async def test_after_a_loss_those_that_stay_away_are_judged_one_by_one(house):
    await house.only("agent_offline")
    await house.listen_since()
    for n in range(15):
        await house.add_server(f"s{n}")
    await house.connection.execute(
        "UPDATE server SET last_seen = now() - interval '100 s' WHERE name IN ('s0', 's1', 's2')"
    )
    await house.cycle()
    await house.connection.execute("UPDATE server SET last_seen = now() WHERE name <> 's0'")
    await house.cycle()
    at_once = await house.alerts()
    await house.listen_since()

    await house.cycle()

    assert [(server, state) for _, server, state, _ in at_once] == [(None, "resolved")]
    assert ("agent_offline", "s0", "firing", "critical") in await house.alerts()


@pytest.mark.parametrize(
    ("server", "event", "cause"),
    [
        pytest.param("status = 'stopped', status_reason = 'shutdown'", None, "shutdown", id="bye"),
        pytest.param("status = 'stopped', status_reason = 'reboot'", None, "reboot", id="reboot"),
        pytest.param("last_seen = now()", "boot", "reboot", id="a new boot id"),
        pytest.param("last_seen = now() - interval '50 s'", None, "stream_lost", id="not heard"),
        pytest.param("last_seen = now()", None, "no_samples", id="heard without samples"),
    ],
)
async def test_missing_samples_have_a_cause(house, server, event, cause):
    server_id = await house.add_server("web")
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", levels=RULE)
    await house.add_cpu(server_id, BREACH)
    await house.cycle()
    await house.listen_since()
    await house.connection.execute("UPDATE cpu SET time = time - interval '2 minutes'")
    await house.connection.execute(f"UPDATE server SET {server}")
    if event:
        await house.connection.execute(
            "INSERT INTO event (server_id, kind) VALUES ($1, $2)", server_id, event
        )

    await house.cycle()

    row = await house.connection.fetchrow("SELECT state, cause FROM alert")
    detail = await house.connection.fetchval(
        "SELECT detail ->> 'cause' FROM alert_history WHERE change = 'no_data'"
    )
    assert (row["state"], row["cause"], detail) == ("no_data", cause, cause)
