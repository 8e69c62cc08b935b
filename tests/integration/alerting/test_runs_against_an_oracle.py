"""The run query against a slow and simple reading of the same samples."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from alerting import evaluation, observations, records

SERVERS = 150
FORS_S = (20.0, 45.0)
THRESHOLDS = (80.0, 95.0)


@dataclass
class Host:
    id: int
    interval_s: float
    samples: list[tuple[float, float | None]]  # (seconds ago, value), the newest first


def random_samples(chooser: random.Random, interval_s: float) -> list[tuple[float, float | None]]:
    """Return samples with holes, NULLs and jitter, mostly above the thresholds."""
    samples, ago = [], chooser.choice([0.5, 0.5, 2.4 * interval_s, 3 * interval_s + 6])
    for _ in range(chooser.randrange(25)):
        samples.append((round(ago, 3), chooser.choice([50, 80, 85, 85, 96, 99, 99, 99, None])))
        ago += interval_s * chooser.choice([1, 1, 1, 1, 1, 1.02, 0.97, 2.4, 2.6, 4])
    return samples


def expected(host: Host) -> observations.Observation:
    """Walk back from the newest sample."""
    with_value = [(ago, value) for ago, value in host.samples if value is not None]
    if not with_value or with_value[0][0] > 2.5 * host.interval_s + 5:
        return observations.Unseen()
    lasted = {}
    for severity, threshold in zip(("warning", "critical"), THRESHOLDS, strict=True):
        first = before = None
        for ago, value in host.samples:
            if value is None or not value > threshold:
                break
            if before is not None and ago - before > 2.5 * host.interval_s:
                break
            first = before = ago
        if first is not None:
            lasted[severity] = first - host.samples[0][0]
    return with_value[0][1], lasted


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_runs_are_those_of_a_walk_back(house, seed):
    chooser = random.Random(seed)
    hosts = []
    await house.only("cpu_usage")
    await house.set_rule(
        "cpu_usage",
        levels=[
            {"severity": "warning", "threshold": THRESHOLDS[0], "for_s": FORS_S[0]},
            {"severity": "critical", "threshold": THRESHOLDS[1], "for_s": FORS_S[1]},
        ],
    )
    async with house.connection.transaction():  # now() is one moment
        for n in range(SERVERS):
            interval_s = chooser.choice([5.0, 10.0, 60.0])
            server_id = await house.add_server(f"server-{n}", interval_s=interval_s)
            host = Host(server_id, interval_s, random_samples(chooser, interval_s))
            await house.add_cpu(server_id, host.samples)
            hosts.append(host)
        rules, _ = await records.load_rules(house.connection)
        cpu = [rule for rule in rules if rule.enabled]

        findings = await evaluation.evaluate(house.connection, cpu, ())

    found = {finding.place.series.server_id: finding.observation for finding in findings}
    assert len(found) > SERVERS / 5  # the samples are worth looking at
    for host in hosts:
        wanted, got = expected(host), found.get(host.id)
        if wanted == observations.Unseen() or not wanted[1]:
            assert got is None, host
            continue
        value, lasted = wanted
        assert isinstance(got, observations.Seen), host
        assert got.value == value
        needed = dict(zip(("warning", "critical"), FORS_S, strict=True))
        assert {run.severity for run in got.runs} == set(lasted), host
        for run in got.runs:
            # A run longer than the window begins where the window does, which is long enough.
            is_long = lasted[run.severity] > max(FORS_S)
            assert (run.lasted_s >= needed[run.severity]) == (
                lasted[run.severity] >= needed[run.severity]
            ), host
            assert is_long or run.lasted_s == pytest.approx(lasted[run.severity], abs=1e-3), host
