"""What a run is, checked on a real database; the cases are DESIGN's own words."""

from __future__ import annotations

import pytest

from storage import intervals

CPU_RULE = [{"severity": "warning", "threshold": 80, "for_s": 60}]


def every(interval_s: float, count: int, value: float, *, newest_ago: float = 1.0) -> list:
    """Return `count` samples of one value, `interval_s` apart, the newest `newest_ago` s old."""
    return [(newest_ago + interval_s * n, value) for n in range(count)]


RUNS = [
    pytest.param(every(10, 7, 90), "firing", id="seven samples at 10 s are one minute"),
    pytest.param(every(10, 6, 90), "pending", id="six are not"),
    pytest.param(every(10, 7, 80), None, id="exactly at the threshold is not above it"),
    pytest.param(
        [*every(10, 6, 90), (61, 50)], "pending", id="a sample that does not breach ends the run"
    ),
    pytest.param([*every(10, 5, 90), (51, None), (61, 90)], "pending", id="NULL ends the run"),
    pytest.param(
        [(1, None), *every(10, 9, 90, newest_ago=11)], None, id="a NULL at its end ends it too"
    ),
    pytest.param(
        [*every(10, 4, 90), *every(10, 5, 90, newest_ago=56)], "firing", id="25 s are no gap"
    ),
    pytest.param(
        [*every(10, 4, 90), *every(10, 5, 90, newest_ago=57)], "pending", id="26 s are a gap"
    ),
    pytest.param(every(10, 9, 90, newest_ago=29), "firing", id="29 s old is fresh"),
    pytest.param(every(10, 9, 90, newest_ago=31), None, id="31 s old is stale"),
    pytest.param(every(10, 60, 90), "firing", id="longer than the window"),
    pytest.param([(1, 50), *every(10, 9, 90, newest_ago=11)], None, id="over before the newest"),
    pytest.param([(1, 90), (11, 50), *every(10, 9, 90, newest_ago=21)], "pending", id="begun anew"),
]


@pytest.mark.parametrize(("samples", "state"), RUNS)
async def test_a_run_is_what_the_design_says(house, samples, state):
    server_id = await house.add_server("web", interval_s=10)
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", levels=CPU_RULE)
    await house.add_cpu(server_id, samples)

    await house.cycle()

    assert [each[2] for each in await house.alerts()] == ([state] if state else [])


@pytest.mark.parametrize(
    ("interval_s", "count", "state"),
    [
        pytest.param(60, 2, "firing", id="two samples at 60 s are one minute"),
        pytest.param(60, 1, "pending", id="one is not"),
        pytest.param(5, 13, "firing", id="thirteen at 5 s"),
        pytest.param(5, 12, "pending", id="twelve at 5 s are not"),
    ],
)
async def test_the_interval_in_force_counts(house, interval_s, count, state):
    server_id = await house.add_server("web", interval_s=interval_s)
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", levels=CPU_RULE)
    await house.add_cpu(server_id, every(interval_s, count, 90))

    await house.cycle()

    assert [each[2] for each in await house.alerts()] == [state]


async def change_interval(house, server_id: int, interval_s: float, *, ago: float) -> None:
    """Put another interval in force, and say since when."""
    await intervals.keep(house.connection, [(server_id, "cpu", interval_s)])
    await house.connection.execute(
        "UPDATE family_interval SET updated_at = now() - make_interval(secs => $1)"
        " WHERE family = 'cpu'",
        ago,
    )


CHANGED = [
    pytest.param(
        every(5, 4, 90) + every(60, 5, 90, newest_ago=70), "firing", id="and the run goes on"
    ),
    pytest.param(every(60, 6, 90, newest_ago=50), "firing", id="and no sample has come since"),
    pytest.param(
        every(5, 4, 90) + every(60, 5, 90, newest_ago=170), "pending", id="after a gap of 150 s"
    ),
    pytest.param([*every(5, 4, 90), (70, 50), (130, 90)], "pending", id="in a run that is young"),
]


