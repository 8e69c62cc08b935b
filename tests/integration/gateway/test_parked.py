from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from cli.commands import app
from hostpulse.v1 import telemetry_pb2 as pb
from storage import maintenance

CHECK = "ALTER TABLE network ADD CONSTRAINT no_tun CHECK (interface <> 'tun0') NOT VALID"


@pytest.fixture
async def run(database, monkeypatch):
    """Run a command of doctor beside the gateway."""
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", database)
    monkeypatch.setenv("COLUMNS", "200")

    async def invoke(*arguments):
        return await asyncio.to_thread(CliRunner().invoke, app, ["doctor", *arguments])

    return invoke


@pytest.fixture
async def parked(harness, connection):
    """A batch that the database refused, and one that it took."""
    await connection.execute(CHECK)
    async with harness.stream() as agent:
        await agent.hello()
        await agent.send_batch(
            1,
            network=[pb.NetworkSample(interface="tun0", rx_bytes_per_s=7.0)],
            cpu=pb.CpuSample(usage_percent=3.0),
        )
        await agent.send_batch(2)
        assert {(await agent.ack()).seq for _ in range(2)} == {1, 2}
    return connection


async def test_what_is_parked_is_listed_with_its_cause(parked, run):
    listed = await run("parked")
    (described,) = json.loads((await run("parked", "--json")).stdout)

    assert "no_tun" in listed.stdout
    assert (described["server"], described["seq"], described["samples"]) == ("a", 1, 2)
    assert described["sqlstate"] == "23514"


async def test_what_is_parked_is_stored_once_when_its_cause_is_mended(parked, run):
    await parked.execute("ALTER TABLE network DROP CONSTRAINT no_tun")

    first = await run("replay", "--all")
    again = await run("replay", "--all")

    assert (first.exit_code, again.exit_code) == (0, 0)
    assert "stored" in first.stdout
    rows = await parked.fetch("SELECT interface, rx_bytes_per_s FROM network")
    assert [tuple(row) for row in rows] == [("tun0", 7.0)]
    assert await parked.fetchval("SELECT count(*) FROM cpu") == 2
    assert await parked.fetchval("SELECT count(*) FROM ingest_loss") == 0
    assert await parked.fetchval("SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL") == 0
    assert (await run("parked")).stdout == "nothing is parked\n"


async def test_rollups_that_were_finished_without_it_are_made_again(harness, connection, run):
    await connection.execute(CHECK)
    async with harness.stream() as agent:
        await agent.hello()
        batch = agent.batch(1, network=[pb.NetworkSample(interface="tun0", rx_bytes_per_s=7.0)])
        batch.time_unix_ns -= 7200 * 1_000_000_000
        batch.boot_id = b"an earlier boot!"
        await agent.send(pb.StreamRequest(batch=batch))
        await agent.ack()
    await connection.execute("ALTER TABLE network DROP CONSTRAINT no_tun")

    assert (await run("replay", "--all")).exit_code == 0
    await maintenance.roll_up(connection)

    assert await connection.fetch("SELECT rx_bytes_per_s FROM network_1m") == [(7.0,)]
    assert await connection.fetch("SELECT rx_bytes_per_s FROM network_1h") == [(7.0,)]
    assert await connection.fetchval("SELECT count(*) FROM late_arrival") == 1


async def test_what_is_still_refused_stays_parked(parked, run):
    result = await run("replay", "--all")

    assert result.exit_code == 1
    assert "still refused" in result.stdout
    assert await parked.fetchval("SELECT count(*) FROM cpu") == 1
    assert await parked.fetchval("SELECT state FROM ingest_loss") == "parked"
    assert len(json.loads((await run("parked", "--json")).stdout)) == 1


async def test_a_batch_that_was_parked_twice_is_stored_once(parked, run):
    await parked.execute("ALTER TABLE network DROP CONSTRAINT no_tun")
    await parked.execute(
        "INSERT INTO dead_letter (server_id, epoch, seq, batch, error)"
        " SELECT server_id, epoch, seq, batch, error FROM dead_letter"
    )

    result = await run("replay", "--all")

    assert "not missing" in result.stdout
    assert await parked.fetchval("SELECT count(*) FROM network") == 1


@pytest.mark.parametrize("arguments", [(), ("99",), ("1", "--all")])
async def test_what_can_not_be_replayed_is_named(parked, run, arguments):
    result = await run("replay", *arguments)

    assert result.exit_code == 2
    assert "expected" in result.output
