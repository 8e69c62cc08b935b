"""`hostpulse rule test`: the past against a slow walk over the same samples."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from alerting import backtest, records, rules
from alerting.history_query import Bound
from cli.rules import rules_app
from storage import intervals

LEVELS = [
    {"severity": "warning", "threshold": 80, "for_s": 30},
    {"severity": "critical", "threshold": 95, "for_s": 10},
]
GAP_S = 25.0


async def cpu_rule(house, **columns):
    await house.set_rule("cpu_usage", levels=LEVELS, recovery_threshold=70.0, **columns)
    valid, _ = await records.load_rules(house.connection)
    return next(rule for rule in valid if rule.name == "cpu_usage")


def walk(rule, samples):
    """Find firings by looking at each sample once: (fired, ended, severity), seconds."""
    firings, open_, starts, before = [], None, {}, None
    for at, value in samples:
        gap = before is not None and at - before > GAP_S
        before = at
        sustained = []
        for level in rule.levels:
            breaches = value is not None and value > level.threshold
            if gap or not breaches:
                starts.pop(level.severity, None)
            if breaches:
                starts.setdefault(level.severity, at)
            since = starts.get(level.severity)
            if since is not None and at - since >= level.for_s:
                sustained.append((since + level.for_s, level.severity))
        if sustained:
            if open_ is None:
                open_ = [min(at for at, _ in sustained), None, sustained[0][1]]
                firings.append(open_)
            open_[2] = max((open_[2], *(s for _, s in sustained)), key=lambda s: s.rank)
        if open_ is not None and value is not None and value <= rule.recovery:
            open_[1], open_ = at, None
    return [tuple(each) for each in firings]


@pytest.mark.parametrize("seed", range(6))
async def test_the_past_is_that_of_a_walk_over_the_samples(house, seed):
    draw = random.Random(seed)
    rule = await cpu_rule(house)
    server_id = await house.add_server("web", interval_s=10)
    times = [10.0 * n for n in range(400) if draw.random() > 0.08]
    value, samples = 60.0, []
    for at in times:
        value = draw.choice([60.0, 75.0, 85.0, 99.0, None]) if draw.random() < 0.25 else value
        samples.append((at, value))
    start = house.now - timedelta(hours=2)
    await house.connection.executemany(
        "INSERT INTO cpu (time, server_id, usage_percent) VALUES ($1, $2, $3)",
        [(start + timedelta(seconds=at), server_id, v) for at, v in samples],
    )

    found = await backtest.find(
        house.connection, rule, servers=[server_id], start=start, end=house.now
    )

    got = [
        (
            (e.fired_at - start).total_seconds(),
            (e.ended_at - start).total_seconds() if e.ended_at else None,
            e.severity,
        )
        for e in found
    ]
    assert got == walk(rule, samples)


BEGIN_ROLLUPS = "UPDATE hostpulse_internal.rollup_state SET watermark = $1"


def covers(outer, inner, slack=timedelta(seconds=10)) -> bool:
    """Whether every firing of one side lies within one of the other, to an interval."""
    return all(
        any(
            big.fired_at <= small.fired_at + slack
            and (
                big.ended_at is None
                or (small.ended_at is not None and big.ended_at + slack >= small.ended_at)
            )
            for big in outer
        )
        for small in inner
    )


@pytest.mark.parametrize("seed", range(4))
async def test_minutes_bound_what_samples_would_have_said(house, seed):
    draw = random.Random(seed)
    rule = await cpu_rule(house)
    server_id = await house.add_server("web", interval_s=10)
    start = house.now.replace(second=0, microsecond=0) - timedelta(hours=2)
    await house.connection.execute(BEGIN_ROLLUPS, start - timedelta(days=1))
    value, samples = 60.0, []
    for n in range(400):
        value = draw.choice([60.0, 75.0, 85.0, 99.0]) if draw.random() < 0.1 else value
        samples.append((start + timedelta(seconds=10 * n + 3), server_id, value))
    await house.connection.executemany(
        "INSERT INTO cpu (time, server_id, usage_percent) VALUES ($1, $2, $3)", samples
    )

    async def find(raw_from, bound=Bound.LEAST):
        return await backtest.find(
            house.connection,
            rule,
            servers=[server_id],
            start=start,
            end=house.now,
            raw_from=raw_from,
            bound=bound,
        )

    truth = await find(None)
    for raw_from in (start + timedelta(minutes=31), house.now.replace(second=0, microsecond=0)):
        least, most = await find(raw_from), await find(raw_from, Bound.MOST)
        assert covers(truth, least)
        assert covers(most, truth)
        assert truth


async def test_beyond_raw_samples_minutes_answer_and_say_whether_they_are_exact(house):
    rule = await cpu_rule(house)
    steady, mixed = await house.add_server("steady", interval_s=10), await house.add_server("mixed")
    end = house.now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    begin = end - timedelta(minutes=41)
    await house.connection.execute(BEGIN_ROLLUPS, begin - timedelta(days=1))
    rows = []
    for n in range(40 * 6):
        at = begin + timedelta(seconds=10 * n)
        rows.append((at, steady, 90.0 if 60 <= n < 120 else 20.0))
        # above and below within each minute: nobody can tell whether that lasted
        rows.append((at, mixed, 90.0 if n % 6 < 4 else 75.0))
    await house.connection.executemany(
        "INSERT INTO cpu (time, server_id, usage_percent) VALUES ($1, $2, $3)", rows
    )
    # raw is kept for 20 minutes, as far as the question goes
    await house.connection.execute(
        "INSERT INTO setting (key, value) VALUES ('retention', $1)", {"raw": 1200.0}
    )
    told = []

    report = await backtest.run(
        house.connection,
        rule,
        start=begin,
        end=end,
        thresholds=[60.0],
        progress=lambda done, total: told.append((done, total)),
    )
    only = await backtest.run(
        house.connection,
        dataclasses.replace(rule, selector=rules.Selector(names=("steady",))),
        start=begin,
        end=end,
        thresholds=[],
    )

    assert report.raw_from is not None
    assert report.begins_at == begin
    own = next(trial for trial in report.trials if trial.threshold == 80.0)
    assert not report.is_exact
    assert (own.firings, own.is_exact) == (2, False)
    assert own.lasted_at_most_s > own.lasted_s
    assert only.is_exact
    assert [(e.server, e.ended_at) for e in only.episodes] == [
        ("steady", begin + timedelta(minutes=20))
    ]
    assert told[-1][0] == told[-1][1] > 0


async def test_each_mount_is_a_series_and_label_filters_hold(house):
    server_id = await house.add_server("web", interval_s=60)
    await house.connection.executemany(
        "INSERT INTO disk_usage (time, server_id, mount, used_percent)"
        " VALUES (now() - make_interval(secs => $1), $2, $3, 95)",
        [(60.0 * n, server_id, mount) for n in range(1, 6) for mount in ("/", "/var", "/home")],
    )
    await house.set_rule("disk_usage", label_filter={"mount": ["/", "/var"]})
    valid, _ = await records.load_rules(house.connection)
    rule = next(each for each in valid if each.name == "disk_usage")

    found = await backtest.find(
        house.connection,
        rule,
        servers=[server_id],
        start=house.now - timedelta(hours=1),
        end=house.now + timedelta(minutes=1),
    )

    assert sorted(e.labels["mount"] for e in found) == ["/", "/var"]
    assert {(e.severity, e.ended_at) for e in found} == {("critical", None)}


async def test_the_command_counts_firings_and_tries_other_thresholds(house, monkeypatch, database):
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", database)
    monkeypatch.setenv("COLUMNS", "160")
    await cpu_rule(house)
    server_id = await house.add_server("web", interval_s=10)
    await house.add_cpu(server_id, [(10.0 * n, 84.0 if n > 5 else 20.0) for n in range(1, 20)])

    as_json = await asyncio.to_thread(
        CliRunner().invoke, rules_app, ["test", "cpu_usage", "--since", "1h", "--json"]
    )
    shown = await asyncio.to_thread(
        CliRunner().invoke, rules_app, ["test", "cpu_usage", "--since", "1h"]
    )

    report = json.loads(as_json.stdout)
    assert {t["threshold"]: t["firings"] for t in report["trials"]} == {
        70.0: 1,
        75.0: 1,
        80.0: 1,
        85.0: 0,
        90.0: 0,
    }
    assert "web" in shown.output
    assert "now" in shown.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["test", "no_such"], "rule must be one of"),
        (["test", "cpu_usage", "--since", "ages"], "since must be a time like"),
        (["test", "agent_offline"], "about samples"),
    ],
)
async def test_a_wrong_question_is_refused(arguments, words, database, monkeypatch):
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", database)

    done = await asyncio.to_thread(CliRunner().invoke, rules_app, arguments)

    assert done.exit_code == 2
    assert words in done.output


async def test_the_past_before_a_change_of_the_interval_has_its_own_gaps(house):
    rule = await cpu_rule(house)
    server_id = await house.add_server("web", interval_s=60)
    await intervals.keep(house.connection, [(server_id, "cpu", 5.0)])
    await house.connection.execute(
        "UPDATE family_interval SET updated_at = now() - interval '1 hour'"
    )
    for newest_ago in (4000, 2000):
        await house.add_cpu(server_id, [(newest_ago + 60.0 * n, 99.0) for n in range(5)])

    found = await backtest.find(
        house.connection,
        rule,
        servers=[server_id],
        start=house.now - timedelta(hours=2),
        end=house.now,
    )

    assert [(house.now - each.fired_at).total_seconds() > 3600 for each in found] == [True]