@pytest.mark.parametrize(("samples", "state"), CHANGED)
async def test_a_shorter_interval_breaks_no_run(house, samples, state):
    server_id = await house.add_server("web", interval_s=60)
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", levels=[CPU_RULE[0] | {"for_s": 240}])
    await change_interval(house, server_id, 5, ago=16)
    await house.add_cpu(server_id, samples)

    await house.cycle()

    assert [each[2] for each in await house.alerts()] == [state]


async def test_a_shorter_interval_is_no_want_of_samples_until_the_first_is_due(house):
    server_id = await house.add_server("web", interval_s=60)
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", levels=CPU_RULE, no_data="alert")
    await house.listen_since()
    await house.add_cpu(server_id, every(60, 3, 90, newest_ago=50))
    await house.cycle()
    assert [each[2] for each in await house.alerts()] == ["firing"]

    await change_interval(house, server_id, 5, ago=17)
    await house.cycle()
    assert [each[2] for each in await house.alerts()] == ["firing"]

    await change_interval(house, server_id, 5, ago=18)
    await house.cycle()
    assert [each[2] for each in await house.alerts()] == ["no_data"]


async def test_gaps_after_a_change_are_judged_by_the_new_interval(house):
    server_id = await house.add_server("web", interval_s=60)
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", levels=CPU_RULE)
    await change_interval(house, server_id, 5, ago=100)
    await house.add_cpu(server_id, every(5, 4, 90) + every(5, 12, 90, newest_ago=30))

    await house.cycle()

    assert [each[2] for each in await house.alerts()] == ["pending"]


async def test_a_value_stored_as_real_does_not_exceed_its_own_threshold(house):
    server_id = await house.add_server("web")
    await house.only("cpu_usage")
    await house.set_rule(
        "cpu_usage", levels=[{"severity": "warning", "threshold": 80.1, "for_s": 0}]
    )
    await house.add_cpu(server_id, every(10, 3, 80.1))  # 80.0999985 as float4

    await house.cycle()

    assert await house.alerts() == []


@pytest.mark.parametrize("offset_s", [-240, 240], ids=["4 minutes slow", "4 minutes fast"])
async def test_an_agents_wrong_clock_does_not_hide_its_samples(house, offset_s):
    server_id = await house.add_server("web", offset_ms=offset_s * 1000)
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", levels=CPU_RULE)
    await house.add_cpu(server_id, [(ago - offset_s, v) for ago, v in every(10, 7, 90)])

    await house.cycle()

    assert [each[2] for each in await house.alerts()] == ["firing"]
    age = await house.connection.fetchval(
        "SELECT extract(epoch FROM now() - run_started_at)::float8 FROM alert"
    )
    assert age == pytest.approx(61, abs=5)


async def test_each_mount_is_a_series_of_its_own(house):
    server_id = await house.add_server("web")
    await house.only("disk_usage")
    await house.connection.executemany(
        "INSERT INTO disk_usage (time, server_id, mount, used_percent)"
        " VALUES (now() - make_interval(secs => $1), $2, $3, $4)",
        [
            (ago, server_id, mount, used)
            for ago in (1.0, 61.0)
            for mount, used in (("/", 85.0), ("/var", 95.0), ("/home", 20.0))
        ],
    )

    await house.cycle()

    rows = await house.connection.fetch(
        "SELECT labels, severity, value FROM alert ORDER BY labels ->> 'mount'"
    )
    assert [tuple(row) for row in rows] == [
        ({"mount": "/"}, "warning", 85.0),
        ({"mount": "/var"}, "critical", 95.0),
    ]


