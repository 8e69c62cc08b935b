from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta

import pytest

from api import reading as api_reading
from api import times
from storage import catalog, engines, reading, servers

NAME = "web-1"


@pytest.fixture
async def server_id(connection) -> int:
    return await servers.find_or_create(connection, NAME, watch_offline=False)


@pytest.fixture
def now(api) -> datetime:
    """Return the begin of an hour: the last whole one."""
    return api.now().replace(minute=0, second=0, microsecond=0)


async def put(connection, table: str, *rows: dict[str, object]) -> None:
    """Store rows as the gateway does, and roll them up."""
    columns = catalog.TABLES[table].columns
    records = [tuple(row.get(column) for column in columns) for row in rows]
    engine = await engines.of(connection)
    async with connection.transaction():
        await connection.copy_records_to_table(table, records=records, columns=columns)
        late = sorted(
            {(table, row["server_id"], row["time"].replace(minute=0, second=0)) for row in rows}
        )
        await engine.note_late(connection, late)
    await engine.roll_up(connection)


async def get(api, metric: str, start: datetime, end: datetime, **more: str):
    query = {
        "server_id": NAME,
        "metric": metric,
        "from": times.format_time(start),
        "to": times.format_time(end),
    }
    return await api.client.get("/api/v1/metrics", params=query | more)


