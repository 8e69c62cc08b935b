"""A rule can be removed once it is disabled and what it has open has been told."""

from __future__ import annotations

import pytest

from alerting import rule_changes
from hostpulse import errors

HIGH = [(10.0 * n, 95.0) for n in range(1, 8)]


@pytest.fixture
async def firing(house):
    """`cpu_usage` fires, and is muted by nobody."""
    await house.only("cpu_usage")
    await house.set_rule(
        "cpu_usage", levels=[{"severity": "warning", "threshold": 80, "for_s": 30}]
    )
    await house.connection.execute("INSERT INTO channel (name, kind) VALUES ('ops', 'email')")
    await house.connection.execute("INSERT INTO inhibition VALUES ('cpu_usage', 'load_average')")
    await house.add_cpu(await house.add_server(interval_s=10), HIGH)
    await house.cycle()
    assert await house.connection.fetchval("SELECT state FROM alert") == "firing"
    return house


async def test_its_alerts_end_and_are_told_before_it_goes(firing):
    with pytest.raises(errors.ConfigError, match="disabled"):
        await rule_changes.remove(firing.connection, "cpu_usage", by="ann")
    await firing.set_rule("cpu_usage", enabled=False)
    with pytest.raises(errors.ConfigError, match="open alerts"):
        await rule_changes.remove(firing.connection, "cpu_usage", by="ann")
    await firing.cycle()

    assert await rule_changes.remove(firing.connection, "cpu_usage", by="ann")

    assert [kind for kind, _ in await firing.notifications()] == ["fired", "withdrawn"]
    changes = await firing.connection.fetch("SELECT change FROM alert_history ORDER BY id")
    assert [row["change"] for row in changes][-1] == "withdrawn"
    left = await firing.connection.fetchval(
        "SELECT count(*) FROM inhibition WHERE source_rule = 'cpu_usage'"
    )
    assert left == 0
    await firing.cycle()  # and evaluation goes on without it


async def test_a_rule_that_is_not_there_is_not_removed(connection):
    assert not await rule_changes.remove(connection, "nobody", by="ann")
    assert await connection.fetchval("SELECT count(*) FROM audit") == 0
