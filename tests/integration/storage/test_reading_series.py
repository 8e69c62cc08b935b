from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from storage import catalog, engines, reading, retention, servers, tiers
from storage.series_sql import SeriesSql

NOW = datetime.now(UTC)
RAW_ONLY = ("process.cpu_rank", "process.memory_rank", "agent_health.unspooled_batches")
START = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.fixture
async def server_id(connection) -> int:
    return await servers.find_or_create(connection, "web-1", watch_offline=True)


async def insert(connection, table: str, server_id: int, *rows: dict[str, object]) -> None:
    columns = catalog.TABLES[table].columns
    records = [
        tuple({"server_id": server_id, **row}.get(column) for column in columns) for row in rows
    ]
    engine = await engines.of(connection)
    async with connection.transaction():
        await connection.copy_records_to_table(table, records=records, columns=columns)
        await engine.note_late(connection, [(table, server_id, row["time"]) for row in rows])
    await engine.roll_up(connection)


async def ask(connection, server_id, metric, start=0.0, end=7200.0, **more):
    answer = await reading.read(
        connection,
        reading.Query(
            metric=catalog.find_metric(metric),
            server_id=server_id,
            start=at(start),
            end=at(end),
            **more,
        ),
        now=NOW,
    )
    return [
        (
            dict(series.labels),
            [((time - START).total_seconds(), value) for time, value in series.points],
        )
        for series in answer.series
    ]


async def test_samples_come_in_order_with_gaps_and_nulls_left_out(connection, server_id):
    await insert(
        connection,
        "cpu",
        server_id,
        {"time": at(20), "usage_percent": 45.2},
        {"time": at(0), "usage_percent": 1.1},
        {"time": at(10), "usage_percent": None},
        {"time": at(600), "usage_percent": 99.9},
    )

    assert await ask(connection, server_id, "cpu.usage_percent") == [
        ({}, [(0, 1.1), (20, 45.2), (600, 99.9)])
    ]


async def test_from_is_inside_and_to_is_outside(connection, server_id):
    rows = [{"time": at(10 * index), "usage_percent": index} for index in range(5)]
    await insert(connection, "cpu", server_id, *rows)

    [(_, points)] = await ask(connection, server_id, "cpu.usage_percent", 10, 30)

    assert points == [(10, 1), (20, 2)]


async def test_other_servers_stay_out(connection, server_id):
    other = await servers.find_or_create(connection, "web-2", watch_offline=True)
    await insert(connection, "cpu", other, {"time": at(0), "usage_percent": 1})

    assert await ask(connection, server_id, "cpu.usage_percent") == []


@pytest.mark.parametrize(
    ("aggregate", "values"),
    [("avg", [2.0, 10.0]), ("min", [1, 10]), ("max", [3, 10])],
)
async def test_a_step_is_one_point_and_an_empty_step_is_none(
    connection, server_id, aggregate, values
):
    await insert(
        connection,
        "cpu",
        server_id,
        {"time": at(0), "usage_percent": 1},
        {"time": at(59.9), "usage_percent": 3},
        {"time": at(30), "usage_percent": None},
        {"time": at(60), "usage_percent": None},
        {"time": at(120), "usage_percent": 10},
    )

    [(_, points)] = await ask(
        connection,
        server_id,
        "cpu.usage_percent",
        step_s=60,
        aggregate=reading.Aggregate(aggregate),
    )

    assert points == list(zip([0, 120], values, strict=True))


async def test_steps_begin_at_multiples_since_1970_and_hold_only_what_is_in_range(
    connection, server_id
):
    await insert(
        connection,
        "cpu",
        server_id,
        {"time": at(10), "usage_percent": 100},
        {"time": at(25), "usage_percent": 1},
        {"time": at(40), "usage_percent": 2},
        {"time": at(60), "usage_percent": 100},
    )

    [(_, points)] = await ask(connection, server_id, "cpu.usage_percent", 20, 60, step_s=30)

    assert points == [(0, 1), (30, 2)]


