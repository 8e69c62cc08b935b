from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from storage import capacity, disks, timeline
from tests.system import seed

HOST = seed.Host(name="web-1", labels={}, cpu=50, memory=60, disk=70)
PATH = "/api/v1/servers/web-1"


@pytest.fixture
async def server_id(connection) -> int:
    """A server with 80 minutes of samples, 10 s apart, and a gap 50 minutes ago."""
    server_id = await seed.add_host(connection, HOST)
    await seed.add_samples(connection, server_id, HOST, begin="80 minutes", end="0 s", step="10 s")
    await seed.roll_up(connection, since="3 hours")
    return server_id


def span(minutes: float) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "from": f"{now - timedelta(minutes=minutes):%FT%TZ}",
        "to": f"{now + timedelta(seconds=1):%FT%TZ}",
    }


async def ask(api, path: str, **parameters) -> dict:
    answer = await api.client.get(f"{PATH}{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_short_ranges_are_samples_as_they_are(api, server_id):
    found = await ask(api, "/history", family="cpu", **span(5))

    assert (found["tier"], found["step_s"]) == ("raw", None)
    assert 29 <= len(found["times"]) <= 31
    (part,) = found["series"]
    assert len(part["columns"]["user_percent"]) == len(found["times"])
    assert "core_usage_percent" not in part["columns"]


async def test_longer_ranges_are_thinned_out_to_what_a_chart_shows(api, server_id):
    found = await ask(api, "/history", family="memory", points=60, **span(75))

    assert (found["tier"], found["step_s"]) == ("1m", 120)
    assert len(found["times"]) <= 62


async def test_only_the_columns_that_are_named_come(api, server_id):
    found = await ask(api, "/history", family="cpu", columns="load1,user_percent", **span(5))
    whole = await ask(api, "/history", family="agent_health", **span(60 * 24 * 30))

    assert set(found["series"][0]["columns"]) == {"load1", "user_percent"}
    assert whole["series"] == []


async def test_points_are_averages_of_the_samples(api, connection, server_id):
    found = await ask(api, "/history", family="cpu", points=61, **span(30))

    assert found["step_s"] == 30
    value = found["series"][0]["columns"]["usage_percent"][10]
    expected = await connection.fetchval(
        "SELECT avg(usage_percent::float8) FROM cpu WHERE server_id = $1"
        " AND time >= to_timestamp($2) AND time < to_timestamp($2 + 30)",
        *(server_id, found["times"][10]),
    )
    assert value == pytest.approx(expected, rel=1e-4)


async def test_gap_is_a_moment_without_values(api, server_id):
    found = await ask(api, "/history", family="cpu", points=1000, **span(60))

    times, values = found["times"], found["series"][0]["columns"]["usage_percent"]
    empty = [index for index, value in enumerate(values) if value is None]
    assert len(empty) == 1
    (place,) = empty
    assert times[place + 1] - times[place - 1] > 290


async def test_disks_and_interfaces_share_one_list_of_moments(api, server_id):
    found = await ask(api, "/history", family="disk_io", **span(10))

    assert [part["labels"] for part in found["series"]] == [
        {"device": "nvme0n1"},
        {"device": "sda"},
    ]
    lengths = {len(column) for part in found["series"] for column in part["columns"].values()}
    assert lengths == {len(found["times"])}


async def test_each_core_is_a_series(api, server_id):
    found = await ask(api, "/history", family="cores", **span(10))

    assert [part["labels"]["core"] for part in found["series"]] == [str(n) for n in range(8)]


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"family": "nothing"}, "family"),
        ({"family": "process"}, "family"),
        ({"family": "cpu", "columns": "load1,nonsense"}, "columns"),
        ({"family": "cores", "columns": "usage_percent"}, "columns"),
        ({"family": "cpu", "points": "5"}, "points"),
        ({"family": "cpu", "points": "99999"}, "points"),
        ({"family": "cpu", "from": "yesterday"}, "from"),
        ({"family": "cpu", "from": "2999-01-01T00:00:00Z"}, "from"),
        ({"family": "cpu", "step": "5"}, "step"),
    ],
)
async def test_bad_questions_name_the_parameter(api, server_id, parameters, field):
    answer = await api.client.get(f"{PATH}/history", params={**span(5), **parameters})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("path", ["history", "timeline", "processes", "disks"])
async def test_unknown_server_is_not_found(api, path):
    parameters = {"family": "cpu"} if path == "history" else {}
    window = span(5) if path in {"history", "timeline"} else {}

    answer = await api.client.get(f"/api/v1/servers/nobody/{path}", params={**parameters, **window})

    assert answer.status_code == 404


async def test_top_of_now_is_the_newest_sample(api, server_id):
    by_cpu = await ask(api, "/processes")
    by_memory = await ask(api, "/processes", by="memory")

    assert [each["name"] for each in by_cpu["processes"]][:2] == ["postgres", "nginx"]
    assert [each["name"] for each in by_memory["processes"]][:2] == ["postgres", "redis-server"]
    assert len(by_cpu["processes"]) == 10
    assert by_cpu["processes"][0]["cmdline"] == "postgres: checkpointer"