async def ask(api, metric: str, start: datetime, end: datetime, **more: str) -> dict:
    answer = await get(api, metric, start, end, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def every(seconds: int, count: int, server_id: int, begin: datetime, **columns) -> list[dict]:
    return [
        {
            "time": begin + timedelta(seconds=seconds * index),
            "server_id": server_id,
            **{name: value(index) for name, value in columns.items()},
        }
        for index in range(count)
    ]


# step -> tier and step of the answer, first values; one sample a minute, valued 0, 1, 2 …
STEPS = {
    "none": (None, "raw", None, [0, 1, 2]),
    "seconds": ("30", "raw", 30, [0, 1, 2]),
    "a minute": ("1m", "1m", 60, [0, 1, 2]),
    "minutes": ("5m", "1m", 300, [2, 7, 12]),
    "between": ("90", "1m", 120, [0.5, 2.5, 4.5]),
    "an hour": ("1h", "1h", 3600, [29.5, 89.5]),
    "hours": ("2h", "1h", 7200, None),
}


@pytest.mark.parametrize(("step", "tier", "step_s", "values"), STEPS.values(), ids=STEPS)
async def test_the_tier_that_answers_follows_from_the_step_and_is_named(
    api, connection, server_id, now, step, tier, step_s, values
):
    begin = now - timedelta(hours=2)
    await put(connection, "cpu", *every(60, 120, server_id, begin, usage_percent=float))

    how = {} if step is None else {"step": step}
    answer = await ask(api, "cpu.usage_percent", begin, now, **how)

    assert (answer["tier"], answer["step_s"]) == (tier, step_s)
    if values:
        points = answer["series"][0]["points"]
        assert [value for _, value in points[: len(values)]] == values
        assert points[0][0] == times.format_time(begin)


async def test_averages_of_averages_say_that_they_are_approximate(api, connection, server_id, now):
    begin = now - timedelta(hours=1)
    await put(connection, "cpu", *every(60, 60, server_id, begin, usage_percent=float))

    async def is_approximate(**how: str) -> bool:
        return (await ask(api, "cpu.usage_percent", begin, now, **how)).get("approximate", False)

    assert await is_approximate(step="5m")
    assert await is_approximate(step="2h")
    assert not await is_approximate(step="5m", agg="max")
    assert not await is_approximate(step="1m")
    assert not await is_approximate(step="1h")
    assert not await is_approximate(step="30s")
    assert not await is_approximate()


@pytest.mark.parametrize(("aggregate", "value"), [("avg", 24.5), ("min", 10), ("max", 39)])
async def test_extremes_of_coarse_steps_are_those_of_the_samples(
    api, connection, server_id, now, aggregate, value
):
    begin = now - timedelta(hours=1)
    rows = every(10, 30, server_id, begin, tx_bytes_per_s=lambda index: index + 10)
    await put(connection, "network", *[row | {"interface": "eth0"} for row in rows])

    answer = await ask(api, "network.tx_bytes_per_s", begin, now, step="5m", agg=aggregate)

    assert answer["series"] == [
        {"labels": {"interface": "eth0"}, "points": [[times.format_time(begin), value]]}
    ]


async def test_a_gap_stays_a_gap_in_every_tier(api, connection, server_id, now):
    begin = now - timedelta(hours=4)
    rows = [
        *every(60, 10, server_id, begin, usage_percent=float),
        *every(60, 10, server_id, begin + timedelta(hours=2), usage_percent=float),
    ]
    await put(connection, "cpu", *rows)

    async def moments(step: str) -> list[str]:
        answer = await ask(api, "cpu.usage_percent", begin, now, step=step)
        return [moment for moment, _ in answer["series"][0]["points"]]

    assert len(await moments("30")) == len(await moments("1m")) == 20
    assert len(await moments("5m")) == 4
    assert await moments("1h") == [
        times.format_time(begin),
        times.format_time(begin + timedelta(hours=2)),
    ]


async def test_what_is_too_long_without_a_step_is_answered_by_the_finest_tier_that_fits(
    api, connection, server_id, now, monkeypatch
):
    begin = now - timedelta(hours=2)
    await put(connection, "cpu", *every(10, 720, server_id, begin, usage_percent=float))

    tiers = []
    for most in (720, 719, 119, 1):
        monkeypatch.setattr(reading, "MAX_POINTS", most)
        answer = await get(api, "cpu.usage_percent", begin, now)
        tiers.append(answer.json().get("tier") or answer.json()["detail"])

    assert tiers[:3] == ["raw", "1m", "1h"]
    assert "more than 1 points" in tiers[3]


async def test_a_step_that_is_too_short_is_refused_with_one_that_fits(
    api, connection, server_id, now, monkeypatch
):
    monkeypatch.setattr(reading, "MAX_POINTS", 100)
    begin = now - timedelta(hours=2)
    await put(connection, "cpu", *every(60, 120, server_id, begin, usage_percent=float))

    refused = await get(api, "cpu.usage_percent", begin, now, step="1m")
    answer = await ask(api, "cpu.usage_percent", begin, now, step="120")

    assert refused.status_code == 400
    assert refused.json()["errors"] == [
        {"field": "step", "expected": "at least 120s", "got": "60s"}
    ]
    assert len(answer["series"][0]["points"]) == 60


RAW_ONLY = {
    "a pid of minutes": ("process.cpu_percent", {"pid": "7", "step": "60"}, "step", "pid"),
    "a command line of hours": (
        "process.memory_rss_bytes",
        {"cmdline": "x", "step": "1h"},
        "step",
        "cmdline",
    ),
    "a rank of minutes": ("process.cpu_rank", {"step": "60"}, "step", "process.cpu_rank"),
}


@pytest.mark.parametrize(("metric", "how", "field", "what"), RAW_ONLY.values(), ids=RAW_ONLY)
async def test_what_only_raw_samples_know_is_refused_of_a_longer_step(
    api, server_id, now, metric, how, field, what
):
    answer = await get(api, metric, now - timedelta(hours=1), now, **how)

    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["field"] == field
    assert error["expected"] == f"under 60s, within the last 7 days, for {what}"
    assert what in answer.json()["detail"]


async def test_what_only_raw_samples_know_is_refused_of_an_age_they_do_not_have(
    api, server_id, now
):
    answer = await get(api, "process.cpu_rank", now - timedelta(days=8), now)

    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert (error["field"], error["got"]) == ("from", times.format_time(now - timedelta(days=8)))


async def test_processes_are_by_pid_in_samples_and_by_name_and_user_in_minutes(
    api, connection, server_id, now
):
    begin = now - timedelta(hours=1)
    people = ((1, "nginx", "www"), (2, "nginx", "www"), (3, "kworker/0:1-events", "root"))
    rows = [
        row | {"pid": pid, "name": name, "username": user}
        for pid, name, user in people
        for row in every(30, 2, server_id, begin, cpu_percent=lambda _: 10.0)
    ]
    await put(connection, "process", *rows)

    raw = await ask(api, "process.cpu_percent", begin, now, step="30")
    minutes = await ask(api, "process.cpu_percent", begin, now, step="60")
    one = await ask(api, "process.cpu_percent", begin, now, step="60", name="nginx")

    assert [each["labels"]["pid"] for each in raw["series"]] == ["1", "2", "3"]
    assert [(each["labels"], each["points"][0][1]) for each in minutes["series"]] == [
        ({"name": "kworker", "username": "root"}, 10),
        ({"name": "nginx", "username": "www"}, 20),
    ]
    assert one["series"] == minutes["series"][1:]


async def test_labels_choose_series_in_every_tier(api, connection, server_id, now):
    begin = now - timedelta(hours=1)
    for mount, device in (("/", "/dev/sda1"), ("/data", "/dev/sdb1")):
        rows = every(60, 5, server_id, begin, used_percent=lambda _: 50.0)
        await put(connection, "disk_usage", *[r | {"mount": mount, "device": device} for r in rows])
    for device, value in (("sda", 1e6), ("sdb", 2e6)):
        rows = every(60, 5, server_id, begin, read_bytes_per_s=lambda _, value=value: value)
        await put(connection, "disk_io", *[row | {"device": device} for row in rows])
    cores = every(60, 5, server_id, begin, core_usage_percent=lambda _: [1.0, 2.0, 3.0])
    await put(connection, "cpu", *cores)

    for step in ("30", "60", "300", "3600"):
        usage = await ask(api, "disk.used_percent", begin, now, step=step, mount="/data")
        assert [each["labels"] for each in usage["series"]] == [{"mount": "/data"}], step
        traffic = await ask(api, "disk.read_mbps", begin, now, step=step, mount="/data")
        assert [(each["labels"], each["points"][0][1]) for each in traffic["series"]] == [
            ({"device": "sdb", "mount": "/data"}, 2.0)
        ], step
        core = await ask(api, "cpu.cores", begin, now, step=step, core="1", agg="max")
        assert [(each["labels"], each["points"][0][1]) for each in core["series"]] == [
            ({"core": "1"}, 2.0)
        ], step


async def test_a_long_answer_is_streamed_and_others_have_their_turn_meanwhile(
    api, connection, server_id, now
):
    begin = now - timedelta(hours=30)
    await connection.execute(
        "INSERT INTO cpu (time, server_id, usage_percent)"
        " SELECT $2::timestamptz + n * interval '10 s', $1, n % 100"
        " FROM generate_series(0, 9999) n",
        server_id,
        begin,
    )
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(take_turns())
    answer = await get(api, "cpu.usage_percent", begin, now)
    others.cancel()

    assert "content-length" not in answer.headers
    read = json.loads(answer.content)
    assert [value for _, value in read["series"][0]["points"]] == [n % 100 for n in range(10_000)]
    assert turns > 2 * 10_000 / api_reading.POINTS_AT_ONCE