async def test_of_a_rollup_every_bucket_counts_that_the_range_touches(connection, server_id):
    rows = [{"time": at(60 * index + 10), "usage_percent": index} for index in range(5)]
    await insert(connection, "cpu", server_id, *rows)

    [(_, points)] = await ask(connection, server_id, "cpu.usage_percent", 90, 181, step_s=60)

    assert points == [(60, 1), (120, 2), (180, 3)]


async def test_the_average_of_integers_is_a_float(connection, server_id):
    await insert(
        connection,
        "memory",
        server_id,
        {"time": at(0), "total_bytes": 2**60},
        {"time": at(10), "total_bytes": 2**60 + 2},
    )

    [(_, averaged)] = await ask(connection, server_id, "memory.total_bytes", step_s=60)
    [(_, raw)] = await ask(connection, server_id, "memory.total_bytes")

    assert averaged == [(0, 2.0**60)]
    assert raw == [(0, 2**60), (10, 2**60 + 2)]


async def test_every_core_is_a_series_though_their_number_changes(connection, server_id):
    nan = float("nan")
    await insert(
        connection,
        "cpu",
        server_id,
        {"time": at(0), "core_usage_percent": [1.5, nan]},
        {"time": at(10), "core_usage_percent": [2.5, 20, 30]},
        {"time": at(20), "core_usage_percent": None},
    )

    raw = await ask(connection, server_id, "cpu.cores")
    stepped = await ask(connection, server_id, "cpu.cores", step_s=60)
    one = await ask(connection, server_id, "cpu.cores", labels={"core": "1"})

    assert raw == [
        ({"core": "0"}, [(0, 1.5), (10, 2.5)]),
        ({"core": "1"}, [(10, 20)]),
        ({"core": "2"}, [(10, 30)]),
    ]
    assert stepped == [
        ({"core": "0"}, [(0, 2.0)]),
        ({"core": "1"}, [(0, 20)]),
        ({"core": "2"}, [(0, 30)]),
    ]
    assert one == [({"core": "1"}, [(10, 20)])]


async def test_series_are_told_apart_and_filtered_by_labels(connection, server_id):
    rows = [
        {"time": at(0), "mount": "/", "device": "/dev/sda1", "fstype": "ext4", "used_percent": 10},
        {"time": at(0), "mount": "/b", "device": "/dev/sdb", "fstype": "xfs", "used_percent": 20},
    ]
    await insert(connection, "disk_usage", server_id, *rows)

    async def mounts(**labels: str) -> list[str]:
        series = await ask(connection, server_id, "disk.used_percent", labels=labels)
        return [each["mount"] for each, _ in series]

    assert await mounts() == ["/", "/b"]
    assert await mounts(mount="/b") == ["/b"]
    assert await mounts(device="/dev/sda1") == ["/"]
    assert await mounts(fstype="xfs", mount="/b") == ["/b"]
    assert await mounts(fstype="xfs", mount="/") == []
    assert await mounts(mount="' OR true --") == []


async def test_processes_are_ordered_by_pid_and_filtered_by_name_and_pid(connection, server_id):
    rows = [
        {"time": at(0), "pid": pid, "name": name, "username": user, "cpu_percent": pid}
        for pid, name, user in ((100, "b", "root"), (9, "a", None), (20, "a", "root"))
    ]
    await insert(connection, "process", server_id, *rows)

    async def pids(**labels: str) -> list[str]:
        series = await ask(connection, server_id, "process.cpu_percent", labels=labels)
        return [each["pid"] for each, _ in series]

    assert await pids() == ["9", "20", "100"]
    assert await pids(name="a") == ["9", "20"]
    assert await pids(pid="20") == ["20"]
    [(labels, _)] = await ask(connection, server_id, "process.cpu_percent", labels={"pid": "9"})
    assert labels == {"pid": "9", "name": "a"}


