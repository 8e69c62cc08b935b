from __future__ import annotations

import pytest

from storage import intervals, servers


async def test_a_server_is_made_once_and_burns_no_numbers(connection):
    first = await servers.find_or_create(connection, "web-1", watch_offline=False)
    for _ in range(5):
        assert await servers.find_or_create(connection, "web-1", watch_offline=True) == first
    second = await servers.find_or_create(connection, "web-2", watch_offline=True)

    assert second == first + 1
    rows = await connection.fetch("SELECT watch_offline FROM server ORDER BY id")
    assert [row["watch_offline"] for row in rows] == [False, True]


@pytest.mark.parametrize(
    ("status", "silent_s", "interval_s", "expected"),
    [
        ("new", None, None, servers.Status.NEW),
        ("online", 5, 10, servers.Status.ONLINE),
        ("online", 59, None, servers.Status.ONLINE),
        ("online", 61, 10, servers.Status.OFFLINE),
        ("online", 61, 60, servers.Status.ONLINE),
        ("online", 181, 60, servers.Status.OFFLINE),
        ("stopped", 9_999, 10, servers.Status.STOPPED),
    ],
    ids=["new", "fresh", "nearly", "silent", "slow", "slow and silent", "stopped"],
)
async def test_status_says_whether_a_server_is_heard(
    connection, status, silent_s, interval_s, expected
):
    server_id = await servers.find_or_create(connection, "web-1", watch_offline=True)
    await connection.execute(
        "UPDATE server SET status = $2, last_seen = now() - make_interval(secs => $3)"
        " WHERE id = $1",
        server_id,
        status,
        silent_s,
    )
    for family, seconds in (("cpu", interval_s), ("disk_usage", 60)) if interval_s else ():
        await connection.execute(
            "INSERT INTO family_interval (server_id, family, interval_s) VALUES ($1, $2, $3)",
            server_id,
            family,
            seconds,
        )

    found = await servers.find(connection, "web-1")

    assert found is not None
    assert found.status is expected
    assert await servers.list_all(connection) == [found]


async def test_an_unknown_server_is_none(connection):
    assert await servers.find(connection, "nobody") is None
    assert await servers.find_id(connection, "nobody") is None


@pytest.mark.parametrize("name", ["", "a" * 254, "a\nb", "a\0b", " a", "a\u200bb"])
async def test_a_name_that_can_not_be_shown_is_refused(connection, name):
    with pytest.raises(servers.InvalidName):
        await servers.find_or_create(connection, name, watch_offline=False)


async def test_the_former_interval_is_the_longest_of_a_day(connection):
    server_id = await servers.find_or_create(connection, "web-1", watch_offline=False)

    async def change(interval_s: float) -> tuple[float, float | None]:
        await intervals.keep(connection, [(server_id, "cpu", interval_s)])
        row = await connection.fetchrow("SELECT interval_s, former_s FROM family_interval")
        return tuple(row)

    assert await change(60) == (60, None)
    assert await change(60) == (60, None)
    assert await change(20) == (20, 60)
    assert await change(5) == (5, 60)
    await connection.execute("UPDATE family_interval SET updated_at = now() - interval '25 hours'")
    assert await change(10) == (10, 5)
