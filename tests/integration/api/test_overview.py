from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from storage import keys
from tests.system import seed


async def add_server(connection, name: str, **columns) -> int:
    return await connection.fetchval(
        "INSERT INTO server (name, watch_offline, status, last_seen) VALUES ($1, true, $2, $3)"
        " RETURNING id",
        name,
        columns.get("status", "online"),
        columns.get("last_seen", datetime.now(UTC)),
    )


async def add_alert(connection, server_id: int, rule: str, severity: str, **columns) -> int:
    return await connection.fetchval(
        """
        INSERT INTO alert (rule_id, server_id, labels, state, severity, value, fired_at,
                           firing_number, acknowledged_at, acknowledged_by)
        SELECT id, $2, $3, 'firing', $4, $5, now(), 1, $6, $7 FROM alert_rule WHERE name = $1
        RETURNING id
        """,
        rule,
        server_id,
        columns.get("labels", {}),
        severity,
        columns.get("value"),
        datetime.now(UTC) if columns.get("by") else None,
        columns.get("by"),
    )


async def overview(api) -> dict:
    answer = await api.client.get("/api/v1/overview")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_empty_database_is_an_empty_fleet(api):
    found = await overview(api)

    assert found["servers"] == []
    assert found["alerts"] == []
    assert found["fleet"]["servers"] == 0
    assert found["fleet"]["cpu"] is None


async def test_each_server_has_its_newest_values(api, connection):
    server_id = await add_server(connection, "web-1")
    now = datetime.now(UTC)
    for age, value in ((20, 11), (5, 42)):
        moment = now - timedelta(seconds=age)
        await connection.execute(
            "INSERT INTO cpu (time, server_id, usage_percent) VALUES ($1, $2, $3)",
            *(moment, server_id, value),
        )
        await connection.execute(
            "INSERT INTO network (time, server_id, interface, rx_bytes_per_s, tx_bytes_per_s)"
            " VALUES ($1, $2, 'eth0', 100, 10), ($1, $2, 'eth1', $3, 1)",
            *(moment, server_id, value),
        )
        await connection.execute(
            "INSERT INTO disk_usage (time, server_id, mount, used_percent)"
            " VALUES ($1, $2, '/', 30), ($1, $2, '/data', $3)",
            *(moment, server_id, value),
        )
    await connection.execute(
        "INSERT INTO memory (time, server_id, used_percent) VALUES ($1, $2, 99)",
        *(now - timedelta(minutes=6), server_id),
    )

    (server,) = (await overview(api))["servers"]

    assert (server["cpu"], server["disk"], server["mount"]) == (42, 42, "/data")
    assert (server["rx"], server["tx"]) == (142, 11)
    assert server["memory"] is None  # too old to be what it does now
    assert (server["state"], server["cause"]) == ("ok", None)


async def test_state_is_that_of_the_worst_alert_with_its_cause(api, connection):
    server_id = await add_server(connection, "web-1")
    await add_alert(connection, server_id, "cpu_usage", "warning", value=88.0)
    worst = await add_alert(
        connection, server_id, "disk_usage", "critical", value=97.0, labels={"mount": "/"}, by="me"
    )

    found = await overview(api)

    (server,) = found["servers"]
    assert server["state"] == "critical"
    assert server["cause"] == {
        "kind": "alert",
        "alert": worst,
        "rule": "disk_usage",
        "metric": "disk_usage.used_percent",
        "value": 97.0,
        "labels": {"mount": "/"},
        "more": 1,
    }
    assert (found["fleet"]["firing"], found["fleet"]["unacknowledged"]) == (2, 1)
    assert {alert["rule"] for alert in found["alerts"]} == {"cpu_usage", "disk_usage"}


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"last_seen": datetime.now(UTC) - timedelta(minutes=5)}, "offline"),
        ({"status": "stopped"}, "stopped"),
        ({"status": "new", "last_seen": None}, "new"),
    ],
)
async def test_server_that_is_not_heard_is_offline_and_says_why(api, connection, columns, kind):
    await add_server(connection, "web-1", **columns)

    (server,) = (await overview(api))["servers"]

    assert (server["state"], server["cause"]["kind"]) == ("offline", kind)


async def test_sparklines_are_of_the_last_half_hour_with_their_gaps(api, connection):
    server_id = await add_server(connection, "web-1")
    minute = datetime.now(UTC).replace(second=5, microsecond=0)
    for age in (3, 2, 40):
        await connection.execute(
            "INSERT INTO cpu (time, server_id, usage_percent) VALUES ($1, $2, $3)",
            *(minute - timedelta(minutes=age), server_id, age),
        )
    await seed.roll_up(connection, since="2 hours")

    (server,) = (await overview(api))["servers"]

    line = server["sparklines"]["cpu"]
    assert len(line) == 30
    assert line[-3:] == [3, 2, None]
    assert set(line[:-3]) == {None}


async def test_answer_is_compressed_for_who_takes_it(api, connection):
    for number in range(20):
        await add_server(connection, f"web-{number}")

    plain = await api.client.get("/api/v1/overview", headers={"Accept-Encoding": "identity"})
    packed = await api.client.get("/api/v1/overview", headers={"Accept-Encoding": "gzip"})

    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.json()["servers"] == plain.json()["servers"]


async def test_roles_without_reading_see_nothing(api, connection):
    agent = await keys.create(
        connection, role=keys.Role.AGENT, server_names=["a"], created_by="test"
    )
    for path in ("overview", "events", "capacity", "servers/web-1/disks"):
        answer = await api.client.get(
            f"/api/v1/{path}", headers={"Authorization": f"Bearer {agent}"}
        )
        assert answer.status_code == 403, path


async def test_events_begin_where_the_page_was_read_and_tell_what_changes(api, connection):
    """Driven below HTTP: httpx's transport for tests waits for the end of an answer."""
    from api import fleet
    from api import overview as routes

    await add_server(connection, "web-1")
    watched = fleet.Fleet(api.services)
    before = await watched.snapshot()
    server_id = await add_server(connection, "web-2")
    await add_alert(connection, server_id, "cpu_usage", "warning", value=88.0)
    watched._until_s = 0.0

    after = await watched.snapshot()

    assert watched.find(before.number) is before
    assert watched.find(None) is None
    told = json.loads(json.dumps(routes.delta(before, after)))
    assert [server["name"] for server in told["servers"]] == ["web-2"]
    assert told["fleet"]["unacknowledged"] == 1
    assert [alert["rule"] for alert in told["alerts"]] == ["cpu_usage"]
    assert routes.delta(after, after) == {}
    await connection.execute("DELETE FROM server WHERE name = 'web-1'")
    watched._until_s = 0.0
    assert routes.delta(after, await watched.snapshot())["gone"] == ["web-1"]


async def test_all_who_look_at_once_share_one_reading(api, connection, monkeypatch):
    import asyncio

    from storage import overview as reading

    calls = 0
    read = reading.read

    async def counted(connection):
        nonlocal calls
        calls += 1
        return await read(connection)

    monkeypatch.setattr(reading, "read", counted)

    await asyncio.gather(*(overview(api) for _ in range(8)))

    assert calls == 1