async def test_a_label_filter_and_a_server_selector_narrow_a_rule(house):
    for name in ("web", "db"):
        server_id = await house.add_server(name)
        await house.connection.executemany(
            "INSERT INTO disk_usage (time, server_id, mount, used_percent)"
            " VALUES (now() - make_interval(secs => $1), $2, $3, 99)",
            [(ago, server_id, mount) for ago in (1.0, 61.0) for mount in ("/", "/var")],
        )
    await house.connection.execute('UPDATE server SET labels = \'{"env": "prod"}\'::jsonb')
    await house.only("disk_usage")
    await house.set_rule(
        "disk_usage",
        label_filter={"mount": "/var"},
        server_selector={"names": ["db"], "labels": {"env": "prod"}},
    )

    await house.cycle()

    rows = await house.connection.fetch("SELECT labels FROM alert")
    assert [row["labels"] for row in rows] == [{"mount": "/var"}]
    assert [each[1] for each in await house.alerts()] == ["db"]


async def test_each_core_is_a_series_and_a_core_without_a_reading_is_none(house):
    server_id = await house.add_server("web")
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", metric="cpu.core_usage_percent", levels=CPU_RULE)
    await house.connection.executemany(
        "INSERT INTO cpu (time, server_id, core_usage_percent)"
        " VALUES (now() - make_interval(secs => $1), $2, $3)",
        [(1.0 + 10 * n, server_id, [10.0, 99.0, float("nan")]) for n in range(7)],
    )

    await house.cycle()

    rows = await house.connection.fetch("SELECT labels, state FROM alert")
    assert [tuple(row) for row in rows] == [({"core": "1"}, "firing")]


async def test_a_custom_metric_is_told_apart_by_name_and_labels(house):
    server_id = await house.add_server("web")
    await house.only("cpu_usage")
    await house.set_rule(
        "cpu_usage",
        metric="custom.value",
        label_filter={"name": ["queue_depth"], "queue": ["mail"]},
        levels=CPU_RULE,
    )
    await house.connection.executemany(
        "INSERT INTO custom (time, server_id, name, labels, value)"
        " VALUES (now() - make_interval(secs => $1), $2, $3, $4, 99)",
        [
            (1.0 + 10 * n, server_id, name, {"queue": queue})
            for n in range(7)
            for name, queue in (("queue_depth", "mail"), ("queue_depth", "print"), ("x", "mail"))
        ],
    )

    await house.cycle()

    rows = await house.connection.fetch("SELECT labels, state FROM alert")
    assert [tuple(row) for row in rows] == [({"name": "queue_depth", "queue": "mail"}, "firing")]


async def test_low_values_fire_where_low_is_bad(house):
    server_id = await house.add_server("web")
    await house.only("memory_available")
    await house.connection.executemany(
        "INSERT INTO memory (time, server_id, available_bytes)"
        " VALUES (now() - make_interval(secs => $1), $2, $3)",
        [(1.0 + 10 * n, server_id, 524_287_999) for n in range(7)],
    )

    await house.cycle()

    assert await house.alerts() == [("memory_available", "web", "firing", "warning")]


@pytest.mark.parametrize(
    "metric", ["process.cpu_percent", "tcp.time_wait", "pressure.io_some_avg10"]
)
async def test_every_kind_of_table_can_be_asked(house, metric):
    await house.add_server("web")
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", metric=metric)

    report = await house.cycle()

    assert report.findings == 0


@pytest.mark.parametrize("period_s", [10, 60, 140])
async def test_a_server_that_only_posts_may_take_its_time(house, period_s):
    server_id = await house.add_server("script")
    await house.connection.execute("UPDATE server SET machine_id = NULL")
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", levels=CPU_RULE)
    await house.add_cpu(server_id, every(period_s, 7, 90, newest_ago=period_s - 1))

    await house.cycle()

    assert [each[2] for each in await house.alerts()] == ["firing"]


@pytest.mark.parametrize("threshold", [1e308, -1e308, 1e-320])
async def test_a_threshold_that_no_sample_can_reach_stops_no_other_rule(house, threshold):
    server_id = await house.add_server("web")
    await house.only("cpu_usage", "load")
    await house.set_rule("load", levels=[{"severity": "warning", "threshold": threshold}])
    await house.set_rule("cpu_usage", levels=CPU_RULE)
    await house.add_cpu(server_id, every(10, 7, 90))

    await house.cycle()

    assert ("cpu_usage", "web", "firing", "warning") in await house.alerts()