async def test_labels_of_custom_metrics_are_their_own(connection, server_id):
    rows = [
        {"time": at(0), "name": "queue", "labels": {"shard": shard}, "value": 0.1 + int(shard)}
        for shard in "12"
    ]
    await insert(connection, "custom", server_id, *rows)

    both = await ask(connection, server_id, "custom.value", labels={"name": "queue"})
    one = await ask(connection, server_id, "custom.value", labels={"shard": "2"}, step_s=60)

    assert [labels for labels, _ in both] == [
        {"name": "queue", "shard": "1"},
        {"name": "queue", "shard": "2"},
    ]
    assert one == [({"name": "queue", "shard": "2"}, [(0, 2.1)])]


@pytest.mark.parametrize(
    ("metric", "labels", "error"),
    [
        ("cpu.usage_percent", {"mount": "/"}, reading.UnknownLabel),
        ("network.rx_mbps", {"mount": "/"}, reading.UnknownLabel),
        ("cpu.cores", {"core": "first"}, reading.InvalidLabel),
        ("cpu.cores", {"core": "-1"}, reading.InvalidLabel),
        ("process.cpu_percent", {"pid": "99999999999"}, reading.InvalidLabel),
    ],
)
async def test_a_filter_that_can_not_be_is_refused(connection, server_id, metric, labels, error):
    with pytest.raises(error):
        await ask(connection, server_id, metric, labels=labels)


async def test_every_metric_can_be_read_raw_and_stepped_and_counted(
    connection, server_id, monkeypatch
):
    for name in catalog.METRICS:
        for step_s, aggregate in (
            (None, "avg"),
            (30, "max"),
            (60, "avg"),
            (300, "avg"),
            (7200, "max"),
        ):
            if name in RAW_ONLY and step_s and step_s >= 60:
                continue
            how = {"step_s": step_s, "aggregate": reading.Aggregate(aggregate)}
            assert await ask(connection, server_id, name, **how) == []
    monkeypatch.setattr(reading, "MAX_POINTS", 3)
    rows = [{"time": at(10 * index), "core_usage_percent": [1, 2]} for index in range(10)]
    await insert(connection, "cpu", server_id, *rows)

    with pytest.raises(reading.TooManyPoints) as refused:
        await ask(connection, server_id, "cpu.cores", end=100, step_s=30)

    assert refused.value.fitting_step_s is None
    assert len(await ask(connection, server_id, "cpu.cores", end=100, step_s=3600)) == 2


async def test_how_far_back_a_tier_answers_follows_from_the_retention_in_the_database(
    connection, server_id
):
    async def tier(age: timedelta) -> str:
        query = reading.Query(
            metric=catalog.find_metric("cpu.usage_percent"),
            server_id=server_id,
            start=NOW - age,
            end=NOW,
            step_s=30,
        )
        return (await reading.read(connection, query, now=NOW)).tier

    before = [await tier(timedelta(days=days)) for days in (6, 8, 31)]
    await retention.keep(
        connection, retention.Retention(raw=timedelta(days=9), minute=timedelta(days=60))
    )
    after = [await tier(timedelta(days=days)) for days in (6, 8, 31)]

    assert before == ["raw", "1m", "1h"]
    assert after == ["raw", "raw", "1m"]


async def test_a_metric_of_a_week_uses_the_index_of_every_partition(connection, server_id):
    days = [{"time": at(-86_000 * days), "usage_percent": 1} for days in range(1, 6)]
    await insert(connection, "cpu", server_id, *days)
    for other in ("seqscan", "bitmapscan", "sort"):  # few rows would be read in another way
        await connection.execute(f"SET enable_{other} = off")
    sql = SeriesSql(
        catalog.find_metric("cpu.usage_percent"),
        tiers.RAW,
        aggregate="avg",
        server_id=server_id,
        start=at(-6 * 86_400),
        end=at(0),
    )
    rows = await connection.fetch(f"EXPLAIN {sql.rows(limit=20_001)}", *sql.arguments)
    plan = "\n".join(row[0] for row in rows)

    assert "Index Scan" in plan
    assert "Sort" not in plan
