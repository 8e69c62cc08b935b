"""`hostpulse rule apply`: files become rules, all or none, and only once."""

from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from cli.rules import rules_app

RULES = """
[[rule]]
name = "cpu_usage"
metric = "cpu.usage_percent"
operator = ">"
keep_firing_for = "5m"
annotations = { runbook = "https://example.org/cpu" }
levels = [
  { severity = "critical", threshold = 95, for = "1m" },
  { severity = "warning", threshold = 70, for = "5m" },
]

[[rule]]
name = "root_disk"
metric = "disk.used_percent"
operator = ">"
labels = { mount = "/" }
levels = [{ severity = "warning", threshold = 60 }]

[[inhibit]]
source = "root_disk"
targets = ["disk_usage"]
"""


@pytest.fixture
def apply(database, monkeypatch, tmp_path):
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", database)
    file = tmp_path / "rules.toml"
    file.write_text(RULES)

    async def run(*arguments: str):
        given = ["apply", str(tmp_path), *arguments]
        return await asyncio.to_thread(CliRunner().invoke, rules_app, given)

    run.file = file
    return run


async def test_the_difference_is_shown_and_nothing_changed_in_a_dry_run(apply, connection):
    done = await apply("--dry-run")

    assert done.exit_code == 0, done.output
    assert "~ cpu_usage" in done.output
    assert "    - keep_firing_for_s = 0\n    + keep_firing_for_s = 300" in done.output
    assert "+ root_disk" in done.output
    assert "+ root_disk mutes disk_usage\n- agent_offline mutes *" in done.output
    assert await connection.fetchval("SELECT count(*) FROM alert_rule") == 13


async def test_applying_twice_changes_nothing_the_second_time(apply, connection):
    first = await apply()
    edited = await connection.fetchval("SELECT edited_at FROM alert_rule WHERE name = 'cpu_usage'")
    second = await apply()

    assert first.output.endswith("Applied.\n")
    assert second.output == "Nothing to change.\n"
    again = await connection.fetchrow("SELECT * FROM alert_rule WHERE name = 'cpu_usage'")
    assert again["edited_at"] == edited
    assert again["annotations"] == {"runbook": "https://example.org/cpu"}
    assert again["seeded"]
    pairs = await connection.fetch("SELECT source_rule, target_rule FROM inhibition")
    assert [tuple(each) for each in pairs] == [("root_disk", "disk_usage")]


async def test_one_wrong_rule_keeps_all_of_them_out(apply, connection):
    apply.file.write_text(RULES.replace('labels = { mount = "/" }', 'channels = ["nobody"]'))

    done = await apply()

    assert done.exit_code == 2
    assert "root_disk.channels must be names of channels (there are none), got 'nobody'" in (
        done.output
    )
    levels = await connection.fetchval("SELECT levels FROM alert_rule WHERE name = 'cpu_usage'")
    assert levels[0]["threshold"] == 80


async def test_the_plan_is_json_for_programs(apply):
    done = await apply("--dry-run", "--json")

    plan = json.loads(done.output)
    assert [(r["name"], r["kind"]) for r in plan["rules"]] == [
        ("cpu_usage", "changed"),
        ("root_disk", "added"),
    ]


async def test_server_runbook_and_hold_can_be_set_by_hand(apply, connection):
    done = await asyncio.to_thread(
        CliRunner().invoke,
        rules_app,
        [
            *("set", "load", "--server", "env=prod", "--server", "web-1"),
            *("--keep-firing", "5m", "--runbook", "https://example.org/load"),
        ],
    )

    assert done.exit_code == 0, done.output
    row = await connection.fetchrow("SELECT * FROM alert_rule WHERE name = 'load'")
    assert row["server_selector"] == {"names": ["web-1"], "labels": {"env": "prod"}}
    assert row["keep_firing_for_s"] == 300
    assert row["annotations"] == {"runbook": "https://example.org/load"}