async def test_top_of_a_moment_long_ago_is_what_ran_then(api, server_id):
    then = datetime.now(UTC) - timedelta(minutes=70)

    found = await ask(api, "/processes", at=f"{then:%FT%TZ}")

    assert found["processes"][0]["time"] <= f"{then:%FT%TZ}"
    nothing = await ask(api, "/processes", at="2020-01-01T00:00:00Z")
    assert nothing["processes"] == []


async def test_top_of_a_range_is_by_name(api, connection, server_id):
    found = await ask(api, "/processes", **span(60))

    first = found["processes"][0]
    average = await connection.fetchval(
        "SELECT sum(cpu_percent * ticks_seen) / sum(ticks_seen) FROM process_1m"
        " WHERE server_id = $1 AND name = 'postgres' AND time >= $2",
        *(server_id, datetime.now(UTC) - timedelta(minutes=61)),
    )
    assert (first["name"], first["pid"]) == ("postgres", None)
    assert first["cpu_percent"] == pytest.approx(average, rel=0.02)


async def test_disks_say_when_they_are_full(api, connection, server_id):
    found = await ask(api, "/disks")

    root = next(each for each in found["disks"] if each["mount"] == "/")
    assert root["used_percent"] == pytest.approx(70, abs=1)
    assert root["hours_until_full"] == pytest.approx(0.3 * 3e6 / 3600, rel=0.05)
    boot = next(each for each in found["disks"] if each["mount"] == "/boot")
    assert boot["hours_until_full"] is None


async def test_timeline_has_firings_and_events_that_touch_the_range(api, connection, server_id):
    ids = dict.fromkeys([host.name for host in seed.FLEET], server_id)
    await connection.execute("DELETE FROM alert")
    for name in ids:
        if name != seed.MAIN:
            ids[name] = await seed.add_host(
                connection, seed.Host(name=f"x-{name}", labels={}, cpu=1, memory=1, disk=1)
            )
    await seed.add_alerts(connection, ids)
    await seed.add_events(connection, server_id)

    hour = await ask(api, "/timeline", **span(60))
    more = await ask(api, "/timeline", **span(100))

    assert [band["rule"] for band in hour["alerts"]] == ["disk_usage"]
    assert hour["alerts"][0]["to"] is None
    assert [band["rule"] for band in more["alerts"]] == ["cpu_usage", "disk_usage"]
    assert more["alerts"][0]["to"] is not None
    over = datetime.fromisoformat(more["alerts"][0]["to"])
    found = await timeline.bands(
        connection, server_id, start=over - timedelta(hours=1), end=over - timedelta(seconds=1)
    )
    ends = {band.rule: band.to_time for band in found}
    assert ends["cpu_usage"] == over, "that it ended after the range is known all the same"
    assert [mark["kind"] for mark in hour["marks"]] == ["config_applied", "version_changed", "boot"]


async def test_capacity_is_the_percentile_and_the_days_that_are_left(api, connection, server_id):
    await connection.execute(
        """
        INSERT INTO hostpulse_internal.disk_usage_1h_archive (time, server_id, mount, used_percent)
        SELECT date_bin('1 h', now(), 'epoch') - n * interval '1 h', $1, '/grows', 80 - n / 24.0
        FROM generate_series(4, 700) n
        """,
        server_id,
    )

    answer = await api.client.get("/api/v1/capacity")

    (server,) = answer.json()["servers"]
    assert server["server_id"] == "web-1"
    assert server["disk"]["mount"] == "/grows"
    assert server["disk"]["days_left"] == pytest.approx(10, abs=0.3)
    assert server["memory"]["days_left"] is None


async def test_database_is_described_for_admins(api, server_id):
    found = (await api.client.get("/api/v1/database")).json()

    assert found["engine"] == "postgres"
    assert found["retention"]["raw"] == 7 * 86400
    assert any(size["relation"] == "cpu" and size["rows"] for size in found["sizes"])


@pytest.mark.parametrize(
    ("today", "per_day", "r2", "left"),
    [
        (70.0, 1.0, 0.9, 10.0),
        (85.0, -1.0, 0.9, 0.0),
        (70.0, 1.0, 0.1, None),
        (70.0, -1.0, 0.9, None),
        (70.0, 0.001, 0.9, None),
        (None, None, None, None),
    ],
)
def test_days_left_follow_a_line_only_where_there_is_one(today, per_day, r2, left):
    assert capacity.days_left(today, per_day=per_day, r2=r2, limit=80.0) == left


def test_hours_until_full_follow_a_line_only_where_there_is_one():
    assert disks.hours_until_full(3600, bytes_per_s=1.0, r2=0.9) == 1.0
    assert disks.hours_until_full(3600, bytes_per_s=1.0, r2=0.5) is None
    assert disks.hours_until_full(3600, bytes_per_s=-1.0, r2=0.9) is None
    assert disks.hours_until_full(None, bytes_per_s=1.0, r2=0.9) is None
